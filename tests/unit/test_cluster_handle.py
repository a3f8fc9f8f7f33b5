"""The handle of a cluster: who may have it, what it gives, and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cluster_world
import pytest
from cluster_world import World
from fake_kubernetes import ADMIN

from kubedrill import cluster, kubeconfig
from kubedrill.errors import Busy, InvalidSpec, KubedrillError, NotFound
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.spec import ClusterSpec

world = cluster_world.world  # a fixture


class TestOneAtATime:
    @pytest.mark.parametrize("second", ["up", "down"])
    def test_a_second_one_of_that_name_is_busy_at_once(self, world: World, second: str) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def hold(_: NodeSpec) -> None:
            inside.set()
            assert go_on.wait(20)

        world.provider.before_create = hold
        first = threading.Thread(target=world.up)
        first.start()
        try:
            assert inside.wait(20)
            actions: dict[str, Callable[[], object]] = {
                "up": world.up,
                "down": lambda: cluster.down(world.provider, "lab", world.console),
            }
            with pytest.raises(Busy, match="'lab'"):
                actions[second]()
            assert world.provider.clusters() == ["lab"]
            world.provider.before_create = lambda _: None
            world.kubernetes.registered.clear()
        finally:
            go_on.set()
            first.join()
        assert len(world.provider.names()) == 3, "the first one came to its end"

    def test_another_name_is_free_meanwhile_and_the_same_one_later(self, world: World) -> None:
        others: list[cluster.Cluster] = []

        def other(spec: NodeSpec) -> None:
            if spec.name == "lab-control-plane-1":
                others.append(world.up(ClusterSpec(name="other", workers=0)))
                world.kubernetes.registered.clear()

        world.provider.before_create = other
        world.up()
        assert world.provider.clusters() == ["lab", "other"]
        assert len(others) == 1
        cluster.down(world.provider, "lab", world.console)
        assert world.provider.clusters() == ["other"]


class TestHandle:
    def test_attach(self, world: World) -> None:
        world.up()
        found = cluster.attach(world.provider, "lab")
        assert found.node("worker-1").name == found.node("lab-worker-1").name == "lab-worker-1"
        with pytest.raises(NotFound, match="worker-9") as caught:
            found.node("worker-9")
        assert "lab-worker-2" in str(caught.value)

    def test_attach_to_nothing_names_what_there_is(self, world: World) -> None:
        with pytest.raises(NotFound, match="none"):
            cluster.attach(world.provider, "lab")
        world.up()
        with pytest.raises(NotFound, match="clusters: lab"):
            cluster.attach(world.provider, "lob")

    def test_attach_to_a_cluster_of_somebody_else(self, world: World) -> None:
        world.provider.create_network("theirs", NetworkSpec("172.28.9.0/24", {"from": "a test"}))
        with pytest.raises(KubedrillError, match="theirs"):
            cluster.attach(world.provider, "theirs")

    def test_running_and_the_kubeconfig_of_a_dead_node(self, world: World) -> None:
        found = world.up()
        found.node("control-plane-1").kill()
        assert [node.name for node in found.running()] == ["lab-worker-1", "lab-worker-2"]
        text = found.admin_conf()
        assert found.server in text
        assert "172.28.0.11" not in text
        assert "Q0VSVAo=" in text
        assert "Q0VSVAo=" in ADMIN

    def test_down(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        world.up()
        world.kubernetes.registered.clear()
        world.up(ClusterSpec(name="other", workers=0))
        assert cluster.down(world.provider, "lab", world.console) is True
        assert world.provider.clusters() == ["other"]
        assert world.contexts() == ["other"]
        assert "removed node lab-worker-2" in capsys.readouterr().out
        assert cluster.down(world.provider, "lab", world.console) is False

    def test_down_of_no_name(self, world: World) -> None:
        with pytest.raises(InvalidSpec, match="DNS label"):
            cluster.down(world.provider, "../x", world.console)

    def test_everything(self, world: World) -> None:
        world.up(merge=False)
        kubeconfig.merge_into(world.folder / "kubeconfig", "stale", ADMIN, "https://127.0.0.1:1")
        assert cluster.everything(world.provider) == ["lab", "stale"]
