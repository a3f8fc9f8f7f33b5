"""Drills: what they are called, which clusters fit them, and how those of a folder are found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedrill import drill_commands, paths
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.scenario import Scenario, registry, scenario
from kubedrill.scenario.lab import Lab
from kubedrill.spec import load

TUNED = {"controllerManager": {"node-monitor-grace-period": "20s"}}
MORE = {
    "controllerManager": {"node-monitor-grace-period": "20s", "v": "4"},
    "apiserver": {"goaway-chance": "0.01"},
}
OTHER = {"controllerManager": {"node-monitor-grace-period": "40s"}}
SCENARIOS = paths.repository() / "scenarios"


def drill(**needs: Any) -> Scenario:
    """A drill that does nothing."""

    def does_nothing(lab: Lab) -> None:
        """Do nothing."""

    return scenario(**needs)(does_nothing)


class TestFolders:
    def test_own_ones_and_those_of_where_one_is(self, tmp_path: Path) -> None:
        assert registry.folders(tmp_path) == registry.folders(paths.repository()) == [SCENARIOS]
        (tmp_path / "scenarios").mkdir()
        assert registry.folders(tmp_path) == [SCENARIOS, tmp_path / "scenarios"]

    def test_another_repository_s_drill_is_listed_and_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "scenarios").mkdir()
        (tmp_path / "scenarios" / "ours.py").write_text(
            "from kubedrill.scenario import scenario\n\n"
            "@scenario(hollow=5, slow=True)\ndef our_own(lab):\n    'Break ours.'\n"
        )
        monkeypatch.chdir(tmp_path)
        drill_commands.list_drills(Console())
        assert re.search(r"our-own +1\+2, hollow 5, slow +Break ours.", capsys.readouterr().out)
        ran: list[Sequence[str]] = []
        monkeypatch.setattr(drill_commands.shell, "interactive", lambda argv: ran.append(argv) or 0)
        drill_commands.scenario(Console(), ["our-own"], everything=False, name="", flags={})
        assert str(tmp_path / "scenarios") in ran[0]
        with pytest.raises(InvalidSpec, match="no such drill"):
            drill_commands.scenario(Console(), ["our-on"], everything=False, name="", flags={})


class TestScenario:
    def test_is_named_after_its_function(self) -> None:
        @scenario(control_planes=3, workers=1, slow=True, proxyMode="nftables")
        def kill_the_leader(lab: Lab) -> None:
            """Kill the leader; the API comes back.

            Twice, with care.
            And once more.
            """

        assert kill_the_leader.name == "kill-the-leader"
        assert kill_the_leader.title == "Kill the leader; the API comes back."
        assert kill_the_leader.text.split() == ["Twice,", "with", "care.", "And", "once", "more."]
        assert kill_the_leader.slow
        assert kill_the_leader.needs == {"controlPlanes": 3, "workers": 1, "proxyMode": "nftables"}

    def test_without_a_docstring_it_has_no_title(self) -> None:
        @scenario()
        def silent(lab: Lab) -> None:
            pass

        assert (silent.title, silent.text, silent.slow) == ("", "", False)

    def test_the_cluster_to_bring_up(self) -> None:
        spec = drill(control_planes=3, workers=1, extraArgs=TUNED).spec("mine")
        assert (spec.name, spec.control_planes, spec.workers, spec.extra_args) == ("mine", 3, 1, TUNED)

    @pytest.mark.parametrize(
        ("needs", "why"),
        [
            ({"control_planes": 2}, "an even number"), ({"workers": 200}, "200 workers"),
            ({"colour": "red"}, "unknown key 'colour'"), ({"extraArgs": {"api": {}}}, "no component 'api'"),
        ],
    )  # fmt: skip
    def test_one_that_cannot_be(self, needs: dict[str, Any], why: str) -> None:
        with pytest.raises(InvalidSpec, match=why):
            drill(**needs).spec("mine")

    @pytest.mark.parametrize(
        ("needs", "there", "misfits"),
        [
            ({}, {}, []),
            ({"workers": 2}, {"workers": 2}, []),
            ({"workers": 2}, {"workers": 5}, []),
            ({"workers": 2}, {"workers": 1}, ["workers: 1, at least 2 needed"]),
            ({"control_planes": 3}, {"control_planes": 5}, []),
            ({"control_planes": 3}, {"control_planes": 1}, ["controlPlanes: 1, at least 3 needed"]),
            ({"control_planes": 3, "workers": 3}, {"workers": 1},
             ["controlPlanes: 1, at least 3 needed", "workers: 1, at least 3 needed"]),
            ({"extraArgs": TUNED}, {"extraArgs": TUNED}, []),
            ({"extraArgs": TUNED}, {"extraArgs": MORE}, []),
            ({"extraArgs": TUNED}, {}, [f"extraArgs: {{}}, needed {TUNED}"]),
            ({"extraArgs": TUNED}, {"extraArgs": OTHER}, [f"extraArgs: {OTHER}, needed {TUNED}"]),
            ({"extraArgs": MORE}, {"extraArgs": TUNED}, [f"extraArgs: {TUNED}, needed {MORE}"]),
            ({"proxyMode": "nftables"}, {"proxyMode": "nftables"}, []),
            ({"proxyMode": "nftables"}, {}, ["proxyMode: iptables, needed nftables"]),
            # what was not asked for may be anything
            ({}, {"proxyMode": "nftables", "podSubnet": "10.100.0.0/16", "name": "other"}, []),
        ],
    )  # fmt: skip
    def test_misfits(self, needs: dict[str, Any], there: dict[str, Any], misfits: list[str]) -> None:
        assert drill(**needs).misfits(load(None, there)) == misfits

    def test_the_cluster_that_it_asks_for_fits(self) -> None:
        one = drill(control_planes=3, workers=0, extraArgs=MORE, proxyMode="nftables", featureGates={"A": True})
        assert one.misfits(one.spec("mine")) == []


HEADER = "from kubedrill.scenario import scenario\n"
ONE = '''
@scenario()
def {name}(lab):
    """The drill {name}."""
'''


def write(folder: Path, **files: str) -> None:
    """Write drill files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


