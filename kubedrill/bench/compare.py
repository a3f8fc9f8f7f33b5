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
from typing import Any, Literal

from kubedrill.bench.figures import Cores, Figure, percent
from kubedrill.cputime import DISTURBED
from kubedrill.errors import KubedrillError

# 1 had times of functions, without the start of the process that calls them: another thing than times of commands.
SCHEMA = 2
FEWEST = 3
# What must be alike for seconds to be comparable.
ALIKE = ("processor", "cores", "memory", "linux", "cgroup", "engine")

# So many comparisons of what does not differ may say of any figure that it is less or more.
FALSE = 0.05

Word = Literal["less", "more", "perhaps less", "perhaps more", "within the spread", "too few runs"]


@dataclass(frozen=True)
class Bench:
    """Figures, what they were taken on, and what is missing of what was asked for: a line each."""

    machine: Mapping[str, str]
    figures: tuple[Figure, ...]
    missing: tuple[str, ...] = ()


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
        taken: how much of this computer's cores its host took meanwhile, where that was much; else ''.
    """

    what: str
    unit: str
    old: float
    new: float
    ratio: float | None
    word: Word
    taken: str


def save(bench: Bench, file: Path) -> None:
    """Write figures as JSON, all or nothing: what the file had before stays until then.

    Raises:
        KubedrillError: it cannot be written.
    """
    figures = [{**asdict(one), "median": one.median, "low": one.low, "high": one.high} for one in bench.figures]
    content = {"schema": SCHEMA, "machine": dict(bench.machine), "figures": figures, "missing": list(bench.missing)}
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        unfinished.write_text(json.dumps(content, indent=1) + "\n")
        unfinished.replace(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise unwritable(file, str(error)) from error


def unwritable(file: Path, why: str) -> KubedrillError:
    """The error of a file of figures that cannot be written."""
    return KubedrillError(
        f"figures cannot be written to {file}", evidence=[why], todo=["name a file in a folder of yours: --json FILE"]
    )


def load(file: Path) -> Bench:
    """The figures that `save` wrote.

    Raises:
        KubedrillError: there is no such file, or it is another.
    """
    try:
        content = json.loads(file.read_text())
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, not {SCHEMA}: another kubedrill measured other things")
        figures = tuple(_figure(one) for one in content["figures"])
        return Bench(dict(content["machine"]), figures, tuple(map(str, content["missing"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KubedrillError(
            f"{file} holds no figures of `invoke bench --json`",
            evidence=[f"{type(error).__name__}: {error}"],
            todo=[f"take them again, with the revision of then: invoke bench --json {file}"],
        ) from error


def _figure(one: Mapping[str, Any]) -> Figure:
    values = tuple(float(value) for value in one["values"])
    cores = tuple(Cores(float(of["busy"]), float(of["taken"])) if of else None for of in one["cores"])
    if not values or not all(map(math.isfinite, values)):
        raise ValueError("a figure without values, or with some that are no numbers")
    if not all(isinstance(one[key], str) for key in ("what", "unit", "goal")):
        raise TypeError(f"a figure that is called {one['what']!r}, in {one['unit']!r}, with the goal {one['goal']!r}")
    if len(cores) not in (0, len(values)):
        raise ValueError("a figure with values of which it is not told how busy the cores were")
    return Figure(one["what"], one["unit"], values, one["goal"], cores)


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
    ratio = new.median / old.median if old.median else None
    return Compared(new.what, new.unit, old.median, new.median, ratio, word, disturbed(old, new))


def disturbed(old: Figure, new: Figure, names: tuple[str, str] = ("before", "now")) -> str:
    """How much of the cores the host took while two figures were taken, where that may be why they differ; else ''."""
    much = [(name, one.taken) for name, one in zip(names, (old, new), strict=True) if (one.taken or 0) > DISTURBED]
    return ", ".join(f"{name} {percent(taken)}" for name, taken in much)
