"""The drill of a cold restart: what it compares before and after, its limits, and the engine that it stops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import loading
import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import dockerd, shell
from kubedrill.cluster import Cluster
from kubedrill.errors import MissingPrerequisite
from kubedrill.faults import EngineOff, Fault
from kubedrill.kube import NodeSnapshot
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec, Role
from kubedrill.scenario.judge import Untrustworthy
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

KINDS: list[tuple[str, Role, int]] = [
    ("lab-load-balancer", "load-balancer", 2), ("lab-etcd-1", "etcd", 31), ("lab-control-plane-1", "control-plane", 11),
    ("lab-control-plane-2", "control-plane", 12), ("lab-worker-1", "worker", 101),
]  # fmt: skip
NODES = [name for name, _, _ in KINDS]
SERVER = "https://127.0.0.1:6443"


class FakeLab:
    """A cluster of every role, and what the drill asks of a lab; whatever it waits for is there at once."""

    def __init__(self, planes: int) -> None:
        self.changed: dict[str, str] = {}
        provider = FakeProvider(script=self.answer)
        provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        for name, role, last in KINDS:
            if planes == 2 or (role in ("worker", "control-plane") and name != "lab-control-plane-2"):
                provider.create_node("lab", NodeSpec(name, role, f"172.28.0.{last}", "an image"))
        self.cluster = Cluster(ClusterSpec(), tuple(provider.nodes("lab")), 6443)
        self.api = SimpleNamespace(
            nodes=lambda: [self.snapshot(node) for node in self.of("control-plane", "worker")], readyz=lambda: "ok"
        )
        self.monitor = SimpleNamespace(silent_for=lambda lane: 0.1, names=lambda: ["api-read"])
        self.faults: list[Fault] = []
        self.happened: list[str] = []
        self.limits: list[float] = []
        self.unmet: list[str] = []

    def answer(self, node: FakeNode, call: Call) -> Result:
        """An address of its own and one of flannel's; certificates that are its own."""
        if call.argv[0] == "ip":
            address = self.changed.get(f"address of {node.name}", node.address)
            lines = ("1: lo    inet 127.0.0.1/8", f"2: eth0    inet {address}/24", "3: flannel.1    inet 10.244.0.0/32")
            return Result(0, "\n".join(lines), "")
        return Result(0, self.changed.get(f"certificates of {node.name}", f"0123  {node.name}.crt\n"), "")

    def snapshot(self, node: Node) -> NodeSnapshot:
        """What the API tells of a node."""
        return NodeSnapshot(node.name, True, "", False, False, (), node.address, "v1")

    def of(self, *roles: str) -> list[Node]:
        """The nodes of some roles."""
        return [node for node in self.cluster.nodes if node.role in roles]

    def control_planes(self) -> list[Node]:
        """Those."""
        return self.of("control-plane")

    def workers(self) -> list[Node]:
        """Those."""
        return self.of("worker")

    @contextlib.contextmanager
    def fault(self, *faults: Fault, role: str = "") -> Iterator[None]:
        """Keep it."""
        self.faults += faults
        try:
            yield
        finally:
            self.happened.append("undone")

    def read(self, read: Callable[[], Any]) -> Any:
        """It."""
        return read()

    def expect(self, _what: str, read: Callable[[], Any], *_: Any, **__: Any) -> Any:
        """Nobody looks."""
        return [SimpleNamespace(uid="1")]

    def pods(self, _name: str) -> list[object]:
        """The same one all the time."""
        return [SimpleNamespace(uid="1")]

    def assume_true(self, what: str, ok: bool, measured: object) -> None:
        """As the lab does."""
        if not ok:
            raise Untrustworthy(f"{what}: {measured}")

    def require(self, text: str, ok: bool, measured: object) -> None:
        """Keep what is not met."""
        if not ok:
            self.unmet.append(f"{text}: {measured}")

    def require_within(self, _text: str, _began: float, _ended: float, at_most: float) -> None:
        """Keep the limit."""
        self.limits.append(at_most)

    def now(self) -> float:
        """No time passes."""
        return 0.0

    def from_now(self) -> float:
        """No time passes."""
        return 0.0

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("say", "fact", "apply", "baseline", "hold", "verify", "require_writes"):
            return lambda *_, **__: None
        raise AttributeError(name)


