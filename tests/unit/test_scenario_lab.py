"""What a drill gets: expectations, faults and requirements, on nodes and with a clock that live in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import yaml
from fake_kubernetes import ADMIN, FakeKubernetes
from fakes import Call, FakeNode, FakeProvider

from kubedrill.availability import Restored, WritesCheck
from kubedrill.cluster import Cluster
from kubedrill.errors import CommandFailed, KubedrillError, NotFound, TimedOut
from kubedrill.faults import FaultRefused, HealFailed, KillNode, LeftOut, StopUnit, Target
from kubedrill.faults.perform import NoControlPlane
from kubedrill.faults.targets import NoTarget
from kubedrill.history import FaultSpan, Lane, LaneFigures, Requirement
from kubedrill.journal import Journal
from kubedrill.kube import ApiUnavailable
from kubedrill.linearizability import Judgement
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.scenario import lab as module
from kubedrill.scenario import orders, resolving, rules, workload
from kubedrill.scenario.judge import Unmet, Untrustworthy
from kubedrill.scenario.lab import Lab, names
from kubedrill.scenario.monitor import Monitor
from kubedrill.scenario.narrator import Narrator
from kubedrill.scenario.resolving import Told
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

OK = Result(0, "", "")
NO = Result(3, "inactive\n", "")
WORKER = StopUnit("worker-1", "kubelet")
OTHER = StopUnit("worker-2", "containerd")


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        """Now."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


class FakeCores:
    """Cores that the host took in a part of the run."""

    def __init__(self) -> None:
        self.away = (0.0, 0.0)
        self.full = ""

    def excuse(self, moments: Sequence[tuple[float, float]] = ()) -> str:
        """They were full all the time, or all of the moments are in that part."""
        return self.full or self.taken(moments)

    def taken(self, moments: Sequence[tuple[float, float]]) -> str:
        """All of the moments are in that part."""
        inside = [self.away[0] <= start and end <= self.away[1] for start, end in moments]
        return "the host had them" if inside and all(inside) else ""


