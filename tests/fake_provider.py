"""A provider whose nodes live in memory: for unit tests, and held to the same contract as the real ones."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fake_node import FakeNode, Script, Stored, succeeds

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.marks import RESTORING
from kubedrill.providers.base import ROLES, NetworkSpec, Node, NodeSpec, Saved


@dataclass(frozen=True)
class Kept:
    """A checkpoint in memory."""

    saved: Saved
    network: NetworkSpec
    disks: list[tuple[NodeSpec, dict[str, Stored], list[str]]]


@dataclass
class FakeProvider:
    """Clusters in memory.

    Args:
        script: answers the commands of all nodes.
        observer: told of each command, as DockerProvider's.
        before_create: called with the spec of each node before it is made; may raise or wait.
        before_put_back: the same for each node of a checkpoint that is put back.
        events: all that happened, in order: ("create", "lab-worker-1"), ("run", node, line), ("ran", node, line) at the
            command's end, ("write", node, path), ("stop", node) and so on.
        keepers: how many keep the ways into nodes open.
        each_for_itself: of the events the commands that ran while nobody did.
    """

    script: Script = succeeds
    observer: Callable[[str, Sequence[str], str | None], None] = lambda *_: None
    before_create: Callable[[NodeSpec], None] = lambda _: None
    before_put_back: Callable[[NodeSpec], None] = lambda _: None
    events: list[tuple[str, ...]] = field(default_factory=list)
    available: bool = True
    slow: float = 1.0
    keepers: int = 0
    each_for_itself: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._networks: dict[str, NetworkSpec] = {}
        self._kept: dict[tuple[str, str], Kept] = {}
        self._nodes: dict[str, FakeNode] = {}

    def note(self, *event: str) -> None:
        """Add an event."""
        with self._lock:
            self.events.append(event)
            if event[0] == "run" and not self.keepers:
                self.each_for_itself.append(event)

    def has(self, node: FakeNode) -> bool:
        """Whether it has not been removed."""
        return self._nodes.get(node.name) is node

    def forget_node(self, node: FakeNode) -> None:
        """Remove a node; harmless when it is gone."""
        with self._lock:
            if self.has(node):
                del self._nodes[node.name]
                self.note("remove", node.name)

    def node(self, name: str) -> FakeNode:
        """The node of that name."""
        return self._nodes[name]

    def names(self) -> list[str]:
        """The names of all nodes."""
        return sorted(self._nodes)

    def check(self) -> None:
        """It can always be used."""

    def clusters(self) -> Sequence[str]:
        """The names of all clusters of which anything is there."""
        with self._lock:
            kept = {cluster for cluster, _ in self._kept}
            return sorted({*self._networks, *kept, *(node.cluster for node in self._nodes.values())})

    def create_network(self, cluster: str, network: NetworkSpec) -> None:
        """Remember it, unless its subnet or name is taken."""
        wanted = ipaddress.IPv4Network(network.subnet)
        with self._lock:
            if cluster in self._networks:
                raise KubedrillError(f"the network of {cluster} is there already")
            taken = [subnet for subnet in self.used_subnets() if wanted.overlaps(ipaddress.IPv4Network(subnet))]
            if taken:
                raise KubedrillError(f"{network.subnet} overlaps {taken[0]}")
            self._networks[cluster] = NetworkSpec(network.subnet, dict(network.metadata))
            self.note("network", cluster)

    def network(self, cluster: str) -> NetworkSpec | None:
        """The cluster's network."""
        return self._networks.get(cluster)

    def change(self, cluster: str, metadata: Mapping[str, str]) -> None:
        """Other metadata from now on."""
        with self._lock:
            if cluster not in self._networks:
                raise NotFound(f"there is no cluster {cluster}")
            self._networks[cluster] = NetworkSpec(self._networks[cluster].subnet, dict(metadata))

    def slowness(self, cluster: str) -> float:
        """As slow as it was told to be."""
        return self.slow

    def drop_network(self, cluster: str) -> None:
        """Take the network alone away, as an interrupted `down` may leave it."""
        del self._networks[cluster]

    def used_subnets(self) -> Sequence[str]:
        """The subnets of its networks."""
        return [network.subnet for network in self._networks.values()]

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Nothing is kept, but that it is asked for."""
        self.keepers += 1
        try:
            yield
        finally:
            self.keepers -= 1

    def create_node(self, cluster: str, spec: NodeSpec) -> Node:
        """Make a node, unless its name or address is taken or its network is missing."""
        self.before_create(spec)
        with self._lock:
            network = self._networks.get(cluster)
            if network is None:
                raise KubedrillError(f"the node {spec.name} could not be made: there is no network of {cluster}")
            if ipaddress.IPv4Address(spec.address) not in ipaddress.IPv4Network(network.subnet):
                raise KubedrillError(f"the node {spec.name} could not be made: {spec.address} is not in its network")
            for other in self._nodes.values():
                if other.name == spec.name or (other.cluster, other.address) == (cluster, spec.address):
                    raise KubedrillError(
                        f"the node {spec.name} could not be made: {other.name} has its name or address"
                    )
            node = FakeNode(self, cluster, spec)
            self._nodes[spec.name] = node
            self.note("create", spec.name)
        return node

    def nodes(self, cluster: str) -> Sequence[Node]:
        """Balancer, control planes, workers."""
        with self._lock:
            found = [node for node in self._nodes.values() if node.cluster == cluster]
        return sorted(found, key=lambda node: (ROLES.index(node.role), _number(node.name)))

    def save(self, cluster: str, checkpoint: str) -> Saved:
        """Keep the disks of a cluster that stands still."""
        with self._lock:
            nodes = [node for node in self._nodes.values() if node.cluster == cluster]
            if not nodes:
                raise NotFound(f"{cluster} has no nodes")
            if (cluster, checkpoint) in self._kept:
                raise KubedrillError(f"{checkpoint} is there already")
            if any(node.state() != "stopped" for node in nodes):
                raise KubedrillError(f"{cluster} does not stand still")
            saved = Saved(checkpoint, len(self._kept), tuple(sorted(node.name for node in nodes)), len(nodes))
            disks = [(node.spec, dict(node.disk), list(node.lines)) for node in nodes]
            self._kept[cluster, checkpoint] = Kept(saved, self._networks[cluster], disks)
            self.note("save", cluster, checkpoint)
        return saved

    def put_back(self, cluster: str, checkpoint: str) -> None:
        """Replace all nodes by those that were kept."""
        with self._lock:
            if (cluster, checkpoint) not in self._kept:
                raise NotFound(f"{cluster} has no checkpoint {checkpoint}")
            there = self._networks[cluster]
            self._networks[cluster] = NetworkSpec(there.subnet, {**there.metadata, RESTORING: checkpoint})
            for node in [node for node in self._nodes.values() if node.cluster == cluster]:
                self.forget_node(node)
            for spec, disk, lines in self._kept[cluster, checkpoint].disks:
                self.before_put_back(spec)
                self._nodes[spec.name] = FakeNode.switched_off(self, cluster, spec, disk, lines)
            self._networks[cluster] = self._kept[cluster, checkpoint].network
            self.note("put back", cluster, checkpoint)

    def saved(self, cluster: str) -> Sequence[Saved]:
        """What was kept of a cluster."""
        found = [kept.saved for (of, _), kept in self._kept.items() if of == cluster]
        return sorted(found, key=lambda one: one.taken)

    def forget(self, cluster: str, checkpoint: str) -> bool:
        """Remove what was kept."""
        with self._lock:
            return self._kept.pop((cluster, checkpoint), None) is not None

    def remove_cluster(self, cluster: str) -> Sequence[str]:
        """Remove nodes and network."""
        with self._lock:
            nodes = [node for node in self._nodes.values() if node.cluster == cluster]
            for node in nodes:
                self.forget_node(node)
            network = self._networks.pop(cluster, None)
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] != cluster}
        return [*(f"node {node.name}" for node in nodes), *([f"network {cluster}"] if network else [])]


def _number(name: str) -> int:
    found = re.search(r"(\d+)$", name)
    return int(found.group(1)) if found else 0
