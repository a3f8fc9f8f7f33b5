"""The image store as a disk: what is in its volume, in a file system that all VMs read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from kubedrill import host, libvirtd, paths, shell
from kubedrill.errors import KubedrillError, MissingPrerequisite
from kubedrill.images.store import Store

# Room for the file system's own tables, and for blocks that files do not fill.
_MORE = 1.15
_ROOM_MIB = 64
_MIB = 2**20


def path(store: Store) -> Path:
    """The disk of a store, in the folder of libvirt's pool: its name has the store's content address."""
    return libvirtd.IMAGES / f"{store.volume}.img"


def ensure(
    store: Store, volume: Callable[[str], Path], refresh: Callable[[], None], say: Callable[[str], None]
) -> Path:
    """The disk of a store, made unless it is there.

    Args:
        store: the store.
        volume: gives the folder of a volume on this machine.
        refresh: lets libvirt see a new file of its pool.
        say: told of it.

    Raises:
        MissingPrerequisite: this user cannot read volumes.
        KubedrillError: the volume is not on this machine.
        CommandFailed: mke2fs failed.
    """
    target = path(store)
    with FileLock(paths.cache() / f"{target.name}.lock"):
        if target.exists():
            return target
        if not host.is_root():
            raise MissingPrerequisite(
                "the image store's disk can be made by root alone",
                evidence=["it is copied out of the container engine's volume"],
                todo=['run: sudo env "PATH=$PATH" invoke build --box'],
            )
        source = volume(store.volume)
        if not source.is_dir():
            raise KubedrillError(
                f"the volume {store.volume} is not on this machine", evidence=[f"there is no {source}"],
                todo=["unset DOCKER_HOST, and build again"],
            )  # fmt: skip
        began = time.monotonic()
        used = host.mebibytes(source)
        unfinished = target.with_suffix(".new")
        # No journal: nobody writes. The label tells a VM where to mount it.
        make = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", store.kubernetes, "-O", "^has_journal", "-m", "0"]
        unfinished.unlink(missing_ok=True)
        shell.run([*make, "-d", str(source), str(unfinished), f"{round(used * _MORE) + _ROOM_MIB}M"])
        unfinished.chmod(0o444)
        unfinished.rename(target)
        refresh()
        say(f"made the image store's disk ({target.stat().st_size // _MIB} MiB) in {time.monotonic() - began:.0f} s")
    return target


def for_virtualbox(disk: Path) -> None:
    """The same disk in VirtualBox's own format beside it, unless it is there; never run by this project's CI."""
    target = disk.with_suffix(".vdi")
    if not target.exists():
        shell.run(["VBoxManage", "convertfromraw", str(disk), str(target), "--format", "VDI"])
