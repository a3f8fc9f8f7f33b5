"""The drill that scales: what it adds and removes, and that it comes back to where it began whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import loading
import pytest
from fake_provider import FakeProvider

from kubedrill import cluster as clusters
from kubedrill import etcd_members, scaling
from kubedrill.cluster import Cluster
from kubedrill.errors import KubedrillError
from kubedrill.faults import Partition
from kubedrill.faults.actions import ShrinkBack, Whole
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec, Role
from kubedrill.scenario import etcd
from kubedrill.scenario.judge import Untrustworthy
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec


class World:
    """Nodes as scaling adds and removes them, and a lab that looks at each expectation once."""

    def __init__(self, control_planes: int = 1, workers: int = 1, members: int = 0) -> None:
        self.provider = FakeProvider(script=lambda _node, _call: Result(0 if self.proxies else 7, "", ""))
        self.proxies = True
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        counts = {"control_planes": control_planes, "workers": workers}
        self.spec = ClusterSpec(name="lab", etcd="external" if members else "stacked").model_copy(update=counts)
        made: list[tuple[Role, int]] = [("control-plane", control_planes), ("worker", workers), ("etcd", members)]
        for role, count in made:
            for number in range(1, count + 1):
                self.make(role, number)
        self.steps: list[str] = []
        self.drained: set[bool] = set()
        self.breaks_at = ""
        self.unmet: list[str] = []
        self.required: dict[str, bool] = {}
        self.gaps: list[tuple[str, float, tuple[float, float] | None]] = []
        self.lanes: list[str] = []
        self.monitor = SimpleNamespace(add=self.lane, end=lambda name: self.lanes.append(f"-{name}"))
        self.whole: Whole | None = None
        self.time = 0.0
        self.cluster = self.there()
        self.api = SimpleNamespace(nodes=self.registered)

    def make(self, role: Role, number: int) -> None:
        """Make a node."""
        last = number + {"control-plane": 10, "etcd": 20}.get(role, 100)
        self.provider.create_node("lab", NodeSpec(f"lab-{role}-{number}", role, f"172.28.0.{last}", "an image"))

    def there(self, *_: object) -> Cluster:
        """The cluster as it is recorded."""
        return Cluster(self.spec, tuple(self.provider.nodes("lab")), 6443 if self.spec.control_planes == 1 else 7000)

    def lane(self, name: str, _title: str, server: str) -> None:
        """One more lane."""
        self.steps.append("lane")
        self.lanes.append(f"+{name} {server}")

    def add(self, _place: object, cluster: Cluster, _console: object, *, control_plane: bool = False) -> Cluster:
        """One more; where it breaks, the node is there and the cluster's record names it."""
        assert cluster.spec == self.spec
        role: Role = "control-plane" if control_plane else "worker"
        field = "control_planes" if control_plane else "workers"
        self.spec = self.spec.model_copy(update={field: getattr(self.spec, field) + 1})
        number = getattr(self.spec, field)
        self.make(role, number)
        self.steps.append(f"+{role}-{number}")
        if self.steps[-1] == self.breaks_at:
            raise KubedrillError("kubeadm join failed")
        return self.there()

    def remove(
        self, _provider: object, cluster: Cluster, name: str, _console: object, *, drained: bool = True,
        unbalanced: Callable[[], None],
    ) -> Cluster:  # fmt: skip
        """One less."""
        assert cluster.spec == self.spec, "what is recorded is what counts"
        node = cluster.node(name)
        field = "control_planes" if node.role == "control-plane" else "workers"
        self.spec = self.spec.model_copy(update={field: getattr(self.spec, field) - 1})
        self.drained.add(drained)
        self.steps.append(f"-{node.name.removeprefix('lab-')}")
        node.remove()
        if node.name == "lab-control-plane-2":
            unbalanced()
        return self.there()

    def registered(self) -> list[NodeSnapshot]:
        """All nodes, Ready."""
        return [NodeSnapshot(node.name, True, "", False, False, (), node.address, "v1") for node in self.cluster.nodes]

    def nodes(self, role: Role) -> list[Node]:
        """Those of a role, in their order."""
        return [node for node in self.cluster.nodes if node.role == role]

    def control_planes(self) -> list[Node]:
        """Those."""
        return self.nodes("control-plane")

    def workers(self) -> list[Node]:
        """Those."""
        return self.nodes("worker")

    def pods(self, _name: str) -> list[PodSnapshot]:
        """Six, spread over the workers."""
        pod = PodSnapshot("drill", "hello", "", "10.244.0.2", "Running", True, 0, False, {})
        workers = self.workers()
        return [replace(pod, name=f"hello-{n}", node=workers[n % len(workers)].name) for n in range(6)]

    def expect(self, what: str, read: Any, check: Any, **_: Any) -> Any:
        """Look once."""
        state = read()
        if not check(state)[0]:
            self.unmet.append(what)
        return state

    def require(self, text: str, ok: bool, measured: object) -> None:
        """Keep it."""
        self.required[text] = ok

    def require_downtime(
        self, lane: str, at_most: float, *, between: tuple[float, float] | None = None, when: str = ""
    ) -> None:
        """Keep it."""
        self.gaps.append((lane, at_most, between))

    def assume_true(self, what: str, ok: bool, measured: object) -> None:
        """It must hold."""
        if not ok:
            raise Untrustworthy(f"{what}: {measured}")

    @contextlib.contextmanager
    def way_back(self, whole: Whole, back: Callable[[], None]) -> Iterator[None]:
        """Go back at the end."""
        self.whole = whole
        try:
            yield
        finally:
            back()

    @contextlib.contextmanager
    def fault(self, fault: Partition, *, role: str) -> Iterator[None]:
        """Break something."""
        self.steps.append(f"cut {fault.node} off from {fault.others[0]}")
        yield

    def now(self) -> float:
        """A second later each time."""
        self.time += 1
        return self.time

    def __getattr__(self, name: str) -> Any:
        if name in ("say", "command", "apply", "baseline", "hold", "verify", "fact", "from_now", "kubectl",
                    "require_writes", "require_no_failure"):  # fmt: skip
            return lambda *_, **__: None
        raise AttributeError(name)


