"""Targets of faults: which node has a role just now."""

from __future__ import annotations

import json
import re

import faulty_world
import pytest
from faulty_world import NO, World

from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults import Target, targets
from kubedrill.shell import Result

world = faulty_world.world  # a fixture


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
