"""Builds that nothing asks for any more: of an earlier revision of images/, another toolchain, another distribution.

Every build is named by its content address. What this checkout would make now gives the addresses that are wanted,
containers and VMs those that are in use; each other one can go, and is built again by a checkout that asks for it.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubedrill import host, paths
from kubedrill.errors import KubedrillError
from kubedrill.images import store
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.docker_names import CHECKPOINT

MIB = 2**20
_ADDRESS = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_IMAGES = ("kubedrill/rootfs", "kubedrill/node", "kubedrill/kind-node", "kubedrill/kind-balancer")
# Of the cache; each entry is a file or folder that is there whole, or not at all.
_FOLDERS = ("rootfs", "components", "packages", "boxes", "stores")
# No build takes a day, on whatever machine: what nobody has written to for so long was left by one that was killed.
_DAY = 24 * 3600


@dataclass(frozen=True)
class Build:
    """Something that was built: what kind of thing, its name, and what its removal gives back.

    Args:
        kind: what it is, in words.
        name: its name.
        mebibytes: what its removal gives back.
        finished: whether it is whole. What is not is of no use to anyone.
    """

    kind: str
    name: str
    mebibytes: int
    finished: bool = True


class Shelf(Protocol):
    """A place where builds are."""

    def builds(self) -> Sequence[Build]:
        """What is there."""
        ...

    def remove(self, build: Build) -> None:
        """Remove one.

        Raises:
            KubedrillError: it is in use.
        """
        ...


def addresses(text: str) -> frozenset[str]:
    """The content addresses in a text."""
    return frozenset(_ADDRESS.findall(text))


def superseded(builds: Iterable[Build], kept: Collection[str]) -> list[Build]:
    """Those that can go, in the order of their names.

    Args:
        builds: what is there.
        kept: the content addresses that are wanted or in use.
    """
    gone = [
        build
        for build in builds
        if not build.finished or (addresses(build.name) and not addresses(build.name) & set(kept))
    ]
    return sorted(gone, key=lambda build: (build.kind, build.name))


def in_use(engine: Engine, vms: Path) -> frozenset[str]:
    """The content addresses by which containers, checkpoints and VMs that are there know what they are made of.

    Args:
        engine: Docker's engine.
        vms: the folder with what kubedrill wrote of each cluster of VMs.
    """
    texts = [f"{one['Image']} {[mount.get('Name', '') for mount in one['Mounts']]}" for one in engine.containers()]
    # A checkpoint's index says how its nodes are made; they may be gone themselves.
    texts += [str(volume["Labels"]) for volume in engine.volumes(CHECKPOINT)]
    texts += [file.read_text() for file in vms.glob("*/*.json")]
    return frozenset().union(*map(addresses, texts))


@dataclass(frozen=True)
class Images:
    """Images of the engine."""

    engine: Engine

    def builds(self) -> Sequence[Build]:
        """Those that are made of what images/ describes."""
        return [
            Build("image", tag, image["Size"] // MIB)
            for image in self.engine.images()
            for tag in image["RepoTags"] or []
            if tag.partition(":")[0] in _IMAGES
        ]

    def remove(self, build: Build) -> None:
        """Remove one; layers that others share stay."""
        self.engine.remove_image(build.name)


@dataclass(frozen=True)
class Stores:
    """Image stores: volumes of the engine."""

    engine: Engine

    def builds(self) -> Sequence[Build]:
        """All of them, of whatever Kubernetes version."""
        names = [str(volume["Name"]) for volume in self.engine.volumes(store.LABEL)]
        return [Build("image store", name, host.mebibytes(self.engine.volume_folder(name))) for name in names]

    def remove(self, build: Build) -> None:
        """Remove one."""
        self.engine.remove_volume(build.name)


@dataclass(frozen=True)
class Files:
    """Files and folders of one folder.

    Args:
        folder: where they are.
        kind: what they are, in a word.
        pattern: which of them.
        removed: called after one was removed.
    """

    folder: Path
    kind: str
    pattern: str = "*"
    removed: Callable[[Build], None] = lambda _build: None

    def builds(self) -> Sequence[Build]:
        """Those that are finished: whatever is being made has a name that begins with a dot."""
        found = [path for path in self.folder.glob(self.pattern) if path.suffix != ".lock" and path.name[0] != "."]
        return [Build(self.kind, path.name, host.mebibytes(path)) for path in found]

    def remove(self, build: Build) -> None:
        """Remove one."""
        path = self.folder / build.name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self.removed(build)


@dataclass(frozen=True)
class Unfinished(Files):
    """What builds that were killed left in a folder, where each has a folder of its own that it works in."""

    def builds(self) -> Sequence[Build]:
        """Those that nobody has written to for a day."""
        before = time.time() - _DAY
        found = [path for path in self.folder.glob(".*") if path.is_dir() and _written(path) < before]
        return [Build(self.kind, path.name, host.mebibytes(path), finished=False) for path in found]


def _written(folder: Path) -> float:
    """When something in a folder was last written to, in seconds since 1970."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:  # it, or something in it, was moved meanwhile: somebody is at work there
        return time.time()


def shelves(engine: Engine, *, vagrant: Path, disks: Path, refresh: Callable[[], None]) -> list[Shelf]:
    """Every place of this machine where builds are.

    Args:
        engine: Docker's engine.
        vagrant: Vagrant's own folder.
        disks: the folder of libvirt's pool.
        refresh: lets libvirt see what has changed in it.
    """
    found: list[Shelf] = [Images(engine), Stores(engine)]
    found += [Files(paths.cache() / folder, f"{folder} in the cache") for folder in _FOLDERS]
    found += [Unfinished(paths.cache() / folder, "left by a killed build") for folder in (*_FOLDERS, ".")]
    if disks.is_dir():
        found.append(Files(disks, "disk of VMs", "kubedrill-*", lambda _build: refresh()))
    return [*found, Files(vagrant / "boxes", "Vagrant's copy of a box", "kubedrill-*")]


def prune(shelves: Iterable[Shelf], kept: Collection[str], *, dry: bool) -> tuple[list[Build], list[str]]:
    """Remove what can go.

    Args:
        shelves: where to look.
        kept: the content addresses that are wanted or in use.
        dry: only look.

    Returns:
        What went, or would go; and why some did not.
    """
    gone, refused = [], []
    for shelf in shelves:
        for build in superseded(shelf.builds(), kept):
            try:
                if not dry:
                    shelf.remove(build)
            except (KubedrillError, OSError) as error:
                refused.append(f"{build.kind} {build.name}: {' '.join(str(error).split())}")
            else:
                gone.append(build)
    return gone, refused
