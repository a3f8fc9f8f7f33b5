"""New members of etcd that would not serve for seconds are started again: which ones, when, and in what order."""

from __future__ import annotations

import threading
from collections.abc import Callable

import bringup_world
import pytest
from bringup_world import SOON, Run, spec_of
from fake_kubernetes import PROMOTED, SNAPSHOT, WORD
from fake_node import Call, FakeNode

from kubedrill import etcd_members, join_phases
from kubedrill.shell import Result
from kubedrill.wait import until

run = bringup_world.run  # a fixture

KILL = "pkill --signal KILL --exact etcd"
SECOND, THIRD = "lab-control-plane-2", "lab-control-plane-3"
# What a member says of itself; which one it was is all the same to who reads it.
OVERTAKEN = SNAPSHOT + PROMOTED


def _hold(run: Run, enough: Callable[[], bool]) -> Callable[[FakeNode, Call], None]:
    """Joins that end no sooner than that is so."""

    def until_enough(node: FakeNode, call: Call) -> None:
        if call.argv == tuple(join_phases.AT_LAST):
            run.kubernetes.joined(node)
            until(enough, lambda yes: (yes, "not yet"), within=SOON, every=0.005, what="what is tested")

    return until_enough


@pytest.mark.parametrize(
    ("says", "ended"),
    [
        pytest.param({SECOND: [OVERTAKEN], THIRD: [OVERTAKEN]}, [SECOND, THIRD], id="both missed the word of itself"),
        pytest.param({SECOND: [WORD + OVERTAKEN], THIRD: [OVERTAKEN]}, [THIRD], id="one of them heard it"),
        pytest.param({SECOND: [OVERTAKEN, WORD + OVERTAKEN], THIRD: [WORD + PROMOTED]}, [], id="it came late"),
    ],
)
def test_who_missed_the_word_of_itself_is_started_again(run: Run, says: dict[str, list[str]], ended: list[str]) -> None:
    looked = {SECOND: 0, THIRD: 0}
    hold = _hold(run, lambda: run.ran(KILL) == ended if ended else sum(looked.values()) >= 5)

    def answer(node: FakeNode, call: Call) -> Result | None:
        hold(node, call)
        if call.argv == ("sh", "-c", etcd_members.LOG):
            said = says[node.name]
            # The first look finds that it votes.
            told = said[max(0, min(looked[node.name] - 1, len(said) - 1))]
            looked[node.name] += 1
            return Result(0, told + (WORD if node.name in run.ran(KILL) else ""), "")
        return Result(0, "", "") if call.line == KILL else None

    run.kubernetes.answers = answer
    run.up(spec_of(3, 0))
    assert run.ran(KILL) == ended


def test_none_is_before_all_vote(run: Run) -> None:
    """With two votes there is no majority without one of them."""
    looks = [0]
    hold = _hold(run, lambda: looks[0] > 20)

    def answer(node: FakeNode, call: Call) -> Result | None:
        hold(node, call)
        if call.argv == ("sh", "-c", etcd_members.LOG):
            if node.name == SECOND:
                return Result(0, OVERTAKEN, "")
            looks[0] += 1
            return Result(0, SNAPSHOT, "")
        if call.argv == tuple(join_phases.ETCD) and node.name == THIRD:
            until(lambda: looks[0], lambda many: (many > 20, str(many)), within=SOON, every=0.005, what="looks")
            assert run.ran(KILL) == []
        return Result(0, "", "") if call.line == KILL else None

    run.kubernetes.answers = answer
    run.up(spec_of(3, 0))
    assert looks[0] > 20


def test_the_next_one_is_only_when_the_one_before_serves(run: Run) -> None:
    looks, second = [0], threading.Event()
    hold = _hold(run, lambda: THIRD in run.ran(KILL))

    def answer(node: FakeNode, call: Call) -> Result | None:
        hold(node, call)
        if call.line == KILL:
            assert node.name == SECOND or second.is_set()
            return Result(0, "", "")
        if call.argv == ("sh", "-c", etcd_members.LOG):
            if node.name == SECOND and run.ran(KILL):
                looks[0] += 1
                if looks[0] > 20:
                    second.set()
            return Result(0, OVERTAKEN + (WORD if node.name == SECOND and second.is_set() else ""), "")
        return None

    run.kubernetes.answers = answer
    run.up(spec_of(3, 0))
    assert run.ran(KILL) == [SECOND, THIRD]


@pytest.mark.parametrize("why", ["it is in use", "etcd writes nothing of it", "slow nodes", "there would be one left"])
def test_none_of_a_cluster_where(run: Run, why: str) -> None:
    """Their joins go on for long enough that one would be started again if it were to be."""
    settings = {"extra_args": {"etcd": {"log-level": "warn"}}} if why == "etcd writes nothing of it" else {}
    planes = spec_of(3, 0, **settings)
    if why == "slow nodes":
        run.provider.slow = 25.0
    if why == "it is in use":
        run.up(planes)
        run.node(THIRD).remove()
    if why == "there would be one left":
        planes = planes.model_copy(update={"control_planes": 2})
    on_and_on = [0]

    def answer(node: FakeNode, call: Call) -> Result | None:
        if call.argv == ("sh", "-c", etcd_members.LOG):
            return Result(0, OVERTAKEN, "")
        if call.argv == tuple(join_phases.AT_LAST):
            run.kubernetes.joined(node)

            def look() -> int:
                on_and_on[0] += 1
                return on_and_on[0]

            until(look, lambda looks: (looks > 40, str(looks)), within=SOON, every=0.005, what="time that passes")
        return Result(0, "", "") if call.line == KILL else None

    run.kubernetes.answers = answer
    run.up(planes)
    assert on_and_on[0] > 40
    assert run.ran("pkill") == []


def test_none_where_another_ones_join_fails(run: Run) -> None:
    """It may have no vote then, and nobody waits for the rest."""

    def answer(node: FakeNode, call: Call) -> Result | None:
        if call.argv == ("sh", "-c", etcd_members.LOG):
            return Result(0, OVERTAKEN if node.name == SECOND else SNAPSHOT, "")
        if call.argv == tuple(join_phases.ETCD) and node.name == THIRD:
            return Result(1, "etcd-join broke", "")
        return Result(0, "", "") if call.line == KILL else None

    run.kubernetes.answers = answer
    assert "etcd-join broke" in run.fails(spec_of(3, 0))
    assert run.ran("pkill") == []
