"""A provider whose nodes live in memory: for unit tests, and held to the same contract as the real ones."""

from __future__ import annotations

import io
import ipaddress
import re
import tarfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers.base import ROLES, File, NetworkSpec, Node, NodeSpec, Role, Saved, State
from kubedrill.shell import Result, pasteable

# What a node that goes down forgets.
_VOLATILE = ("/run/", "/tmp/")


@dataclass(frozen=True)
class Call:
    """A command that a fake node was asked to run."""

    argv: tuple[str, ...]
    stdin: str | None = None
    timeout: float | None = None

    @property
    def line(self) -> str:
        """The command as one line."""
        return " ".join(self.argv)


@dataclass(frozen=True)
class Stored:
    """A file on the disk of a fake node."""

    content: bytes
    mode: int

    @property
    def text(self) -> str:
        """Its content as text."""
        return self.content.decode()


Script = Callable[["FakeNode", Call], "Result | None"]


def succeeds(_node: FakeNode, _call: Call) -> Result:
    """The script of nodes in which every command succeeds and prints nothing."""
    return Result(0, "", "")


class FakeNode:
    """A node in memory. Its commands are answered by the provider's script."""

    def __init__(self, provider: FakeProvider, cluster: str, spec: NodeSpec) -> None:
        self.provider = provider
        self.cluster = cluster
        self.spec = spec
        self.disk: dict[str, Stored] = {}
        self.lines: list[str] = []
        self.calls: list[Call] = []
        self._state: State = "running"
        self._boots = 0
        self._boot()

    @classmethod
    def switched_off(
        cls, provider: FakeProvider, cluster: str, spec: NodeSpec, disk: dict[str, Stored], lines: list[str]
    ) -> FakeNode:
        """A node that has not booted since it got its disk."""
        node = cls(provider, cluster, spec)
        node.disk, node.lines, node._state = dict(disk), list(lines), "stopped"
        return node

    def __repr__(self) -> str:
        return f"FakeNode({self.name})"

    @property
    def name(self) -> str:
        """Its host name."""
        return self.spec.name

    @property
    def role(self) -> Role:
        """What it is for."""
        return self.spec.role

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return self.spec.address

    def log(self, line: str) -> None:
        """Add a line to its journal."""
        self.lines.append(line)

    def text(self, path: str) -> str:
        """The text of a file on its disk.

        Raises:
            NotFound: there is none.
        """
        if path not in self.disk:
            raise NotFound(f"{self.name} has no {path}")
        return self.disk[path].text

    def state(self) -> State:
        """Whether it runs."""
        self._there()
        return self._state

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, check: bool = True, timeout: float | None = None,
        show: bool = True,
    ) -> Result:  # fmt: skip
        """Ask the script; a command that it leaves to nobody (None) is an unknown program."""
        if show:
            self.provider.observer(self.name, argv, stdin)
        self._running("run a command")
        call = Call(tuple(argv), stdin, timeout)
        self.calls.append(call)
        self.provider.note("run", self.name, call.line)
        try:
            result = self.provider.script(self, call)
        except CommandFailed as error:  # from a script that runs something on this machine
            raise CommandFailed(self._pasteable(argv), error.status, error.output, self.name) from error
        finally:
            self.provider.note("ran", self.name, call.line)
        if result is None:
            result = Result(127, "", f"{argv[0]}: not found\n")
        if check and result.status != 0:
            raise CommandFailed(self._pasteable(argv), result.status, result.output, self.name)
        return result

    def write(self, files: Sequence[File]) -> None:
        """Write files, on a stopped node too."""
        self._there()
        for file in files:
            self.disk[file.path] = Stored(file.content.encode(), file.mode)
            self.provider.note("write", self.name, file.path)

    def send(self, source: Path, path: str) -> None:
        """Copy a file of this machine onto its disk."""
        self._there()
        self.disk[path] = Stored(source.read_bytes(), 0o644)
        self.provider.note("send", self.name, path)

    def journal(self) -> str:
        """The lines of its journal."""
        self._there()
        return "".join(f"{line}\n" for line in self.lines)

    def console(self) -> str:
        """One line for each boot."""
        self._there()
        return "".join(f"boot {number + 1}\n" for number in range(self._boots))

    def read_tree(self, path: str) -> bytes:
        """A tar of a file or folder, named after the last part of the path, as Docker does it."""
        self._there()
        base = PurePosixPath(path)
        found = {name: file for name, file in self.disk.items() if base in (PurePosixPath(name), *parents(name))}
        if not found:
            raise NotFound(f"{self.name} has no {path}")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for folder in sorted(
                {parent for name in found for parent in parents(name) if base in _at_or_above(parent)}
            ):
                entry = tarfile.TarInfo(str(folder.relative_to(base.parent)))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            for name, file in sorted(found.items()):
                entry = tarfile.TarInfo(str(PurePosixPath(name).relative_to(base.parent)))
                entry.size, entry.mode = len(file.content), file.mode
                tar.addfile(entry, io.BytesIO(file.content))
        return buffer.getvalue()

    def stop(self) -> None:
        """Shut it down; harmless where it is stopped."""
        self._down("stop")

    def kill(self) -> None:
        """End it at once."""
        if self.state() == "stopped":
            raise KubedrillError(f"{self.name} does not run")
        self._down("kill")

    def start(self) -> None:
        """Start it; harmless where it runs."""
        if self.state() == "paused":
            raise KubedrillError(f"{self.name} is paused: it cannot be started")
        if self._state == "stopped":
            self._state = "running"
            self._boot()
        self.provider.note("start", self.name)

    def pause(self) -> None:
        """Freeze it."""
        self._running("be paused")
        self._state = "paused"
        self.provider.note("pause", self.name)

    def resume(self) -> None:
        """Let it go on."""
        if self.state() != "paused":
            raise KubedrillError(f"{self.name} is not paused")
        self._state = "running"
        self.provider.note("resume", self.name)

    def remove(self) -> None:
        """Remove it; harmless when it is gone."""
        self.provider.forget_node(self)

    def shell_argv(self, command: Sequence[str]) -> Sequence[str]:
        """A command that does not work, but names the node."""
        return ["fake-terminal", self.name, *command]

    def _boot(self) -> None:
        self._boots += 1
        self.log(f"{self.name} systemd[1]: boot {self._boots}")

    def _down(self, how: str) -> None:
        self._there()
        self._state = "stopped"
        self.disk = {path: file for path, file in self.disk.items() if not path.startswith(_VOLATILE)}
        self.provider.note(how, self.name)

    def _there(self) -> None:
        if not self.provider.has(self):
            raise NotFound(f"the node {self.name} is gone")

    def _running(self, purpose: str) -> None:
        state = self.state()
        if state == "stopped":
            raise NotFound(f"the node {self.name} does not run")
        if state == "paused":
            raise KubedrillError(f"the node {self.name} is paused and cannot {purpose}")

    def _pasteable(self, argv: Sequence[str]) -> str:
        return pasteable(["fake-exec", self.name, *argv])


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
        events: all that happened, in order: ("create", "lab-worker-1"), ("run", node, line), ("ran", node, line) at the
            command's end, ("write", node, path), ("stop", node) and so on.
    """

    script: Script = succeeds
    observer: Callable[[str, Sequence[str], str | None], None] = lambda *_: None
    before_create: Callable[[NodeSpec], None] = lambda _: None
    events: list[tuple[str, ...]] = field(default_factory=list)
    available: bool = True
    slow: float = 1.0

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._networks: dict[str, NetworkSpec] = {}
        self._kept: dict[tuple[str, str], Kept] = {}
        self._nodes: dict[str, FakeNode] = {}

    def note(self, *event: str) -> None:
        """Add an event."""
        with self._lock:
            self.events.append(event)

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
            for node in [node for node in self._nodes.values() if node.cluster == cluster]:
                self.forget_node(node)
            self._networks[cluster] = self._kept[cluster, checkpoint].network
            for spec, disk, lines in self._kept[cluster, checkpoint].disks:
                self._nodes[spec.name] = FakeNode.switched_off(self, cluster, spec, disk, lines)
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


def parents(path: str | PurePosixPath) -> Sequence[PurePosixPath]:
    """The folders above a path."""
    return list(PurePosixPath(path).parents)


def tar_names(tree: bytes) -> list[str]:
    """The names in a tar."""
    with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
        return sorted(tar.getnames())


def tar_bytes(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of members as given, also of those that a decent program would not write."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, content in members:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tar_of_texts(files: Mapping[str, str]) -> bytes:
    """A tar of text files."""
    return tar_bytes((tarfile.TarInfo(name), text.encode()) for name, text in files.items())


def _at_or_above(path: PurePosixPath) -> Sequence[PurePosixPath]:
    return [path, *path.parents]


def _number(name: str) -> int:
    found = re.search(r"(\d+)$", name)
    return int(found.group(1)) if found else 0
