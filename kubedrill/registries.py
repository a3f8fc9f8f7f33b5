"""Registries inside a lab: one that images are brought to, and pull-through caches of others; and who asks them.

Each is a systemd unit of a node (the balancer where there is one, else the first control plane) and listens on that
node's address in the lab's network alone. containerd asks what /etc/containerd/certs.d says (its docs/hosts.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from kubedrill import daemons, logs
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound, TimedOut
from kubedrill.images import push
from kubedrill.network import to_yaml
from kubedrill.providers.base import KUBERNETES, File, Node
from kubedrill.wait import until

FOLDER = "/etc/kubedrill/registry"
DATA = "/var/lib/kubedrill/registry"
UNIT = "/etc/systemd/system/kubedrill-registry@.service"
CERTS = "/etc/containerd/certs.d"
# The one that images are brought to; mirrors are called after what they mirror, and their ports follow.
LAB = "lab"
PORT = 5000
# An upstream is asked by another name than the one that images are called by.
_DOCKER = {"docker.io": "https://registry-1.docker.io"}
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Registry:
    """One of them.

    Args:
        name: its own, also of its unit; lower-case letters, digits, dots, dashes.
        address: where it listens.
        port: TCP port.
        upstream: the URL of the registry that it is a pull-through cache of; '' where images are brought to it.
    """

    name: str
    address: str
    port: int
    upstream: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidSpec(f"'{self.name}' is no name of a registry", todo=["name it as images do: docker.io"])
        if self.upstream and not re.fullmatch(r"https?://[A-Za-z0-9.:-]+", self.upstream):
            raise InvalidSpec(f"'{self.upstream}' is no URL of a registry", todo=["such as https://registry.k8s.io"])

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://{self.address}:{self.port}"

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"kubedrill-registry@{self.name}.service"


def config(registry: Registry) -> str:
    """Its configuration (distribution's docs/content/about/configuration.md)."""
    content: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{DATA}/{registry.name}"}},
        "http": {"addr": f"{registry.address}:{registry.port}"},
    }
    if registry.upstream:
        content["proxy"] = {"remoteurl": registry.upstream}
    return to_yaml([content])


