"""What a drill leaves behind: samples, steps, faults, events, the verdict. Plain data, saved and read again.

Times are seconds since the start of the run, on one monotonic clock; `started` ties them to the calendar.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

SCHEMA = 1

Outcome = Literal["ok", "failed", "unknown"]
Verdict = Literal["passed", "failed", "inconclusive"]
PHASES = ("assumptions", "baseline", "fault", "heal", "converge", "verify")


@dataclass(frozen=True)
class Sample:
    """One question put to the cluster, and its answer.

    Args:
        start: when it was asked.
        end: when it was answered, or given up.
        outcome: ok; failed (refused, or a wrong answer); unknown (no answer: it may have been done or not).
        detail: what went wrong, or which pod answered; empty where there is nothing to say.
    """

    start: float
    end: float
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Lane:
    """One thing that is asked again and again.

    Args:
        name: a short name that is a file name too: 'api-read'.
        title: what it is, for people: 'API read through the balancer'.
        interval: seconds between two questions.
        kind: what its samples are about: read, write, watch, service, dns.
        connection: whether each question makes its own connection.
        ended: when it was no longer asked; None for the end of all sampling.
    """

    name: str
    title: str
    interval: float
    kind: Literal["read", "write", "watch", "service", "dns"]
    connection: Literal["new", "kept"]
    ended: float | None = None


@dataclass(frozen=True)
class Step:
    """One line of the story.

    Args:
        time: when it was told.
        phase: one of PHASES.
        text: the line.
        kind: say, wait (something was waited for and seen), fault, heal, fail.
        expected: after how many seconds something was predicted; None without a prediction.
        measured: after how many seconds it was seen; None where nothing was waited for.
    """

    time: float
    phase: str
    text: str
    kind: Literal["say", "wait", "fault", "heal", "fail"] = "say"
    expected: float | None = None
    measured: float | None = None


@dataclass(frozen=True)
class FaultSpan:
    """A fault while it lasted.

    Args:
        name: what was done: 'kill node'.
        target: to what: 'lab-control-plane-2'.
        role: why that one: 'leads etcd'.
        injected: when.
        healed: when it was undone; None if that failed.
    """

    name: str
    target: str
    role: str
    injected: float
    healed: float | None


@dataclass(frozen=True)
class ClusterEvent:
    """Something that the cluster itself reported: an Event, or a change of a node's condition."""

    time: float
    subject: str
    reason: str
    message: str


@dataclass(frozen=True)
class Phase:
    """A part of the run: one of PHASES."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Requirement:
    """One thing that the drill requires: 'API reads were down for at most 15 s'.

    Args:
        text: what is required.
        measured: what was measured.
        ok: whether it holds.
        rule: how it follows from the samples, so that it can be judged again (scenario/rules.py): {'kind': 'gap',
            'lane', 'at_most', 'between'}, {'kind': 'no-failure', 'lane'}, {'kind': 'writes'}, {'kind':
            'linearizable'}; empty where it does not.
    """

    text: str
    measured: str
    ok: bool
    rule: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LaneFigures:
    """What the samples of a lane add up to (seconds, counts).

    Args:
        lane: its name.
        samples: how many there are.
        failed: how many failed.
        unknown: how many have no known outcome.
        downtime: sum of all windows in which nothing succeeded.
        longest: the longest such window.
        windows: each such window: (start, end).
        latency: {'before' | 'during' | 'after' a fault: {'p50', 'p95', 'max'}}, of samples that are ok.
        stalled: the longest time in which the sampler itself asked nothing although it should have.
        overhead: share of one core that the sampler used, 0 to 1.
        refused: each time in which connections were refused, without an answer between: (start, end).
    """

    lane: str
    samples: int
    failed: int
    unknown: int
    downtime: float
    longest: float
    windows: tuple[tuple[float, float], ...]
    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stalled: float = 0.0
    overhead: float = 0.0
    refused: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Run:
    """A whole run, but for its samples, which have a file a lane; `ended` says why the drill broke off, if it did."""

    drill: str
    title: str
    verdict: Verdict
    reason: str
    started: str
    duration: float
    cluster: Mapping[str, Any]
    kubernetes: str
    machine: str
    phases: tuple[Phase, ...] = ()
    steps: tuple[Step, ...] = ()
    faults: tuple[FaultSpan, ...] = ()
    events: tuple[ClusterEvent, ...] = ()
    lanes: tuple[Lane, ...] = ()
    figures: tuple[LaneFigures, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    ended: str = ""
    targets: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def save(run: Run, folder: Path) -> Path:
    """Write report.json of a run."""
    file = folder / "report.json"
    file.write_text(json.dumps({"schema": SCHEMA, **asdict(run)}, indent=1) + "\n")
    return file


def load(folder: Path) -> Run:
    """The run whose report.json is in a folder.

    Raises:
        ValueError: it is of another schema.
    """
    content = json.loads((folder / "report.json").read_text())
    if content.pop("schema", None) != SCHEMA:
        raise ValueError(f"{folder}: report.json is not of schema {SCHEMA}")
    parts: dict[str, type[Any]] = {
        "phases": Phase, "steps": Step, "faults": FaultSpan, "events": ClusterEvent, "lanes": Lane,
        "requirements": Requirement,
    }  # fmt: skip
    for key, kind in parts.items():
        content[key] = tuple(kind(**item) for item in content[key])
    content["figures"] = tuple(
        LaneFigures(
            **item | {key: tuple((start, end) for start, end in item.get(key, ())) for key in ("windows", "refused")}
        )
        for item in content["figures"]
    )
    return Run(**content)


def write_samples(samples: Iterable[Sample], folder: Path, lane: str) -> Path:
    """Write the samples of a lane as JSON lines, to samples/LANE.jsonl."""
    file = folder / "samples" / f"{lane}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
    return file


def read_samples(folder: Path, lane: str) -> tuple[Sample, ...]:
    """The samples of a lane that `write_samples` wrote; a last line that was cut off is passed over."""
    samples = []
    for line in (folder / "samples" / f"{lane}.jsonl").read_text().splitlines():
        try:
            samples.append(Sample(**json.loads(line)))
        except json.JSONDecodeError:
            break
    return tuple(samples)
