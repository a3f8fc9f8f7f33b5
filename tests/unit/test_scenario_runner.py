"""A run from its first line to report.json, with everything around it faked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_kubernetes import ADMIN, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import history, live, shell
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.cputime import CpuTime
from kubedrill.errors import KubedrillError, TimedOut
from kubedrill.faults import LeftOut, StopUnit
from kubedrill.history import ClusterEvent, Lane, LaneFigures, Requirement, Run, Sample
from kubedrill.journal import Journal
from kubedrill.kube import ApiUnavailable, EventSnapshot
from kubedrill.probes import manifest
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.scenario import Scenario, runner, workload
from kubedrill.scenario import lab as lab_module
from kubedrill.scenario.lab import Lab
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.trends import records
from kubedrill.wait import until

OK = Result(0, "", "")
KUBELET = StopUnit("worker-1", "kubelet")
LANE = Lane("api-read", "API read", 0.1, "read", "new")
SAMPLES = (Sample(0.0, 0.1, "ok"), Sample(0.1, 0.2, "failed", "refused"), Sample(0.2, 0.3, "ok"))
FIGURES = LaneFigures("api-read", 3, 1, 0, 0.2, 0.2, ((0.1, 0.3),), {"before": {"p50": 0.1, "p95": 0.1, "max": 0.1}})


class Clock:
    """Time of waits alone; a run's own clock is real."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        """Now."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


