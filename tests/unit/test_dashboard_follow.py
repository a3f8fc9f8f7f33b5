"""A drill that another process runs, followed by its files: its lanes, and how it ended."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from kubedrill import history, live
from kubedrill.dashboard.follow import Follower
from kubedrill.dashboard.lanes import LaneTail, letters
from kubedrill.history import Lane, Outcome, Run, Sample, Step
from kubedrill.journal import Journal, Owner
from kubedrill.live import Live, Present

LANE = Lane("api-read", "API read", 0.1, "read", "new")
ABOUT = Live("lab", "hello", "A title", 1000.0, Owner.me(), "assumptions")
DEAD = replace(Owner.me(), started=Owner.me().started + 1)


def lines(*samples: Sample) -> bytes:
    return "".join(json.dumps(asdict(sample)) + "\n" for sample in samples).encode()


def sampled(begin: float, end: float, outcome: Outcome = "ok") -> list[Sample]:
    return [Sample(n / 10, n / 10 + 0.05, outcome, outcome) for n in range(int(begin * 10), int(end * 10))]


def test_a_strip_shows_the_worst_of_each_half_second_and_what_was_not_asked() -> None:
    shown = letters([*sampled(58, 59), Sample(58.6, 58.7, "unknown"), Sample(58.7, 58.8, "failed")], 59.9)
    assert len(shown) == 120
    assert shown.endswith(" of  ")
    assert shown.strip() == "of"


def test_an_open_gap_counts_and_a_closed_one_is_only_the_longest() -> None:
    tail = LaneTail()
    data = lines(*sampled(0, 10), *sampled(10, 13, "failed"))
    for piece in (data[:100], data[100:101], data[101:]):  # a write may be seen in the middle of a line
        tail.take(piece)
    now = tail.now(13.0)
    assert (now.gap, now.longest, now.counts, now.detail) == (3.0, 3.0, (100, 30, 0), "failed")
    tail.take(lines(*sampled(13, 14)))
    now = tail.now(14.0)
    assert (now.gap, now.longest) == (0.0, 3.05)


def test_a_gap_is_not_forgotten_while_it_is_open() -> None:
    tail = LaneTail()
    tail.take(lines(*sampled(0, 10)))
    for second in range(10, 400):
        tail.take(lines(*sampled(second, second + 1, "failed")))
        now = tail.now(second + 1.0)
    assert now.gap == 390.0


def test_what_is_sampled_no_more_has_no_gap() -> None:
    tail = LaneTail()
    tail.take(lines(*sampled(0, 10), *sampled(10, 11, "failed")))
    now = tail.now(60.0)
    assert (now.sampled, now.gap, now.longest) == (False, 0.0, 0.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal", Owner.me())


def follower(tmp_path: Path, journal: Journal) -> Follower:
    return Follower("lab", tmp_path, journal)


def look(one: Follower, now: float = 1005.0) -> Any:
    return one.look(now)["run"]


def test_a_drill_is_followed_from_its_first_line_to_its_verdict(tmp_path: Path, journal: Journal) -> None:
    folder, one = tmp_path / "20261124-hello", follower(tmp_path, journal)
    folder.mkdir()
    assert look(one) is None
    present = [Present("assumptions", [], "", [])]
    with live.going_on(folder, ABOUT, lambda: present[0]) as tell:
        tell()
        assert (look(one)["status"], look(one)["lanes"]) == ("running", [])
        steps = [Step(float(n), "baseline", f"line {n}") for n in range(40)]
        present[0] = Present("baseline", steps, "a pod: not there", [LANE])
        tell()
        history.write_samples(sampled(0, 4), folder, "api-read")
        seen = look(one)
        assert (seen["phase"], seen["waiting"], seen["steps"][0]["text"]) == ("baseline", "a pod: not there", "line 39")
        assert seen["lanes"][0]["counts"] == (40, 0, 0)
        with (folder / "samples/api-read.jsonl").open("ab") as file:
            file.write(lines(*sampled(4, 5, "failed")))
        assert look(one)["lanes"][0]["counts"] == (40, 10, 0)
        assert look(one)["lanes"][0]["gap"] == pytest.approx(0.95)
        history.save(Run("hello", "", "failed", "too slow", "", 5.0, {}, "", ""), folder)
    assert not (folder / live.FILE).exists()
    assert (look(one)["status"], look(one)["reason"]) == ("failed", "too slow")


def test_a_drill_of_another_cluster_is_none_of_ours(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "run").mkdir()
    with live.going_on(tmp_path / "run", replace(ABOUT, cluster="other"), lambda: Present("fault", [], "", [])) as tell:
        tell()
        assert look(follower(tmp_path, journal)) is None


def test_a_drill_whose_process_was_killed_does_not_run_for_ever(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "run").mkdir()
    file, one = tmp_path / "run" / live.FILE, follower(tmp_path, journal)
    file.write_text(json.dumps(asdict(ABOUT)))
    assert look(one)["status"] == "running"
    file.write_text(json.dumps(asdict(replace(ABOUT, owner=DEAD))))
    assert look(one)["status"] == "killed"
    assert look(follower(tmp_path, journal)) is None


def test_what_is_broken_now_is_told_apart_from_what_a_killed_run_left(tmp_path: Path, journal: Journal) -> None:
    journal.write(journal.entry("aaaaaaaa", "stop the kubelet", "", (), ()))
    dead = Journal(journal.folder, DEAD)
    dead.write(dead.entry("bbbbbbbb", "kill the node", "", (), ()))
    seen = follower(tmp_path, journal).look(0.0)
    assert [one["fault"] for one in seen["broken"]] == ["stop the kubelet"]
    assert seen["left"] == ["kill the node"]


def test_a_file_that_cannot_be_read_is_no_drill(tmp_path: Path) -> None:
    (tmp_path / live.FILE).write_text('{"cluster": "lab"')
    assert live.read(tmp_path) is None
    (tmp_path / live.FILE).write_text("[]")
    assert live.read(tmp_path) is None
