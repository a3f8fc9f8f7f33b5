"""How a cluster is: its computers as the provider sees them, its nodes as Kubernetes sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubedrill import kube
from kubedrill.cluster import Cluster
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.kube import Kube, NodeSnapshot
from kubedrill.marks import half_restored
from kubedrill.providers.base import KUBERNETES, Node

# How long the API may take to answer; where nodes are slow, up to six times as long.
_SECONDS = 5
ANSWERS = "answers"


@dataclass(frozen=True)
class NodeStatus:
    """One node: `state` is the computer's, `kubernetes` says how Kubernetes sees it."""

    name: str
    role: str
    state: str
    address: str
    kubernetes: str


@dataclass(frozen=True)
class ClusterStatus:
    """A cluster: `api` says whether its API answers, `healthy` whether all is as it should be.

    `hollow` is how many nodes without a computer it should have, `hollow_ready` how many of its are Ready.
    """

    name: str
    kubernetes: str
    server: str
    api: str
    healthy: bool
    nodes: tuple[NodeStatus, ...]
    hollow: int = 0
    hollow_ready: int = 0

    @property
    def of_hollow(self) -> str:
        """In a line how many of its hollow nodes are Ready, and what makes them so."""
        if self.api != ANSWERS:
            return f"hollow nodes: {self.hollow}, not seen"
        again = "; the same `invoke up` again starts kwok, which plays them" if self.hollow_ready < self.hollow else ""
        return f"hollow nodes: {self.hollow_ready} of {self.hollow} are Ready{again}"

    @property
    def summary(self) -> str:
        """In a line what its API does, and how its hollow nodes are, where it should have some."""
        return f"{self.api}; {self.of_hollow}" if self.hollow else self.api


def of(cluster: Cluster) -> ClusterStatus:
    """Look at a cluster, whatever its state; what does not answer is said so, not raised."""
    known: dict[str, NodeSnapshot] = {}
    hollow_ready = 0
    states = {node.name: _state(node) for node in cluster.nodes}
    try:
        off = half_restored(cluster.spec.name, cluster.restoring) if cluster.restoring else _off(cluster, states)
        if off:
            raise NotFound(off)
        api_of = Kube(cluster.admin_conf(), timeout=_SECONDS * min(cluster.slow, 6))
        known = {node.name: node for node in api_of.nodes()}
        if cluster.spec.hollow:
            hollow_ready = sum(api_of.hollow().values())
        api = ANSWERS
    except NotFound as error:
        api = error.what
    except kube.ApiUnavailable as error:
        api = f"{error.what}: {'; '.join(error.evidence)}"[:120]
    nodes = tuple(
        NodeStatus(node.name, node.role, states[node.name], node.address, _seen(node.role, known.get(node.name)))
        for node in cluster.nodes
    )
    wanted = cluster.spec.computers()
    healthy = (
        api == ANSWERS
        and not cluster.upgrading
        and len(nodes) == wanted
        and all(node.state == "running" for node in nodes)
        and all(known[node.name].ready for node in nodes if node.name in known)
        and len(known) == len(cluster.spec.node_keys())
        and hollow_ready >= cluster.spec.hollow
    )
    return ClusterStatus(
        cluster.spec.name, _version(cluster), cluster.server, api, healthy, nodes, cluster.spec.hollow, hollow_ready
    )


def _version(cluster: Cluster) -> str:
    version = cluster.spec.version()
    if not cluster.upgrading:
        return version
    there = f"--to {cluster.upgrading} --name {cluster.spec.name}"
    return f"{version} on its way to {cluster.upgrading} (go on: invoke upgrade {there})"


def _state(node: Node) -> str:
    try:
        return node.state()
    except KubedrillError:
        return "gone"


def _off(cluster: Cluster, states: Mapping[str, str]) -> str:
    """Why the API cannot answer, and what brings it back; empty where its entrance runs."""
    name, entrance = cluster.spec.name, cluster.nodes[0].name if cluster.nodes else ""
    state = states.get(entrance, "running")
    if state not in ("stopped", "paused"):
        return ""
    alike = set(states.values()) == {state}
    task = f"invoke {'resume' if state == 'paused' else 'start'} --name {name}"
    return f"{state if alike else f'{entrance} is {state}'} (run: {task})"


def _seen(role: str, node: NodeSnapshot | None) -> str:
    if role not in KUBERNETES:
        return "-"
    if node is None:
        return "unknown"
    cordoned = ", cordoned" if node.unschedulable else ""
    return f"{'Ready' if node.ready else 'NotReady'}{cordoned} {node.version}"
