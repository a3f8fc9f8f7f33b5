"""A cluster of fakes that goes off and on as a whole, and an API that tells what the test lets it remember."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from fake_kubernetes import ADMIN
from fake_node import FakeNode, Stored
from fake_provider import FakeProvider

from kubedrill import cluster, lifecycle, status
from kubedrill.cluster import Cluster, Lab
from kubedrill.kube import ApiUnavailable, ClusterSnapshot, NodeSnapshot, PodSnapshot, WorkloadSnapshot
from kubedrill.lifecycle import Seen
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.providers.docker_engine import Engine
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

SPEC = ClusterSpec(control_planes=3, workers=2)
NODES: list[tuple[Role, str, int]] = [
    ("load-balancer", "", 2), *(("control-plane", f"-{n}", 10 + n) for n in (1, 2, 3)),
    *(("worker", f"-{n}", 100 + n) for n in (1, 2)),
]  # fmt: skip


class World:
    """A machine with a cluster of three control planes, and an API that tells what the test lets it remember."""

    def __init__(self) -> None:
        self.provider = FakeProvider()
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {"spec": SPEC.to_json(), "api-port": "1"}))
        for role, number, last in NODES:
            self.provider.create_node("lab", NodeSpec(f"lab-{role}{number}", role, f"172.28.0.{last}", "an image"))
        for node in self.nodes:
            if node.role == "control-plane":
                node.disk["/etc/kubernetes/admin.conf"] = Stored(ADMIN.encode(), 0o600)
        self.seen: Seen | None = whole_as_of(float("inf"))
        self.provider.events.clear()

    @property
    def nodes(self) -> list[FakeNode]:
        """As they are now."""
        return cast(list[FakeNode], list(self.provider.nodes("lab")))

    @property
    def cluster(self) -> Cluster:
        """The handle."""
        return cluster.attach(self.provider, "lab")

    def states(self) -> set[str]:
        """The states there are."""
        return {node.state() for node in self.nodes}

    def happened(self, *kinds: str) -> list[tuple[str, str]]:
        """What was done to computers, and to which."""
        return [(event[0], event[1].removeprefix("lab-")) for event in self.provider.events if event[0] in kinds]

    def told(self) -> Seen:
        """What the API tells.

        Raises:
            ApiUnavailable: nothing.
        """
        if self.seen is None:
            raise ApiUnavailable("connection refused")
        return self.seen


def whole_as_of(moment: float) -> Seen:
    """A cluster of which everything was heard, started and renewed at one moment."""
    names = [f"lab-{role}{number}" for role, number, _ in NODES if role != "load-balancer"]
    nodes = tuple(NodeSnapshot(name, True, "", False, False, (), "", "v1") for name in names)
    pods = tuple(
        PodSnapshot("kube-system", f"p-{name}", name, "", "Running", True, 0, False, {}, started=moment)
        for name in names
    )  # fmt: skip
    workloads = WorkloadSnapshot("coredns", 2, 2), WorkloadSnapshot("flannel", len(nodes), len(nodes))
    leaders = dict.fromkeys(("kube-controller-manager", "kube-scheduler"), moment)
    return Seen(ClusterSnapshot(nodes, *workloads), dict.fromkeys(names, moment), pods, leaders)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A machine whose tasks find the fake provider."""
    made = World()

    class Api:
        """The API of the fake cluster."""

        def __init__(self, text: str, timeout: float = 0) -> None:
            assert "127.0.0.1" in text

        def readyz(self) -> str:
            """Whether it answers."""
            made.told()
            return "ok"

        def nodes(self) -> tuple[NodeSnapshot, ...]:
            """All nodes."""
            return made.told().cluster.nodes

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(lifecycle, "Kube", Api)
    monkeypatch.setattr(status, "Kube", Api)
    monkeypatch.setattr(lifecycle, "look", lambda _: made.told())
    monkeypatch.setattr(lifecycle, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(cluster, "lab", lambda _: Lab(cast(Engine, None), made.provider, frozenset()))
    return made
