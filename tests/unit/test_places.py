"""Containers and VMs side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
from fake_provider import FakeProvider

from kubedrill.errors import KubedrillError
from kubedrill.providers.base import NetworkSpec, NodeSpec, Provider
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


def test_the_ways_into_all_nodes_are_kept_open(world: World) -> None:
    with world.places.kept_open():
        assert (world.containers.keepers, world.machines.keepers) == (1, 1)
    assert (world.containers.keepers, world.machines.keepers) == (0, 0)


def test_a_cluster_that_is_nowhere(world: World) -> None:
    assert world.places.network("none") is None
    assert list(world.places.nodes("none")) == []
    assert list(world.places.remove_cluster("none")) == []


def test_clusters_are_kept_and_changed_by_their_own_provider(world: World) -> None:
    places = world.places
    places.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.1.101", "x")).stop()
    kept = places.save("lab", "clean")
    assert list(places.saved("lab")) == list(world.containers.saved("lab")) == [kept]
    places.change("lab", {"spec": "another"})
    places.put_back("lab", "clean")
    found = places.network("lab")
    assert found is not None
    assert found.metadata == {}, "as it was then"
    assert places.forget("lab", "clean")
    assert list(places.saved("lab")) == []


def test_vms_have_no_checkpoints_and_keep_their_size(world: World) -> None:
    """The provider of VMs can do less; a cluster of them can be looked at and taken down all the same."""

    class Less:
        """A provider without what containers can do besides."""

        clusters = world.machines.clusters

    places = Places(world.containers, cast(Provider, Less()))
    assert places.saved("vms") == ()
    for task in (
        lambda: places.save("vms", "clean"),
        lambda: places.put_back("vms", "clean"),
        lambda: places.forget("vms", "clean"),
    ):
        with pytest.raises(KubedrillError, match="vms is made of VMs"):
            task()
    with pytest.raises(KubedrillError, match="the provider of vms keep their size"):
        places.change("vms", {})
