"""What is skipped so that CI ends in time."""

from __future__ import annotations

import deadline
import pytest


def test_without_a_limit_everything_runs() -> None:
    assert deadline.lacking("", 1e9, 1e6) == ""


@pytest.mark.parametrize("left", [43.1, 1000])
def test_what_can_end_in_time_is_begun(left: float) -> None:
    assert deadline.lacking(str(1000 + left * 60), 1000, 35) == ""


@pytest.mark.parametrize("left", [42, 1, -1])
def test_what_cannot_is_not_and_says_why(left: float) -> None:
    said = deadline.lacking(str(1000 + left * 60), 1000, 35)
    assert said == f"{left} minutes are left of CI's time: this may take 35, and what comes after it 8"


@pytest.mark.parametrize(
    ("marks", "minutes"),
    [
        ({}, None),
        ({"engine": pytest.mark.engine.mark}, None),
        ({"minutes": pytest.mark.minutes(30).mark}, None),
        ({"cluster": pytest.mark.cluster.mark}, deadline.USUAL),
        ({"cluster": pytest.mark.cluster.mark, "minutes": pytest.mark.minutes(30).mark}, 30),
    ],
)
def test_a_test_of_a_cluster_has_minutes(marks: dict[str, pytest.Mark], minutes: float | None) -> None:
    assert deadline.minutes(marks.get) == minutes
