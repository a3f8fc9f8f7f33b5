"""Figures of this machine: bring-up, down, memory, disk, builds. Measured several times, never asserted."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedrill import checkpoints, checks, cluster, lifecycle, paths, scaling, shell, spec
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.images import build
from kubedrill.providers.base import Node
from kubedrill.scenario import Scenario, runner, workload
from kubedrill.scenario.lab import Lab as Drilling

# The sizes of clusters that are brought up: control planes, workers, and the goal for the time that it takes.
SIZES = {
    "single": (1, 0, ""),
    "small": (1, 2, "at most 15 s"),
    "large": (3, 2, "at most 45 s"),
    "ten": (1, 10, ""),
}
GROUPS = ("tasks", *SIZES, "scale", "nodes", "restart", "drill")
# MiB that a node's processes hold: what its cgroup is charged for, without file cache that can be dropped.
MEMORY = (
    "sh",
    "-c",
    "cd /sys/fs/cgroup; "
    "if [ -e memory.current ]; then used=$(cat memory.current); file=inactive_file; stat=memory.stat; "
    "else cd memory; used=$(cat memory.usage_in_bytes); file=total_inactive_file; stat=memory.stat; fi; "
    'echo $(( (used - $(grep "^$file " $stat | cut -d" " -f2)) / 1048576 ))',
)
# MiB on a node's own disk (/var), without what it mounts from elsewhere.
DISK = ("sh", "-c", "du -xsm /var | cut -f1")
# How many workers the figure 'each further worker' is taken over.
_FURTHER = 4
# Seconds that the drill which is about nothing looks on.
_LOOK = 5


@dataclass(frozen=True)
class Used:
    """What all nodes of a cluster hold, in MiB."""

    memory: float
    disk: float


@dataclass(frozen=True)
class Figure:
    """One thing measured several times: seconds or MiB."""

    what: str
    unit: str
    values: tuple[float, ...]
    goal: str

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)


def measure(place: Lab, console: Console, *, runs: int, only: str) -> list[Figure]:
    """Take the figures of one group, or of all.

    Args:
        place: the lab.
        console: told of progress.
        runs: how often each is taken.
        only: a group of GROUPS, '' for all.

    Raises:
        InvalidSpec: there is no such group.
    """
    if only and only not in GROUPS:
        raise InvalidSpec(f"there is no group of figures '{only}'{spec.nearest(only, GROUPS)}")
    wanted = [only] if only else list(GROUPS)
    newest = spec.load(None, {}).kubernetes
    build.ensure(place.engine, newest, place.missing, console.say)
    figures: list[Figure] = []
    if "tasks" in wanted:
        listed = _several(runs, lambda: seconds(_list_tasks))
        figures.append(Figure("invoke --list", "s", listed, "at most 0.5 s"))
        nothing = _several(
            runs, lambda: seconds(lambda: build.ensure(place.engine, newest, place.missing, console.say))
        )
        figures.append(Figure("build with nothing to do", "s", nothing, "at most 5 s"))
    for group, (control_planes, workers, goal) in SIZES.items():
        if group in wanted:
            figures += _bring_up(place, console, runs, control_planes, workers, goal)
    if "scale" in wanted:
        figures += _further_workers(place, console, runs)
    if "nodes" in wanted:
        figures += _node_more_and_less(place, console, runs)
    if "restart" in wanted:
        figures += _off_and_on(place, console, runs)
    if "drill" in wanted:
        figures += _drill(place, console, runs)
    return figures


def used(nodes: Sequence[Node]) -> Used:
    """What nodes of ours hold."""
    return Used(sum(_memory(node) for node in nodes), sum(_disk(node) for node in nodes))


def figures_of(
    label: str, ups: Sequence[float], downs: Sequence[float], held: Sequence[Used], goal: str
) -> list[Figure]:
    """The four figures of a size of cluster.

    Args:
        label: '1+2'.
        ups: seconds of each bring-up.
        downs: seconds of each removal.
        held: what each cluster's nodes held.
        goal: for the time of bring-up.
    """
    return [
        Figure(f"up {label}, all Ready, CoreDNS available", "s", tuple(ups), goal),
        Figure(f"memory of {label}", "MiB", tuple(one.memory for one in held), ""),
        Figure(f"disk of {label}", "MiB", tuple(one.disk for one in held), ""),
        Figure(f"down {label}", "s", tuple(downs), "at most 8 s"),
    ]


def _bring_up(place: Lab, console: Console, runs: int, control_planes: int, workers: int, goal: str) -> list[Figure]:
    ups, downs, held = [], [], []
    for _ in range(runs):
        asked = spec_of(control_planes, workers)
        ups.append(seconds(lambda asked=asked: cluster.up(place, asked, console, merge=False)))  # type: ignore[misc]
        try:
            held.append(used(place.provider.nodes(asked.name)))
        finally:
            down = seconds(lambda asked=asked: cluster.down(place.provider, asked.name, console))  # type: ignore[misc]
        downs.append(down)
    return figures_of(f"{control_planes}+{workers}", ups, downs, held, goal)


def _further_workers(place: Lab, console: Console, runs: int) -> list[Figure]:
    each, memory, disk = [], [], []
    for _ in range(runs):
        few, many = spec_of(1, 2), spec_of(1, 2 + _FURTHER)
        short = seconds(lambda few=few: cluster.up(place, few, console, merge=False))  # type: ignore[misc]
        cluster.down(place.provider, few.name, console)
        long = seconds(lambda many=many: cluster.up(place, many, console, merge=False))  # type: ignore[misc]
        each.append((long - short) / _FURTHER)
        workers = [node for node in place.provider.nodes(many.name) if node.role == "worker"]
        memory.append(statistics.median(_memory(node) for node in workers))
        disk.append(statistics.median(_disk(node) for node in workers))
        cluster.down(place.provider, many.name, console)
    return [
        Figure("each further worker", "s", tuple(each), "at most 2.5 s"),
        Figure("memory of a worker", "MiB", tuple(memory), "at most 120 MiB"),
        Figure("disk of a worker", "MiB", tuple(disk), "at most 50 MiB"),
    ]


def _node_more_and_less(place: Lab, console: Console, runs: int) -> list[Figure]:
    """A worker, then a second control plane with its balancer, and both away again: each time on the same 1+1."""
    asked = spec_of(1, 1)
    taken: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], object]) -> None:
        taken.setdefault(what, []).append(seconds(work))

    cluster.up(place, asked, console, merge=False)
    try:
        for _ in range(runs):
            for what, control_plane in (("a worker", False), ("a second control plane, with a balancer", True)):
                there = cluster.attach(place.provider, asked.name)
                timed(f"add {what}", lambda control_plane=control_plane, there=there: scaling.add(  # type: ignore[misc]
                    place, there, console, control_plane=control_plane))  # fmt: skip
            for what, key in (("a second control plane, with a balancer", "control-plane-2"), ("a worker", "worker-2")):
                there = cluster.attach(place.provider, asked.name)
                timed(f"remove {what}", lambda there=there, key=key: scaling.remove(  # type: ignore[misc]
                    place.provider, there, key, console))  # fmt: skip
    finally:
        cluster.down(place.provider, asked.name, console)
    return [Figure(what, "s", tuple(values), "") for what, values in taken.items()]


def _drill(place: Lab, console: Console, runs: int) -> list[Figure]:
    """What every drill costs, whatever it is about: one that does nothing but look on for a while, on 1+1."""
    asked = spec_of(1, 1)
    takes, begins, ends = [], [], []
    there = cluster.up(place, asked, console, merge=False)
    try:
        for _ in range(runs):
            at: list[float] = []
            drill = Scenario("looking-on", "Look on, and break nothing.", "", _looking_on(at), {})
            began = time.monotonic()
            run, folder = runner.run(drill, there, console)
            ended = time.monotonic()
            if run.verdict != "passed":
                raise KubedrillError(
                    f"a drill that only looks on has the verdict {run.verdict}", evidence=[run.reason],
                    todo=[f"see its report: {folder / 'index.html'}"],
                )  # fmt: skip
            begins.append(at[0] - _LOOK - began)
            ends.append(ended - at[0])
            takes.append(ended - began - _LOOK)
    finally:
        cluster.down(place.provider, asked.name, console)
    return [
        Figure("a drill's own time, without what it is about", "s", tuple(takes), ""),
        Figure("of it, until all is sampled", "s", tuple(begins), ""),
        Figure("of it, healing, clearing and the report", "s", tuple(ends), ""),
    ]


def _looking_on(at: list[float]) -> Callable[[Drilling], None]:
    def body(lab: Drilling) -> None:
        lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
        lab.expect("a pod of hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1),
                   within=60)  # fmt: skip
        lab.baseline(_LOOK)
        at.append(time.monotonic())
        lab.verify()
        lab.require_writes()

    return body


def _off_and_on(place: Lab, console: Console, runs: int) -> list[Figure]:
    asked = spec_of(1, 2)
    stops, starts, kept, restored = [], [], [], []
    there = cluster.up(place, asked, console, merge=False)
    try:
        for number in range(runs):
            name = f"bench-{number}"
            stops.append(seconds(lambda: lifecycle.stop(there, console)))
            starts.append(seconds(lambda: lifecycle.whole(there, console)))
            kept.append(seconds(lambda name=name: checkpoints.take(place.provider, there, name, console)))  # type: ignore[misc]
            restored.append(
                seconds(lambda name=name: checkpoints.restore(place.provider, asked.name, name, console))  # type: ignore[misc]
            )
    finally:
        cluster.down(place.provider, asked.name, console)
    return [
        Figure("stop 1+2", "s", tuple(stops), ""),
        Figure("start 1+2, all Ready, CoreDNS available", "s", tuple(starts), ""),
        Figure("checkpoint of 1+2, with stop and start", "s", tuple(kept), "at most 10 s"),
        Figure("restore of 1+2, with start", "s", tuple(restored), "at most 10 s"),
    ]


def spec_of(control_planes: int, workers: int) -> spec.ClusterSpec:
    """The cluster that is measured."""
    return spec.load(None, {"name": "bench", "control_planes": control_planes, "workers": workers})


def _memory(node: Node) -> float:
    return float(node.run(MEMORY, show=False).stdout)


def _disk(node: Node) -> float:
    return float(node.run(DISK, show=False).stdout)


def _list_tasks() -> None:
    shell.run([sys.executable, "-m", "invoke", "--list"], cwd=paths.repository())


def _several(runs: int, take: Callable[[], float]) -> tuple[float, ...]:
    return tuple(take() for _ in range(runs))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
