"""The cluster grows from one control plane and one worker to three and three, and shrinks back, under load."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from kubedrill import checks, cluster, scaling
from kubedrill.console import Console
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.scenario import etcd, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

MOST = 3
LATE = workload.NODE_PORT + 1
# Seconds: a worker boots and joins; a control plane waits for its member of etcd, too; the first further one brings the
# balancer. A node that leaves is drained: its pods take their time to end.
WORKER, PLANE, BALANCER, LEAVES = 6, 25, 15, 10


@scenario(control_planes=1, workers=1)
def scale(lab: Lab) -> None:
    """Grow to three control planes and three workers and shrink back: no failed request, no lost write."""
    run(lab)


def run(lab: Lab, *, drained: bool = True) -> None:
    """The drill; its negative control does not drain workers before they go."""
    hello = workload.deployment("hello", 2 * MOST, spread=False)
    lab.apply(hello, workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2 * MOST), within=60)
    place, console = cluster.lab(Console()), Console()
    before = {node.name: node.address for node in lab.cluster.nodes}
    spec = lab.cluster.spec
    lab.baseline(5)
    began = lab.now()

    def grow(role: str) -> None:
        plane = role == "control-plane"
        first = plane and len(lab.control_planes()) == 1
        lab.command(f"invoke add-node{' --control-plane' if plane else ''} --name {spec.name}")
        lab.from_now()
        lab.cluster = scaling.add(place, lab.cluster, console, control_plane=plane)
        new = (lab.control_planes() if plane else lab.workers())[-1].name
        lab.expect(f"{new} is Ready", lab.api.nodes, partial(_has, new), within=60,
                   predicted=PLANE + BALANCER * first if plane else WORKER)  # fmt: skip

    def shrink(role: str) -> None:
        old = (lab.control_planes() if role == "control-plane" else lab.workers())[-1]
        lab.command(f"invoke remove-node {old.name} --name {spec.name}")
        lab.from_now()
        lab.cluster = scaling.remove(place.provider, lab.cluster, old.name, console, drained=drained)
        lab.expect(f"{old.name} is gone", lab.api.nodes, partial(_has_not, old.name), within=60, predicted=LEAVES)

    def back() -> None:
        """To the size that was found, whatever happened; who is there is known where nodes are, not here."""
        lab.cluster = cluster.attach(place.provider, spec.name)
        while len(lab.workers()) > spec.workers:
            shrink("worker")
        while len(lab.control_planes()) > spec.control_planes:
            shrink("control-plane")

    with contextlib.ExitStack() as stack:
        stack.callback(back)
        while len(lab.workers()) < MOST:
            grow("worker")
        while len(lab.control_planes()) < MOST:
            grow("control-plane")
        grown = lab.now()
        lab.fact("grown to 3+3 in", f"{grown - began:.0f} s")
        healthy = etcd.healthy(lab.cluster)
        lab.require(f"etcd has {MOST} healthy members", len(healthy) == MOST, ", ".join(healthy))
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
    members = etcd.healthy(lab.cluster)
    lab.require("etcd has the members of before", len(members) == spec.control_planes, ", ".join(members))
    lab.require_no_failure("service")
    lab.require_downtime("api-read", 3)
    lab.require_downtime("api-write", 6)
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
