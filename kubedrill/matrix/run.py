"""Runs jobs on this computer, one after another, whatever becomes of each; the results are read from pytest's JUnit."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from kubedrill import paths, shell
from kubedrill.matrix.plan import Group, Job
from kubedrill.pytest_plugin import DrillFailed, says_nothing
from kubedrill.scenario import NO_CLUSTER, NOT_BUILT, settings
from kubedrill.shell import Ending

Run = Callable[[Sequence[str]], Ending]
Outcome = Literal["passed", "failed", "inconclusive"]
# What a task of ours ends with after Ctrl-C, or told to end; and whoever handles neither. pytest's 2 is not among them:
# so it ends after Ctrl-C, and where a file of drills cannot be imported.
ENDED = (130, 143, -signal.SIGINT, -signal.SIGTERM)


@dataclass(frozen=True)
class Result:
    """What became of a drill: of which job, how it ended, after how many seconds, and why."""

    job: str
    drill: str
    outcome: Outcome
    seconds: float
    reason: str = ""


def run(jobs: Sequence[Job], say: Callable[[str], None], attended: Run = shell.attended) -> list[Result]:
    """Run jobs; a failure or a crash ends none of the others, Ctrl-C all.

    Args:
        jobs: in this order.
        say: told which job begins.
        attended: runs a command on the user's terminal, and says how it ended.
    """
    results: list[Result] = []
    for number, job in enumerate(jobs, 1):
        say(f"job {number} of {len(jobs)}: {job.name}, about {job.minutes:.0f} minutes: {', '.join(job.drills)}")
        ending = attended([sys.executable, "-m", "kubedrill", "setup", *_provider(job)])
        if _interrupted(ending):
            return results + _left(jobs, results)
        if ending.status:
            # Not inconclusive: of drills that are never even tried nobody would hear.
            results += [Result(job.name, one, "failed", 0, "the set-up failed") for one in job.drills]
            continue
        for group in job.groups:
            ending, found = _group(job, group, attended)
            results += found
            if _interrupted(ending):
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


def read(job: str, drills: Sequence[str], junit: Path, ending: Ending) -> list[Result]:
    """What a JUnit file says of drills; one that it does not name has not run: failed, unless it was interrupted.

    Args:
        job: the job's name.
        drills: the drills that were to run.
        junit: the file, which may be missing.
        ending: how pytest ended.
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
            # Of a crash, and of a cluster that cannot be brought up, somebody has to hear: that nothing is known of
            # the drill is no excuse.
            unclear = problem.tag == "skipped" or (problem.tag == "error" and says_nothing(problem.text or ""))
            broken = not unclear or reason.startswith((NO_CLUSTER, NOT_BUILT))
            cases[name] = Result(job, name, "failed" if broken else "inconclusive", seconds, reason)
    outcome: Outcome = "inconclusive" if _interrupted(ending) else "failed"
    why = "interrupted" if _interrupted(ending) else f"did not run: pytest ended with status {ending.status}"
    return [cases.get(name, Result(job, name, outcome, 0, why)) for name in drills]


def _left(jobs: Sequence[Job], results: Sequence[Result]) -> list[Result]:
    """What was not run any more."""
    done = {(one.job, one.drill) for one in results}
    left = [(one.name, drill) for one in jobs for drill in one.drills if (one.name, drill) not in done]
    return [Result(name, drill, "inconclusive", 0, "interrupted") for name, drill in left]


def _interrupted(ending: Ending) -> bool:
    return ending.interrupted or ending.status in ENDED


def _group(job: Job, group: Group, attended: Run) -> tuple[Ending, list[Result]]:
    with tempfile.TemporaryDirectory(prefix="kubedrill-matrix-") as folder:
        junit = Path(folder) / "junit.xml"
        ending = attended(command(group, junit))
        return ending, read(job.name, group.drills, junit, ending)


def _provider(job: Job) -> list[str]:
    # Containers are what `setup` is for unless another provider is named.
    provider = job.cell.get("provider", "docker")
    return [] if provider == "docker" else ["--provider", provider]


def _reason(problem: ElementTree.Element) -> str:
    """What is said below the line that names the kind of the verdict; of a crash the exception, not the traceback."""
    text, message = problem.text or "", problem.get("message") or ""
    verdict = says_nothing(text) or text.startswith(str(DrillFailed.__doc__))
    lines = [line.strip() for line in (text if verdict else message or text).splitlines() if line.strip()]
    return " ".join((verdict and lines[1:]) or lines)[:300]
