"""Requirements that follow from samples: pure, the same while a drill runs and when a saved run is judged again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from kubedrill.availability import Restored, WritesCheck, error_share, together
from kubedrill.history import LaneFigures, Requirement
from kubedrill.linearizability import Judgement

# Kinds of requirements whose limits were made for real hardware: not met on slow nodes, they say nothing.
TIMED = ("gap", "no-failure", "within")


def gaps(
    figures: LaneFigures, between: tuple[float, float] | None, longer: float = 0
) -> tuple[tuple[float, float], ...]:
    """The gaps of a lane, (start, end), that begin in a part of the run and are longer than so many seconds."""
    return tuple(
        (start, end) for start, end in figures.windows
        if end - start > longer and (between is None or between[0] <= start < between[1])
    )  # fmt: skip


def gap(
    title: str, figures: LaneFigures, at_most: float, between: tuple[float, float] | None, when: str = ""
) -> Requirement:
    """A lane had no longer gap than so many seconds.

    Args:
        title: the lane's, for people.
        figures: the lane's.
        at_most: seconds; with 0 each question must have been answered well.
        between: only gaps that begin in this part of the run; None for all.
        when: that part in words.
    """
    longest = max((end - start for start, end in gaps(figures, between)), default=0.0)
    rule = {"kind": "gap", "lane": figures.lane, "at_most": at_most, "between": list(between) if between else None,
            "when": when}  # fmt: skip
    what = f"no gap longer than {at_most:g} s" if at_most else "never away"
    return Requirement(
        f"{title}: {what}{f' ({when})' if when else ''}", f"longest gap {longest:.2f} s", longest <= at_most, rule
    )


def no_failure(title: str, figures: LaneFigures) -> Requirement:
    """Every question of a lane was answered well."""
    bad = figures.failed + figures.unknown
    measured = f"{bad} of {figures.samples} ({error_share(figures):.2%})"
    rule = {"kind": "no-failure", "lane": figures.lane}
    return Requirement(f"{title}: no failed request", measured, bad == 0 and figures.samples > 0, rule)


def within(text: str, took: float, at_most: float) -> Requirement:
    """Something took no longer than so many seconds.

    Args:
        text: what was to happen, without the limit: 'the API is back'.
        took: seconds.
        at_most: seconds.
    """
    return Requirement(f"{text} within {at_most:g} s", f"{took:.1f} s", took <= at_most, {"kind": "within"})


def never_together(what: str, lanes: Sequence[LaneFigures]) -> Requirement:
    """At no moment two lanes were refused a connection.

    Args:
        what: what these lanes ask, for people: 'the API servers of the control planes'.
        lanes: their figures.
    """
    (length, pair) = max(
        ((length, (one.lane, other.lane)) for one, other in combinations(lanes, 2)
         if (length := together(one.refused, other.refused))),
        default=(0.0, ("", "")),
    )  # fmt: skip
    silent = [one.lane for one in lanes if not one.samples]
    measured = f"{pair[0]} and {pair[1]} for {length:.2f} s" if length else "never two"
    measured += f"; nothing was asked on {', '.join(silent)}" if silent else ""
    rule = {"kind": "together", "what": what, "lanes": [one.lane for one in lanes], "proven": length > 0}
    return Requirement(f"{what}: never two away at a time", measured, not length and not silent, rule)


def writes(check: WritesCheck, restored: Restored | None = None) -> Requirement:
    """Every acknowledged write is there, in order.

    Args:
        check: what became of them.
        restored: where the store was put back to a snapshot on the way: what was acknowledged after that is told.
    """
    measured = (
        f"{check.acknowledged} acknowledged, {len(check.lost)} lost, {len(check.reordered)} out of order, "
        f"{check.unknown} of unknown outcome ({check.unknown_found} of them found)"
        + (f", {len(check.undead)} there that cannot be" if check.undead else "")
        + (f", {len(check.rolled_back)} lost with what was younger than the snapshot" if restored else "")
    )
    ok = check.intact and check.acknowledged > 0
    which = " up to the snapshot, and since the restore," if restored else ""
    text = f"every acknowledged write{which} is there, in order"
    rule = {"kind": "writes", "proven": not check.intact, **({"restored": asdict(restored)} if restored else {})}
    return Requirement(text, measured, ok, rule)


def linearizable(judged: Judgement, restored: Restored | None = None) -> Requirement:
    """One order explains all that was read and written; where that was not decided in time nothing follows.

    Args:
        judged: what the checker says.
        restored: where the store was put back to a snapshot on the way.
    """
    which = ", the restore of the snapshot one of them" if restored else ""
    ok = judged.result == "linearizable" and judged.reads > 0 and judged.writes > 0
    rule = {"kind": "linearizable", "decided": judged.result != "unknown",
            "proven": judged.result not in ("linearizable", "unknown"),
            **({"restored": asdict(restored)} if restored else {})}  # fmt: skip
    return Requirement(f"one order explains all reads and writes of each object{which}", judged.measured, ok, rule)


def undecided(requirements: Iterable[Requirement]) -> list[str]:
    """Requirements of which nobody knows whether they hold: why the run cannot carry a verdict."""
    return [f"{one.text}: {one.measured}" for one in requirements if one.rule.get("decided") is False]


def proven(one: Requirement) -> bool:
    """Whether that it does not hold is a fact that neither a busy computer nor late samples can explain away."""
    return not one.ok and bool(one.rule.get("proven"))


def again(
    one: Requirement, titles: Mapping[str, str], figures: Mapping[str, LaneFigures],
    check: Callable[[Restored | None], WritesCheck], judge: Callable[[Restored | None], Judgement],
) -> Requirement:  # fmt: skip
    """The requirement, judged anew; as it was, where it does not follow from samples.

    Args:
        one: as it was saved.
        titles: of each lane.
        figures: of each lane, added up anew.
        check: holds the saved writes against what was read back.
        judge: asks the checker of linearizability about the saved operations.
    """
    rule: Mapping[str, Any] = one.rule
    match rule.get("kind"):
        case "gap":
            between = tuple(rule["between"]) if rule["between"] else None
            return gap(titles[rule["lane"]], figures[rule["lane"]], rule["at_most"], between, rule.get("when", ""))
        case "no-failure":
            return no_failure(titles[rule["lane"]], figures[rule["lane"]])
        case "together":
            return never_together(rule["what"], [figures[lane] for lane in rule["lanes"]])
        case "writes":
            restored = Restored(**rule["restored"]) if "restored" in rule else None
            return writes(check(restored), restored)
        case "linearizable":
            restored = Restored(**rule["restored"]) if "restored" in rule else None
            return linearizable(judge(restored), restored)
    return one