class World:
    """A cluster, and all that a run does with it in the order in which it does it."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.doubts: list[str] = []
        self.late: list[str] = []
        self.answers = True
        self.healthy = True
        self.broken: Callable[[Call], Result | None] = lambda _call: None
        self.provider = FakeProvider(script=self.answer)
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        for name, role, last in (("control-plane-1", "control-plane", 11), ("worker-1", "worker", 101)):
            self.provider.create_node("lab", NodeSpec(f"lab-{name}", role, f"172.28.0.{last}", "x"))  # type: ignore[arg-type]
        FakeKubernetes.put(self.provider.node("lab-control-plane-1"), "/etc/kubernetes/admin.conf", ADMIN)
        self.cluster = Cluster(ClusterSpec(workers=1), tuple(self.provider.nodes("lab")), 6443)
        self.stopped = False
        self.taken = ""
        self.events: list[EventSnapshot] = []

    def answer(self, _node: FakeNode, call: Call) -> Result | None:
        """Answer a command."""
        said = self.broken(call)
        if said is not None:
            return said
        match call.argv:
            case ("systemctl", "stop" | "start" as do, _):
                self.stopped = do == "stop"
                self.did.append(do)
            case ("systemctl", "is-active", _):
                return Result(3, "", "") if self.stopped else OK
            case ("kubectl", "delete", "namespace", *namespaces):
                assert workload.NAMESPACE in namespaces
                assert "--ignore-not-found" in namespaces
                self.did.append("clear")
        return OK

    def run(self, body: Callable[[Lab], None], slow: bool = False) -> tuple[Run, Path]:
        """Run a drill."""
        return runner.run(Scenario("a-drill", "A title.", "", body), self.cluster, Console(), slow=slow)

    def reports(self) -> list[Path]:
        """The reports that were written."""
        return list(runner.runs().rglob("report.json"))

    # --- what stands for modules

    def status(self, cluster: Cluster) -> Any:
        """How the cluster is."""
        assert cluster is self.cluster
        self.did.append("look")
        return SimpleNamespace(healthy=self.healthy, api="answers")

    def collect(self, nodes: Sequence[Any], folder: Path) -> list[str]:
        """Keep logs."""
        assert len(nodes) == 2
        folder.mkdir()
        self.did.append("logs")
        return []

    def write(self, run: Run, samples: dict[str, Sequence[Sample]], folder: Path) -> None:
        """Write a page."""
        assert (folder / "report.json").exists()
        self.did.append(f"page of {len(samples)} lanes")


def monitor_of(world: World) -> type:
    """The monitor of a world."""

    class FakeMonitor:
        """One lane."""

        def __init__(self, cluster: Cluster, run: str, now: object, started: float, folder: Path, kubectl: Any) -> None:
            assert run.startswith("a-drill-")
            assert folder.is_dir()
            self.sampling = False
            self.stopped = False
            self.kubectl = kubectl
            self.cores = SimpleNamespace(taken=lambda moments: world.taken, excuse=lambda: world.taken)

        def start(self, inside: str) -> None:
            """Begin."""
            self.kubectl("apply", "-f", "-", stdin="kind: Pod")
            self.sampling = True
            world.did.append("sample")

        def stop(self) -> None:
            """End; twice is harmless."""
            if self.sampling and not self.stopped:
                self.stopped = True
                world.did.append("stop sampling")

        def names(self) -> list[str]:
            """The lanes."""
            return [LANE.name] if self.sampling else []

        def lanes(self) -> list[Lane]:
            """The lanes."""
            return [LANE]

        def works(self, name: str) -> bool:
            """Whether it is answered."""
            return world.answers

        def has_worked(self, name: str) -> bool:
            """Whether it ever was."""
            return world.answers

        def samples(self) -> dict[str, Sequence[Sample]]:
            """What was sampled."""
            return {LANE.name: SAMPLES} if self.stopped else {}

        def figures(self, name: str, faults: object) -> LaneFigures:
            """What it adds up to."""
            return FIGURES

        def doubts(self) -> list[str]:
            """What speaks against it."""
            return world.doubts if self.stopped else ["nothing was sampled"]

        def complete(self) -> None:
            """What could not be had before the heal."""
            world.did.append("fetch")

        def late(self) -> list[str]:
            """What speaks against its times."""
            return world.late

    return FakeMonitor


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A healthy cluster, on a computer of which it is not known how busy it is."""
    monkeypatch.setattr(runner.cputime, "read", lambda: None)
    made = World()

    class FakeKube:
        def readyz(self) -> str:
            return "ok"

        """An API that knows of events."""

        def __init__(self, text: str, *, timeout: float) -> None:
            pass

        def pods(self, _namespace: str, _selector: str) -> tuple[()]:
            """None, so that nobody is asked for names."""
            return ()

        def events(self) -> list[EventSnapshot]:
            """What the test says."""
            if not made.healthy:
                raise ApiUnavailable("refused")
            return made.events

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(runner, "Monitor", monitor_of(made))
    monkeypatch.setattr(lab_module, "Kube", FakeKube)
    monkeypatch.setattr(lab_module, "until", partial(until, clock=Clock()))
    monkeypatch.setattr(runner, "status", SimpleNamespace(of=made.status))
    monkeypatch.setattr(runner, "logs", SimpleNamespace(collect=made.collect))
    monkeypatch.setattr(
        runner, "report", SimpleNamespace(write=made.write, index=lambda _: made.did.append("index of all"))
    )
    return made


# --- drills


def good(lab: Lab) -> None:
    """All is well."""
    lab.baseline(0)
    with lab.fault(KUBELET, role="the first worker"):
        lab.expect("it is broken", lambda: 1, lambda _: (True, "yes"), within=5, predicted=1)
    lab.verify()
    lab.fact("a fact", 7)
    lab.require("no write is lost", True, "0 lost")


def unseen(lab: Lab) -> None:
    """Something is not seen."""
    lab.baseline(0)
    with lab.fault(KUBELET):
        lab.expect("the API answers", lambda: 1, lambda _: (False, "refused"), within=5)


def unmet(lab: Lab) -> None:
    """Something is not met."""
    lab.baseline(0)
    lab.require("no write is lost", False, "2 lost")


def empty(lab: Lab) -> None:
    """Nothing is required."""
    lab.baseline(0)


def unsampled(lab: Lab) -> None:
    """Nothing is sampled."""
    lab.require("one is one", True, 1)


def no_assumption(lab: Lab) -> None:
    """An assumption does not hold."""
    lab.assume_true("there are two pods", False, "1")


def refused(lab: Lab) -> None:
    """A fault is refused: what it breaks is broken already."""
    lab.baseline(0)
    with lab.fault(KUBELET), lab.fault(KUBELET):
        lab.require("not reached", False, "reached")


