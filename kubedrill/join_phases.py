"""`kubeadm join` of a control plane in parts, each of which is done as soon as what it needs is there: pure.

kubeadm starts the API server before the member of etcd that it asks, which may have to wait for its turn. Until that
serves, the server asks in vain, less and less often, and the kubelet, which asks that server, does too.
https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#join-workflow
"""

from __future__ import annotations

from kubedrill.kubeadm import JOIN_CONFIG

# `kubeadm join --help` lists them, in this order.
PHASES = (
    "preflight",
    "control-plane-prepare/download-certs", "control-plane-prepare/certs", "control-plane-prepare/kubeconfig",
    "control-plane-prepare/control-plane",
    "check-etcd", "kubelet-start", "etcd-join", "kubelet-wait-bootstrap", "control-plane-join", "wait-control-plane",
)  # fmt: skip
# All of them, for a worker: those of control planes do nothing there.
WHOLE = ["kubeadm", "join", "--config", JOIN_CONFIG]
# Files by which a worker's kubelet has its certificate before it starts, and waits with that for TURN: what its unit
# does before (kubedrill-certificate) looks for them.
CERTIFICATE_FIRST, HELD = "/var/lib/kubedrill/certificate-first", "/var/lib/kubedrill/held"
# Opened for both directions, a pipe waits for nobody; who reads it sees its end.
TURN = ["sh", "-c", f"exec 3<>/run/kubedrill-turn && rm /run/kubedrill-turn {HELD}"]


def part(*phases: str) -> list[str]:
    """The command that does these phases of `kubeadm join`, and no others."""
    return [*WHOLE, f"--skip-phases={','.join(phase for phase in PHASES if phase not in phases)}"]


# What all control planes may do at once.
AT_ONCE = part(
    "preflight", "control-plane-prepare/download-certs", "control-plane-prepare/certs",
    "control-plane-prepare/kubeconfig", "check-etcd", "kubelet-start",
)  # fmt: skip
# One after another, where etcd does not know all of them before. Nothing to do where etcd is somewhere else.
ETCD = part("etcd-join")
# What needs the API server, once its etcd is there.
AT_LAST = part(
    "control-plane-prepare/control-plane", "kubelet-wait-bootstrap", "control-plane-join", "wait-control-plane"
)
