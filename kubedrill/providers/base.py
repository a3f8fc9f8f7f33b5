"""What a provider of nodes must do, whatever the nodes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from kubedrill.shell import Result

Role = Literal["control-plane", "worker", "etcd", "load-balancer"]
# The roles of nodes of Kubernetes; others are computers that it knows nothing of.
KUBERNETES: tuple[Role, ...] = ("control-plane", "worker")
# The order in which computers are listed; the entrance of the API is the first.
ROLES: tuple[Role, ...] = ("load-balancer", "control-plane", "etcd", "worker")
State = Literal["running", "paused", "stopped"]


@dataclass(frozen=True)
class NodeSpec:
    """One node to make.

    Args:
        name: its host name, NAME-control-plane-1.
        role: what it is for.
        address: its IPv4 address in the cluster's subnet; kept for life.
        image: what it is made of.
        stores: Kubernetes versions whose image store it mounts, with the store's volume; the first is used.
        publish: ports of the node published on 127.0.0.1 of the host: {(node port, protocol): host port}.
        mounts: folders of the host: (host path, node path, read-only).
        environment: settings for the node's entrypoint.
        memory: MiB of a VM; 0 for what its role needs. A container has the machine's.
        cpus: virtual processors of a VM; 0 for what its role needs.
    """

    name: str
    role: Role
    address: str
    image: str
    stores: Mapping[str, str] = field(default_factory=dict)
    publish: Mapping[tuple[int, str], int] = field(default_factory=dict)
    mounts: Sequence[tuple[str, str, bool]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    cpus: int = 0


@dataclass(frozen=True)
class NetworkSpec:
    """The network of a cluster, and what must be known to find the cluster again.

    Args:
        subnet: IPv4, in CIDR form.
        metadata: strings kept with the network (the spec, the versions of what nodes are made of).
    """

    subnet: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class File:
    """A file to write into a node."""

    path: str
    content: str
    mode: int = 0o644


class Node(Protocol):
    """One computer of a cluster."""

    @property
    def name(self) -> str:
        """Its host name."""
        ...

    @property
    def role(self) -> Role:
        """What it is for."""
        ...

    @property
    def address(self) -> str:
        """Its IPv4 address in the cluster's network."""
        ...

    def state(self) -> State:
        """Whether it runs.

        Raises:
            NotFound: it is gone.
        """
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
        show: bool = True,
    ) -> Result:
        """Run a command in the node and wait for its end.

        Args:
            argv: the program and its arguments; no shell is involved.
            stdin: text for its standard input.
            check: raise when its status is not 0.
            timeout: seconds until it is ended.
            show: whether --show-commands prints it (a read that is repeated need not be).

        Raises:
            CommandFailed: its status was not 0 (with check), or the time ran out.
            NotFound: the node is gone or does not run.
        """
        ...

    def write(self, files: Sequence[File]) -> None:
        """Write files, owned by root; folders are made."""
        ...

    def send(self, source: Path, path: str) -> None:
        """Copy a file of this machine into the node, whatever its size."""
        ...

    def journal(self) -> str:
        """The journal of its services as text; works on a stopped node too."""
        ...

    def console(self) -> str:
        """What it printed before its journal began."""
        ...

    def read_tree(self, path: str) -> bytes:
        """A tar of a file or folder of the node; works on a stopped node too.

        Raises:
            NotFound: there is no such path.
        """
        ...

    def stop(self) -> None:
        """Shut it down in order."""
        ...

    def start(self) -> None:
        """Start it again after `stop` or `kill`."""
        ...

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        ...

    def pause(self) -> None:
        """Freeze every process in it."""
        ...

    def resume(self) -> None:
        """Let them go on."""
        ...

    def remove(self) -> None:
        """Remove it and its disk, whatever its state; harmless when it is gone."""
        ...

    def shell_argv(self, command: Sequence[str]) -> Sequence[str]:
        """The command of this machine that opens a terminal in the node and runs `command` there."""
        ...


class Provider(Protocol):
    """Where nodes come from."""

    def check(self) -> None:
        """See that it can be used.

        Raises:
            EngineUnavailable: with what to do.
        """
        ...

    def clusters(self) -> Sequence[str]:
        """The names of all clusters of which anything is there."""
        ...

    def create_network(self, cluster: str, network: NetworkSpec) -> None:
        """Make the cluster's network.

        Raises:
            KubedrillError: the subnet is taken.
        """
        ...

    def network(self, cluster: str) -> NetworkSpec | None:
        """The cluster's network, None where there is none."""
        ...

    def slowness(self, cluster: str) -> float:
        """How many times slower than real hardware its nodes are; 1 where they are as fast, or there are none yet."""
        ...

    def used_subnets(self) -> Sequence[str]:
        """Subnets that a new network must not overlap, besides this machine's routes."""
        ...

    def kept_open(self) -> AbstractContextManager[None]:
        """Keep the ways into nodes open meanwhile, where each new one takes time.

        For whoever runs much in them: nobody may pause a node meanwhile.
        """
        ...

    def create_node(self, cluster: str, spec: NodeSpec) -> Node:
        """Make a node and start it.

        Raises:
            KubedrillError: it cannot be; what was begun is removed.
        """
        ...

    def nodes(self, cluster: str) -> Sequence[Node]:
        """The nodes there are, running or not, in the order of their roles and numbers."""
        ...

    def remove_cluster(self, cluster: str) -> Sequence[str]:
        """Remove nodes, disks and network; returns what was removed."""
        ...


@runtime_checkable
class Changeable(Protocol):
    """A provider whose clusters can become others: more nodes, or fewer."""

    def change(self, cluster: str, metadata: Mapping[str, str]) -> None:
        """Keep other metadata with a cluster from now on; a checkpoint brings back those of its time.

        Args:
            cluster: its name.
            metadata: all of them.

        Raises:
            NotFound: there is no such cluster.
        """
        ...


@dataclass(frozen=True)
class Saved:
    """A checkpoint: a whole cluster as it was while stopped.

    Args:
        name: its name.
        taken: when, seconds since 1970.
        nodes: the host names of its nodes.
        mebibytes: what its copies of disks take.
    """

    name: str
    taken: float
    nodes: tuple[str, ...]
    mebibytes: int


@runtime_checkable
class Keeper(Protocol):
    """A provider that can keep checkpoints; they go with their cluster in `remove_cluster`."""

    def save(self, cluster: str, checkpoint: str) -> Saved:
        """Keep all that the nodes of a cluster have on disk, and what they were made from.

        Raises:
            NotFound: the cluster has no nodes.
            KubedrillError: a node does not stand still, or there is a checkpoint of that name; nothing is kept then.
        """
        ...

    def put_back(self, cluster: str, checkpoint: str) -> None:
        """Replace all nodes of a cluster, whatever their state, by those of a checkpoint; they are stopped then.

        What was begun and not ended is ended by doing it again: the checkpoint is only read. Until it has ended, the
        metadata of the cluster's network have the name of the checkpoint as `marks.RESTORING`.

        Raises:
            NotFound: there is no such checkpoint; nothing was changed.
            KubedrillError: it cannot be.
        """
        ...

    def saved(self, cluster: str) -> Sequence[Saved]:
        """The checkpoints of a cluster, the oldest first; one that was not completed is none."""
        ...

    def forget(self, cluster: str, checkpoint: str) -> bool:
        """Remove a checkpoint, or what is left of one that was not completed; the cluster stays as it is.

        Returns:
            Whether anything was there.
        """
        ...
