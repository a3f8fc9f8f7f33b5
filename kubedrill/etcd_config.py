"""The configuration of computers that have etcd to themselves, rendered from the spec: pure.

https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/setup-ha-etcd-with-kubeadm/
"""

from __future__ import annotations

from kubedrill.kubeadm import API, CRI_SOCKET, Machine, flags, kubelet_config, node_name, without_none
from kubedrill.network import Addresses, etcd_peer, to_yaml
from kubedrill.spec import ClusterSpec

CONFIG = "/etc/kubernetes/kubeadm-etcd.yaml"
KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
UNIT = "/etc/systemd/system/kubelet.service.d/20-no-api.conf"
# Without a kubeconfig a kubelet knows of no API, and waits for none.
NO_API = '[Service]\nEnvironment="KUBELET_KUBECONFIG_ARGS="\n'


def member_config(spec: ClusterSpec, key: str, addresses: Addresses, machine: Machine) -> str:
    """The file for kubeadm's phases on a computer that has etcd to itself.

    As with members on control planes, the first one begins alone, and each further one joins those before it: so its
    manifest fits when it has to be replaced, too.

    Args:
        spec: the cluster asked for.
        key: etcd-1, etcd-2 or etcd-3.
        addresses: of the cluster.
        machine: what is known of the nodes.
    """
    before = spec.etcd_keys()[: spec.etcd_keys().index(key) + 1]
    members = [f"{node_name(spec, each)}={peer(addresses, each)}" for each in before]
    joins = {"initial-cluster": ",".join(members), "initial-cluster-state": "existing"} if len(members) > 1 else {}
    own = {"serverCertSANs": [addresses.node(key)], "peerCertSANs": [addresses.node(key)]}
    init = {
        "apiVersion": API,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": addresses.node(key)},
        "nodeRegistration": {"name": node_name(spec, key), "criSocket": CRI_SOCKET},
    }
    cluster = {
        "apiVersion": API,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": spec.version(),
        "encryptionAlgorithm": "ECDSA-P256",
        "etcd": {"local": without_none({
            "dataDir": "/var/lib/etcd",
            "imageTag": machine.etcd_tag,
            **own,
            "extraArgs": flags({**joins, **spec.extra_args.get("etcd", {})}),
        })},
    }  # fmt: skip
    return to_yaml([init, cluster])


def peer(addresses: Addresses, key: str) -> str:
    """The URL at which other members reach that of etcd-N."""
    return etcd_peer(addresses.node(key))


def standalone_kubelet(spec: ClusterSpec, machine: Machine) -> str:
    """The configuration of a kubelet that no API tells anything: it runs what lies in its folder of manifests.

    It is asked by nobody: it listens on 127.0.0.1 alone.
    """
    alone = {
        "address": "127.0.0.1",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "staticPodPath": "/etc/kubernetes/manifests",
        "containerRuntimeEndpoint": CRI_SOCKET,
    }
    return to_yaml([{**kubelet_config(spec, machine), **alone}])
