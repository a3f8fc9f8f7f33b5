"""The cluster grows to three control planes and three workers, and shrinks back, under load.

With its second control plane it gets its balancer. The probes ask where the API was at the beginning, so from then on
a lane of its own asks at the balancer, where the users' kubeconfig goes: until it goes again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from kubedrill import checks, cluster, etcd_members, scaling, ways_back
from kubedrill.console import Console
from kubedrill.faults import Partition
from kubedrill.faults.actions import ShrinkBack
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.scenario import etcd, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

MOST = 3
LATE = workload.NODE_PORT + 1
ENTRANCE = "api-balancer"
# Seconds for which a control plane that is cut off stays behind the balancer, in a negative control; its checks find
# that out after some 1.5 s.
CUT_OFF = 3
# Seconds: a worker boots and joins; a control plane waits for its member of etcd, too; the first further one brings the
# balancer. A node that leaves is drained: its pods take their time to end.
WORKER, PLANE, BALANCER, LEAVES = 6, 25, 15, 10


@scenario(control_planes=1, workers=1)
def scale(lab: Lab) -> None:
    """Grow to three control planes and three workers and shrink back: no failed request, no lost write."""
    run(lab)


def run(lab: Lab, *, drained: bool = True, balanced: bool = True) -> None:
    """The drill.

    Args:
        lab: the lab.
        drained: whether workers are drained before they go; False is a negative control.
        balanced: whether a control plane leaves the balancer before its API server goes; False is a negative control.
    """
    spec = lab.cluster.spec
    size = (spec.control_planes, spec.workers)
    room, on_another = min(size) < MOST, "; on another cluster: invoke scenario scale --fresh"
    lab.assume_true(f"it has fewer than {MOST} control planes or workers", room,
                    f"{size[0]}+{size[1]}{'' if room else on_another}")  # fmt: skip
    hello = workload.deployment("hello", 2 * MOST, spread=False)
    lab.apply(hello, workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2 * MOST), within=60)
    place, console = cluster.lab(Console()), Console()
    before, had = {node.name: node.address for node in lab.cluster.nodes}, etcd.healthy(lab.cluster)
    lab.baseline(5)
    began = lab.now()
    # Of one that has several control planes already the lanes go through the balancer anyway.
    entrance = "api-read" if spec.control_planes > 1 else ENTRANCE
    # When the first control plane began to leave, and when nobody needed the balancer any more.
    leaving: list[float] = []

    def grow(role: str) -> None:
        plane = role == "control-plane"
        first = plane and len(lab.control_planes()) == 1
        lab.command(f"invoke add-node{' --control-plane' if plane else ''} --name {spec.name}")
        lab.from_now()
        lab.cluster = scaling.add(place, lab.cluster, console, control_plane=plane)
        if first:
            title = "API read through the balancer while there is one, each on a new connection"
            lab.monitor.add(ENTRANCE, title, lab.cluster.server)
        new = (lab.control_planes() if plane else lab.workers())[-1].name
        lab.expect(f"{new} is Ready", lab.api.nodes, partial(_has, new), within=60,
                   predicted=PLANE + BALANCER * first if plane else WORKER)  # fmt: skip

    def shrink(key: str) -> None:
        old, plane = f"{spec.name}-{key}", key.startswith("control-plane")
        leaving.extend([lab.now()] if plane and not leaving else [])
        lab.command(f"invoke remove-node {old} --name {spec.name}")
        with contextlib.ExitStack() as cut:
            if plane and not balanced:
                cut.enter_context(lab.fault(Partition(old, ("load-balancer",)), role="the control plane that leaves"))
                lab.hold(CUT_OFF)
            lab.from_now()
            lab.cluster = scaling.remove(place.provider, lab.cluster, old, console, drained=drained,
                                         unbalanced=unbalanced)  # fmt: skip
        lab.expect(f"{old} is gone", lab.api.nodes, partial(_has_not, old), within=60, predicted=LEAVES)

    def unbalanced() -> None:
        leaving.append(lab.now())
        lab.monitor.end(ENTRANCE)

    def back() -> None:
        """To the size that was found, whatever happened; who is there is known where nodes are, not here."""
        lab.cluster = cluster.attach(place.provider, spec.name)
        while key := ways_back.surplus(lab.cluster.spec, *size):
            shrink(key)
        ways_back.shrink(place, spec.name, *size, console)  # a balancer whose control plane never came
        lab.cluster = cluster.attach(place.provider, spec.name)

    with lab.way_back(ShrinkBack(*size), back):
        while len(lab.workers()) < MOST:
            grow("worker")
        while len(lab.control_planes()) < MOST:
            grow("control-plane")
        grown = lab.now()
        lab.fact(f"grown to {len(lab.control_planes())}+{len(lab.workers())} in", f"{grown - began:.0f} s")
        # As many as there are control planes, or computers for etcd alone: these stay as many as they are.
        healthy, members = etcd.healthy(lab.cluster), etcd_members.of(lab.cluster.nodes)
        lab.require(f"etcd has {len(members)} healthy members", len(healthy) == len(members), ", ".join(healthy))
        lab.say("hello moves to the new workers, too: kubectl rollout restart")
        lab.kubectl("--namespace", workload.NAMESPACE, "rollout", "restart", "deployment", "hello")
        lab.from_now()
        lab.expect("a pod of hello runs on each worker", lambda: lab.pods("hello"),
                   partial(_everywhere, names(lab.workers())), within=120, predicted=15)  # fmt: skip
        lab.expect("the old pods are gone", lambda: lab.pods("hello"),
                   lambda pods: checks.pods_running(pods, 2 * MOST), within=120, predicted=20)  # fmt: skip
        shrinking = lab.now()
    lab.fact("shrunk back in", f"{lab.now() - shrinking:.0f} s")
    _late(lab)
    lab.hold(3)
    lab.verify()
    after = {node.name: node.address for node in lab.cluster.nodes}
    lab.require("the nodes are those of before", after == before, ", ".join(sorted(after)))
    healthy = etcd.healthy(lab.cluster)
    lab.require("etcd has the members of before", bool(had) and healthy == had, ", ".join(healthy))
    lab.require_no_failure("service")
    lab.require_downtime("api-read", 3)
    lab.require_downtime("api-write", 6)
    if leaving:
        first, *rest = leaving
        if entrance == ENTRANCE:
            lab.require_downtime(ENTRANCE, 3)
        lab.require_downtime(entrance, 0, between=(first, (rest or [lab.now()])[-1]), when="control planes leave")
    lab.require_writes()


def _late(lab: Lab) -> None:
    """A Service that is made now must work at once: whoever has lost the API goes on with what there was."""
    late = workload.service("hello", LATE)
    late["metadata"]["name"] = "late"
    lab.apply(late)
    url = f"http://{lab.workers()[-1].address}:{LATE}/"
    lab.command(f"curl {url}     (a Service that is new)")
    lab.from_now()
    plane = lab.control_planes()[0]
    ask = ["curl", "--silent", "--show-error", "--fail", "--max-time", "2", url]
    lab.expect("a Service that is new answers", lambda: plane.run(ask, check=False, show=False),
               lambda answer: (answer.status == 0, answer.output.strip()[-160:]), within=30, predicted=1)  # fmt: skip


def _has(name: str, nodes: Sequence[NodeSnapshot]) -> Verdict:
    return checks.nodes_ready(nodes, [name])


def _everywhere(nodes: Sequence[str], pods: Sequence[PodSnapshot]) -> Verdict:
    where = {pod.node for pod in pods if pod.ready}
    return where == set(nodes), f"on {', '.join(sorted(where)) or 'none'}"


def _has_not(name: str, nodes: Sequence[NodeSnapshot]) -> Verdict:
    return name not in [node.name for node in nodes], f"{len(nodes)} nodes"
