"""Containers and VMs side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from fakes import FakeProvider

from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.providers.places import KIND, Places


@dataclass
class World:
    """Two providers, and both as one."""

    containers: FakeProvider = field(default_factory=FakeProvider)
    machines: FakeProvider = field(default_factory=lambda: FakeProvider(slow=17))

    @property
    def places(self) -> Places:
        return Places(self.containers, self.machines)


@pytest.fixture
def world() -> World:
    made = World()
    made.places.create_network("lab", NetworkSpec("172.28.1.0/24", {}))
    made.places.create_network("vms", NetworkSpec("172.28.2.0/24", {KIND: "vagrant"}))
    return made


def test_a_cluster_is_made_by_the_provider_that_it_asks_for(world: World) -> None:
    assert (list(world.containers.clusters()), list(world.machines.clusters())) == (["lab"], ["vms"])
    assert list(world.places.clusters()) == ["lab", "vms"]
    assert sorted(world.places.used_subnets()) == ["172.28.1.0/24", "172.28.2.0/24"]


@pytest.mark.parametrize(("name", "slow"), [("lab", 1.0), ("vms", 17.0)])
def test_and_found_again_wherever_it_is(world: World, name: str, slow: float) -> None:
    places, last = world.places, 1 if name == "lab" else 2
    made = places.create_node(name, NodeSpec(f"{name}-worker-1", "worker", f"172.28.{last}.101", "x"))
    assert [node.name for node in places.nodes(name)] == [made.name]
    assert places.slowness(name) == slow
    assert places.network(name) is not None
    assert made.name in " ".join(places.remove_cluster(name))
    assert name not in places.clusters()
    assert places.network(name) is None


def test_a_cluster_that_is_nowhere(world: World) -> None:
    assert world.places.network("none") is None
    assert list(world.places.nodes("none")) == []
    assert list(world.places.remove_cluster("none")) == []
