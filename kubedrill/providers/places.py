"""All providers as one: a cluster is made by the provider that it asks for, and found wherever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from kubedrill.errors import OF_CONTAINERS, KubedrillError
from kubedrill.providers.base import Changeable, Keeper, NetworkSpec, Node, NodeSpec, Provider, Saved

# The key of a network's metadata that says what its nodes are.
KIND = "provider"
CONTAINERS, VMS = "docker", "vagrant"


class Places:
    """Containers and VMs.

    Args:
        containers: where clusters are made that ask for nothing else.
        machines: VMs. Asked only for what it has: a user of containers needs nothing of what VMs need.
    """

    def __init__(self, containers: Provider, machines: Provider) -> None:
        self._containers, self._machines = containers, machines

    def check(self) -> None:
        """See that containers can be used: what VMs are made of is built by them, too."""
        self._containers.check()

    def clusters(self) -> Sequence[str]:
        """The names of all clusters of which anything is there."""
        return sorted({*self._machines.clusters(), *self._containers.clusters()})

    def create_network(self, cluster: str, network: NetworkSpec) -> None:
        """Make the cluster's network where its metadata says."""
        kind = network.metadata.get(KIND, CONTAINERS)
        (self._machines if kind == VMS else self._containers).create_network(cluster, network)

    def network(self, cluster: str) -> NetworkSpec | None:
        """The cluster's network, None where there is none."""
        return self._of(cluster).network(cluster)

    def slowness(self, cluster: str) -> float:
        """How many times slower than real hardware its nodes are."""
        return self._of(cluster).slowness(cluster)

    def used_subnets(self) -> Sequence[str]:
        """The subnets of all networks."""
        return [*self._containers.used_subnets(), *self._machines.used_subnets()]

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the ways into nodes open meanwhile."""
        with self._containers.kept_open(), self._machines.kept_open():
            yield

    def create_node(self, cluster: str, spec: NodeSpec) -> Node:
        """Make a node of the cluster's kind and start it."""
        return self._of(cluster).create_node(cluster, spec)

    def nodes(self, cluster: str) -> Sequence[Node]:
        """The nodes there are, running or not."""
        return self._of(cluster).nodes(cluster)

    def remove_cluster(self, cluster: str) -> Sequence[str]:
        """Remove all of a cluster."""
        return self._of(cluster).remove_cluster(cluster)

    def change(self, cluster: str, metadata: Mapping[str, str]) -> None:
        """Keep other metadata with a cluster.

        Raises:
            KubedrillError: its provider cannot.
        """
        of = self._of(cluster)
        if not isinstance(of, Changeable):
            raise KubedrillError(
                f"clusters of the provider of {cluster} keep their size",
                todo=[OF_CONTAINERS],
            )
        of.change(cluster, metadata)

    def save(self, cluster: str, checkpoint: str) -> Saved:
        """Keep a cluster as a checkpoint.

        Raises:
            KubedrillError: its provider cannot.
        """
        return self._keeper(cluster).save(cluster, checkpoint)

    def put_back(self, cluster: str, checkpoint: str) -> None:
        """Replace the nodes of a cluster by those of a checkpoint.

        Raises:
            KubedrillError: its provider cannot.
        """
        self._keeper(cluster).put_back(cluster, checkpoint)

    def saved(self, cluster: str) -> Sequence[Saved]:
        """The checkpoints of a cluster; none where its provider cannot keep any."""
        of = self._of(cluster)
        return of.saved(cluster) if isinstance(of, Keeper) else ()

    def forget(self, cluster: str, checkpoint: str) -> bool:
        """Remove a checkpoint.

        Raises:
            KubedrillError: its provider cannot keep any.
        """
        return self._keeper(cluster).forget(cluster, checkpoint)

    def _keeper(self, cluster: str) -> Keeper:
        of = self._of(cluster)
        if not isinstance(of, Keeper):
            raise KubedrillError(
                f"{cluster} is made of VMs, and has no checkpoints",
                todo=[OF_CONTAINERS],
            )
        return of

    def _of(self, cluster: str) -> Provider:
        return self._machines if cluster in self._machines.clusters() else self._containers
