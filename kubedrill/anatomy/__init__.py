"""Of what a running cluster is made: each component, how it is started, its files, and what is effective."""

from __future__ import annotations

from kubedrill.anatomy import describe, find, gather
from kubedrill.anatomy.known import NAMES, kinds
from kubedrill.anatomy.model import Check, Component, File, Flag, Gate, Source, Start
from kubedrill.anatomy.table import as_data, blocks
from kubedrill.cluster import Cluster
from kubedrill.errors import NotFound

__all__ = [
    "NAMES", "Check", "Component", "File", "Flag", "Gate", "Source", "Start", "as_data", "blocks", "of",
]  # fmt: skip


def of(cluster: Cluster, node: str | None = None) -> tuple[Component, ...]:
    """The components of a cluster as they are now, in the order of nodes; what does not answer is told, not raised.

    Args:
        cluster: the cluster, in whatever state.
        node: one node alone, with what need not be on it as well (state 'absent'); None for all nodes.

    Raises:
        NotFound: there is no such node (says which there are), or it is a balancer.
    """
    nodes = [cluster.node(node)] if node else list(cluster.nodes)
    looked_at = [one for one in nodes if one.role != "load-balancer"]
    if not looked_at:
        raise NotFound(f"no component of Kubernetes runs on {nodes[0].name}" if nodes else "the cluster has no nodes")
    facts, api = gather.gather(looked_at, [one for one in cluster.nodes if one.role == "control-plane"])
    looked_for = kinds(external=any(one.role == "etcd" for one in cluster.nodes))
    found = [
        describe.component(each, one, api)
        for one in facts
        for kind in looked_for
        for each in find.on_node(kind, one, api)
    ]
    if node:
        return tuple(found)
    return tuple(each for each in found if each.state != "absent")
