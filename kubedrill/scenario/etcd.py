"""What etcd says of its own members."""

from __future__ import annotations

import json

from kubedrill.bringup import ETCDCTL
from kubedrill.cluster import Cluster
from kubedrill.errors import NotFound


def healthy(cluster: Cluster) -> list[str]:
    """The addresses of the members that can take part in a decision now.

    Raises:
        NotFound: no control plane runs.
    """
    node = next((one for one in cluster.nodes if one.role == "control-plane" and one.state() == "running"), None)
    if node is None:
        raise NotFound("no control plane runs")
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