@pytest.fixture
def drill(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = loading.drill("cold_restart")
    monkeypatch.setattr(found.secrets, "token_hex", lambda _: "word")
    monkeypatch.setattr(found, "_config_map", lambda _: ["uid", "word"])
    return found


@pytest.fixture
def lab(drill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    made = FakeLab(planes=2)
    monkeypatch.setattr(drill.lifecycle, "start", lambda *_: True)
    return made


@pytest.fixture
def engine(drill: ModuleType, lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The containers of an engine that is ours, with their states; those of the cluster are among them."""
    containers = dict.fromkeys(NODES, "running")

    def rows() -> list[dict[str, object]]:
        return [{"Names": [f"/{name}"], "State": state} for name, state in containers.items()]

    monkeypatch.setattr(drill, "Engine", lambda: SimpleNamespace(containers=rows))
    monkeypatch.setattr(dockerd, "own_engine", lambda: 4711)
    monkeypatch.setattr(dockerd, "stop_engine", lambda: lab.happened.append("stopped"))
    monkeypatch.setattr(dockerd, "ensure_engine", lambda: lab.happened.append("started"))
    return containers


class TestIdentity:
    def test_it_is_of_every_node_and_of_the_published_api(self, drill: ModuleType, lab: FakeLab) -> None:
        found = drill._identity(lab)
        assert {f"address of {name}" for name in NODES} <= found.keys()
        assert {one.removeprefix("certificates of ") for one in found if "certificates" in one} == {*NODES[1:]}
        assert {one for one in found if SERVER in one} == {f"address of {name} at {SERVER}" for name in NODES[2:]}
        assert found["address of lab-load-balancer"] == "172.28.0.2"
        assert all(found.values())

    @pytest.mark.parametrize(
        "what",
        ["address of lab-load-balancer", "address of lab-etcd-1", "certificates of lab-etcd-1",
         "certificates of lab-worker-1"],
    )  # fmt: skip
    def test_what_is_another_one_afterwards_is_noticed(
        self, drill: ModuleType, lab: FakeLab, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        monkeypatch.setattr(drill, "_off_and_on", lambda *_: lab.changed.update({what: "another"}))
        drill.run(lab)
        assert lab.unmet == [f"addresses and certificates are the same: changed: {what}"]

    def test_all_the_same(self, drill: ModuleType, lab: FakeLab) -> None:
        drill.run(lab)
        assert lab.unmet == []

    def test_nothing_read_is_nothing_compared(self, drill: ModuleType, lab: FakeLab) -> None:
        lab.changed["certificates of lab-etcd-1"] = ""
        with pytest.raises(Untrustworthy, match="certificates of lab-etcd-1"):
            drill.run(lab)
        assert lab.faults == []

    def test_the_script_reads_what_there_is_of_a_role(self, drill: ModuleType, tmp_path: Path) -> None:
        def read() -> Result:
            return shell.run(["sh", "-c", drill.CERTIFICATES.replace("cd /", f"cd {tmp_path}", 1)], check=False)

        assert (read().status, read().stdout) == (0, "")
        for name in ("etc/kubernetes/pki/ca.crt", "etc/kubernetes/pki/ca.key", "var/lib/kubelet/pki/client.pem"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        before = read()
        assert [line.split()[1] for line in before.stdout.splitlines()] == [
            "etc/kubernetes/pki/ca.crt", "var/lib/kubelet/pki/client.pem",
        ]  # fmt: skip
        (tmp_path / "etc/kubernetes/pki/ca.crt").write_text("another")
        assert read().stdout != before.stdout


@pytest.mark.parametrize(("planes", "limit"), [(1, 15), (2, 25)])
def test_each_size_has_its_own_limit(
    drill: ModuleType, monkeypatch: pytest.MonkeyPatch, planes: int, limit: float
) -> None:  # fmt: skip
    monkeypatch.setattr(drill.lifecycle, "start", lambda *_: True)
    lab = FakeLab(planes)
    drill.run(lab)
    assert lab.limits == [limit, limit]


class TestEngine:
    def test_it_is_stopped_and_started_with_the_undo_on_disk(
        self, drill: ModuleType, lab: FakeLab, engine: dict[str, str]
    ) -> None:
        engine["of-yesterday"] = "exited"
        drill.run(lab, engine=True)
        assert lab.faults[-1] == EngineOff(tuple(node.name for node in lab.cluster.nodes))
        assert lab.happened[-4:] == ["stopped", "started", "started", "undone"]
        assert len(lab.limits) == 3

    @pytest.mark.parametrize("state", ["running", "paused", "restarting"])
    def test_another_container_that_would_end_is_a_reason_not_to_begin(
        self, drill: ModuleType, lab: FakeLab, engine: dict[str, str], state: str
    ) -> None:
        engine["somebody-s"] = state
        with pytest.raises(Untrustworthy, match="somebody-s"):
            drill.run(lab, engine=True)
        assert lab.faults == []

    def test_one_that_came_meanwhile_is_seen_before_it_is_stopped(
        self, drill: ModuleType, lab: FakeLab, engine: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drill, "_off_and_on", lambda *_: engine.update({"somebody-s": "running"}))
        with pytest.raises(Untrustworthy, match="somebody-s"):
            drill.run(lab, engine=True)
        assert "stopped" not in lab.happened

    def test_an_engine_that_is_not_ours(
        self, drill: ModuleType, lab: FakeLab, engine: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse() -> int:
            raise MissingPrerequisite("it was not started by `invoke setup`", evidence=["systemd did"])

        monkeypatch.setattr(dockerd, "own_engine", refuse)
        assert drill.why_not(lab.cluster) == "it was not started by `invoke setup`; systemd did"
        with pytest.raises(Untrustworthy, match="systemd did"):
            drill.run(lab, engine=True)
        assert lab.faults == []

    def test_it_runs_again_before_the_undo_whatever_happens(
        self, drill: ModuleType, lab: FakeLab, engine: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop() -> None:
            lab.happened.append("stopped")
            raise KeyboardInterrupt

        monkeypatch.setattr(dockerd, "stop_engine", stop)
        with pytest.raises(KeyboardInterrupt):
            drill.run(lab, engine=True)
        assert lab.happened[-3:] == ["stopped", "started", "undone"]