class TestRegistry:
    def test_drills_come_by_name_whatever_their_file(self, tmp_path: Path) -> None:
        write(
            tmp_path, zebra=HEADER + ONE.format(name="ant"),
            ape=HEADER + ONE.format(name="bee_two") + ONE.format(name="bee"),
        )  # fmt: skip
        (tmp_path / "notes.txt").write_text("no drill")
        found = registry.drills(tmp_path)
        assert [one.name for one in found] == ["ant", "bee", "bee-two"]
        assert found[0].title == "The drill ant."

    def test_a_folder_without_drills(self, tmp_path: Path) -> None:
        write(tmp_path, helper="LIMIT = 3\n")
        assert registry.drills(tmp_path) == []

    def test_an_imported_drill_is_found_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        write(tmp_path, first_of_two=HEADER + ONE.format(name="first"),
              second_of_two="from first_of_two import first\n" + HEADER + ONE.format(name="second"))  # fmt: skip
        assert [one.name for one in registry.drills(tmp_path)] == ["first", "second"]

    def test_a_drill_file_may_declare_a_dataclass(self, tmp_path: Path) -> None:
        settings = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        classes = "\n@dataclass(frozen=True)\nclass Settings:\n    grace: int = 20\n"
        write(tmp_path, tuned=settings + HEADER + classes + ONE.format(name="tuned"))
        assert [one.name for one in registry.drills(tmp_path)] == ["tuned"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("import there_is_no_such_module\n", "there_is_no_such_module"),
            ("from kubedrill.scenario import nonsense\n", "nonsense"),
            ("def broken(:\n", "invalid syntax"),
        ],
    )
    def test_a_file_that_cannot_be_imported(self, tmp_path: Path, text: str, why: str) -> None:
        write(tmp_path, good=HEADER + ONE.format(name="good"), wrong=text)
        with pytest.raises(KubedrillError, match=r"wrong\.py cannot be imported") as raised:
            registry.drills(tmp_path)
        assert why in str(raised.value)


class TestOurs:
    def test_every_file_of_scenarios_declares_drills(self) -> None:
        files = {Path(one.body.__code__.co_filename).name for one in registry.drills(SCENARIOS)}
        assert files == {file.name for file in SCENARIOS.glob("*.py")}

    def test_the_names_are_known_and_single(self) -> None:
        found = [one.name for one in registry.drills(SCENARIOS)]
        assert {"drain", "ha-failover", "hello", "node-failure", "node-failure-default", "pod-network"} <= set(found)
        assert len(found) == len(set(found))

    def test_each_has_a_title_and_a_cluster(self) -> None:
        for one in registry.drills(SCENARIOS):
            assert one.title.endswith("."), one.name
            assert len(one.title) > 20, one.name
            assert one.misfits(one.spec("lab")) == [], one.name
