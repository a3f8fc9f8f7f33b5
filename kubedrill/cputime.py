"""How busy this computer was: what a report needs when figures of the same drill differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Cores that were busy for a larger share of a run leave open whether the cluster was late, or they were.
SATURATED = 0.85
# A host that took more of them in a moment leaves it open for that moment. Unlike busy cores, no drill can cause it.
TAKEN = 0.25
# More than this in all: times that were taken meanwhile say little of the program that took them.
DISTURBED = 0.05
# Seconds before and after a moment that belong to it: what its host takes is told by the second.
_AROUND = 1.0
# How a reason ends that says so.
TOO_BUSY = "too busy for a verdict on this"


@dataclass(frozen=True)
class CpuTime:
    """What all cores have done since the boot (hundredths of a second, proc(5): /proc/stat).

    Args:
        total: all of it.
        idle: nothing to do, waiting for a disk, or work that was niced and gives way to all other.
        stolen: given by the host of a virtual machine to others.
    """

    total: int
    idle: int
    stolen: int


def read(*, proc: Path = Path("/proc")) -> CpuTime | None:
    """What /proc/stat says; None where there is none."""
    try:
        words = (proc / "stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, idle, wait, irq, softirq, stolen = map(int, words)
    return CpuTime(user + nice + system + idle + wait + irq + softirq + stolen, idle + wait + nice, stolen)


def shares(before: CpuTime | None, after: CpuTime | None) -> tuple[float, float] | None:
    """Shares (0 to 1) of the time between two moments: not idle, and of that taken by the host; None if not known."""
    if before is None or after is None or after.total <= before.total:
        return None
    total = after.total - before.total
    return 1 - (after.idle - before.idle) / total, (after.stolen - before.stolen) / total


def between(before: CpuTime | None, after: CpuTime | None) -> str:
    """In words how busy it was between two moments; empty where that is not known."""
    known = shares(before, after)
    return Taken(0, *known).words if known else ""


def saturated(before: CpuTime | None, after: CpuTime | None) -> str:
    """Why what was slow between two moments may be this computer's doing; empty where there was room enough.

    A mean of 85% over a minute and more is full cores for most of it. What is in time all the same is in time; what is
    not was seen where everything waited for a core: on 2026-11-26 the same drills on the same computer took two to four
    times the CPU time of two hours before, and missed limits that they keep otherwise; its host had others to serve.
    """
    known = shares(before, after)
    if known is None or known[0] < SATURATED:
        return ""
    return f"this computer's cores were {between(before, after)}: {TOO_BUSY}"


@dataclass(frozen=True)
class Taken:
    """What something took: seconds, and how busy this computer was meanwhile.

    Args:
        seconds: how long.
        busy: the share (0 to 1) of the cores' time in which they were not idle; None where that is not known.
        stolen: the share that the host took; None likewise.
    """

    seconds: float
    busy: float | None = None
    stolen: float | None = None

    @property
    def words(self) -> str:
        """How busy it was, in words; '' where that is not known."""
        if self.busy is None or self.stolen is None:
            return ""
        return f"{self.busy:.0%} busy, {self.stolen:.0%} taken by its host"


class Stopwatch:
    """Seconds, and what the cores did meanwhile, from its making on.

    Args:
        clock: seconds.
        read: tells what the cores have done so far.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, read: Callable[[], CpuTime | None] = read
    ) -> None:  # fmt: skip
        self._clock, self._read = clock, read
        self._began, self._cores = clock(), read()

    def taken(self) -> Taken:
        """What it has been until now."""
        seconds, known = self._clock() - self._began, shares(self._cores, self._read())
        return Taken(seconds, *known) if known else Taken(seconds)


class Diary:
    """What the cores did in a run: from its making on, with a note each second while something notes.

    Args:
        now: seconds since the start of the run.
        read: tells what they have done so far.
    """

    def __init__(self, now: Callable[[], float], read: Callable[[], CpuTime | None] = read) -> None:
        self._now, self._read = now, read
        self._notes: list[tuple[float, CpuTime]] = []
        self.note()

    def note(self) -> None:
        """Note what they have done until now."""
        if (seen := self._read()) is not None:
            self._notes.append((self._now(), seen))

    def excuse(self, moments: Sequence[tuple[float, float]] = ()) -> str:
        """Why what was late may have been this computer's doing; '' where it was not.

        Args:
            moments: when it was late, where that is known: (start, end), in seconds of the run.
        """
        first = self._notes[0][1] if self._notes else None
        return saturated(first, self._read()) or self.taken(moments)

    def taken(self, moments: Sequence[tuple[float, float]]) -> str:
        """Why what was late, or never came, may have been the doing of this computer's host, which no drill can cause.

        Args:
            moments: (start, end), in seconds of the run.

        Returns:
            '' where the host left this computer its cores in one of the moments.
        """
        self.note()
        shares = [self._share(start - _AROUND, end + _AROUND) for start, end in moments]
        if not shares or min(shares) < TAKEN:
            return ""
        return f"just then {min(shares):.0%} or more of this computer's cores were taken by its host: {TOO_BUSY}"

    def _share(self, start: float, end: float) -> float:
        """The share of the cores that the host took, at least from a start until an end."""
        before = [seen for at, seen in self._notes if at <= start] or [seen for _, seen in self._notes[:1]]
        after = [seen for at, seen in self._notes if at >= end] or [seen for _, seen in self._notes[-1:]]
        known = shares(before[-1], after[0]) if before and after else None
        return known[1] if known else 0.0
