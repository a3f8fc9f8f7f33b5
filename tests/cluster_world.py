"""A machine of fakes on which clusters are brought up and taken down."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from fake_kubernetes import KEYS, FakeApi, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import bringup, cluster, first_plane, host, kube, kubeadm, kubeconfig, room, undertaking
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.images import build
from kubedrill.images.build import Built
from kubedrill.images.store import Store
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

STORE = Store("a-store", "v1.37.2", "3.7.3", "v1.15.0", "flannel:x", "pause:x", ())


class World:
    """A machine of fakes."""

    def __init__(self, folder: Path) -> None:
        self.kubernetes = FakeKubernetes()
        self.provider = FakeProvider(script=self.kubernetes.script)
        self.lab = Lab(cast(Engine, None), self.provider, frozenset())
        self.console = Console()
        self.folder = folder
        self.preflights = 0

    def up(self, spec: ClusterSpec | None = None, **settings: Any) -> cluster.Cluster:
        """Bring a cluster up."""
        return cluster.up(self.lab, spec or ClusterSpec(), self.console, **settings)

    def breaks(self, beginning: str, node_name: str = "") -> None:
        """Let a command fail from now on."""

        def answer(node: FakeNode, call: Call) -> Result | None:
            matches = call.line.startswith(beginning) and node.name.endswith(node_name)
            return Result(1, "", "it broke") if matches else None

        self.kubernetes.answers = answer

    def mended(self) -> None:
        """Let all commands succeed again."""
        self.kubernetes.answers = lambda _node, _call: None
        self.provider.events.clear()

    def happened(self, *kinds: str) -> list[tuple[str, ...]]:
        """The events of some kinds."""
        return [event for event in self.provider.events if event[0] in kinds]

    def contexts(self) -> list[str]:
        """The clusters of the user's kubeconfig."""
        return kubeconfig.entries(self.folder / "kubeconfig")

    def logs(self) -> list[str]:
        """The files that were kept of nodes."""
        return sorted(path.name for path in (self.folder / "state").rglob("journal.txt"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine on which everything is built already."""
    made = World(tmp_path)

    def api(text: str) -> FakeApi:
        assert "https://127.0.0.1:" in text or "https://172.28.0.11:6443" in text
        return FakeApi(made.kubernetes, made.provider)

    def preflight(*_: object, **__: object) -> None:
        made.preflights += 1

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(room, "preflight", preflight)
    monkeypatch.setattr(build, "ensure", lambda *_, **__: Built("kubedrill/node:x", STORE))
    monkeypatch.setattr(build, "is_built", lambda *_, **__: True)
    monkeypatch.setattr(host, "host_networks", list)
    monkeypatch.setattr(host, "upstream_nameservers", lambda: ["192.0.2.53"])
    for module in (bringup, first_plane):
        monkeypatch.setattr(module, "Kube", api)
    monkeypatch.setattr(undertaking, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made
