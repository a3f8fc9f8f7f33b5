"""Faults: what they would do, and that whatever happens while they do it is healed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from fake_node import Call, FakeNode
from faulty_world import DEAD, NO, OK, Killed, World

from kubedrill import cluster, commands
from kubedrill.console import Console
from kubedrill.errors import Busy, CommandFailed, InvalidSpec, KubedrillError, NotFound
from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults import (
    BrokenJournal,
    Cordon,
    DisableUnit,
    Drain,
    DropForward,
    Fault,
    FaultRefused,
    HealFailed,
    KillNode,
    KillProcess,
    LeftOut,
    PacketLoss,
    Partition,
    PauseNode,
    PowerOff,
    RemoveStaticPod,
    StopNode,
    StopUnit,
    Target,
    heal,
    inject,
    injection,
    perform,
    targets,
)  # fmt: skip
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Plan, from_data, to_data
from kubedrill.faults.needs import TRIALS
from kubedrill.journal import Journal
from kubedrill.shell import Result
from kubedrill.wait import until

BOTH = DropForward(("worker-1", "worker-2"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    hurried = {"within": 0.05, "every": 0.005}
    monkeypatch.setattr(perform, "until", lambda *args, **named: until(*args, **{**named, **hurried}))
    return World(tmp_path)


@pytest.fixture
def no_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process dies before it heals anything."""
    monkeypatch.setattr(injection, "_heal_own", lambda *_: None)


def plans(world: World, fault: Fault) -> tuple[Plan, ...]:
    return fault.ways(world.cluster, "0badcafe")


def plan(world: World, fault: Fault) -> Plan:
    (only,) = plans(world, fault)
    return only


def broken_while(world: World, fault: Fault, work: Callable[[], object], end: BaseException | None = None) -> None:
    """Inject, do some work, end the block, heal."""
    with inject(fault, world.cluster, world.journal):
        work()
        if end is not None:
            raise end


def words(actions: tuple[object, ...]) -> list[str]:
    return [str(action).removeprefix("lab-") for action in actions]


