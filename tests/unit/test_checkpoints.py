"""A cluster kept and put back: names, what is refused, and that it runs again whatever happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
import whole_world
from fake_node import Stored
from whole_world import World, whole_as_of

from kubedrill import checkpoints, cluster, drill_commands, kept, operations
from kubedrill.console import Console
from kubedrill.errors import Busy, InvalidSpec, KubedrillError, NotFound
from kubedrill.journal import Journal, Owner
from kubedrill.locks import only_one
from kubedrill.providers.base import NetworkSpec, Provider
from kubedrill.scenario import Scenario
from kubedrill.scenario.pool import Pool
from kubedrill.spec import ClusterSpec

world = whole_world.world  # a fixture
DRILL = Scenario("small", "", "", lambda lab: None, {"controlPlanes": 3, "workers": 2})
VM_SPEC = ClusterSpec(name="vms", provider="vagrant")


class TestCheckpoints:
    @pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", "x" * 41, "a/b", "$x"])
    def test_names(self, world: World, name: str) -> None:
        with pytest.raises(InvalidSpec):
            checkpoints.valid_name(name)

    def test_a_running_cluster_is_stopped_kept_and_started(self, world: World) -> None:
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        assert world.states() == {"running"}
        done = [what for what, _ in world.happened("stop", "save", "start")]
        assert done == ["stop"] * 6 + ["save"] + ["start"] * 6
        world.provider.node("lab-worker-1").disk["/etc/later"] = Stored(b"x", 0o600)
        operations.restore(Console(), "clean", "lab")
        assert world.states() == {"running"}
        assert "/etc/later" not in world.provider.node("lab-worker-1").disk

    def test_a_stopped_cluster_stays_stopped(self, world: World) -> None:
        operations.stop(Console(), "lab")
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        assert world.states() == {"stopped"}

    def test_a_failure_leaves_it_running(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(cluster: str, checkpoint: str) -> None:
            raise KubedrillError("the disk is full")

        monkeypatch.setattr(world.provider, "save", full)
        with pytest.raises(KubedrillError, match="the disk is full"):
            operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        assert world.states() == {"running"}

    def test_a_name_that_is_taken_and_a_sick_cluster_are_refused_before_anything_stops(self, world: World) -> None:
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        world.provider.events.clear()
        with pytest.raises(InvalidSpec, match="invoke checkpoint --remove clean --name lab"):
            operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        first, *others = whole_as_of(1).cluster.nodes
        seen = whole_as_of(1)
        world.seen = replace(seen, cluster=replace(seen.cluster, nodes=(replace(first, ready=False), *others)))
        with pytest.raises(KubedrillError, match="not healthy"):
            operations.checkpoint(Console(), "other", "lab", listing=False, remove="")
        world.provider.node("lab-worker-1").pause()
        with pytest.raises(KubedrillError, match="invoke resume"):
            operations.checkpoint(Console(), "other", "lab", listing=False, remove="")
        assert world.happened("stop", "save") == []

    def test_what_a_drill_left_is_not_kept_and_not_healed_in_what_was_put_back(self, world: World) -> None:
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        notes = Journal.of("lab")
        notes.write(notes.entry("0badcafe", "kill the node lab-worker-1", "", (), ()))
        with pytest.raises(KubedrillError, match="invoke heal --name lab"):
            operations.checkpoint(Console(), "other", "lab", listing=False, remove="")
        operations.restore(Console(), "clean", "lab")
        assert notes.is_empty()

    def test_list_and_remove(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        operations.checkpoint(Console(), None, "lab", listing=True, remove="")
        assert "no checkpoint" in capsys.readouterr().out
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        capsys.readouterr()
        operations.checkpoint(Console(), None, "lab", listing=True, remove="")
        assert capsys.readouterr().out.splitlines()[1].split()[0::3] == ["clean", "6"]
        operations.checkpoint(Console(), None, "lab", listing=False, remove="clean")
        for task in (
            lambda: operations.checkpoint(Console(), None, "lab", listing=False, remove="clean"),
            lambda: operations.restore(Console(), "clean", "lab"),
        ):
            with pytest.raises(NotFound, match="no checkpoint 'clean'"):
                task()

    @pytest.mark.parametrize(
        ("name", "listing", "remove"), [(None, False, ""), ("a", True, ""), ("a", False, "b"), (None, True, "b")]
    )
    def test_one_thing_at_a_time(self, world: World, name: str | None, listing: bool, remove: str) -> None:
        with pytest.raises(InvalidSpec, match="what about checkpoints"):
            operations.checkpoint(Console(), name, "lab", listing=listing, remove=remove)

    def test_down_says_that_they_go_too(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        cluster.down(world.provider, "lab", Console())
        assert "with lab go its checkpoints: clean" in capsys.readouterr().out
        assert world.provider.clusters() == []

    def test_a_provider_that_cannot(self) -> None:
        with pytest.raises(KubedrillError, match="cannot be kept"):
            checkpoints.keeper_of(cast(Provider, object()))
        assert checkpoints.listed(cast(Provider, object()), "lab") == ()


class TestDrillsFromACheckpoint:
    """`invoke scenario --from-checkpoint`: the refusals, and what the pool gives to each drill."""

    REFUSED = (
        ("lab", "other", "no checkpoint 'other' of lab(.|\n)*checkpoints: clean"),
        ("none", "clean", "there is no cluster 'none'"),
        ("vms", "clean", "vms is made of VMs, and has no checkpoints(.|\n)*containers"),
        ("", "clean", "of which cluster is the checkpoint 'clean'(.|\n)*--name"),
        ("lab", "../x", "no name for a checkpoint"),
    )

    @pytest.fixture(autouse=True)
    def clean(self, world: World) -> None:
        """A checkpoint, and a cluster of VMs besides."""
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        world.provider.create_network("vms", NetworkSpec("172.28.9.0/24", {"spec": VM_SPEC.to_json(), "api-port": "1"}))
        world.provider.events.clear()

    def test_each_begins_from_it(self, world: World) -> None:
        pool = Pool(name="lab", checkpoint="clean")
        for _ in range(2):
            world.provider.node("lab-worker-1").disk["/etc/left"] = Stored(b"x", 0o600)
            notes = Journal.of("lab")
            notes.write(notes.entry("0badcafe", "kill the node lab-worker-1", "", (), ()))
            world.provider.node("lab-worker-2").remove()
            found = pool.cluster(DRILL)
            assert (found.spec.name, world.states(), len(world.nodes)) == ("lab", {"running"}, 6)
            assert "/etc/left" not in world.provider.node("lab-worker-1").disk
            assert notes.is_empty(), "what was broken is not broken in what was put back"
        assert world.happened("put back") == [("put back", "lab")] * 2

    def test_it_fits_as_it_was_then(self, world: World) -> None:
        kept.record(world.provider, whole_world.SPEC.model_copy(update={"workers": 1}))
        assert Pool(name="lab", checkpoint="clean").cluster(DRILL).spec.workers == 2

    def test_nobody_else_changes_it_meanwhile_and_the_drill_may_then(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_back = world.provider.put_back

        def alone(whose: str, name: str) -> None:
            with pytest.raises(Busy), only_one(whose):
                pass
            put_back(whose, name)

        monkeypatch.setattr(world.provider, "put_back", alone)
        pool = Pool(name="lab", checkpoint="clean")
        pool.cluster(DRILL)
        with only_one("lab"), pytest.raises(Busy):
            pool.cluster(DRILL)
        notes = Journal.of("lab")
        entry = notes.entry("0badcafe", "kill the node lab-worker-1", "", (), ())
        notes.write(replace(entry, owner=replace(entry.owner, pid=1)))
        monkeypatch.setattr(Owner, "is_alive", lambda _: True)
        with pytest.raises(Busy, match="kill the node lab-worker-1"):
            pool.cluster(DRILL)
        assert world.happened("put back") == [("put back", "lab")]

    @pytest.mark.parametrize(("name", "checkpoint", "why"), REFUSED)
    def test_what_there_is_not_is_refused_and_nothing_changed(
        self, world: World, name: str, checkpoint: str, why: str
    ) -> None:
        with pytest.raises(KubedrillError, match=why):
            Pool(name=name, checkpoint=checkpoint).cluster(DRILL)
        assert world.happened("stop", "remove", "put back") == []

    @pytest.mark.parametrize(("name", "checkpoint", "why"), REFUSED)
    def test_by_the_task_before_any_drill_begins(
        self, monkeypatch: pytest.MonkeyPatch, name: str, checkpoint: str, why: str
    ) -> None:
        ran: list[Sequence[str]] = []
        monkeypatch.setattr(drill_commands.shell, "interactive", lambda argv: ran.append(argv) or 0)
        with pytest.raises(KubedrillError, match=why):
            drill_commands.scenario(Console(), ["hello"], everything=False, name=name, flags={}, checkpoint=checkpoint)
        assert ran == []
        drill_commands.scenario(Console(), ["hello"], everything=False, name="lab", flags={}, checkpoint="clean")
        assert {"--drill-cluster=lab", "--drill-from-checkpoint=clean"} <= set(ran[0])
        drill_commands.scenario(Console(), ["hello"], everything=False, name="lab", flags={})
        assert "checkpoint" not in " ".join(ran[1])