@pytest.fixture
def drill() -> ModuleType:
    return loading.drill("scale")


Make = Callable[..., World]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    def of(**counts: int) -> World:
        made = World(**counts)
        monkeypatch.setattr(scaling, "add", made.add)
        monkeypatch.setattr(scaling, "remove", made.remove)
        monkeypatch.setattr(clusters, "lab", lambda _: SimpleNamespace(provider=made.provider))
        monkeypatch.setattr(clusters, "attach", made.there)
        monkeypatch.setattr(etcd, "healthy", lambda _: [node.address for node in etcd_members.of(made.cluster.nodes)])
        return made

    return of


@pytest.fixture
def world(make: Make) -> World:
    return make()


GROWS = ["+worker-2", "+worker-3", "+control-plane-2", "lane", "+control-plane-3"]
SHRINKS = ["-worker-3", "-worker-2", "-control-plane-3", "-control-plane-2"]


def test_it_grows_to_three_and_three_and_shrinks_back(drill: ModuleType, world: World) -> None:
    drill.run(world)
    assert world.steps == GROWS + SHRINKS
    assert world.drained == {True}
    assert world.unmet == []
    assert len(world.required) == 3
    assert all(world.required.values())
    assert world.whole == ShrinkBack(1, 1)


def test_the_balancer_is_asked_from_its_control_plane_on_until_it_goes(drill: ModuleType, world: World) -> None:
    drill.run(world)
    assert world.lanes == ["+api-balancer https://127.0.0.1:7000", "-api-balancer"]
    *_, whole, leaving = world.gaps
    assert whole == ("api-balancer", 3, None)
    lane, at_most, between = leaving
    assert (lane, at_most) == ("api-balancer", 0)
    assert between is not None
    assert between[0] < between[1]


def test_its_control_cuts_a_control_plane_off_before_it_leaves_the_balancer(drill: ModuleType, world: World) -> None:
    drill.run(world, balanced=False)
    cut = [step for step in world.steps if "control-plane" in step][2:]
    assert cut == [
        "cut lab-control-plane-3 off from load-balancer", "-control-plane-3",
        "cut lab-control-plane-2 off from load-balancer", "-control-plane-2",
    ]  # fmt: skip


def test_an_etcd_of_its_own_keeps_its_members(drill: ModuleType, make: Make) -> None:
    world = make(members=3)
    drill.run(world)
    assert world.steps == GROWS + SHRINKS
    assert world.required["etcd has 3 healthy members"]
    assert world.required["etcd has the members of before"]


def test_a_member_of_etcd_that_is_left_behind_is_noticed(
    drill: ModuleType, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []

    def healthy(_: object) -> list[str]:
        left.extend(node.address for node in world.control_planes() if node.address not in left)
        return left.copy()

    monkeypatch.setattr(etcd, "healthy", healthy)
    drill.run(world)
    assert world.required == {
        "etcd has 3 healthy members": True,
        "the nodes are those of before": True,
        "etcd has the members of before": False,
    }


def test_with_several_control_planes_only_workers_come_and_no_lane_is_added(drill: ModuleType, make: Make) -> None:
    world = make(control_planes=3)
    drill.run(world)
    assert world.steps == ["+worker-2", "+worker-3", "-worker-3", "-worker-2"]
    assert world.lanes == []
    assert [lane for lane, _, _ in world.gaps] == ["api-read", "api-write"]


def test_with_two_control_planes_the_lanes_go_through_the_balancer(drill: ModuleType, make: Make) -> None:
    world = make(control_planes=2)
    drill.run(world)
    assert world.lanes == []
    assert world.gaps[-1][:2] == ("api-read", 0)
    assert world.whole == ShrinkBack(2, 1)


def test_where_nothing_can_be_added_it_says_nothing(drill: ModuleType, make: Make) -> None:
    world = make(control_planes=3, workers=3)
    with pytest.raises(Untrustworthy, match=r"3\+3; on another cluster: invoke scenario scale --fresh"):
        drill.run(world)
    assert world.steps == []


def test_its_other_control_drains_nothing(drill: ModuleType, world: World) -> None:
    drill.run(world, drained=False)
    assert world.drained == {False}


def test_a_kube_proxy_that_was_left_behind_is_noticed(drill: ModuleType, world: World) -> None:
    world.proxies = False
    drill.run(world)
    assert world.unmet == ["a Service that is new answers"]


@pytest.mark.parametrize(
    ("broken", "back"),
    [
        ("+worker-3", ["-worker-3", "-worker-2"]),
        ("+control-plane-2", ["-worker-3", "-worker-2", "-control-plane-2"]),
    ],
)
def test_what_was_added_goes_again_also_where_the_last_one_broke(
    drill: ModuleType, world: World, broken: str, back: list[str]
) -> None:
    world.breaks_at = broken
    with pytest.raises(KubedrillError, match="kubeadm join failed"):
        drill.run(world)
    assert [step for step in world.steps if step.startswith("-")] == back
    assert world.lanes in ([], ["-api-balancer"]), "it was not asked yet"
    assert (world.spec.control_planes, world.spec.workers) == (1, 1)