def broken_off(lab: Lab) -> None:
    """The drill itself fails."""
    lab.baseline(0)
    lab.require("no write is lost", False, "2 lost")
    raise KubedrillError("the engine is gone")


def engine_gone(call: Call) -> Result | None:
    """Let no unit be started again."""
    if call.line == "systemctl start kubelet":
        raise KubedrillError("the engine is gone")
    return None


class TestVerdicts:
    def test_a_drill_that_passes(self, world: World) -> None:
        done, folder = world.run(good)
        assert (done.verdict, done.reason) == ("passed", "1 requirements met")
        assert world.did == [
            "clear", "sample", "stop", "start", "stop sampling", "fetch", "look", "fetch", "page of 1 lanes",
            "index of all", "clear",
        ]  # fmt: skip
        assert history.load(folder) == done
        assert not (folder / "logs").exists()

    def test_its_figures_are_recorded(self, world: World) -> None:
        done, _ = world.run(good)
        (record,) = records.read()
        assert record == records.of_run(done)
        assert (record.name, record.verdict) == (done.drill, "passed")
        assert "it is broken" in record.figures

    @pytest.mark.parametrize(
        ("body", "judged", "reason"),
        [
            (unseen, "failed", "the API answers: not within 5 s"),
            (unmet, "failed", "not met: no write is lost: 2 lost"),
            (empty, "inconclusive", "the drill required nothing"),
            (unsampled, "inconclusive", "nothing was sampled"),
            (no_assumption, "inconclusive", "there are two pods: 1"),
            (refused, "inconclusive", "refused: this fault cannot be injected"),
            (broken_off, "inconclusive", "the drill broke off: the engine is gone"),
        ],
    )
    def test_one_that_does_not(
        self, world: World, body: Callable[[Lab], None], judged: str, reason: str
    ) -> None:  # fmt: skip
        done, folder = world.run(body)
        assert (done.verdict, done.reason[: len(reason)]) == (judged, reason)
        assert history.load(folder) == done
        assert (folder / "logs").is_dir()
        assert world.did[-6:] == ["look", "fetch", "logs", *world.did[-3:-2], "index of all", "clear"]
        assert world.did[-3].startswith("page of")
        assert not world.stopped
        assert Journal.of("lab").is_empty()

    def test_one_that_broke_off_while_the_host_had_the_cores(self, world: World) -> None:
        world.taken = "the host had them"
        done, _ = world.run(broken_off)
        assert done.reason == done.ended == "the drill broke off: the engine is gone (the host had them)"

    @pytest.mark.parametrize("body", [good, unseen, unmet])
    def test_a_broken_probe_wins(self, world: World, body: Callable[[Lab], None]) -> None:
        world.doubts, world.late = ["the probe of watch broke: KeyError"], ["api-read: 3 samples, 30 are needed"]
        done, _ = world.run(body)
        assert (done.verdict, done.reason) == ("inconclusive", "; ".join(world.doubts + world.late))

    @pytest.mark.parametrize("body", [good, unseen, unmet])
    def test_samples_that_came_late_win(self, world: World, body: Callable[[Lab], None]) -> None:
        world.late = ["api-read: 3 samples, 30 are needed"]
        done, _ = world.run(body)
        assert (done.verdict, done.reason) == ("inconclusive", "api-read: 3 samples, 30 are needed")

    @pytest.mark.parametrize(
        ("rule", "judged", "reason"),
        [
            ({"kind": "writes", "proven": True}, "failed", "not met: the requirement: as measured"),
            ({"kind": "gap"}, "inconclusive", "full cores"),
        ],
    )
    def test_full_cores_excuse_what_was_late_and_no_fact(
        self, world: World, rule: dict[str, Any], judged: str, reason: str
    ) -> None:
        def body(lab: Lab) -> None:
            """Misses a limit, and another requirement."""
            lab.baseline(0)
            lab.requirements.append(Requirement("the requirement", "as measured", False, rule))
            lab.excuses.append("full cores")

        done, _ = world.run(body)
        assert (done.verdict, done.reason) == (judged, reason)

    @pytest.mark.parametrize("body", [good, unmet])
    def test_a_cluster_that_is_not_healthy_afterwards(self, world: World, body: Callable[[Lab], None]) -> None:
        world.healthy = False
        done, folder = world.run(body)
        assert done.verdict == "inconclusive"
        assert done.reason.startswith("the cluster is not healthy after the drill: last seen: answers")
        assert done.events == ()
        assert history.load(folder) == done

    def test_a_lane_that_never_works(self, world: World) -> None:
        world.answers = False
        done, _ = world.run(good)
        assert (done.verdict, done.reason) == ("inconclusive", "before any fault nothing succeeded on: api-read")
        assert done.faults == ()
        assert "stop sampling" in world.did

    def test_what_is_sampled_cannot_be_set_up(self, world: World) -> None:
        world.broken = lambda call: Result(1, "", "no room") if call.line == "kubectl apply -f -" else None
        done, folder = world.run(good)
        assert done.verdict == "inconclusive"
        assert done.reason.startswith("the drill broke off: a command failed on lab-control-plane-1")
        assert (done.lanes, done.figures) == ((), ())
        assert history.load(folder) == done

    def test_a_heal_that_fails(self, world: World) -> None:
        world.broken = engine_gone
        done, _ = world.run(good)
        assert done.verdict == "inconclusive"
        assert done.reason.startswith("the heal failed: could not heal: stop kubelet on worker-1")
        assert "the engine is gone" in done.reason
        assert [span.healed for span in done.faults] == [None]
        assert not Journal.of("lab").is_empty()

    def test_a_heal_that_fails_for_good_has_no_excuse(self, world: World) -> None:
        world.broken, world.taken = engine_gone, "cores were full"
        done, _ = world.run(good)
        assert "cores were full" not in done.reason

    @pytest.mark.parametrize(
        ("full", "error", "excused"),
        [
            ("cores were full", TimedOut("too late"), True),
            ("", TimedOut("too late"), False),
            ("cores were full", KubedrillError("no"), False),
        ],
    )
    def test_a_heal_that_works_at_the_second_try(
        self, world: World, full: str, error: KubedrillError, excused: bool
    ) -> None:
        tries: list[Call] = []

        def once(call: Call) -> Result | None:
            if call.line == "systemctl start kubelet" and not tries:
                tries.append(call)
                raise error
            return None

        world.broken, world.taken = once, full
        done, _ = world.run(good)
        assert done.verdict == "inconclusive"
        assert done.reason == done.ended
        assert done.reason.endswith("; the second try mended it (cores were full)") is excused
        assert Journal.of("lab").is_empty()

    def test_a_heal_that_was_left_out_is_made_up_for_before_the_cluster_is_looked_at(self, world: World) -> None:
        def body(lab: Lab) -> None:
            lab.baseline(0)
            with lab.fault(LeftOut(KUBELET)):
                pass
            lab.require("it is mended", not world.stopped, "it is not")

        done, _ = world.run(body)
        assert (done.verdict, done.reason) == ("failed", "not met: it is mended: it is not")
        assert world.did[:6] == ["clear", "sample", "stop", "stop sampling", "start", "look"]
        assert Journal.of("lab").is_empty()

    def test_pods_go_before_their_namespaces(self, world: World) -> None:
        deleted: list[tuple[str, ...]] = []

        def note(call: Call) -> None:
            if call.argv[:2] == ("kubectl", "delete"):
                deleted.append(call.argv[2:])

        world.broken = note
        world.run(good)
        own, probe, both = deleted[:3]
        assert deleted == [own, probe, both] * 2, "before the drill and after it"
        for kinds, namespace in ((own, workload.NAMESPACE), (probe, manifest.NAMESPACE)):
            assert {"pods", "deployments", "daemonsets"} < set(kinds[0].split(","))
            assert kinds[kinds.index("--namespace") + 1] == namespace
        assert both[:3] == ("namespace", workload.NAMESPACE, manifest.NAMESPACE)

    def test_what_cannot_be_cleared_costs_no_verdict(self, world: World) -> None:
        world.broken = lambda call: Result(1, "", "timed out") if "delete" in call.argv else None
        done, _ = world.run(good)
        assert done.verdict == "passed"


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
