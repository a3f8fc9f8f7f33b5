"""What is special about single nodes of a cluster: labels, taints, ports, mounts, and the sizes of VMs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _taint(text: str) -> str:
    _, _, effect = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_./]*(=[-A-Za-z0-9_.]*)?:[A-Za-z]+", text):
        raise ValueError(f"{text!r} is no taint: write key=value:Effect")
    if effect not in TAINT_EFFECTS:
        raise ValueError(f"{text!r}: the effect is one of {', '.join(TAINT_EFFECTS)}")
    return text


# Of labels that belong to Kubernetes itself, those that a kubelet may give its node; with any other it ends at once.
# (k8s.io/kubelet/pkg/apis/well_known_labels.go, cmd/kubelet/app/options/options.go)
_KUBERNETES = re.compile(r"(.*\.)?(kubernetes|k8s)\.io")
_OF_KUBELETS = re.compile(r"(.*\.)?(kubelet|node)\.kubernetes\.io")
_WELL_KNOWN = {
    "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type", "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
}  # fmt: skip
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if not _LABEL.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
            raise ValueError(
                f"{key!r} is no label: write name or example.org/name, of letters, digits, '-', '_' and '.'"
            )
        if value and not _LABEL.fullmatch(value):
            raise ValueError(f"{value!r} is no value of a label: up to 63 letters, digits, '-', '_' and '.'")
        if _KUBERNETES.fullmatch(prefix) and not _OF_KUBELETS.fullmatch(prefix) and key not in _WELL_KNOWN:
            raise ValueError(
                f"{key!r}: a kubelet may not give its node this label; once it is there: kubectl label node"
            )
    return labels


def _host_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port: 1 to 65535")
    return port


class Frozen(BaseModel):
    """A part of a configuration: it never changes, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True, validate_default=True)


class PortMapping(Frozen):
    """A port of a node that is published on 127.0.0.1 of the host."""

    node_port: Annotated[int, AfterValidator(_host_port)] = Field(alias="nodePort")
    host_port: Annotated[int, AfterValidator(_host_port)] = Field(alias="hostPort")
    protocol: Literal["tcp", "udp"] = "tcp"


class Mount(Frozen):
    """A folder of the host that a node sees."""

    host_path: str = Field(alias="hostPath")
    node_path: str = Field(alias="nodePath")
    read_only: bool = Field(default=False, alias="readOnly")

    @model_validator(mode="after")
    def _absolute(self) -> Mount:
        for path in (self.host_path, self.node_path):
            if not path.startswith("/"):
                raise ValueError(f"'{path}': mounts need absolute paths")
        return self


class NodeSettings(Frozen):
    """What is special about one node, or about all nodes of a role."""

    labels: Annotated[dict[str, str], AfterValidator(_labels)] = Field(default_factory=dict)
    taints: tuple[Annotated[str, AfterValidator(_taint)], ...] = Field(default=(), strict=False)
    ports: tuple[PortMapping, ...] = Field(default=(), strict=False)
    mounts: tuple[Mount, ...] = Field(default=(), strict=False)

    def over(self, base: NodeSettings) -> NodeSettings:
        """These settings laid over those of the role."""
        return NodeSettings(
            labels={**base.labels, **self.labels},
            taints=(*base.taints, *self.taints),
            ports=(*base.ports, *self.ports),
            mounts=(*base.mounts, *self.mounts),
        )


class VmSettings(Frozen):
    """What VMs are run by, and their sizes (MiB, virtual processors); 0 for what a role needs."""

    driver: Literal["auto", "kvm", "emulation", "virtualbox"] = "auto"
    control_plane_memory: int = Field(default=0, ge=0, alias="controlPlaneMemory")
    control_plane_cpus: int = Field(default=0, ge=0, alias="controlPlaneCpus")
    worker_memory: int = Field(default=0, ge=0, alias="workerMemory")
    worker_cpus: int = Field(default=0, ge=0, alias="workerCpus")

    def size(self, key: str) -> tuple[int, int]:
        """Memory and processors of control-plane-N or worker-N; the balancer's are not for choosing."""
        if key.startswith("control-plane"):
            return self.control_plane_memory, self.control_plane_cpus
        return (self.worker_memory, self.worker_cpus) if key.startswith("worker") else (0, 0)
