"""Runs jobs on this computer, one after another, whatever becomes of each; the results are read from pytest's JUnit."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from kubedrill import paths, shell
from kubedrill.matrix.plan import Group, Job
from kubedrill.scenario import NO_CLUSTER, settings

Run = Callable[[Sequence[str]], int]
Outcome = Literal["passed", "failed", "inconclusive"]
# What pytest ends with when it was interrupted.
INTERRUPTED = 2
# And a task of ours: Ctrl-C, or told to end.
ENDED = (130, 143)


@dataclass(frozen=True)
class Result:
    """What became of a drill: of which job, how it ended, after how many seconds, and why."""

    job: str
    drill: str
    outcome: Outcome
    seconds: float
    reason: str = ""


def run(jobs: Sequence[Job], say: Callable[[str], None], interactive: Run = shell.interactive) -> list[Result]:
    """Run jobs; a failure ends none of the others, Ctrl-C all.

    Args:
        jobs: in this order.
        say: told which job begins.
        interactive: runs a command on the user's terminal and gives its exit status.
    """
    results: list[Result] = []
    for number, job in enumerate(jobs, 1):
        say(f"job {number} of {len(jobs)}: {job.name}, about {job.minutes:.0f} minutes: {', '.join(job.drills)}")
        status = interactive([sys.executable, "-m", "kubedrill", "setup", *_provider(job)])
        if status in ENDED or status < 0:
            return results + _left(jobs, results)
        if status:
            # Not inconclusive: of drills that are never even tried nobody would hear.
            results += [Result(job.name, one, "failed", 0, "the set-up failed") for one in job.drills]
            continue
        for group in job.groups:
            status, found = _group(job, group, interactive)
            results += found
            if status == INTERRUPTED or status < 0:
                return results + _left(jobs, results)
    return results


def exit_status(results: Sequence[Result]) -> int:
    """1 where a drill failed, 3 where one is inconclusive and none failed, else 0."""
    outcomes = {result.outcome for result in results}
    return 1 if "failed" in outcomes else 3 if "inconclusive" in outcomes else 0


def command(group: Group, junit: Path) -> list[str]:
    """How the drills of a group are run: on a cluster of their own, which they share."""
    folder = paths.repository()
    return [
        *(sys.executable, "-m", "pytest", "--capture=no", "--show-capture=no", "-q", "-p", "no:cacheprovider"),
        *(f"--rootdir={folder}", f"--junitxml={junit}", "--drill-fresh", str(folder / "scenarios")),
        *(f"--drill={name}" for name in group.drills),
        *(f"--drill-with={word}" for word in settings.words(group.settings)),
    ]


def read(job: str, drills: Sequence[str], junit: Path, status: int) -> list[Result]:
    """What a JUnit file says of drills; one that it does not name has not run.

    Args:
        job: the job's name.
        drills: the drills that were to run.
        junit: the file, which may be missing.
        status: what pytest ended with.
    """
    cases: dict[str, Result] = {}
    try:
        found = list(ElementTree.parse(junit).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        found = []
    for case in found:
        name, seconds = case.get("name", ""), float(case.get("time", "0"))
        problem = next((one for one in case if one.tag in ("failure", "error", "skipped")), None)
        if problem is None:
            cases[name] = Result(job, name, "passed", seconds)
        else:
            reason = _reason(problem)
            # Of a cluster that cannot be brought up somebody has to hear; that nothing is known of drills is no excuse.
            broken = problem.tag == "failure" or reason.startswith(NO_CLUSTER)
            cases[name] = Result(job, name, "failed" if broken else "inconclusive", seconds, reason)
    missing = f"did not run: pytest ended with status {status}"
    return [cases.get(name, Result(job, name, "inconclusive", 0, missing)) for name in drills]


def _left(jobs: Sequence[Job], results: Sequence[Result]) -> list[Result]:
    """What was not run any more."""
    done = {(one.job, one.drill) for one in results}
    left = [(one.name, drill) for one in jobs for drill in one.drills if (one.name, drill) not in done]
    return [Result(name, drill, "inconclusive", 0, "interrupted") for name, drill in left]


def _group(job: Job, group: Group, interactive: Run) -> tuple[int, list[Result]]:
    with tempfile.TemporaryDirectory(prefix="kubedrill-matrix-") as folder:
        junit = Path(folder) / "junit.xml"
        status = interactive(command(group, junit))
        return status, read(job.name, group.drills, junit, status)


def _provider(job: Job) -> list[str]:
    # Containers are what `setup` is for unless another provider is named.
    provider = job.cell.get("provider", "docker")
    return [] if provider == "docker" else ["--provider", provider]


def _reason(problem: ElementTree.Element) -> str:
    """What is said below the line that names the kind of the verdict."""
    lines = [line for line in (problem.text or problem.get("message") or "").splitlines() if line.strip()]
    return " ".join(line.strip() for line in lines[1:] or lines)[:300]
