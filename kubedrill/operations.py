"""What the invoke tasks do that change a cluster which is there, each of them alone: from words to words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from kubedrill import checkpoints, lifecycle, registries, scaling
from kubedrill import cluster as clusters
from kubedrill import load as loading
from kubedrill import upgrade as upgrades
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.journal import Journal


def stop(console: Console, name: str) -> None:
    """Shut a cluster down in order."""
    with _alone(console, name) as (_, there):
        did = lifecycle.stop(there, console)
    console.say(f"{name} is stopped{'' if did else ' already'}; it goes on with: invoke start --name {name}")


def start(console: Console, name: str) -> None:
    """Bring a stopped cluster back, and wait until it is whole."""
    with _alone(console, name) as (_, there):
        did = lifecycle.whole(there, console)
    console.say(f"{name} {'is up again' if did else 'runs already'}: API at {there.server}")


def pause(console: Console, name: str) -> None:
    """Freeze a cluster.

    Raises:
        KubedrillError: none of its nodes runs.
    """
    with _alone(console, name) as (_, there):
        did = lifecycle.pause(there, console)
        if not did and "paused" not in lifecycle.states(there).values():
            lifecycle.need_running(there)
    console.say(f"{name} is paused{'' if did else ' already'}; it goes on with: invoke resume --name {name}")


def resume(console: Console, name: str) -> None:
    """Let a paused cluster go on, and wait until it works again.

    Raises:
        KubedrillError: a node is stopped, not paused.
    """
    with _alone(console, name) as (_, there):
        did = lifecycle.whole_after_pause(there, console)
    console.say(f"{name} {'goes on' if did else 'was not paused'}: API at {there.server}")


def checkpoint(console: Console, checkpoint: str | None, name: str, *, listing: bool, remove: str) -> None:
    """Keep a cluster as it is, list what was kept of it, or remove one of that.

    Raises:
        InvalidSpec: not one of the three was asked for.
    """
    if [bool(checkpoint), listing, bool(remove)].count(True) != 1:
        raise InvalidSpec(
            "what about checkpoints?",
            todo=["keep the cluster: invoke checkpoint NAME", "or: invoke checkpoint --list",
                  "or: invoke checkpoint --remove NAME"],
        )  # fmt: skip
    if listing:
        _list(console, name)
    elif remove:
        with _alone(console, name) as (place, _):
            _healed(name)  # it may be the one that a drill is to be undone with
            if not checkpoints.keeper_of(place.provider).forget(name, checkpoints.valid_name(remove)):
                known = ", ".join(one.name for one in checkpoints.listed(place.provider, name)) or "none"
                raise NotFound(
                    f"there is no checkpoint '{remove}' of {name}", evidence=[f"checkpoints: {known}"],
                    todo=[f"invoke checkpoint --list --name {name}"],
                )  # fmt: skip
        console.say(f"the checkpoint {remove} of {name} is gone")
    elif checkpoint:
        with _alone(console, name) as (place, there):
            _healed(name)
            kept = checkpoints.take(place.provider, there, checkpoint, console)
        console.say(f"checkpoint {kept.name}: {len(kept.nodes)} nodes, {kept.mebibytes} MiB")
        console.line(f"invoke restore {kept.name} --name {name}    # all that happens from now on is gone then")


def restore(console: Console, checkpoint: str, name: str) -> None:
    """Put a cluster back to a checkpoint."""
    with _alone(console, name) as (place, _):
        there = checkpoints.restore(place.provider, name, checkpoint, console)
    console.say(f"{name} is as it was at checkpoint {checkpoint}: {len(there.nodes)} nodes, API at {there.server}")


def need_checkpoint(console: Console, checkpoint: str, name: str) -> None:
    """See that drills can begin from a checkpoint, before the first of them does.

    Raises:
        InvalidSpec: no cluster was named.
        NotFound: there is no such cluster or checkpoint.
        KubedrillError: it is one of VMs, which have no checkpoints.
    """
    place = clusters.lab(console)
    place.provider.check()
    checkpoints.need(place.provider, name, checkpoint)


def add_node(console: Console, name: str, *, control_plane: bool) -> None:
    """One more node."""
    with _alone(console, name) as (place, there):
        _healed(name)
        more = scaling.add(place, there, console, control_plane=control_plane)
    new = ", ".join(sorted({node.name for node in more.nodes} - {node.name for node in there.nodes}))
    size = f"{more.spec.control_planes} control planes, {more.spec.workers} workers"
    console.say(f"{name} has {new or 'all its nodes'} now: {size}")
    if more.server != there.server:
        console.say(f"its API is reached through the balancer from now on: {more.server}")


def remove_node(console: Console, node: str, name: str) -> None:
    """One node less."""
    with _alone(console, name) as (place, there):
        _healed(name)
        left = scaling.remove(place.provider, there, node, console)
    console.say(f"{name} is without {node} now: {left.spec.control_planes} control planes, {left.spec.workers} workers")
    if left.server != there.server:
        console.say(f"its API is reached without a balancer from now on: {left.server}")


def upgrade(console: Console, to: str, name: str) -> None:
    """Another Kubernetes version."""
    with _alone(console, name) as (place, there):
        _healed(name)
        now = upgrades.upgrade(place, there, to, console)
    if now is not there:
        nodes = f"{len(now.spec.node_keys())} nodes"
        etcd = f", {len(now.spec.etcd_keys())} computers of etcd" if now.spec.etcd_keys() else ""
        console.say(f"{name} has Kubernetes {now.spec.version()} now: {nodes}{etcd}, API at {now.server}")


def load(console: Console, name: str, image: str, *, registry: bool) -> None:
    """Bring an image into every node, or into the lab's registry, where nodes find it when they want it."""
    with _alone(console, name) as (place, there):
        lifecycle.need_running(there)
        if registry:
            with console.step(f"{image} is in the registry of {name}, and its nodes look there first"):
                loading.load(place.engine, image, there.nodes, partial(registries.bring, say=console.say))
        else:
            with console.step(f"{image} is in every node of {name}"):
                loading.load(place.engine, image, there.nodes)


