"""A checkpoint that is put back, and cut off anywhere: what every task says then, and that doing it again ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import whole_world
from fake_kubernetes import ADMIN
from whole_world import World

from kubedrill import cluster, commands, kubeconfig, operations, status
from kubedrill import kept as keeping
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.marks import RESTORING
from kubedrill.providers.base import NodeSpec
from kubedrill.scenario import Scenario
from kubedrill.scenario.pool import Pool

world = whole_world.world  # a fixture
AGAIN = "invoke restore clean --name lab"


class Killed(BaseException):
    """Whoever was at work is gone."""


@pytest.fixture
def config(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's kubeconfig, with the cluster in it."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    kubeconfig.merge_into(path, "lab", ADMIN, world.cluster.server)
    return path


@pytest.fixture
def half(world: World) -> World:
    """A cluster whose checkpoint was half put back: the balancer is there, and nothing else."""
    operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")

    def kill(spec: NodeSpec) -> None:
        if spec.role == "control-plane":
            raise Killed

    world.provider.before_put_back = kill
    with pytest.raises(Killed):
        operations.restore(Console(), "clean", "lab")
    world.provider.before_put_back = lambda _: None
    assert len(world.nodes) == 1
    return world


class TestHalf:
    @pytest.mark.parametrize(
        "task",
        [
            lambda: operations.start(Console(), "lab"),
            lambda: operations.add_node(Console(), "lab", control_plane=False),
            lambda: operations.remove_node(Console(), "worker-2", "lab"),
            lambda: operations.upgrade(Console(), "1.37", "lab"),
            lambda: operations.checkpoint(Console(), "other", "lab", listing=False, remove=""),
            lambda: commands.execute(Console(), "lab", "load-balancer", "true"),
        ],
        ids=["start", "add-node", "remove-node", "upgrade", "checkpoint", "exec"],
    )
    def test_tasks_name_what_goes_on_with_it(self, half: World, task: Any) -> None:
        half.provider.events.clear()
        with pytest.raises(KubedrillError, match=f"{AGAIN}(.|\n)*invoke down --name lab"):
            task()
        assert half.provider.events == []

    def test_up_makes_nothing_anew(self, half: World) -> None:
        half.provider.events.clear()
        with pytest.raises(KubedrillError, match=AGAIN):
            cluster.up(cluster.lab(Console()), whole_world.SPEC, Console())
        assert half.provider.events == []

    def test_status_says_it(self, half: World) -> None:
        seen = status.of(half.cluster)
        assert not seen.healthy
        assert seen.api == f"half put back to the checkpoint clean (go on: {AGAIN})"

    def test_a_drill_on_it_says_it(self, half: World) -> None:
        drill = Scenario("a-drill", "", "", lambda _: None)
        with pytest.raises(KubedrillError, match=AGAIN):
            Pool(name="lab").cluster(drill)

    def test_again_it_is_whole(self, half: World) -> None:
        operations.restore(Console(), "clean", "lab")
        assert half.states() == {"running"}
        assert len(half.nodes) == 6
        assert RESTORING not in keeping.metadata(half.provider, "lab")
        assert status.of(half.cluster).healthy

    def test_down_removes_it(self, half: World) -> None:
        assert cluster.down(half.provider, "lab", Console())


class TestKubeconfig:
    def test_one_that_was_cut_off_before_it_is_made_right_by_doing_it_again(
        self, world: World, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then what is kept with the cluster says already what the file does not."""
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        right = world.cluster.server
        world.provider.change("lab", {**keeping.metadata(world.provider, "lab"), "api-port": "7777"})
        kubeconfig.merge_into(config, "lab", ADMIN, world.cluster.server)

        def kill(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(cluster, "republish", kill)
            with pytest.raises(Killed):
                operations.restore(Console(), "clean", "lab")
        assert world.cluster.server == right != kubeconfig.server(config, "lab")
        operations.restore(Console(), "clean", "lab")
        assert kubeconfig.server(config, "lab") == right

    def test_where_nothing_moved_it_stays_as_it_is(self, world: World, config: Path) -> None:
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        before = config.stat().st_mtime_ns
        operations.restore(Console(), "clean", "lab")
        assert config.stat().st_mtime_ns == before

    def test_a_cluster_that_is_not_in_it_stays_out_of_it(self, world: World, config: Path) -> None:
        operations.checkpoint(Console(), "clean", "lab", listing=False, remove="")
        kubeconfig.remove_from(config, "lab")
        kubeconfig.merge_into(config, "other", ADMIN, "https://127.0.0.1:9")
        operations.restore(Console(), "clean", "lab")
        assert kubeconfig.entries(config) == ["other"]