class TestPlans:
    @pytest.mark.parametrize(
        ("fault", "injected", "undone"),
        [
            (KillNode("worker-1"), ["kill lab-worker-1"], ["start lab-worker-1"]),
            (StopNode("lab-worker-1"), ["stop lab-worker-1"], ["start lab-worker-1"]),
            (PauseNode("worker-1"), ["pause lab-worker-1"], ["resume lab-worker-1"]),
            (
                StopUnit("worker-1", "kubelet"),
                ["worker-1 # systemctl stop kubelet"],
                ["worker-1 # systemctl start kubelet"],
            ),
            (
                DisableUnit("worker-1", "kubelet"),
                ["worker-1 # systemctl --quiet disable kubelet"],
                ["worker-1 # systemctl --quiet enable --now kubelet"],
            ),
            (KillProcess("control-plane-1", "etcd"), ["control-plane-1 # pkill -KILL -f ^([^ ]*/)?etcd( |$)"], []),
            (
                RemoveStaticPod("control-plane-1", "etcd"),
                [
                    "control-plane-1 # sh -c mkdir -p /etc/kubernetes/kubedrill-removed && "
                    "mv /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/kubedrill-removed/etcd.yaml"
                ],
                [
                    "control-plane-1 # sh -c if test -e /etc/kubernetes/kubedrill-removed/etcd.yaml; then "
                    "mv /etc/kubernetes/kubedrill-removed/etcd.yaml /etc/kubernetes/manifests/etcd.yaml; fi"
                ],
            ),
            (
                Partition("worker-1", ("worker-2",)),
                ["worker-1 # nft -f -"],
                ["worker-1 # nft add table inet kubedrill_0badcafe; delete table inet kubedrill_0badcafe"],
            ),
            (
                DropForward(("worker-1",)),
                ["worker-1 # iptables -w -I FORWARD -m comment --comment kubedrill-0badcafe -j DROP"],
                [
                    "worker-1 # sh -c while iptables -w -C FORWARD -m comment --comment kubedrill-0badcafe -j DROP "
                    "2>/dev/null; do iptables -w -D FORWARD -m comment --comment kubedrill-0badcafe -j DROP; done"
                ],
            ),
            (
                Cordon("worker-1"),
                ["@control-plane # kubectl --request-timeout=10s cordon lab-worker-1"],
                ["@control-plane # kubectl --request-timeout=10s uncordon lab-worker-1"],
            ),
            (
                Drain("worker-1", limit=30),
                [
                    "@control-plane # kubectl drain lab-worker-1 --ignore-daemonsets --delete-emptydir-data --force "
                    "--timeout=30s"
                ],
                ["@control-plane # kubectl --request-timeout=10s uncordon lab-worker-1"],
            ),
        ],
    )
    def test_what_is_done_and_undone(
        self, world: World, fault: Fault, injected: list[str], undone: list[str]
    ) -> None:  # fmt: skip
        made = plan(world, fault)
        assert words(made.inject) == injected
        assert words(made.undo) == undone
        assert made.healed
        assert made.before
        for action in (*made.inject, *made.undo, *made.healed, *made.before):
            assert from_data(json.loads(json.dumps(to_data(action)))) == action
        assert not world.provider.events, "a plan is pure"

    @pytest.mark.parametrize(("orderly", "do"), [(True, "stop"), (False, "kill")])
    def test_the_power_of_many(self, world: World, orderly: bool, do: str) -> None:
        """Group after group, each at once; the undo is written to disk, so it is made of single steps."""
        fault = PowerOff((("worker-1", "worker-2"), ("load-balancer",)), orderly=orderly)
        made = plan(world, fault)
        assert words(made.inject) == [f"{do} lab-worker-1, {do} lab-worker-2", f"{do} lab-load-balancer"]
        assert words(made.undo) == ["start lab-load-balancer", "start lab-worker-2", "start lab-worker-1"]
        for action in (*made.undo, *made.healed, *made.before):
            assert from_data(json.loads(json.dumps(to_data(action)))) == action
        states: list[str] = []
        broken_while(world, fault, lambda: states.extend(node.state() for node in world.provider.nodes("lab")))
        assert states == ["stopped", "running", "running", "running", "stopped", "stopped"]
        assert {node.state() for node in world.provider.nodes("lab")} == {"running"}
        assert [event for event in world.happened() if event[0] == do][2] == (do, "lab-load-balancer")

    @pytest.mark.parametrize(
        ("direction", "rules", "need"),
        [
            ("in", ["ip saddr { 172.28.0.102, 172.28.0.11 } drop"], "nftables"),
            ("out", ["ip daddr { 172.28.0.102, 172.28.0.11 } drop", "rt ip nexthop { 172.28.0.102, 172.28.0.11 } drop"],
             "nft_rt"),
            ("both", ["ip saddr { 172.28.0.102, 172.28.0.11 } drop", "ip daddr { 172.28.0.102, 172.28.0.11 } drop",
                      "rt ip nexthop { 172.28.0.102, 172.28.0.11 } drop"], "nft_rt"),
        ],
    )  # fmt: skip
    def test_a_partition_s_rules(self, world: World, direction: Any, rules: list[str], need: str) -> None:
        made = plan(world, Partition("worker-1", ("worker-1", "worker-2", "control-plane-1"), direction))
        (only,) = made.inject
        assert isinstance(only, Command)
        assert [line.strip() for line in only.stdin.splitlines() if "drop" in line] == rules
        assert made.needs == (("lab-worker-1", need),)

    def test_loss_by_netem_or_by_a_rule(self, world: World) -> None:
        netem, rule = plans(world, PacketLoss("worker-1", 12.5))
        assert netem.needs == (("lab-worker-1", "netem"),)
        assert "netem loss 12.5%" in str(netem.inject[0])
        assert "/^172[.]28[.]0[.]101[/]/" in str(netem.inject[0])
        assert isinstance(rule.inject[0], Command)
        assert 'iifname != "lo" numgen random mod 10000 < 1250 drop' in rule.inject[0].stdin
        whole = plans(world, PacketLoss("worker-1", 100))[1].inject[0]
        assert isinstance(whole, Command)
        assert "numgen" not in whole.stdin

    def test_every_need_can_be_tried_out(self, world: World) -> None:
        faults = (Partition("worker-1", ("worker-2",)), PacketLoss("worker-1", 1), DropForward(("worker-1",)))
        assert {need for fault in faults for made in plans(world, fault) for _, need in made.needs} <= set(TRIALS)

    def test_a_target_is_a_node_and_its_role_is_told(self, world: World) -> None:
        fault = KillNode(Target("lab-worker-1", "etcd leader", "it said so"))
        assert words(plan(world, fault).inject) == ["kill lab-worker-1"]
        assert str(fault) == "kill the node lab-worker-1 (etcd leader: it said so)"
        assert (fault.name, fault.subject) == ("kill node", "lab-worker-1")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: StopUnit("worker-1", "kubelet; reboot"),
            lambda: StopUnit("worker-1", "--now"),
            lambda: KillProcess("worker-1", ""),
            lambda: RemoveStaticPod("control-plane-1", "../../x"),
            lambda: PacketLoss("worker-1", 0),
            lambda: PacketLoss("worker-1", 101),
            lambda: Partition("worker-1", ()),
            lambda: DropForward(()),
        ],
    )
    def test_what_cannot_be_a_fault(self, make: Callable[[], Fault]) -> None:
        with pytest.raises(ValueError):
            make()

    def test_a_node_that_is_not_there(self, world: World) -> None:
        with pytest.raises(NotFound, match="worker-9"):
            plans(world, KillNode("worker-9"))
        with pytest.raises(ValueError, match="from itself"):
            plans(world, Partition("worker-1", ("lab-worker-1",)))


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


