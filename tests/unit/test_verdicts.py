"""When the tests of drills may be without a verdict: pure."""

from __future__ import annotations

import loading
import pytest

from kubedrill import cputime, paths
from kubedrill.availability import judgeable
from kubedrill.cputime import TOO_BUSY, CpuTime
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


def test_full_cores_excuse() -> None:
    full = cputime.saturated(CpuTime(100, 50, 0), CpuTime(300, 60, 8))
    assert verdicts.too_busy(f"Service from inside a pod: no failed request: 19 of 597 (3.18%) ({full})")
    assert verdicts.too_busy(f"x: longest gap 12 s ({full}); {reason(100, 1.5, 0.01)}")
    assert not verdicts.too_busy(f"x: longest gap 12 s ({full}); the heal failed: y")


def test_a_step_that_never_came_while_the_host_had_the_cores_excuses() -> None:
    ended = (
        f"the API answers: not within 90 s; last seen: a; b (just then 33% or more were taken by its host: {TOO_BUSY})"
    )
    assert verdicts.too_busy(ended, ended)
    assert not verdicts.too_busy(ended), "several doubts, of which only the last has an excuse"
    assert not verdicts.too_busy("the API answers: not within 90 s", "the API answers: not within 90 s")


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
