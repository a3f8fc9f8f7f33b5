"""Figures of this machine, in groups: tasks, sizes of clusters, what is done to them. Measured, never asserted."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence

from kubedrill import footprint, paths, porcupine, shell, spec
from kubedrill.bench import looking_on
from kubedrill.bench.figures import Figure, Reading, Used, figure, of_cluster, timed, worst
from kubedrill.bench.fresh import NAME, Fresh
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.images import build, components
from kubedrill.providers.base import Node

# The sizes of clusters that are brought up: control planes, workers, and the goal for the time that it takes.
SIZES = {
    "single": (1, 0, ""),
    "small": (1, 2, "at most 15 s"),
    "large": (3, 2, "at most 45 s"),
    "ten": (1, 10, ""),
    "many": (1, 20, ""),
}
# What takes long is measured only where it is named.
LONG = ("many", "hollow")
USUAL = ("tasks", *(size for size in SIZES if size not in LONG), "scale", "nodes", "restart", "drill")
GROUPS = (*USUAL, *LONG)
# Hollow nodes beside a control plane and a worker.
HOLLOW = (100, 1000)
# How many workers the figure 'each further worker' is taken over.
_FURTHER = 4


def groups(only: str) -> tuple[str, ...]:
    """The groups of figures that are asked for.

    Args:
        only: one of GROUPS; '' for the usual ones.

    Raises:
        InvalidSpec: there is no such group.
    """
    if only and only not in GROUPS:
        raise InvalidSpec(f"there is no group of figures '{only}'{spec.nearest(only, GROUPS)}")
    return (only,) if only else USUAL


def prepare(place: Lab, console: Console, wanted: Sequence[str]) -> None:
    """Build what is not to be built while something is measured."""
    build.ensure(place.engine, spec.load(None, {}).kubernetes, place.missing, console.say)
    if "tasks" in wanted and build.compiler_or_none() is not None:
        porcupine.ensure(console.say)
    if "hollow" in wanted:
        components.build("kwok", components.go_version(), console.say)


def take(group: str, fresh: Fresh, runs: int, left_out: Callable[[str], None]) -> list[Figure]:
    """Take the figures of one group.

    Args:
        group: one of GROUPS.
        fresh: runs commands.
        runs: how often each figure is taken.
        left_out: told of each value that is left out, and why.

    Raises:
        KubedrillError: a command failed, or nothing could be measured; no cluster is left.
    """
    if group in SIZES:
        return _bring_up(fresh, runs, *SIZES[group])
    if group == "drill":
        return looking_on.take(fresh, runs, left_out)
    others = {"tasks": _tasks, "scale": _further_workers, "nodes": _node_more_and_less, "restart": _off_and_on,
              "hollow": _hollow}  # fmt: skip
    return others[group](fresh, runs)


def used(nodes: Sequence[Node]) -> Used:
    """What nodes of ours hold."""
    return Used(sum(map(footprint.memory, nodes)), sum(map(footprint.disk, nodes)))


def _tasks(fresh: Fresh, runs: int) -> list[Figure]:
    return [
        figure("invoke --list", "s", [timed(_list_tasks) for _ in range(runs)], "at most 0.5 s"),
        figure("build with nothing to do", "s", [timed(lambda: fresh.run("build")) for _ in range(runs)],
               "at most 5 s"),
    ]  # fmt: skip


def _bring_up(fresh: Fresh, runs: int, control_planes: int, workers: int, goal: str) -> list[Figure]:
    ups, downs, held = [], [], []
    for _ in range(runs):
        with fresh.cluster(control_planes, workers) as up:
            ups.append(up)
            held.append(used(fresh.nodes()))
            downs.append(timed(fresh.down))
    return of_cluster(f"{control_planes}+{workers}", ups, downs, held, goal)


def _further_workers(fresh: Fresh, runs: int) -> list[Figure]:
    each, memory, disk = [], [], []
    for _ in range(runs):
        with fresh.cluster(1, 2) as short:
            pass
        with fresh.cluster(1, 2 + _FURTHER) as long:
            cores = worst([short, long])
            each.append(Reading((long.value - short.value) / _FURTHER, cores))
            workers = [node for node in fresh.nodes() if node.role == "worker"]
            memory.append(Reading(statistics.median(map(footprint.memory, workers)), long.cores))
            disk.append(Reading(statistics.median(map(footprint.disk, workers)), long.cores))
    return [
        figure("each further worker", "s", each, "at most 2.5 s"),
        figure("memory of a worker", "MiB", memory, "at most 120 MiB"),
        figure("disk of a worker", "MiB", disk, "at most 50 MiB"),
    ]


def _node_more_and_less(fresh: Fresh, runs: int) -> list[Figure]:
    """A worker, then a second control plane with its balancer, and both away again: each time on the same 1+1."""
    plane = "a second control plane, with a balancer"
    steps = {
        "add a worker": ("add-node",),
        f"add {plane}": ("add-node", "--control-plane"),
        f"remove {plane}": ("remove-node", "control-plane-2"),
        "remove a worker": ("remove-node", "worker-2"),
    }
    with fresh.cluster(1, 1):
        taken = _in_order(fresh, runs, steps)
    return [figure(what, "s", readings) for what, readings in taken.items()]


def _off_and_on(fresh: Fresh, runs: int) -> list[Figure]:
    goals = {"checkpoint of 1+2, with stop and start": "at most 10 s", "restore of 1+2, with start": "at most 10 s"}
    steps = {
        "stop 1+2": ("stop",),
        "start 1+2, all Ready, CoreDNS available": ("start",),
        "checkpoint of 1+2, with stop and start": ("checkpoint", "RUN"),
        "restore of 1+2, with start": ("restore", "RUN"),
    }
    with fresh.cluster(1, 2):
        taken = _in_order(fresh, runs, steps)
    return [figure(what, "s", readings, goals.get(what, "")) for what, readings in taken.items()]


def _in_order(fresh: Fresh, runs: int, steps: dict[str, tuple[str, ...]]) -> dict[str, list[Reading]]:
    """One command after another, all of them again in each run; RUN becomes a name that each run has for itself."""
    taken: dict[str, list[Reading]] = {what: [] for what in steps}
    for number in range(runs):
        for what, words in steps.items():
            exact = [f"run-{number}" if word == "RUN" else word for word in words]
            taken[what].append(timed(lambda exact=exact: fresh.run(*exact, "--name", NAME)))  # type: ignore[misc]
    return taken


def _hollow(fresh: Fresh, runs: int) -> list[Figure]:
    """What nodes without a computer cost: the time until all are Ready, and what grows with their number."""
    figures = []
    for count in HOLLOW:
        label = f"with {count} hollow nodes"
        ups, downs = [], []
        held: dict[str, list[Reading]] = {}
        for _ in range(runs):
            with fresh.cluster(1, 1, "--hollow", str(count)) as up:
                ups.append(up)
                leader = next(node for node in fresh.nodes() if node.role == "control-plane")
                for what, size in _sizes(leader).items():
                    held.setdefault(what, []).append(Reading(size, up.cores))
                downs.append(timed(fresh.down))
        figures.append(figure(f"up 1+1 {label}, all Ready", "s", ups))
        figures += [figure(f"{what} {label}", "MiB", readings) for what, readings in held.items()]
        figures.append(figure(f"down 1+1 {label}", "s", downs))
    return figures


def _sizes(leader: Node) -> dict[str, float]:
    """What grows with the number of nodes, in MiB.

    Raises:
        KubedrillError: one of it cannot be found.
    """
    found = {
        "memory of kube-apiserver": footprint.program(leader, "kube-apiserver"),
        "memory of etcd": footprint.program(leader, "etcd"),
        "etcd's data": footprint.etcd_data(leader),
    }
    known = {what: size for what, size in found.items() if size is not None}
    if len(known) < len(found):
        raise KubedrillError(f"{leader.name} does not tell what it holds",
                             evidence=[f"not found: {what}" for what in found if what not in known],
                             todo=["see whether its control plane is up: invoke components"])  # fmt: skip
    return known


def _list_tasks() -> None:
    shell.run([sys.executable, "-m", "invoke", "--list"], cwd=paths.repository())
