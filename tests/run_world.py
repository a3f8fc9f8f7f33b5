"""A run of a drill with everything around it faked, and a drill that passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_kubernetes import ADMIN, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider
from lab_world import Clock

from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.faults import StopUnit
from kubedrill.history import Lane, LaneFigures, Run, Sample
from kubedrill.kube import ApiUnavailable, EventSnapshot
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.scenario import Scenario, runner, workload
from kubedrill.scenario import lab as lab_module
from kubedrill.scenario.lab import Lab
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

OK = Result(0, "", "")
KUBELET = StopUnit("worker-1", "kubelet")
LANE = Lane("api-read", "API read", 0.1, "read", "new")
SAMPLES = (Sample(0.0, 0.1, "ok"), Sample(0.1, 0.2, "failed", "refused"), Sample(0.2, 0.3, "ok"))
FIGURES = LaneFigures("api-read", 3, 1, 0, 0.2, 0.2, ((0.1, 0.3),), {"before": {"p50": 0.1, "p95": 0.1, "max": 0.1}})


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
        return SimpleNamespace(healthy=self.healthy, summary="answers")

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
        """An API that knows of events."""

        def __init__(self, text: str, *, timeout: float) -> None:
            pass

        def readyz(self) -> str:
            """It is ready."""
            return "ok"

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


def good(lab: Lab) -> None:
    """All is well."""
    lab.baseline(0)
    with lab.fault(KUBELET, role="the first worker"):
        lab.expect("it is broken", lambda: 1, lambda _: (True, "yes"), within=5, predicted=1)
    lab.verify()
    lab.fact("a fact", 7)
    lab.require("no write is lost", True, "0 lost")


def engine_gone(call: Call) -> Result | None:
    """Let no unit be started again."""
    if call.line == "systemctl start kubelet":
        raise KubedrillError("the engine is gone")
    return None
