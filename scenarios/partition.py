"""The network parts etcd's leader from the others: both ways, then one way only; the smaller side must keep silent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kubedrill import checks
from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults import Fault, LeftOut, Partition, Target, targets
from kubedrill.faults.traffic import Direction
from kubedrill.network import API_PORT
from kubedrill.providers.base import Node
from kubedrill.scenario import etcd, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

# Both followers wait for 1 to 2 s (--election-timeout 1000 ms, at random up to twice that) before one stands.
ELECTION = 1.5
# What the leader sends still arrives until its window is full and it waits for an acknowledgement.
WINDOW = 1
# What was on its way when the cut began is sent again after 0.2 s, then after twice as long each time (RFC 6298, 5.5):
# when 20 s are over, after up to 12.8 s, so after half of that on average. What etcd sends later queues behind it.
HEARS = 6.5
TRIES = 3
MINORITY, UNCUT = "minority-", "uncut-"
# How kubectl says that no answer came in time, and an API server that etcd gave it none.
_UNKNOWN = re.compile(r"Timeout|timed out|deadline exceeded|connection|EOF", re.IGNORECASE)
CUTS: tuple[tuple[Direction, str], ...] = (
    ("both", "neither side hears the other"),
    ("out", "the leader hears the others, and they do not hear it"),
    ("in", "the others hear the leader, and it does not hear them"),
)


@dataclass(frozen=True)
class Try:
    """A write that was tried on the smaller side: its object's name, and what kubectl said of it."""

    name: str
    acknowledged: bool
    said: str

    @property
    def refused(self) -> bool:
        """Whether it was certainly not done; one whose time ran out may have been."""
        return not self.acknowledged and not _UNKNOWN.search(self.said)


# Not with an etcd of its own: there each API server sends a third of its requests to the member that is cut off. Its
# connections work, so etcd's client neither leaves it nor repeats a write elsewhere (it takes turns, and knows nothing
# of leaders: https://github.com/etcd-io/etcd/issues/8673). Such a cluster does not go on as this one must.
@scenario(control_planes=3, workers=1, etcd="stacked")
def partition(lab: Lab) -> None:
    """Cut etcd's leader off from the other two, in three ways; the minority must acknowledge nothing.

    The majority elects another leader and goes on. Once healed, the history of all writes is one history.
    """
    run(lab)


def run(lab: Lab, *, healed: bool = True, minority: bool = True) -> None:
    """The drill.

    Args:
        lab: the lab.
        healed: whether the network is mended; False is a negative control.
        minority: whether the writes that must not be acknowledged are tried on the side of the minority; False is a
            negative control: the majority acknowledges them.
    """
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    lab.baseline(8)
    tried: list[Try] = []
    uncut: list[Try] = []
    cuts: list[tuple[str, tuple[float, float]]] = []
    for direction, words in CUTS:
        leader = lab.target(targets.etcd_leader(lab.cluster))
        others = [node.name for node in lab.control_planes() if node.name != leader.node]
        # Whatever keeps a write from being acknowledged is to be the cut: without it, the same one is.
        asked = lab.node(leader.node if minority else others[0])
        uncut.append(_try(lab, asked, f"{UNCUT}{direction}"))
        tried += _cut(lab, leader, others, asked, direction, words, healed=healed)
        cuts.append((words, lab.span()))
        _whole(lab)
    lab.hold(3)
    there = {node.name: lab.read(partial(_there, node)) for node in lab.control_planes()}

    lab.verify()
    acknowledged = [one.name for one in tried if one.acknowledged]
    refusals = [f"{one.name}: {one.said[-140:]}" for one in uncut if not one.acknowledged]
    lab.require("what is tried there is acknowledged while nothing is cut", bool(uncut) and not refusals,
                "; ".join(refusals) or f"{len(uncut)} of {len(uncut)} tried")  # fmt: skip
    lab.require("the minority acknowledged no write", bool(tried) and not acknowledged,
                f"{len(acknowledged)} of {len(tried)} tried")  # fmt: skip
    # A write whose answer never came may be done, and late: a member that hears of the new leader hands it on, and TCP
    # delivers that after the heal. Seen on 2026-11-26; a client that got no answer cannot know:
    # https://etcd.io/docs/v3.6/learning/api_guarantees/
    late = sorted(set().union(*there.values()))
    lab.fact("of the writes that the minority was asked for", f"{len(late)} were done after the heal"
             + (f": {', '.join(late)}" if late else ""))  # fmt: skip
    refused = sorted(one.name for one in tried if one.refused and one.name in late)
    lab.require("what it refused for certain did not come to be", not refused, ", ".join(refused) or "none did")
    told = "; ".join(f"{name}: {', '.join(sorted(found)) or 'none'}" for name, found in there.items())
    lab.require("every control plane tells the same of them", all(found == set(late) for found in there.values()), told)
    for words, between in cuts:
        lab.require_downtime("api-read", 4, between=between, when=words)
        lab.require_downtime("api-write", 8, between=between, when=words)
    lab.require_downtime("service", 1)
    lab.require_writes()
    lab.require_linearizable()


