"""Downtime, latency, stalls and lost writes: tables, and random histories against a slow reference."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from kubedrill import availability
from kubedrill.availability import Window, Write, WritesCheck
from kubedrill.history import Lane, LaneFigures, Outcome, Sample
from kubedrill.probes.wire import Endpoint, Link, Unanswered

LANE = Lane("api-read", "API read", 0.1, "read", "new")


def sample(start: float, end: float, outcome: str = "ok") -> Sample:
    assert outcome in ("ok", "failed", "unknown")
    return Sample(start, end, outcome)  # type: ignore[arg-type]


def samples(*rows: tuple[float, float, str]) -> list[Sample]:
    return [sample(*row) for row in rows]


def test_a_lane_that_ended_before_the_others_is_not_late_since_then() -> None:
    found = samples((0, 0.01, "ok"), (0.1, 0.2, "failed"))
    assert availability.figures(LANE, found, (), 60).windows == ((0.1, 60),)
    ended = availability.figures(replace(LANE, ended=0.3), found, (), 60)
    assert ended.windows == ((0.1, 0.3),)
    assert ended.stalled == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("rows", "windows"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(0, 1, "ok"), (1, 2, "ok")], [], id="all-ok"),
        pytest.param([(0, 1, "ok"), (2, 2, "failed"), (3, 4, "ok")], [(2, 4)], id="until-the-answer-not-the-question"),
        pytest.param([(0, 1, "failed"), (3, 4, "ok")], [(0, 4)], id="from-the-very-beginning"),
        pytest.param([(0, 1, "ok"), (3, 4, "unknown")], [(3, 99)], id="to-the-end-of-the-run"),
        pytest.param([(0, 1, "failed"), (1, 2, "unknown")], [(0, 99)], id="never-ok"),
        pytest.param(
            [(0, 1, "ok"), (2, 2, "failed"), (3, 4, "ok"), (5, 5, "failed"), (6, 7, "ok")], [(2, 4), (5, 7)], id="two"
        ),
        pytest.param(
            [(0, 9, "ok"), (1, 1, "failed"), (2, 3, "ok")], [(1, 3)], id="an-earlier-slow-answer-ends-nothing"
        ),
        pytest.param([(1, 1, "failed"), (2, 9, "ok"), (3, 4, "ok")], [(1, 4)], id="a-faster-later-answer-ends-it"),
        pytest.param(
            [(1, 1, "failed"), (2, 9, "ok"), (3, 3, "failed"), (10, 11, "ok")],
            [(1, 11)],
            id="a-slow-answer-hides-no-later-failure",
        ),
        pytest.param([(1, 1, "failed"), (2, 5, "ok"), (5, 5, "failed"), (6, 7, "ok")], [(1, 7)], id="touching-are-one"),
        pytest.param([(1, 1, "failed"), (1, 2, "ok"), (3, 4, "ok")], [(1, 4)], id="a-question-of-the-same-moment"),
        pytest.param([(100, 101, "failed")], [(100, 100)], id="after-the-end"),
    ],
)
def test_windows(rows: list[tuple[float, float, str]], windows: list[tuple[float, float]]) -> None:
    assert list(availability.downtime(samples(*rows), 99)) == windows
    assert list(availability.downtime(reversed(samples(*rows)), 99)) == windows


def reference(history: Sequence[Sample], run_end: float, moment: float) -> bool:
    """Whether a moment is downtime: some unanswered question is older, and no answer to a later one has come yet."""
    return any(
        bad.start <= moment
        and all(good.end > moment for good in history if good.outcome == "ok" and good.start > bad.start)
        for bad in history
        if bad.outcome != "ok"
    )


def random_history(dice: random.Random) -> list[Sample]:
    """Whole tenths, overlapping, with runs of failures; kept as integers so that nothing rounds."""
    history = []
    bad = False
    for tick in range(dice.randrange(1, 60)):
        if dice.random() < 0.2:
            bad = not bad
        outcome = dice.choice(["failed", "unknown"]) if bad else "ok"
        history.append(sample(tick, tick + dice.choice([0, 1, 1, 2, 10]), outcome))
    dice.shuffle(history)
    return history


@pytest.mark.parametrize("seed", range(200))
def test_windows_agree_with_a_slow_reference(seed: int) -> None:
    history = random_history(random.Random(seed))
    end = 80
    windows = availability.downtime(history, end)
    for half in range(2 * end):
        moment = half / 2
        assert any(start <= moment < stop for start, stop in windows) == reference(history, end, moment), moment
    assert all(before[1] < after[0] for before, after in pairwise(windows))


@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("way", ["hangs", "refuses"])
def test_a_real_outage_is_understated_by_an_interval_at_most(seed: int, way: str) -> None:
    """A service that is away for a while, asked at 10 Hz with a timeout of 1 s: the figure covers the truth."""
    dice = random.Random(seed)
    gone, length = dice.uniform(2, 4), dice.uniform(1.2, 5)
    back = gone + length
    history = []
    for tick in range(120):
        start = tick * 0.1 + dice.uniform(0, 0.01)
        took = dice.uniform(0.005, 0.05)
        if not gone <= start < back:
            history.append(sample(start, start + took))
        elif way == "refuses":
            history.append(sample(start, start + took, "failed"))
        elif back + took - start <= 1:
            history.append(sample(start, back + took))
        else:
            history.append(sample(start, start + 1, "unknown"))
    found = availability.figures(LANE, history, [(gone, back)], 12)
    assert len(found.windows) == 1
    assert found.longest >= length - 0.1 - found.stalled
    assert found.longest <= length + 0.1 + found.stalled + 0.06


def test_figures_of_a_fault() -> None:
    rows = [(n / 10, n / 10 + 0.01, "ok") for n in range(10)]
    rows += [(1.0, 1.2, "ok"), (1.1, 1.1, "failed"), (1.2, 2.2, "unknown"), (1.3, 1.35, "ok"), (2.0, 2.02, "ok")]
    found = availability.figures(LANE, samples(*rows), [(1.05, 1.5)], 2.1, overhead=0.03)
    assert (found.samples, found.failed, found.unknown) == (15, 1, 1)
    assert found.windows == ((1.1, 1.35),)
    assert found.downtime == found.longest == pytest.approx(0.25)
    assert found.latency["before"]["max"] == pytest.approx(0.01)
    assert found.latency["during"] == {
        "p50": pytest.approx(0.05),
        "p95": pytest.approx(0.2),
        "max": pytest.approx(0.2),
    }
    assert found.latency["after"]["p50"] == pytest.approx(0.02)
    assert found.stalled == pytest.approx(0.6)
    assert found.overhead == 0.03
    assert availability.error_share(found) == pytest.approx(2 / 15)


def test_figures_of_nothing() -> None:
    found = availability.figures(LANE, [], [(1, 2)], 10)
    assert found == LaneFigures("api-read", 0, 0, 0, 0, 0, ())
    assert availability.error_share(found) == 0


def test_a_sampler_that_dies_is_stalled_until_the_end_of_the_run() -> None:
    assert availability.figures(LANE, samples((0, 0.1, "ok"), (0.1, 0.2, "ok")), [], 10).stalled == pytest.approx(9.8)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 2), (51, 3), (95, 4), (100, 4), (1, 1), (25, 1), (75, 3)]
)  # fmt: skip
def test_percentiles_are_by_nearest_rank(percent: float, expected: float) -> None:
    assert availability.percentile([4, 1, 3, 2], percent) == expected


def asked(*rows: tuple[float, float, Outcome, str]) -> list[Sample]:
    return [Sample(*row) for row in rows]


def test_refused_from_the_first_to_the_last_connection_before_the_next_answer() -> None:
    seen = asked(
        (1.0, 1.1, "ok", ""), (1.2, 1.2, "failed", "connecting: connection refused"),
        (1.3, 3.3, "unknown", "TLS: timed out"), (1.9, 1.9, "failed", "connecting: connection refused"),
        # asked before the last refusal, answered after it: the answer ends the window
        (1.8, 2.5, "ok", ""), (2.6, 2.6, "failed", "500 Internal Server Error"),
        (2.7, 2.7, "failed", "connecting: connection refused"),
    )  # fmt: skip
    assert availability.refused(reversed(seen)) == ((1.2, 1.9), (2.7, 2.7))
    assert availability.figures(LANE, seen, [], 3.0).refused == ((1.2, 1.9), (2.7, 2.7))
    assert availability.refused(asked((1.0, 1.1, "ok", ""), (1.2, 3.2, "unknown", "TLS: timed out"))) == ()


def test_this_is_what_a_port_where_nobody_listens_says() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nobody = Endpoint.of(f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(Unanswered) as caught:
            Link(nobody, time.monotonic() + 5)
    assert str(caught.value).endswith(availability.REFUSED)


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [
        ((), ((1, 2),), 0), (((1, 2),), (), 0), (((1, 2),), ((2, 3),), 0), (((1, 2),), ((3, 4),), 0),
        (((1, 5),), ((2, 3),), 1), (((1, 2), (4, 9)), ((1.5, 2), (6, 12)), 3),
    ],
)  # fmt: skip
def test_together(one: tuple[Window, ...], other: tuple[Window, ...], length: float) -> None:
    assert availability.together(one, other) == availability.together(other, one) == length


GOOD = LaneFigures("api-read", 100, 0, 0, 0, 0, (), stalled=0.1, overhead=0.05)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"samples": 9}, "9 samples, 10 are needed"),
        ({"stalled": 0.51}, "0.51 s late"),
        ({"overhead": 0.2}, "20% of a core"),
    ],
)
def test_what_cannot_be_judged(changed: dict[str, float], why: str) -> None:
    assert availability.judgeable(GOOD, LANE, 10, 0.5, 0.1)[0]
    ok, said = availability.judgeable(replace(GOOD, **changed), LANE, 10, 0.5, 0.1)  # type: ignore[arg-type]
    assert not ok
    assert why in said


def write(number: int, outcome: Outcome = "ok", revision: int | None = None, took: float = 0.5) -> Write:
    return Write(number, number, number + took, outcome, revision)


NOTHING = WritesCheck(0, (), (), 0, 0)


@pytest.mark.parametrize(
    ("ledger", "found", "expected"),
    [
        pytest.param([], {}, NOTHING, id="nothing"),
        pytest.param([write(1), write(2)], {"a": [1], "b": [2]}, replace(NOTHING, acknowledged=2), id="all-there"),
        pytest.param([write(1), write(2)], {"a": [1]}, replace(NOTHING, acknowledged=2, lost=(2,)), id="the-last-lost"),
        pytest.param([write(1), write(2)], {"a": [2]}, replace(NOTHING, acknowledged=2, lost=(1,)), id="first-lost"),
        pytest.param([write(1)], {"a": []}, replace(NOTHING, acknowledged=1, lost=(1,)), id="an-object-lost"),
        pytest.param(
            [write(1), write(2)], {"a": [2, 1]}, replace(NOTHING, acknowledged=2, reordered=((1, 2),)), id="reordered"
        ),
        pytest.param(
            [write(1), write(2)], {"a": [1, 2, 1]},
            replace(NOTHING, acknowledged=2, reordered=((1, 1), (1, 2))), id="twice",
        ),
        pytest.param(
            [write(1, took=5), write(2)], {"a": [2, 1]}, replace(NOTHING, acknowledged=2), id="at-once-has-no-order"
        ),
        pytest.param(
            [write(1, "unknown"), write(2, "unknown"), write(3)], {"a": [2, 3]},
            replace(NOTHING, acknowledged=1, unknown=2, unknown_found=1), id="unknown-may-be-there-or-not",
        ),
        pytest.param(
            [write(1, "unknown"), write(2)], {"a": [2, 1]},
            replace(NOTHING, acknowledged=1, unknown=1, unknown_found=1, reordered=((1, 2),)), id="unknown-too-late",
        ),
        pytest.param([write(1, "failed")], {"a": [1]}, replace(NOTHING, undead=(1,)), id="undead"),
        pytest.param([write(1, "failed")], {"a": []}, NOTHING, id="not-done"),
        pytest.param([], {"a": [7]}, replace(NOTHING, unrecorded=(7,)), id="not-on-record"),
        pytest.param(
            [write(1, revision=9), write(2, revision=5)], {"a": [1], "b": [2]},
            replace(NOTHING, acknowledged=2, reordered=((1, 2),)), id="acknowledged-at-an-earlier-revision",
        ),
        pytest.param(
            [write(1, revision=9, took=5), write(2, revision=5)], {"a": [1], "b": [2]},
            replace(NOTHING, acknowledged=2), id="at-once-may-have-any-revision",
        ),
    ],
)  # fmt: skip
def test_lost_writes(ledger: Iterable[Write], found: dict[str, list[int]], expected: WritesCheck) -> None:
    check = availability.lost_writes(ledger, found)
    assert check == expected
    assert check.intact == (not (expected.lost or expected.reordered or expected.undead))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([1, 2, 5], replace(NOTHING, acknowledged=5, rolled_back=(3, 4)), id="as-it-must-be"),
        pytest.param([1, 5], replace(NOTHING, acknowledged=5, lost=(2,), rolled_back=(3, 4)), id="an-older-snapshot"),
        pytest.param([1, 2], replace(NOTHING, acknowledged=5, lost=(5,), rolled_back=(3, 4)), id="lost-after-it"),
        pytest.param([1, 2, 3, 5], replace(NOTHING, acknowledged=5, undead=(3,), rolled_back=(4,)), id="no-restore"),
    ],
)
def test_a_store_that_was_restored(found: list[int], expected: WritesCheck) -> None:
    """Two writes are in the snapshot of revision 20, two came after it, one after the restore."""
    revisions = {1: 10, 2: 20, 3: 21, 4: 30, 5: 1000}
    ledger = [write(number, revision=revision) for number, revision in revisions.items()]
    assert availability.lost_writes(ledger, {"a": found}, availability.Restored(20, 4.7)) == expected


def test_a_restored_store_that_counts_again_from_the_snapshot_is_found_out() -> None:
    ledger = [write(1, revision=10), write(2, revision=30), write(3, revision=11)]
    check = availability.lost_writes(ledger, {"a": [1, 3]}, availability.Restored(10, 2.7))
    assert (check.reordered, check.rolled_back) == (((2, 3),), (2,))


@pytest.mark.parametrize("seed", range(100))
def test_a_store_that_goes_back_in_time_is_found_out(seed: int) -> None:
    """A correct store of lists never alarms; one that forgets its latest acknowledged changes always does."""
    dice = random.Random(seed)
    slots: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    ledger, revision, lost = [], 10, set()
    forget_at = dice.choice([None, dice.randrange(20, 60)])
    for number in range(1, 80):
        if number == forget_at:
            slot = dice.choice([name for name, numbers in slots.items() if numbers])
            count = dice.randrange(1, len(slots[slot]) + 1)
            lost = set(slots[slot][-count:])
            del slots[slot][-count:]
        outcome: Outcome = dice.choices(["ok", "failed", "unknown"], [8, 1, 1])[0]  # type: ignore[assignment]
        if outcome == "ok" or (outcome == "unknown" and dice.random() < 0.5):
            revision += dice.randrange(1, 4)
            slots["abc"[number % 3]].append(number)
        ledger.append(write(number, outcome, revision if outcome == "ok" else None))
    acknowledged = {item.number for item in ledger if item.outcome == "ok"}
    check = availability.lost_writes(ledger, slots)
    assert set(check.lost) == lost & acknowledged
    assert not check.reordered
    assert not check.undead
    assert not check.unrecorded
