"""The control plane loses members: first one, then its majority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from kubedrill import checks, etcd_members
from kubedrill.faults import KillNode, Target, targets
from kubedrill.kube import PodSnapshot
from kubedrill.scenario import etcd, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

# etcd's election timeout is 1 s; a lease of scheduler and controller manager lasts 15 s and is asked for each 2 s
# (their defaults: --leader-elect-lease-duration, --leader-elect-retry-period); HAProxy takes a server out after 2
# failed checks, 0.5 s apart.
ELECTION, LEASE, RETRY, BALANCER = 1.5, 15, 2, 1.5
# The controller manager first: etcd's leadership is moved to where its lease is.
COMPONENTS = ("kube-controller-manager", "kube-scheduler")


@scenario(control_planes=3, workers=2)
def ha_failover(lab: Lab) -> None:
    """Kill the control plane that leads etcd and holds a lease, then two of three: no acknowledged write is lost.

    Where etcd has computers of its own, those are killed instead: its leader, then two of three.
    """
    run(lab)


def run(lab: Lab, *, balanced: bool = True) -> None:
    """The drill; its negative control asks the killed control plane itself instead of the balancer, and ends there."""
    lab.apply(workload.deployment("hello", 2), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60)
    members = names(etcd_members.of(lab.cluster.nodes))
    apart = etcd_members.alone(members[0])  # then no control plane is lost with etcd's leader, and no lease
    leases = {} if apart else {name: lab.target(targets.lease_holder(lab.cluster, name)) for name in COMPONENTS}
    leader = lab.target(
        targets.etcd_leader(lab.cluster) if apart else _leader_with_the_lease(lab, leases[COMPONENTS[0]].node)
    )
    lab.baseline(8)

    with lab.fault(KillNode(leader), role=leader.role):
        lab.expect("the API answers through the balancer", lab.api.readyz, lambda answer: (answer == "ok", answer),
                   within=30, predicted=BALANCER)  # fmt: skip
        lab.expect(
            "etcd has another leader", lambda: targets.etcd_leader(lab.cluster),
            lambda found: (found.node != leader.node, str(found)), within=30, predicted=ELECTION,
        )  # fmt: skip
        for name in (name for name, holder in leases.items() if holder.node == leader.node):
            lab.expect(
                f"another {name} holds the lease", partial(targets.lease_holder, lab.cluster, name),
                lambda found: (found.node != leader.node, str(found)), within=60, predicted=LEASE + RETRY,
            )  # fmt: skip
        lab.expect(
            "a new pod is scheduled and runs", lambda: _scale(lab, 3), lambda pods: checks.pods_running(pods, 3),
            within=60, predicted=(ELECTION if apart else LEASE + RETRY) + 3, every=1,
        )  # fmt: skip
    one_down = lab.span()
    _whole_again(lab)
    if not balanced:
        lab.verify()
        lab.require_downtime(f"cp-{leader.node.rpartition('-')[2]}", 3, between=one_down)
        return

    leads = targets.etcd_leader(lab.cluster).node
    pair = [name for name in members if name != leads]
    lab.say(f"now two of three: {', '.join(pair)}; etcd has no majority left, so reads and writes must stop")
    with lab.fault(*(KillNode(name) for name in pair), role="two of three"):
        lab.expect("writes stop", partial(lab.monitor.silent_for, "api-write"), _at_least(3),
                   within=30, predicted=3)  # fmt: skip
        lab.expect("reads stop", partial(lab.monitor.silent_for, "api-read"), _at_least(3),
                   within=30, predicted=3)  # fmt: skip
        lab.hold(5)
        silent = lab.monitor.silent_for("api-write")
    lab.expect("reads succeed again", partial(lab.monitor.silent_for, "api-read"), _below(1),
               within=90, predicted=15)  # fmt: skip
    _whole_again(lab)
    lab.hold(3)

    lab.verify()
    lab.require_downtime("api-read", 3, between=one_down)
    lab.require_downtime("api-write", 6, between=one_down)
    lab.require_downtime("service", 2, between=one_down)
    lab.require("without a majority no write is acknowledged", silent > 5, f"none for {silent:.1f} s")
    lab.require_writes()
    lab.require_linearizable()


def _leader_with_the_lease(lab: Lab, holder: str) -> Target:
    """The member of etcd that leads, after its leadership was moved to the node that holds a lease."""
    leader = targets.etcd_leader(lab.cluster)
    if leader.node == holder:
        return leader
    lab.say(f"etcd is led by {leader.node}; its leadership is moved to {holder}, so that one node has both")
    etcd.move_leader(lab.cluster, leader.node, holder)
    return lab.expect(
        f"etcd is led by {holder}", lambda: targets.etcd_leader(lab.cluster),
        lambda found: (found.node == holder, str(found)), within=15,
    )  # fmt: skip


def _scale(lab: Lab, replicas: int) -> Sequence[PodSnapshot]:
    lab.apply(workload.deployment("hello", replicas))
    return lab.pods("hello")


def _whole_again(lab: Lab) -> None:
    wanted = names([*lab.control_planes(), *lab.workers()])
    lab.expect("all nodes are Ready", lab.api.nodes, lambda nodes: checks.nodes_ready(nodes, wanted), within=180,
               predicted=20)  # fmt: skip
    lanes = [name for name in lab.monitor.names() if name.startswith("cp-")]
    lab.expect("the API of every control plane answers", lambda: max(map(lab.monitor.silent_for, lanes)), _below(1),
               within=120, predicted=15)  # fmt: skip
    members = etcd_members.of(lab.cluster.nodes)
    lab.expect("all members of etcd are healthy", lambda: etcd.healthy(lab.cluster),
               lambda healthy: (len(healthy) == len(members), f"healthy: {', '.join(healthy) or 'none'}"),
               within=90, predicted=20)  # fmt: skip


def _at_least(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet >= seconds, f"silent for {quiet:.1f} s")


def _below(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet < seconds, f"silent for {quiet:.1f} s")
