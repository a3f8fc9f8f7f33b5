"""Objects of the API (as JSON) as what the page shows of them. Pure; times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill import objects
from kubedrill.objects import Object, moment

NODE_LEASES = "kube-node-lease"
LEADERS = ("kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True)
class NodeView:
    """A Node: `ready` is Kubernetes' own word, None where it does not know."""

    name: str
    ready: bool | None
    why: str
    cordoned: bool
    taints: tuple[str, ...]
    version: str
    created: float


@dataclass(frozen=True)
class PodView:
    """A Pod: `status` in kubectl's words, `ready` such as '1/2', `well` whether nothing is wrong with it."""

    namespace: str
    name: str
    node: str
    status: str
    ready: str
    well: bool
    restarts: int
    why: str
    created: float


@dataclass(frozen=True)
class LeaseView:
    """A Lease: it is over `duration` seconds after `renewed`, if it is not renewed."""

    namespace: str
    name: str
    holder: str
    renewed: float
    duration: float
    transitions: int


@dataclass(frozen=True)
class EventView:
    """An Event: `at` is when it was last seen, `count` how often."""

    at: float
    warning: bool
    kind: str
    namespace: str
    name: str
    reason: str
    message: str
    count: int


def node(item: Object) -> NodeView:
    """A Node."""
    known = {"True": True, "False": False}
    return NodeView(
        name=item["metadata"]["name"],
        ready=known.get(objects.ready(item).get("status", "")),
        why=objects.why_unready(item),
        cordoned=bool(item.get("spec", {}).get("unschedulable")),
        taints=objects.taints(item),
        version=objects.kubelet_version(item),
        created=moment(item["metadata"].get("creationTimestamp")),
    )


def pod(item: Object) -> PodView:
    """A Pod."""
    meta, spec, containers = item["metadata"], item.get("spec", {}), objects.containers(item)
    wanted = len(spec.get("containers") or [])
    word, why = _word(item)
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        node=spec.get("nodeName", ""),
        status=word,
        ready=f"{sum(bool(one.get('ready')) for one in containers)}/{wanted}",
        well=word in ("Succeeded", "Completed") or (word == "Running" and objects.is_ready(item)),
        restarts=objects.restarts(item),
        why=why,
        created=moment(meta.get("creationTimestamp")),
    )


def lease(item: Object) -> LeaseView:
    """A Lease."""
    spec = item.get("spec", {})
    return LeaseView(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        holder=spec.get("holderIdentity") or "",
        renewed=moment(spec.get("renewTime") or spec.get("acquireTime")),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def event(item: Object) -> EventView:
    """An Event."""
    about, series = item.get("involvedObject", {}), item.get("series") or {}
    return EventView(
        at=objects.last_seen(item),
        warning=item.get("type") == "Warning",
        kind=about.get("kind", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        reason=item.get("reason") or "",
        message=(item.get("message") or "").strip(),
        count=int(series.get("count") or item.get("count") or 1),
    )


def _word(item: Object) -> tuple[str, str]:
    """How a pod is in one word, as kubectl has it, and why."""
    status = item.get("status", {})
    phase = status.get("phase", "")
    states = [one.get("state", {}) for one in status.get("containerStatuses") or []]
    first = [one.get("state", {}) for one in status.get("initContainerStatuses") or []]
    waiting = [state["waiting"] for state in first + states if "waiting" in state]
    ended = [state["terminated"] for state in states if "terminated" in state]
    if "deletionTimestamp" in item["metadata"]:
        return "Terminating", status.get("reason", "")
    if status.get("reason"):  # Evicted, NodeLost
        return status["reason"], status.get("message", "")
    for one in waiting:
        # A container that waits behind the one that is first says only that.
        if one.get("reason") not in (None, "PodInitializing"):
            return one["reason"], one.get("message", "")
    if phase == "Pending":
        unmet = [one for one in status.get("conditions") or [] if one["status"] == "False"]
        scheduled = next((one for one in unmet if one["type"] == "PodScheduled"), None)
        return ("Pending", scheduled.get("message", "")) if scheduled else ("Starting", "")
    if phase == "Running" and ended:
        return ended[0].get("reason") or "Error", ended[0].get("message", "")
    return phase or "Unknown", ""
