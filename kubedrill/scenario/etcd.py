"""What etcd says of its own members."""

from __future__ import annotations

import json

from kubedrill import etcd_members
from kubedrill.cluster import Cluster
from kubedrill.errors import NotFound
from kubedrill.etcd_members import ETCDCTL
from kubedrill.providers.base import Node


def healthy(cluster: Cluster) -> list[str]:
    """The addresses of the members that can take part in a decision now.

    Raises:
        NotFound: no node that has a member runs.
    """
    node = next((one for one in etcd_members.of(cluster.nodes) if one.state() == "running"), None)
    if node is None:
        raise NotFound("no node with a member of etcd runs")
    # Its status is 1 as soon as one member is unhealthy; the answer tells which.
    answer = node.run(
        ["sh", "-c", f"{ETCDCTL} endpoint health --cluster --command-timeout=2s -w json"],
        check=False,
        timeout=20,
        show=False,
    )
    try:
        members = json.loads(answer.stdout)
    except ValueError:
        return []
    return sorted(member["endpoint"] for member in members if member["health"])


def leads(node: Node) -> bool:
    """Whether the member of etcd on a control plane says that it leads; no other member is asked.

    One that cannot be asked does not lead.
    """
    answer = node.run(["sh", "-c", f"{ETCDCTL} endpoint status --command-timeout=2s -w json"], check=False, timeout=20,
                      show=False)  # fmt: skip
    try:
        status = json.loads(answer.stdout)[0]["Status"]
        # While there is no leader the key is not there.
        return bool(status["leader"] == status["header"]["member_id"])
    except (ValueError, LookupError, TypeError):
        return False


def move_leader(cluster: Cluster, leader: str, to: str) -> None:
    """Let another member lead; etcd hands over without an election.

    Args:
        cluster: the cluster.
        leader: the node that leads now.
        to: the node that is to lead.

    Raises:
        CommandFailed: etcd refuses.
        NotFound: there is no such member.
    """
    node = cluster.node(leader)
    listed = json.loads(node.run(["sh", "-c", f"{ETCDCTL} member list -w json"], timeout=20).stdout)
    identity = next((member["ID"] for member in listed["members"] if member["name"] == to), None)
    if identity is None:
        raise NotFound(f"etcd has no member {to}")
    # Only the leader itself can hand over, so it is asked on the very node.
    node.run(["sh", "-c", f"{ETCDCTL} move-leader {identity:x}"], timeout=20)
