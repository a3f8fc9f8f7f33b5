"""The handle of a cluster: what `up` refuses, begins anew, finishes, and cleans up."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

import pytest
from fake_kubernetes import ADMIN, KEYS, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import (
    bringup,
    cluster,
    doctor,
    host,
    ingredients,
    kube,
    kubeadm,
    kubeconfig,
    libvirtd,
    lifecycle,
    undertaking,
)
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import Busy, InvalidSpec, KubedrillError, NotFound
from kubedrill.images import build
from kubedrill.images.build import Built
from kubedrill.images.store import Store
from kubedrill.marks import JOINED
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.trends import records
from kubedrill.wait import until

STORE = Store("a-store", "v1.37.2", "3.7.3", "v1.15.0", "flannel:x", "pause:x", ())


class World:
    """A machine of fakes."""

    def __init__(self, folder: Path) -> None:
        self.kubernetes = FakeKubernetes()
        self.provider = FakeProvider(script=self.kubernetes.script)
        self.lab = Lab(cast(Engine, None), self.provider, frozenset())
        self.console = Console()
        self.folder = folder
        self.preflights = 0

    def up(self, spec: ClusterSpec | None = None, **settings: Any) -> cluster.Cluster:
        """Bring a cluster up."""
        return cluster.up(self.lab, spec or ClusterSpec(), self.console, **settings)

    def breaks(self, beginning: str, node_name: str = "") -> None:
        """Let a command fail from now on."""

        def answer(node: FakeNode, call: Call) -> Result | None:
            matches = call.line.startswith(beginning) and node.name.endswith(node_name)
            return Result(1, "", "it broke") if matches else None

        self.kubernetes.answers = answer

    def mended(self) -> None:
        """Let all commands succeed again."""
        self.kubernetes.answers = lambda _node, _call: None
        self.provider.events.clear()

    def happened(self, *kinds: str) -> list[tuple[str, ...]]:
        """The events of some kinds."""
        return [event for event in self.provider.events if event[0] in kinds]

    def contexts(self) -> list[str]:
        """The clusters of the user's kubeconfig."""
        return kubeconfig.entries(self.folder / "kubeconfig")

    def logs(self) -> list[str]:
        """The files that were kept of nodes."""
        return sorted(path.name for path in (self.folder / "state").rglob("journal.txt"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine on which everything is built already."""
    made = World(tmp_path)

    class FakeKube:
        """The API of the fake cluster."""

        def __init__(self, text: str) -> None:
            assert "https://127.0.0.1:" in text or "https://172.28.0.11:6443" in text

        def readyz(self) -> str:
            """Whether it answers."""
            return made.kubernetes.readyz()

        def has_config_map(self, namespace: str, name: str) -> bool:
            """It has."""
            return True

        def cluster(self) -> kube.ClusterSnapshot:
            """What is there."""
            return made.kubernetes.snapshot(made.provider)

    def preflight(*_: object, **__: object) -> None:
        made.preflights += 1

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(doctor, "preflight", preflight)
    monkeypatch.setattr(build, "ensure", lambda *_, **__: Built("kubedrill/node:x", STORE))
    monkeypatch.setattr(build, "is_built", lambda *_, **__: True)
    monkeypatch.setattr(host, "host_networks", list)
    monkeypatch.setattr(host, "upstream_nameservers", lambda: ["192.0.2.53"])
    monkeypatch.setattr(bringup, "Kube", FakeKube)
    monkeypatch.setattr(undertaking, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made


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
        assert world.provider.events == []
        assert world.provider.names() == ["lab-control-plane-1", "lab-worker-1", "lab-worker-2"]
        assert (world.folder / "kubeconfig").read_text() == before


class TestFailure:
    @pytest.mark.parametrize("command", ["kubeadm init", "kubeadm join", "systemctl"])
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
