"""What is kept of a cluster of VMs: one file in its folder, changed alone and in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from filelock import FileLock

from kubedrill.errors import KubedrillError
from kubedrill.providers.vagrant_spec import FILE, Vm, VmCluster, from_json, to_json


def exists(folder: Path) -> bool:
    """Whether a folder is that of a cluster."""
    return (folder / FILE).exists()


def load(folder: Path) -> VmCluster:
    """What is kept of a cluster.

    Raises:
        KubedrillError: there is no such cluster.
    """
    if not exists(folder):
        raise KubedrillError(f"there is no network of {folder.name}")
    return from_json((folder / FILE).read_text())


def save(folder: Path, cluster: VmCluster) -> None:
    """Keep it."""
    new = folder / f".{FILE}.new"
    new.write_text(to_json(cluster, folder))
    new.replace(folder / FILE)


class Kept:
    """What is kept of a cluster, while it is changed."""

    def __init__(self, cluster: VmCluster) -> None:
        self.cluster = cluster

    def add(self, vm: Vm) -> None:
        """One VM more.

        Raises:
            KubedrillError: its name or address is taken, or no address of the network.
        """
        if IPv4Address(vm.address) not in IPv4Network(self.cluster.subnet):
            raise KubedrillError(f"{vm.address} is not in the network {self.cluster.subnet}")
        for other in self.cluster.vms:
            if vm.name == other.name or vm.address == other.address:
                raise KubedrillError(f"{other.name} ({other.address}) has its name or its address")
        self.cluster = self.cluster.having(vm)

    def remember(self, metadata: Mapping[str, str]) -> None:
        """Other metadata."""
        self.cluster = replace(self.cluster, metadata=dict(metadata))

    def drop(self, name: str) -> None:
        """Without that VM."""
        self.cluster = self.cluster.without(name)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[Kept]:
    """Change what is kept of a cluster: alone, and in one step.

    Raises:
        KubedrillError: there is no such cluster.
    """
    load(folder)
    with FileLock(folder / f"{FILE}.lock"):
        kept = Kept(load(folder))
        yield kept
        save(folder, kept.cluster)
