"""The way back of a cluster that a drill changed as a whole: a checkpoint put back, or what was added removed.

A fault is undone on nodes alone (kubedrill.faults); this needs all of the lab. A drill goes back by itself; where it
was killed, `invoke heal` does, by the journal. Each way may be gone twice, and from wherever it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable

from kubedrill import checkpoints, lifecycle, scaling
from kubedrill import cluster as clusters
from kubedrill.cluster import Lab
from kubedrill.console import Reporter
from kubedrill.faults.actions import PutBack, Whole
from kubedrill.providers.base import Provider
from kubedrill.spec import ClusterSpec


def of(name: str, console: Reporter) -> Callable[[Whole], None]:
    """What goes back with a cluster; `faults.heal` takes it.

    Args:
        name: the cluster's.
        console: told of each step.
    """

    def go(whole: Whole) -> None:
        place = clusters.lab(console)
        if isinstance(whole, PutBack):
            put_back(place.provider, name, whole.checkpoint, console)
        else:
            shrink(place, name, whole.control_planes, whole.workers, console)

    return go


def put_back(provider: Provider, name: str, checkpoint: str, console: Reporter) -> None:
    """Put a cluster back to a checkpoint, and remove that. The journal is left as it is.

    Args:
        provider: where its nodes come from.
        name: the cluster's.
        checkpoint: the checkpoint's; where there is none, it was not kept yet or is gone already.
        console: told of each step.

    Raises:
        KubedrillError: of the step that failed; doing it again begins anew.
    """
    keeper = checkpoints.keeper_of(provider)
    if checkpoints.valid_name(checkpoint) in [one.name for one in keeper.saved(name)]:
        checkpoints.restore(provider, name, checkpoint, console, forget=False)
    else:
        there = clusters.attach(provider, name)
        clusters.need_one_version(there)  # half upgraded, and nothing to go back to
        lifecycle.whole(there, console)
    keeper.forget(name, checkpoint)


def shrink(place: Lab, name: str, control_planes: int, workers: int, console: Reporter) -> None:
    """Remove nodes until a cluster has the size that it had.

    Args:
        place: the lab.
        name: the cluster's.
        control_planes: how many it had.
        workers: how many it had.
        console: told of each step.

    Raises:
        KubedrillError: of the step that failed; doing it again goes on from there.
    """
    there = clusters.attach(place.provider, name)
    if there.spec.control_planes == 1 and any(node.role == "load-balancer" for node in there.nodes):
        # Cut off after the balancer and before the control plane that it came for: it goes with that one only.
        there = scaling.add(place, there, console, control_plane=True)
    while key := surplus(there.spec, control_planes, workers):
        there = scaling.remove(place.provider, there, key, console)


def surplus(spec: ClusterSpec, control_planes: int, workers: int) -> str:
    """The node that goes next on the way back to a size, without the cluster's name; '' where none has to.

    It goes by what is recorded: of a node whose making was cut off nothing else may be there.
    """
    if spec.workers > workers:
        return f"worker-{spec.workers}"
    if spec.control_planes > control_planes:
        return f"control-plane-{spec.control_planes}"
    return ""
