"""What nodes that run already need of another Kubernetes version: its programs, and archives of its images.

A node's image stores are mounted when it is made, so one that runs gets what an operator's package manager and an
image archive would bring: files of its own.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubedrill.images import oci


@dataclass(frozen=True)
class Cargo:
    """One Kubernetes version, as it is brought to nodes.

    Args:
        version: the exact version, v1.37.2.
        programs: kubeadm, kubelet and kubectl: {name: file on this machine}.
        images: the images that this machine can make, by their names.
        pulled: the names of those that nodes pull from their registries.
    """

    version: str
    programs: Mapping[str, Path]
    images: Mapping[str, oci.Image]
    pulled: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """The names of all images of that version."""
        return (*self.images, *self.pulled)

    def archive(self, name: str, folder: Path) -> Path:
        """One of `images` as an OCI archive in a folder, made unless it is there."""
        target = folder / f"{list(self.images).index(name)}.tar"
        if not target.exists():
            oci.archive(self.images[name], platform.machine(), target)
        return target
