"""From what a run left behind to its verdict: pure, so that a saved run can be judged again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubedrill.history import Requirement, Verdict
from kubedrill.scenario.rules import proven


class Unmet(Exception):
    """Something that the drill expects of the cluster did not happen: the drill has failed."""


class Untrustworthy(Exception):
    """Nothing can be said of the cluster: an assumption, the set-up, a probe or the heal broke."""


@dataclass(frozen=True)
class Ending:
    """How the drill's function ended.

    Args:
        error: the reason, '' where it ran to its end.
        untrustworthy: whether that reason says nothing of the cluster.
        late: whether it is a heal that only took longer than it may.
    """

    error: str = ""
    untrustworthy: bool = False
    late: bool = False


def verdict(
    ending: Ending, requirements: Sequence[Requirement], doubts: Sequence[str], late: Sequence[str] = ()
) -> tuple[Verdict, str]:
    """Passed, failed or inconclusive, and why.

    What makes a run worthless comes first: a failure that a broken probe measured is no failure. Only times are in
    doubt where samples or answers came late: a write that was acknowledged and is lost, is lost.

    Args:
        ending: how the drill's function ended.
        requirements: what it required.
        doubts: why its measurements cannot be trusted, one line each.
        late: why the times that it measured cannot be trusted, one line each.
    """
    if ending.untrustworthy:
        return "inconclusive", ending.error
    if doubts:
        return "inconclusive", "; ".join([*doubts, *late])
    if facts := [f"{one.text}: {one.measured}" for one in requirements if proven(one)]:
        return "failed", "not met: " + "; ".join(facts)
    if late:
        return "inconclusive", "; ".join(late)
    if ending.error:
        return "failed", ending.error
    unmet = [f"{one.text}: {one.measured}" for one in requirements if not one.ok]
    if unmet:
        return "failed", "not met: " + "; ".join(unmet)
    if not requirements:
        return "inconclusive", "the drill required nothing: an empty history is no pass"
    return "passed", f"{len(requirements)} requirements met"
