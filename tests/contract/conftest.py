"""The providers that the contract is put to: the fake, Docker's engine (marked `engine`), VMs (`vagrant`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from place import Place, docker, fake, vagrant

from kubedrill.providers.base import Node

# What takes no second VM and no boot but the first: the short part, a few minutes under software emulation.
SHORT = ("TestNetwork", "TestRun", "TestFiles")
KINDS = {"fake": fake, "docker": docker, "vagrant": vagrant}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In VMs, all but the short part is slow."""
    for item in items:
        here = item.path.parent == Path(__file__).parent and item.get_closest_marker("vagrant")
        if here and item.parent is not None and item.parent.name not in SHORT:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(
    scope="module",
    params=[
        "fake",
        pytest.param("docker", marks=pytest.mark.engine),
        pytest.param("vagrant", marks=pytest.mark.vagrant),
    ],
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A provider under test; its clusters are removed at the end."""
    kind: str = request.param
    provider, image = KINDS[kind]()
    made = Place(kind, provider, image)
    yield made
    for cluster in made.made:
        provider.remove_cluster(cluster)
    assert not set(made.made) & set(provider.clusters()), "the tests left something behind"


@pytest.fixture(scope="module")
def home(place: Place) -> str:
    """A cluster for the tests that need any cluster."""
    return place.cluster("home")


@pytest.fixture(scope="module")
def steady(place: Place, home: str) -> Node:
    """A node that runs all the time."""
    return place.node(home, 1)


@pytest.fixture(scope="module")
def subject(place: Place, home: str) -> Node:
    """A node that goes up and down."""
    return place.node(home, 2)


@pytest.fixture(scope="module")
def gone(place: Place, home: str) -> Node:
    """A node that was removed."""
    node = place.provider.create_node(home, place.spec(home, "load-balancer", 4))
    node.remove()
    return node
