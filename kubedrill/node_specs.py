"""What each computer of a cluster is made of, from the spec: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubedrill import kubeadm, loadbalancer, network
from kubedrill.providers.base import ROLES, File, NodeSpec, Role
from kubedrill.spec import ClusterSpec

BALANCER = "load-balancer"


@dataclass(frozen=True)
class Made:
    """What nodes are made of, where that came from, and what is known of the machine they run on."""

    image: str
    stores: Mapping[str, str]
    flannel_image: str
    machine: kubeadm.Machine
    nameservers: tuple[str, ...]
    source: str = "modules"


def role_of(key: str) -> Role:
    """The role of load-balancer, control-plane-N, etcd-N or worker-N."""
    return next(role for role in ROLES if key == role or key.rpartition("-")[0] == role)


def node_spec(spec: ClusterSpec, key: str, addresses: network.Addresses, made: Made, api_port: int | None) -> NodeSpec:
    """One computer to make.

    Args:
        spec: the cluster asked for.
        key: load-balancer, control-plane-N, etcd-N or worker-N.
        addresses: of the cluster.
        made: what its nodes are made of.
        api_port: port of this machine on which the API is published; None where it is not.
    """
    settings = spec.settings(key)
    publish: dict[tuple[int, str], int] = {(port.node_port, port.protocol): port.host_port for port in settings.ports}
    memory, cpus = spec.vm.size(key)
    entrance = BALANCER if spec.control_planes > 1 else "control-plane-1"
    if key == entrance and api_port is not None:
        publish[network.API_PORT, "tcp"] = api_port
    return NodeSpec(
        name=kubeadm.node_name(spec, key),
        role=role_of(key),
        address=addresses.balancer if key == BALANCER else addresses.node(key),
        image=made.image,
        stores={} if key == BALANCER else made.stores,
        publish=publish,
        mounts=[(mount.host_path, mount.node_path, mount.read_only) for mount in settings.mounts],
        environment={"KUBEDRILL_NAMESERVERS": " ".join(made.nameservers)},
        memory=memory,
        cpus=cpus,
    )


def haproxy(spec: ClusterSpec, addresses: network.Addresses) -> File:
    """The balancer's configuration: all control planes that there are to be."""
    control_planes = {
        kubeadm.node_name(spec, key): addresses.node(key) for key in spec.node_keys() if key.startswith("control-plane")
    }
    return File(loadbalancer.CONFIG_PATH, loadbalancer.haproxy_config(control_planes))
