"""Which figures changed beyond their noise. Pure.

The rule: the newest value of a series differs from the median of up to 30 earlier ones (at least 5) by more than three
times their spread, by more than a tenth of that median, and by more than half a second. The spread is the median
absolute deviation times 1.4826, which for normally distributed values is the standard deviation; a few bad nights among
the earlier ones move neither. A series holds figures of one name on one kind of machine and cluster and one Kubernetes
minor. Runs that were inconclusive count nowhere, and of the earlier ones only those that passed. A series that goes on
no more has no newest value: one that the last run of its kind did not measure, or whose last run is more than a week
older than the newest on that kind of machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kubedrill.trends.records import Record
from kubedrill.versions import minor_of

EARLIER, FEWEST = 30, 5
LATELY = timedelta(days=7)
SPREADS, SHARE, SECONDS = 3.0, 0.10, 0.5
_NORMAL = 1.4826


@dataclass(frozen=True)
class Key:
    """What figures have in common that can be compared."""

    machine: str
    name: str
    cluster: str
    figure: str
    minor: str


@dataclass(frozen=True)
class Point:
    """One value: when, how many seconds, of which run's verdict and version."""

    at: str
    value: float
    verdict: str
    version: str


@dataclass
class Series:
    """Values over time, the oldest first."""

    key: Key
    points: list[Point] = field(default_factory=list)

    @property
    def earlier(self) -> list[float]:
        """What the newest value is compared with."""
        return [point.value for point in self.points[:-1] if point.verdict == "passed"][-EARLIER:]


@dataclass(frozen=True)
class Change:
    """A newest value that is beyond the noise of the earlier ones (seconds)."""

    key: Key
    now: float
    median: float
    spread: float
    runs: int

    def __str__(self) -> str:
        word = "slower" if self.now > self.median else "faster"
        return (
            f"{self.key.name} on {self.key.cluster}, Kubernetes {self.key.minor}: {self.key.figure}: {self.now:.1f} s, "
            f"{word} than {self.median:.1f} s (median of {self.runs} earlier runs, spread {self.spread:.1f} s)"
        )


def series(records: Iterable[Record]) -> list[Series]:
    """All figures as series, in the order in which they were first seen."""
    found: dict[Key, Series] = {}
    for record in records:
        if record.verdict == "inconclusive":
            continue
        for figure, value in record.figures.items():
            key = Key(record.machine, record.name, record.cluster, figure, minor_of(record.kubernetes))
            one = found.setdefault(key, Series(key))
            one.points.append(Point(record.at, value, record.verdict, record.kubernetes))
    return list(found.values())


def change(one: Series) -> Change | None:
    """The change that the newest value of a series is; None within the noise, or where too little is known."""
    earlier = one.earlier
    if len(earlier) < FEWEST:
        return None
    median, spread, now = statistics.median(earlier), spread_of(earlier), one.points[-1].value
    if abs(now - median) <= max(SPREADS * spread, SHARE * median, SECONDS):
        return None
    return Change(one.key, now, median, spread, len(earlier))


def going_on(found: Sequence[Series]) -> list[Series]:
    """Those that the last run of their kind has measured, if that was lately."""
    runs: dict[Key, str] = {}
    machines: dict[str, str] = {}
    for one in found:
        last, kind = one.points[-1].at, replace(one.key, figure="")
        runs[kind] = max(runs.get(kind, ""), last)
        machines[one.key.machine] = max(machines.get(one.key.machine, ""), last)
    return [
        one
        for one in found
        if one.points[-1].at == runs[replace(one.key, figure="")]
        and _days(machines[one.key.machine]) - _days(one.points[-1].at) <= LATELY
    ]


def _days(at: str) -> datetime:
    return datetime.fromisoformat(at[:10])


def changes(records: Iterable[Record]) -> list[Change]:
    """All of them, those first that are largest in relation to what was."""
    all_of_them = series(records)
    found = [found for one in going_on(all_of_them) if (found := change(one))]
    return sorted(found, key=lambda one: -abs(one.now - one.median) / max(one.median, SECONDS))


def spread_of(values: list[float]) -> float:
    """The median absolute deviation, scaled to a standard deviation."""
    middle = statistics.median(values)
    return _NORMAL * statistics.median(abs(value - middle) for value in values)
