"""Samples as stretches: what is merged, what is kept apart, where a gap stays a gap."""

from __future__ import annotations

from itertools import pairwise

from kubedrill.history import Outcome, Sample
from kubedrill.report.segments import segments


def lane(*outcomes: Outcome, start: float = 0.0, interval: float = 0.1) -> list[Sample]:
    return [Sample(start + i * interval, start + i * interval + 0.003, outcome) for i, outcome in enumerate(outcomes)]


def spans(samples: list[Sample], interval: float = 0.1, **options: int) -> list[tuple[float, float, str]]:
    return [(round(s.start, 3), round(s.end, 3), s.outcome) for s in segments(samples, interval, **options)]


def test_no_samples_are_no_stretches() -> None:
    assert segments([], 0.1) == ()


def test_equal_neighbours_are_one_stretch_up_to_the_next() -> None:
    assert spans(lane("ok", "ok", "failed", "ok")) == [(0, 0.2, "ok"), (0.2, 0.3, "failed"), (0.3, 0.303, "ok")]


def test_the_order_of_the_samples_does_not_matter() -> None:
    samples = lane("ok", "failed", "unknown", "ok")
    assert spans(samples[::-1]) == spans(samples)


def test_where_nothing_was_asked_there_is_a_gap() -> None:
    assert spans(lane("ok", "ok") + lane("ok", start=2)) == [(0, 0.103, "ok"), (2, 2.003, "ok")]


def test_a_question_that_takes_long_is_no_gap() -> None:
    samples = [Sample(0, 0.01, "ok"), Sample(0.1, 2.1, "unknown"), Sample(2.1, 2.11, "ok")]
    assert spans(samples) == [(0, 0.1, "ok"), (0.1, 2.1, "unknown"), (2.1, 2.11, "ok")]


def test_questions_that_overlap_make_stretches_that_do_not() -> None:
    samples = [Sample(0, 3, "unknown"), Sample(0.1, 0.11, "ok"), Sample(0.2, 0.21, "ok")]
    found = segments(samples, 0.1)
    assert all(one.end <= other.start for one, other in pairwise(found))


def test_a_lane_that_flaps_stays_light_and_hides_no_failure() -> None:
    flapping: list[Outcome] = ["ok", "failed"] * 1200
    found = segments(lane(*flapping), 0.1, limit=100)
    assert len(found) <= 101
    assert {segment.outcome for segment in found} == {"failed"}
    assert sum(number for segment in found for _, number in segment.counts) == 2400


def test_a_stretch_says_what_was_said_most_and_how_fast() -> None:
    samples = [
        Sample(0, 0.002, "failed", "refused"),
        Sample(0.1, 0.104, "failed", "refused"),
        Sample(0.2, 0.9, "failed", "reset"),
    ]
    (only,) = segments(samples, 0.1)
    assert only.details == (("refused", 2), ("reset", 1))
    assert (round(only.median, 3), round(only.slowest, 3)) == (0.004, 0.7)
    assert only.counts == (("failed", 3),)
