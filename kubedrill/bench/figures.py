"""What a bench gives: values, and how busy this computer was while each was taken. Pure but for `timed`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedrill import cputime


@dataclass(frozen=True)
class Cores:
    """How busy all cores were, as shares of their time (0 to 1).

    Args:
        busy: not idle, with what the host took.
        taken: what the host of a virtual machine took.
    """

    busy: float
    taken: float


@dataclass(frozen=True)
class Reading:
    """One value, and the cores while it was taken; None where that is not known."""

    value: float
    cores: Cores | None = None


@dataclass(frozen=True)
class Used:
    """What all nodes of a cluster hold, in MiB."""

    memory: float
    disk: float


@dataclass(frozen=True)
class Figure:
    """One thing measured several times: seconds or MiB.

    Args:
        what: its name.
        unit: s or MiB.
        values: what was measured.
        goal: in words; '' for none.
        cores: how busy the cores were, for each value; empty where it is not known of any.
    """

    what: str
    unit: str
    values: tuple[float, ...]
    goal: str
    cores: tuple[Cores | None, ...] = ()

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

    @property
    def busy(self) -> float | None:
        """The middle one of the shares in which cores were busy; None where none is known."""
        known = [one.busy for one in self.cores if one]
        return statistics.median(known) if known else None

    @property
    def taken(self) -> float | None:
        """The largest share of the cores that the host took while one of the values was taken; None if not known."""
        return max((one.taken for one in self.cores if one), default=None)


def figure(what: str, unit: str, readings: Sequence[Reading], goal: str = "") -> Figure:
    """A figure of readings."""
    return Figure(what, unit, tuple(one.value for one in readings), goal, tuple(one.cores for one in readings))


def timed(work: Callable[[], object]) -> Reading:
    """How many seconds it takes."""
    before, began = cputime.read(), time.monotonic()
    work()
    took = time.monotonic() - began
    return Reading(took, between(before, cputime.read()))


def between(before: cputime.CpuTime | None, after: cputime.CpuTime | None) -> Cores | None:
    """How busy the cores were between two moments."""
    known = cputime.shares(before, after)
    return Cores(round(known[0], 3), round(known[1], 3)) if known else None


def worst(several: Sequence[Reading]) -> Cores | None:
    """The busiest of several, for a value that is made of all of them."""
    known = [one.cores for one in several if one.cores]
    return Cores(max(one.busy for one in known), max(one.taken for one in known)) if known else None


def of_cluster(
    label: str, ups: Sequence[Reading], downs: Sequence[Reading], held: Sequence[Used], goal: str
) -> list[Figure]:
    """The four figures of a size of cluster.

    Args:
        label: '1+2'.
        ups: seconds of each bring-up.
        downs: seconds of each removal.
        held: what each cluster's nodes held after its bring-up.
        goal: for the time of bring-up.
    """
    pairs = list(zip(ups, held, strict=True))
    return [
        figure(f"up {label}, all Ready, CoreDNS available", "s", ups, goal),
        figure(f"memory of {label}", "MiB", [Reading(one.memory, up.cores) for up, one in pairs]),
        figure(f"disk of {label}", "MiB", [Reading(one.disk, up.cores) for up, one in pairs]),
        figure(f"down {label}", "s", downs, "at most 8 s"),
    ]


def percent(share: float | None) -> str:
    """A share for people; '' where it is not known."""
    return "" if share is None else f"{share:.0%}"
