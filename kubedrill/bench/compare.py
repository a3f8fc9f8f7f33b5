"""Figures as JSON, and two sets of them side by side. Pure but for reading and writing the file.

A difference is beyond the spread where the ranges of both sides do not touch and each side was taken at least three
times. With three and three values that do not differ by nature, chance does that once in ten (2 * 3! * 3! / 6!); with
five and five once in 126; and with each figure it has another try. Where it would do so with one of all figures that
are compared in more than one of twenty comparisons, the word is 'perhaps'.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from kubedrill.bench.measure import Figure
from kubedrill.errors import KubedrillError

SCHEMA = 1
FEWEST = 3
# What must be alike for seconds to be comparable.
ALIKE = ("processor", "cores", "memory", "linux", "cgroup", "engine")

# So many comparisons of what does not differ may say of any figure that it is less or more.
FALSE = 0.05

Word = Literal["less", "more", "perhaps less", "perhaps more", "within the spread", "too few runs"]


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
    pairs = [(before[one.what, one.unit], one) for one in new if (one.what, one.unit) in before]
    tries = sum(min(len(one.values), len(other.values)) >= FEWEST for one, other in pairs)
    return [_doubted(_compared(one, other), tries * chance(len(one.values), len(other.values))) for one, other in pairs]


def chance(old: int, new: int) -> float:
    """How likely it is that the ranges of so many values and so many others do not touch, where nothing differs."""
    return 2 / math.comb(old + new, new)


def runs_that_decide(figures: int) -> int:
    """How many runs on each side make 'less' and 'more' of 'perhaps', where so many figures are compared."""
    runs = FEWEST
    while figures * chance(runs, runs) > FALSE:
        runs += 1
    return runs


def explained(found: Sequence[Compared]) -> list[str]:
    """What 'perhaps' means in a comparison, and what would decide; nothing where it is not there."""
    if not any(one.word.startswith("perhaps") for one in found):
        return []
    figures = sum(one.word != "too few runs" for one in found)
    return [
        f"perhaps: with so few runs the ranges of some of {figures} figures can be apart by chance; "
        f"{runs_that_decide(figures)} runs on each side decide (--runs)"
    ]


def _doubted(one: Compared, likely: float) -> Compared:
    """The same; what chance may have done, with all the tries that it has, is said to be so perhaps."""
    if likely <= FALSE:
        return one
    doubts: dict[Word, Word] = {"less": "perhaps less", "more": "perhaps more"}
    return replace(one, word=doubts.get(one.word, one.word))


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
