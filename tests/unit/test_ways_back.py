"""The way back of a cluster that was changed as a whole: on disk before, gone afterwards, and gone by `invoke heal`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_provider import FakeProvider
from faulty_world import DEAD

from kubedrill import checkpoints, drill_commands, lifecycle, operations, scaling, ways_back
from kubedrill import cluster as clusters
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import KubedrillError, TimedOut
from kubedrill.faults import FaultRefused, HealFailed, heal
from kubedrill.faults.actions import PutBack, ShrinkBack, Whole
from kubedrill.faults.injection import going_back
from kubedrill.journal import Journal
from kubedrill.marks import UPGRADING
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.spec import ClusterSpec


class World:
    """A cluster of fakes that only changes its size, and how often it was waited for."""

    def __init__(self) -> None:
        self.provider = FakeProvider()
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {"spec": "", "api-port": "6443"}))
        self.resize(control_planes=1, workers=1)
        self.make("control-plane", 1)
        self.make("worker", 1)
        self.steps: list[str] = []
        self.whole = 0
        self.breaks_at = ""

    @property
    def there(self) -> Cluster:
        """The cluster as it is recorded."""
        return clusters.attach(self.provider, "lab")

    def resize(self, **counts: int) -> None:
        """Record another size."""
        known = self.provider.network("lab")
        assert known is not None
        spec = ClusterSpec(name="lab").model_copy(update=counts)
        self.provider.change("lab", {**known.metadata, "spec": spec.to_json()})

    def make(self, role: Role, number: int) -> None:
        """Make a node."""
        last = {"load-balancer": 2, "control-plane": 10, "worker": 100, "etcd": 20}[role] + number
        name = "lab-load-balancer" if role == "load-balancer" else f"lab-{role}-{number}"
        self.provider.create_node("lab", NodeSpec(name, role, f"172.28.0.{last}", "an image"))

    def add(self, _place: object, there: Cluster, _console: object, *, control_plane: bool = False) -> Cluster:
        """One more."""
        assert control_plane
        self.steps.append("+control-plane-2")
        self.resize(control_planes=2, workers=there.spec.workers)
        self.make("control-plane", 2)
        return self.there

    def remove(self, _provider: object, there: Cluster, key: str, _console: object) -> Cluster:
        """One less; of one whose making was cut off, nothing is there."""
        if key == self.breaks_at:
            raise KubedrillError("the engine is gone")
        self.steps.append(f"-{key}")
        sizes = {"control_planes": there.spec.control_planes, "workers": there.spec.workers}
        sizes["control_planes" if key.startswith("control-plane") else "workers"] -= 1
        self.resize(**sizes)
        gone = [node for node in self.provider.nodes("lab") if node.name == f"lab-{key}"]
        gone += [node for node in self.provider.nodes("lab") if node.role == "load-balancer"] * (key[-2:] == "-2")
        for node in gone:
            node.remove()
        return self.there

    def started(self, there: Cluster, _console: object) -> bool:
        """Start what does not run."""
        self.whole += 1
        for node in there.nodes:
            node.start()
        return True

    def killed(self, whole: Whole) -> Journal:
        """The journal of a run that was killed on the way."""
        mine = Journal.of("lab")
        notes = Journal(mine.folder, DEAD)
        notes.write(notes.entry("0badcafe", str(whole), "", (), (), whole))
        return mine


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(scaling, "add", made.add)
    monkeypatch.setattr(scaling, "remove", made.remove)
    monkeypatch.setattr(lifecycle, "whole", made.started)
    monkeypatch.setattr(clusters, "lab", lambda _: SimpleNamespace(provider=made.provider))
    return made


def keep(world: World, name: str = "before") -> None:
    """Keep the cluster as it is, and let it run again."""
    for node in world.provider.nodes("lab"):
        node.stop()
    world.provider.save("lab", name)
    for node in world.provider.nodes("lab"):
        node.start()


@pytest.mark.parametrize(
    ("there", "size", "key"),
    [
        ((1, 1), (1, 1), ""),
        ((3, 3), (1, 1), "worker-3"),
        ((3, 1), (1, 1), "control-plane-3"),
        ((2, 1), (1, 1), "control-plane-2"),
        ((1, 1), (3, 3), ""),
        ((3, 3), (3, 1), "worker-3"),
        ((3, 1), (3, 1), ""),
    ],
)
def test_workers_go_first_and_nothing_beyond_the_size(there: tuple[int, int], size: tuple[int, int], key: str) -> None:
    spec = ClusterSpec().model_copy(update={"control_planes": there[0], "workers": there[1]})
    assert ways_back.surplus(spec, *size) == key


class TestShrink:
    def test_what_was_added_goes(self, world: World) -> None:
        world.resize(control_planes=2, workers=2)
        world.make("load-balancer", 0)
        world.make("control-plane", 2)
        world.make("worker", 2)
        ways_back.of("lab", Console())(ShrinkBack(1, 1))
        assert world.steps == ["-worker-2", "-control-plane-2"]
        assert [node.name for node in world.there.nodes] == ["lab-control-plane-1", "lab-worker-1"]

    def test_one_that_is_recorded_and_was_never_made_goes_too(self, world: World) -> None:
        world.resize(control_planes=1, workers=2)
        ways_back.of("lab", Console())(ShrinkBack(1, 1))
        assert world.there.spec.workers == 1

    def test_a_balancer_without_its_control_plane_goes_with_that_one(self, world: World) -> None:
        world.make("load-balancer", 0)
        ways_back.of("lab", Console())(ShrinkBack(1, 1))
        assert world.steps == ["+control-plane-2", "-control-plane-2"]
        assert [node.name for node in world.there.nodes] == ["lab-control-plane-1", "lab-worker-1"]

    def test_twice_is_harmless(self, world: World) -> None:
        ways_back.of("lab", Console())(ShrinkBack(1, 1))
        assert world.steps == []


class TestPutBack:
    def test_the_cluster_is_as_it_was_and_the_checkpoint_gone(self, world: World) -> None:
        keep(world)
        world.resize(control_planes=1, workers=7)
        notes = world.killed(PutBack("before"))
        ways_back.of("lab", Console())(PutBack("before"))
        assert world.there.spec.workers == 1
        assert world.whole == 1
        assert checkpoints.listed(world.provider, "lab") == []
        assert not notes.is_empty(), "until all of it is done the way back stays in the journal"

    @pytest.mark.usefixtures("world")
    def test_one_that_cannot_start_keeps_its_checkpoint(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def late(*_: object) -> bool:
            raise TimedOut("the API: not within 300 s")

        keep(world)
        monkeypatch.setattr(lifecycle, "whole", late)
        with pytest.raises(TimedOut):
            ways_back.of("lab", Console())(PutBack("before"))
        assert [one.name for one in checkpoints.listed(world.provider, "lab")] == ["before"]

    def test_where_it_was_cut_off_before_there_was_one_the_cluster_is_started(self, world: World) -> None:
        world.provider.node("lab-worker-1").stop()
        ways_back.of("lab", Console())(PutBack("before"))
        assert {node.state() for node in world.there.nodes} == {"running"}

    def test_half_upgraded_with_nothing_to_go_back_to(self, world: World) -> None:
        known = world.provider.network("lab")
        assert known is not None
        world.provider.change("lab", {**known.metadata, UPGRADING: "1.37"})
        with pytest.raises(KubedrillError, match="on its way"):
            ways_back.of("lab", Console())(PutBack("before"))
        assert world.whole == 0


class TestBlock:
    def test_it_is_on_disk_in_the_block_and_gone_after_it(self, world: World) -> None:
        notes, seen = Journal.of("lab"), []

        def back() -> None:
            seen.append(len(notes.read()[0]))

        with going_back(ShrinkBack(1, 1), notes, back) as entry:
            assert notes.read() == ((entry,), ())
        assert seen == [1]
        assert notes.is_empty()

    def test_an_error_goes_on_its_way_once_it_is_back(self, world: World) -> None:
        notes, mine = Journal.of("lab"), KeyboardInterrupt()
        went: list[str] = []
        with pytest.raises(KeyboardInterrupt) as caught, going_back(ShrinkBack(1, 1), notes, lambda: went.append("")):
            raise mine
        assert caught.value is mine
        assert len(went) == 1
        assert notes.is_empty()

    def test_a_way_back_that_fails_stays_in_the_journal(self, world: World) -> None:
        def back() -> None:
            raise KubedrillError("the engine is gone")

        notes, mine = Journal.of("lab"), ValueError("what the drill saw")
        with (
            pytest.raises(HealFailed, match=r"the engine is gone(.|\n)*invoke heal") as caught,
            going_back(ShrinkBack(1, 1), notes, back),
        ):
            raise mine
        assert caught.value.during is mine
        assert len(notes.read()[0]) == 1

    def test_what_a_killed_run_left_is_refused(self, world: World) -> None:
        notes = world.killed(ShrinkBack(1, 1))
        block = going_back(PutBack("before"), notes, lambda: pytest.fail("it goes back"))
        with pytest.raises(FaultRefused, match=r"beyond 1\+1(.|\n)*invoke heal"):
            block.__enter__()
        assert len(notes.read()[0]) == 1


class TestHeal:
    def grown(self, world: World) -> Journal:
        """A run was killed when it had added a worker."""
        world.resize(control_planes=1, workers=2)
        world.make("worker", 2)
        return world.killed(ShrinkBack(1, 1))

    def test_a_cluster_that_grew(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        notes = self.grown(world)
        drill_commands.heal(Console(), "lab")
        assert "healed: grow the cluster beyond 1+1" in capsys.readouterr().out
        assert world.steps == ["-worker-2"]
        assert notes.is_empty()

    def test_a_cluster_that_was_half_upgraded(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        keep(world)
        known = world.provider.network("lab")
        assert known is not None
        world.provider.change("lab", {**known.metadata, UPGRADING: "1.37"})
        notes = world.killed(PutBack("before"))
        drill_commands.heal(Console(), "lab")
        assert "healed: change the cluster as a whole" in capsys.readouterr().out
        assert world.there.upgrading == ""
        assert checkpoints.listed(world.provider, "lab") == []
        assert notes.is_empty()

    def test_one_that_fails_is_told_and_goes_on_the_next_time(self, world: World) -> None:
        notes = self.grown(world)
        world.breaks_at = "worker-2"
        with pytest.raises(HealFailed, match="the engine is gone"):
            drill_commands.heal(Console(), "lab")
        assert not notes.is_empty()
        world.breaks_at = ""
        drill_commands.heal(Console(), "lab")
        assert notes.is_empty()

    def test_whoever_has_nodes_alone_says_who_can(self, world: World) -> None:
        notes = self.grown(world)
        with pytest.raises(HealFailed, match="not undone on nodes alone"):
            heal(world.there, notes)
        assert not notes.is_empty()

    def test_until_then_nobody_removes_the_checkpoint(self, world: World) -> None:
        keep(world)
        world.killed(PutBack("before"))
        with pytest.raises(KubedrillError, match="invoke heal --name lab"):
            operations.checkpoint(Console(), None, "lab", listing=False, remove="before")
        assert [one.name for one in checkpoints.listed(world.provider, "lab")] == ["before"]


class TestFile:
    @pytest.mark.parametrize("whole", [PutBack("before-upgrade"), ShrinkBack(1, 2)])
    def test_what_is_written_is_read(self, world: World, whole: Whole) -> None:
        (entry,), broken = world.killed(whole).read()
        assert entry.whole == whole
        assert broken == ()

    @pytest.mark.parametrize(
        "data",
        [{}, [], "all", {"kind": "PutBack"}, {"kind": "PutBack", "checkpoint": 1}, {"kind": "Grow", "workers": 1},
         {"kind": "ShrinkBack", "control_planes": 1, "workers": "1"}],
    )  # fmt: skip
    def test_a_way_back_that_is_none_is_told(self, world: World, data: Any) -> None:
        notes = world.killed(ShrinkBack(1, 1))
        (path,) = notes.folder.glob("*.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "whole": data}))
        entries, broken = notes.read()
        assert entries == ()
        assert len(broken) == 1

    def test_one_of_an_older_revision_has_none(self, world: World) -> None:
        notes = world.killed(ShrinkBack(1, 1))
        (path,) = notes.folder.glob("*.json")
        content = json.loads(path.read_text())
        del content["whole"]
        path.write_text(json.dumps(content))
        assert notes.read()[0][0].whole is None
