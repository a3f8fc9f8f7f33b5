"""Addresses and the pod network: pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from kubedrill.errors import KubedrillError
from kubedrill.spec import ClusterSpec

# Private addresses (RFC 1918) that home routers, Docker itself (172.17 to 172.27 first) and VPNs (10.x) seldom use.
POOL = ipaddress.IPv4Network("172.28.0.0/14")
API_PORT = 6443
FLANNEL_NAMESPACE = "kube-flannel"


def etcd_client(address: str) -> str:
    """The URL at which etcd on a computer serves API servers and etcdctl."""
    return f"https://{address}:2379"


def etcd_peer(address: str) -> str:
    """The URL at which etcd on a computer is reached by its other members."""
    return f"https://{address}:2380"


@dataclass(frozen=True)
class Addresses:
    """Who has which address in a cluster's subnet: fixed by role and number, so that nothing moves at a restart."""

    subnet: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        """The host's own address in the subnet."""
        return str(self.subnet[1])

    @property
    def balancer(self) -> str:
        """The load balancer's address."""
        return str(self.subnet[2])

    def node(self, key: str) -> str:
        """The address of control-plane-N, etcd-N or worker-N."""
        role, _, number = key.rpartition("-")
        return str(self.subnet[{"control-plane": 10, "etcd": 20, "worker": 100}[role] + int(number)])

    def endpoint(self, spec: ClusterSpec) -> str:
        """Where the API is reached inside the cluster: the balancer, or the only control plane."""
        return self.balancer if spec.control_planes > 1 else self.node("control-plane-1")


def free_subnet(
    taken: Iterable[ipaddress.IPv4Network], routes: Iterable[ipaddress.IPv4Network] = ()
) -> ipaddress.IPv4Network:
    """The first /24 of the pool that overlaps nothing.

    Args:
        taken: the engine's networks, pod and service subnets.
        routes: what this machine has routes to. One to the whole pool and more, as VPNs make (172.16.0.0/12, or half of
            all addresses), is none to avoid: it would leave nothing, and the nodes' network, which is narrower and at
            hand, goes before it.

    Raises:
        KubedrillError: none is left.
    """
    occupied = [*taken, *(route for route in routes if not POOL.subnet_of(route))]
    for candidate in POOL.subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in occupied):
            return candidate
    raise KubedrillError(
        f"no /24 is free in {POOL} for the nodes",
        evidence=[f"taken: {', '.join(map(str, occupied))}"],
        todo=["remove clusters (invoke down --all) or unused networks (docker network prune)"],
    )


def flannel_manifest(spec: ClusterSpec, image: str, endpoint: str) -> str:
    """Flannel as its own project deploys it (Documentation/kube-flannel.yml), without its installer of CNI files.

    Those are written by kubedrill-cni on the node. KUBERNETES_SERVICE_HOST names the endpoint, so that flannel need not
    wait for kube-proxy.

    Args:
        spec: subnets and backend.
        image: flannel's image.
        endpoint: address of the API inside the cluster.
    """
    labels = {"app": "flannel", "tier": "node", "k8s-app": "flannel"}
    account = {"name": "flannel", "namespace": FLANNEL_NAMESPACE}
    net_conf = {
        "Network": spec.pod_subnet,
        "EnableNFTables": spec.proxy_mode == "nftables",
        "Backend": {"Type": spec.flannel_backend},
    }
    env = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "KUBERNETES_SERVICE_HOST", "value": endpoint},
        {"name": "KUBERNETES_SERVICE_PORT", "value": str(API_PORT)},
        {"name": "EVENT_QUEUE_DEPTH", "value": "5000"},
    ]
    container = {
        "name": "kube-flannel",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/bin/flanneld"],
        # The interface is named by the node's address: what 'can reach' the endpoint is lo on the endpoint's own node.
        "args": ["--ip-masq", "--kube-subnet-mgr", "--iface=$(NODE_IP)"],
        "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}},
        "securityContext": {"privileged": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
        "env": env,
        "volumeMounts": [
            {"name": "run", "mountPath": "/run/flannel"},
            {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"},
            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
        ],
    }
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "tolerations": [{"operator": "Exists"}],
        "serviceAccountName": "flannel",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [container],
        "volumes": [
            {"name": "run", "hostPath": {"path": "/run/flannel", "type": "DirectoryOrCreate"}},
            {"name": "flannel-cfg", "configMap": {"name": "kube-flannel-cfg"}},
            {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
        ],
    }
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    documents = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": FLANNEL_NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
            },
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "flannel"}, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "flannel"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "flannel"},
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kube-flannel-cfg", "namespace": FLANNEL_NAMESPACE, "labels": labels},
            "data": {"net-conf.json": json.dumps(net_conf, indent=2) + "\n"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "kube-flannel-ds", "namespace": FLANNEL_NAMESPACE, "labels": labels},
            "spec": {
                "selector": {"matchLabels": {"app": "flannel", "k8s-app": "flannel"}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
    return to_yaml(documents)


def to_yaml(documents: Iterable[object]) -> str:
    """Several YAML documents in one text, keys in the order given."""
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=1000)


class _Plain(yaml.SafeDumper):
    """Without anchors, which Kubernetes' readers take but people do not."""

    def ignore_aliases(self, data: object) -> bool:
        return True
