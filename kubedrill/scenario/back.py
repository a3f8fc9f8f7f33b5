"""Whether the API serves again: a requirement that several drills have."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict

_LANES = ("api-read", "api-write")


def require(lab: Lab, *, within: float, when: str = "") -> None:
    """Require reads and writes again, waited for together: what keeps one away keeps the other.

    Args:
        lab: the lab.
        within: seconds.
        when: in which case, in words.
    """
    lab.require_seen(
        f"reads and writes succeed again{when and ' '}{when}",
        lambda: [name for name in _LANES if not lab.monitor.works(name)], _none, within=within,
    )  # fmt: skip


def _none(silent: Sequence[str]) -> Verdict:
    return not silent, f"what fails: {', '.join(silent)}" if silent else "they do"
