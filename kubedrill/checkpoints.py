"""A whole cluster kept as it was at one moment, and put back: a suite of drills can start each from the same state."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kubedrill import cluster as clusters
from kubedrill import journal_folders, lifecycle, status
from kubedrill.cluster import Cluster
from kubedrill.console import Reporter
from kubedrill.errors import OF_CONTAINERS, InvalidSpec, KubedrillError, NotFound
from kubedrill.marks import need_restored
from kubedrill.providers.base import Keeper, Provider, Saved
from kubedrill.providers.places import VMS
from kubedrill.spec import MAX_NAME

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def valid_name(name: str) -> str:
    """The name of a checkpoint, if it is one; it ends up in names of volumes and images.

    Raises:
        InvalidSpec: it is none.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidSpec(
            f"{name!r} is no name for a checkpoint",
            evidence=[f"up to {MAX_NAME} lower-case letters, digits and '-', with a letter or digit at both ends"],
        )
    return name


def take(provider: Provider, cluster: Cluster, name: str, console: Reporter) -> Saved:
    """Stop a cluster, keep it, and start it again if it ran.

    Args:
        provider: where its nodes come from.
        cluster: a healthy cluster, or one that is stopped.
        name: the checkpoint's.
        console: told of each step.

    Raises:
        InvalidSpec: that is no name, or there is a checkpoint of that name.
        KubedrillError: the cluster is not as it should be, or could not be kept; it runs again then.
    """
    keeper, whose = keeper_of(provider), cluster.spec.name
    if valid_name(name) in [one.name for one in keeper.saved(whose)]:
        raise InvalidSpec(
            f"there is a checkpoint '{name}' of {whose} already; it was left as it is",
            todo=["give another name", f"or remove it first: invoke checkpoint --remove {name} --name {whose}"],
        )
    need_restored(whose, cluster.restoring)
    found = set(lifecycle.states(cluster).values())
    if found != {"stopped"}:
        lifecycle.need_running(cluster)
        seen = status.of(cluster)
        if not seen.healthy:
            raise KubedrillError(
                f"{whose} is not healthy: a checkpoint of it would bring that back each time",
                evidence=[f"API: {seen.summary}", *(f"{node.name}: {node.kubernetes}" for node in seen.nodes)],
                todo=[f"see: invoke status --name {whose}", "or stop it first: what is stopped is kept as it is"],
            )
    try:
        if found != {"stopped"}:
            lifecycle.stop(cluster, console)
        with console.step(f"checkpoint {name} of {whose} is kept"):
            saved = keeper.save(whose, name)
    finally:
        if found != {"stopped"}:
            lifecycle.whole(cluster, console)
    return saved


def restore(provider: Provider, whose: str, name: str, console: Reporter, *, forget: bool = True) -> Cluster:
    """Put a cluster back to a checkpoint, whatever became of it since, and start it.

    Args:
        provider: where its nodes come from.
        whose: the name of a cluster.
        name: the checkpoint's.
        console: told of each step.
        forget: whether its journal is forgotten; one whose entry this undoes is left to whoever does that.

    Returns:
        The cluster as it is then: all that happened since the checkpoint is gone.

    Raises:
        NotFound: there is no such cluster or checkpoint; nothing was changed.
        KubedrillError: it is one of VMs; or it could not be put back, or did not start: doing it again begins anew.
    """
    need(provider, whose, name)
    keeper = keeper_of(provider)
    with console.step(f"{whose} is as it was at checkpoint {name}"):
        keeper.put_back(whose, name)
    # What a drill broke since is not broken in what was put back.
    if forget:
        journal_folders.forget(whose)
    restored = clusters.attach(provider, whose)
    clusters.republish(restored)
    lifecycle.whole(restored, console)
    return restored


def need(provider: Provider, whose: str, name: str) -> Cluster:
    """See that a cluster can be put back to a checkpoint, before anything is changed.

    Args:
        provider: where its nodes come from.
        whose: the name of the cluster.
        name: the checkpoint's.

    Returns:
        The cluster.

    Raises:
        InvalidSpec: that is no name of a checkpoint, or no cluster was named.
        NotFound: there is no such cluster or checkpoint.
        KubedrillError: it is one of VMs, which have no checkpoints.
    """
    valid_name(name)
    if not whose:
        raise InvalidSpec(f"of which cluster is the checkpoint '{name}'?", todo=["name it, too: --name lab"])
    found = clusters.attach(provider, whose)
    if found.spec.provider == VMS:
        raise KubedrillError(f"{whose} is made of VMs, and has no checkpoints", todo=[OF_CONTAINERS])
    known = [one.name for one in keeper_of(provider).saved(whose)]
    if name not in known:
        raise NotFound(
            f"there is no checkpoint '{name}' of {whose}",
            evidence=[f"checkpoints: {', '.join(known) or 'none'}"],
            todo=[f"make one with: invoke checkpoint {name} --name {whose}"],
        )
    return found


def keeper_of(provider: Provider) -> Keeper:
    """The provider as one that keeps checkpoints.

    Raises:
        KubedrillError: it cannot.
    """
    if not isinstance(provider, Keeper):
        raise KubedrillError(
            "nodes of this provider cannot be kept as checkpoints",
            todo=[OF_CONTAINERS],
        )
    return provider


def listed(provider: Provider, whose: str) -> Sequence[Saved]:
    """The checkpoints of a cluster; none where its provider cannot keep any."""
    return provider.saved(whose) if isinstance(provider, Keeper) else ()
