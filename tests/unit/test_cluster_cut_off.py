"""An `up` that fails or is cut off: what it leaves, and what the next one makes of that."""

from __future__ import annotations

import re

import cluster_world
import pytest
from cluster_world import World
from fake_node import Call, FakeNode

from kubedrill import bringup
from kubedrill.errors import KubedrillError
from kubedrill.marks import JOINED
from kubedrill.providers.base import NetworkSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

world = cluster_world.world  # a fixture


class TestFailure:
    @pytest.mark.parametrize("command", ["kubeadm init", "kubedrill-at-once", "kubeadm join", "systemctl"])
    def test_nodes_are_removed_and_logs_kept(self, world: World, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bringup, "_BOOT", 0.05)
        world.breaks(command)
        with pytest.raises(KubedrillError, match=r"it broke|not within"):
            world.up()
        assert world.provider.clusters() == []
        assert world.contexts() == []
        assert world.logs(), "the journals of the nodes"

    def test_unless_they_are_to_be_kept(self, world: World) -> None:
        world.breaks("kubeadm join", "worker-2")
        with pytest.raises(KubedrillError):
            world.up(keep=True)
        assert world.provider.names() == ["lab-control-plane-1", "lab-worker-1", "lab-worker-2"]
        assert world.logs()

    def test_a_cluster_that_was_there_is_not_removed(self, world: World) -> None:
        world.up()
        world.provider.node("lab-worker-2").remove()
        world.breaks("kubeadm join")
        with pytest.raises(KubedrillError):
            world.up()
        assert "lab-control-plane-1" in world.provider.names()
        assert world.contexts() == ["lab"]

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
    def test_an_interruption(self, world: World, interruption: type[BaseException]) -> None:
        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.line.startswith("kubeadm init"):
                raise interruption
            return None

        world.kubernetes.answers = answer
        with pytest.raises(interruption):
            world.up()
        assert world.provider.clusters() == []
        assert world.logs() == []

    def test_logs_that_cannot_be_kept_hide_nothing(self, world: World) -> None:
        """The error that led here must reach the user, and the nodes must go, whatever happens to the logs."""
        (world.folder / "state" / "kubedrill").mkdir(parents=True)
        (world.folder / "state" / "kubedrill" / "logs").write_text("in the way")
        world.breaks("kubeadm init")
        with pytest.raises(KubedrillError, match="it broke"):
            world.up()
        assert world.provider.clusters() == []

    def test_no_logs_are_promised_where_there_are_no_nodes(
        self, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refuse(cluster: str, network: NetworkSpec) -> None:
            raise KubedrillError("the subnet is taken")

        monkeypatch.setattr(world.provider, "create_network", refuse)
        with pytest.raises(KubedrillError, match="the subnet is taken"):
            world.up()
        assert "logs of all nodes are in" not in capsys.readouterr().out


class TestInterrupted:
    def make(self, world: World, spec: ClusterSpec, failing: str, node: str = "") -> None:
        """What a run left that was killed: as `keep` leaves it."""
        world.breaks(failing, node)
        with pytest.raises(KubedrillError):
            world.up(spec, keep=True)
        world.mended()

    def test_before_the_first_control_plane_all_begins_anew(self, world: World) -> None:
        self.make(world, ClusterSpec(), "kubeadm init")
        world.up()
        removed = [event[1] for event in world.happened("remove")]
        assert "lab-control-plane-1" in removed
        assert "lab" in [event[1] for event in world.happened("network")]
        for name in world.provider.names():
            assert JOINED in world.provider.node(name).disk

    def test_a_network_less_rest_is_removed_first(self, world: World) -> None:
        world.up()
        world.provider.drop_network("lab")
        world.mended()
        world.up()
        assert sorted(event[1] for event in world.happened("remove")) == [
            "lab-control-plane-1", "lab-worker-1", "lab-worker-2"
        ]  # fmt: skip
        assert len(world.provider.names()) == 3

    def test_later_only_what_has_not_joined_is_made_anew(self, world: World) -> None:
        spec = ClusterSpec(control_planes=3, workers=2)
        self.make(world, spec, "kubeadm join", "worker-2")
        world.up(spec)
        made = [event[1] for event in world.happened("create")]
        assert "lab-worker-2" in made
        assert not {"lab-load-balancer", "lab-control-plane-1"} & set(made)
        assert set(made) == {event[1] for event in world.happened("remove")}
        deleted = [event for event in world.happened("run") if event[2].startswith("kubectl delete node")]
        assert {event[1] for event in deleted} == {"lab-control-plane-1"}
        assert {event[2].split()[3] for event in deleted} == set(made)

    def test_the_etcd_member_of_a_control_plane_that_is_gone_is_removed(self, world: World) -> None:
        spec = ClusterSpec(control_planes=3, workers=0)
        world.up(spec)
        world.provider.node("lab-control-plane-2").remove()
        world.mended()
        world.up(spec)
        removals = [event[2] for event in world.happened("run") if "member remove" in event[2]]
        assert len(removals) == 1
        assert re.search(r"grep -F ' https://[0-9.]+\.12:2380,'", removals[0])

    @pytest.mark.parametrize("state", ["stop", "kill", "pause"])
    def test_the_leader_is_brought_back_for_that(self, world: World, state: str) -> None:
        world.up()
        world.provider.node("lab-worker-1").remove()
        getattr(world.provider.node("lab-control-plane-1"), state)()
        world.mended()
        world.up()
        assert world.provider.node("lab-control-plane-1").state() == "running"
        assert [event[1] for event in world.happened("create")] == ["lab-worker-1"]
