"""What a cluster is to be, kept with it: labels of its network, and of a volume where that has changed since.

Labels cannot be changed. A change is a new, empty volume that carries all of them; the one with the highest number
counts, so that a change that was cut off has either happened or not.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubedrill.errors import NotFound
from kubedrill.providers.base import NetworkSpec
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.docker_names import CLUSTER, META

# The label that numbers changes.
CHANGE = "kubedrill.change"


def read(engine: Engine, cluster: str) -> NetworkSpec | None:
    """The network of a cluster and what is kept with it, None where there is none."""
    for found in engine.networks(f"{CLUSTER}={cluster}"):
        changes = _changes(engine, cluster)
        labels = changes[max(changes)] if changes else found["Labels"]
        metadata = {key.removeprefix(META): value for key, value in labels.items() if key.startswith(META)}
        return NetworkSpec(found["IPAM"]["Config"][0]["Subnet"], metadata)
    return None


def change(engine: Engine, cluster: str, metadata: Mapping[str, str]) -> None:
    """Keep something else with a cluster from now on.

    Args:
        engine: Docker's engine.
        cluster: its name.
        metadata: all of it; what is not in it is forgotten.

    Raises:
        NotFound: there is no such cluster.
    """
    there = read(engine, cluster)
    if there is None:
        raise NotFound(f"there is no cluster '{cluster}'")
    if dict(there.metadata) == dict(metadata):
        return
    changes = _changes(engine, cluster)
    number = max(changes, default=0) + 1
    labels = {META + key: value for key, value in metadata.items()}
    engine.create_volume(_name(cluster, number), {CLUSTER: cluster, CHANGE: str(number), **labels})
    for older in changes:
        engine.remove_volume(_name(cluster, older))


def _changes(engine: Engine, cluster: str) -> dict[int, Mapping[str, str]]:
    volumes = engine.volumes(f"{CLUSTER}={cluster}")
    return {int(one["Labels"][CHANGE]): one["Labels"] for one in volumes if CHANGE in (one["Labels"] or {})}


def _name(cluster: str, number: int) -> str:
    # A name with a dot is none of a node, so its volume is none of a node's disks.
    return f"kubedrill-{cluster}.change-{number}"