class TestKilled:
    """kill -9 at every point; then `invoke heal`."""

    @pytest.mark.parametrize("point", range(7))
    def test_while_it_injects(self, world: World, point: int, no_heal: None) -> None:
        world.dies_at(point)
        with pytest.raises(Killed), inject(BOTH, world.cluster, world.journal):
            raise Killed
        world.mended()
        heal(world.cluster, world.later())
        assert not world.broken
        assert world.journal.is_empty()

    @pytest.mark.parametrize("point", range(5))
    def test_while_it_heals(self, world: World, point: int) -> None:
        with pytest.raises(Killed):
            broken_while(world, BOTH, lambda: world.dies_at(point), Killed())
        world.mended()
        if point < 4:
            assert not world.journal.is_empty(), "not forgotten before it was verified"
        heal(world.cluster, world.later())
        assert not world.broken
        assert world.journal.is_empty()

    def test_with_several_faults(self, world: World, no_heal: None) -> None:
        for fault in (BOTH, KillNode("worker-1"), PauseNode("control-plane-1")):
            broken_while(world, fault, lambda: None)
        told: list[str] = []
        assert heal(world.cluster, world.later(), told.append) == [
            "healed: pause the node control-plane-1", "healed: kill the node worker-1",
            "healed: drop what worker-1, worker-2 should forward",
        ]  # fmt: skip
        assert told[0] == "healing: pause the node control-plane-1"
        assert not world.broken
        assert [node.state() for node in world.cluster.nodes] == ["running"] * 6
        assert heal(world.cluster, world.journal) == []


class TestSignals:
    """Each handler is this test's own: pytest's would end the whole run."""

    @pytest.fixture
    def handled(self) -> Iterator[list[int]]:
        came: list[int] = []
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def interrupt(number: int, _: object) -> None:
            came.append(number)
            raise KeyboardInterrupt

        for number in before:
            signal.signal(number, interrupt)
        yield came
        for number, handler in before.items():
            signal.signal(number, handler)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_one_while_it_heals_waits(self, world: World, handled: list[int], number: signal.Signals) -> None:
        def press(_node: FakeNode, call: Call) -> Result | None:
            if "while iptables" in call.line:
                assert handled == []
                signal.raise_signal(number)
            return None

        with pytest.raises(KeyboardInterrupt), inject(BOTH, world.cluster, world.journal):
            world.before = press
        assert handled == [number]
        assert not world.broken
        assert world.journal.is_empty()

    def test_twice(self, world: World, handled: list[int]) -> None:
        def press() -> None:
            world.before = lambda _, call: signal.raise_signal(signal.SIGINT) if "while" in call.line else None
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            broken_while(world, BOTH, press)
        assert not world.broken
        assert world.journal.is_empty()
        assert len(handled) == 2

    def test_the_handlers_are_put_back(self, world: World, handled: list[int]) -> None:
        before = signal.getsignal(signal.SIGINT)
        with inject(BOTH, world.cluster, world.journal):
            assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGINT) is before


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