def _cut(
    lab: Lab, leader: Target, others: Sequence[str], asked: Node, direction: Direction, words: str, *, healed: bool
) -> list[Try]:
    """One cut, and the writes that were tried meanwhile on the control plane `asked`."""
    fault: Fault = Partition(leader, tuple(others), direction)
    lab.say(f"{leader.node} leads and is cut off from {', '.join(others)}: {words}")
    with lab.fault(fault if healed else LeftOut(fault), role=leader.role):
        # Each is asked for itself alone: a question that goes to all waits seconds for the one that is cut off.
        lab.expect(
            "the others have elected another leader", lambda: [name for name in others if etcd.leads(lab.node(name))],
            lambda found: (bool(found), f"{', '.join(found) or 'none of them'} leads"), within=30,
            predicted=ELECTION + (WINDOW if direction == "in" else 0),
        )  # fmt: skip
        lab.expect("writes through the balancer succeed", partial(lab.monitor.silent_for, "api-write"), _below(0.5),
                   within=30, predicted=ELECTION + 1)  # fmt: skip
        tried = [_try(lab, asked, f"{MINORITY}{direction}-{number}") for number in range(1, TRIES + 1)]
        _reads(lab, lab.node(leader.node))
    return tried


def _try(lab: Lab, node: Node, name: str) -> Try:
    """A write, asked of one API server past the balancer."""
    argv = ["kubectl", f"--server=https://{node.address}:{API_PORT}", "--request-timeout=3s", "create", "configmap",
            name, "--namespace", workload.NAMESPACE]  # fmt: skip
    lab.command(f"{' '.join(argv)}     (on {node.name})")
    result = node.run(argv, check=False, timeout=20)
    said = " ".join(result.output.split())
    lab.say(f"status {result.status}: {said[-140:]}")
    return Try(name, result.status == 0, said)


def _there(node: Node) -> set[str]:
    """Those of the minority's writes that a control plane tells of, asked past the balancer."""
    argv = ["kubectl", f"--server=https://{node.address}:{API_PORT}", "get", "configmaps", "--namespace",
            workload.NAMESPACE, "-o", "name"]  # fmt: skip
    listed = [name.removeprefix("configmap/") for name in node.run(argv, timeout=60).stdout.split()]
    return {name for name in listed if name.startswith(MINORITY)}


def _reads(lab: Lab, node: Node) -> None:
    """What the smaller side can still tell: what it knew; not what is so."""
    key = "/registry/namespaces/default --keys-only --command-timeout=3s"
    old, new = (
        node.run(["sh", "-c", f"{ETCDCTL} get {key} --consistency={which}"], check=False, timeout=20, show=False)
        for which in ("s", "l")
    )
    lab.command(f"etcdctl get /registry/namespaces/default --consistency=s; the same with =l     (on {node.name})")
    lab.require(
        f"{node.name} tells what it knew when asked for that, and refuses to tell what is so",
        old.status == 0 and new.status != 0,
        f"serializable read: status {old.status}, linearizable read: status {new.status}",
    )


def _whole(lab: Lab) -> None:
    planes = lab.control_planes()
    lab.expect("all members of etcd are healthy", lambda: etcd.healthy(lab.cluster),
               lambda healthy: (len(healthy) == len(planes), f"healthy: {', '.join(healthy) or 'none'}"),
               within=60, predicted=HEARS)  # fmt: skip
    lanes = [name for name in lab.monitor.names() if name.startswith("cp-")]
    lab.expect("the API of every control plane answers", lambda: max(map(lab.monitor.silent_for, lanes)), _below(1),
               within=60, predicted=HEARS + 1)  # fmt: skip
    lab.expect("the balancer sends to every control plane", lambda: targets.behind_balancer(lab.cluster),
               lambda found: (len(found) == len(planes), _told(found)), within=30, predicted=HEARS + 1)  # fmt: skip
    lab.expect("all nodes are Ready", lab.api.nodes,
               lambda nodes: checks.nodes_ready(nodes, names([*planes, *lab.workers()])), within=60)  # fmt: skip


def _told(found: Sequence[Target]) -> str:
    return ", ".join(target.node for target in found)


def _below(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet < seconds, f"silent for {quiet:.1f} s")
