"""kubeadm's configuration files, rendered from the spec: pure but for the random secrets.

The API is kubeadm.k8s.io/v1beta4: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
"""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kubedrill import slowness
from kubedrill.network import API_PORT, Addresses, etcd_client, to_yaml
from kubedrill.spec import ClusterSpec

INIT_CONFIG = "/etc/kubernetes/kubeadm-init.yaml"
JOIN_CONFIG = "/etc/kubernetes/kubeadm-join.yaml"
UPGRADE_CONFIG = "/etc/kubernetes/kubeadm-upgrade.yaml"
DISCOVERY_FILE = "/etc/kubernetes/discovery.conf"
# What a kubelet has been given for its token, or renewed since.
KUBELET_CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
# With which a kubelet asks for its certificate; kubeadm removes it afterwards.
BOOTSTRAP_KUBECONFIG = "/etc/kubernetes/bootstrap-kubelet.conf"
# With which it is known once it has that.
KUBELET_KUBECONFIG = "/etc/kubernetes/kubelet.conf"
PATCHES = "/etc/kubernetes/patches"
# By these a control plane knows an external etcd, and is known to it.
ETCD_CA = "/etc/kubernetes/pki/etcd/ca.crt"
ETCD_CLIENT = ("/etc/kubernetes/pki/apiserver-etcd-client.crt", "/etc/kubernetes/pki/apiserver-etcd-client.key")
API = "kubeadm.k8s.io/v1beta4"
CRI_SOCKET = "unix:///run/containerd/containerd.sock"
# Long enough for the slowest bring-up, short enough to be worthless soon (kubeadm's defaults: 24 h and 2 h).
TOKEN_TTL = "1h0m0s"
# What kubeadm checks of a computer and a container is not: kernel configuration, swap, cores and memory of its own.
IGNORED_CHECKS = (
    "SystemVerification",
    "Swap",
    "NumCPU",
    "Mem",
    "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",
)
# What kubeadm knows of CoreDNS's configurations ends with the CoreDNS that it would bring.
_DNS_CHECKS = ("CoreDNSUnsupportedPlugins", "CoreDNSMigration")

# At its start the controller manager asks for a token for each of its controllers, more than 100 requests; with the
# default burst of 30 and 20 requests a second it takes 5.5 s until the first controller works. The rate stays.
_CONTROLLER_MANAGER = {"kube-api-burst": "200"}
# A candidate that finds the API not ready asks again after 2 to 4.4 s (default: 2 s, jitter 1.2). Where there is one
# control plane, nobody competes, and all that this does is delay its first start. With several, the default stays:
# how long a failover takes is what drills are there to see.
_ALONE = {"leader-elect-retry-period": "500ms"}

# Where a node has certificates for the controller manager and the scheduler to show (images/files,
# kubedrill-serving-certificates); without, each would sign its own at each start.
_SERVING = "/etc/kubernetes/serving"


def _learners(control_planes: int) -> dict[str, str]:
    """etcd's flag for how many members may learn at a time (default: 1); they have no vote until they are promoted.

    https://etcd.io/docs/v3.6/learning/design-learner/
    """
    return {"max-learners": str(control_planes - 1)} if control_planes > 2 else {}


@dataclass(frozen=True)
class Secrets:
    """What joins a node to a cluster; short-lived, never printed."""

    token: str = field(repr=False)
    certificate_key: str = field(repr=False)


@dataclass(frozen=True)
class Machine:
    """What the configuration must know of the nodes.

    Args:
        cgroup: 1 or 2.
        etcd_tag: tag of etcd's image; None for kubeadm's own.
        dns_tag: tag of CoreDNS's image; None for kubeadm's own.
        pull: whether images may be pulled.
        slow: how many times slower than real hardware nodes are.
        shields: whether a process may be kept from the kernel's OOM killer; that takes CAP_SYS_RESOURCE.
    """

    cgroup: int
    etcd_tag: str | None
    dns_tag: str | None
    pull: bool = False
    slow: float = 1.0
    shields: bool = True


