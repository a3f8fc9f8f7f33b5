"""A worker dies, and nobody says so."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill import checks
from kubedrill.faults import KillNode, Target
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.slowness import NODE_GRACE
from kubedrill.wait import Verdict

# A kubelet renews its lease each 10 s; the controller manager looks each 5 s, and calls a node NotReady when the last
# renewal is older than the grace period (https://kubernetes.io/docs/concepts/architecture/nodes/#heartbeats).
LEASE, MONITOR = 10, 5
GRACE, TOLERATE = 20, 5
DEFAULT_GRACE, DEFAULT_TOLERATE = NODE_GRACE, 300
TUNED = {"controllerManager": {"node-monitor-grace-period": f"{GRACE}s"}}


@scenario(workers=2, extraArgs=TUNED)
def node_failure(lab: Lab) -> None:
    """Kill a worker; its pods must be replaced on another node in the time that the settings predict."""
    run(lab, grace=GRACE, tolerate=TOLERATE)


@scenario(workers=2, slow=True, extraArgs={"controllerManager": {"node-monitor-grace-period": f"{DEFAULT_GRACE}s"}})
def node_failure_default(lab: Lab) -> None:
    """Kill a worker of a cluster with Kubernetes' defaults: replacing its pods takes about six minutes."""
    run(lab, grace=DEFAULT_GRACE, tolerate=DEFAULT_TOLERATE)


def run(lab: Lab, *, grace: int, tolerate: int, replicas: int = 2) -> None:
    """The drill, with the settings that its predictions are made from.

    Args:
        lab: the lab.
        grace: the controller manager's node-monitor-grace-period, seconds.
        tolerate: the pods' tolerationSeconds for a node that is gone.
        replicas: pods behind the Service; with one there is nobody to take over.
    """
    detect = grace - LEASE / 2 + MONITOR / 2
    lab.say(
        f"prediction: the last lease is {LEASE / 2:g} s old on average, the grace period {grace} s, the controller "
        f"looks each {MONITOR} s: NotReady about {detect:g} s after the kill, eviction {tolerate} s later"
    )
    lab.apply(
        workload.deployment("hello", replicas, tolerate=tolerate, spread=replicas > 1),
        workload.service("hello", workload.NODE_PORT),
    )
    pods = lab.expect(
        "the pods of hello are ready", lambda: lab.pods("hello"),
        lambda pods: checks.pods_running(pods, replicas), within=60,
    )  # fmt: skip
    victim = lab.target(Target(pods[0].node, "runs a pod of hello", "kubectl get pods"))
    lab.baseline(5, inside=next(worker.name for worker in lab.workers() if worker.name != victim.node))

    killed = lab.now()
    with lab.fault(KillNode(victim), role=victim.role):
        lab.expect(
            f"{victim.node} is NotReady", lab.api.nodes, lambda nodes: _gone(nodes, victim.node),
            within=2 * detect + 20, predicted=detect,
        )  # fmt: skip
        lab.expect(
            "it is tainted NoExecute", lab.api.nodes,
            lambda nodes: _tainted(nodes, victim.node, "node.kubernetes.io/unreachable:NoExecute"),
            within=20, predicted=detect + 0.5,
        )  # fmt: skip
        lab.expect(
            "its pods are told to end", lambda: lab.pods("hello"),
            lambda pods: (all(pod.deleting for pod in pods if pod.node == victim.node), _where(pods)),
            within=tolerate + 30, predicted=detect + tolerate,
        )  # fmt: skip
        lab.expect(
            f"{replicas} pods are ready elsewhere", lambda: lab.pods("hello"),
            lambda pods: _elsewhere(pods, victim.node, replicas), within=60, predicted=detect + tolerate + 3,
        )  # fmt: skip
        recovered = lab.now()
    lab.expect(
        f"{victim.node} is Ready again", lab.api.nodes, lambda nodes: checks.nodes_ready(nodes, [victim.node]),
        within=120, predicted=15,
    )  # fmt: skip
    lab.expect(
        "no pod is left behind", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, replicas), within=60,
        predicted=20,
    )  # fmt: skip
    lab.verify()
    lab.fact("from the kill to all pods ready elsewhere", f"{recovered - killed:.1f} s")
    # Until the node is NotReady, kube-proxy sends every second new connection to the dead pod: no gap in which nothing
    # succeeds for long, but single requests fail.
    lab.require_downtime("service", 5, between=(killed, recovered))
    limit = detect + LEASE / 2 + MONITOR + tolerate + 15
    lab.require("the pods were replaced in the predicted time", recovered - killed <= limit,
                f"{recovered - killed:.1f} s, at most {limit:g} s")  # fmt: skip


def _gone(nodes: Sequence[NodeSnapshot], name: str) -> Verdict:
    node = next(node for node in nodes if node.name == name)
    return not node.ready, "NotReady" if not node.ready else "still Ready"


def _tainted(nodes: Sequence[NodeSnapshot], name: str, taint: str) -> Verdict:
    node = next(node for node in nodes if node.name == name)
    return any(found.startswith(taint) for found in node.taints), f"taints: {', '.join(node.taints) or 'none'}"


def _elsewhere(pods: Sequence[PodSnapshot], node: str, count: int) -> Verdict:
    ready = [pod for pod in pods if pod.ready and not pod.deleting and pod.node != node]
    return len(ready) >= count, f"{len(ready)} of {count} ready elsewhere ({_where(pods)})"


def _where(pods: Sequence[PodSnapshot]) -> str:
    return ", ".join(f"{pod.name} on {pod.node or 'no node'}{' ending' if pod.deleting else ''}" for pod in pods)
