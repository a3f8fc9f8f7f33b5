"""Which figures changed beyond their noise. Pure.

The rule: the newest value of a series differs from the median of up to 30 earlier ones (at least 10) by more than a
tenth of that median, by more than half a second, and by more than chance explains; and at most one of the earlier ones
was as far off, but for those just before it, of which it may be the continuation. How likely chance is follows from the
spread of the earlier ones and from how many they are, and what is likely enough from how many figures there are
(trends/chance.py): where nothing changed, one page in twenty names something, whether it has ten figures or a thousand.

A series holds figures of one name on one kind of machine and cluster and one Kubernetes minor. Runs that were
inconclusive count nowhere, nor do those during which the host took more than a twentieth of the cores; and of the
earlier ones only those that passed. A series that goes on no more has no newest value: one that the last run of its
kind did not measure, or whose last run is more than a week older than the newest on that kind of machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kubedrill.cputime import DISTURBED
from kubedrill.trends import chance
from kubedrill.trends.records import Record
from kubedrill.versions import minor_of

EARLIER, FEWEST = 30, 10
LATELY = timedelta(days=7)
SHARE, SECONDS = 0.10, 0.5
# So many of the earlier values may be as far off: what happens now and then has no normal spread, and is nothing new.
AS_FAR = 1
# No figure is taken to scatter less than this part of the least difference that is named.
LEAST = 1 / 3


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
    """One value: when, how many seconds, of which run's verdict and version, and what the host took meanwhile."""

    at: str
    value: float
    verdict: str
    version: str
    stolen: float | None = None

    @property
    def disturbed(self) -> bool:
        """Whether the host took so much of the cores that the value says little."""
        return self.stolen is not None and self.stolen > DISTURBED


@dataclass
class Series:
    """Values over time, the oldest first."""

    key: Key
    points: list[Point] = field(default_factory=list)

    @property
    def earlier(self) -> list[float]:
        """What the newest value is compared with."""
        usual = [point for point in self.points[:-1] if point.verdict == "passed" and not point.disturbed]
        return [point.value for point in usual][-EARLIER:]

    @property
    def disturbed(self) -> bool:
        """Whether the newest value says little, since the host took too much of the cores meanwhile."""
        return self.points[-1].disturbed

    @property
    def short(self) -> bool:
        """Whether there is too little to compare an undisturbed newest value with."""
        return not self.disturbed and len(self.earlier) < FEWEST


@dataclass(frozen=True)
class Counted:
    """Of how many series the newest value is judged.

    Args:
        series: those that go on.
        disturbed: of them, those whose newest value the host disturbed.
        short: of the others, those that have too few earlier runs.
    """

    series: int
    disturbed: int
    short: int

    @property
    def judged(self) -> int:
        """Only of these it can be said that they changed, or did not."""
        return self.series - self.disturbed - self.short


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
            one.points.append(Point(record.at, value, record.verdict, record.kubernetes, record.stolen))
    return list(found.values())


def chance_of(one: Series) -> float | None:
    """How likely it is by chance that the newest value differs so much; 1 where it hardly does.

    Returns:
        None where nothing can be said: the host disturbed it, or too little is known.
    """
    if one.disturbed or one.short:
        return None
    earlier, now = one.earlier, one.points[-1].value
    median = statistics.median(earlier)
    named = max(SHARE * median, SECONDS)
    if abs(now - median) <= named:
        return 1.0
    as_far = [abs(value - now) < abs(value - median) for value in earlier]
    while as_far and as_far[-1]:
        as_far.pop()
    return 1.0 if sum(as_far) > AS_FAR else chance.of_value(now, earlier, LEAST * named)


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
    judged = [(one, likely) for one in going_on(series(records)) if (likely := chance_of(one)) is not None]
    limit = chance.largest_that_counts([likely for _, likely in judged])
    found = [_change(one) for one, likely in judged if likely <= limit]
    return sorted(found, key=lambda one: -abs(one.now - one.median) / max(one.median, SECONDS))


def counted(records: Iterable[Record]) -> Counted:
    """How many newest values there are, and how many of them are not judged, by why."""
    found = going_on(series(records))
    return Counted(len(found), sum(one.disturbed for one in found), sum(one.short for one in found))


def _change(one: Series) -> Change:
    earlier = one.earlier
    median = statistics.median(earlier)
    return Change(one.key, one.points[-1].value, median, chance.spread_of(earlier), len(earlier))
