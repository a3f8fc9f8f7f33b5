"""A cluster of fakes, and what it takes to bring it up."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

import pytest
from fake_kubernetes import KEYS, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import bringup, first_plane, join_phases, kube, kubeadm, undertaking
from kubedrill.bringup import BringUp, Made
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.network import Addresses
from kubedrill.providers.base import NetworkSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

MACHINE = kubeadm.Machine(cgroup=2, etcd_tag=None, dns_tag=None)
MADE = Made("kubedrill/node:x", {"v1.37.2": "a-store"}, "flannel:x", MACHINE, ("192.0.2.53",))
SUBNET = IPv4Network("172.28.0.0/24")
API_PORT = 16443
SECRETS = (KEYS.token, KEYS.certificate_key)
# Far below every limit of bring-up (60 s and more), far above what a fake needs.
SOON = 10


@dataclass
class Run:
    """A cluster of fakes, and what it takes to bring it up."""

    kubernetes: FakeKubernetes = field(default_factory=FakeKubernetes)
    published: list[str] = field(default_factory=list)
    controllers: threading.Event = field(default_factory=threading.Event)
    tokens: threading.Event = field(default_factory=threading.Event)
    roles: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.roles.set()
        self.controllers.set()
        self.tokens.set()
        self.console = Console(show_commands=True)
        self.provider = FakeProvider(script=self.kubernetes.script, observer=self.console.command)
        self.provider.create_network("lab", NetworkSpec(str(SUBNET), {}))

    def up(self, spec: ClusterSpec) -> None:
        """Bring it up, as far as it is not."""
        existing = {node.name: node for node in self.provider.nodes("lab")}
        self.provider.events.clear()

        def publish(admin: str) -> str:
            self.published.append(admin)
            return "a kubeconfig"

        self.provider.each_for_itself.clear()
        try:
            BringUp(spec, Addresses(SUBNET), self.provider, MADE, API_PORT, self.console, existing).run(publish)
        finally:
            assert self.provider.keepers == 0

    def fails(self, spec: ClusterSpec) -> str:
        """Bring it up in vain, and soon; gives what the user is told."""
        began = time.monotonic()
        with pytest.raises(KubedrillError) as caught:
            self.up(spec)
        assert time.monotonic() - began < SOON
        return str(caught.value)

    def at(self, *event: str) -> int:
        """When something happened for the first time; an event is given by its beginning."""
        for number, found in enumerate(self.provider.events):
            if found[: len(event) - 1] == event[:-1] and found[len(event) - 1].startswith(event[-1]):
                return number
        raise AssertionError(f"{event} never happened: {self.provider.events}")

    def ran(self, beginning: str) -> list[str]:
        """The nodes that ran a command, in order."""
        return [event[1] for event in self.provider.events if event[0] == "run" and event[2].startswith(beginning)]

    def joins(self) -> list[str]:
        """The nodes that ran `kubeadm join`, in order; of control planes the part that makes them members."""
        return [event[1] for event in self.provider.events if event[0] == "run" and joins(event[2])]

    def node(self, name: str) -> FakeNode:
        """One of its nodes."""
        return self.provider.node(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in which waiting is quick, and the secrets and the API are the fake's."""
    made = Run()

    class FakeKube:
        """The API of the fake cluster."""

        def __init__(self, text: str) -> None:
            self.published = text == "a kubeconfig"
            assert self.published or f"https://127.0.0.1:{API_PORT}" in text

        def readyz(self, *without: str) -> str:
            """Whether it answers."""
            return made.kubernetes.readyz(*without)

        def has_namespace(self, name: str) -> bool:
            """Whether the API server serves."""
            return made.kubernetes.readyz(name) == "ok"

        def make_priority_class(self, wanted: Mapping[str, Any]) -> None:
            """Made, if the API answers."""
            made.kubernetes.readyz()
            made.provider.note("made", wanted["metadata"]["name"])

        def has_config_map(self, namespace: str, name: str) -> bool:
            """Whether the controller manager has come so far."""
            made.provider.note("asked", namespace, name)
            return (made.tokens if name == "cluster-info" else made.controllers).is_set()

        def has_cluster_role(self, name: str) -> bool:
            """Whether the API server has made its roles so far."""
            made.provider.note("asked", name)
            return made.roles.is_set()

        def coredns(self) -> kube.WorkloadSnapshot | None:
            """CoreDNS, if it is there."""
            return self.cluster().coredns

        def nodes(self) -> tuple[kube.NodeSnapshot, ...]:
            """All that there are."""
            return tuple(self.cluster().nodes)

        def cluster(self) -> kube.ClusterSnapshot:
            """What is there."""
            assert self.published, "what `publish` returned is used"
            return made.kubernetes.snapshot(made.provider)

    def quick(*arguments: Any, **settings: Any) -> Any:
        return until(*arguments, **{**settings, "every": 0.005})

    for module in (bringup, first_plane):
        monkeypatch.setattr(module, "Kube", FakeKube)
    monkeypatch.setattr(undertaking, "until", quick)
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made


def spec_of(control_planes: int = 1, workers: int = 2, **others: Any) -> ClusterSpec:
    return ClusterSpec(control_planes=control_planes, workers=workers, **others)


def joins(line: str) -> bool:
    """Whether a command makes a node part of the cluster, or of a control plane its etcd: neither before nor after."""
    return line in (shlex.join(join_phases.WHOLE), shlex.join(join_phases.ETCD))


def fail(
    node_name: str, beginning: str, output: str = "boom", status: int = 1
) -> Callable[[FakeNode, Call], Result | None]:
    """An answer that makes a command fail on a node."""

    def answer(node: FakeNode, call: Call) -> Result | None:
        matches = node.name == node_name and call.line.startswith(beginning)
        return Result(status, "", output) if matches else None

    return answer