class TestTargets:
    def answers(self, world: World, pattern: str, result: Result, node_name: str = "") -> None:
        """Answer commands that match."""
        world.before = lambda node, call: (
            result if re.search(pattern, call.line) and node.name.endswith(node_name) else None
        )

    def member(self, address: str, identity: int, leader: int, term: int = 2) -> dict[str, object]:
        return {
            "Endpoint": f"https://{address}:2379",
            "Status": {"header": {"member_id": identity}, "leader": leader, "raftTerm": term},
        }

    def test_etcd_leader_although_a_member_is_dead(self, world: World) -> None:
        big = 10599778430106088083
        text = json.dumps([self.member("172.28.0.11", 7, big), self.member("172.28.0.13", big, big)])
        self.answers(world, re.escape(ETCDCTL), Result(1, text, "context deadline exceeded"), "control-plane-1")
        assert targets.etcd_leader(world.cluster) == Target(
            "lab-control-plane-3", "etcd leader", "etcdctl endpoint status on lab-control-plane-1"
        )

    def test_who_lost_touch_is_not_believed(self) -> None:
        members = [self.member("10.0.0.1", 1, 1, term=2), self.member("10.0.0.2", 2, 2, term=3)]
        assert targets.leader_address(json.dumps(members)) == "10.0.0.2"

    @pytest.mark.parametrize("text", ["", "null", "[]", "panic: no", json.dumps([{"Endpoint": "x", "Status": {
        "header": {"member_id": 1}, "leader": 0, "raftTerm": 2}}])])  # fmt: skip
    def test_no_leader(self, world: World, text: str) -> None:
        self.answers(world, "etcdctl", Result(1, text, ""))
        with pytest.raises(targets.NoTarget, match="no leader"):
            targets.etcd_leader(world.cluster)

    def test_lease_holder(self, world: World) -> None:
        self.answers(world, "get lease .* kube-scheduler", Result(0, "lab-control-plane-2_4c2c-55", ""))
        found = targets.lease_holder(world.cluster, "kube-scheduler")
        assert (found.node, found.role) == ("lab-control-plane-2", "holder of the lease kube-scheduler")
        assert "4c2c-55" in found.why

    @pytest.mark.parametrize("result", [Result(0, "", ""), Result(0, "elsewhere_1", ""), NO])
    def test_no_lease_holder(self, world: World, result: Result) -> None:
        self.answers(world, "get lease", result)
        with pytest.raises(targets.NoTarget):
            targets.lease_holder(world.cluster, "kube-scheduler")

    def test_node_of_pod(self, world: World) -> None:
        def pod(name: str, node: str, ready: str, **more: str) -> dict[str, object]:
            conditions = [{"type": "Ready", "status": ready}]
            return {
                "metadata": {"name": name, **more}, "spec": {"nodeName": node}, "status": {"conditions": conditions}
            }  # fmt: skip

        pods = [
            pod("d", "lab-worker-2", "True"), pod("c", "lab-worker-1", "True"), pod("b", "lab-worker-2", "False"),
            pod("a", "lab-worker-2", "True", deletionTimestamp="now"), {"metadata": {"name": "0"}, "spec": {},
            "status": {}},
        ]  # fmt: skip
        self.answers(world, "get pods", Result(0, json.dumps({"items": pods}), ""))
        assert targets.node_of_pod(world.cluster, "app=x").node == "lab-worker-1"
        self.answers(world, "get pods", Result(0, '{"items": []}', ""))
        with pytest.raises(targets.NoTarget, match="app=x"):
            targets.node_of_pod(world.cluster, "app=x")

    def test_behind_the_balancer(self, world: World) -> None:
        def row(server: str, status: str, backend: str = "control-planes", weight: str = "1") -> str:
            return ",".join([backend, server, *["0"] * 15, status, weight])

        csv = "\n".join([
            "# pxname,svname", row("FRONTEND", "OPEN", "api"), row("lab-control-plane-1", "DOWN 1/2"),
            row("lab-control-plane-2", "UP"), row("lab-control-plane-3", "UP 1/2"), row("BACKEND", "UP"),
            row("lab-control-plane-4", "UP", weight="0"), row("lab-control-plane-1:anyway", "UP"),
        ])  # fmt: skip
        self.answers(world, "curl", Result(0, csv, ""))
        assert [found.node for found in targets.behind_balancer(world.cluster)] == [
            "lab-control-plane-2", "lab-control-plane-3"
        ]  # fmt: skip
        spared = "\n".join(
            [row("lab-control-plane-1", "UP", weight="0"), row("lab-control-plane-2", "DOWN", weight="0")]
        )
        self.answers(world, "curl", Result(0, spared, ""))
        assert [found.node for found in targets.behind_balancer(world.cluster)] == ["lab-control-plane-1"]
        world.provider.node("lab-load-balancer").kill()
        with pytest.raises(targets.NoTarget):
            targets.behind_balancer(world.cluster)


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
        commands.heal(Console(), "lab")
        assert "nothing to undo in lab" in capsys.readouterr().out

    def test_what_a_killed_run_left(self, place: World, no_heal: None, capsys: pytest.CaptureFixture[str]) -> None:
        with inject(KillNode("worker-1"), place.cluster, place.journal):
            pass
        place.later()
        commands.heal(Console(), "lab")
        assert "healed: kill the node worker-1" in capsys.readouterr().out
        assert place.provider.node("lab-worker-1").state() == "running"

    def test_a_cluster_that_is_gone(self, place: World, no_heal: None, capsys: pytest.CaptureFixture[str]) -> None:
        with inject(KillNode("worker-1"), place.cluster, place.journal):
            pass
        place.provider.remove_cluster("lab")
        commands.heal(Console(), "lab")
        assert "lab is gone" in capsys.readouterr().out
        assert place.journal.is_empty()

    def test_down_forgets(self, place: World, no_heal: None) -> None:
        with inject(KillNode("worker-1"), place.cluster, place.journal):
            pass
        assert cluster.down(place.provider, "lab", Console())
        assert place.journal.is_empty()

    def test_no_name(self, place: World) -> None:
        with pytest.raises(InvalidSpec):
            commands.heal(Console(), "../x")


def test_the_errors_are_for_users() -> None:
    assert all(issubclass(kind, KubedrillError) for kind in (FaultRefused, HealFailed, BrokenJournal, targets.NoTarget))
