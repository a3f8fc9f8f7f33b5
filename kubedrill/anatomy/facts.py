"""What was gathered, in one form, wherever it came from: what a node tells, and what the API tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kubedrill.anatomy import parse
from kubedrill.anatomy.parse import Process

# The kinds of API objects that api.sh lists, with their namespaces.
_WORKLOADS = ("DaemonSet", "Deployment", "ReplicaSet")


@dataclass(frozen=True)
class Pod:
    """A pod of the cluster's own namespaces.

    Args:
        uid: as in the names of its cgroup and its logs (a static pod's mirror has another).
        static: whether the kubelet read it from a manifest.
        owner: Kind/name of what made it; empty where it has none or nobody tells.
        told_by: who says so.
        ending: whether somebody has deleted it; it is listed until its containers have ended.
    """

    uid: str
    name: str
    namespace: str
    static: bool
    owner: str
    containers: tuple[str, ...]
    told_by: str
    ending: bool = False


@dataclass(frozen=True)
class NodeFacts:
    """What one node told.

    Args:
        name: its name.
        role: its role.
        sections: the parts that node.sh printed.
        silent: why it told nothing; empty where it did.
    """

    name: str
    role: str
    sections: Mapping[str, str] = field(default_factory=dict)
    silent: str = ""

    @cached_property
    def processes(self) -> tuple[Process, ...]:
        """The components' processes."""
        return parse.processes(self.sections.get("processes", ""))

    @cached_property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """{path: the Pod} of its static manifests."""
        return parse.manifests(self.sections.get("manifests", ""))

    @cached_property
    def files(self) -> dict[str, str]:
        """{path: device:inode} of files that are there."""
        return parse.paths(self.sections.get("files", ""))

    @cached_property
    def containers(self) -> list[dict[str, Any]]:
        """Containers, as the container runtime tells."""
        return self._runtime()[1]

    @cached_property
    def pods(self) -> dict[str, Pod]:
        """{uid: pod}, as the container runtime tells; it knows no owners."""
        return {
            pod["uid"]: Pod(
                pod["uid"], pod["name"], pod["namespace"], pod.get("source") == "file", "",
                tuple(each["name"] for each in self.containers if each.get("pod") == pod["uid"]), "crictl pods",
            )
            for pod in self._runtime()[0]
        }  # fmt: skip

    def _runtime(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        lines = [parse.as_json(line) for line in self.sections.get("containers", "").splitlines()]
        lists = [line for line in lines if isinstance(line, list)]
        return (lists[0], lists[1]) if len(lists) == 2 else ([], [])


@dataclass(frozen=True)
class ApiFacts:
    """What the API told.

    Args:
        sections: the parts that api.sh printed.
        silent: why it told nothing; empty where it did.
    """

    sections: Mapping[str, str] = field(default_factory=dict)
    silent: str = ""

    def pods(self, node: str) -> dict[str, Pod]:
        """{uid: pod} on a node."""
        found = {}
        for each in self._listed("pods"):
            if each["node"] != node:
                continue
            uid = each["hash"] if each["mirror"] else each["uid"]
            owner = "" if each["mirror"] or each["owner"] == "/" else str(each["owner"])
            found[uid] = Pod(
                uid, each["name"], each["namespace"], each["mirror"], owner, tuple(each["containers"]),
                "annotation kubernetes.io/config.mirror of the pod" if each["mirror"] else "ownerReferences of the pod",
                bool(each.get("ending")),
            )  # fmt: skip
        return found

    def workload(self, kind: str, name: str) -> dict[str, Any] | None:
        """A DaemonSet, Deployment or ReplicaSet."""
        return next((each for each in self._listed(kind) if each["name"] == name), None)

    def with_container(self, container: str) -> tuple[str, dict[str, Any]] | None:
        """The DaemonSet or Deployment whose pods have a container of that name, with its kind."""
        for kind in _WORKLOADS[:2]:
            for each in self._listed(kind):
                if container in each["containers"]:
                    return kind, each
        return None

    def _listed(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name, body in self.sections.items():
            if name.startswith(f"list {what} "):
                items = parse.data(body)
                found += items if isinstance(items, list) else []
        return found
