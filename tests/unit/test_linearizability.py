"""Histories of single objects, judged by Porcupine itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubedrill import history, linearizability, porcupine
from kubedrill.availability import Restored
from kubedrill.errors import KubedrillError
from kubedrill.history import Outcome, Requirement, Run
from kubedrill.linearizability import NOTHING, Judgement, Operation, value
from kubedrill.scenario import rules
from kubedrill.scenario.rejudge import rejudge

ONE, TWO, THREE = value((1,)), value((1, 5)), value((1, 5, 9))


def wrote(before: str, after: str, start: float, revision: int | None = None, outcome: Outcome = "ok") -> Operation:
    return Operation("list", "api-write", "cas", start, start + 0.5, outcome, before, after, revision=revision)


def saw(seen: str, start: float, revision: int | None = None, key: str = "list") -> Operation:
    return Operation(key, "api-read", "read", start, start + 0.5, "ok", seen=seen, revision=revision)


# Three writes and what readers saw of them; the answer to the last write never came.
GOOD = (
    saw(NOTHING, 0), wrote(NOTHING, ONE, 1, 11), saw(ONE, 2, 11), wrote(ONE, TWO, 3, 12), saw(TWO, 4, 12),
    wrote(TWO, THREE, 5, outcome="unknown"), saw(TWO, 6, 12), saw(THREE, 7, 13),
)  # fmt: skip

Check = Callable[..., Judgement]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Asks the real checker."""
    said: list[str] = []

    def asked(operations: Sequence[Operation], restored: Restored | None = None, **settings: Any) -> Judgement:
        return porcupine.check(operations, restored, tmp_path, said.append, **settings)

    return asked


class TestValues:
    def test_nothing_is_the_value_of_what_is_not_there(self) -> None:
        assert value(()) == NOTHING

    def test_each_list_has_another(self) -> None:
        lists = [(), (1,), (15,), (1, 5), (5, 1), (1, 5, 9), (1, 9), (2, 5, 9)]
        assert len({value(numbers) for numbers in lists}) == len(lists)

    def test_it_says_what_it_is(self) -> None:
        assert value((1, 5, 9)).startswith("3 numbers up to 9 (")


class TestChecker:
    def test_a_history_that_can_be(self, check: Check, tmp_path: Path) -> None:
        (tmp_path / porcupine.PICTURE).write_text("of an earlier judgement")
        judged = check(GOOD)
        assert judged == Judgement(
            "linearizable", "1 objects, 5 reads, 2 writes acknowledged, 1 of unknown outcome", 5, 2
        )
        assert not (tmp_path / porcupine.PICTURE).exists()

    @pytest.mark.parametrize(
        ("place", "instead", "told"),
        [
            pytest.param(4, saw(ONE, 4), f"a read that saw '{ONE}' (api-read, 4.00 to 4.50 s)", id="a stale read"),
            pytest.param(4, saw(NOTHING, 4), "a read that saw nothing", id="a lost write"),
            pytest.param(7, saw(value((5,)), 7), f"a read that saw '{value((5,))}'", id="one write of several is lost"),
            pytest.param(4, saw(THREE, 4), f"a read that saw '{THREE}'", id="what was not written yet"),
            pytest.param(3, wrote(ONE, TWO, 3, outcome="failed"), f"a read that saw '{TWO}'", id="undead"),
            pytest.param(5, wrote(ONE, THREE, 5), f"a write that made '{THREE}' of '{ONE}'", id="a broken condition"),
        ],
    )  # fmt: skip
    def test_a_history_that_cannot_be(
        self, check: Check, tmp_path: Path, place: int, instead: Operation, told: str
    ) -> None:
        judged = check((*GOOD[:place], instead, *GOOD[place + 1 :]))
        assert judged.result == "not linearizable"
        assert "of list " in judged.measured
        assert told in judged.measured
        assert "<html" in (tmp_path / porcupine.PICTURE).read_text()

    def test_a_write_of_unknown_outcome_may_be_done_late_or_never_but_not_undone(self, check: Check) -> None:
        assert check(GOOD[:-1]).result == "linearizable"
        assert check((*GOOD, saw(TWO, 8))).result == "not linearizable"

    def test_objects_are_judged_one_by_one(self, check: Check) -> None:
        assert check((*GOOD, saw(NOTHING, 8, key="other"))).result == "linearizable"
        judged = check((*GOOD, saw(ONE, 8, key="other")))
        assert "of other 0 have an order, up to nothing" in judged.measured

    def test_what_is_not_decided_in_time_is_told_as_such(self, check: Check) -> None:
        at_once = [Operation("list", "us", "restore", 0, 9, "ok", after=str(number % 31)) for number in range(60)]
        judged = check([*at_once, saw("nowhere", 1)], timeout=0.2)
        assert judged.result == "unknown"
        assert "not decided within 0.2 s (list)" in judged.measured

    def test_what_it_does_not_understand_is_an_error(self, check: Check) -> None:
        with pytest.raises(KubedrillError, match="did not understand") as caught:
            check([replace(GOOD[0], end=-1.0)])
        assert "1000000000 ns before it starts" in str(caught.value)


