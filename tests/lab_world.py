"""A lab for drills on nodes and with a clock that live in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import yaml
from fake_kubernetes import ADMIN, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill.availability import Restored, WritesCheck
from kubedrill.cluster import Cluster
from kubedrill.errors import KubedrillError
from kubedrill.faults import StopUnit
from kubedrill.history import Lane, LaneFigures
from kubedrill.journal import Journal
from kubedrill.kube import ApiUnavailable
from kubedrill.linearizability import Judgement
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.scenario import lab as module
from kubedrill.scenario import orders
from kubedrill.scenario.lab import Lab
from kubedrill.scenario.monitor import Monitor
from kubedrill.scenario.narrator import Narrator
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
    """Makes worlds, whose labs find a clock and an API that live in memory."""
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
