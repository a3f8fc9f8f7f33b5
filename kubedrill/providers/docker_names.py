"""How kubedrill's things are called and labelled in Docker's engine: what exists is found by that alone."""

from __future__ import annotations

CLUSTER = "kubedrill.cluster"
ROLE = "kubedrill.role"
ADDRESS = "kubedrill.address"
META = "kubedrill.meta."
# The name of the checkpoint that a volume or image belongs to.
CHECKPOINT = "kubedrill.checkpoint"
# Of a container that does something with a cluster's disks for a moment, and is none of its nodes: which cluster's.
HELPS = "kubedrill.helps"


def network(cluster: str) -> str:
    """The network of a cluster."""
    return f"kubedrill-{cluster}"


def disk(node: str) -> str:
    """The volume that is a node's /var."""
    return f"kubedrill-{node}-var"
