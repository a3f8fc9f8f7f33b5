"""A cluster kept and put back: names, what is refused, and that it runs again whatever happened."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import whole_world
from fake_node import Stored
from whole_world import World, whole_as_of

from kubedrill import checkpoints, cluster, operations
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.journal import Journal
from kubedrill.providers.base import Provider

world = whole_world.world  # a fixture


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
