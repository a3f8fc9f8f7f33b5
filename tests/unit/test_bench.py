"""Bench: which commands are timed on which cluster, that none is left, and that nobody else's is touched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_world
import pytest
from bench_world import Place

import tasks
from kubedrill import paths, shell
from kubedrill.bench import fresh, looking_on, measure
from kubedrill.bench.figures import Figure
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, InvalidSpec, KubedrillError
from kubedrill.scenario import Scenario
from kubedrill.shell import Result

place = bench_world.place  # a fixture
# What a process takes to start.
START = 0.5


def take(place: Place, folder: Path, group: str, runs: int = 2) -> list[Figure]:
    return measure.take(group, place.fresh(folder), runs, pytest.fail)


class TestGroups:
    @pytest.mark.parametrize(
        ("group", "cluster", "nodes"),
        [("single", "1+0", 1), ("small", "1+2", 3), ("large", "3+2", 5), ("ten", "1+10", 11), ("many", "1+20", 21)],
    )
    def test_bring_ups(self, place: Place, tmp_path: Path, group: str, cluster: str, nodes: int) -> None:
        figures = take(place, tmp_path, group)
        assert [(one.what, one.unit, one.values) for one in figures] == [
            (f"up {cluster}, all Ready, CoreDNS available", "s", (START + 2.0 * nodes,) * 2),
            (f"memory of {cluster}", "MiB", (78.0 * nodes,) * 2),
            (f"disk of {cluster}", "MiB", (19.0 * nodes,) * 2),
            (f"down {cluster}", "s", (START + 1.0 * nodes,) * 2),
        ]
        assert place.started() == [cluster] * 2
        assert place.commands.count("down --name bench") == 2
        assert all(one.busy == pytest.approx(0.6, abs=0.01) for one in figures)
        assert all(one.taken == pytest.approx(0.01, abs=0.01) for one in figures)

    def test_further_workers(self, place: Place, tmp_path: Path) -> None:
        figures = take(place, tmp_path, "scale", runs=1)
        assert [(one.what, one.values) for one in figures] == [
            ("each further worker", (2.0,)), ("memory of a worker", (78.0,)), ("disk of a worker", (19.0,)),
        ]  # fmt: skip
        assert place.started() == ["1+2", "1+6"]
        assert place.clusters == {}

    def test_a_node_more_and_less(self, place: Place, tmp_path: Path) -> None:
        steps = ["add-node --name bench", "add-node --control-plane --name bench",
                 "remove-node control-plane-2 --name bench", "remove-node worker-2 --name bench"]  # fmt: skip
        place.takes = dict(zip(steps, (4, 9, 3, 1), strict=True))
        figures = take(place, tmp_path, "nodes")
        assert place.commands[1:] == steps * 2
        assert [(one.what, one.values) for one in figures] == [
            ("add a worker", (4.5, 4.5)),
            ("add a second control plane, with a balancer", (9.5, 9.5)),
            ("remove a second control plane, with a balancer", (3.5, 3.5)),
            ("remove a worker", (1.5, 1.5)),
        ]
        assert place.started() == ["1+1"]
        assert place.clusters == {}

    def test_off_and_on(self, place: Place, tmp_path: Path) -> None:
        figures = take(place, tmp_path, "restart")
        assert place.commands[1:] == [
            "stop --name bench", "start --name bench", "checkpoint run-0 --name bench", "restore run-0 --name bench",
            "stop --name bench", "start --name bench", "checkpoint run-1 --name bench", "restore run-1 --name bench",
        ]  # fmt: skip
        assert [one.values for one in figures] == [(START, START)] * 4
        assert place.clusters == {}

    def test_tasks(self, place: Place, tmp_path: Path) -> None:
        figures = take(place, tmp_path, "tasks")
        assert [(one.what, one.values) for one in figures] == [
            ("invoke --list", (START, START)), ("build with nothing to do", (START, START)),
        ]  # fmt: skip
        assert place.commands == ["build", "build"]

    def test_hollow_nodes(self, place: Place, tmp_path: Path) -> None:
        figures = take(place, tmp_path, "hollow", runs=1)
        assert [(one.what, one.unit, one.values) for one in figures[:5]] == [
            ("up 1+1 with 100 hollow nodes, all Ready", "s", (4.5,)),
            ("memory of kube-apiserver with 100 hollow nodes", "MiB", (14,)),
            ("memory of etcd with 100 hollow nodes", "MiB", (4,)),
            ("etcd's data with 100 hollow nodes", "MiB", (40,)),
            ("down 1+1 with 100 hollow nodes", "s", (2.5,)),
        ]
        assert [one.what for one in figures[5:]] == [one.what.replace("100 ", "1000 ") for one in figures[:5]]
        ups = [line for line in place.commands if line.startswith("up")]
        assert [line.rpartition(" --hollow ")[2] for line in ups] == ["100", "1000"]

    def test_an_etcd_that_cannot_be_found_has_no_size(self, place: Place, tmp_path: Path) -> None:
        place.silent = ("etcd",)
        with pytest.raises(KubedrillError, match="not found: memory of etcd"):
            take(place, tmp_path, "hollow")
        assert place.clusters == {}

    def test_what_takes_long_is_named_or_left_out(self) -> None:
        assert set(measure.LONG).isdisjoint(measure.groups(""))
        assert [measure.groups(group) for group in measure.LONG] == [("many",), ("hollow",)]
        told = tasks.bench.help["only"]
        usual, _, long = told.partition("; or one of those that are long, and else left out: ")
        assert usual == f"one group: {', '.join(measure.USUAL)}"
        assert all(group in long for group in measure.LONG)

    @pytest.mark.parametrize(
        ("wanted", "built"),
        [(["small"], ["1.37"]), (["tasks", "small"], ["1.37", "porcupine"]), (["hollow"], ["1.37", "kwok"])],
    )
    def test_nothing_is_built_while_it_is_measured(
        self, monkeypatch: pytest.MonkeyPatch, wanted: list[str], built: list[str]
    ) -> None:
        found: list[str] = []
        monkeypatch.setattr(measure.build, "ensure", lambda _engine, kubernetes, *_: found.append(kubernetes))
        monkeypatch.setattr(measure.build, "compiler_or_none", lambda: "go")
        monkeypatch.setattr(measure.porcupine, "ensure", lambda _: found.append("porcupine"))
        monkeypatch.setattr(measure.components, "go_version", lambda: "go")
        monkeypatch.setattr(measure.components, "build", lambda name, *_: found.append(name))
        measure.prepare(Place().lab(), Console(), wanted)
        assert found == built

    def test_no_such_group(self) -> None:
        with pytest.raises(InvalidSpec, match="did you mean 'single'"):
            measure.groups("singel")


class TestDrills:
    @pytest.fixture
    def verdicts(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Of the drills that follow; all but looking on takes a second a step."""

        class Looked:
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

        made: list[str] = []

        def run(drill: Scenario, cluster: object, _console: object) -> tuple[Any, Path]:
            assert cluster == "bench"
            drill.body(Looked())  # type: ignore[arg-type]
            place.clock += 2
            return SimpleNamespace(verdict=made.pop(0), reason="a sampler was late"), Path("run")

        monkeypatch.setattr(looking_on.runner, "run", run)
        monkeypatch.setattr(looking_on.cluster, "attach", lambda _provider, name: name)
        return made

    def test_what_every_drill_costs(self, place: Place, tmp_path: Path, verdicts: list[str]) -> None:
        verdicts += ["passed", "passed"]
        figures = take(place, tmp_path, "drill")
        assert [one.values for one in figures] == [(7.0, 7.0), (3.0, 3.0), (4.0, 4.0)]
        assert place.started() == ["1+1"]
        assert place.clusters == {}

    def test_one_without_a_verdict_is_left_out_and_the_rest_kept(
        self, place: Place, tmp_path: Path, verdicts: list[str]
    ) -> None:
        verdicts += ["passed", "inconclusive", "passed"]
        left_out: list[str] = []
        figures = measure.take("drill", place.fresh(tmp_path), 3, left_out.append)
        assert [len(one.values) for one in figures] == [2, 2, 2]
        (said,) = left_out
        assert "inconclusive: a sampler was late" in said
        assert "run/index.html" in said

    def test_none_that_passed(self, place: Place, tmp_path: Path, verdicts: list[str]) -> None:
        verdicts += ["failed"]
        with pytest.raises(KubedrillError, match="none of 1"):
            measure.take("drill", place.fresh(tmp_path), 1, lambda _: None)
        assert place.clusters == {}


