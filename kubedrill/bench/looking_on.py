"""What every drill costs, whatever it is about: one that does nothing but look on for a while, on 1+1."""

from __future__ import annotations

import time
from collections.abc import Callable

from kubedrill import checks, cluster, cputime
from kubedrill.bench.figures import Figure, Reading, between, figure
from kubedrill.bench.fresh import NAME, Fresh
from kubedrill.errors import KubedrillError
from kubedrill.scenario import Scenario, runner, workload
from kubedrill.scenario.lab import Lab as Drilling

# Seconds that it looks on.
_LOOK = 5


def take(fresh: Fresh, runs: int, left_out: Callable[[str], None]) -> list[Figure]:
    """Take its figures.

    Args:
        fresh: runs commands.
        runs: how often it is run.
        left_out: told of each run that did not pass, and why.

    Raises:
        KubedrillError: none passed.
    """
    takes, begins, ends = [], [], []
    with fresh.cluster(1, 1):
        there = cluster.attach(fresh.place.provider, NAME)
        for _ in range(runs):
            at: list[float] = []
            drill = Scenario("looking-on", "Look on, and break nothing.", "", _looking_on(at), {})
            before, began = cputime.read(), time.monotonic()
            run, folder = runner.run(drill, there, fresh.console)
            ended, cores = time.monotonic(), between(before, cputime.read())
            if run.verdict != "passed":
                # No verdict, as on a busy machine, or a failure: such a run may have waited for what others need not.
                left_out(f"a drill that only looks on has the verdict {run.verdict}: {run.reason} (its report: "
                         f"{folder / 'index.html'})")  # fmt: skip
                continue
            begins.append(Reading(at[0] - _LOOK - began, cores))
            ends.append(Reading(ended - at[0], cores))
            takes.append(Reading(ended - began - _LOOK, cores))
    if not takes:
        raise KubedrillError(f"none of {runs} drills that only look on passed", todo=["see the reports named above"])
    return [
        figure("a drill's own time, without what it is about", "s", takes),
        figure("of it, until all is sampled", "s", begins),
        figure("of it, healing, clearing and the report", "s", ends),
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
