"""All that a node needs, built or found: the node image and the image store of a Kubernetes version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kubedrill.images import components, node, rootfs, store
from kubedrill.providers.docker_engine import Engine


@dataclass(frozen=True)
class Built:
    """What nodes of a cluster are made of."""

    node_image: str
    store: store.Store


def is_built(engine: Engine, kubernetes: str) -> bool:
    """Whether `ensure` would find all of it."""
    suite, compiler = rootfs.choose(), components.go_version()
    found = store.find(engine, store.name(kubernetes, suite, compiler))
    return found is not None and engine.has_image(node.name(suite, compiler))


def ensure(
    engine: Engine, kubernetes: str, missing: frozenset[str], say: Callable[[str], None], source: str = "auto"
) -> Built:
    """Build what is not there yet, from modules and the distribution's archive.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        missing: capabilities that the engine lacks.
        say: told of each thing built, and how long it took.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    suite = rootfs.choose()
    compiler = components.go_version()
    return Built(
        node.ensure(engine, suite, compiler, say),
        store.ensure(engine, kubernetes, suite, compiler, missing, say),
    )
