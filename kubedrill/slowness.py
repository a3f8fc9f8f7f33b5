"""How much slower than real hardware nodes are, and which settings follow from that: measured, then pure.

A VM under software emulation runs Go programs 12 to 27 times slower than its host would. Limits that were made for real
computers then end what only takes its time. Nothing changes where the factor is 1.
"""

from __future__ import annotations

import math
from typing import Any

from kubedrill.errors import KubedrillError
from kubedrill.providers.base import Node

# A fixed piece of work: counting in a shell, slowed down by about as much as a Go program. It tells milliseconds.
WORK = "a=$(date +%s%N); i=0; while [ $i -lt 125000 ]; do i=$((i+1)); done; b=$(date +%s%N); echo $(((b-a)/1000000))"
# Seconds that it takes where processors are real.
REFERENCE = 0.2
# Seconds without a word after which the controller manager calls a node NotReady (its --node-monitor-grace-period).
NODE_GRACE = 50
# Less is noise of a busy machine.
_WORTH_IT = 2.0
_MOST = 30.0
# Limits of a drill are at most so many times longer than written.
_MOST_PATIENCE = 6.0


def measure(node: Node) -> float:
    """How many times longer a node takes for a fixed piece of work than real hardware; 1 for less than twice.

    Raises:
        KubedrillError: the node does not tell.
    """
    # The better of two: right after its boot a node has other things to do, too.
    said = [node.run(["sh", "-c", WORK], timeout=300, show=False).stdout.strip() for _ in range(2)]
    if not all(one.isdecimal() for one in said):
        raise KubedrillError(f"{node.name} cannot be timed", evidence=said)
    return factor(min(map(int, said)) / 1000)


def factor(seconds: float) -> float:
    """The factor for a piece of work that took so many seconds."""
    times = seconds / REFERENCE
    return 1.0 if times < _WORTH_IT else round(min(times, _MOST), 1)


def patience(slow: float) -> float:
    """How many times longer a drill waits: its limits end what does not come, they measure nothing."""
    return min(slow, _MOST_PATIENCE)


def kubeadm_timeouts(slow: float) -> dict[str, str]:
    """kubeadm's `timeouts` (v1beta4): its defaults, stretched; never more than 25 minutes."""
    defaults = {
        "controlPlaneComponentHealthCheck": 240, "kubeletHealthCheck": 240, "kubernetesAPICall": 60, "etcdAPICall": 120,
        "tlsBootstrap": 300, "discovery": 300, "upgradeManifests": 300,
    }  # fmt: skip
    return {name: f"{min(1500, round(seconds * slow))}s" for name, seconds in defaults.items()}


def etcd(slow: float, members: int) -> dict[str, str]:
    """etcd's flags. A single member has nobody to lose touch with, and would only wait for itself at each start."""
    if slow == 1:
        return {}
    # All that takes longer than 100 ms is logged, twice: that is everything here (2,600 lines in ten minutes).
    late, later = f"{round(100 * slow)}ms", f"{round(300 * slow)}ms"
    quiet = {"log-level": "warn", "warning-apply-duration": late, "warning-unary-request-duration": later}
    if members == 1:
        return quiet
    heartbeat = min(1000, round(100 * slow))
    return {**quiet, "heartbeat-interval": str(heartbeat), "election-timeout": str(10 * heartbeat)}


def apiserver(slow: float) -> dict[str, str]:
    """The API server's flags: how long etcd may take to answer before the API calls itself unwell.

    And no queues by priority: it would make and watch thirty objects for them before it is ready.
    """
    if slow == 1:
        return {}
    seconds = f"{min(30, math.ceil(2 * slow))}s"
    return {
        "etcd-healthcheck-timeout": seconds,
        "etcd-readycheck-timeout": seconds,
        "enable-priority-and-fairness": "false",
    }


def elections(slow: float, control_planes: int) -> dict[str, str]:
    """Flags of the controller manager and the scheduler for their leases.

    Where there is one control plane nobody competes for them: a lease that could not be renewed in time would end the
    process, and the next one would have to wait for it to run out.
    """
    if slow == 1:
        return {}
    if control_planes == 1:
        return {"leader-elect": "false"}
    times = min(slow, 6.0)
    return {
        "leader-elect-lease-duration": f"{round(15 * times)}s",
        "leader-elect-renew-deadline": f"{round(10 * times)}s",
        "leader-elect-retry-period": f"{round(2 * times)}s",
    }


def grace(slow: float) -> dict[str, str]:
    """The controller manager's flag for nodes that are late: its default of 50 s, at most 180 s."""
    return {} if slow == 1 else {"node-monitor-grace-period": f"{min(180, round(NODE_GRACE * slow))}s"}


def kubelet(slow: float) -> dict[str, Any]:
    """Fields of the kubelet's configuration: the lease outlives a kubelet that is late, as the grace period does."""
    if slow == 1:
        return {}
    return {
        "nodeLeaseDurationSeconds": min(120, round(40 * slow)),
        "runtimeRequestTimeout": "15m0s",
        # Nothing is evicted here, so that nobody needs each container's use of the disk every ten seconds.
        "localStorageCapacityIsolation": False,
        "nodeStatusUpdateFrequency": "30s",
        "volumeStatsAggPeriod": "10m0s",
        # The controller manager ends where the API is not ready within 10 s, several times until it is; then it should
        # not be waiting for its next start.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "20s"},
    }


def kubelet_flags(slow: float) -> dict[str, str]:
    """The kubelet's flags: how often it looks at what each container uses."""
    return {} if slow == 1 else {"housekeeping-interval": "60s"}


def patches(slow: float) -> dict[str, dict[str, Any]]:
    """kubeadm's patches of static pods: {target: patch}, so that the kubelet does not kill what is only slow."""
    if slow == 1:
        return {}
    probe = {"timeoutSeconds": 60, "periodSeconds": 30, "failureThreshold": 60}
    probes = {"livenessProbe": probe, "startupProbe": {"timeoutSeconds": 60, "failureThreshold": 360}}
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    ready = {"readinessProbe": {"timeoutSeconds": 60, "periodSeconds": 15}}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        # Garbage is collected a third as often, for more memory: what is slow here is the processor. And but for the
        # API server no thread looks for work beside the one that has some.
        settings = {"GOGC": "300"} if name == "kube-apiserver" else {"GOGC": "300", "GOMAXPROCS": "1"}
        env = [{"name": key, "value": value} for key, value in settings.items()]
        container = {"name": name, "env": env, **probes, **(ready if name == "kube-apiserver" else {})}
        found[name] = {"spec": {"containers": [container]}}
    return found


def apply(slow: float) -> list[str]:
    """kubectl's words for 'apply'. To check fields, it has the API server render the schema of all that it knows."""
    return ["apply"] if slow == 1 else ["apply", "--validate=false"]


def coredns(slow: float) -> dict[str, Any]:
    """Probes of CoreDNS: its readiness is asked each second where that costs nothing."""
    if slow == 1:
        return {"readinessProbe": {"periodSeconds": 1}}
    patient = {"timeoutSeconds": 60, "periodSeconds": 30, "failureThreshold": 60}
    return {"readinessProbe": {"periodSeconds": math.ceil(slow / 2), "timeoutSeconds": 30}, "livenessProbe": patient}
