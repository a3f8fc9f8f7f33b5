"""A thousand nodes: how fast pods are placed on them, and how fast those of dead ones are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubedrill import checks, footprint
from kubedrill.faults import SilenceHollowNodes
from kubedrill.kube import HOLLOW, PodSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.slowness import NODE_GRACE
from kubedrill.wait import Verdict

# Requests a second of the ReplicaSet controller, each of which makes a pod (kube-controller-manager, --kube-api-qps).
PODS_A_SECOND = 20
# Seconds: besides the grace period, the controller manager's look each 5 s; a lease is renewed each 10 s.
GRACE, LOOK, LEASE = NODE_GRACE, 5, 10
# Nodes whose pods may be evicted in a second (--node-eviction-rate): the larger the cluster, the more there is to wait.
EVICTED_A_SECOND = 0.1
TOLERATE = 5
DEAD = 5


@scenario(workers=1, hollow=1000)
def many_nodes(lab: Lab) -> None:
    """A pod for each of a thousand hollow nodes, then five of them die: all placed, all replaced, the API answers."""
    run(lab)


def run(lab: Lab, *, tolerate: int = TOLERATE) -> None:
    """The drill.

    Args:
        lab: the lab.
        tolerate: seconds that pods stay bound to a dead node; the negative control leaves Kubernetes' 300.
    """
    count = len(lab.api.hollow())
    lab.assume_true("hollow nodes are there", count == lab.cluster.spec.hollow > 2 * DEAD, count)
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    lab.baseline(5)
    lab.from_now()
    lab.command(f"kubectl --namespace {workload.NAMESPACE} create deployment many --replicas={count} ...")
    lab.apply(many(count, tolerate))
    placed = lab.expect(
        f"{count} pods are placed and run", lambda: lab.pods("many"), lambda pods: _running(pods, count),
        within=6 * count / PODS_A_SECOND + 60, every=1, predicted=count / PODS_A_SECOND,
    )  # fmt: skip
    crowded = max(_by_node(placed).values())
    lab.require("pods are spread: none has more than 3 of them", crowded <= 3, f"at most {crowded} on one node")
    dead = tuple(sorted({pod.node for pod in placed})[:DEAD])
    theirs = sum(pod.node in dead for pod in placed)

    noticed = GRACE - LEASE / 2 + LOOK / 2
    with lab.fault(SilenceHollowNodes(dead), role="have pods of the Deployment"):
        lab.expect(
            f"{DEAD} nodes are NotReady", lab.api.hollow, lambda found: _unready(found, dead),
            within=3 * noticed, every=1, predicted=noticed,
        )  # fmt: skip
        # Of the drill's own pods, whatever these tolerate.
        last = noticed + (DEAD - 1) / EVICTED_A_SECOND + TOLERATE
        replaced = lab.require_seen(
            f"the {theirs} pods of {DEAD} dead nodes are replaced on others within {2 * last:.0f} s "
            f"({last:.0f} s predicted)",
            lambda: lab.pods("many"), lambda pods: _elsewhere(pods, dead, count), within=2 * last,
        )  # fmt: skip
        lab.fact("pods replaced", f"{theirs}" if replaced else "not all")
    _held(lab)
    lab.verify()
    lab.require_downtime("api-read", 2)
    lab.require_downtime("api-write", 2)
    lab.require_writes()


def _held(lab: Lab) -> None:
    """What so many nodes cost: it grows with them."""
    leader = lab.control_planes()[0]
    for program in ("kube-apiserver", "kube-controller-manager", "etcd"):
        held = footprint.program(leader, program)
        if held is not None:
            lab.fact(f"{program} holds", f"{held:.0f} MiB")
    data = footprint.etcd_data(leader)
    if data is not None:
        lab.fact("etcd's data", f"{data:.0f} MiB")


def many(count: int, tolerate: int) -> dict[str, Any]:
    """The Deployment: a pod for each hollow node, which takes the place of one of ten."""
    made = workload.deployment("many", count, tolerate=tolerate, spread=False)
    spec = made["spec"]["template"]["spec"]
    spec["nodeSelector"] = {HOLLOW: "true"}
    spec["tolerations"].append({"key": HOLLOW, "operator": "Exists", "effect": "NoSchedule"})
    return made


def _by_node(pods: Sequence[PodSnapshot]) -> dict[str, int]:
    found: dict[str, int] = {}
    for pod in pods:
        found[pod.node] = found.get(pod.node, 0) + 1
    return found


def _running(pods: Sequence[PodSnapshot], count: int) -> Verdict:
    ready = sum(pod.ready for pod in pods)
    return ready >= count, f"{ready} of {count} pods run, {sum(not pod.node for pod in pods)} have no node yet"


def _unready(found: Any, dead: Sequence[str]) -> Verdict:
    silent = [name for name in dead if not found[name]]
    others = sum(not ready for name, ready in found.items() if name not in dead)
    return len(silent) == len(dead) and not others, f"NotReady: {len(silent)} of {len(dead)}, and {others} others"


def _elsewhere(pods: Sequence[PodSnapshot], dead: Sequence[str], count: int) -> Verdict:
    ready = sum(pod.ready and not pod.deleting and pod.node not in dead for pod in pods)
    return ready >= count, f"{ready} of {count} pods run on nodes that live"
