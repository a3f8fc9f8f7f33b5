"""What samples add up to: downtime, latency, lost writes, and whether enough was measured to judge. Pure.

Downtime. A sample that is not ok opens a window at its own start; the window lasts until the first answer, to
whichever question, that was put later: the smallest `end` of all ok samples whose `start` is greater; until the end of
the run where there is none. The downtime is the union of these windows. From this follows:

- A window is understated by at most one interval, at its beginning: the service may have gone right after the last
  question that was answered. (One interval, and what the sampler stalled: `stalled` says how much that is.)
- It is not understated at its end: before the service is back there is no answer. It is overstated there by at most
  one interval and the time that the answer took.
- A slow answer hides nothing: it ends no window of a question that was put after it, and if its own question is the
  later one, a faster answer to a still later question ends the window before it.
- What was answered within its timeout is no downtime, however long it took; it shows in the latency. So an outage
  in which questions hang rather than fail is seen only if it outlasts the timeout.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from kubedrill.history import Lane, LaneFigures, Outcome, Sample

Window = tuple[float, float]
Verdict = tuple[bool, str]
# How a question is answered whose connection was refused (probes/wire.py).
REFUSED = "connection refused"


def figures(
    lane: Lane, samples: Iterable[Sample], faults: Sequence[Window], run_end: float, *, overhead: float = 0.0
) -> LaneFigures:
    """Add up the samples of a lane.

    Args:
        lane: what was sampled.
        samples: in any order; they may overlap.
        faults: (start, end) of each fault, in seconds of the run; of one that was never healed, the end of the run.
        run_end: when sampling ended, in seconds of the run; for a lane that ended before, that counts.
        overhead: share of one core that the sampler used, as the sampler reports it.
    """
    run_end = run_end if lane.ended is None else lane.ended
    ordered = sorted(samples, key=lambda sample: sample.start)
    windows = downtime(ordered, run_end)
    return LaneFigures(
        lane=lane.name,
        samples=len(ordered),
        failed=sum(sample.outcome == "failed" for sample in ordered),
        unknown=sum(sample.outcome == "unknown" for sample in ordered),
        downtime=sum(end - start for start, end in windows),
        longest=max((end - start for start, end in windows), default=0.0),
        windows=windows,
        latency=_latency(ordered, faults),
        stalled=_stalled(ordered, lane.interval, run_end),
        overhead=overhead,
        refused=refused(ordered),
    )


def refused(samples: Iterable[Sample]) -> tuple[Window, ...]:
    """When nobody listened: from a connection that was refused to the last such one before the next answer.

    A question that waited, for a slow process or for a computer's cores, opens no such window and ends none: a refusal
    is the kernel's, given at once where no process listens. Where two follow each other without an answer between,
    nobody is known to have listened in between.

    Args:
        samples: in any order; they may overlap. An answer counts when it came, a refusal when it was asked for.
    """
    moments = []
    for sample in samples:
        if sample.outcome == "ok":
            moments.append((sample.end, False))
        elif sample.detail.endswith(REFUSED):
            moments.append((sample.start, True))
    moments.sort()
    runs = [[at for at, _ in run] for was_refused, run in groupby(moments, key=lambda one: one[1]) if was_refused]
    return tuple((run[0], run[-1]) for run in runs)


def together(one: Sequence[Window], other: Sequence[Window]) -> float:
    """For how many seconds at most a window of one overlaps a window of the other; 0 where none does."""
    overlaps = (min(first[1], second[1]) - max(first[0], second[0]) for first in one for second in other)
    return max([0.0, *overlaps])


def downtime(samples: Iterable[Sample], run_end: float) -> tuple[Window, ...]:
    """The windows in which nothing succeeded, as this module's docstring defines them: in order, none touches another.

    Args:
        samples: in any order; they may overlap.
        run_end: where a window ends after which nothing succeeded.
    """
    ordered = sorted(samples, key=lambda sample: sample.start)
    answered = [sample for sample in ordered if sample.outcome == "ok"]
    starts = [sample.start for sample in answered]
    # The first answer to any question from the n-th one on.
    first_answer = [math.inf] * (len(answered) + 1)
    for index in range(len(answered) - 1, -1, -1):
        first_answer[index] = min(answered[index].end, first_answer[index + 1])
    windows: list[Window] = []
    for sample in ordered:
        if sample.outcome == "ok":
            continue
        end = first_answer[bisect_right(starts, sample.start)]
        end = max(sample.start, run_end) if end == math.inf else end
        if windows and sample.start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(windows[-1][1], end))
        else:
            windows.append((sample.start, end))
    return tuple(windows)


def error_share(figures: LaneFigures) -> float:
    """The share of an error budget of 1 that was spent: samples that are not ok, of all; 0 without samples."""
    return (figures.failed + figures.unknown) / figures.samples if figures.samples else 0.0


def judgeable(figures: LaneFigures, lane: Lane, minimum_samples: int, max_stall: float, max_overhead: float) -> Verdict:
    """Whether the figures of a lane can carry a verdict; a run that rests on one that cannot is inconclusive.

    Args:
        figures: of the lane.
        lane: what was sampled.
        minimum_samples: fewer say too little.
        max_stall: seconds for which the sampler may have asked nothing although it should have.
        max_overhead: share of one core (0 to 1) that the sampler may have used; more may be felt by the cluster.

    Returns:
        (True, what was measured) or (False, all that speaks against it).
    """
    against = []
    if figures.samples < minimum_samples:
        against.append(f"{figures.samples} samples, {minimum_samples} are needed")
    if figures.stalled > max_stall:
        against.append(f"a question was {figures.stalled:.2f} s late, at most {max_stall:g} s is allowed")
    if figures.overhead > max_overhead:
        against.append(f"the sampler used {figures.overhead:.0%} of a core, at most {max_overhead:.0%} is allowed")
    if against:
        return False, f"{lane.name}: {'; '.join(against)}"
    return True, f"{lane.name}: {figures.samples} samples, never more than {figures.stalled:.2f} s late"


@dataclass(frozen=True)
class Write:
    """One numbered compare-and-set write.

    Args:
        number: its own, never used twice in a run.
        start: when it was begun, in seconds of the run.
        end: when it was answered, or given up.
        outcome: ok: acknowledged; failed: certainly not done; unknown: it may have been done.
        revision: the store's revision that an acknowledged write made; None where it is not known.
    """

    number: int
    start: float
    end: float
    outcome: Outcome
    revision: int | None = None


@dataclass(frozen=True)
class Restored:
    """The store was put back to an earlier state on purpose, from a snapshot.

    Args:
        revision: the newest one that is in the snapshot.
        at: when the old store was replaced, in seconds of the run.
    """

    revision: int
    at: float


@dataclass(frozen=True)
class WritesCheck:
    """What became of the writes of a run.

    Args:
        acknowledged: how many were acknowledged.
        lost: numbers of acknowledged writes that are not there at the end.
        reordered: (earlier, later): pairs of numbers that the store holds, or acknowledged, the other way round.
        unknown: how many have no known outcome; that they are there, or not, is no error.
        unknown_found: how many of these are there.
        undead: numbers that are there although their failure was certain, or although they are younger than the
            snapshot that the store was restored from: the store or the probe is wrong.
        unrecorded: numbers that are there and in no ledger: the record of the run was cut off.
        rolled_back: acknowledged writes that went with the state that a snapshot replaced: lost, and known to be.
    """

    acknowledged: int
    lost: tuple[int, ...]
    reordered: tuple[tuple[int, int], ...]
    unknown: int
    unknown_found: int
    undead: tuple[int, ...] = ()
    unrecorded: tuple[int, ...] = ()
    rolled_back: tuple[int, ...] = ()

    @property
    def intact(self) -> bool:
        """Nothing acknowledged is lost or out of order, and nothing is there that cannot be."""
        return not (self.lost or self.reordered or self.undead)


def lost_writes(
    writes: Iterable[Write], found: Mapping[str, Sequence[int]], restored: Restored | None = None
) -> WritesCheck:
    """Hold the ledger of writes against what the store has at the end.

    Args:
        writes: the ledger: all writes of the run, whatever their outcome.
        found: what was read back after the drill: for each object the numbers in it, in its order. Each write
            appended its number to one object, on the condition that nobody had changed it.
        restored: where the store was put back to a snapshot: what was acknowledged after that, and before the store
            was replaced, cannot be there.
    """
    ledger = {write.number: write for write in writes}
    there = {number for numbers in found.values() for number in numbers}
    by_outcome: dict[Outcome, set[int]] = {"ok": set(), "failed": set(), "unknown": set()}
    for write in ledger.values():
        by_outcome[write.outcome].add(write.number)
    swapped = {pair for numbers in found.values() for pair in _swapped(numbers, ledger)}
    younger = {
        write.number
        for write in ledger.values()
        if restored is not None
        and write.outcome == "ok"
        and write.revision is not None
        and write.revision > restored.revision
        and write.end <= restored.at
    }
    return WritesCheck(
        acknowledged=len(by_outcome["ok"]),
        lost=tuple(sorted(by_outcome["ok"] - there - younger)),
        reordered=tuple(sorted(swapped | _back_in_time(ledger.values()))),
        unknown=len(by_outcome["unknown"]),
        unknown_found=len(by_outcome["unknown"] & there),
        undead=tuple(sorted((by_outcome["failed"] | younger) & there)),
        unrecorded=tuple(sorted(there - set(ledger))),
        rolled_back=tuple(sorted(younger - there)),
    )


def _swapped(numbers: Sequence[int], ledger: Mapping[int, Write]) -> Iterable[tuple[int, int]]:
    """Pairs of one object in which a write stands after one that began when it was over already; numbers twice in it.

    That holds for unknown ones too: once a later write was done, the object has changed, and a write that was given
    up before can no longer meet its condition.
    """
    latest: Write | None = None
    for position, number in enumerate(numbers):
        if number in numbers[:position]:
            yield (number, number)
        write = ledger.get(number)
        if write is None:
            continue
        if latest is not None and write.number != latest.number and write.end <= latest.start:
            yield (write.number, latest.number)
        if latest is None or write.start > latest.start:
            latest = write


def _back_in_time(writes: Iterable[Write]) -> set[tuple[int, int]]:
    """Pairs of acknowledged writes of which the later one began after the earlier one's end, at no later revision."""
    known = [(write, write.revision) for write in writes if write.outcome == "ok" and write.revision is not None]
    by_end = sorted(known, key=lambda item: item[0].end)
    pairs: set[tuple[int, int]] = set()
    done = 0
    newest: tuple[int, Write] | None = None
    for write, revision in sorted(known, key=lambda item: item[0].start):
        while done < len(by_end) and by_end[done][0].end < write.start:
            ended, at = by_end[done]
            if newest is None or at > newest[0]:
                newest = (at, ended)
            done += 1
        if newest is not None and revision <= newest[0]:
            pairs.add((newest[1].number, write.number))
    return pairs


