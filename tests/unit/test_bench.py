"""Bench: what is measured of which cluster, the machine in words, JSON, and two revisions side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kubedrill
from kubedrill import paths, shell
from kubedrill.bench import command, compare, machine, measure
from kubedrill.bench.compare import Bench
from kubedrill.bench.measure import Figure
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, InvalidSpec, KubedrillError
from kubedrill.scenario import Scenario
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

Capture = pytest.CaptureFixture[str]


@dataclass
class Place:
    """A machine whose clusters come and go on a clock of its own: a node takes 2 s to make and 1 s to remove."""

    clock: float = 0.0
    nodes: dict[str, list[Any]] = field(default_factory=dict)
    ups: list[str] = field(default_factory=list)
    downs: list[str] = field(default_factory=list)
    broken: bool = False

    def up(self, _place: object, spec: ClusterSpec, _console: object, *, merge: bool) -> None:
        assert not merge, "a bench leaves the user's kubeconfig alone"
        roles = ["control-plane"] * spec.control_planes + ["worker"] * spec.workers
        self.nodes[spec.name] = [SimpleNamespace(role=role, run=self.run) for role in roles]
        self.ups.append(f"{spec.control_planes}+{spec.workers}")
        self.clock += 2 * len(roles)

    def down(self, _provider: object, name: str, _console: object) -> bool:
        self.downs.append(self.ups[-1])
        self.clock += len(self.nodes.pop(name))
        return True

    def run(self, argv: Sequence[str], *, show: bool) -> Result:
        if self.broken:
            raise CommandFailed("du", 1, "", "a node")
        return Result(0, "19\n" if "du -xsm /var" in argv[-1] else "78\n", "")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place()
    monkeypatch.setattr(measure.cluster, "up", made.up)
    monkeypatch.setattr(measure.cluster, "down", made.down)
    monkeypatch.setattr(measure.build, "ensure", lambda *_: None)
    monkeypatch.setattr(measure.time, "monotonic", lambda: made.clock)
    return made


def lab(place: Place) -> Any:
    provider = SimpleNamespace(nodes=lambda name: place.nodes[name])
    engine = SimpleNamespace(info=lambda: {"ServerVersion": "20.10.24", "Driver": "overlay2"})
    return SimpleNamespace(provider=provider, engine=engine, missing=frozenset())


class TestMeasure:
    @pytest.mark.parametrize(
        ("group", "cluster", "nodes"),
        [("single", "1+0", 1), ("small", "1+2", 3), ("large", "3+2", 5), ("ten", "1+10", 11)],
    )
    def test_bring_ups(self, place: Place, group: str, cluster: str, nodes: int) -> None:
        figures = measure.measure(lab(place), Console(), runs=2, only=group)
        assert [(one.what, one.unit, one.values) for one in figures] == [
            (f"up {cluster}, all Ready, CoreDNS available", "s", (2.0 * nodes,) * 2),
            (f"memory of {cluster}", "MiB", (78.0 * nodes,) * 2),
            (f"disk of {cluster}", "MiB", (19.0 * nodes,) * 2),
            (f"down {cluster}", "s", (1.0 * nodes,) * 2),
        ]
        assert place.ups == place.downs == [cluster] * 2

    def test_further_workers(self, place: Place) -> None:
        figures = measure.measure(lab(place), Console(), runs=1, only="scale")
        assert [(one.what, one.values) for one in figures] == [
            ("each further worker", (2.0,)), ("memory of a worker", (78.0,)), ("disk of a worker", (19.0,)),
        ]  # fmt: skip

    def test_a_node_more_and_less(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        there = SimpleNamespace(node=lambda key: key)
        done: list[object] = []

        def add(_lab: object, _cluster: object, _console: object, *, control_plane: bool) -> None:
            done.append("a control plane" if control_plane else "a worker")
            place.clock += 9 if control_plane else 4

        def remove(_provider: object, _cluster: object, node: str, _console: object) -> None:
            done.append(node)
            place.clock += 3 if node.startswith("control-plane") else 1

        monkeypatch.setattr(measure.cluster, "attach", lambda _provider, _name: there)
        monkeypatch.setattr(measure.scaling, "add", add)
        monkeypatch.setattr(measure.scaling, "remove", remove)
        figures = measure.measure(lab(place), Console(), runs=2, only="nodes")
        assert done == ["a worker", "a control plane", "control-plane-2", "worker-2"] * 2
        assert [(one.what, one.values) for one in figures] == [
            ("add a worker", (4.0, 4.0)),
            ("add a second control plane, with a balancer", (9.0, 9.0)),
            ("remove a second control plane, with a balancer", (3.0, 3.0)),
            ("remove a worker", (1.0, 1.0)),
        ]
        assert place.ups == place.downs == ["1+1"]

    def test_what_every_drill_costs(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        class Looked:
            """A drill in which all but looking on takes a second a step."""

            def apply(self, *_objects: object) -> None:
                place.clock += 1

            def expect(self, *_words: object, within: float) -> None:
                place.clock += 1

            def baseline(self, seconds: float) -> None:
                place.clock += 1 + seconds

            def verify(self) -> None:
                place.clock += 1

            def require_writes(self) -> None:
                place.clock += 1

        verdicts = iter(["passed", "failed"])

        def run(drill: Scenario, _cluster: object, _console: object) -> tuple[Any, Path]:
            drill.body(Looked())  # type: ignore[arg-type]
            place.clock += 2
            return SimpleNamespace(verdict=next(verdicts), reason="lost"), Path()

        monkeypatch.setattr(measure.runner, "run", run)
        figures = measure.measure(lab(place), Console(), runs=1, only="drill")
        assert [one.values for one in figures] == [(7.0,), (3.0,), (4.0,)]
        with pytest.raises(KubedrillError, match="lost"):
            measure.measure(lab(place), Console(), runs=1, only="drill")
        assert place.ups == place.downs == ["1+1"] * 2

    def test_no_cluster_is_left_when_a_figure_cannot_be_taken(self, place: Place) -> None:
        place.broken = True
        with pytest.raises(CommandFailed):
            measure.measure(lab(place), Console(), runs=2, only="small")
        assert (place.ups, place.downs, place.nodes) == (["1+2"], ["1+2"], {})

    def test_no_such_group(self, place: Place) -> None:
        with pytest.raises(InvalidSpec, match="did you mean 'single'"):
            measure.measure(lab(place), Console(), runs=1, only="singel")


class TestMachine:
    def test_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fast One\nprocessor\t: 1\n")
        found = machine.describe({"ServerVersion": "20.10.24", "Driver": "overlay2"}, "v1.37.2", proc=tmp_path)
        assert (found["processor"], found["engine"]) == ("A Fast One", "Docker 20.10.24, overlay2")
        assert found["kubernetes"] == "v1.37.2"
        assert all(found.values())
        assert set(compare.ALIKE) <= found.keys()

    def test_a_processor_without_a_name(self) -> None:
        assert machine.processor("CPU implementer\t: 0x41\n")

    def test_the_revision_of_a_checkout(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(paths, "repository", lambda: tmp_path)
        assert machine.revision() == kubedrill.__version__  # no repository of git
        git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        (tmp_path / "file").write_text("1")
        for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
            shell.run([*git, *words])
        commit = shell.run([*git, "rev-parse", "--short", "HEAD"]).stdout.strip()
        assert machine.revision() == f"{kubedrill.__version__}, {commit}"
        (tmp_path / "file").write_text("2")
        assert machine.revision() == f"{kubedrill.__version__}, {commit} with changes"

    def test_the_revision_of_what_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(paths, "is_installed", lambda: True)
        assert machine.revision() == kubedrill.__version__


def figure(*values: float, what: str = "up", unit: str = "s") -> Figure:
    return Figure(what, unit, values, "")


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "ratio", "word"),
        [
            ([10, 11, 12], [5, 5.5, 6], 0.5, "perhaps less"),
            ([10, 11, 12], [20, 22, 24], 2.0, "perhaps more"),
            ([10, 11, 12, 11], [5, 5.5, 6, 5.5], 0.5, "less"),
            ([10, 11, 12, 11], [20, 22, 24, 22], 2.0, "more"),
            ([10, 11, 12], [9, 9.5, 10], 9.5 / 11, "within the spread"),
            ([10, 11, 12], [12, 13, 14], 13 / 11, "within the spread"),
            ([10, 11], [5, 5.5, 6], 5.5 / 10.5, "too few runs"),
            ([10, 11, 12], [5], 5 / 11, "too few runs"),
            ([0, 0, 0], [1, 1, 1], None, "perhaps more"),
        ],
    )
    def test_a_figure(self, old: list[float], new: list[float], ratio: float | None, word: str) -> None:
        (found,) = compare.compare([figure(*old)], [figure(*new)])
        assert found.ratio == (ratio if ratio is None else pytest.approx(ratio))
        assert found.word == word

    def test_only_what_both_have_in_the_same_unit(self) -> None:
        old = [figure(1, what="a"), figure(1, what="b"), figure(1, what="c")]
        new = [figure(1, what="c"), figure(1, what="a"), figure(1, what="b", unit="MiB"), figure(1, what="d")]
        assert [one.what for one in compare.compare(old, new)] == ["c", "a"]
        assert compare.only_in_one(old, new) == ["b", "b", "d"]

    def test_machines_that_differ(self) -> None:
        old = {"cores": "2", "processor": "A", "load": "0.1", "kubedrill": "a"}
        assert compare.unlike(old, {**old, "load": "0.2", "kubedrill": "b"}) == []
        assert compare.unlike(old, {**old, "cores": "4"}) == ["cores: 2, now 4"]


class TestFiles:
    def test_and_back(self, tmp_path: Path) -> None:
        bench = Bench({"cores": "2"}, (figure(1, 2, 4), figure(7, what="disk", unit="MiB")))
        compare.save(bench, tmp_path / "it.json")
        assert compare.load(tmp_path / "it.json") == bench
        written = json.loads((tmp_path / "it.json").read_text())
        assert written["schema"] == 1
        assert (written["figures"][0]["median"], written["figures"][0]["low"], written["figures"][0]["high"]) == (
            2,
            1,
            4,
        )

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "machine": {}, "figures": [{}]}',
         '{"schema": 1, "machine": {}, "figures": [{"what": "a", "unit": "s", "goal": "", "values": []}]}',
         '{"schema": 1, "machine": {}, "figures": [{"what": "a", "unit": "s", "goal": "", "values": ["x"]}]}'],
    )  # fmt: skip
    def test_others(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "it.json").write_text(text)
        with pytest.raises(KubedrillError, match="holds no figures"):
            compare.load(tmp_path / "it.json")

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(KubedrillError, match="holds no figures"):
            compare.load(tmp_path / "none.json")


class TestCommand:
    @pytest.fixture
    def measured(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
        monkeypatch.setattr(command.cluster, "lab", lambda _: lab(place))
        return place

    def bench(self, *, runs: int = 3, only: str = "single", json_file: str = "", against: Sequence[str] = ()) -> None:
        command.bench(Console(), runs=runs, only=only, json_file=json_file, against=against)

    def test_measured_kept_and_compared(self, measured: Place, tmp_path: Path, capsys: Capture) -> None:
        old = tmp_path / "old.json"
        self.bench(json_file=str(old))
        assert "processor" in capsys.readouterr().out
        slower = json.loads(old.read_text())
        slower["figures"][0]["values"] = [20, 21, 22]
        slower["machine"]["cores"] = "64"
        old.write_text(json.dumps(slower))
        self.bench(against=[str(old)], json_file=str(tmp_path / "new.json"))
        printed = capsys.readouterr().out
        row = next(line for line in printed.splitlines() if line.startswith("up 1+0") and "21.0" in line)
        assert row.split()[-7:] == ["21.0", "s", "2.0", "s", "0.10", "perhaps", "less"]
        assert "not the same machine, so that ratios say little: cores: 64, now" in printed
        assert compare.load(tmp_path / "new.json").figures[0].values == (2.0, 2.0, 2.0)

    def test_two_files_and_nothing_is_measured(self, measured: Place, tmp_path: Path, capsys: Capture) -> None:
        files = [tmp_path / "a.json", tmp_path / "b.json"]
        compare.save(Bench({"kubedrill": "one"}, (figure(1, 1, 1), figure(1, what="old"))), files[0])
        compare.save(Bench({"kubedrill": "two"}, (figure(3, 3, 3),)), files[1])
        self.bench(against=[str(file) for file in files])
        printed = capsys.readouterr().out
        assert printed.startswith("one, and now two:")
        assert printed.splitlines()[2].split() == ["up", "1.0", "s", "3.0", "s", "3.00", "perhaps", "more"]
        assert "perhaps: with so few runs the ranges of some of 1 figures can be apart by chance; 4 runs on" in printed
        assert "not in both: old" in printed
        assert measured.ups == []

    @pytest.mark.parametrize(("against", "runs"), [(["a", "b", "c"], 3), ([], 0)])
    def test_what_cannot_be(self, measured: Place, against: list[str], runs: int) -> None:
        with pytest.raises(InvalidSpec):
            self.bench(against=against, runs=runs)