def new_secrets() -> Secrets:
    """A random token ([a-z0-9]{6}.[a-z0-9]{16}) and a random key of 32 bytes for the certificates."""
    alphabet = string.ascii_lowercase + string.digits
    text = "".join(secrets.choice(alphabet) for _ in range(22))
    return Secrets(f"{text[:6]}.{text[6:]}", secrets.token_hex(32))


def node_name(spec: ClusterSpec, key: str) -> str:
    """The host name of control-plane-N or worker-N: lab-worker-1."""
    return f"{spec.name}-{key}"


def init_config(spec: ClusterSpec, addresses: Addresses, machine: Machine, keys: Secrets) -> str:
    """The file for `kubeadm init` on the first control plane."""
    first = "control-plane-1"
    init = {
        "apiVersion": API,
        "kind": "InitConfiguration",
        "bootstrapTokens": [{"token": keys.token, "ttl": TOKEN_TTL, "usages": ["signing", "authentication"]}],
        "certificateKey": keys.certificate_key,
        "localAPIEndpoint": {"advertiseAddress": addresses.node(first), "bindPort": API_PORT},
        "nodeRegistration": _registration(spec, first, addresses, machine),
        "patches": {"directory": PATCHES},
        **_timeouts(machine),
    }
    return to_yaml(
        [init, _cluster(spec, addresses, machine), kubelet_config(spec, machine), _kube_proxy(spec, machine)]
    )


def join_config(spec: ClusterSpec, key: str, addresses: Addresses, machine: Machine, keys: Secrets) -> str:
    """The file for `kubeadm join`. The cluster's CA is pinned: the discovery file carries it."""
    join: dict[str, Any] = {
        "apiVersion": API,
        "kind": "JoinConfiguration",
        "discovery": {"file": {"kubeConfigPath": DISCOVERY_FILE}, "tlsBootstrapToken": keys.token},
        "nodeRegistration": _registration(spec, key, addresses, machine),
        **_timeouts(machine),
    }
    if key.startswith("control-plane"):
        join["controlPlane"] = {
            "localAPIEndpoint": {"advertiseAddress": addresses.node(key), "bindPort": API_PORT},
            "certificateKey": keys.certificate_key,
        }
        join["patches"] = {"directory": PATCHES}
    return to_yaml([join])


def discovery_file(ca: str, endpoint: str) -> str:
    """A kubeconfig that says where the cluster is and by which CA it is known, and no more.

    Args:
        ca: the CA's certificate (PEM).
        endpoint: address of the API.
    """
    cluster = {
        "server": f"https://{endpoint}:{API_PORT}",
        "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": cluster}],
        "contexts": [],
        "users": [],
        "current-context": "",
    }
    return to_yaml([config])


def with_arguments(configuration: str, part: str, arguments: Mapping[str, str]) -> str:
    """A ClusterConfiguration, as the ConfigMap kubeadm-config holds it, with further flags of one component.

    Args:
        configuration: YAML.
        part: apiServer, controllerManager or scheduler.
        arguments: {flag without dashes: value}; feature gates join those that are there, other flags take the place
            of one of the same name.
    """
    cluster = yaml.safe_load(configuration)
    component = cluster.setdefault(part, None) or {}
    there = {one["name"]: one["value"] for one in component.get("extraArgs") or []}
    gates = [there[name] for name in ("feature-gates",) if name in there and name in arguments]
    merged = {**there, **arguments}
    if gates:
        merged["feature-gates"] = ",".join([*gates, arguments["feature-gates"]])
    cluster[part] = {**component, "extraArgs": flags(merged)}
    return to_yaml([cluster])


def phase_config(configuration: str, node: str, address: str) -> str:
    """The file for `kubeadm init phase` on a control plane that is part of a cluster.

    Without an InitConfiguration kubeadm would take whatever address has the default route.

    Args:
        configuration: the ClusterConfiguration, YAML.
        node: the control plane's host name.
        address: its own address.
    """
    init = {
        "apiVersion": API,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": address, "bindPort": API_PORT},
        "nodeRegistration": {"name": node, "criSocket": CRI_SOCKET},
        "patches": {"directory": PATCHES},
    }
    return to_yaml([init, yaml.safe_load(configuration)])


