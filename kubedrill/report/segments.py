"""Thousands of samples as a few stretches of the same outcome. Pure.

A lane at 10 Hz has 2400 samples in four minutes and, on a good day, three stretches: it is those that are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kubedrill.history import Outcome, Sample

# How many a lane may have before neighbours are merged: more cannot be told apart on a screen, and slow it down.
LIMIT = 400
WORST: tuple[Outcome, ...] = ("failed", "unknown", "ok")
# How many of a lane's intervals may pass without a question until that shows as a gap.
PATIENCE = 1.5


@dataclass(frozen=True)
class Segment:
    """A stretch of time in which a lane's answers were alike.

    Args:
        start: when its first question was asked (seconds).
        end: when the next stretch began, or its last answer came where nothing follows (seconds).
        outcome: what the answers were; the worst of them where stretches were merged.
        counts: how many samples of each outcome.
        median: the median time to an answer (seconds).
        slowest: the longest (seconds).
        details: what was said most often, and how often.
    """

    start: float
    end: float
    outcome: Outcome
    counts: tuple[tuple[Outcome, int], ...]
    median: float
    slowest: float
    details: tuple[tuple[str, int], ...]


def segments(samples: Sequence[Sample], interval: float, limit: int = LIMIT) -> tuple[Segment, ...]:
    """The stretches of a lane, in order and never overlapping.

    Args:
        samples: of one lane, in any order.
        interval: seconds between two questions; where much more passed, a gap is left.
        limit: how many stretches at most, roughly; beyond that neighbours are merged, and the worst outcome wins.
    """
    stretches = _stretches(sorted(samples, key=lambda sample: sample.start), interval or 1.0)
    if len(stretches) > limit:
        stretches = _merged(stretches, limit)
    return tuple(_segment(part, end) for part, end in stretches)


def _stretches(ordered: Sequence[Sample], interval: float) -> list[tuple[list[Sample], float]]:
    done: list[tuple[list[Sample], float]] = []
    current: list[Sample] = []
    reach = 0.0
    for sample in ordered:
        gap = sample.start > max(reach, current[-1].start + interval) + PATIENCE * interval if current else False
        if current and (gap or sample.outcome != current[-1].outcome):
            done.append((current, reach if gap else sample.start))
            current = []
        current.append(sample)
        reach = max(reach, sample.end)
    if current:
        done.append((current, reach))
    return done


def _merged(stretches: list[tuple[list[Sample], float]], limit: int) -> list[tuple[list[Sample], float]]:
    first = stretches[0][0][0].start
    width = (stretches[-1][1] - first) / limit or 1.0
    bins: dict[int, tuple[list[Sample], float]] = {}
    for part, end in stretches:
        key = int((part[0].start - first) / width)
        before = bins[key][0] if key in bins else []
        bins[key] = ([*before, *part], end)
    return list(bins.values())


def _segment(part: Sequence[Sample], end: float) -> Segment:
    counts = Counter(sample.outcome for sample in part)
    took = sorted(sample.end - sample.start for sample in part)
    return Segment(
        start=part[0].start,
        end=end,
        outcome=next(outcome for outcome in WORST if counts[outcome]),
        counts=tuple((outcome, counts[outcome]) for outcome in WORST if counts[outcome]),
        median=took[len(took) // 2],
        slowest=took[-1],
        details=tuple(Counter(sample.detail for sample in part if sample.detail).most_common(3)),
    )