class TestAlone:
    def test_somebody_elses_cluster_is_neither_measured_nor_removed(self, place: Place) -> None:
        place.clusters["bench"] = ["a node of mine"]
        with pytest.raises(KubedrillError, match="invoke down --name bench"), fresh.alone(place.lab(), Console()):
            pass
        assert (place.commands, place.removed, place.clusters) == ([], [], {"bench": ["a node of mine"]})

    def test_one_that_is_made_meanwhile_neither(self, place: Place, tmp_path: Path) -> None:
        place.clusters["bench"] = ["a node of mine"]
        with pytest.raises(KubedrillError, match="already"):
            take(place, tmp_path, "small")
        assert (place.commands, place.removed, place.clusters) == ([], [], {"bench": ["a node of mine"]})

    @pytest.mark.parametrize("group", ["small", "scale"])
    def test_no_cluster_is_left_when_a_figure_cannot_be_taken(self, place: Place, tmp_path: Path, group: str) -> None:
        place.silent = ("disk",)
        with pytest.raises(CommandFailed):
            take(place, tmp_path, group)
        assert place.clusters == {}

    def test_a_command_that_fails_shows_all_that_it_printed(self, place: Place, tmp_path: Path) -> None:
        place.clusters["half"] = []
        output = "".join(f"line {number}\n" for number in range(60))
        place.broken = lambda line: Result(1, output, "kubedrill: step 'init' failed\n")
        with pytest.raises(KubedrillError, match="kubedrill up --name bench") as raised:
            take(place, tmp_path, "small")
        assert {"line 0", "line 59", "kubedrill: step 'init' failed"} <= set(raised.value.evidence)
        assert place.removed == ["bench"], "whatever it left"

    def test_an_interrupted_bring_up_leaves_nothing(self, place: Place, tmp_path: Path) -> None:
        def interrupt(line: str) -> Result | None:
            place.clusters["bench"] = []
            raise KeyboardInterrupt

        place.broken = interrupt
        with pytest.raises(KeyboardInterrupt):
            take(place, tmp_path, "small")
        assert place.clusters == {}

    def test_commands_are_those_of_this_kubedrill(self, tmp_path: Path) -> None:
        """For once a process: `python -m kubedrill` is found, and a status that is not 0 is an error."""
        commands = fresh.Fresh(Place().lab(), Console(), tmp_path / "kubeconfig")
        commands.run("--version")
        with pytest.raises(KubedrillError, match="no-such-task"):
            commands.run("no-such-task")
        for words in (["up", "--name"], ["down", "--name"], ["add-node", "--control-plane"], ["build"], ["stop"],
                      ["start"], ["restore"], ["checkpoint"], ["remove-node"]):  # fmt: skip
            told = shell.run([*fresh.argv("--help", words[0])], cwd=paths.repository()).stdout
            assert all(word in told for word in words), words
