"""What kind is told: pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubedrill.network import to_yaml
from kubedrill.spec import ClusterSpec

# https://pkg.go.dev/sigs.k8s.io/kind/pkg/cluster/constants: the label of its containers.
LABEL = "io.x-k8s.kind.cluster"
NETWORK = "kind"
BALANCER = "external-load-balancer"
# What kind starts in front of several control planes: pkg/cluster/internal/loadbalancer/const.go of v0.33.0.
ENVOY = "docker.io/envoyproxy/envoy:v1.36.2"


@dataclass(frozen=True)
class Image:
    """kind's node image, and what a cluster of it must be told.

    Args:
        name: the image.
        etcd_tag: the tag of etcd's image in it; None for kubeadm's own choice.
        dns_tag: the tag of CoreDNS's image in it; None for kubeadm's own choice.
        flannel: flannel's image in it.
    """

    name: str
    etcd_tag: str | None
    dns_tag: str | None
    flannel: str


def cluster_config(spec: ClusterSpec, image: Image, cgroup: int) -> str:
    """kind's configuration of a cluster (https://kind.sigs.k8s.io/docs/user/configuration/).

    Args:
        spec: name, sizes and subnets.
        image: what its nodes are made of.
        cgroup: 1 or 2.
    """
    roles = ["control-plane"] * spec.control_planes + ["worker"] * spec.workers
    tags: dict[str, Any] = {"kind": "ClusterConfiguration"}
    if image.etcd_tag:
        tags["etcd"] = {"local": {"imageTag": image.etcd_tag}}
    if image.dns_tag:
        tags["dns"] = {"imageTag": image.dns_tag}
    patches = [tags] if len(tags) > 1 else []
    if cgroup == 1:
        patches.append({"kind": "KubeletConfiguration", "failCgroupV1": False})
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": spec.name,
        "networking": {
            "disableDefaultCNI": True,
            "podSubnet": spec.pod_subnet,
            "serviceSubnet": spec.service_subnet,
            "kubeProxyMode": spec.proxy_mode,
        },
        "nodes": [{"role": role, "image": image.name} for role in roles],
        "kubeadmConfigPatches": [to_yaml([patch]) for patch in patches],
    }
    return to_yaml([config])


def node_names(spec: ClusterSpec) -> tuple[str, ...]:
    """How kind names the nodes, the first control plane first: NAME-control-plane, NAME-control-plane2, NAME-worker."""
    counts = (("control-plane", spec.control_planes), ("worker", spec.workers))
    return tuple(
        f"{spec.name}-{role}{number if number > 1 else ''}" for role, count in counts for number in range(1, count + 1)
    )


def entrance(spec: ClusterSpec) -> str:
    """The container at which the API is reached: the balancer, or the only control plane."""
    return f"{spec.name}-{BALANCER}" if spec.control_planes > 1 else node_names(spec)[0]


def flags(isolation: Mapping[str, Any]) -> list[str]:
    """What stands for --privileged on docker's command line.

    kind itself asks for no filter of system calls and for a cgroup namespace.

    Args:
        isolation: docker_flags.isolation for this engine.
    """
    given = [word for name in isolation.get("cap_add", []) for word in ("--cap-add", name)]
    given += [word for name in isolation.get("cap_drop", []) for word in ("--cap-drop", name)]
    given += [word for rule in isolation.get("device_cgroup_rules", []) for word in ("--device-cgroup-rule", rule)]
    if isolation.get("MaskedPaths") == []:
        given += ["--security-opt", "systempaths=unconfined"]
    return given


def wrapper(docker: str, instead: Sequence[str]) -> str:
    """A `docker` for kind where the engine refuses --privileged, as a shell script.

    A container gets other flags instead. A command in it (`docker exec`) can have no more than the container has, and
    has that without --privileged.

    Args:
        docker: the real one.
        instead: what stands for --privileged.
    """
    return f"""\
#!/bin/sh
# Written by kubedrill for kind, whose containers cannot be privileged here.
command=$1
for word do
    shift
    case $command:$word in
        run:--privileged) set -- "$@" {shlex.join(instead)} ;;
        exec:--privileged) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec {shlex.quote(docker)} "$@"
"""


def helps(spec: ClusterSpec, missing: frozenset[str], cgroup: int, *, envoy: bool) -> list[str]:
    """What kind cannot do here by itself, in words; empty where it can do all.

    What images/kind/kubedrill-help does in its nodes is done where they are not privileged.

    Args:
        spec: the cluster asked for.
        missing: capabilities that the engine lacks.
        cgroup: 1 or 2.
        envoy: whether Envoy's image is to be had.
    """
    given = []
    if missing:
        names = ", ".join(sorted(missing))
        given += [
            f"the engine lacks {names} and refuses --privileged: a `docker` of ours gives its nodes the flags of ours",
            "/sys/fs/cgroup in its nodes is mounted again, so that it can be written to",
            "/dev/kmsg in its nodes is a link to /dev/null: the kubelet insists on a kernel log",
        ]
        if "SYS_RESOURCE" in missing:
            given.append("restrict_oom_score_adj is true for containerd: nobody may lower an OOM score there")
    if cgroup == 1:
        given.append("cgroup v1: failCgroupV1 is false for the kubelet")
    if spec.control_planes > 1 and not envoy:
        given.append(f"{ENVOY} is not to be had: HAProxy stands in for it")
    return given
