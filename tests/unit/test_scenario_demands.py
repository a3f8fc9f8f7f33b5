"""What a drill requires, and what excuses it."""

from __future__ import annotations

import lab_world
import pytest
from lab_world import WORKER, Make, World, at_least

from kubedrill.availability import Restored, WritesCheck
from kubedrill.history import Requirement
from kubedrill.linearizability import Judgement
from kubedrill.scenario import rules
from kubedrill.scenario.judge import Untrustworthy

make, world = lab_world.make, lab_world.world  # fixtures


@pytest.fixture
def full(make: Make) -> World:
    made = make()
    made.monitor.cores.full = "cores were 95% busy"
    return made


class TestRequire:
    def test_require(self, world: World) -> None:
        world.lab.require("no failed request", True, 0)
        world.lab.require("no lost write", False, "2 lost")
        assert world.lab.requirements == [
            Requirement("no failed request", "0", True), Requirement("no lost write", "2 lost", False),
        ]  # fmt: skip
        assert world.kinds() == [
            ("assumptions", "say", "met: no failed request (0)"),
            ("assumptions", "fail", "NOT MET: no lost write (2 lost)"),
        ]

    @pytest.mark.parametrize(
        ("gaps", "between", "longest", "ok"),
        [
            ((), None, "0.00", True),
            (((10, 12),), None, "2.00", True),
            (((10, 13),), None, "3.00", True),
            (((10, 13.01),), None, "3.01", False),
            (((1, 2), (10, 17), (20, 21)), None, "7.00", False),
            (((1, 2), (10, 17), (20, 21)), (0, 10), "1.00", True),
            (((1, 2), (10, 17), (20, 21)), (10, 20), "7.00", False),
            (((1, 2), (10, 17), (20, 21)), (17, 30), "1.00", True),
            (((1, 2), (10, 17)), (50, 60), "0.00", True),
        ],
    )
    def test_downtime(
        self, world: World, gaps: tuple[tuple[float, float], ...], between: tuple[float, float] | None, longest: str,
        ok: bool,
    ) -> None:  # fmt: skip
        world.monitor.gaps = gaps
        world.lab.require_downtime("api-read", 3, between=between)
        text = "The api-read: no gap longer than 3 s"
        assert world.required() == [(text, f"longest gap {longest} s", ok, "gap")]

    @pytest.mark.parametrize(
        ("bad", "measured", "ok"),
        [
            ((0, 0), "0 of 200 (0.00%)", True), ((1, 0), "1 of 200 (0.50%)", False),
            ((0, 1), "1 of 200 (0.50%)", False), ((3, 1), "4 of 200 (2.00%)", False),
        ],
    )  # fmt: skip
    def test_no_failure(self, world: World, bad: tuple[int, int], measured: str, ok: bool) -> None:
        world.monitor.bad = bad
        world.lab.require_no_failure("service")
        assert world.required() == [("The service: no failed request", measured, ok, "no-failure")]

    @pytest.mark.parametrize(
        ("check", "measured", "ok"),
        [
            (WritesCheck(9, (), (), 2, 1),
             "9 acknowledged, 0 lost, 0 out of order, 2 of unknown outcome (1 of them found)", True),
            (WritesCheck(0, (), (), 0, 0),
             "0 acknowledged, 0 lost, 0 out of order, 0 of unknown outcome (0 of them found)", False),
            (WritesCheck(9, (4, 5), (), 0, 0),
             "9 acknowledged, 2 lost, 0 out of order, 0 of unknown outcome (0 of them found)", False),
            (WritesCheck(9, (), ((1, 2),), 0, 0),
             "9 acknowledged, 0 lost, 1 out of order, 0 of unknown outcome (0 of them found)", False),
            (WritesCheck(9, (), (), 0, 0, undead=(3,)),
             "9 acknowledged, 0 lost, 0 out of order, 0 of unknown outcome (0 of them found), 1 there that cannot be",
             False),
        ],
    )  # fmt: skip
    def test_writes(self, world: World, check: WritesCheck, measured: str, ok: bool) -> None:
        world.monitor.check = check
        world.lab.require_writes()
        assert world.required() == [("every acknowledged write is there, in order", measured, ok, "writes")]
        assert rules.proven(world.lab.requirements[0]) == (check.acknowledged > 0 and not ok)

    def test_writes_after_a_restore(self, world: World) -> None:
        world.monitor.check = WritesCheck(9, (), (), 0, 0, rolled_back=(7, 8))
        world.lab.require_writes(Restored(100, 5.0))
        (one,) = world.lab.requirements
        assert one.ok
        assert "up to the snapshot" in one.text
        assert one.measured.endswith(", 2 lost with what was younger than the snapshot")
        assert one.rule == {"kind": "writes", "proven": False, "restored": {"revision": 100, "at": 5.0}}
        asked = []

        def check(restored: Restored | None) -> WritesCheck:
            asked.append(restored)
            return world.monitor.check

        assert rules.again(one, {}, {}, check, world.monitor.judge) == one
        assert asked == [Restored(100, 5.0)]

    def test_linearizable(self, world: World) -> None:
        world.lab.require_linearizable(Restored(100, 5.0))
        text = "one order explains all reads and writes of each object, the restore of the snapshot one of them"
        assert world.required() == [(text, "all of it", True, "linearizable")]
        assert world.monitor.restored == [Restored(100, 5.0)]
        assert world.lab.doubts == []

    def test_not_linearizable_is_a_failure_and_not_decided_is_none(self, world: World) -> None:
        text = "one order explains all reads and writes of each object"
        world.monitor.judgement = Judgement("not linearizable", "a stale read", 20, 9)
        world.lab.require_linearizable()
        assert (world.required(), world.lab.doubts) == ([(text, "a stale read", False, "linearizable")], [])
        world.monitor.judgement = Judgement("unknown", "too long", 20, 9)
        world.lab.require_linearizable()
        assert world.lab.doubts == [f"{text}: too long"]

    @pytest.mark.parametrize(
        ("other", "measured", "ok"),
        [
            (((4.5, 6.0),), "never two", True),
            (((9.0, 12.5), (3.0, 5.0)), "api-read and service for 2.50 s", False),
        ],
    )  # fmt: skip
    def test_never_together(self, full: World, other: tuple[tuple[float, float], ...], measured: str, ok: bool) -> None:
        full.monitor.refused = {"api-read": ((1.0, 4.0), (10.0, 20.0)), "service": other}
        full.lab.require_never_together(["api-read", "service"], "API servers")
        assert full.required() == [("API servers: never two away at a time", measured, ok, "together")]
        (one,) = full.lab.requirements
        assert rules.proven(one) != ok, "no cores were too full for it"
        figures = {name: full.monitor.figures(name, ()) for name in full.monitor.names()}
        assert rules.again(one, {}, figures, lambda _: full.monitor.check, full.monitor.judge) == one

    def test_lanes_without_samples_are_not_never_together(self, world: World) -> None:
        world.monitor.samples = 0
        world.lab.require_never_together(["api-read", "service"], "API servers")
        (one,) = world.lab.requirements
        assert (one.ok, rules.proven(one)) == (False, False)
        assert one.measured == "never two; nothing was asked on api-read, service"

    def test_a_lane_without_samples_is_not_without_failure(self, world: World) -> None:
        world.monitor.samples = 0
        world.lab.require_no_failure("service")
        assert world.required() == [("The service: no failed request", "0 of 0 (0.00%)", False, "no-failure")]

    def test_figures_know_when_something_was_broken(self, world: World) -> None:
        with world.lab.fault(WORKER):
            pass
        world.lab.figures("service")
        assert world.monitor.faults == [(0, 3)]