def _latency(ordered: Sequence[Sample], faults: Sequence[Window]) -> dict[str, dict[str, float]]:
    """Percentiles of ok samples. One that was open at any moment of a fault is 'during'; between faults is 'after'."""
    phases: dict[str, list[float]] = {"before": [], "during": [], "after": []}
    first = min((start for start, _ in faults), default=math.inf)
    for sample in ordered:
        if sample.outcome != "ok":
            continue
        if any(sample.start <= end and sample.end >= start for start, end in faults):
            phase = "during"
        else:
            phase = "before" if sample.end < first else "after"
        phases[phase].append(sample.end - sample.start)
    return {
        phase: {"p50": percentile(took, 50), "p95": percentile(took, 95), "max": max(took)}
        for phase, took in phases.items()
        if took
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `percent` of all values do not exceed.

    Args:
        values: at least one.
        percent: above 0, at most 100.
    """
    rank = math.ceil(len(values) * percent / 100 - 1e-9)
    return sorted(values)[max(rank, 1) - 1]


def _stalled(ordered: Sequence[Sample], interval: float, run_end: float) -> float:
    """The longest time between two starts, or the last start and the end of the run, beyond the interval."""
    if not ordered:
        return 0.0
    starts = [*(sample.start for sample in ordered), max(run_end, ordered[-1].start)]
    gap = max(later - earlier for earlier, later in pairwise(starts))
    return max(0.0, gap - interval)
