"""Marks that `up` leaves in nodes: files whose being there says how far a node has come."""

from __future__ import annotations

from kubedrill.errors import NotFound
from kubedrill.providers.base import Node

JOINED = "/var/lib/kubedrill/joined"
# On the first control plane: the cluster was ready once, and may hold what somebody needs.
READY = "/var/lib/kubedrill/ready"
# Kept with the cluster while it is on its way to another Kubernetes minor: which one.
UPGRADING = "upgrading"
# Likewise: where what its nodes were made of at first came from.
SOURCE = "source"


def has_file(node: Node, path: str) -> bool:
    """Whether there is such a file in a node, running or not."""
    try:
        node.read_tree(path)
    except NotFound:
        return False
    return True
