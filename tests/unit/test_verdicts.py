"""When the tests of drills may be without a verdict: pure."""

from __future__ import annotations

import loading
import pytest

from kubedrill import paths
from kubedrill.availability import judgeable
from kubedrill.history import Lane, LaneFigures

verdicts = loading.by_path("verdicts", paths.repository() / "tests" / "cluster" / "verdicts.py")
LANE = Lane("pod-dns", "DNS", 0.1, "dns", "new")


def reason(samples: int, stalled: float, overhead: float) -> str:
    ok, why = judgeable(LaneFigures("pod-dns", samples, 0, 0, 0, 0, (), {}, stalled, overhead), LANE, 30, 1, 0.1)
    assert not ok
    return why


def test_only_a_late_probe_excuses() -> None:
    late = reason(100, 1.5, 0.01)
    assert verdicts.too_busy(late)
    assert verdicts.too_busy(f"{late}; {late}")


@pytest.mark.parametrize(
    "why",
    [
        "",
        "the heal failed: x",
        reason(100, 1.5, 0.5),
        reason(3, 1.5, 0.01),
        f"{reason(100, 1.5, 0.01)}; the cluster is not healthy after the drill: no",
    ],
)
def test_nothing_else_does(why: str) -> None:
    assert not verdicts.too_busy(why)
