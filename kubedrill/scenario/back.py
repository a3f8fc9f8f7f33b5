"""Whether the API is away, and whether it serves again: what several drills wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict

_LANES = ("api-read", "api-write")
# Seconds without an answer that no API takes which serves; where nodes are slow it is asked so much less often.
_SILENT = 2


def silent(lab: Lab) -> Callable[[float], Verdict]:
    """A check of the seconds since a lane was last answered: too many for an API that serves.

    Args:
        lab: the lab.
    """
    limit = _SILENT * lab.cluster.slow
    return lambda seconds: (seconds > limit, f"for {seconds:.1f} s")


def require(lab: Lab, *, within: float, when: str = "") -> bool:
    """Require reads and writes again, waited for together: what keeps one away keeps the other.

    Args:
        lab: the lab.
        within: seconds.
        when: in which case, in words.

    Returns:
        Whether they were seen.
    """
    return lab.require_seen(
        f"reads and writes succeed again{when and ' '}{when}",
        lambda: [name for name in _LANES if not lab.monitor.works(name)], _none, within=within,
    )  # fmt: skip


def _none(silent: Sequence[str]) -> Verdict:
    return not silent, f"what fails: {', '.join(silent)}" if silent else "they do"
