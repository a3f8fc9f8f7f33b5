"""What nodes leave behind: journals, pod logs, manifests, kubeadm's output; also of a node that is dead."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.base import Node

# Taken as they are. /etc/kubernetes/pki and the kubeconfigs hold keys and are left out.
_TREES = (
    "/var/log/pods",
    "/var/log/kubedrill",
    "/etc/kubernetes/manifests",
    "/etc/cni/net.d",
    "/var/lib/kubelet/config.yaml",
)
_STATES = (
    ("crictl-ps.txt", ["crictl", "ps", "--all"]),
    ("addresses.txt", ["ip", "address"]),
    ("routes.txt", ["ip", "route"]),
    ("processes.txt", ["ps", "axfww"]),
)


def collect(nodes: Sequence[Node], folder: Path) -> list[str]:
    """Write the logs of nodes to a folder, one subfolder a node.

    Args:
        nodes: the nodes.
        folder: it is made.

    Returns:
        What could not be had, one line each.

    Raises:
        KubedrillError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KubedrillError(f"{folder} cannot be a folder of logs", evidence=[str(error)],
                             todo=["name one of yours: invoke logs --out FOLDER"]) from error  # fmt: skip
    with ThreadPoolExecutor(max_workers=4) as pool:
        return [line for lines in pool.map(lambda node: _collect(node, folder / node.name), nodes) for line in lines]


def _collect(node: Node, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    for name, read in (("journal.txt", node.journal), ("console.txt", node.console)):
        try:
            (folder / name).write_text(read())
        except KubedrillError as error:
            problems.append(f"{node.name}: {name}: {error.what}")
    for tree in _TREES:
        try:
            unpack(node.read_tree(tree), folder)
        except NotFound:
            # A worker has no manifests, a balancer no pods.
            continue
        except KubedrillError as error:
            problems.append(f"{node.name}: {tree}: {error.what}")
    try:
        if node.state() == "running":
            for name, argv in _STATES:
                (folder / name).write_text(node.run(argv, check=False, show=False, timeout=20).output)
    except KubedrillError as error:
        problems.append(f"{node.name}: {error.what}")
    return problems


def unpack(tree: bytes, folder: Path) -> None:
    """Unpack a tar below a folder; links and devices are left out, and nothing leaves the folder."""
    with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
        members = [member for member in tar if member.isfile() or member.isdir()]
        for member in members:
            member.mode |= 0o700 if member.isdir() else 0o600
        try:
            tar.extractall(folder, members=members, filter="data")
        except tarfile.FilterError as error:
            raise KubedrillError("a tree of a node was not unpacked", evidence=[str(error)]) from error


def texts_of(tree: bytes) -> dict[str, str]:
    """The text of each file in a tar, by its name there."""
    with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
        opened = ((member.name, tar.extractfile(member)) for member in tar)
        return {name: file.read().decode(errors="replace") for name, file in opened if file is not None}


def text_of(tree: bytes) -> str:
    """The text of a tar that holds one file."""
    for text in texts_of(tree).values():
        return text
    raise NotFound("the archive holds no file")