def upgrade_config(version: str, *, own_dns: bool, plane: bool) -> str:
    """The file for `kubeadm upgrade plan`, `apply` and `node`.

    Args:
        version: the exact version to go to, v1.37.2.
        own_dns: CoreDNS is not the one that kubeadm would bring: its phase would fail at a version that kubeadm does
            not know, and has nothing to change.
        plane: whether the node is a control plane.
    """
    checks = [*IGNORED_CHECKS, *(_DNS_CHECKS if own_dns else ())]
    common = {
        "ignorePreflightErrors": checks,
        "imagePullPolicy": "Never",
        **({"patches": {"directory": PATCHES}} if plane else {}),
        **({"skipPhases": ["addon/coredns"]} if own_dns else {}),
    }
    upgrade = {
        "apiVersion": API,
        "kind": "UpgradeConfiguration",
        "plan": {"kubernetesVersion": version, "ignorePreflightErrors": checks},
        "apply": {"kubernetesVersion": version, **common},
        "node": common,
    }
    return to_yaml([upgrade])


def own_dns(configuration: str) -> bool:
    """Whether a ClusterConfiguration names a CoreDNS of its own.

    Args:
        configuration: YAML, as the ConfigMap kubeadm-config holds it.
    """
    return bool((yaml.safe_load(configuration).get("dns") or {}).get("imageTag"))


def patches(slow: float = 1.0) -> Mapping[str, str]:
    """kubeadm's patches: {file name: content}.

    CoreDNS is asked each second whether it is ready, not each tenth second, so that 'available' is known when it is so.
    Where nodes are slow, nobody is asked more than can be answered.

    Args:
        slow: how many times slower than real hardware nodes are.
    """
    container = {"name": "coredns", **slowness.coredns(slow)}
    coredns = {"spec": {"template": {"spec": {"containers": [container]}}}}
    static = {f"{name}+strategic.yaml": to_yaml([patch]) for name, patch in slowness.patches(slow).items()}
    return {"corednsdeployment+strategic.yaml": to_yaml([coredns]), **static}


def _timeouts(machine: Machine) -> dict[str, Any]:
    return {} if machine.slow == 1 else {"timeouts": slowness.kubeadm_timeouts(machine.slow)}


def _cluster(spec: ClusterSpec, addresses: Addresses, machine: Machine) -> dict[str, Any]:
    names = [addresses.node(key) for key in spec.node_keys() if key.startswith("control-plane")]
    gates = _gates(spec)
    election = _ALONE if spec.control_planes == 1 and machine.slow == 1 else {}
    election = {**election, **slowness.elections(machine.slow, spec.control_planes)}
    grace = slowness.grace(machine.slow)
    manager = {
        "cert-dir": _SERVING,
        **_CONTROLLER_MANAGER,
        **election,
        **grace,
        **gates,
        **spec.extra_args.get("controllerManager", {}),
    }
    server = {**slowness.apiserver(machine.slow), **gates, **spec.extra_args.get("apiserver", {})}
    etcd = {**_learners(spec.control_planes), **slowness.etcd(machine.slow, spec.control_planes)}
    etcd |= spec.extra_args.get("etcd", {})
    serving = [{"name": "serving", "hostPath": _SERVING, "mountPath": _SERVING, "pathType": "DirectoryOrCreate"}]
    scheduler = {"cert-dir": _SERVING, **election, **gates, **spec.extra_args.get("scheduler", {})}
    return {
        "apiVersion": API,
        "kind": "ClusterConfiguration",
        "clusterName": spec.name,
        "kubernetesVersion": spec.version(),
        # kubeadm makes 16 keys on the first control plane; as RSA-2048 (its default) init took 8.6 s here, so 7.3 s.
        "encryptionAlgorithm": "ECDSA-P256",
        "controlPlaneEndpoint": f"{addresses.endpoint(spec)}:{API_PORT}",
        "networking": {
            "podSubnet": spec.pod_subnet,
            "serviceSubnet": spec.service_subnet,
            "dnsDomain": "cluster.local",
        },
        "apiServer": {
            "certSANs": sorted({"localhost", "127.0.0.1", addresses.endpoint(spec), *names}),
            "extraArgs": flags(server),
        },
        "controllerManager": {"extraArgs": flags(manager), "extraVolumes": serving},
        "scheduler": {"extraArgs": flags(scheduler), "extraVolumes": serving},
        "etcd": {"external": {
            "endpoints": [etcd_client(addresses.node(key)) for key in spec.etcd_keys()],
            "caFile": ETCD_CA, "certFile": ETCD_CLIENT[0], "keyFile": ETCD_CLIENT[1],
        }} if spec.etcd == "external" else {"local": without_none({
            "dataDir": "/var/lib/etcd",
            "imageTag": machine.etcd_tag,
            "extraArgs": flags(etcd),
        })},
        "dns": without_none({"imageTag": machine.dns_tag}),
    }  # fmt: skip


