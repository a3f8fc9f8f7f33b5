"""Faults are injected once their undo is on disk, or refused with a reason, and healed however the block ends."""

from __future__ import annotations

import os
from contextlib import ExitStack

import faulty_world
import pytest
from fake_node import Call, FakeNode
from faulty_world import BOTH, DEAD, Killed, World, broken_while

from kubedrill.errors import Busy, CommandFailed
from kubedrill.faults import (
    Cordon,
    Fault,
    FaultRefused,
    KillNode,
    KillProcess,
    LeftOut,
    PacketLoss,
    PauseNode,
    RemoveStaticPod,
    StopNode,
    StopUnit,
    inject,
    perform,
)  # fmt: skip
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command
from kubedrill.journal import Journal
from kubedrill.shell import Result

world = faulty_world.world  # a fixture


class TestInject:
    @pytest.mark.parametrize("fault", [KillNode("worker-1"), StopNode("worker-1"), PauseNode("worker-1")])
    def test_computers(self, world: World, fault: Fault) -> None:
        node = world.provider.node("lab-worker-1")
        with inject(fault, world.cluster, world.journal) as entry:
            assert node.state() != "running"
            assert world.journal.has(entry)
        assert node.state() == "running"
        assert world.journal.is_empty()

    def test_the_undo_is_on_disk_first_and_to_the_end(self, world: World) -> None:
        seen: list[tuple[str, bool]] = []

        def look(_node: FakeNode, call: Call) -> Result | None:
            seen.append((call.argv[0], world.journal.is_empty()))
            return None

        world.before = look
        with inject(StopUnit("worker-1", "kubelet"), world.cluster, world.journal):
            pass
        assert seen == [("systemctl", True), ("systemctl", False), ("systemctl", False), ("systemctl", False)]
        assert world.lines() == [
            "worker-1: systemctl is-active kubelet", "worker-1: systemctl stop kubelet",
            "worker-1: systemctl start kubelet", "worker-1: systemctl is-active kubelet",
        ]  # fmt: skip
        assert world.journal.is_empty()

    def test_nothing_is_done_where_the_undo_cannot_be_written(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"), inject(KillNode("worker-1"), world.cluster, world.journal):
            pytest.fail("injected")
        assert world.happened() == []

    @pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(143), Killed()])
    def test_whatever_ends_the_block_goes_on_its_way(self, world: World, error: BaseException) -> None:
        seen: list[int] = []
        with pytest.raises(type(error)) as caught:
            broken_while(world, BOTH, lambda: seen.append(len(world.broken)), error)
        assert seen == [2]
        assert caught.value is error
        assert not world.broken
        assert world.journal.is_empty()

    def test_half_an_inject_is_healed(self, world: World) -> None:
        world.fails("iptables -w -I FORWARD -m comment --comment kubedrill", "worker-2")
        with pytest.raises(CommandFailed), inject(BOTH, world.cluster, world.journal):
            pytest.fail("injected")
        assert not world.broken
        assert world.journal.is_empty()
        assert sum("while iptables" in line for line in world.lines()) == 2

    def test_several_are_healed_in_reverse(self, world: World) -> None:
        with ExitStack() as stack:
            for fault in (KillNode("worker-1"), PauseNode("worker-2")):
                stack.enter_context(inject(fault, world.cluster, world.journal))
            assert [entry.fault for entry in world.journal.read()[0]] == [
                "kill the node worker-1", "pause the node worker-2"
            ]  # fmt: skip
        assert [event[:2] for event in world.happened()] == [
            ("kill", "lab-worker-1"), ("pause", "lab-worker-2"), ("resume", "lab-worker-2"), ("start", "lab-worker-1")
        ]  # fmt: skip

    def test_what_is_told(self, world: World) -> None:
        told: list[str] = []
        world.fails("netem")
        with inject(PacketLoss("worker-1", 20), world.cluster, world.journal, told.append) as entry:
            assert entry.means == "nftables, on arrival"
        assert told == [
            "injected: lose 20 % of the packets of worker-1 (by nftables, on arrival)",
            "healed: lose 20 % of the packets of worker-1",
        ]


