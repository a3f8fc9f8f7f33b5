"""Nodes as containers of Docker's engine."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers import docker_flags, docker_metadata, docker_names
from kubedrill.providers.archive import tar_of, tar_stream
from kubedrill.providers.base import ROLES, File, NetworkSpec, Node, NodeSpec, Role, Saved, State
from kubedrill.providers.docker_checkpoint import DockerCheckpoints
from kubedrill.providers.docker_engine import BUILDER, Engine
from kubedrill.providers.docker_names import ADDRESS, CLUSTER, META, ROLE
from kubedrill.providers.docker_shells import SHELL, Shells
from kubedrill.providers.docker_stream import KILLED
from kubedrill.shell import Result, pasteable
from kubedrill.wait import until

STORES = "/opt/kubedrill/stores"
# What `timeout` (coreutils) answers when it ended the command, and after it had to kill it.
_TIMED_OUT = (124, 137)
# A node in which much runs needs a while to shut down in order; after that it is killed.
_STOP_SECONDS = 40
_REMOVE_SECONDS = 60

Observer = Callable[[str, Sequence[str], str | None], None]


class DockerNode:
    """A node that is a container."""

    def __init__(self, engine: Engine, shells: Shells, name: str, role: Role, address: str, observer: Observer) -> None:
        self._engine, self._shells = engine, shells
        self._name, self._role, self._address = name, role, address
        self._observer = observer

    def __repr__(self) -> str:
        return f"DockerNode({self._name})"

    @property
    def name(self) -> str:
        """Its host name."""
        return self._name

    @property
    def role(self) -> Role:
        """What it is for."""
        return self._role

    @property
    def address(self) -> str:
        """Its IPv4 address in the cluster's network."""
        return self._address

    def state(self) -> State:
        """Whether it runs."""
        found = self._engine.inspect_container(self._name)["State"]
        if found["Paused"]:
            return "paused"
        return "running" if found["Running"] else "stopped"

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, check: bool = True, timeout: float | None = None,
        show: bool = True,
    ) -> Result:  # fmt: skip
        """Run a command in the node and wait for its end."""
        if show:
            self._observer(self._name, argv, stdin)
        command = list(argv)
        began = time.monotonic()
        if timeout is not None:
            command = ["timeout", "--kill-after=5", f"{timeout:g}", *command]
        given = None if stdin is None else stdin.encode()
        result = self._through_shell(command, given)
        if result is None:
            result = self._execute(command, stdin)
        # A command may end with such a status by itself, before its time is out.
        if timeout is not None and result.status in _TIMED_OUT and time.monotonic() - began >= timeout:
            raise CommandFailed(self._pasteable(argv), None, result.output, self._name)
        if check and result.status != 0:
            raise CommandFailed(self._pasteable(argv), result.status, result.output, self._name)
        return result

    def _through_shell(self, command: Sequence[str], stdin: bytes | None) -> Result | None:
        result = self._shells.run(self._name, command, self._environment(), stdin, self._need_running)
        if result is not None and result.status == KILLED:
            self.state()  # where it is the engine that ended, that is the error
        return result

    def _need_running(self) -> None:
        """See that it runs.

        Raises:
            NotFound: it is off, and its disk could be written to.
            KubedrillError: it is paused; what was begun goes on where it is let go on.
        """
        if (state := self.state()) == "paused":
            raise self._paused()
        if state == "stopped":
            raise NotFound(f"the node {self._name} does not run", todo=["see `invoke status`"])

    def _paused(self) -> KubedrillError:
        return KubedrillError(f"the node {self._name} is paused", todo=["see `invoke status`"])

    def _execute(self, command: list[str], stdin: str | None) -> Result:
        if stdin is not None:
            self._need_running()  # else nobody would take the file away
            path = f"/var/lib/kubedrill/stdin-{uuid.uuid4().hex}"
            self.write([File(path, stdin, 0o600)])
            command = ["sh", "-c", f'exec <{path}; rm {path}; exec "$@"', "sh", *command]
        try:
            result = self._engine.execute(self._name, command, self._environment())
        except NotFound as error:
            raise self._not_running(error) from error
        except KubedrillError as error:
            if any("is paused" in line for line in error.evidence):
                raise self._paused() from error
            raise
        if result.status == 0:
            self._shells.has_booted(self._name)
        return result

    def write(self, files: Sequence[File]) -> None:
        """Write files, owned by root; folders are made."""
        archive = tar_of({file.path: (file.content.encode(), file.mode) for file in files})
        unpack = ["tar", "--extract", "--file", "-", "--directory", "/"]
        result = self._through_shell(unpack, archive)
        if result is None:
            # Not through /run or /tmp: the engine unpacks under the tmpfs that covers them.
            self._engine.put_archive(self._name, "/", archive)
        elif result.status != 0:
            raise CommandFailed(self._pasteable(unpack), result.status, result.output, self._name)

    def send(self, source: Path, path: str) -> None:
        """Copy a file of this machine into the node, whatever its size."""
        self._engine.put_archive(self._name, "/", tar_stream(source, path))

    def journal(self) -> str:
        """The journal of its services as text; works on a stopped node too."""
        command = ["journalctl", "--no-pager", "--output=short-precise", "--directory=/var/log/journal"]
        if self.state() == "running":
            return self.run(command, show=False, check=False, timeout=120).stdout
        # A computer that is off cannot read its own disk: another one does.
        found = self._engine.inspect_container(self._name)
        host = {"binds": [f"{docker_names.disk(self._name)}:/var:ro"]}
        labels = {BUILDER: "journal", docker_names.HELPS: found["Config"]["Labels"][CLUSTER]}
        return self._engine.run_once(found["Image"], command, host=host, labels=labels)[0].stdout

    def console(self) -> str:
        """What its first process printed."""
        return self._engine.logs(self._name)

    def read_tree(self, path: str) -> bytes:
        """A tar of a file or folder of the node; works on a stopped node too."""
        return self._engine.get_archive(self._name, path)

    def stop(self) -> None:
        """Shut it down in order."""
        self._shells.forget(self._name)
        self._engine.act("stop", self._name, timeout=_STOP_SECONDS)

    def start(self) -> None:
        """Start it again after `stop` or `kill`."""
        self._shells.forget(self._name)
        self._engine.act("start", self._name)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._shells.forget(self._name)
        self._engine.act("kill", self._name)

    def pause(self) -> None:
        """Freeze every process in it."""
        self._shells.forget(self._name)
        self._engine.act("pause", self._name)

    def resume(self) -> None:
        """Let them go on."""
        self._engine.act("unpause", self._name)

    def remove(self) -> None:
        """Remove it and its disk, whatever its state; harmless when it is gone."""
        self._shells.forget(self._name)
        self._engine.remove_container(self._name)
        self._engine.remove_volume(docker_names.disk(self._name))

    def shell_argv(self, command: Sequence[str]) -> Sequence[str]:
        """The command of this machine that opens a terminal in the node."""
        settings = [f"--env={key}={value}" for key, value in self._environment().items()]
        return ["docker", "exec", "--interactive", "--tty", *settings, self._name, *command]

    def _not_running(self, error: KubedrillError) -> NotFound:
        printed: list[str] = []
        with contextlib.suppress(NotFound):
            printed = [f"it printed: {line}" for line in self.console().splitlines()[-5:]]
        return NotFound(
            f"the node {self._name} does not run",
            evidence=[*(error.evidence or [error.what]), *printed],
            todo=["see `invoke status`"],
        )

    def _environment(self) -> Mapping[str, str]:
        kubeconfig = {"KUBECONFIG": "/etc/kubernetes/admin.conf"} if self._role == "control-plane" else {}
        return {"HOME": "/root", **kubeconfig}

    def _pasteable(self, argv: Sequence[str]) -> str:
        return pasteable(["docker", "exec", self._name, *argv])


