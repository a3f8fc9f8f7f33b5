"""The node image: rootfs, container runtime and files/. It knows no Kubernetes version."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kubedrill import paths
from kubedrill.images import address, components, rootfs
from kubedrill.providers.docker_engine import Engine

# Binaries that go to /usr/local/bin and /opt/cni/bin of every node.
RUNTIME = ("containerd", "cri-tools")
CNI = "cni-plugins"


def rootfs_image(suite: rootfs.Suite) -> str:
    """The name of the image that holds the bare rootfs."""
    return f"kubedrill/rootfs:{suite.distribution}-{suite.codename}-{rootfs.key(suite)}"


def ensure_rootfs(engine: Engine, suite: rootfs.Suite, say: Callable[[str], None]) -> str:
    """The rootfs as an image, made unless it is there."""
    tag = rootfs_image(suite)
    if not engine.has_image(tag):
        engine.import_image(rootfs.build(suite, say), tag)
    return tag


def name(suite: rootfs.Suite, compiler: str) -> str:
    """The name of the node image that these inputs give."""
    images = paths.repository() / "images"
    keys = [components.key(components.load(part), compiler) for part in (*RUNTIME, CNI)]
    dockerfile = (images / "Dockerfile").read_text()
    return "kubedrill/node:" + address.of(rootfs.key(suite), *keys, dockerfile, address.of_tree(images / "files"))


def ensure(engine: Engine, suite: rootfs.Suite, compiler: str, say: Callable[[str], None]) -> str:
    """The node image, built unless it is there.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    tag = name(suite, compiler)
    if engine.has_image(tag):
        return tag
    base = ensure_rootfs(engine, suite, say)
    programs = [components.build(part, compiler, say) for part in RUNTIME]
    assemble(engine, tag, base, programs, components.build(CNI, compiler, say), say)
    return tag


def assemble(
    engine: Engine, tag: str, base: str, programs: Sequence[Path], plugins: Path, say: Callable[[str], None]
) -> None:
    """Build the node image of a rootfs and of programs, wherever those come from.

    Args:
        engine: Docker's engine.
        tag: the image's name.
        base: the image that holds the rootfs.
        programs: folders of what goes to /usr/local/bin: containerd, its shim, ctr, crictl.
        plugins: the folder of what goes to /opt/cni/bin.
        say: told of it.

    Raises:
        BuildFailed: with the end of the build's output.
    """
    say("building the node image")
    engine.build_image(_context(programs, plugins), tag, {"ROOTFS": base})


def _context(programs: Sequence[Path], plugins: Path) -> bytes:
    images = paths.repository() / "images"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(images / "Dockerfile", "Dockerfile", filter=_owned_by_root)
        tar.add(images / "files", "files", filter=_owned_by_root)
        for folder in programs:
            tar.add(folder, "bin", filter=_owned_by_root)
        tar.add(plugins, "cni", filter=_owned_by_root)
    return buffer.getvalue()


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    if not entry.issym():  # whatever the umask of who made this checkout: folders of the node get these
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
