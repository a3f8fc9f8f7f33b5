"""A machine of fakes, and a cluster on it that grows and shrinks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_kubernetes import KEYS, OK, FakeApi, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import (
    bringup,
    cluster,
    entrance,
    first_plane,
    host,
    kube,
    kubeadm,
    lifecycle,
    loadbalancer,
    scaling,
    undertaking,
)
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.images import build
from kubedrill.images.build import Built
from kubedrill.images.store import Store
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result
from kubedrill.spec import load_mapping
from kubedrill.wait import until

STORE = Store("a-store", "v1.37.2", "3.7.3", "v1.15.0", "flannel:x", "pause:x", ())
CHANGES = (("systemctl", "reload-or-restart"), ("systemctl", "restart"), ("kubectl", "drain"))
CONFIGURATION = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: 172.28.0.11:6443
apiServer: {certSANs: [127.0.0.1, localhost, 172.28.0.11], extraArgs: [{name: v, value: "4"}]}
"""


class World:
    """A machine of fakes, and a cluster on it."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes(answers=self.answer)
        self.provider = FakeProvider(script=self.kubernetes.script)
        self.place = Lab(cast(Engine, None), self.provider, frozenset())
        self.fails = ""
        self.process, self.reloading = 54, 0

    def answer(self, _node: FakeNode, call: Call) -> Result | None:
        """What the fake cluster does not know: kubectl and kubeadm of an entrance that moves."""
        if self.fails and self.fails in call.line:
            return Result(1, "", "it broke")
        if call.argv[:2] == ("systemctl", "reload-or-restart"):
            self.process += 1
        if "show info" in call.line:
            late = "health down" in call.line and self.reloading > 0
            self.reloading -= late
            return Result(0, f"Name: HAProxy\nPid: {self.process - late}\nUptime: 0d\n", "")
        if "jsonpath={.data.ClusterConfiguration}" in call.line:
            return Result(0, CONFIGURATION, "")
        if call.argv[:3] == ("kubectl", "get", "node"):
            return Result(0, f"node/{call.argv[3]}\n" if call.argv[3] in self.kubernetes.registered else "", "")
        if call.argv[0] == "curl":
            return Result(0, "ok", "")
        if "endpointslice" in call.argv:
            return Result(0, "172.28.0.11", "")
        if call.argv[0] == "rm" or call.argv[:2] in CHANGES:
            return OK
        if call.argv[:3] == ("kubectl", "delete", "pods"):
            return OK
        if call.argv[:2] == ("kubectl", "--namespace") and call.argv[3] in ("rollout", "set"):
            return OK
        return None

    @property
    def there(self) -> Cluster:
        """The cluster as it is recorded."""
        return cluster.attach(self.provider, "lab")

    def up(self, **settings: Any) -> None:
        """Bring it up."""
        cluster.up(self.place, load_mapping(settings, source="a test"), Console())
        self.provider.events.clear()

    def add(self, *, control_plane: bool = False) -> Cluster:
        """One more."""
        return scaling.add(self.place, self.there, Console(), control_plane=control_plane)

    def remove(self, name: str, unbalanced: Callable[[], None] = lambda: None) -> Cluster:
        """One less."""
        return scaling.remove(self.provider, self.there, name, Console(), unbalanced=unbalanced)

    def metadata(self) -> dict[str, str]:
        """What is kept with the cluster."""
        found = self.provider.network("lab")
        assert found is not None
        return dict(found.metadata)

    def behind(self) -> list[str]:
        """Who is behind the balancer."""
        text = self.provider.node("lab-load-balancer").text(loadbalancer.CONFIG_PATH)
        return [
            line.split()[1] for line in text.splitlines() if line.strip().startswith("server lab") and " check " in line
        ]

    def order(self, *beginnings: str) -> list[str]:
        """Which of some commands and events happened, in order."""
        lines = [" ".join(event) for event in self.provider.events if event[0] != "ran"]
        return [begin for line in lines for begin in beginnings if begin in line]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine on which everything is built already."""
    made = World()

    def api(text: str, timeout: float = 0) -> FakeApi:
        assert re.search(r"https://(127|172)\.", text)
        return FakeApi(made.kubernetes, made.provider)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(cluster.room, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(build, "ensure", lambda *_, **__: Built("kubedrill/node:x", STORE))
    monkeypatch.setattr(build, "is_built", lambda *_, **__: True)
    monkeypatch.setattr(host, "host_networks", list)
    monkeypatch.setattr(host, "upstream_nameservers", lambda: ["192.0.2.53"])
    for module in (bringup, first_plane):
        monkeypatch.setattr(module, "Kube", api)
    monkeypatch.setattr(lifecycle, "Kube", api)
    monkeypatch.setattr(lifecycle, "look", lambda api: lifecycle.Seen(api.cluster(), {}, (), {}))
    for module in (undertaking, lifecycle, entrance, scaling):
        monkeypatch.setattr(module, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made
