"""Healing: what is undone, tried again, kept in the journal and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import faulty_world
import pytest
from fake_node import Call, FakeNode
from faulty_world import BOTH, DEAD, NO, OK, World, broken_while

from kubedrill import cluster, commands, drill_commands
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import Busy, CommandFailed, EngineUnavailable, InvalidSpec, KubedrillError, NotFound
from kubedrill.faults import (
    BrokenJournal,
    DropForward,
    EngineOff,
    FaultRefused,
    HealFailed,
    KillNode,
    LeftOut,
    PauseNode,
    RemoveStaticPod,
    StopUnit,
    heal,
    inject,
    targets,
)  # fmt: skip
from kubedrill.journal import Journal
from kubedrill.providers.docker import DockerProvider
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result

world, no_heal = faulty_world.world, faulty_world.no_heal  # fixtures


class TestHeal:
    def test_nothing_to_do(self, world: World) -> None:
        assert heal(world.cluster, world.journal) == []

    def test_an_undo_that_fails_is_told_and_kept(self, world: World) -> None:
        with pytest.raises(HealFailed) as caught, inject(BOTH, world.cluster, world.journal):
            world.fails("while iptables", "worker-2")
        assert caught.value.during is None
        assert "not within" in str(caught.value)
        assert "invoke heal" in str(caught.value)
        assert not world.journal.is_empty()
        world.mended()
        assert len(heal(world.cluster, world.journal)) == 1
        assert not world.broken
        assert world.journal.is_empty()

    def test_an_undo_that_does_nothing_is_noticed(self, world: World) -> None:
        with pytest.raises(HealFailed), inject(BOTH, world.cluster, world.journal):
            world.before = lambda _, call: OK if "while iptables" in call.line else None
        assert not world.journal.is_empty()

    def test_the_error_of_the_block_is_not_hidden(self, world: World) -> None:
        mine = ValueError("what the drill saw")
        with pytest.raises(HealFailed) as caught:
            broken_while(world, BOTH, lambda: world.fails("while iptables"), mine)
        assert caught.value.during is mine
        assert caught.value.__cause__ is mine
        assert "what the drill saw" in str(caught.value)

    def test_an_undo_is_tried_until_it_works(self, world: World) -> None:
        tries = [0]

        def flaky(_node: FakeNode, call: Call) -> Result | None:
            if "systemctl start" in call.line:
                tries[0] += 1
                return NO if tries[0] < 3 else None
            return None

        world.before = flaky
        with inject(StopUnit("worker-1", "kubelet"), world.cluster, world.journal):
            pass
        assert tries == [3]

    def test_one_that_fails_does_not_keep_the_others(self, world: World) -> None:
        for fault in (KillNode("worker-1"), DropForward(("worker-2",)), PauseNode("worker-2")):
            with inject(LeftOut(fault), world.cluster, world.journal):
                pass
        world.fails("while iptables")
        with pytest.raises(HealFailed) as caught:
            heal(world.cluster, world.later())
        assert "healed: kill the node worker-1" in str(caught.value)
        assert [node.state() for node in world.cluster.nodes] == ["running"] * 6
        assert [entry.fault for entry in world.journal.read()[0]] == [
            "drop what worker-2 should forward (not healed, on purpose)"
        ]

    def test_a_broken_file_is_told_after_all_else_is_healed(self, world: World) -> None:
        with inject(LeftOut(KillNode("worker-1")), world.cluster, world.journal):
            pass
        (world.later().folder / "0000-bad.json").write_text("{")
        with pytest.raises(BrokenJournal) as caught:
            heal(world.cluster, world.journal)
        assert "0000-bad.json" in str(caught.value)
        assert world.provider.node("lab-worker-1").state() == "running"
        with pytest.raises(FaultRefused, match="killed run"):
            inject(KillNode("worker-1"), world.cluster, world.journal).__enter__()

    def test_what_a_living_run_breaks_is_left_alone(self, world: World) -> None:
        with inject(KillNode("worker-1"), world.cluster, world.journal):
            with pytest.raises(Busy):
                heal(world.cluster, Journal(world.journal.folder, DEAD))
            assert world.provider.node("lab-worker-1").state() == "stopped"

    def test_a_node_that_is_gone_needs_no_undo(self, world: World) -> None:
        with inject(RemoveStaticPod("control-plane-1", "etcd"), world.cluster, world.journal):
            world.provider.node("lab-control-plane-1").remove()
        assert world.journal.is_empty()

    def test_what_a_boot_mends_needs_none_on_a_node_that_is_off(self, world: World) -> None:
        with inject(BOTH, world.cluster, world.journal):
            world.provider.node("lab-worker-1").kill()
        assert world.journal.is_empty()
        assert not any("worker-1: sh -c while" in line for line in world.lines())

    def test_what_is_on_disk_needs_one(self, world: World) -> None:
        with (
            pytest.raises(HealFailed, match="could not heal") as caught,
            inject(RemoveStaticPod("control-plane-1", "etcd"), world.cluster, world.journal),
        ):
            world.provider.node("lab-control-plane-1").kill()
        assert "does not run" in str(caught.value)
        assert not world.journal.is_empty()

    def test_down_in_the_block_leaves_nothing_to_heal(self, world: World) -> None:
        with inject(KillNode("worker-1"), world.cluster, world.journal) as entry:
            world.journal.remove(entry)
        assert world.provider.node("lab-worker-1").state() == "stopped"

    def test_left_out(self, world: World) -> None:
        told: list[str] = []
        with inject(LeftOut(KillNode("worker-1")), world.cluster, world.journal, told.append):
            pass
        assert world.provider.node("lab-worker-1").state() == "stopped"
        assert told[-1] == "left as it is: kill the node worker-1 (not healed, on purpose)"
        assert heal(world.cluster, world.journal, told.append) != []
        assert world.provider.node("lab-worker-1").state() == "running"

    def test_half_of_what_is_left_out_is_healed(self, world: World) -> None:
        world.fails("iptables -w -I FORWARD -m comment --comment kubedrill", "worker-2")
        with pytest.raises(CommandFailed), inject(LeftOut(BOTH), world.cluster, world.journal):
            pytest.fail("injected")
        assert not world.broken


class TestCommand:
    @pytest.fixture
    def place(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.setattr(cluster, "lab", lambda _: cast(Any, type("Lab", (), {"provider": world.provider})))
        monkeypatch.setattr(cluster, "attach", lambda *_: world.cluster)
        world.journal = Journal.of("lab")
        return world

    def test_nothing_to_undo(self, place: World, capsys: pytest.CaptureFixture[str]) -> None:
        drill_commands.heal(Console(), "lab")
        assert "nothing to undo in lab" in capsys.readouterr().out

    def test_a_name_that_is_no_cluster_s_is_no_cluster_that_is_well(
        self, place: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none(*_: object) -> Cluster:
            raise NotFound("there is no cluster 'labb'")

        monkeypatch.setattr(cluster, "attach", none)
        with pytest.raises(NotFound, match="labb"):
            drill_commands.heal(Console(), "labb")

    def test_what_a_killed_run_left(self, place: World, no_heal: None, capsys: pytest.CaptureFixture[str]) -> None:
        with inject(KillNode("worker-1"), place.cluster, place.journal):
            pass
        place.later()
        drill_commands.heal(Console(), "lab")
        assert "healed: kill the node worker-1" in capsys.readouterr().out
        assert place.provider.node("lab-worker-1").state() == "running"

    @pytest.mark.parametrize("name", ["lab", ""])
    def test_an_engine_that_a_killed_run_left_off_is_started_first(
        self, place: World, no_heal: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """By `invoke setup`, as heal and status say; what is to be undone is kept until then."""
        with inject(EngineOff(("worker-1", "worker-2")), place.cluster, place.journal):
            place.provider.node("lab-worker-1").kill()
        place.later()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
        off = type("Lab", (), {"provider": DockerProvider(Engine(), frozenset())})
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(cluster, "lab", lambda _: cast(Any, off))
            for work in (
                lambda: drill_commands.heal(Console(), name),
                lambda: commands.status(Console(), None, as_json=False),
            ):
                with pytest.raises(EngineUnavailable) as caught:
                    work()
                assert "run: invoke setup" in caught.value.todo
        assert not place.journal.is_empty()
        drill_commands.heal(Console(), name)
        assert place.provider.node("lab-worker-1").state() == "running"
        assert place.journal.is_empty()

    def test_a_cluster_that_is_gone(self, place: World, no_heal: None, capsys: pytest.CaptureFixture[str]) -> None:
        with inject(KillNode("worker-1"), place.cluster, place.journal):
            pass
        place.provider.remove_cluster("lab")
        drill_commands.heal(Console(), "lab")
        assert "lab is gone" in capsys.readouterr().out
        assert place.journal.is_empty()

    def test_down_forgets(self, place: World, no_heal: None) -> None:
        with inject(KillNode("worker-1"), place.cluster, place.journal):
            pass
        assert cluster.down(place.provider, "lab", Console())
        assert place.journal.is_empty()

    def test_no_name(self, place: World) -> None:
        with pytest.raises(InvalidSpec):
            drill_commands.heal(Console(), "../x")


def test_the_errors_are_for_users() -> None:
    assert all(issubclass(kind, KubedrillError) for kind in (FaultRefused, HealFailed, BrokenJournal, targets.NoTarget))