def kubelet_config(spec: ClusterSpec, machine: Machine) -> dict[str, Any]:
    """The KubeletConfiguration of all nodes."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs" if machine.cgroup == 1 else "systemd",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The node's own resolver may be one that pods cannot reach; the entrypoint writes this one.
        "resolvConf": "/etc/kubedrill/resolv.conf",
        # The disk is the host's: what fills it is not this node's to clean up.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "featureGates": dict(spec.feature_gates),
        **_oom(machine),
        **slowness.kubelet(machine.slow),
    }


def _oom(machine: Machine) -> dict[str, Any]:
    """Where the kernel refuses a better score than 0, the kubelet and kube-proxy would try for 0.2 s at each start.

    pkg/util/oom/oom_linux.go: two tries, 100 ms apart.
    """
    return {} if machine.shields else {"oomScoreAdj": 0}


def _kube_proxy(spec: ClusterSpec, machine: Machine) -> dict[str, Any]:
    # kube-proxy reads a file, not flags: its extra arguments are fields of that file.
    extra = {key: yaml.safe_load(value) for key, value in spec.extra_args.get("kubeProxy", {}).items()}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": spec.proxy_mode,
        "clusterCIDR": spec.pod_subnet,
        # 0 leaves the host's limit alone, which a container may not write.
        "conntrack": {"maxPerCore": 0},
        "featureGates": dict(spec.feature_gates),
        **_oom(machine),
        **extra,
    }


def _registration(spec: ClusterSpec, key: str, addresses: Addresses, machine: Machine) -> dict[str, Any]:
    settings = spec.settings(key)
    patience = slowness.kubelet_flags(machine.slow)
    kubelet = {"node-ip": addresses.node(key), **patience, **spec.extra_args.get("kubelet", {})}
    if settings.labels:
        labels = [f"{name}={value}" for name, value in settings.labels.items()]
        kubelet["node-labels"] = ",".join([*filter(None, [kubelet.get("node-labels")]), *labels])
    registration: dict[str, Any] = {
        "name": node_name(spec, key),
        "criSocket": CRI_SOCKET,
        "imagePullPolicy": "IfNotPresent" if machine.pull else "Never",
        "ignorePreflightErrors": list(IGNORED_CHECKS),
        "kubeletExtraArgs": flags(kubelet),
    }
    taints = [_taint(text) for text in settings.taints]
    if key.startswith("control-plane") and spec.workers:
        taints.insert(0, {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})
    # Without the key kubeadm adds its own taint to a control plane; an empty list says that there is none, so that a
    # cluster without workers runs pods.
    if taints or key.startswith("control-plane"):
        registration["taints"] = taints
    return registration


def _taint(text: str) -> dict[str, str]:
    pair, _, effect = text.rpartition(":")
    key, equals, value = pair.partition("=")
    return {"key": key, **({"value": value} if equals else {}), "effect": effect}


def _gates(spec: ClusterSpec) -> dict[str, str]:
    if not spec.feature_gates:
        return {}
    return {"feature-gates": ",".join(f"{gate}={str(on).lower()}" for gate, on in spec.feature_gates.items())}


def flags(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Flags, as kubeadm's configuration takes them."""
    return [{"name": name.lstrip("-"), "value": value} for name, value in values.items()]


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a mapping without the keys whose value is None."""
    return {key: value for key, value in values.items() if value is not None}
