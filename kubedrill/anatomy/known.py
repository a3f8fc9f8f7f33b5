"""The components that are looked for: by which program, container and unit they are known, and their pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

SYSTEM_NAMESPACES = ("kube-system", "kube-flannel")


@dataclass(frozen=True)
class Kind:
    """A component.

    Args:
        name: as the field calls it.
        program: file name of its program.
        place: where it must run: on every node, on control planes, on nodes that have etcd to themselves, or on any
            node that the scheduler chooses.
        container: name of its container where it runs in a pod.
        unit: its systemd unit where it runs in none.
        health: pages that answer 200 when it is well.
        pages: pages that tell what is effective.
    """

    name: str
    program: str
    place: Literal["every node", "control planes", "etcd nodes", "some node"]
    container: str = ""
    unit: str = ""
    health: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()

    def expected_on(self, role: str) -> bool:
        """Whether a node of that role must have it."""
        if role == "etcd":  # no node of Kubernetes: what runs there is started by systemd, or is etcd
            return self.place == "etcd nodes" or (self.place == "every node" and bool(self.unit))
        return self.place == "every node" or (self.place == "control planes" and role == "control-plane")


KINDS = (
    Kind(
        "kubelet", "kubelet", "every node", unit="kubelet",
        health=("healthz",), pages=("configz", "flagz", "statusz"),
    ),
    Kind("containerd", "containerd", "every node", unit="containerd"),
    Kind(
        "kube-apiserver", "kube-apiserver", "control planes", "kube-apiserver",
        health=("livez", "readyz"), pages=("flagz", "statusz"),
    ),
    Kind(
        "kube-controller-manager", "kube-controller-manager", "control planes", "kube-controller-manager",
        health=("healthz",), pages=("flagz", "configz", "statusz"),
    ),
    Kind(
        "kube-scheduler", "kube-scheduler", "control planes", "kube-scheduler",
        health=("livez", "readyz"), pages=("flagz", "configz", "statusz"),
    ),
    Kind("etcd", "etcd", "control planes", "etcd", health=("health", "readyz")),
    Kind(
        "kube-proxy", "kube-proxy", "every node", "kube-proxy",
        health=("healthz",), pages=("configz", "flagz", "statusz"),
    ),
    Kind("flannel", "flanneld", "every node", "kube-flannel"),
    Kind("coredns", "coredns", "some node", "coredns", health=("health", "ready")),
)  # fmt: skip


def kinds(*, external: bool) -> tuple[Kind, ...]:
    """The components of a cluster; with an external etcd, that is on nodes of its own."""
    return tuple(replace(kind, place="etcd nodes") if external and kind.name == "etcd" else kind for kind in KINDS)


NAMES = tuple(kind.name for kind in KINDS)
