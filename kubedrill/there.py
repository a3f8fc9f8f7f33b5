"""What there is of a cluster that is asked for: all of it, a part, or what an interrupted run left."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill import kubeadm
from kubedrill.console import Reporter
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.etcd_members import forget_member
from kubedrill.marks import JOINED, READY, RESTORING, has_file, need_restored
from kubedrill.providers.base import Keeper, Node, Provider
from kubedrill.spec import ClusterSpec


def found(provider: Provider, spec: ClusterSpec, console: Reporter) -> tuple[bool, dict[str, Node]]:
    """Whether to begin afresh, and the nodes that have joined already; what is of no use is removed.

    Args:
        provider: where its nodes come from.
        spec: the cluster asked for.
        console: told of what is removed.

    Raises:
        InvalidSpec: a cluster of that name is there, and differs.
        KubedrillError: what would have to be removed has checkpoints, or cannot be made anew; or it is half put back.
    """
    there = provider.network(spec.name)
    if there is None:
        if spec.name in provider.clusters():
            console.say(f"removing what an interrupted run left of {spec.name}")
            provider.remove_cluster(spec.name)
        return True, {}
    need_restored(spec.name, there.metadata.get(RESTORING, ""))
    differences = spec.differences(ClusterSpec.from_json(there.metadata["spec"]))
    if differences:
        raise InvalidSpec(
            f"a cluster '{spec.name}' is there, and differs from the one asked for; nothing was changed",
            evidence=differences,
            todo=[
                *_ways(spec, ClusterSpec.from_json(there.metadata["spec"])),
                "as it is: leave those flags out",
                "or give another --name",
                f"or remove it first: invoke down --name {spec.name}",
            ],
        )
    nodes = provider.nodes(spec.name)
    ready = joined(nodes)
    unfinished = [node for node in nodes if node.name not in ready]
    leader = ready.get(kubeadm.node_name(spec, "control-plane-1"))
    # A half-joined control plane may hold half of etcd's votes; before there is anything to lose, a new start is safer.
    split = any(node.role in ("control-plane", "etcd") for node in unfinished)
    if leader is None or (split and not has_file(leader, READY)):
        _no_checkpoints(provider, spec.name)
        console.say(f"removing what an interrupted run left of {spec.name}")
        provider.remove_cluster(spec.name)
        return True, {}
    _need_etcd(spec, ready)
    for node in unfinished:
        console.say(f"{node.name} had not joined yet: made anew")
        if node.role == "control-plane" and spec.etcd == "stacked" and leader.state() == "running":
            # While it runs: with its member gone but not forgotten, etcd may be without quorum.
            forget_member(leader, node.address)
        node.remove()
    return False, ready


def _ways(asked: ClusterSpec, there: ClusterSpec) -> list[str]:
    """How a cluster becomes what is asked for, where a task does that."""
    ways = []
    for field, flag in (("workers", ""), ("control_planes", " --control-plane")):
        if getattr(asked, field) > getattr(there, field):
            ways.append(f"for one more, as often as needed: invoke add-node{flag} --name {there.name}")
    if asked.kubernetes > there.kubernetes:
        ways.append(f"for the newer version: invoke upgrade --to {asked.kubernetes} --name {there.name}")
    return ways


def joined(nodes: Sequence[Node]) -> dict[str, Node]:
    """Of the computers of a cluster those that are part of it, by host name: not one whose join was cut off."""
    return {node.name: node for node in nodes if node.role == "load-balancer" or has_file(node, JOINED)}


def _need_etcd(spec: ClusterSpec, joined: dict[str, Node]) -> None:
    """See that no computer of an external etcd is gone: a new one would have to take the place of its member.

    Raises:
        KubedrillError: one is.
    """
    gone = [name for name in (kubeadm.node_name(spec, key) for key in spec.etcd_keys()) if name not in joined]
    if gone:
        raise KubedrillError(
            f"computers of {spec.name}'s etcd are gone, and cannot be made anew: {', '.join(gone)}",
            todo=[f"restore a checkpoint, or begin anew: invoke down --name {spec.name}"],
        )


def _no_checkpoints(provider: Provider, name: str) -> None:
    """See that nothing is kept that would go with a cluster that begins anew.

    Raises:
        KubedrillError: a checkpoint is.
    """
    kept = [one.name for one in provider.saved(name)] if isinstance(provider, Keeper) else []
    if kept:
        raise KubedrillError(
            f"{name} is broken, and would have to begin anew; it has checkpoints, which would go with it",
            evidence=[f"checkpoints: {', '.join(kept)}"],
            todo=[f"invoke restore {kept[-1]} --name {name}", f"or give them up: invoke down --name {name}"],
        )
