"""The verdict, and the story that is told on the way to it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kubedrill.history import Phase, Requirement, Step
from kubedrill.scenario.judge import Ending, verdict
from kubedrill.scenario.narrator import Narrator

MET = Requirement("no write is lost", "0 lost", True)
UNMET = Requirement("no gap longer than 3 s", "longest gap 7.50 s", False)
UNMET_TOO = Requirement("no failed request", "4 of 90", False)
WENT_WELL = Ending()
BROKE = Ending("the API answers: not within 30 s")
WORTHLESS = Ending("before any fault nothing succeeded on: watch", untrustworthy=True)
DOUBT = "watch: 3 samples, 30 are needed"


class TestVerdict:
    @pytest.mark.parametrize(
        ("ending", "requirements", "doubts", "judged", "reason"),
        [
            (WENT_WELL, [MET], [], "passed", "1 requirements met"),
            (WENT_WELL, [MET, MET], [], "passed", "2 requirements met"),
            (WENT_WELL, [MET, UNMET], [], "failed", "not met: no gap longer than 3 s: longest gap 7.50 s"),
            (WENT_WELL, [UNMET, MET, UNMET_TOO], [], "failed",
             "not met: no gap longer than 3 s: longest gap 7.50 s; no failed request: 4 of 90"),
            (BROKE, [MET], [], "failed", BROKE.error),
            (BROKE, [], [], "failed", BROKE.error),
            (BROKE, [UNMET], [], "failed", BROKE.error),
            (WENT_WELL, [], [], "inconclusive", "the drill required nothing: an empty history is no pass"),
            (WENT_WELL, [MET], [DOUBT, "dns: no samples"], "inconclusive", f"{DOUBT}; dns: no samples"),
            # a failure that cannot be trusted is none
            (WENT_WELL, [UNMET], [DOUBT], "inconclusive", DOUBT),
            (BROKE, [MET], [DOUBT], "inconclusive", DOUBT),
            (WORTHLESS, [MET], [], "inconclusive", WORTHLESS.error),
            (WORTHLESS, [UNMET], [DOUBT], "inconclusive", WORTHLESS.error),
        ],
    )  # fmt: skip
    def test_table(
        self, ending: Ending, requirements: Sequence[Requirement], doubts: Sequence[str], judged: str, reason: str
    ) -> None:
        assert verdict(ending, requirements, doubts) == (judged, reason)

    def test_late_samples_leave_no_doubt_of_a_fact(self) -> None:
        lost = Requirement("no write is lost", "2 lost", False, {"kind": "writes", "proven": True})
        assert verdict(BROKE, [MET, UNMET, lost], [], [DOUBT]) == ("failed", "not met: no write is lost: 2 lost")
        assert verdict(WENT_WELL, [lost], ["it could not be read back"], [DOUBT])[0] == "inconclusive"
        assert verdict(WORTHLESS, [lost], [], [DOUBT])[0] == "inconclusive"
        assert verdict(BROKE, [MET, UNMET], [], [DOUBT]) == ("inconclusive", DOUBT)


class Story:
    """A narrator with a clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = 0.0
        self.told: list[str] = []
        self.narrator = Narrator(lambda: self.time, self.told.append)

    def enter(self, time: float, phase: str) -> None:
        """Enter a phase at a time."""
        self.time = time
        self.narrator.enter(phase)


class TestNarrator:
    def test_phases_follow_each_other_without_a_gap(self) -> None:
        story = Story()
        for time, phase in ((4, "baseline"), (9, "fault"), (20, "heal"), (21, "converge"), (30, "verify")):
            story.enter(time, phase)
        story.time = 33
        story.narrator.end()
        assert story.narrator.phases == [
            Phase("assumptions", 0, 4), Phase("baseline", 4, 9), Phase("fault", 9, 20), Phase("heal", 20, 21),
            Phase("converge", 21, 30), Phase("verify", 30, 33),
        ]  # fmt: skip
        assert story.told == ["-- baseline", "-- fault", "-- heal", "-- converge", "-- verify"]

    def test_a_second_fault_is_a_second_phase(self) -> None:
        story = Story()
        for time, phase in ((1, "fault"), (2, "converge"), (3, "fault"), (4, "heal")):
            story.enter(time, phase)
        fault = [phase for phase in story.narrator.phases if phase.name == "fault"]
        assert fault == [Phase("fault", 1, 2), Phase("fault", 3, 4)]

    def test_entering_the_present_phase_changes_nothing(self) -> None:
        story = Story()
        story.enter(2, "baseline")
        story.enter(5, "baseline")
        story.enter(7, "fault")
        assert story.narrator.phases == [Phase("assumptions", 0, 2), Phase("baseline", 2, 7)]
        assert story.told == ["-- baseline", "-- fault"]

    def test_a_phase_that_took_no_time_is_left_out(self) -> None:
        story = Story()
        story.enter(0, "baseline")
        story.enter(3, "fault")
        assert story.narrator.phases == [Phase("baseline", 0, 3)]

    def test_an_unknown_phase_is_a_bug(self) -> None:
        with pytest.raises(AssertionError, match="lunch"):
            Story().narrator.enter("lunch")

    @pytest.mark.parametrize(
        ("expected", "measured", "told"),
        [
            (None, None, "hello"),
            (None, 2.34, "hello: seen after 2.3 s"),
            (2.6, 2.34, "hello: expected after about 3 s, seen after 2.3 s"),
            (30.0, 0.0, "hello: expected after about 30 s, seen after 0.0 s"),
            (30.0, None, "hello"),
        ],
    )
    def test_a_line(self, expected: float | None, measured: float | None, told: str) -> None:
        story = Story()
        story.enter(1, "fault")
        story.time = 7.5
        story.narrator.step("hello", "wait", expected, measured)
        assert story.told == ["-- fault", told]
        assert story.narrator.steps == [Step(7.5, "fault", "hello", "wait", expected, measured)]

    def test_waiting_is_told_and_not_kept(self) -> None:
        story = Story()
        story.narrator.waiting("all nodes are Ready", "1 of 3")
        assert story.told == ["   ... all nodes are Ready: 1 of 3"]
        assert story.narrator.steps == []
