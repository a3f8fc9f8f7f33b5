"""The drill of partitions, on a lab that does what a test says: whom it cuts off, and what it will not let pass."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import loading
import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill.cluster import Cluster
from kubedrill.faults import Fault, LeftOut, Partition, Target, targets
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec
from kubedrill.scenario import etcd
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

PLANES = [f"lab-control-plane-{number}" for number in (1, 2, 3)]
UNANSWERED = Result(1, "", "Error from server (Timeout): etcdserver: request timed out")
REFUSED = Result(1, "", "Error from server (Forbidden): configmaps is forbidden")


class Etcd:
    """Three members as `crictl exec ... etcdctl` and kubectl show them; `cut` is the one that is cut off."""

    def __init__(self) -> None:
        self.leader = PLANES[1]
        self.cut = ""
        self.elects = True
        self.acknowledges = False
        self.takes_nothing = False
        self.tells_what_is_so = False
        self.created: list[str] = []
        self.says = UNANSWERED
        self.there: dict[str, list[str]] = {}

    def answer(self, node: FakeNode, call: Call) -> Result:
        """Answer a command on a control plane."""
        alone = node.name == self.cut
        if "endpoint status" in call.line:
            leader = 0 if alone else PLANES.index(self.leader) + 1
            header = {"member_id": PLANES.index(node.name) + 1}
            return Result(0, json.dumps([{"Endpoint": "", "Status": {"header": header, "leader": leader}}]), "")
        if "--consistency=l" in call.line:
            return Result(0, "key", "") if self.tells_what_is_so or not alone else UNANSWERED
        if call.argv[0] == "kubectl" and "create" in call.argv:
            self.created.append(call.line)
            done = (self.acknowledges or not alone) and not self.takes_nothing
            return Result(0, "created", "") if done else self.says
        if call.argv[0] == "kubectl" and "get" in call.argv:
            assert f"--server=https://{node.address}:6443" in call.argv
            found = ["kube-root-ca.crt", *self.there.get(node.name, [])]
            return Result(0, "".join(f"configmap/{name}\n" for name in found), "")
        return Result(0, "", "")


class FakeLab:
    """What the drill asks of a lab; an expectation is looked at once."""

    def __init__(self, drill: ModuleType) -> None:
        self.etcd = Etcd()
        provider = FakeProvider(script=self.etcd.answer)
        provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        for number, name in enumerate(PLANES, 11):
            provider.create_node("lab", NodeSpec(name, "control-plane", f"172.28.0.{number}", "an image"))
        self.cluster = Cluster(ClusterSpec(control_planes=3, workers=0), tuple(provider.nodes("lab")), 1)
        self.monitor = SimpleNamespace(silent_for=lambda lane: 0.1, names=lambda: ["api-read", "cp-1", "cp-2", "cp-3"])
        self.api = SimpleNamespace(nodes=lambda: [])
        self.faults: list[Fault] = []
        self.required: dict[str, bool] = {}
        self.downtimes: list[tuple[str, float, object]] = []
        self.unmet: list[str] = []
        self.facts: dict[str, str] = {}

    def fault(self, fault: Fault, *, role: str = "") -> contextlib.AbstractContextManager[None]:
        """Cut off the leader; the others elect the next one."""

        @contextlib.contextmanager
        def during() -> Iterator[None]:
            self.faults.append(fault)
            self.etcd.cut = self.etcd.leader
            if self.etcd.elects:
                self.etcd.leader = PLANES[(PLANES.index(self.etcd.leader) + 1) % 3]
            yield
            self.etcd.cut = ""

        return during()

    def expect(self, what: str, read: Callable[[], Any], check: Callable[[Any], tuple[bool, str]], **_: Any) -> Any:
        """Look once."""
        state = read()
        ok, _why = check(state)
        if not ok:
            self.unmet.append(what)
        return state

    def require(self, text: str, ok: bool, measured: object) -> None:
        """Keep it; one that was asked for several times holds only where it always did."""
        self.required[text] = self.required.get(text, True) and ok

    def require_downtime(self, lane: str, at_most: float, *, between: object = None, when: str = "") -> None:
        """Keep it."""
        self.downtimes.append((lane, at_most, between))

    def control_planes(self) -> list[Node]:
        """All nodes."""
        return list(self.cluster.nodes)

    def workers(self) -> list[Node]:
        """None."""
        return []

    def pods(self, name: str) -> list[object]:
        """None: that they are ready is not what is tested."""
        return []

    def node(self, name: str) -> Node:
        """A node."""
        return self.cluster.node(name)

    def target(self, found: Target) -> Target:
        """It."""
        return found

    def span(self) -> tuple[float, float]:
        """The newest fault's."""
        return (10.0 * len(self.faults), 10.0 * len(self.faults) + 5)

    def read(self, read: Callable[[], Any]) -> Any:
        """It."""
        return read()

    def fact(self, name: str, value: str) -> None:
        """Keep it."""
        self.facts[name] = value

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("say", "command", "apply", "baseline", "hold", "verify", "require_writes", "require_linearizable"):
            return lambda *_, **__: None
        raise AttributeError(name)


@pytest.fixture
def drill() -> ModuleType:
    return loading.drill("partition")


