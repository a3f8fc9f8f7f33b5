"""What is known of a cluster: a frozen state, and how each thing that comes in makes the next one of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kubedrill.dashboard import views
from kubedrill.dashboard.views import LEADERS, NODE_LEASES, EventView, LeaseView, NodeView, PodView
from kubedrill.objects import Object

# The page has the newest; all are in the cluster.
_EVENTS = 200
_VIEWS: Mapping[str, Callable[[Object], Any]] = {
    "nodes": views.node, "pods": views.pod, "leases": views.lease, "events": views.event,
}  # fmt: skip


@dataclass(frozen=True)
class Computer:
    """A node as its provider sees it: `state` is running, stopped, paused or gone."""

    name: str
    role: str
    address: str
    state: str


@dataclass(frozen=True)
class Answering:
    """Whether something answers, since when that is so (seconds since 1970), and why not."""

    answers: bool
    since: float
    why: str = ""

    def then(self, answers: bool, at: float, why: str = "") -> Answering:
        """What a later look makes of it."""
        return Answering(answers, self.since if answers == self.answers else at, why)


@dataclass(frozen=True)
class Member:
    """An etcd member: `role` is leads, follows, learner, no leader, no answer or not known; `size` in bytes."""

    node: str
    role: str
    term: int = 0
    size: int = 0
    problems: str = ""


@dataclass(frozen=True)
class State:
    """All that is known of a cluster.

    Args:
        objects: what the API told: by kind, by the object's uid.
        lost: kinds whose watch does not get through, and why.
        computers: the nodes as their provider sees them.
        api: the API through its entrance; None before it was first asked.
        servers: the API server of each control plane by itself.
        members: etcd's members.
        etcd: why nothing is known of etcd; empty where it is.
    """

    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    computers: tuple[Computer, ...] = ()
    api: Answering | None = None
    servers: Mapping[str, Answering] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    etcd: str = ""

    def listed(self, kind: str, items: Sequence[Object]) -> State:
        """All objects of a kind: those that are not among them are gone."""
        there = {item["metadata"]["uid"]: _VIEWS[kind](item) for item in items}
        return replace(self._heard(kind), objects={**self.objects, kind: there})

    def changed(self, kind: str, what: str, item: Object) -> State:
        """One object was ADDED, MODIFIED or DELETED."""
        there = dict(self.objects.get(kind, {}))
        there.pop(item["metadata"]["uid"], None)
        if what != "DELETED":
            there[item["metadata"]["uid"]] = _VIEWS[kind](item)
        return replace(self._heard(kind), objects={**self.objects, kind: there})

    def silent(self, kind: str, why: str) -> State:
        """The watch of a kind does not get through; what was known stays."""
        return replace(self, lost={**self.lost, kind: why})

    def with_computers(self, computers: tuple[Computer, ...]) -> State:
        """The computers were looked at."""
        return replace(self, computers=computers)

    def with_etcd(self, members: tuple[Member, ...], why: str) -> State:
        """etcd was asked."""
        return replace(self, members=members, etcd=why)

    def asked(self, api: tuple[bool, str], servers: Mapping[str, tuple[bool, str]], at: float) -> State:
        """The API, and each API server by itself, was asked whether it answers: (whether, why not)."""

        def then(before: Answering | None, seen: tuple[bool, str]) -> Answering:
            return (before or Answering(seen[0], at)).then(seen[0], at, seen[1])

        each = {name: then(self.servers.get(name), seen) for name, seen in servers.items()}
        return replace(self, api=then(self.api, api), servers=each)

    def _heard(self, kind: str) -> State:
        return replace(self, lost={other: why for other, why in self.lost.items() if other != kind})


def nodes(state: State) -> list[dict[str, Any]]:
    """The nodes: computers in their order, each with what Kubernetes says of it; then what only Kubernetes knows of."""
    known: dict[str, NodeView] = {one.name: one for one in state.objects.get("nodes", {}).values()}
    rows = []
    for computer in state.computers:
        node = known.pop(computer.name, None)
        rows.append({**asdict(computer), "node": asdict(node) if node else None})
    for node in sorted(known.values(), key=lambda one: one.name):
        rows.append({"name": node.name, "role": "", "address": "", "state": "gone", "node": asdict(node)})
    return rows


def pods(state: State) -> list[dict[str, Any]]:
    """All pods, by namespace and name."""
    found: list[PodView] = list(state.objects.get("pods", {}).values())
    return [asdict(pod) for pod in sorted(found, key=lambda one: (one.namespace, one.name))]


def leases(state: State) -> dict[str, list[dict[str, Any]]]:
    """Who leads what, and when each node's kubelet last said that it is there."""
    found: list[LeaseView] = sorted(state.objects.get("leases", {}).values(), key=lambda one: one.name)
    return {
        # client-go's leader election calls itself NODE_uuid.
        "leaders": [
            {**asdict(one), "holder": one.holder.rpartition("_")[0] or one.holder}
            for one in found if one.namespace == "kube-system" and one.name in LEADERS
        ],
        "nodes": [asdict(one) for one in found if one.namespace == NODE_LEASES],
    }  # fmt: skip


def events(state: State) -> list[dict[str, Any]]:
    """The newest events, the newest first."""
    found: list[EventView] = list(state.objects.get("events", {}).values())
    return [asdict(event) for event in sorted(found, key=lambda one: -one.at)[:_EVENTS]]


def control(state: State) -> dict[str, Any]:
    """The API as a whole, each API server, and etcd."""
    return {
        "api": asdict(state.api) if state.api else None,
        "servers": [{"node": name, **asdict(one)} for name, one in state.servers.items()],
        "members": [asdict(member) for member in state.members],
        "etcd": state.etcd,
        "lost": dict(sorted(state.lost.items())),
    }


SECTIONS: Mapping[str, Callable[[State], Any]] = {
    "nodes": nodes, "pods": pods, "leases": leases, "events": events, "control": control,
}  # fmt: skip