class DockerProvider:
    """Clusters of containers.

    Args:
        engine: Docker's engine.
        missing: capabilities that the engine lacks (host.py finds them).
        observer: told of each command that runs in a node.
    """

    def __init__(self, engine: Engine, missing: frozenset[str], observer: Observer = lambda *_: None) -> None:
        self._engine = engine
        self._missing = missing
        self._observer = observer
        self._checkpoints = DockerCheckpoints(engine, missing)
        self._shells = Shells(lambda name, environment: engine.open_stream(name, SHELL, environment))

    def check(self) -> None:
        """See that the engine answers."""
        self._engine.ping()

    def clusters(self) -> Sequence[str]:
        """The names of all clusters of which anything is there."""
        labelled = [
            *(network["Labels"] for network in self._engine.networks(CLUSTER)),
            *(container["Labels"] for container in self._engine.containers(CLUSTER)),
            *(volume["Labels"] for volume in self._engine.volumes(CLUSTER)),
        ]
        return sorted({labels[CLUSTER] for labels in labelled})

    def create_network(self, cluster: str, network: NetworkSpec) -> None:
        """Make the cluster's network; its labels say what the cluster is."""
        labels = {CLUSTER: cluster, **{META + key: value for key, value in network.metadata.items()}}
        gateway = network.subnet.rpartition(".")[0] + ".1"
        self._engine.create_network(docker_names.network(cluster), network.subnet, gateway, labels)

    def network(self, cluster: str) -> NetworkSpec | None:
        """The cluster's network, None where there is none."""
        return docker_metadata.read(self._engine, cluster)

    def change(self, cluster: str, metadata: Mapping[str, str]) -> None:
        """Keep other metadata with a cluster from now on."""
        docker_metadata.change(self._engine, cluster, metadata)

    def slowness(self, cluster: str) -> float:
        """Containers run on the very processors of this machine."""
        return 1.0

    def used_subnets(self) -> Sequence[str]:
        """The subnets of all the engine's networks."""
        return self._engine.all_subnets()

    def kept_open(self) -> contextlib.AbstractContextManager[None]:
        """Keep shells in nodes open meanwhile."""
        return self._shells.kept()

    def create_node(self, cluster: str, spec: NodeSpec) -> Node:
        """Make a container and start it."""
        labels = {CLUSTER: cluster, ROLE: spec.role, ADDRESS: spec.address}
        self._shells.forget(spec.name)  # of another of that name
        self._engine.create_volume(docker_names.disk(spec.name), {CLUSTER: cluster})
        made = False
        try:
            self._engine.create_container(
                spec.name,
                spec.image,
                host=self._host(spec),
                network=docker_names.network(cluster),
                address=spec.address,
                labels=labels,
                environment={
                    **spec.environment,
                    "KUBEDRILL_ROLE": spec.role,
                    "KUBEDRILL_STORE": next(iter(spec.stores), ""),
                },
                ports=[(port, protocol) for port, protocol in spec.publish],
            )
            made = True
            self._engine.act("start", spec.name)
        except KubedrillError as error:
            # A container that was there before is somebody else's, and so is its disk (then in use).
            if made:
                self._engine.remove_container(spec.name)
            with contextlib.suppress(KubedrillError):
                self._engine.remove_volume(docker_names.disk(spec.name))
            raise KubedrillError(
                f"the node {spec.name} could not be made", evidence=[str(error)], todo=["run: invoke doctor"]
            ) from error
        return DockerNode(self._engine, self._shells, spec.name, spec.role, spec.address, self._observer)

    def nodes(self, cluster: str) -> Sequence[Node]:
        """The nodes there are, running or not: balancer, control planes, workers."""
        found = []
        for container in self._engine.containers(f"{CLUSTER}={cluster}"):
            labels = container["Labels"]
            name = container["Names"][0].lstrip("/")
            role = cast(Role, labels[ROLE])
            found.append(DockerNode(self._engine, self._shells, name, role, labels[ADDRESS], self._observer))
        return sorted(found, key=lambda node: (ROLES.index(node.role), _number(node.name)))

    def remove_cluster(self, cluster: str) -> Sequence[str]:
        """Remove containers, volumes, checkpoints and network, all that carry the cluster's label.

        Raises:
            TimedOut: something could not be removed; says what, and why.
        """
        removed: list[str] = []
        # The engine may still be at work on what a killed run asked of it: a container that it makes now keeps its
        # volume and its network in use until the next round finds it.
        until(
            lambda: self._remove_all(f"{CLUSTER}={cluster}", removed), lambda left: (not left, "; ".join(left)),
            within=_REMOVE_SECONDS, every=0.3, what=f"the removal of {cluster}",
        )  # fmt: skip
        return removed

    def save(self, cluster: str, checkpoint: str) -> Saved:
        """Keep the disks of a stopped cluster, as volumes and images."""
        return self._checkpoints.save(cluster, checkpoint)

    def put_back(self, cluster: str, checkpoint: str) -> None:
        """Replace all nodes of a cluster by those of a checkpoint."""
        self._checkpoints.put_back(cluster, checkpoint)

    def saved(self, cluster: str) -> Sequence[Saved]:
        """The checkpoints of a cluster, the oldest first."""
        return self._checkpoints.saved(cluster)

    def forget(self, cluster: str, checkpoint: str) -> bool:
        """Remove a checkpoint."""
        return self._checkpoints.forget(cluster, checkpoint)

    def _remove_all(self, label: str, removed: list[str]) -> list[str]:
        """One round of removal; says what could not be removed."""
        engine, left = self._engine, list[str]()
        self._checkpoints.drop_helpers(label.partition("=")[2])

        def remove(kind: str, name: str, work: Callable[[], None]) -> None:
            try:
                work()
            except KubedrillError as error:
                left.append(f"{kind} {name}: {' '.join(error.evidence) or error.what}")
            else:
                removed.append(f"{kind} {name}")

        with ThreadPoolExecutor(max_workers=8) as pool:
            names = [container["Names"][0].lstrip("/") for container in engine.containers(label)]
            list(pool.map(lambda name: remove("node", name, lambda: engine.remove_container(name)), names))
            disks = [volume["Name"] for volume in engine.volumes(label)]
            list(pool.map(lambda name: remove("volume", name, lambda: engine.remove_volume(name)), disks))
        for image in engine.images(label):  # a node that was put back is made of one: after the nodes
            identity = image["Id"]
            remove("checkpoint", identity, lambda identity=identity: engine.remove_image(identity))  # type: ignore[misc]
        for found in engine.networks(label):
            identity = found["Id"]
            remove("network", found["Name"], lambda identity=identity: engine.remove_network(identity))  # type: ignore[misc]
        return left

    def _host(self, spec: NodeSpec) -> dict[str, Any]:
        binds = [f"{docker_names.disk(spec.name)}:/var"]
        binds += [f"{volume}:{STORES}/{version}:ro" for version, volume in spec.stores.items()]
        binds += [f"{host}:{node}:{'ro' if read_only else 'rw'}" for host, node, read_only in spec.mounts]
        if Path("/lib/modules").is_dir():
            binds.append("/lib/modules:/lib/modules:ro")
        if Path("/dev/mapper").is_dir():
            # The kubelet looks up what its files lie on, by a name that the engine leaves out of a container's /dev.
            binds.append("/dev/mapper:/dev/mapper:ro")
        return {
            **docker_flags.isolation(self._missing),
            "binds": binds,
            "tmpfs": {"/run": "", "/tmp": ""},
            # The kubelet insists on a kernel log; where the host has none, the entrypoint makes do.
            "devices": ["/dev/kmsg"] if Path("/dev/kmsg").exists() else [],
            "port_bindings": {
                f"{port}/{protocol}": ("127.0.0.1", host) for (port, protocol), host in spec.publish.items()
            },
            # Back after a restart of the engine or the host, but not after `stop` or `kill`.
            "restart_policy": {"Name": "unless-stopped"},
        }


def _number(name: str) -> int:
    found = re.search(r"(\d+)$", name)
    return int(found.group(1)) if found else 0
