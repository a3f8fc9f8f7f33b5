"""A cluster that grows and shrinks: what is refused, in which order things happen, and what is kept with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml
from fake_kubernetes import KEYS, OK, FakeApi, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import (
    bringup,
    cluster,
    entrance,
    host,
    kube,
    kubeadm,
    kubeconfig,
    lifecycle,
    loadbalancer,
    scaling,
    undertaking,
)
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.images import build
from kubedrill.images.build import Built
from kubedrill.images.store import Store
from kubedrill.providers.base import Node
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec, load
from kubedrill.wait import until

STORE = Store("a-store", "v1.37.2", "3.7.3", "v1.15.0", "flannel:x", "pause:x", ())
CHANGES = (("systemctl", "reload-or-restart"), ("systemctl", "restart"), ("kubectl", "drain"))
CONFIGURATION = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: 172.28.0.11:6443
apiServer: {certSANs: [127.0.0.1, localhost, 172.28.0.11], extraArgs: [{name: v, value: "4"}]}
"""


class World:
    """A machine of fakes, and a cluster on it."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes(answers=self.answer)
        self.provider = FakeProvider(script=self.kubernetes.script)
        self.place = Lab(cast(Engine, None), self.provider, frozenset())
        self.fails = ""

    def answer(self, _node: FakeNode, call: Call) -> Result | None:
        """What the fake cluster does not know: kubectl and kubeadm of an entrance that moves."""
        if self.fails and self.fails in call.line:
            return Result(1, "", "it broke")
        if "jsonpath={.data.ClusterConfiguration}" in call.line:
            return Result(0, CONFIGURATION, "")
        if call.argv[:3] == ("kubectl", "get", "node"):
            return Result(0, f"node/{call.argv[3]}\n" if call.argv[3] in self.kubernetes.registered else "", "")
        if call.argv[0] == "curl":
            return Result(0, "ok", "")
        if "endpointslice" in call.argv:
            return Result(0, "172.28.0.11", "")
        if call.argv[0] == "rm" or call.argv[:2] in CHANGES:
            return OK
        if call.argv[:3] == ("kubectl", "delete", "pods"):
            return OK
        if call.argv[:2] == ("kubectl", "--namespace") and call.argv[3] in ("rollout", "set"):
            return OK
        return None

    @property
    def there(self) -> Cluster:
        """The cluster as it is recorded."""
        return cluster.attach(self.provider, "lab")

    def up(self, **settings: int) -> None:
        """Bring it up."""
        cluster.up(self.place, ClusterSpec(**settings), Console())  # type: ignore[arg-type]
        self.provider.events.clear()

    def add(self, *, control_plane: bool = False) -> Cluster:
        """One more."""
        return scaling.add(self.place, self.there, Console(), control_plane=control_plane)

    def remove(self, name: str) -> Cluster:
        """One less."""
        return scaling.remove(self.provider, self.there, name, Console())

    def metadata(self) -> dict[str, str]:
        """What is kept with the cluster."""
        found = self.provider.network("lab")
        assert found is not None
        return dict(found.metadata)

    def behind(self) -> list[str]:
        """Who is behind the balancer."""
        text = self.provider.node("lab-load-balancer").text(loadbalancer.CONFIG_PATH)
        return [
            line.split()[1] for line in text.splitlines() if line.strip().startswith("server lab") and " check " in line
        ]

    def order(self, *beginnings: str) -> list[str]:
        """Which of some commands and events happened, in order."""
        lines = [" ".join(event) for event in self.provider.events if event[0] != "ran"]
        return [begin for line in lines for begin in beginnings if begin in line]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine on which everything is built already."""
    made = World()

    def api(text: str, timeout: float = 0) -> FakeApi:
        assert re.search(r"https://(127|172)\.", text)
        return FakeApi(made.kubernetes, made.provider)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(cluster.doctor, "preflight", lambda *_, **__: None)
    monkeypatch.setattr(build, "ensure", lambda *_, **__: Built("kubedrill/node:x", STORE))
    monkeypatch.setattr(build, "is_built", lambda *_, **__: True)
    monkeypatch.setattr(host, "host_networks", list)
    monkeypatch.setattr(host, "upstream_nameservers", lambda: ["192.0.2.53"])
    monkeypatch.setattr(bringup, "Kube", api)
    monkeypatch.setattr(lifecycle, "Kube", api)
    monkeypatch.setattr(lifecycle, "look", lambda api: lifecycle.Seen(api.cluster(), {}, (), {}))
    for module in (undertaking, lifecycle, entrance, scaling):
        monkeypatch.setattr(module, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made


class TestRefused:
    @pytest.mark.parametrize(
        ("settings", "node", "why"),
        [
            ({"workers": 3}, "worker-1", "invoke remove-node worker-3"),
            ({"workers": 3}, "lab-worker-2", "invoke remove-node worker-3"),
            ({"workers": 1}, "worker-1", "the last worker"),
            ({}, "control-plane-1", "the only control plane"),
            ({"control_planes": 3}, "control-plane-1", "invoke remove-node control-plane-3"),
            ({"control_planes": 3}, "load-balancer", "goes with the last control plane but one"),
        ],
    )
    def test_nodes_that_cannot_go(self, world: World, settings: dict[str, int], node: str, why: str) -> None:
        world.up(**settings)
        with pytest.raises(InvalidSpec, match=why):
            world.remove(node)
        assert world.provider.events == []

    def test_as_many_as_there_can_be(self, world: World) -> None:
        world.up(control_planes=5, workers=1)
        with pytest.raises(InvalidSpec, match="5 control planes"):
            world.add(control_plane=True)

    def test_a_cluster_that_was_made_with_several_keeps_two(self, world: World) -> None:
        world.up(control_planes=3, workers=1)
        world.remove("control-plane-3")
        world.provider.events.clear()
        with pytest.raises(InvalidSpec, match="at the balancer alone"):
            world.remove("control-plane-2")
        assert len(world.there.nodes) == 4
        assert world.provider.events == [], "nor is it drained"

    def test_computers_of_an_external_etcd(self, world: World) -> None:
        members = [cast(Node, SimpleNamespace(name=f"lab-etcd-{number}")) for number in (1, 2, 3)]
        there = Cluster(ClusterSpec(control_planes=3, etcd="external"), members, 6443)
        with pytest.raises(InvalidSpec, match="stay as many as they are"):
            scaling.remove(world.provider, there, "etcd-2", Console())

    @pytest.mark.parametrize("name", ["worker-7", "nobody", "control-plane-x"])
    def test_nodes_that_are_not_there(self, world: World, name: str) -> None:
        world.up(workers=2)
        with pytest.raises(NotFound, match=f"no node '{name}'"):
            world.remove(name)

    def test_clusters_that_keep_their_size_lose_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise KubedrillError("keep their size")

        world.up(workers=2)
        monkeypatch.setattr(scaling.kept, "change", refused)
        for task in (world.add, lambda: world.remove("worker-2")):
            with pytest.raises(KubedrillError, match="keep their size"):
                task()
        assert world.provider.events == []

    @pytest.mark.parametrize("off", ["stop", "pause"])
    def test_a_cluster_that_does_not_run(self, world: World, off: str) -> None:
        world.up(workers=2)
        getattr(world.provider.node("lab-worker-1"), off)()
        for task in (world.add, lambda: world.remove("worker-2")):
            with pytest.raises(KubedrillError, match="run: invoke"):
                task()
        assert world.there.spec.workers == 2


class TestWorkers:
    def test_one_more(self, world: World) -> None:
        world.up(workers=1)
        there = world.add()
        assert [node.name for node in there.nodes] == ["lab-control-plane-1", "lab-worker-1", "lab-worker-2"]
        assert there.spec.workers == world.there.spec.workers == 2
        steps = ["kubeadm token create", "create lab-worker-2", "lab-worker-2 kubeadm join"]
        assert sorted(world.order(*steps)) == sorted(steps), "with a token of its own"
        assert world.order("kubeadm init", "certs apiserver") == []

    def test_one_that_fails_is_added_again(self, world: World) -> None:
        world.up(workers=1)
        world.fails = "kubeadm join"
        with pytest.raises(KubedrillError, match="it broke"):
            world.add()
        world.fails = ""
        cluster.up(world.place, ClusterSpec(workers=2), Console())
        assert world.there.spec.workers == 2
        assert "lab-worker-2" in world.kubernetes.registered

    @pytest.mark.parametrize("control_plane", [False, True])
    def test_adding_it_again_finishes_it_and_adds_no_other(self, world: World, control_plane: bool) -> None:
        world.up(workers=1)
        world.fails = "kubeadm join"
        with pytest.raises(KubedrillError, match="it broke"):
            world.add(control_plane=control_plane)
        world.fails = ""
        there = world.add(control_plane=control_plane)
        assert (there.spec.control_planes, there.spec.workers) == ((2, 1) if control_plane else (1, 2))
        assert len(there.nodes) == there.spec.computers()
        assert {node.name for node in there.nodes} - {"lab-load-balancer"} == world.kubernetes.registered

    def test_one_whose_join_was_cut_off_can_go_again(self, world: World) -> None:
        world.up(workers=1)
        world.fails = "kubeadm join"
        with pytest.raises(KubedrillError, match="it broke"):
            world.add()
        world.fails = ""
        left = world.remove("worker-2")
        assert left.spec.workers == 1
        assert world.order("kubectl drain") == []

    @pytest.mark.parametrize("step", ["kubectl delete pods", "rollout status", "kubectl delete node"])
    def test_a_removal_that_was_cut_off_goes_on(self, world: World, step: str) -> None:
        world.up(workers=1)
        before = world.metadata()
        world.add(control_plane=True)
        world.fails = step
        with pytest.raises(KubedrillError):
            world.remove("control-plane-2")
        assert world.there.spec.control_planes == 2
        world.fails = ""
        left = world.remove("control-plane-2")
        assert [node.name for node in left.nodes] == ["lab-control-plane-1", "lab-worker-1"]
        assert {**world.metadata(), "spec": ""} == {**before, "spec": ""}
        assert left.server in (kubeconfig.path()).read_text()

    def test_one_less(self, world: World) -> None:
        world.up(workers=2)
        left = world.remove("worker-2")
        assert [node.name for node in left.nodes] == ["lab-control-plane-1", "lab-worker-1"]
        assert left.spec.workers == 1
        steps = ["kubectl drain lab-worker-2", "kubectl delete node lab-worker-2", "remove lab-worker-2",
                 "--field-selector=spec.nodeName=lab-worker-2 --force"]  # fmt: skip
        assert world.order(*steps) == steps

    def test_one_that_cannot_be_drained_stays(self, world: World) -> None:
        world.up(workers=2)
        world.fails = "kubectl drain"
        with pytest.raises(KubedrillError, match="it broke"):
            world.remove("worker-2")
        assert world.there.spec.workers == 2
        assert world.provider.node("lab-worker-2").state() == "running"

    def test_one_that_is_dead_is_not_drained(self, world: World) -> None:
        world.up(workers=2)
        world.provider.node("lab-worker-2").kill()
        world.remove("worker-2")
        assert world.order("kubectl drain") == []


class TestControlPlanes:
    def test_from_one_to_three_and_back(self, world: World) -> None:
        world.up(workers=1)
        before = world.metadata()
        second = world.add(control_plane=True)
        assert second.spec.control_planes == 2
        assert second.api_port != int(before["api-port"])
        assert world.provider.node("lab-load-balancer").spec.publish == {(6443, "tcp"): second.api_port}
        assert world.behind() == ["lab-control-plane-1", "lab-control-plane-2"]
        steps = ["create lab-load-balancer", "certs apiserver", "upload-config", "curl --silent --show-error",
                 "kubelet.conf && systemctl restart", "create lab-control-plane-2",
                 "lab-control-plane-2 kubeadm join --config /etc/kubernetes/kubeadm-join.yaml --skip-phases=preflight",
                 ]  # fmt: skip
        assert world.order(*steps) == steps, "whoever joins finds the endpoint that stays"
        assert second.server in (kubeconfig.path()).read_text()

        third = world.add(control_plane=True)
        assert world.behind() == [f"lab-control-plane-{number}" for number in (1, 2, 3)]
        assert third.api_port == second.api_port
        world.provider.events.clear()
        world.remove("control-plane-3")
        assert world.behind() == ["lab-control-plane-1", "lab-control-plane-2"]
        steps = ["kubectl drain", f"write lab-load-balancer {loadbalancer.CONFIG_PATH}", "kube-apiserver.yaml",
                 "member remove", "kubectl delete node", "remove lab-control-plane-3"]  # fmt: skip
        assert world.order(*steps) == steps
        world.provider.events.clear()
        last = world.remove("control-plane-2")
        steps = ["rollout restart daemonset kube-proxy", "remove lab-control-plane-2",
                 "--field-selector=spec.nodeName=lab-control-plane-2 --force", "rollout status daemonset kube-proxy",
                 "rollout status daemonset kube-flannel-ds", "remove lab-load-balancer"]  # fmt: skip
        assert world.order(*steps) == steps, "nobody goes through the balancer any more when it ends"
        assert [node.name for node in last.nodes] == ["lab-control-plane-1", "lab-worker-1"]
        assert {**world.metadata(), "spec": ""} == {**before, "spec": ""}
        assert last.spec == ClusterSpec(workers=1)
        assert last.server in (kubeconfig.path()).read_text()

    def test_of_vms_the_address_changes_and_the_port_does_not(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scaling, "VMS", "docker")
        world.up(workers=1)
        before = {**world.metadata(), "api-host": "172.28.0.11", "api-port": "6443"}
        world.provider.change("lab", before)
        second = world.add(control_plane=True)
        balancer = world.provider.node("lab-load-balancer")
        assert second.server == f"https://{balancer.address}:6443"
        assert balancer.spec.publish == {}
        assert second.server in (kubeconfig.path()).read_text()
        third = world.add(control_plane=True)
        assert third.server == second.server
        world.remove("control-plane-3")
        last = world.remove("control-plane-2")
        assert last.server == "https://172.28.0.11:6443"
        assert last.server in (kubeconfig.path()).read_text()
        assert {**world.metadata(), "spec": ""} == {**before, "spec": ""}

    def test_one_that_was_cut_off_goes_on_with_the_same_balancer(self, world: World) -> None:
        world.up(workers=1)
        first_port = world.metadata()["api-port"]
        world.fails = "upload-config"
        with pytest.raises(KubedrillError, match="it broke"):
            world.add(control_plane=True)
        assert world.there.spec.control_planes == 1
        balancer = world.provider.node("lab-load-balancer")
        world.fails = ""
        second = world.add(control_plane=True)
        assert world.provider.node("lab-load-balancer") is balancer
        assert balancer.spec.publish == {(6443, "tcp"): second.api_port}
        assert world.metadata()[scaling.FIRST_PORT] == first_port

    def test_even_counts_are_only_for_clusters_that_are_there(self) -> None:
        data = json.loads(ClusterSpec().to_json())
        assert ClusterSpec.from_json(json.dumps({**data, "controlPlanes": 2})).control_planes == 2
        with pytest.raises(InvalidSpec):
            ClusterSpec.from_json(json.dumps({**data, "controlPlanes": 6}))
        with pytest.raises(InvalidSpec):
            load(None, {"control_planes": 2})


def test_kubeadm_s_configuration_with_another_endpoint() -> None:
    changed = yaml.safe_load(entrance.with_endpoint(CONFIGURATION, "172.28.0.2"))
    assert changed["controlPlaneEndpoint"] == "172.28.0.2:6443"
    assert changed["apiServer"]["certSANs"] == ["127.0.0.1", "172.28.0.11", "172.28.0.2", "localhost"]
    assert changed["apiServer"]["extraArgs"] == [{"name": "v", "value": "4"}]
    again = entrance.with_endpoint(yaml.safe_dump(changed), "172.28.0.2")
    assert yaml.safe_load(again) == changed