class TestRestore:
    AFTER = (saw(TWO, 12, 12), wrote(TWO, value((1, 5, 13)), 13, 40), saw(value((1, 5, 13)), 14, 40))

    def test_what_was_younger_than_the_snapshot_may_be_lost(self, check: Check) -> None:
        assert check((*GOOD, *self.AFTER)).result == "not linearizable"
        assert check((*GOOD, *self.AFTER), Restored(12, 9.0)).result == "linearizable"

    def test_not_more_than_that(self, check: Check) -> None:
        """The snapshot is older than its owner believes."""
        assert check((*GOOD, *self.AFTER), Restored(13, 9.0)).result == "not linearizable"

    def test_not_before_it_was_restored(self, check: Check) -> None:
        assert check((*GOOD, *self.AFTER), Restored(12, 12.7)).result == "not linearizable"

    def test_each_object_becomes_what_it_was(self) -> None:
        operations = (*GOOD, saw(ONE, 3, 5, key="other"), saw(TWO, 4, 20, key="other"), saw(TWO, 4, 20, key="young"))
        added = linearizability.complete(operations, Restored(12, 9.0))[len(operations) :]
        assert [(one.key, one.after, one.start, one.end) for one in added] == [
            ("list", TWO, 9.0, 9.0), ("other", ONE, 9.0, 9.0), ("young", NOTHING, 9.0, 9.0)
        ]  # fmt: skip
        assert {one.kind for one in added} == {"restore"}

    def test_nothing_was_restored(self) -> None:
        assert linearizability.complete(GOOD, None) == GOOD
        assert linearizability.complete((), Restored(12, 9.0)) == ()


class TestRule:
    def test_met(self) -> None:
        one = rules.linearizable(Judgement("linearizable", "all of it", 5, 2))
        assert one == Requirement(
            "one order explains all reads and writes of each object", "all of it", True,
            {"kind": "linearizable", "decided": True, "proven": False},
        )  # fmt: skip
        assert rules.undecided([one]) == []

    @pytest.mark.parametrize(("reads", "writes"), [(0, 2), (5, 0), (0, 0)])
    def test_an_empty_history_is_no_pass(self, reads: int, writes: int) -> None:
        assert not rules.linearizable(Judgement("linearizable", "", reads, writes)).ok

    def test_not_met(self) -> None:
        one = rules.linearizable(Judgement("not linearizable", "stale", 5, 2))
        assert (one.ok, rules.undecided([one]), rules.proven(one)) == (False, [], True)

    def test_undecided(self) -> None:
        one = rules.linearizable(Judgement("unknown", "too long", 5, 2))
        assert not one.ok
        assert not rules.proven(one)
        assert rules.undecided([one]) == ["one order explains all reads and writes of each object: too long"]

    def test_after_a_restore(self) -> None:
        restored = Restored(12, 9.0)
        one = rules.linearizable(Judgement("linearizable", "", 5, 2), restored)
        assert one.rule["restored"] == {"revision": 12, "at": 9.0}
        asked: list[Restored | None] = []

        def judge(put_back: Restored | None) -> Judgement:
            asked.append(put_back)
            return Judgement("not linearizable", "now", 5, 2)

        again = rules.again(one, {}, {}, _never, judge)
        assert (again.ok, again.measured, asked) == (False, "now", [restored])


def _never(restored: Restored | None) -> Any:
    raise AssertionError("nobody asked for that")


class TestASavedRun:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A run that passed."""
        (tmp_path / "samples").mkdir()
        linearizability.save(GOOD, tmp_path)
        requirement = rules.linearizable(porcupine.check(GOOD, None, tmp_path, lambda _: None))
        assert requirement.ok
        run = Run("partition", "A drill", "passed", "all met", "2026-11-26T12:00:00+00:00", 9.0, {}, "v1.37.2", "here",
                  requirements=(requirement,))  # fmt: skip
        history.save(run, tmp_path)
        return tmp_path

    def test_it_is_judged_the_same_again(self, folder: Path) -> None:
        saved, again = rejudge(folder)
        assert (saved.verdict, again.verdict) == ("passed", "passed")
        assert again.requirements == saved.requirements

    def test_what_was_saved_is_what_was_kept(self, folder: Path) -> None:
        assert linearizability.load(folder) == GOOD

    def test_a_read_that_was_made_stale_is_noticed(self, folder: Path) -> None:
        file = folder / linearizability.FILE
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        lines[4]["seen"] = ONE
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        _, again = rejudge(folder)
        assert again.verdict == "failed"
        assert f"a read that saw '{ONE}' (api-read, 4.00 to 4.50 s)" in again.reason

    def test_a_write_that_was_taken_out_is_noticed(self, folder: Path) -> None:
        linearizability.save([one for one in GOOD if one.after != ONE], folder)
        _, again = rejudge(folder)
        assert again.verdict == "failed"

    def test_what_cannot_be_decided_is_inconclusive(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(porcupine, "check", lambda *_: Judgement("unknown", "not decided", 5, 2))
        _, again = rejudge(folder)
        assert again.verdict == "inconclusive"
        assert "not decided" in again.reason
