"""Whether there is time for a test before the moment at which CI gives up: pure.

CI ends what runs longer than its limit, and nothing of it counts then. `.ci/run` says when that is; a test of a cluster
that would not end before it is skipped, with the figures, and the rest is heard.
"""

from __future__ import annotations

from collections.abc import Callable

import annotations
import pytest

# The moment (seconds since the epoch) at which all must have ended; without it there is no limit.
VARIABLE = "KUBEDRILL_TESTS_END"
# Minutes that a test of a real cluster may take where it does not say more by @pytest.mark.minutes.
USUAL = 5.0
# Minutes that the tests without a cluster take after the last one with: 2 on the 2 cores that CI has, 5 at their worst.
AFTER = 8.0


def lacking(ends: str, now: float, minutes: float) -> str:
    """Why a test is not begun any more; empty where there is time.

    Args:
        ends: the value of VARIABLE, '' where there is no limit.
        now: seconds since the epoch.
        minutes: that it may take.
    """
    if not ends:
        return ""
    left = (float(ends) - now) / 60
    if left >= minutes + AFTER:
        return ""
    return f"{left:.0f} {annotations.NO_TIME}: this may take {minutes:g}, and what comes after it {AFTER:g}"


def minutes(marker: Callable[[str], pytest.Mark | None]) -> float | None:
    """Minutes that a test may take, by its marks; None where it needs no cluster.

    Args:
        marker: gives the mark of a name, as `pytest.Item.get_closest_marker` does.
    """
    if marker("cluster") is None:
        return None
    said = marker("minutes")
    return float(said.args[0]) if said else USUAL