@pytest.fixture
def lab(drill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    made = FakeLab(drill)
    monkeypatch.setattr(targets, "etcd_leader", lambda _: Target(made.etcd.leader, "etcd leader"))
    monkeypatch.setattr(targets, "behind_balancer", lambda _: tuple(Target(name, "behind") for name in PLANES))
    monkeypatch.setattr(etcd, "healthy", lambda _: PLANES)
    return made


def test_the_leader_of_the_moment_is_cut_off_from_all_others_in_each_way(drill: ModuleType, lab: FakeLab) -> None:
    drill.run(lab)
    cuts = [fault for fault in lab.faults if isinstance(fault, Partition)]
    assert [cut.direction for cut in cuts] == ["both", "out", "in"]
    assert [str(cut.node).split()[0] for cut in cuts] == [PLANES[1], PLANES[2], PLANES[0]]
    for cut in cuts:
        assert isinstance(cut.node, Target)
        assert {cut.node.node, *map(str, cut.others)} == set(PLANES)
    assert all(lab.required.values())


def test_a_write_is_tried_on_the_smaller_side_past_the_balancer(drill: ModuleType, lab: FakeLab) -> None:
    drill.run(lab)
    each = drill.TRIES + 1  # one of them before the cut
    assert len({named(line) for line in lab.etcd.created}) == len(lab.etcd.created) == 3 * each
    assert [number for number, line in enumerate(lab.etcd.created) if named(line).startswith(drill.UNCUT)] == [
        0, each, 2 * each,
    ]  # fmt: skip
    for line, last in zip(lab.etcd.created, [12] * each + [13] * each + [11] * each, strict=True):
        assert f"--server=https://172.28.0.{last}:6443" in line


def named(line: str) -> str:
    return line.split("configmap ")[1].split()[0]


def test_an_api_server_that_never_takes_a_write_shows_nothing(drill: ModuleType, lab: FakeLab) -> None:
    lab.etcd.takes_nothing = True
    drill.run(lab)
    assert unmet(lab) == ["what is tried there is acknowledged while nothing is cut"]


def test_in_its_other_control_the_majority_acknowledges_what_is_tried(drill: ModuleType, lab: FakeLab) -> None:
    drill.run(lab, minority=False)
    assert unmet(lab) == ["the minority acknowledged no write"]


def test_each_cut_has_its_own_budget(drill: ModuleType, lab: FakeLab) -> None:
    drill.run(lab)
    spans = [(10.0, 15.0), (20.0, 25.0), (30.0, 35.0)]
    for lane in ("api-read", "api-write"):
        assert [between for name, _, between in lab.downtimes if name == lane] == spans


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ({"acknowledges": True}, "the minority acknowledged no write"),
        ({"tells_what_is_so": True}, "refuses to tell what is so"),
    ],
)
def test_a_minority_that_does_what_a_majority_may_is_noticed(
    drill: ModuleType, lab: FakeLab, broken: dict[str, bool], text: str
) -> None:
    for name, value in broken.items():
        setattr(lab.etcd, name, value)
    drill.run(lab)
    unmet = [required for required, ok in lab.required.items() if not ok]
    assert unmet
    assert all(text in one for one in unmet)


def unmet(lab: FakeLab) -> list[str]:
    return [text for text, ok in lab.required.items() if not ok]


def test_an_unanswered_write_may_come_to_be_after_the_heal_and_is_told(drill: ModuleType, lab: FakeLab) -> None:
    lab.etcd.there = {name: ["minority-in-2"] for name in PLANES}
    drill.run(lab)
    assert unmet(lab) == []
    assert lab.facts == {"of the writes that the minority was asked for": "1 were done after the heal: minority-in-2"}


def test_a_refused_write_that_comes_to_be_is_noticed(drill: ModuleType, lab: FakeLab) -> None:
    lab.etcd.says = REFUSED
    lab.etcd.there = {name: ["minority-in-2"] for name in PLANES}
    drill.run(lab)
    assert unmet(lab) == ["what it refused for certain did not come to be"]


def test_control_planes_that_tell_different_stories_are_noticed(drill: ModuleType, lab: FakeLab) -> None:
    lab.etcd.there = {PLANES[1]: ["minority-in-2"]}
    drill.run(lab)
    assert unmet(lab) == ["every control plane tells the same of them"]


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ('Post "https://172.28.0.11:6443/api": net/http: request canceled (Client.Timeout exceeded', False),
        ("https://172.28.0.12:6443/api/v1/namespaces/drill/configmaps?timeout=3s: context deadline exceeded", False),
        ("Error from server: etcdserver: request timed out", False),
        ("The connection to the server 172.28.0.11:6443 was refused", False),
        ("Error from server (Forbidden): configmaps is forbidden", True),
        ('Error from server (AlreadyExists): configmaps "minority-in-1" already exists', True),
    ],
)  # fmt: skip
def test_only_what_was_answered_is_refused(drill: ModuleType, said: str, refused: bool) -> None:
    assert drill.Try("x", False, said).refused is refused
    assert not drill.Try("x", True, said).refused


def test_nobody_elected_is_noticed_although_the_old_leader_may_think_it_leads(drill: ModuleType, lab: FakeLab) -> None:
    lab.etcd.elects = False
    drill.run(lab)
    assert "the others have elected another leader" in lab.unmet


def test_in_its_control_the_network_stays_as_it_is(drill: ModuleType, lab: FakeLab) -> None:
    drill.run(lab, healed=False)
    assert all(isinstance(fault, LeftOut) for fault in lab.faults)


@pytest.mark.parametrize(
    "said",
    [
        "", "[]", "null", "[{}]", "no json",
        # As etcd 3.7 says it while there is no leader.
        '[{"Status": {"header": {"member_id": 3, "revision": 9}, "raftTerm": 2, "errors": ["etcdserver: no leader"]}}]',
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_asked_does_not_lead(said: str) -> None:
    provider = FakeProvider(script=lambda _node, _call: Result(0, said, ""))
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    provider.create_node("lab", NodeSpec(PLANES[0], "control-plane", "172.28.0.11", "an image"))
    assert not etcd.leads(provider.node(PLANES[0]))
