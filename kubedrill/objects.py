"""Objects of the API as it writes them (JSON), and what several readers want of them. Pure.

Fields that are empty, zero or false are left out, or null.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]


def moment(written: str | None) -> float:
    """A time of the API (RFC 3339), in seconds since 1970; 0 where there is none."""
    return datetime.fromisoformat(written).timestamp() if written else 0.0


def ready(item: Object) -> Object:
    """The condition Ready of a Node or Pod; empty where nobody has said anything yet."""
    conditions: list[Object] = item.get("status", {}).get("conditions") or []
    return next((found for found in conditions if found["type"] == "Ready"), {})


def is_ready(item: Object) -> bool:
    """Whether a Node or Pod is Ready."""
    return ready(item).get("status") == "True"


def is_routed(node: Object) -> bool:
    """Whether whoever makes the pod network says of a Node that it has one; flannel does once it holds its lease."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(found["type"] == "NetworkUnavailable" and found["status"] == "False" for found in conditions)


def why_unready(node: Object) -> str:
    """What the kubelet says of its readiness."""
    found = ready(node)
    return (found.get("message") or found.get("reason") or "") if found else "the kubelet has not reported yet"


def taints(node: Object) -> tuple[str, ...]:
    """The taints of a Node as kubectl takes them: KEY=VALUE:EFFECT, or KEY:EFFECT."""

    def written(taint: Object) -> str:
        value = taint.get("value")
        return f"{taint['key']}{f'={value}' if value else ''}:{taint['effect']}"

    return tuple(written(taint) for taint in node.get("spec", {}).get("taints") or [])


def kubelet_version(node: Object) -> str:
    """The version of a Node's kubelet; '' before it has reported."""
    return str(node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", ""))


def containers(pod: Object) -> list[Object]:
    """The states of a Pod's containers, as far as its kubelet has reported."""
    return pod.get("status", {}).get("containerStatuses") or []


def restarts(pod: Object) -> int:
    """How often the containers of a Pod were started again."""
    return sum(int(found.get("restartCount", 0)) for found in containers(pod))


def last_seen(event: Object) -> float:
    """When an Event happened last, in seconds since 1970; who writes one of a series fills in other fields."""
    series = event.get("series") or {}
    return moment(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or event["metadata"].get("creationTimestamp")
    )
