"""The providers that the contract is put to: the fake, and Docker's engine (marked `engine`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from place import Place, docker, fake

from kubedrill.providers.base import Node


@pytest.fixture(scope="module", params=["fake", pytest.param("docker", marks=pytest.mark.engine)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A provider under test; its clusters are removed at the end."""
    kind: str = request.param
    provider, image = fake() if kind == "fake" else docker()
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