def unit(path: str) -> str:
    """The unit of all of them, whose program is at a path."""
    return f"""\
[Unit]
Description=Registry %i of the lab
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={path} serve {FOLDER}/%i.yml
Environment=OTEL_TRACES_EXPORTER=none
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def hosts(source: str, lab: Registry | None, mirror: Registry | None) -> str:
    """Where a node asks for images of a registry, before it asks that registry itself.

    Args:
        source: the registry that images are called after: 'docker.io'.
        lab: the lab's own; it keeps them below the name of their registry, so that no two are mixed up.
        mirror: the cache of that registry.
    """
    blocks = []
    if lab:
        blocks.append(f'[host."{lab.url}/v2/{source}"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n')
    if mirror:
        blocks.append(f'[host."{mirror.url}"]\n  capabilities = ["pull", "resolve"]\n')
    return "\n".join(blocks)


def host(nodes: Sequence[Node]) -> Node:
    """The node that registries run on: where some are, else the balancer, or without one the first control plane.

    They stay where they are when a cluster gets its balancer later.
    """
    able = [node for role in ("load-balancer", "control-plane") for node in nodes if node.role == role]
    return next((node for node in able if found(node)), able[0])


def found(node: Node) -> tuple[Registry, ...]:
    """The registries of a node, by what is written there."""
    registries = []
    for path, text in sorted(_texts(node, FOLDER).items()):
        content = yaml.safe_load(text)
        address, _, port = content["http"]["addr"].rpartition(":")
        upstream = content.get("proxy", {}).get("remoteurl", "")
        registries.append(Registry(PurePosixPath(path).stem, address, int(port), upstream))
    return tuple(registries)


def serve(node: Node, registry: Registry, say: Callable[[str], None]) -> None:
    """Run a registry on a node, and wait until it answers; twice is harmless.

    Args:
        node: where.
        registry: which.
        say: told of what is built.

    Raises:
        MissingPrerequisite: there is no Go toolchain to build it with.
        BuildFailed: it could not be built.
        KubedrillError: it does not answer; a cache whose upstream cannot be reached does not even start.
    """
    built = push.program("registry", say)
    path = daemons.place(node, built)
    node.write([File(UNIT, unit(path)), File(f"{FOLDER}/{registry.name}.yml", config(registry))])
    daemons.start(node, registry.unit)
    try:
        until(lambda: node.run(["curl", "--silent", "--fail", f"{registry.url}/v2/"], check=False, show=False),
              lambda said: (said.status == 0, f"curl ends with {said.status}"), within=30, every=0.2,
              what=f"the registry at {registry.url}")  # fmt: skip
    except TimedOut as error:
        said = node.run(["journalctl", "--unit", registry.unit, "--lines", "40", "--output", "cat"], check=False)
        why = [line for line in said.stdout.splitlines() if "panic" in line or "fatal" in line]
        # It is not there: a later try begins anew, and nobody asks it.
        node.run(["systemctl", "disable", "--now", registry.unit], check=False)
        node.run(["rm", "-f", f"{FOLDER}/{registry.name}.yml"])
        advice = f"a cache starts only while {registry.upstream} answers it: try `curl {registry.upstream}/v2/` there"
        raise KubedrillError(
            f"the registry {registry.name} on {node.name} does not answer",
            evidence=[*error.evidence, *why[-1:]],
            todo=[advice if registry.upstream else f"journalctl --unit {registry.unit}     (on {node.name})"],
        ) from error


def point(nodes: Sequence[Node], source: str, lab: Registry | None, mirror: Registry | None) -> None:
    """Have nodes ask for images of a registry in the lab first; containerd reads it at each pull.

    Args:
        nodes: all nodes; those that run no pods are passed over.
        source: the registry that images are called after.
        lab: the lab's own.
        mirror: the cache of that registry.
    """
    if not push.is_registry(source):
        raise InvalidSpec(f"'{source}' is no name of a registry", todo=["name it as images do: docker.io"])
    for node in nodes:
        if node.role in KUBERNETES:
            node.write([File(f"{CERTS}/{source}/hosts.toml", hosts(source, lab, mirror))])


def point_like(node: Node, others: Sequence[Node]) -> None:
    """Have nodes ask whom another one asks: those that came to the cluster after its registries.

    Args:
        node: one that was there.
        others: those that were not.
    """
    files = [File(f"{PurePosixPath(CERTS).parent}/{path}", text) for path, text in _texts(node, CERTS).items()]
    for other in others:
        if files and other.role in KUBERNETES:
            other.write(files)


def lab_registry(nodes: Sequence[Node], say: Callable[[str], None]) -> Registry:
    """The registry that images are brought to, started unless it is there.

    Args:
        nodes: of the cluster.
        say: told of what is built.
    """
    node = host(nodes)
    registry = Registry(LAB, node.address, PORT)
    if registry not in found(node):
        serve(node, registry, say)
    return registry


def mirror(nodes: Sequence[Node], source: str, upstream: str, say: Callable[[str], None]) -> Registry:
    """A pull-through cache of a registry, started unless it is there; all nodes ask it first.

    Args:
        nodes: of the cluster.
        source: the registry that images are called after: 'docker.io'.
        upstream: where it is asked; '' for https:// and its name.
        say: told of what is built.
    """
    node = host(nodes)
    there = found(node)
    url = upstream or _DOCKER.get(source, f"https://{source}")
    port = next((one.port for one in there if one.name == source), max([PORT, *(one.port for one in there)]) + 1)
    registry = Registry(source, node.address, port, url)
    if registry not in there:
        serve(node, registry, say)
    point(nodes, source, next((one for one in there if one.name == LAB), None), registry)
    return registry


def bring(nodes: Sequence[Node], file: Path, say: Callable[[str], None]) -> push.Reference:
    """Bring an image into the lab's registry, and have all nodes look for it there.

    Args:
        nodes: of the cluster.
        file: an OCI or Docker archive.
        say: told of what is built.

    Returns:
        The image's full name.

    Raises:
        InvalidSpec: it is no archive of an image.
        KubedrillError: the registry cannot be had, or refuses it.
    """
    image = push.name_of(file)
    registry = lab_registry(nodes, say)
    push.push(file, registry.url, f"{image.host}/{image.path}", image.tag, say)
    point(nodes, image.host, registry, next((one for one in found(host(nodes)) if one.name == image.host), None))
    return image


def _texts(node: Node, folder: str) -> dict[str, str]:
    """The files of a folder of a node, whether it runs or not; none where there is no such folder."""
    try:
        return logs.texts_of(node.read_tree(folder))
    except NotFound:
        return {}
