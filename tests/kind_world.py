"""An engine and an API of a cluster of kind that live in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kubedrill.bench.kind import config, image
from kubedrill.errors import NotFound
from kubedrill.kube import ClusterSnapshot, NodeSnapshot, WorkloadSnapshot
from kubedrill.shell import Result

IMAGE = config.Image("kubedrill/kind-node:1", "3.7.3", "v1.15.0", "flannel:1")
MISSING = frozenset({"SYS_RESOURCE"})


@dataclass
class FakeEngine:
    """An engine with the containers of one cluster of kind."""

    there: list[str] = field(default_factory=list)
    rights_after: int = 0
    apply: Result = field(default_factory=lambda: Result(0, "", ""))
    written: dict[str, bytes] = field(default_factory=dict)
    ran: list[tuple[str, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    networks_removed: list[str] = field(default_factory=list)

    def containers(self, label: str) -> list[dict[str, Any]]:
        assert label == "io.x-k8s.kind.cluster=kubedrill-peer"
        return [{"Id": name, "Names": [f"/{name}"]} for name in self.there]

    def remove_container(self, identity: str) -> None:
        self.there.remove(identity)

    def inspect_container(self, name: str) -> dict[str, Any]:
        return {"NetworkSettings": {"Ports": {"6443/tcp": [{"HostPort": "40001"}]}}}

    def execute(self, name: str, argv: Sequence[str]) -> Result:
        self.ran.append((name, argv[0]))
        if argv[0] == "cat":
            self.rights_after -= 1
            if self.rights_after >= 0:
                raise NotFound("no such container")
            return Result(0, ADMIN, "")
        if argv[0] == "kubectl":
            return self.apply
        return Result(0, "700\n" if "du -xsm" in argv[-1] else "90\n", "")

    def put_archive(self, name: str, folder: str, data: bytes) -> None:
        self.written[name] = data

    def has_image(self, tag: str) -> bool:
        return tag in self.tags

    def image_labels(self, tag: str) -> dict[str, str]:
        return {image.STAND_IN: "envoy"} if self.tags[tag] == "balancer" else {}

    def tag_image(self, tag: str, another: str) -> None:
        self.tags[another] = tag

    def remove_image(self, tag: str) -> None:
        del self.tags[tag]

    def remove_network(self, name: str) -> None:
        self.networks_removed.append(name)


ADMIN = """
apiVersion: v1
kind: Config
current-context: admin@kubedrill-peer
clusters: [{name: kubedrill-peer, cluster: {server: "https://x:6443"}}]
contexts: [{name: admin@kubedrill-peer, context: {cluster: kubedrill-peer, user: admin}}]
users: [{name: admin, user: {}}]
"""


class FakeKube:
    """An API whose nodes are all Ready."""

    nodes: tuple[str, ...] = ()

    def __init__(self, kubeconfig: str) -> None:
        assert "https://127.0.0.1:40001" in kubeconfig

    def readyz(self) -> str:
        return "ok"

    def cluster(self) -> ClusterSnapshot:
        nodes = tuple(NodeSnapshot(name, True, "", False, False, (), "", "") for name in self.nodes)
        count = len(nodes)
        return ClusterSnapshot(nodes, WorkloadSnapshot("coredns", 2, 2), WorkloadSnapshot("flannel", count, count))
