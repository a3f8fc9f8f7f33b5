"""Marks that say how far something has come: files that `up` leaves in nodes, and keys that are kept with a cluster."""

from __future__ import annotations

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.base import Node

JOINED = "/var/lib/kubedrill/joined"
# On the first control plane: the cluster was ready once, and may hold what somebody needs.
READY = "/var/lib/kubedrill/ready"
# Kept with the cluster while it is on its way to another Kubernetes minor: which one.
UPGRADING = "upgrading"
# Kept with the cluster while it is put back to a checkpoint: which one. Some of its nodes may be gone meanwhile.
RESTORING = "restoring"
# Kept with the cluster: where what its nodes were made of at first came from.
SOURCE = "source"


def has_file(node: Node, path: str) -> bool:
    """Whether there is such a file in a node, running or not."""
    try:
        node.read_tree(path)
    except NotFound:
        return False
    return True


def half_restored(name: str, checkpoint: str) -> str:
    """What a cluster is that was cut off while it was put back, and what brings it back."""
    return f"half put back to the checkpoint {checkpoint} (go on: invoke restore {checkpoint} --name {name})"


def need_restored(name: str, checkpoint: str) -> None:
    """See that a cluster is not half put back: of its nodes some may be gone, and others not what they were.

    Args:
        name: the cluster's.
        checkpoint: what is kept with it as RESTORING; '' where it is not.

    Raises:
        KubedrillError: it is; says how to go on.
    """
    if checkpoint:
        raise KubedrillError(
            f"{name} was being put back to the checkpoint {checkpoint}, and that was cut off",
            evidence=["its nodes may be missing, or be of two times"],
            todo=[f"go on with it: invoke restore {checkpoint} --name {name}",
                  f"or remove the cluster, and its checkpoints: invoke down --name {name}"],
        )  # fmt: skip
