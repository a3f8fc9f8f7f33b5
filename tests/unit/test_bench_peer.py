"""Two sides measured in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_world
import pytest
from bench_world import Place

from kubedrill.bench import command, compare, peer
from kubedrill.bench.figures import Cores, Figure, Used
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.shell import Result

Capture = pytest.CaptureFixture[str]
place = bench_world.place  # a fixture


@dataclass
class Clock:
    now: float = 0.0
    log: list[str] = field(default_factory=list)


@dataclass
class Side:
    """Takes its time to come up, and a second to go."""

    name: str
    clock: Clock
    takes: list[float]
    memory: float
    broken: bool = False

    def up(self, control_planes: int, workers: int) -> None:
        self.clock.log.append(f"{self.name} {control_planes}+{workers}")
        if not self.takes:
            raise KubedrillError("it takes no more")
        self.clock.now += self.takes.pop(0)

    def used(self) -> Used:
        if self.broken:
            raise KubedrillError("no figure")
        return Used(self.memory, 10 * self.memory)

    def down(self) -> None:
        self.clock.log.append(f"{self.name} down")
        self.clock.now += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.monotonic", lambda: made.now)
    return made


class TestInTurn:
    def test_one_of_ours_and_one_of_theirs(self, clock: Clock) -> None:
        ours, theirs = Side("ours", clock, [1, 2], 100), Side("kind", clock, [10, 20], 300)
        found = peer.in_turn(ours, theirs, "small", 2, Console())
        assert clock.log == ["ours 1+2", "ours down", "kind 1+2", "kind down"] * 2
        assert [(one.what, one.values) for one in found[0]] == [
            ("up 1+2, all Ready, CoreDNS available", (1, 2)), ("memory of 1+2", (100, 100)),
            ("disk of 1+2", (1000, 1000)), ("down 1+2", (1, 1)),
        ]  # fmt: skip
        assert [one.what for one in found[1]] == [one.what for one in found[0]]
        assert found[1][0].values == (10, 20)
        assert found[1][1].values == (300, 300)

    def test_a_cluster_goes_even_if_no_figure_can_be_taken(self, clock: Clock) -> None:
        ours, theirs = Side("ours", clock, [1], 100), Side("kind", clock, [10], 300, broken=True)
        with pytest.raises(KubedrillError, match="no figure"):
            peer.in_turn(ours, theirs, "small", 1, Console())
        assert clock.log == ["ours 1+2", "ours down", "kind 1+2", "kind down"]


class TestSizes:
    def test_usual_and_one(self) -> None:
        assert peer.sizes("") == {"small": (1, 2), "large": (3, 2)}
        assert peer.sizes("single") == {"single": (1, 0)}

    @pytest.mark.parametrize("only", ["restart", "smal"])
    def test_others(self, only: str) -> None:
        with pytest.raises(InvalidSpec, match="single, small, large, ten, many"):
            peer.sizes(only)


def test_rows() -> None:
    ours = [Figure("up 1+2, all", "s", (12, 10, 11), "at most 15 s"), Figure("disk of 1+2", "MiB", (0, 0, 0), "")]
    much = (Cores(0.9, 0.2),) * 3
    theirs = [Figure("up 1+2, all", "s", (44, 40, 48), "", much), Figure("disk of 1+2", "MiB", (0, 0, 0), "")]
    assert peer.rows(ours, theirs) == [
        ("up 1+2, all", "11.0 s", "10.0 to 12.0", "44.0 s", "40.0 to 48.0", "0.25", "perhaps less", "at most 0.33",
         "the peer 20%"),
        ("disk of 1+2", "0.0 MiB", "0.0 to 0.0", "0.0 MiB", "0.0 to 0.0", "", "within the spread", "", ""),
    ]  # fmt: skip


class TestCommand:
    @pytest.fixture
    def kind(self, place: Place, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        several_asked: list[bool] = []
        side: Any = Side("kind", clock, [30, 33, 36], 300)
        side.helps = lambda control_planes: [f"help with {control_planes}"]

        @contextlib.contextmanager
        def here(*_: object, several: bool) -> Iterator[Any]:
            several_asked.append(several)
            yield side

        monkeypatch.setattr(command.machine, "revision", lambda: "0.1.0")
        monkeypatch.setattr(command.cluster, "lab", lambda _: place.lab())
        monkeypatch.setattr(command.clusters, "here", here)
        monkeypatch.setattr(command.peer, "Ours", lambda *_: Side("ours", clock, [10, 11, 12], 100))
        return several_asked

    def bench(self, *, beside: str = "kind", only: str = "small", json_file: str = "") -> int:
        return command.bench(Console(), runs=3, only=only, json_file=json_file, against=[], beside=beside)

    def test_printed_and_kept(self, kind: list[bool], tmp_path: Path, capsys: Capture) -> None:
        assert self.bench(json_file=str(tmp_path / "it.json")) == 0
        printed = capsys.readouterr().out
        assert "kind needed help here: help with 1\n" in printed
        row = next(line for line in printed.splitlines() if line.startswith("up 1+2"))
        assert row.split()[-8:] == ["to", "36.0", "0.33", "perhaps", "less", "at", "most", "0.33"]
        assert kind == [False]
        kept = compare.load(tmp_path / "it.json")
        assert (kept.machine["peer"], kept.machine["help"]) == ("kind v0.33.0", "help with 1")
        by_name = {one.what: one for one in kept.figures}
        assert by_name["up 1+2, all Ready, CoreDNS available"].values == (10, 11, 12)
        assert by_name["kind: up 1+2, all Ready, CoreDNS available"].values == (30, 33, 36)

    def test_a_size_that_fails_leaves_the_one_before(self, kind: list[bool], tmp_path: Path, capsys: Capture) -> None:
        file = tmp_path / "it.json"
        assert self.bench(only="", json_file=str(file)) == 1, "the sides have times for one size"
        assert kind == [True]
        kept = compare.load(file)
        assert {one.what for one in kept.figures} >= {"down 1+2", "kind: down 1+2"}
        assert kept.missing == ("the group large: it takes no more",)
        assert "missing: the group large: it takes no more" in capsys.readouterr().out

    def test_no_such_peer(self, kind: list[bool]) -> None:
        with pytest.raises(InvalidSpec, match="peers: kind"):
            self.bench(beside="minikube")

    def test_no_such_size(self, kind: list[bool]) -> None:
        with pytest.raises(InvalidSpec, match="restart"):
            self.bench(only="restart")


class TestOurs:
    def test_it_is_made_from_the_same_modules_by_commands_as_theirs_is(self, place: Place, tmp_path: Path) -> None:
        ours = peer.Ours(place.fresh(tmp_path))
        ours.up(1, 2)
        assert place.commands == ["up --name bench --control-planes 1 --workers 2 --source modules"]
        assert ours.used() == Used(3 * 78, 3 * 19)
        ours.down()
        assert place.commands[1:] == ["down --name bench"]
        assert place.clusters == {}

    def test_what_down_leaves_is_removed(self, place: Place, tmp_path: Path) -> None:
        ours = peer.Ours(place.fresh(tmp_path))
        ours.up(1, 0)
        place.broken = lambda line: Result(1, "", "busy")
        with pytest.raises(KubedrillError, match="kubedrill down"):
            ours.down()
        assert place.clusters == {}
