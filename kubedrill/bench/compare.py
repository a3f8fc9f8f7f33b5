"""Figures as JSON, and two sets of them side by side. Pure but for reading and writing the file.

A difference is beyond the spread where the ranges of both sides do not touch and each side was taken at least three
times. With three and three values that do not differ by nature, chance does that once in ten (2 * 3! * 3! / 6!); with
five and five once in 126.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kubedrill.bench.measure import Figure
from kubedrill.errors import KubedrillError

SCHEMA = 1
FEWEST = 3
# What must be alike for seconds to be comparable.
ALIKE = ("processor", "cores", "memory", "linux", "cgroup", "engine")

Word = Literal["less", "more", "within the spread", "too few runs"]


@dataclass(frozen=True)
class Bench:
    """Figures, and what they were taken on."""

    machine: Mapping[str, str]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Compared:
    """One figure of two revisions.

    Args:
        what: the figure.
        unit: s or MiB.
        old: the median before.
        new: the median now.
        ratio: new to old; None where old is 0.
        word: whether it is beyond the spread, and to which side.
    """

    what: str
    unit: str
    old: float
    new: float
    ratio: float | None
    word: Word


def save(bench: Bench, file: Path) -> None:
    """Write figures as JSON."""
    figures = [{**asdict(one), "median": one.median, "low": one.low, "high": one.high} for one in bench.figures]
    file.write_text(json.dumps({"schema": SCHEMA, "machine": dict(bench.machine), "figures": figures}, indent=1) + "\n")


def load(file: Path) -> Bench:
    """The figures that `save` wrote.

    Raises:
        KubedrillError: there is no such file, or it is another.
    """
    try:
        content = json.loads(file.read_text())
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, not {SCHEMA}")
        figures = tuple(
            Figure(one["what"], one["unit"], tuple(float(value) for value in one["values"]), one["goal"])
            for one in content["figures"]
        )
        if not all(one.values for one in figures):
            raise ValueError("a figure without values")
        return Bench(dict(content["machine"]), figures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KubedrillError(
            f"{file} holds no figures of `invoke bench --json`", evidence=[f"{type(error).__name__}: {error}"]
        ) from error


def compare(old: Sequence[Figure], new: Sequence[Figure]) -> list[Compared]:
    """What both have, in the order of the new one."""
    before = {(one.what, one.unit): one for one in old}
    return [_compared(before[one.what, one.unit], one) for one in new if (one.what, one.unit) in before]


def only_in_one(old: Sequence[Figure], new: Sequence[Figure]) -> list[str]:
    """What cannot be compared: figures that only one of both has."""
    names = {(one.what, one.unit) for one in old}, {(one.what, one.unit) for one in new}
    return sorted(what for what, _ in names[0] ^ names[1])


def unlike(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """In what two machines differ, so that ratios say little of the revisions: 'cores: 2, now 4'."""
    return [f"{key}: {old.get(key)}, now {new.get(key)}" for key in ALIKE if old.get(key) != new.get(key)]


def _compared(old: Figure, new: Figure) -> Compared:
    word: Word = "within the spread"
    if min(len(old.values), len(new.values)) < FEWEST:
        word = "too few runs"
    elif new.high < old.low:
        word = "less"
    elif new.low > old.high:
        word = "more"
    return Compared(new.what, new.unit, old.median, new.median, new.median / old.median if old.median else None, word)
