"""A run that ends or breaks off: what is reported, left behind and seen by onlookers."""

from __future__ import annotations

import contextlib
from itertools import chain, repeat

import pytest
import run_world
from run_world import FIGURES, KUBELET, LANE, World, engine_gone, good

from kubedrill import live, shell
from kubedrill.cputime import CpuTime
from kubedrill.errors import Busy
from kubedrill.history import ClusterEvent
from kubedrill.journal import Journal
from kubedrill.kube import EventSnapshot
from kubedrill.locks import only_one
from kubedrill.scenario import runner
from kubedrill.scenario.lab import Lab
from kubedrill.spec import ClusterSpec
from kubedrill.trends import records

world = run_world.world  # a fixture


class TestBrokenOff:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), IndexError("a bug")], ids=["ctrl-c", "bug"])
    def test_in_a_fault(self, world: World, error: BaseException) -> None:
        def body(lab: Lab) -> None:
            lab.baseline(0)
            with lab.fault(KUBELET):
                raise error

        with pytest.raises(type(error)) as raised:
            world.run(body)
        assert raised.value is error
        assert world.did == ["clear", "sample", "stop", "start", "stop sampling", "clear"]
        assert world.reports() == []

    def test_nothing_begins_while_somebody_else_works_on_the_cluster(self, world: World) -> None:
        with only_one("lab"), pytest.raises(Busy):
            world.run(good)
        assert (world.did, list(runner.runs().glob("*"))) == ([], [])

    def test_ctrl_c_ends_the_session_even_where_the_heal_fails(self, world: World) -> None:
        world.broken = engine_gone

        def body(lab: Lab) -> None:
            lab.baseline(0)
            with lab.fault(KUBELET):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.run(body)
        assert world.did == ["clear", "sample", "stop", "stop sampling", "clear"]
        assert not Journal.of("lab").is_empty()


class TestReport:
    def test_what_is_in_it(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        times = chain([CpuTime(100, 50, 0)], repeat(CpuTime(300, 100, 20)))
        monkeypatch.setattr(runner.cputime, "read", lambda: next(times))
        done, folder = world.run(good)
        assert (done.drill, done.title) == ("a-drill", "A title.")
        assert folder.parent == runner.runs()
        assert folder.name.endswith("-a-drill")
        assert (done.cluster["workers"], done.cluster["controlPlanes"]) == (1, 1)
        assert done.kubernetes == ClusterSpec().version()
        assert [phase.name for phase in done.phases][-1] == "verify"
        assert [(span.name, span.target, span.role) for span in done.faults] == [
            ("stop kubelet", "worker-1", "the first worker")
        ]
        assert done.faults[0].healed is not None
        assert 0 <= done.faults[0].injected <= done.faults[0].healed <= done.duration + 0.1
        assert [step.kind for step in done.steps] == ["wait", "wait", "say", "fault", "wait", "heal", "say"]
        assert (done.lanes, done.figures) == ((LANE,), (FIGURES,))
        assert done.facts["a fact"] == "7"
        assert done.facts["this computer's cores were"] == "75% busy, 10% taken by its host"
        (kept,) = records.read()
        assert (kept.busy, kept.stolen) == (0.75, 0.1)
        assert [one.text for one in done.requirements] == ["no write is lost"]

    def test_events_of_before_the_run_are_left_out_and_the_rest_is_in_order(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner.time, "time", lambda: 1_000_000.0)
        world.events = [
            EventSnapshot(1_000_020.26, "Node lab-worker-1", "NodeReady", "it is"),
            EventSnapshot(999_990.0, "Node lab-worker-1", "Starting", "long ago"),
            EventSnapshot(1_000_001.0, "Pod hello", "Killing", "it ends"),
        ]
        done, _ = world.run(good)
        assert done.events == (
            ClusterEvent(1.0, "Pod hello", "Killing", "it ends"),
            ClusterEvent(20.3, "Node lab-worker-1", "NodeReady", "it is"),
        )
        assert done.started == "1970-01-12T13:46:40+00:00"

    def test_slow_is_passed_on(self, world: World) -> None:
        asked: list[bool] = []
        for slow in (True, False):
            # each run has a folder of its own, by the second
            world.run(lambda lab: asked.append(lab.slow), slow=slow)
            shell.run(["rm", "-r", str(runner.runs())])
        assert asked == [True, False]


class TestOnlookers:
    @pytest.mark.parametrize("ending", [None, KeyboardInterrupt, RuntimeError])
    def test_they_see_where_a_drill_is_and_nothing_once_it_has_ended(
        self, world: World, ending: type[BaseException] | None
    ) -> None:
        seen = []

        def body(lab: Lab) -> None:
            lab.baseline(0)
            lab.say("half-way")
            (folder,) = runner.runs().iterdir()
            seen.append(live.read(folder))
            if ending is not None:
                raise ending

        with pytest.raises(ending) if ending else contextlib.nullcontext():
            world.run(body)
        (told,) = seen
        assert told is not None
        assert (told.cluster, told.drill, told.phase, told.lanes) == ("lab", "a-drill", "baseline", (LANE,))
        assert told.steps[-1].text == "half-way"
        assert told.owner.is_alive()
        assert list(runner.runs().rglob("*live*")) == []