def run_registry(console: Console, name: str, source: str, upstream: str) -> None:
    """Run a registry in the lab: one that images are brought to, or a cache of another one."""
    # Alone: two at once would choose the same port.
    with _alone(console, name) as (_, there):
        lifecycle.need_running(there)
        if source:
            with console.step(f"a cache of {source} answers, and the nodes of {name} ask it first"):
                found = registries.mirror(there.nodes, source, upstream, console.say)
            console.say(f"it is at {found.url}, and gets what it lacks from {found.upstream}")
        else:
            with console.step(f"the registry of {name} answers"):
                found = registries.lab_registry(there.nodes, console.say)
            console.say(f"it is at {found.url}; bring images to it with: invoke load IMAGE --registry --name {name}")


def _healed(name: str) -> None:
    if not Journal.of(name).is_empty():
        raise KubedrillError(f"{name} carries what a drill broke", todo=[f"run: invoke heal --name {name}"])


def _list(console: Console, name: str) -> None:
    place = clusters.lab(console)
    place.provider.check()
    clusters.attach(place.provider, name)
    rows = [
        (one.name, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.taken)), str(len(one.nodes)),
         f"{one.mebibytes} MiB")
        for one in checkpoints.listed(place.provider, name)
    ]  # fmt: skip
    if rows:
        console.table(("checkpoint", "taken", "nodes", "size"), rows)
    else:
        console.line(f"{name} has no checkpoint; make one with: invoke checkpoint NAME --name {name}")


@contextlib.contextmanager
def _alone(console: Console, name: str) -> Iterator[tuple[Lab, Cluster]]:
    """The cluster of that name, which nobody else changes or drills meanwhile.

    Raises:
        NotFound: there is none.
        Busy: somebody is at work on it.
    """
    place = clusters.lab(console)
    place.provider.check()
    clusters.attach(place.provider, name)
    with clusters.only_one(name):
        Journal.of(name).claim()
        # As it is now: somebody may have changed it until a moment ago.
        yield place, clusters.attach(place.provider, name)
