"""What `up` makes, finishes, leaves alone and refuses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import cluster_world
import pytest
from cluster_world import World

from kubedrill import bringup, cluster, cputime, hollow, host, ingredients, kubeadm, libvirtd, lifecycle
from kubedrill.cputime import CpuTime
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.images import build
from kubedrill.providers.base import NetworkSpec
from kubedrill.spec import ClusterSpec
from kubedrill.trends import records

world = cluster_world.world  # a fixture


class TestUp:
    def test_a_new_cluster(self, world: World) -> None:
        spec = ClusterSpec(control_planes=3, workers=1)
        found = world.up(spec)
        assert found.spec == spec
        assert [node.name.removeprefix("lab-") for node in found.nodes] == [
            "load-balancer", "control-plane-1", "control-plane-2", "control-plane-3", "worker-1"
        ]  # fmt: skip
        assert world.preflights == 1
        network = world.provider.network("lab")
        assert network is not None
        assert network.subnet == "172.28.0.0/24"
        assert ClusterSpec.from_json(network.metadata["spec"]) == spec
        assert int(network.metadata["api-port"]) == found.api_port
        assert world.provider.node("lab-load-balancer").spec.publish == {(6443, "tcp"): found.api_port}
        assert world.contexts() == ["lab"]
        assert found.server in (world.folder / "kubeconfig").read_text()
        assert (world.folder / "kubeconfig").stat().st_mode & 0o777 == 0o600

    def test_what_it_took_is_recorded_once(self, world: World) -> None:
        world.up(ClusterSpec(control_planes=3, workers=1))
        world.mended()
        world.up(ClusterSpec(control_planes=3, workers=1))
        (record,) = records.read()
        assert (record.name, record.cluster) == ("bring-up", "3+1 docker iptables")
        assert 0 <= record.figures["took"] < 60

    def test_how_busy_the_computer_was_is_recorded_too(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        watch = cputime.Stopwatch
        cores = iter([CpuTime(100, 50, 0), CpuTime(300, 100, 20)])
        monkeypatch.setattr(cputime, "Stopwatch", lambda: watch(read=lambda: next(cores)))
        world.up()
        (record,) = records.read()
        assert (record.busy, record.stolen) == (0.75, 0.1)

    def test_hollow_nodes_are_a_figure_of_their_own(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "Kube", lambda _: None)
        monkeypatch.setattr(hollow, "add", lambda *_: cputime.Taken(20.44, 0.9, 0.01))
        world.up(ClusterSpec(hollow=20))
        world.up(ClusterSpec(hollow=20))
        up, added = records.read()
        assert (up.name, up.cluster) == ("bring-up", "1+2 docker iptables hollow=20")
        assert (added.name, added.cluster) == ("hollow nodes", "1+2 docker iptables hollow=20")
        assert (added.figures, added.stolen) == ({"took": 20.4}, 0.01)

    def test_what_no_spec_says_is_in_the_kind_of_cluster(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "ensure", lambda *_, **__: build.Built("an-image", cluster_world.STORE, "packages"))
        world.provider.slow = 17
        found = world.up()
        assert found.made == ("emulated", "packages")
        assert cluster.attach(world.provider, "lab").made == ("emulated", "packages")
        (record,) = records.read()
        assert record.cluster == "1+2 docker iptables emulated packages"

    def test_vms_are_reached_at_their_own_addresses(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        checked: list[str] = []
        monkeypatch.setattr(libvirtd, "check", lambda: checked.append("libvirt"))
        made = bringup.Made("/cache/x.box", {"v1.37.2": "/pool/x.img"}, "flannel:x", kubeadm.Machine(2, None, None), ())
        monkeypatch.setattr(ingredients, "of_vms", lambda *_: made)
        world.provider.slow = 17
        found = world.up(ClusterSpec(provider="vagrant", workers=1))
        assert checked == ["libvirt"]
        assert (found.server, found.slow) == ("https://172.28.0.11:6443", 17)
        leader = world.provider.node("lab-control-plane-1")
        assert (leader.spec.image, leader.spec.publish) == ("/cache/x.box", {})
        network = world.provider.network("lab")
        assert network is not None
        assert (network.metadata["provider"], network.metadata["vm-driver"]) == ("vagrant", "auto")
        assert found.server in (world.folder / "kubeconfig").read_text()

    @pytest.mark.parametrize("missing", [frozenset(), frozenset({"SYS_RESOURCE"}), frozenset({"SYS_TIME"})])
    def test_what_the_engine_lacks_is_in_the_configuration(self, world: World, missing: frozenset[str]) -> None:
        lab = replace(world.lab, missing=missing)
        made = cluster.what_of(lab, ClusterSpec(), world.console)
        assert made.machine.shields is ("SYS_RESOURCE" not in missing)

    def test_its_subnet_overlaps_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "host_networks", lambda: [IPv4Network("172.28.0.0/24")])
        world.provider.create_network("other", NetworkSpec("172.28.1.0/24", {}))
        world.up(ClusterSpec(pod_subnet="172.28.4.0/22", service_subnet="172.29.0.0/20"))
        network = world.provider.network("lab")
        assert network is not None
        assert network.subnet == "172.28.2.0/24"

    def test_without_the_kubeconfig(self, world: World) -> None:
        world.up(merge=False)
        assert not (world.folder / "kubeconfig").exists()

    def test_a_broken_kubeconfig_is_told_before_the_work(self, world: World) -> None:
        (world.folder / "kubeconfig").write_text("{[")
        with pytest.raises(KubedrillError):
            world.up()
        assert world.provider.events == []
        assert (world.folder / "kubeconfig").read_text() == "{["

    def test_the_same_again_changes_nothing(self, world: World) -> None:
        first = world.up()
        world.mended()
        again = world.up()
        assert (again.api_port, [node.name for node in again.nodes]) == (
            first.api_port, [node.name for node in first.nodes]
        )  # fmt: skip
        assert world.happened("create", "remove", "write", "network") == []
        assert world.preflights == 1, "a cluster that is there needs no room"

    @pytest.mark.parametrize("off", ["stop", "kill", "pause"])
    def test_one_that_was_stopped_is_brought_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch, off: str
    ) -> None:  # fmt: skip
        """And looked at with care: its API still remembers how all was before."""
        waited: list[list[str]] = []
        monkeypatch.setattr(
            lifecycle, "wait_until_whole", lambda _cluster, _console, booted, *_, **__: waited.append(booted)
        )  # fmt: skip
        world.up()
        assert waited == []
        for name in ("lab-control-plane-1", "lab-worker-2"):
            getattr(world.provider.node(name), off)()
        world.mended()
        world.up()
        assert waited == [[] if off == "pause" else ["lab-control-plane-1", "lab-worker-2"]]
        assert {node.state() for node in world.provider.nodes("lab")} == {"running"}
        assert world.happened("create", "remove", "network") == []

    def test_what_would_begin_anew_but_has_checkpoints_is_left_alone(self, world: World) -> None:
        world.up()
        for node in world.provider.nodes("lab"):
            node.stop()
        world.provider.save("lab", "clean")
        world.provider.node("lab-control-plane-1").remove()
        with pytest.raises(KubedrillError, match="invoke restore clean --name lab"):
            world.up()
        assert world.provider.names() == ["lab-worker-1", "lab-worker-2"]

    def test_one_that_differs_is_refused_and_nothing_is_changed(self, world: World) -> None:
        world.up()
        before = (world.folder / "kubeconfig").read_text()
        world.mended()
        with pytest.raises(InvalidSpec) as caught:
            world.up(ClusterSpec(workers=3, proxy_mode="nftables"))
        assert "workers: 2 there, 3 asked for" in caught.value.evidence
        assert len(caught.value.evidence) == 2
        assert "invoke add-node --name lab" in caught.value.todo[0]
        assert world.provider.events == []
        assert world.provider.names() == ["lab-control-plane-1", "lab-worker-1", "lab-worker-2"]
        assert (world.folder / "kubeconfig").read_text() == before
