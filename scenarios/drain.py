"""A node is emptied for maintenance while users go on using the Service."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill import checks
from kubedrill.errors import CommandFailed
from kubedrill.faults import Drain
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict


@scenario(workers=2)
def drain(lab: Lab) -> None:
    """Drain a worker under load, within a disruption budget: no request may fail; a drain beyond the budget waits."""
    run(lab, replicas=2, at_least=1)


def run(lab: Lab, *, replicas: int, at_least: int, linger: str = "2s") -> None:
    """The drill, with the remedies as arguments, so that its negative controls can take them away.

    Args:
        lab: the lab.
        replicas: pods behind the Service.
        at_least: how many of them the disruption budget keeps available; 0 for no budget.
        linger: how long a pod that is told to end goes on serving.
    """
    objects = [
        workload.deployment("hello", replicas, spread=False, linger=linger),
        workload.service("hello", workload.NODE_PORT),
    ]
    lab.apply(*objects, *([workload.budget("hello", at_least)] if at_least else []))
    pods = lab.expect(
        "the pods of hello are ready", lambda: lab.pods("hello"),
        lambda pods: checks.pods_running(pods, replicas), within=60,
    )  # fmt: skip
    node = pods[0].node
    lab.baseline(5, inside=lab.control_planes()[-1].name)

    with lab.fault(Drain(node), role="runs a pod of hello"):
        lab.expect(
            f"no pod of hello is left on {node}, {replicas} are ready elsewhere", lambda: lab.pods("hello"),
            lambda pods: _moved(pods, node, replicas), within=60, predicted=8,
        )  # fmt: skip
        if at_least:
            _beyond_the_budget(lab, node, replicas)
    lab.expect(
        f"{node} takes pods again", lab.api.nodes,
        lambda nodes: _schedulable(nodes, node), within=30,
    )  # fmt: skip
    _taints(lab, node)
    lab.verify()
    lab.require_no_failure("service")
    lab.require_no_failure("pod-service")


def _beyond_the_budget(lab: Lab, drained: str, replicas: int) -> None:
    """With a budget that allows no disruption, a drain must wait, and say so."""
    lab.apply(workload.budget("hello", replicas))
    other = next(worker.name for worker in lab.workers() if worker.name != drained)
    try:
        lab.kubectl("drain", other, "--ignore-daemonsets", "--pod-selector=app=hello", "--timeout=8s", timeout=30)
        waited = "it was drained all the same"
    except CommandFailed as error:
        waited = error.output
    finally:
        lab.kubectl("uncordon", other)
    ok = "Cannot evict pod as it would violate the pod's disruption budget" in waited
    said = next((line for line in waited.splitlines() if "disruption budget" in line), waited.strip()[-100:])
    lab.require("a drain that would break the budget waits, and says so", ok, said.strip()[:160])
    lab.apply(workload.budget("hello", replicas - 1))


def _taints(lab: Lab, node: str) -> None:
    """Each effect of a taint: NoSchedule keeps new pods away, PreferNoSchedule if it can, NoExecute drives pods out."""
    lab.apply(workload.deployment("tainted", 2, grace=1, linger="0s"))
    lab.expect(
        "a pod on each worker", lambda: lab.pods("tainted"), lambda pods: checks.pods_running(pods, 2), within=60
    )
    lab.kubectl("taint", "node", node, "drill=yes:NoSchedule")
    try:
        stay = [pod.name for pod in lab.pods("tainted") if pod.node == node]
        lab.require("NoSchedule leaves the pods that run", len(stay) == 1, f"{len(stay)} on {node}")
        lab.kubectl("taint", "node", node, "drill=yes:NoExecute")
        lab.expect(
            "NoExecute drives the pods out", lambda: lab.pods("tainted"),
            lambda pods: (not [pod for pod in pods if pod.node == node], _where(pods)), within=40, predicted=1,
        )  # fmt: skip
        lab.kubectl("taint", "node", node, "drill=yes:NoExecute-", "drill=yes:NoSchedule-")
        lab.kubectl("taint", "node", node, "drill=yes:PreferNoSchedule")
        lab.apply(workload.deployment("preferred", 1, spread=False, grace=1, linger="0s"))
        placed = lab.expect(
            "a pod is placed under PreferNoSchedule", lambda: lab.pods("preferred"),
            lambda pods: checks.pods_running(pods, 1), within=40,
        )  # fmt: skip
        elsewhere = placed[0].node != node
        lab.require("PreferNoSchedule places a pod on another node while there is one", elsewhere, placed[0].node)
    finally:
        lab.kubectl("taint", "node", node, "drill-", check=False)


def _moved(pods: Sequence[PodSnapshot], node: str, replicas: int) -> Verdict:
    ready = [pod for pod in pods if pod.ready and not pod.deleting and pod.node != node]
    left = [pod.name for pod in pods if pod.node == node]
    return len(ready) == replicas and not left, f"{len(ready)} ready elsewhere, {len(left)} left on {node}"


def _schedulable(nodes: Sequence[NodeSnapshot], name: str) -> Verdict:
    node = next(node for node in nodes if node.name == name)
    return (
        not node.unschedulable and node.ready,
        f"unschedulable: {node.unschedulable}, taints: {', '.join(node.taints)}",
    )


def _where(pods: Sequence[PodSnapshot]) -> str:
    return ", ".join(f"{pod.name} on {pod.node or 'no node'}" for pod in pods)
