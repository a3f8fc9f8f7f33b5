"""Faults: what they would do to a cluster, and what would undo it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import faulty_world
import pytest
from faulty_world import World, broken_while

from kubedrill.errors import NotFound
from kubedrill.faults import (
    Cordon,
    DisableUnit,
    Drain,
    DropForward,
    EngineOff,
    Fault,
    KillNode,
    KillProcess,
    PacketLoss,
    Partition,
    PauseNode,
    PowerOff,
    RemoveStaticPod,
    StopNode,
    StopUnit,
    Target,
)  # fmt: skip
from kubedrill.faults.actions import Command, Plan, from_data, to_data
from kubedrill.faults.needs import TRIALS

world = faulty_world.world  # a fixture


def plans(world: World, fault: Fault) -> tuple[Plan, ...]:
    return fault.ways(world.cluster, "0badcafe")


def plan(world: World, fault: Fault) -> Plan:
    (only,) = plans(world, fault)
    return only


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

    def test_the_engine_under_all(self, world: World) -> None:
        """No node can stop it: what is on disk is that they are to run, and the undo starts those that do not."""
        nodes = list(world.provider.nodes("lab"))
        fault = EngineOff(tuple(node.name for node in nodes))
        made = plan(world, fault)
        assert made.inject == ()
        assert words(made.undo) == [f"start {node.name}" for node in nodes]
        for action in (*made.undo, *made.healed, *made.before):
            assert from_data(json.loads(json.dumps(to_data(action)))) == action
        # Those that the engine brought back are left alone.
        broken_while(world, fault, world.provider.node("lab-worker-1").kill)
        assert {node.state() for node in world.provider.nodes("lab")} == {"running"}
        assert [event for event in world.happened() if event[0] == "start"] == [("start", "lab-worker-1")]

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
