"""What is kept with a cluster: which one it is to be, and where its API is reached."""

from __future__ import annotations

from collections.abc import Mapping

from kubedrill.errors import OF_CONTAINERS, KubedrillError
from kubedrill.providers.base import Changeable, Provider
from kubedrill.spec import ClusterSpec


def metadata(provider: Provider, name: str) -> Mapping[str, str]:
    """All that is kept with a cluster.

    Raises:
        KubedrillError: its network is gone, and with it what was kept.
    """
    found = provider.network(name)
    if found is None:
        raise KubedrillError(f"the network of {name} is gone", todo=[f"run: invoke down --name {name}"])
    return found.metadata


def change(provider: Provider, name: str, metadata: Mapping[str, str]) -> None:
    """Keep something else with a cluster from now on; what is not in it is forgotten.

    Raises:
        KubedrillError: clusters of this provider stay as they are.
    """
    if not isinstance(provider, Changeable):
        raise KubedrillError(
            "clusters of this provider keep their size and version",
            todo=[OF_CONTAINERS],
        )
    provider.change(name, metadata)


def record(provider: Provider, spec: ClusterSpec) -> None:
    """Keep another spec with a cluster, and all else as it is."""
    change(provider, spec.name, {**metadata(provider, spec.name), "spec": spec.to_json()})
