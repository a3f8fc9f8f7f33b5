"""A whole cluster off and on again, by its handle: stop, start, pause, resume, and wait until it is whole.

Nodes keep disk and address, so a cluster that is started again is the same one. It goes down from the leaves to the
root (workers, control planes, etcd of its own, balancer), and comes up the other way round.

Members of etcd are started one after another. kubeadm has a member compare its data with the others' before it serves
(the feature InitialCorruptCheck), and one that has just started as well does not answer: 7 s are lost for each such
peer, 14 s of three that start at once. One that is off refuses, which takes no time, and one that serves answers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kubedrill import checks, etcd_members, kube
from kubedrill.errors import KubedrillError, NotFound, TimedOut
from kubedrill.kube import ClusterSnapshot, Kube, PodSnapshot
from kubedrill.marks import need_restored
from kubedrill.network import FLANNEL_NAMESPACE
from kubedrill.providers.base import KUBERNETES, Node, Role, State
from kubedrill.wait import Verdict, until

if TYPE_CHECKING:  # `up` is made of this module
    from kubedrill.cluster import Cluster

DOWNWARDS: tuple[Role, ...] = ("worker", "control-plane", "etcd", "load-balancer")
UPWARDS: tuple[Role, ...] = DOWNWARDS[::-1]
# A limit, not an expectation: ten times what a slow machine with two cores took for six nodes.
_WHOLE = 300
# Seconds until a member of etcd serves, at most; 3 s here. One that does not is left to those who look into it.
_ETCD = 15
_SYSTEM = ("kube-system", FLANNEL_NAMESPACE)
# kubeadm's Corefile has CoreDNS serve for 5 s more once it is told to end (`lameduck 5s`), for clients that do not know
# yet. Where all clients go off as well nobody asks it any more. The kubelet would start it again, so it goes first.
_DNS_OFF = ["sh", "-c", "systemctl stop kubelet; pkill -KILL -x coredns"]
_KUBELET_ON = ["systemctl", "start", "kubelet"]
_DNS_OFF_SECONDS = 10


class Steps(Protocol):
    """Whoever is told of each step."""

    def step(self, what: str) -> AbstractContextManager[None]:
        """Something takes its time."""
        ...


@dataclass(frozen=True)
class Seen:
    """What tells that a cluster is whole, as it was at one moment."""

    cluster: ClusterSnapshot
    heartbeats: Mapping[str, float]
    pods: tuple[PodSnapshot, ...]
    leaders: Mapping[str, float]


def states(cluster: Cluster) -> dict[str, State]:
    """The state of each node, by its name."""
    return {node.name: node.state() for node in cluster.nodes}


def stop(cluster: Cluster, console: Steps) -> bool:
    """Shut all nodes down in order; one that is paused is let go on first, so that it can.

    Returns:
        Whether there was anything to stop.

    Raises:
        KubedrillError: a node could not be stopped; says which.
    """

    def down(node: Node) -> None:
        if node.state() == "paused":
            node.resume()
        if node.role in KUBERNETES:
            with contextlib.suppress(KubedrillError):  # one that does not answer is stopped all the same
                node.run(_DNS_OFF, check=False, show=False, timeout=_DNS_OFF_SECONDS * cluster.slow)
        try:
            node.stop()
        except KubedrillError:
            if node.role in KUBERNETES:  # it runs on, and needs its kubelet
                with contextlib.suppress(KubedrillError):
                    node.run(_KUBELET_ON, check=False, show=False, timeout=_DNS_OFF_SECONDS * cluster.slow)
            raise

    return _tier_by_tier(cluster, DOWNWARDS, ("running", "paused"), down, "stopped", console)


def start(cluster: Cluster, console: Steps) -> bool:
    """Start all nodes that do not run, and let go on those that are paused.

    What runs in them is not waited for, but each member of etcd has a while to serve before the next is started.

    Returns:
        Whether there was anything to start.

    Raises:
        NotFound: a node is gone.
        KubedrillError: a node could not be started; says which. Or the cluster is half put back to a checkpoint.
    """
    need_restored(cluster.spec.name, cluster.restoring)
    wanted = cluster.spec.computers()
    if len(cluster.nodes) < wanted:
        there = ", ".join(node.name for node in cluster.nodes) or "none"
        raise NotFound(
            f"of {cluster.spec.name} only {len(cluster.nodes)} of {wanted} nodes are there",
            evidence=[f"nodes: {there}"],
            todo=[
                f"one that was being added: invoke add-node --name {cluster.spec.name}",
                f"else: invoke up --name {cluster.spec.name} with the same settings makes what is missing",
            ],
        )  # fmt: skip

    members = [node.name for node in etcd_members.of(cluster.nodes) if node.state() == "stopped"]

    def up(node: Node) -> None:
        if node.state() == "paused":
            node.resume()
            return
        node.start()
        if node.name in members[:-1]:
            _etcd_serves(node, _ETCD * cluster.slow)

    def apart(nodes: Sequence[Node]) -> list[Sequence[Node]]:
        rest = [node for node in nodes if node.name not in members]
        return [group for group in (*([node] for node in nodes if node.name in members), rest) if group]

    return _tier_by_tier(cluster, UPWARDS, ("stopped", "paused"), up, "started", console, apart)


def pause(cluster: Cluster, console: Steps) -> bool:
    """Freeze every process of all nodes that run: memory stays as it is, and no CPU is used.

    Returns:
        Whether there was anything to pause.
    """
    return _tier_by_tier(cluster, DOWNWARDS, ("running",), lambda node: node.pause(), "paused", console)


def resume(cluster: Cluster, console: Steps) -> bool:
    """Let all nodes that are paused go on.

    Returns:
        Whether there was anything to resume.
    """
    return _tier_by_tier(cluster, UPWARDS, ("paused",), lambda node: node.resume(), "resumed", console)


def whole(cluster: Cluster, console: Steps, *, within: float = _WHOLE) -> bool:
    """Start whatever does not run, and wait until the cluster is as `up` leaves one.

    Args:
        cluster: the cluster.
        console: told of each step.
        within: seconds to wait at most.

    Returns:
        Whether anything had to be started.

    Raises:
        NotFound: a node is gone.
        TimedOut: it did not become whole; says what is missing.
    """
    before, began = states(cluster), time.time()
    did = start(cluster, console)
    wait_until_whole(cluster, console, _in(before, "stopped"), began, resumed=_in(before, "paused"), within=within)
    return did


def whole_after_pause(cluster: Cluster, console: Steps, *, within: float = _WHOLE) -> bool:
    """Let all nodes that are paused go on, and wait until the cluster works again.

    Args:
        cluster: the cluster.
        console: told of each step.
        within: seconds to wait at most.

    Returns:
        Whether there was anything to resume.

    Raises:
        KubedrillError: a node is stopped, not paused.
        TimedOut: it did not become whole; says what is missing.
    """
    before, began = states(cluster), time.time()
    did = resume(cluster, console)
    need_running(cluster)
    wait_until_whole(cluster, console, [], began, resumed=_in(before, "paused"), within=within)
    return did


def wait_until_whole(
    cluster: Cluster, console: Steps, booted: Sequence[str], since: float, *, resumed: Sequence[str] = (),
    within: float = _WHOLE,
) -> None:  # fmt: skip
    """Wait until the API answers, all nodes are Ready, flannel and CoreDNS work.

    The API remembers: right after a start or a resume each node is still Ready and each pod still runs, as they were
    before. So a node that was off or paused counts only once its kubelet has been heard of since, and what ran in one
    that was off once it was started since.

    A controller manager or scheduler that was paused for longer than it may go without renewing its lease (10 s) may
    end itself, and the next one takes over once the lease is over. So after a resume each must have a leader that has
    renewed it since.

    Args:
        cluster: a cluster whose nodes all run.
        console: told of each step.
        booted: names of the nodes that were off.
        since: when they were started or resumed, seconds since 1970.
        resumed: names of the nodes that were paused.
        within: seconds to wait at most.

    Raises:
        TimedOut: it did not become whole; says what is missing.
    """
    api = Kube(cluster.admin_conf(), timeout=2)
    wanted = [node.name for node in cluster.nodes if node.role in KUBERNETES]
    began = time.monotonic()
    with console.step(f"the API of {cluster.spec.name} answers"):
        until(api.readyz, lambda answer: (answer == "ok", answer), within=within, every=0.1, what="the API",
              transient=(kube.ApiUnavailable,))  # fmt: skip
    with console.step("all nodes Ready, flannel running, CoreDNS available"):
        until(
            lambda: look(api), lambda seen: is_whole(seen, wanted, booted, since, resumed), every=0.3,
            within=max(1.0, within - (time.monotonic() - began)), what="a cluster that is whole",
            transient=(kube.ApiUnavailable,),
        )  # fmt: skip


def is_whole(
    seen: Seen, wanted: Sequence[str], booted: Sequence[str], since: float, resumed: Sequence[str] = ()
) -> Verdict:
    """Whether what was seen is a whole cluster, and not only remembered as one.

    Args:
        seen: what the API says.
        wanted: names of the nodes that must be Ready.
        booted: names of those that were off: they are heard of, and what runs in them was started, since.
        since: when they were started or resumed, seconds since 1970.
        resumed: names of those that were paused: they are heard of, and there are leaders, since.
    """
    fresh = [name for name in booted if name in wanted]
    on_them = [pod for pod in seen.pods if pod.node in fresh]
    verdicts = [
        checks.heard_since(seen.heartbeats, [name for name in wanted if name in (*booted, *resumed)], since),
        checks.cluster_ready(wanted)(seen.cluster),
        checks.started_since(on_them, since) if fresh else (True, "no node was off"),
        checks.led_since(seen.leaders, since) if resumed else (True, "no node was paused"),
    ]
    failing = [why for ok, why in verdicts if not ok]
    return not failing, "; ".join(failing or [why for _, why in verdicts])


def need_running(cluster: Cluster, nodes: Sequence[Node] | None = None) -> None:
    """See that nodes run, for a task that cannot do without them.

    Args:
        cluster: the cluster.
        nodes: those that must run; all of the cluster's without it.

    Raises:
        KubedrillError: some do not; says what brings them back.
    """
    need_restored(cluster.spec.name, cluster.restoring)
    found = {node.name: node.state() for node in (cluster.nodes if nodes is None else nodes)}
    away = {state for state in found.values() if state != "running"}
    if away:
        name, how = cluster.spec.name, " and ".join(sorted(away))
        all_alike = set(states(cluster).values()) == away
        raise KubedrillError(
            f"the cluster {name} is {how}" if all_alike else f"nodes of {name} are {how}",
            evidence=[f"{node}: {state}" for node, state in found.items()],
            todo=[f"run: invoke {'resume' if away == {'paused'} else 'start'} --name {name}"],
        )


def look(api: Kube) -> Seen:
    """What tells that a cluster is whole, as it is now.

    Raises:
        ApiUnavailable: the API does not answer.
    """
    pods = tuple(pod for namespace in _SYSTEM for pod in api.pods(namespace))
    return Seen(api.cluster(), api.heartbeats(), pods, api.leaders())


def _in(found: Mapping[str, State], state: State) -> list[str]:
    return [name for name, its in found.items() if its == state]


def _tier_by_tier(
    cluster: Cluster, order: Sequence[Role], which: Sequence[State], do: Callable[[Node], None], done: str,
    console: Steps, groups: Callable[[Sequence[Node]], Sequence[Sequence[Node]]] = lambda nodes: [nodes],
) -> bool:  # fmt: skip
    """Do something with nodes in some states: role after role, and the groups of a role one after another."""
    did = False
    for role in order:
        nodes = [node for node in cluster.nodes if node.role == role and node.state() in which]
        for group in groups(nodes):
            if group:
                did = True
                with console.step(f"{', '.join(node.name for node in group)}: {done}"):
                    _all_at_once(group, do)
    return did


def _etcd_serves(node: Node, within: float) -> None:
    """Wait a while until a node's member of etcd serves its peers; whatever keeps it from that is not found out here.

    kubeadm's etcd opens the port of its metrics last of all.
    """
    asked = ["curl", "--silent", "--output", "/dev/null", "--max-time", "1", "http://127.0.0.1:2381/metrics"]
    with contextlib.suppress(TimedOut):
        until(lambda: node.run(asked, check=False, show=False).status,
              lambda status: (status == 0, f"curl ends with status {status}"),
              within=within, every=0.2, what=f"etcd on {node.name}")  # fmt: skip


def _all_at_once(nodes: Sequence[Node], do: Callable[[Node], None]) -> None:
    """Do something with each of several nodes; one that fails does not keep the others from it."""

    def attempt(node: Node) -> str:
        try:
            do(node)
        except KubedrillError as error:
            return f"{node.name}: {' '.join(str(error).split())}"
        return ""

    with ThreadPoolExecutor(max_workers=16) as pool:
        failed = [why for why in pool.map(attempt, nodes) if why]
    if failed:
        raise KubedrillError("not all nodes did as they were told", evidence=failed, todo=["see `invoke status`"])