class FakeMonitor:
    """Lanes whose figures a test sets."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.stops = 0
        self.downs: list[tuple[str, float, float]] = []
        self.silent: set[str] = set()
        self.dead: set[str] = set()
        self.gaps: tuple[tuple[float, float], ...] = ()
        self.refused: dict[str, tuple[tuple[float, float], ...]] = {}
        self.bad = (0, 0)
        self.samples = 200
        self.check = WritesCheck(9, (), (), 2, 1)
        self.judgement = Judgement("linearizable", "all of it", 20, 9)
        self.restored: list[Restored | None] = []
        self.faults: Sequence[tuple[float, float]] = ()
        self.cores = FakeCores()

    def start(self, inside: str) -> None:
        """Begin."""
        self.inside.append(inside)

    def stop(self) -> None:
        """End."""
        self.stops += 1

    def complete(self) -> None:
        """Fetch what others hold."""
        assert self.stops

    def was_down(self, nodes: str, start: float, end: float) -> None:
        """Nodes were down."""
        self.downs.append((nodes, start, end))

    def names(self) -> list[str]:
        """The lanes."""
        return ["api-read", "service"]

    def works(self, name: str) -> bool:
        """Whether it succeeds."""
        return name not in self.silent

    def has_worked(self, name: str) -> bool:
        """Whether it ever did."""
        return name not in self.dead

    def lane(self, name: str) -> Lane:
        """A lane."""
        return Lane(name, f"The {name}", 0.1, "read", "new")

    def figures(self, name: str, faults: Sequence[tuple[float, float]]) -> LaneFigures:
        """What the test says."""
        self.faults = faults
        failed, unknown = self.bad
        longest = max((end - start for start, end in self.gaps), default=0)
        return LaneFigures(
            name, self.samples, failed, unknown, 0, longest, self.gaps, refused=self.refused.get(name, ())
        )

    def writes_check(self, restored: Restored | None = None) -> WritesCheck:
        """What the test says."""
        return self.check

    def linearizable(self, say: Callable[[str], None], restored: Restored | None = None) -> Judgement:
        """What the test says."""
        say("building porcupine")
        self.restored.append(restored)
        return self.judgement

    def judge(self, restored: Restored | None) -> Judgement:
        """Nobody asks."""
        raise AssertionError(restored)


class FakeKube:
    """An API, and what each of its servers answers when it is asked whether it is ready: nothing where it is."""

    lacking: ClassVar[dict[str, list[str]]] = {}
    questions: ClassVar[list[str]] = []

    def __init__(self, text: str, *, timeout: float) -> None:
        self.server = yaml.safe_load(text)["clusters"][0]["cluster"]["server"]
        self.timeout = timeout
        self.asked: list[tuple[str, str]] = []

    def readyz(self) -> str:
        """Refuse as often as the test says."""
        self.questions.append(self.server)
        if refusals := self.lacking.get(self.server):
            raise ApiUnavailable("it does not answer", evidence=[refusals.pop()])
        return "ok"

    def pods(self, namespace: str, selector: str) -> tuple[()]:
        """None."""
        self.asked.append((namespace, selector))
        return ()


class World:
    """A lab with all that it touches."""

    def __init__(self, folder: Path, workers: int = 2, control_planes: int = 1, slow: float = 1.0) -> None:
        self.clock = Clock()
        self.provider = FakeProvider(script=self.answer)
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        kinds: list[tuple[Role, int, int]] = [
            *(("control-plane", n, 10 + n) for n in range(1, control_planes + 1)),
            *(("worker", n, 100 + n) for n in range(1, workers + 1)),
        ]  # fmt: skip
        for role, number, last in kinds:
            self.provider.create_node("lab", NodeSpec(f"lab-{role}-{number}", role, f"172.28.0.{last}", "an image"))
        FakeKubernetes.put(self.provider.node("lab-control-plane-1"), "/etc/kubernetes/admin.conf", ADMIN)
        self.journal = Journal.of("lab")
        self.stopped: set[str] = set()
        self.broken: Callable[[Call], Result | None] = lambda _call: None
        self.in_journal: list[tuple[str, int]] = []
        self.monitor = FakeMonitor()
        self.told: list[str] = []
        self.narrator = Narrator(self.clock.monotonic, self.told.append)
        nodes = tuple(self.provider.nodes("lab"))
        self.lab = Lab(
            Cluster(ClusterSpec(workers=workers, control_planes=control_planes), nodes, 6443, slow=slow),
            cast(Monitor, self.monitor), self.journal, self.narrator, self.clock.monotonic,
        )  # fmt: skip

    def answer(self, node: FakeNode, call: Call) -> Result | None:
        """Answer a command: to stop a unit takes 1 s, to start it 2 s."""
        said = self.broken(call)
        if said is not None:
            return said
        match call.argv:
            case ("systemctl", "stop", _):
                self.in_journal.append((node.name, len(self.journal.read()[0])))
                self.stopped.add(node.name)
                self.clock.sleep(1)
            case ("systemctl", "start", _):
                self.stopped.discard(node.name)
                self.clock.sleep(2)
            case ("systemctl", "is-active", _):
                return NO if node.name in self.stopped else OK
        return OK

    def cannot_start(self, node_unit: str) -> None:
        """Let the start of a unit be refused, for good."""

        def refuse(call: Call) -> Result | None:
            if call.line == f"systemctl start {node_unit}":
                raise KubedrillError("the engine is gone")
            return None

        self.broken = refuse

    def lines(self, word: str) -> list[str]:
        """The commands with a word in them, as 'node: line'."""
        return [f"{event[1]}: {event[2]}" for event in self.provider.events if event[0] == "run" and word in event[2]]

    def required(self) -> list[tuple[str, str, bool, str]]:
        """What was required: (text, measured, ok, the rule that it follows)."""
        return [(one.text, one.measured, one.ok, one.rule["kind"]) for one in self.lab.requirements]

    def kinds(self) -> list[tuple[str, str, str]]:
        """The story: (phase, kind, text)."""
        return [(step.phase, step.kind, step.text) for step in self.narrator.steps]


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes worlds."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(module, "Kube", FakeKube)
    monkeypatch.setattr(FakeKube, "lacking", {})
    monkeypatch.setattr(FakeKube, "questions", [])

    def made(**counts: Any) -> World:
        world = World(tmp_path, **counts)
        for one in (module, orders):
            monkeypatch.setattr(one, "until", partial(until, clock=world.clock))
        return world

    return made


@pytest.fixture
def world(make: Make) -> World:
    """One control plane, two workers."""
    return make()


def at_least(wanted: float) -> Callable[[float], tuple[bool, str]]:
    """A check of a number."""
    return lambda found: (found >= wanted, f"{found:.0f}")


class TestExpect:
    def test_gives_what_was_read_and_tells_how_long_it_took(self, world: World) -> None:
        world.clock.time = 3
        with world.lab.fault(WORKER):
            began = world.clock.time
            found = world.lab.expect("it is late", world.clock.monotonic, at_least(9), within=20, predicted=4)
        assert found >= 9
        step = next(step for step in world.narrator.steps if step.kind == "wait")
        assert (step.phase, step.text, step.expected) == ("fault", "it is late", 4)
        assert step.measured == pytest.approx(found - began)
        assert step.measured == pytest.approx(5, abs=0.21)

    def test_after_the_heal_time_counts_from_its_end(self, world: World) -> None:
        with world.lab.fault(WORKER):
            world.clock.sleep(50)
        world.clock.sleep(3)
        world.lab.expect("all is well", lambda: 1, at_least(1), within=1)
        assert [step.measured for step in world.narrator.steps if step.kind == "wait"] == [3]

    @pytest.mark.parametrize(
        ("phase", "error"),
        [("assumptions", Untrustworthy), ("baseline", Untrustworthy), ("fault", Unmet), ("converge", Unmet)],
    )
    def test_what_it_means_when_it_is_not_seen(self, world: World, phase: str, error: type[Exception]) -> None:
        world.narrator.enter(phase)
        with pytest.raises(error, match=r"^the API answers: not within 5 s .*last seen: 0$"):
            world.lab.expect("the API answers", lambda: 0, at_least(1), within=5)
        assert world.kinds()[-1] == (phase, "fail", "the API answers: not seen within 5 s; last seen: 0")
        assert world.clock.time == pytest.approx(5)

    @pytest.mark.parametrize(("away", "error"), [((0, 9), Untrustworthy), ((2, 9), Unmet), ((0, 4), Unmet)])
    def test_the_host_had_the_cores_all_the_time(
        self, world: World, away: tuple[float, float], error: type[Exception]
    ) -> None:
        world.narrator.enter("fault")
        world.monitor.cores.away = away
        with pytest.raises(
            error, match=r"last seen: 0" + (r" \(the host had them\)$" if error is Untrustworthy else "$")
        ):
            world.lab.expect("the API answers", lambda: 0, at_least(1), within=5)

    @pytest.mark.parametrize(
        "error",
        [
            ApiUnavailable("refused"),
            CommandFailed("kubectl get pods", 1, "refused", "lab-control-plane-1"),
            NotFound("no control plane runs"),
            NoControlPlane("no control plane runs"),
            NoTarget("etcd names no leader"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_a_broken_cluster_answers_means_not_yet(self, world: World, error: KubedrillError) -> None:
        answers: list[KubedrillError | int] = [error, error, 7]

        def read() -> int:
            answer = answers.pop(0)
            if isinstance(answer, KubedrillError):
                raise answer
            return answer

        assert world.lab.expect("it answers", read, at_least(7), within=5) == 7
        assert answers == []

    def test_an_error_of_another_kind_is_not_waited_for(self, world: World) -> None:
        def read() -> int:
            raise KubedrillError("the engine is gone")

        with pytest.raises(KubedrillError, match="the engine is gone"):
            world.lab.expect("it answers", read, at_least(7), within=5)
        assert world.clock.time == 0

    def test_a_line_now_and_then_while_it_waits(self, world: World) -> None:
        world.narrator.enter("fault")
        world.lab.expect("it is late", world.clock.monotonic, at_least(14), within=20)
        waiting = [line for line in world.told if "..." in line]
        assert len(waiting) == 2
        assert all(line.startswith("   ... it is late: ") for line in waiting)

    @pytest.mark.parametrize("phase", ["assumptions", "fault", "converge"])
    def test_an_assumption_says_nothing_of_the_cluster_in_any_phase(self, world: World, phase: str) -> None:
        world.narrator.enter(phase)
        with pytest.raises(Untrustworthy, match="two pods: not within 5 s"):
            world.lab.assume("two pods", lambda: 1, at_least(2), within=5)
        assert world.lab.assume("two pods", lambda: 2, at_least(2)) == 2

    def test_assume_true(self, world: World) -> None:
        world.lab.assume_true("different nodes", True, "a, b")
        with pytest.raises(Untrustworthy, match=r"^different nodes: a, a$"):
            world.lab.assume_true("different nodes", False, "a, a")
        assert world.kinds() == [
            ("assumptions", "say", "different nodes: a, b"), ("assumptions", "fail", "different nodes: a, a"),
        ]  # fmt: skip


class TestFault:
    def test_the_undo_is_on_disk_before_anything_breaks(self, world: World) -> None:
        with world.lab.fault(WORKER, role="runs a pod"):
            assert world.stopped == {"lab-worker-1"}
            assert not world.journal.is_empty()
        assert world.in_journal == [("lab-worker-1", 1)]
        assert world.journal.is_empty()
        assert world.stopped == set()

    def test_the_span_begins_before_the_inject_and_ends_after_the_heal(self, world: World) -> None:
        world.clock.time = 10
        with world.lab.fault(WORKER, role="runs a pod"):
            world.clock.sleep(9)
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "runs a pod", 10, 22)]
        assert world.lab.windows() == [(10, 22)]
        assert world.lab.span() == (10, 22)

    def test_the_story(self, world: World) -> None:
        with world.lab.fault(WORKER):
            world.lab.say("something happens")
        world.lab.say("and then")
        assert world.kinds() == [
            ("fault", "fault", "stop kubelet on worker-1"), ("fault", "say", "something happens"),
            ("heal", "heal", "undone: stop kubelet"), ("converge", "say", "and then"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "error", [Unmet("no answer"), IndexError("a bug"), KeyboardInterrupt()], ids=lambda error: type(error).__name__
    )
    def test_an_exception_in_the_block_heals_too(self, world: World, error: BaseException) -> None:
        with pytest.raises(type(error)) as raised, world.lab.fault(WORKER):
            raise error
        assert raised.value is error
        assert world.stopped == set()
        assert world.journal.is_empty()
        assert [span.healed for span in world.lab.spans] == [3]
        assert world.narrator.phase == "heal"

    def test_two_faults_heal_in_reverse_order(self, world: World) -> None:
        with world.lab.fault(WORKER, OTHER):
            assert world.stopped == {"lab-worker-1", "lab-worker-2"}
        assert world.in_journal == [("lab-worker-1", 1), ("lab-worker-2", 2)]
        assert world.lines("start") == [
            "lab-worker-2: systemctl start containerd", "lab-worker-1: systemctl start kubelet",
        ]  # fmt: skip
        assert world.lab.spans == [
            FaultSpan("stop kubelet", "worker-1", "", 0, 6), FaultSpan("stop containerd", "worker-2", "", 1, 6),
        ]  # fmt: skip

    def test_a_heal_that_fails(self, world: World) -> None:
        world.cannot_start("kubelet")
        with pytest.raises(HealFailed, match="the engine is gone"), world.lab.fault(WORKER):
            world.clock.sleep(5)
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "", 0, None)]
        assert not world.journal.is_empty()
        assert not [text for _, kind, text in world.kinds() if kind == "heal"]
        world.clock.time = 40
        assert world.lab.windows() == [(0, 40)]

    def test_of_two_heals_one_fails(self, world: World) -> None:
        world.cannot_start("containerd")
        with pytest.raises(HealFailed), world.lab.fault(WORKER, OTHER):
            pass
        assert [(span.target, span.healed) for span in world.lab.spans] == [("worker-1", 4), ("worker-2", None)]
        assert world.stopped == {"lab-worker-2"}
        assert ("heal", "heal", "undone: stop kubelet") in world.kinds()

    def test_a_heal_that_fails_does_not_hide_what_ended_the_block(self, world: World) -> None:
        world.cannot_start("kubelet")
        unmet = Unmet("the API answers: not within 5 s")
        with pytest.raises(HealFailed, match="the API answers: not within 5 s") as raised, world.lab.fault(WORKER):
            raise unmet
        assert raised.value.during is unmet

    def test_a_second_fault_that_is_refused_heals_the_first(self, world: World) -> None:
        world.stopped.add("lab-worker-2")
        reached = []
        with pytest.raises(FaultRefused), world.lab.fault(WORKER, OTHER):
            reached.append("the block")
        assert reached == []
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "", 0, 3)]
        assert world.journal.is_empty()
        assert world.stopped == {"lab-worker-2"}

    def test_one_whose_heal_is_left_out_is_not_called_healed(self, world: World) -> None:
        with world.lab.fault(LeftOut(WORKER)):
            pass
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "", 0, None)]
        assert not [text for _, kind, text in world.kinds() if kind == "heal"]

    def test_a_computer_that_stays_down_is_down_until_the_end(self, world: World) -> None:
        world.clock.time = 7
        with world.lab.fault(LeftOut(KillNode("worker-2"))):
            pass
        assert world.monitor.downs == [("worker-2", 7, math.inf)]

    def test_a_computer(self, world: World) -> None:
        with world.lab.fault(KillNode("worker-2")):
            assert world.provider.node("lab-worker-2").state() == "stopped"
        assert world.provider.node("lab-worker-2").state() == "running"
        (down,) = world.monitor.downs
        assert down[0] == "worker-2", "the pod that asks from inside may have been on it"
        assert down[2] == world.clock.time


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


class TestPhases:
    def test_baseline(self, world: World) -> None:
        world.clock.time = 2
        world.lab.baseline(5)
        assert world.monitor.inside == ["lab-worker-2"]
        assert world.narrator.phase == "baseline"
        assert world.clock.time == pytest.approx(7, abs=0.11)

    def test_nobody_asks_from_inside(self, world: World) -> None:
        world.lab.baseline(0, inside=None)
        assert world.monitor.inside == [""]

    @pytest.mark.parametrize(
        ("workers", "inside", "chosen"),
        [(2, "lab-worker-1", "lab-worker-1"), (1, "", "lab-worker-1"), (0, "", "lab-control-plane-3")],
    )
    def test_where_the_pod_asks_from(self, make: Make, workers: int, inside: str, chosen: str) -> None:
        world = make(workers=workers, control_planes=3)
        world.lab.baseline(0, inside=inside)
        assert world.monitor.inside == [chosen]

    def test_a_lane_that_never_works_says_nothing_of_the_cluster(self, world: World) -> None:
        world.monitor.silent = {"service"}
        with pytest.raises(Untrustworthy, match=r"^before any fault nothing succeeded on: service$"):
            world.lab.baseline(1)

    @pytest.mark.parametrize(
        ("away", "said"),
        [
            ((0.0, 99.0), "before any fault nothing succeeded on: service (the host had them)"),
            ((0.5, 99.0), "before any fault nothing succeeded on: service"),
        ],
    )
    def test_a_host_that_had_the_cores_all_the_while_is_why(
        self, world: World, away: tuple[float, float], said: str
    ) -> None:
        world.monitor.silent = world.monitor.dead = {"service"}
        world.monitor.cores.away, world.monitor.cores.full = away, "cores were 95% busy"
        with pytest.raises(Untrustworthy) as caught:
            world.lab.baseline(1)
        assert str(caught.value) == said

    def test_nothing_is_sampled_before_each_api_server_is_ready(self, make: Make) -> None:
        world = make(control_planes=3)
        third = "https://172.28.0.13:6443"
        FakeKube.lacking[third] = ["connection refused"] * 2
        world.lab.baseline(0)
        assert world.monitor.inside == ["lab-worker-2"]
        assert FakeKube.questions == [f"https://172.28.0.1{number}:6443" for number in (1, 2, 3)] * 3
        world.monitor.inside.clear()
        FakeKube.lacking[third] = ["connection refused"] * 1000
        with pytest.raises(Untrustworthy, match=r"lab-control-plane-3: it does not answer; connection refused$"):
            world.lab.baseline(0)
        assert world.monitor.inside == []

    def test_the_only_api_server_is_asked_as_everybody_asks(self, world: World) -> None:
        world.lab.baseline(0)
        assert FakeKube.questions == ["https://127.0.0.1:6443"]

    def test_nothing_is_sampled_before_names_lead_where_they_should(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = ["10.96.0.9", "10.96.0.9", "10.96.0.7"]

        def ask(*_: object) -> Told:
            assert world.monitor.inside == []
            return Told("10.96.0.7", {"coredns-1": said.pop(0) if len(said) > 1 else said[0]})

        monkeypatch.setattr(resolving, "ask", ask)
        world.lab.baseline(0)
        assert world.monitor.inside == ["lab-worker-2"]
        world.monitor.inside.clear()
        said[:] = ["10.96.0.9"]
        with pytest.raises(Untrustworthy, match=r"last seen: hello is 10\.96\.0\.7; coredns-1 says 10\.96\.0\.9"):
            world.lab.baseline(0)

    def test_verify_ends_the_sampling(self, world: World) -> None:
        world.lab.verify()
        assert (world.monitor.stops, world.narrator.phase) == (1, "verify")

    def test_quietly(self, world: World) -> None:
        assert world.lab.expect_quietly(lambda: 5, at_least(5), within=1) == 5
        with pytest.raises(TimedOut, match="a settled cluster"):
            world.lab.expect_quietly(lambda: 4, at_least(5), within=3)
        assert world.clock.time == pytest.approx(3)
        assert world.told == []


class TestSlowNodes:
    """What is too slow to judge is inconclusive: never passed, never failed."""

    @pytest.fixture
    def slow(self, make: Make) -> World:
        return make(slow=17.0)

    def test_limits_are_longer(self, slow: World) -> None:
        assert slow.lab.patience == 6
        slow.lab.expect("it is late", slow.clock.monotonic, at_least(100), within=20)

    def test_what_is_never_seen_says_nothing_of_the_cluster(self, slow: World) -> None:
        slow.narrator.enter("fault")
        with pytest.raises(Untrustworthy, match="17 times slower"):
            slow.lab.expect("it comes", lambda: 0, at_least(1), within=1)

    def test_time_passes_so_much_longer(self, slow: World) -> None:
        before = slow.clock.monotonic()
        slow.lab.hold(2)
        assert slow.clock.monotonic() - before >= 34

    def test_a_limit_of_time_that_is_not_met_is_a_doubt(self, slow: World) -> None:
        slow.monitor.gaps = ((1.0, 9.0),)
        slow.lab.require_downtime("service", 2)
        (doubt,) = slow.lab.excuses
        assert "17 times slower" in doubt
        assert "longest gap" in doubt, "with the figure"

    def test_what_was_lost_is_lost_on_slow_nodes_too(self, slow: World) -> None:
        slow.lab.require("it is there", False, "nothing")
        slow.lab.require_downtime("service", 2)
        assert slow.lab.excuses == []

    def test_the_report_tells_it(self, slow: World, world: World) -> None:
        assert slow.lab.facts["nodes are slower than real hardware"] == "17 times"
        assert world.lab.facts == {}

    def container(self, world: World) -> dict[str, Any]:
        """The container of the Deployment that was applied."""
        (text,) = (call.stdin for call in world.provider.node("lab-control-plane-1").calls if call.stdin)
        found = next(one for one in yaml.safe_load_all(text) if one["kind"] == "Deployment")
        container: dict[str, Any] = found["spec"]["template"]["spec"]["containers"][0]
        return container

    def test_its_pods_have_more_time(self, slow: World, world: World) -> None:
        given = workload.deployment("hello", 1)
        for one in (world, slow):
            one.lab.apply(given, workload.service("hello"))
        usual, patient = self.container(world), self.container(slow)
        assert usual["readinessProbe"]["periodSeconds"] == 1
        assert (patient["readinessProbe"]["periodSeconds"], patient["readinessProbe"]["timeoutSeconds"]) == (9, 17)
        assert given["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] == 1


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


class TestCluster:
    def test_targets_are_recorded(self, world: World) -> None:
        leader = Target("lab-control-plane-1", "etcd leader", "etcdctl says so")
        assert world.lab.target(leader) is leader
        world.lab.target(Target("lab-worker-1", "runs a pod"))
        assert world.lab.targets == {
            "lab-control-plane-1": "etcd leader (etcdctl says so)", "lab-worker-1": "runs a pod",
        }  # fmt: skip
        assert "etcd leader: lab-control-plane-1 (etcdctl says so)" in world.told

    def test_facts_are_texts(self, world: World) -> None:
        world.lab.fact("replaced after", 3.5)
        assert world.lab.facts == {"replaced after": "3.5"}

    def test_nodes(self, make: Make) -> None:
        lab = make(control_planes=3, workers=1).lab
        assert names(lab.control_planes()) == [f"lab-control-plane-{n}" for n in (1, 2, 3)]
        assert names(lab.workers()) == ["lab-worker-1"]
        assert lab.node("worker-1").name == "lab-worker-1"

    def test_kubectl_runs_on_a_control_plane_that_runs(self, make: Make) -> None:
        world = make(control_planes=3)
        world.lab.kubectl("get", "nodes")
        world.provider.node("lab-control-plane-1").kill()
        world.lab.kubectl("get", "pods")
        assert world.lines("kubectl") == [
            "lab-control-plane-1: kubectl get nodes", "lab-control-plane-2: kubectl get pods",
        ]  # fmt: skip
        for number in (2, 3):
            world.provider.node(f"lab-control-plane-{number}").kill()
        with pytest.raises(NotFound, match="no control plane runs"):
            world.lab.kubectl("get", "pods")

    def test_a_status(self, world: World) -> None:
        world.broken = lambda call: Result(1, "", "no such pod") if "exec" in call.line else None
        with pytest.raises(CommandFailed, match="no such pod"):
            world.lab.in_pod("hello-1", "true")
        assert world.lab.in_pod("hello-1", "true", check=False).status == 1
        assert world.lines("exec")[-1].endswith(f"exec --namespace {workload.NAMESPACE} hello-1 -- sh -c true")

    @pytest.mark.parametrize(
        "said", ["Unable to connect to the server: unexpected EOF", "etcdserver: request timed out"]
    )
    def test_an_order_is_given_again_where_the_api_did_not_answer(self, world: World, said: str) -> None:
        answers = [Result(1, "", said), Result(1, "", said), Result(0, "labeled", "")]
        world.broken = lambda call: answers.pop(0) if "label" in call.line else None
        assert world.lab.order("label", "node", "x", "a=", "--overwrite").stdout == "labeled"
        assert not answers

    def test_an_order_that_is_refused_is_not_given_again(self, world: World) -> None:
        answers = [Result(1, "", "Error from server (Forbidden): no")]
        world.broken = lambda call: answers.pop(0) if "label" in call.line else None
        with pytest.raises(CommandFailed, match="Forbidden"):
            world.lab.order("label", "node", "x", "a=")

    def test_apply(self, world: World) -> None:
        world.lab.apply(workload.service("hello"))
        call = world.provider.node("lab-control-plane-1").calls[-1]
        assert call.line == "kubectl apply -f -"
        assert call.stdin is not None
        assert [line for line in call.stdin.splitlines() if line.startswith("kind:")] == [
            "kind: Namespace", "kind: Service",
        ]  # fmt: skip

    def test_pods_are_those_of_the_drill(self, world: World) -> None:
        assert world.lab.pods("hello") == ()
        assert cast(Any, world.lab.api).asked == [("drill", "app=hello")]
        assert cast(Any, world.lab.api).timeout == 2


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
