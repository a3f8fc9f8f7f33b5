"""`kubeadm init` in parts, each of which is done as soon as what it needs is there: pure.

kubeadm does its phases one after another, each waiting for all before it, and asks the API five times a second at most,
after ten questions that it may ask at once. Here each phase is still kubeadm's, and each is done once; only the last,
which says how others join, is left to nodes that are slow.
https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init/#init-phases
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kubedrill.kubeadm import INIT_CONFIG
from kubedrill.spec import ClusterSpec

# `kubeadm init --help` lists them, in this order.
PHASES = (
    "preflight", "certs", "kubeconfig", "etcd",
    "control-plane/apiserver", "control-plane/controller-manager", "control-plane/scheduler",
    "kubelet-start", "wait-control-plane", "upload-config", "upload-certs", "mark-control-plane", "bootstrap-token",
    "kubelet-finalize", "addon/coredns", "addon/kube-proxy", "show-join-command",
)  # fmt: skip
_FIRST = ("preflight", "certs", "kubeconfig", "etcd", "control-plane/apiserver", "kubelet-start")


# Whose rights are the API server's own: it belongs to system:masters. admin.conf has none until the server has made its
# roles, and kubeadm has bound them.
RIGHTS = "/etc/kubernetes/super-admin.conf"


def part(*phases: str) -> list[str]:
    """The command that does these phases of `kubeadm init`, and no others."""
    left_out = [phase for phase in PHASES if phase not in phases]
    return ["kubeadm", "init", "--config", INIT_CONFIG, f"--skip-phases={','.join(left_out)}"]


def _alone(*phase: str) -> list[str]:
    """The command that does a single phase, before roles are made."""
    return ["kubeadm", "init", "phase", *phase, "--config", INIT_CONFIG, "--kubeconfig", RIGHTS]


def at_once(commands: Sequence[Sequence[str]]) -> list[str]:
    """One command that runs several at once."""
    return ["kubedrill-at-once", *map(shlex.join, commands)]


# etcd and the API server alone: while they start, whoever asks the API in vain takes the processor from them.
BEGIN = part(*_FIRST)
# What BEGIN leaves, for nodes that are slow: those have no processor to spare for several at once.
#
# The API server ends itself where it has not looked through all addresses of Services a minute after it began to serve
# (pkg/registry/core/rest/storage_core.go), or has not made its roles in 30 s (storage_rbac.go); no flag changes that. A
# controller manager that ends and is started again until then, and a scheduler that asks for what is not there yet,
# take the processor from it.
_AFTERWARDS = tuple(phase for phase in PHASES if phase not in _FIRST)
_CONTROLLERS = ("control-plane/controller-manager", "control-plane/scheduler")
_MANIFESTS = "/etc/kubernetes/manifests"
_HELD = "/etc/kubernetes/held-manifests"
# The manifests of the controllers, while etcd and the API server start: kubeadm, which knows one folder for them, finds
# another in its place, which the kubelet does not watch.
HOLD = [
    "unshare", "--mount", "sh", "-c",
    f"mkdir -p {_HELD} && mount --bind {_HELD} {_MANIFESTS} && exec {shlex.join(part(*_CONTROLLERS))}",
]  # fmt: skip
# kubeadm lets the first kubelet read its certificate from the file that it renews only near its end, and starts it
# again for it, while the node's first pods wait. What it needs, the kubelet has written at its first start; and once
# STARTED gives an identity for each part, it has nothing to do until there is an API.
STARTED = ["crictl", "ps", "--quiet", "--state", "running", "--name", "^(etcd|kube-apiserver)$"]
FINALIZE = part("kubelet-finalize")
# What the API server makes for itself begins a second after it serves and takes another; this makes the same at once.
BOOTSTRAP = ["kubedrill-bootstrap-objects"]
# Two of them are made before all others: as soon as the API server serves, the kubelet registers its node, and tells it
# of its static pods, once. Of those whose priority is not there yet it tells up to 10 s later, after a probe; and who
# joins waits for the pod of etcd. (pkg/apis/scheduling/v1/helpers.go)
PRIORITY_CLASSES = (
    {
        "metadata": {"name": "system-node-critical"},
        "value": 2000001000,
        "description": "Used for system critical pods that must not be moved from their current node.",
    },
    {
        "metadata": {"name": "system-cluster-critical"},
        "value": 2000000000,
        "description": "Used for system critical pods that must run in the cluster, but can be moved to another node "
        "if necessary.",
    },
)
# The status of BOOTSTRAP where official packages are what nodes are made of: nobody knows then what it would make.
NO_LIST = 3
# Settings of the API server by which it makes other roles than the list of BOOTSTRAP has, or none.
_OTHER_ROLES = {"feature-gates", "authorization-mode", "authorization-config", "runtime-config"}
# When the API server has half of its own roles, this one among them: it has all by the time that a pod takes to start.
# Before, a scheduler is refused, and asks again after up to 3 s; and a controller manager that leads while the server
# does not call itself healthy yet looks again after 1 s (cmd/kube-controller-manager/app/helper.go). Nor does it
# before it has looked through its roles, whoever made them: it begins with that a second after it serves, as with its
# priority classes, which it has looked through at once (wait.Poll in storage_rbac.go and storage_scheduling.go).
HALFWAY = "system:controller:attachdetach-controller"
LET_GO = ["sh", "-c", f"mv {_HELD}/* {_MANIFESTS} && rmdir {_HELD}"]
_DNS = "addon/coredns"
# It binds admin.conf to its role, as the first to use that.
_MARK = "mark-control-plane"


def dns_later(spec: ClusterSpec) -> bool:
    """Whether CoreDNS is left until there are workers to run it.

    Where several control planes are to bear the loss of one, all its pods would run on the first; kubeadm's
    documentation has them moved once other nodes are there.
    https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/create-cluster-kubeadm/
    """
    return spec.control_planes > 1 and spec.workers > 0


def makes_usual_roles(spec: ClusterSpec) -> bool:
    """Whether the API server of a cluster makes for itself what is made for it by BOOTSTRAP."""
    return not spec.feature_gates and not _OTHER_ROLES & set(spec.extra_args.get("apiserver", {}))


def afterwards(*, dns: bool) -> list[str]:
    """The command for all that BEGIN leaves.

    Args:
        dns: whether that includes CoreDNS.
    """
    return part(*(phase for phase in _AFTERWARDS if dns or phase != _DNS))


def at_last(*, other_planes: bool) -> list[str]:
    """The command for what would only take the processor from the controllers before they work.

    Args:
        other_planes: whether other control planes will join.
    """
    return part("wait-control-plane", *([] if other_planes else [_MARK]))


def meanwhile(*, other_planes: bool, dns: bool) -> list[str]:
    """The command for what needs an API server, but not its controllers.

    Args:
        dns: whether that includes CoreDNS.
        other_planes: whether other control planes will join, which need the certificates, and admin.conf with its role.
    """
    # By the tokens others know that they may join.
    upload, tokens = _alone("upload-config", "all"), _alone("bootstrap-token")
    certificates = [[*_alone("upload-certs"), "--upload-certs"]] if other_planes else []
    return at_once([
        ["sh", "-c", " && ".join(map(shlex.join, [upload, *certificates, tokens]))],
        _alone("addon", "all" if dns else "kube-proxy"),
        *([part(_MARK)] if other_planes else []),
    ])  # fmt: skip


def coredns() -> list[str]:
    """The command for CoreDNS alone, where it comes later."""
    return _alone("addon", "coredns")
