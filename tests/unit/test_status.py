"""How a cluster is said to be: hollow nodes count, too."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fake_kubernetes import ADMIN
from fake_node import Stored
from fake_provider import FakeProvider

from kubedrill import cluster, commands, status
from kubedrill.console import Console
from kubedrill.kube import ApiUnavailable, NodeSnapshot
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.spec import load

Capture = pytest.CaptureFixture[str]


class World:
    """A cluster of one control plane and some hollow nodes, and its API."""

    def __init__(self, hollow: int) -> None:
        self.provider = FakeProvider()
        spec = load(None, {"workers": 0, "hollow": hollow})
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {"spec": spec.to_json(), "api-port": "1"}))
        self.provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "an image"))
        self.provider.node("lab-control-plane-1").disk["/etc/kubernetes/admin.conf"] = Stored(ADMIN.encode(), 0o600)
        self.ready = {f"hollow-{number}": True for number in range(1, hollow + 1)}
        self.answers = True
        self.asked: list[str] = []

    def api(self, text: str, timeout: float) -> Any:
        """A client of its API."""
        return self

    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """Those that are computers."""
        self.asked.append("nodes")
        return (NodeSnapshot("lab-control-plane-1", True, "", True, False, (), "172.28.0.11", "v1.37.2"),)

    def hollow(self) -> dict[str, bool]:
        """Those that are none.

        Raises:
            ApiUnavailable: it does not answer.
        """
        self.asked.append("hollow")
        if not self.answers:
            raise ApiUnavailable("the API does not answer")
        return self.ready

    def status(self) -> status.ClusterStatus:
        """How it is said to be."""
        return status.of(cluster.attach(self.provider, "lab"))


def world_of(monkeypatch: pytest.MonkeyPatch, hollow: int) -> World:
    made = World(hollow)
    monkeypatch.setattr(status, "Kube", made.api)
    monkeypatch.setattr(cluster, "lab", lambda _: SimpleNamespace(provider=made.provider))
    return made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return world_of(monkeypatch, 1000)


def test_all_are_ready(world: World) -> None:
    found = world.status()
    assert found.healthy
    assert (found.hollow_ready, found.hollow) == (1000, 1000)
    assert found.summary == "answers; hollow nodes: 1000 of 1000 are Ready"
    assert world.asked == ["nodes", "hollow"], "one request for all of them"


@pytest.mark.parametrize("silent", [1, 1000])
def test_some_are_not_as_where_kwok_is_dead(world: World, silent: int) -> None:
    world.ready |= {f"hollow-{number}": False for number in range(1, silent + 1)}
    found = world.status()
    assert not found.healthy
    assert found.hollow_ready == 1000 - silent
    assert f"{1000 - silent} of 1000 are Ready; the same `invoke up` again starts kwok" in found.summary


def test_one_that_is_gone_is_not_ready(world: World) -> None:
    del world.ready["hollow-7"]
    assert not world.status().healthy


def test_an_api_that_answers_no_more(world: World) -> None:
    world.answers = False
    found = world.status()
    assert (found.healthy, found.hollow_ready) == (False, 0)
    assert found.api.startswith("the API does not answer")


def test_a_cluster_without_them_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(monkeypatch, 0)
    found = world.status()
    assert found.healthy
    assert found.summary == "answers"
    assert world.asked == ["nodes"]


def test_printed(world: World, capsys: Capture) -> None:
    assert commands.status(Console(), "lab", as_json=False) == 0
    assert "hollow nodes: 1000 of 1000 are Ready\n" in capsys.readouterr().out
    world.ready = dict.fromkeys(world.ready, False)
    assert commands.status(Console(), "lab", as_json=True) == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["hollow_ready"], told["hollow"], told["healthy"]) == (0, 1000, False)


def test_hollow_nodes_that_nobody_was_asked_for_are_not_said_to_be_away() -> None:
    """kwok need not be dead where the API is: what the API does says what to do."""
    away = status.ClusterStatus("lab", "v1.37.2", "https://x", "lab is stopped", False, (), 100)
    assert away.of_hollow == "hollow nodes: 100, not seen"
    answers = status.ClusterStatus("lab", "v1.37.2", "https://x", status.ANSWERS, False, (), 100, 3)
    assert "3 of 100 are Ready; the same `invoke up`" in answers.of_hollow
