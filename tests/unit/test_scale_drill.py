"""The drill that scales: what it adds and removes, and that it comes back to where it began whatever happens."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import loading
import pytest
from fake_provider import FakeProvider

from kubedrill import cluster as clusters
from kubedrill import scaling
from kubedrill.cluster import Cluster
from kubedrill.errors import KubedrillError
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec, Role
from kubedrill.scenario import etcd
from kubedrill.shell import Result
from kubedrill.scenario.judge import Untrustworthy
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec


class World:
    """Nodes as scaling adds and removes them, and a lab that looks at each expectation once."""

    def __init__(self) -> None:
        self.provider = FakeProvider(script=lambda _node, _call: Result(0 if self.proxies else 7, "", ""))
        self.proxies = True
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        self.spec = ClusterSpec(name="lab", control_planes=1, workers=1)
        self.make("control-plane", 1)
        self.make("worker", 1)
        self.steps: list[str] = []
        self.drained: set[bool] = set()
        self.breaks_at = ""
        self.unmet: list[str] = []
        self.required: dict[str, bool] = {}
        self.cluster = self.there()
        self.api = SimpleNamespace(nodes=self.registered)

    def make(self, role: Role, number: int) -> None:
        """Make a node."""
        last = number + (100 if role == "worker" else 10)
        self.provider.create_node("lab", NodeSpec(f"lab-{role}-{number}", role, f"172.28.0.{last}", "an image"))

    def there(self, *_: object) -> Cluster:
        """The cluster as it is recorded."""
        return Cluster(self.spec, tuple(self.provider.nodes("lab")), 6443)

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
        self, _provider: object, cluster: Cluster, name: str, _console: object, *, drained: bool = True
    ) -> Cluster:
        """One less."""
        assert cluster.spec == self.spec, "what is recorded is what counts"
        node = cluster.node(name)
        field = "control_planes" if node.role == "control-plane" else "workers"
        self.spec = self.spec.model_copy(update={field: getattr(self.spec, field) - 1})
        self.drained.add(drained)
        self.steps.append(f"-{node.name.removeprefix('lab-')}")
        node.remove()
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

    def now(self) -> float:
        """No time passes."""
        return 0.0

    def __getattr__(self, name: str) -> Any:
        if name in ("say", "command", "apply", "baseline", "hold", "verify", "fact", "from_now", "kubectl",
                    "require_writes", "require_downtime", "require_no_failure"):  # fmt: skip
            return lambda *_, **__: None
        raise AttributeError(name)


@pytest.fixture
def drill() -> ModuleType:
    return loading.drill("scale")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(scaling, "add", made.add)
    monkeypatch.setattr(scaling, "remove", made.remove)
    monkeypatch.setattr(clusters, "lab", lambda _: SimpleNamespace(provider=made.provider))
    monkeypatch.setattr(clusters, "attach", made.there)
    monkeypatch.setattr(etcd, "healthy", lambda _: [node.address for node in made.control_planes()])
    return made


GROWS = ["+worker-2", "+worker-3", "+control-plane-2", "+control-plane-3"]
SHRINKS = ["-worker-3", "-worker-2", "-control-plane-3", "-control-plane-2"]


def test_it_grows_to_three_and_three_and_shrinks_back(drill: ModuleType, world: World) -> None:
    drill.run(world)
    assert world.steps == GROWS + SHRINKS
    assert world.drained == {True}
    assert world.unmet == []
    assert len(world.required) == 3
    assert all(world.required.values())


def test_its_control_drains_nothing(drill: ModuleType, world: World) -> None:
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
    assert (world.spec.control_planes, world.spec.workers) == (1, 1)