class TestRefused:
    def refused(self, world: World, fault: Fault) -> str:
        """The reason; nothing may have been changed."""
        with pytest.raises(FaultRefused) as caught, inject(fault, world.cluster, world.journal):
            pytest.fail("injected")
        assert world.journal.is_empty()
        assert world.happened() == []
        return str(caught.value)

    def test_a_need_that_the_node_lacks(self, world: World) -> None:
        world.before = lambda _, call: (
            Result(2, "", "Error: Specified qdisc kind is unknown.") if "unshare" in call.line else None
        )
        why = self.refused(world, PacketLoss("worker-1", 5))
        assert "netem on lab-worker-1" in why
        assert "nft_numgen on lab-worker-1" in why
        assert "qdisc kind is unknown" in why

    def test_a_trial_that_does_not_end(self, world: World) -> None:
        def hang(node: FakeNode, call: Call) -> Result | None:
            if "unshare" in call.line:
                raise CommandFailed(call.line, None, "", node.name)
            return None

        world.before = hang
        assert "did not end" in self.refused(world, BOTH)

    @pytest.mark.parametrize(
        ("fault", "fails"),
        [
            (StopUnit("worker-1", "kubelet"), "is-active"),
            (KillProcess("control-plane-1", "etcd"), "pgrep"),
            (RemoveStaticPod("control-plane-1", "etcd"), "test -e"),
            (Cordon("worker-1"), "unschedulable"),
        ],
    )
    def test_what_is_broken_already_is_not_ours_to_mend(self, world: World, fault: Fault, fails: str) -> None:
        world.fails(fails)
        assert "broken already" in self.refused(world, fault)

    def test_a_node_that_does_not_run(self, world: World) -> None:
        world.provider.node("lab-worker-1").kill()
        world.provider.events.clear()
        assert "lab-worker-1 is stopped" in self.refused(world, KillNode("worker-1"))
        assert "lab-worker-1 is stopped" in self.refused(world, BOTH)

    def test_a_cluster_with_what_a_killed_run_left(self, world: World) -> None:
        with inject(LeftOut(KillNode("worker-2")), world.cluster, world.journal):
            pass
        with pytest.raises(FaultRefused, match="killed run") as caught:
            inject(KillNode("worker-1"), world.cluster, world.later()).__enter__()
        assert "invoke heal" in str(caught.value)
        assert "kill the node worker-2" in str(caught.value)

    def test_a_cluster_that_another_run_breaks(self, world: World) -> None:
        with (
            inject(KillNode("worker-2"), world.cluster, world.journal),
            pytest.raises(Busy),
            inject(KillNode("worker-1"), world.cluster, Journal(world.journal.folder, DEAD)),
        ):
            pytest.fail("injected")
        assert world.provider.node("lab-worker-1").state() == "running"


class TestAnyControlPlane:
    def test_the_first_that_works(self, world: World) -> None:
        world.provider.node("lab-control-plane-1").kill()
        world.fails("kubectl", "control-plane-2")
        with inject(Cordon("worker-1"), world.cluster, world.journal):
            pass
        ran = [line.split(":")[0] for line in world.lines() if " cordon " in line]
        assert ran == ["control-plane-2", "control-plane-3"]

    def test_none_runs(self, world: World) -> None:
        for number in (1, 2, 3):
            world.provider.node(f"lab-control-plane-{number}").kill()
        with pytest.raises(FaultRefused, match="cordon"), inject(Cordon("worker-1"), world.cluster, world.journal):
            pytest.fail("injected")
        with pytest.raises(perform.NoControlPlane):
            perform.perform(world.cluster, Command(ANY_CONTROL_PLANE, ("true",)))