class TestRequireSeen:
    def test_what_is_seen_is_met(self, world: World) -> None:
        assert world.lab.require_seen("it comes", world.clock.monotonic, at_least(3), within=9)
        ((text, measured, ok, _),) = [(one.text, one.measured, one.ok, 0) for one in world.lab.requirements]
        assert (text, ok) == ("it comes", True)
        assert measured.startswith("after ")

    def test_what_is_not_is_not_and_the_drill_goes_on(self, world: World) -> None:
        assert not world.lab.require_seen("it comes", lambda: 0, at_least(1), within=2)
        (one,) = world.lab.requirements
        assert not one.ok
        assert "last seen: 0" in one.measured


class TestFullCores:
    """What was late while every core was busy is inconclusive; what was lost is lost, and what was in time was."""

    def test_a_limit_of_time_that_is_not_met_is_a_doubt(self, full: World) -> None:
        full.monitor.gaps = ((1.0, 9.0),)
        full.lab.require_downtime("service", 2)
        (doubt,) = full.lab.excuses
        assert doubt.endswith("(cores were 95% busy)")

    def test_the_host_took_the_cores_just_then(self, world: World) -> None:
        world.monitor.gaps, world.monitor.cores.away = ((1.0, 2.5), (10.0, 17.0), (30.0, 32.5)), (9.0, 40.0)
        world.lab.require_downtime("api-read", 2)
        (doubt,) = world.lab.excuses
        assert doubt.endswith("longest gap 7.00 s (the host had them)"), "the gap that was short enough needs no excuse"

    def test_the_host_took_them_at_another_time(self, world: World) -> None:
        world.monitor.gaps, world.monitor.cores.away = ((10.0, 17.0), (30.0, 32.5)), (9.0, 20.0)
        world.lab.require_downtime("api-read", 2)
        assert world.lab.excuses == []

    @pytest.mark.parametrize(
        ("away", "excused"),
        [((9.0, 40.0), ["the API is back within 25 s: 27.0 s (the host had them)"]), ((9.0, 30.0), [])],
    )
    def test_what_took_too_long_is_excused_as_a_gap_is(
        self, world: World, away: tuple[float, float], excused: list[str]
    ) -> None:
        world.monitor.cores.away = away
        world.lab.require_within("the API is back", 10, 37, 25)
        assert world.lab.excuses == excused
        assert world.required() == [("the API is back within 25 s", "27.0 s", False, "within")]
        world.lab.require_within("it is back", 10, 35, 25)
        assert world.lab.requirements[-1].ok

    def test_one_that_is_met_is_met(self, full: World) -> None:
        full.lab.require_downtime("service", 2)
        assert full.lab.excuses == []
        assert full.lab.requirements[0].ok

    def test_what_was_lost_is_lost(self, full: World) -> None:
        full.lab.require("it is there", False, "nothing")
        assert full.lab.excuses == []

    def test_a_lane_that_fell_silent_has_its_reason(self, full: World) -> None:
        full.monitor.silent = {"service"}
        with pytest.raises(Untrustworthy, match=r"succeeded on: service \(cores were 95% busy"):
            full.lab.baseline(1)

    def test_one_that_never_worked_has_none_in_the_cores(self, full: World) -> None:
        full.monitor.silent = full.monitor.dead = {"service"}
        with pytest.raises(Untrustworthy, match=r"succeeded on: service$"):
            full.lab.baseline(1)
