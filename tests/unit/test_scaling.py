"""A cluster that grows and shrinks: what is refused, in which order things happen, and what is kept with it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
import scaling_world
import yaml
from fake_node import Call, FakeNode
from scaling_world import CONFIGURATION, World

from kubedrill import cluster, entrance, join_phases, kubeconfig, loadbalancer, scaling
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.providers.base import Node
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec, load

world = scaling_world.world  # a fixture


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


class TestSettings:
    """What is kept is read again by every task: it must be a cluster that can be."""

    @pytest.mark.parametrize(
        ("settings", "control_plane", "why"),
        [
            ({"nodes": {"worker": {"ports": [{"nodePort": 80, "hostPort": 8080}]}}}, False,
             "host port 8080 is published by worker-1 and by worker-2"),
            ({"nodes": {"control-plane": {"ports": [{"nodePort": 80, "hostPort": 8080}]}}}, True,
             "host port 8080 is published by control-plane-1 and by control-plane-2"),
            ({"podSubnet": "10.244.0.0/22", "workers": 3}, False, "room for 4 nodes .a /24 each., not 5"),
        ],
    )  # fmt: skip
    def test_one_more_for_which_they_have_no_room_is_refused_before_anything_changes(
        self, world: World, settings: dict[str, Any], control_plane: bool, why: str
    ) -> None:
        world.up(**{"workers": 1, **settings})
        before = world.metadata()
        with pytest.raises(InvalidSpec, match=rf"leave no room for one more(.|\n)*{why}(.|\n)*invoke up --config"):
            world.add(control_plane=control_plane)
        assert world.provider.events == []
        assert world.metadata() == before

    def test_those_of_a_node_alone_go_with_it(self, world: World) -> None:
        own, others = {"taints": ["a=b:NoSchedule"]}, {"labels": {"disk": "ssd"}}
        world.up(workers=2, nodes={"worker-2": own, "worker-1": others, "worker": others})
        left = world.remove("worker-2")
        assert sorted(left.spec.nodes) == ["worker", "worker-1"]
        assert world.there.spec == left.spec
        again = world.add()
        assert again.spec.settings("worker-2").labels == {"disk": "ssd"}
        assert again.spec.settings("worker-2").taints == ()

    def test_those_of_a_control_plane_go_with_it(self, world: World) -> None:
        world.up(control_planes=3, workers=1, nodes={"control-plane-3": {"labels": {"disk": "ssd"}}})
        assert world.remove("control-plane-3").spec.nodes == {}
        assert world.there.spec.control_planes == 2


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

    def test_one_that_was_cut_off_at_the_kubeconfig_goes_on(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object) -> None:
            raise KubedrillError("it is locked")

        world.up(workers=1)
        world.add(control_plane=True)
        with monkeypatch.context() as patch:
            patch.setattr(kubeconfig, "merge_into", refused)
            with pytest.raises(KubedrillError, match="it is locked"):
                world.remove("control-plane-2")
        left = world.remove("control-plane-2")
        assert left.spec.control_planes == 1
        assert kubeconfig.server(kubeconfig.path(), "lab") == left.server

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
                 f"lab-control-plane-2 {' '.join(join_phases.ETCD)}"]  # fmt: skip
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
        balanced: list[list[str]] = []
        last = world.remove("control-plane-2", lambda: balanced.append(world.behind()))
        assert balanced == [["lab-control-plane-1"]], "it serves until it goes, and sends nobody to one that is gone"
        steps = [f"write lab-load-balancer {loadbalancer.CONFIG_PATH}", "manifests/kube-apiserver.yaml"]
        assert world.order(*steps) == steps, "who leaves is out of the balancer before its API server ends"
        steps = ["rollout restart daemonset kube-proxy", "remove lab-control-plane-2",
                 "--field-selector=spec.nodeName=lab-control-plane-2 --force", "rollout status daemonset kube-proxy",
                 "rollout status daemonset kube-flannel-ds", "remove lab-load-balancer"]  # fmt: skip
        assert world.order(*steps) == steps, "nobody goes through the balancer any more when it ends"
        assert [node.name for node in last.nodes] == ["lab-control-plane-1", "lab-worker-1"]
        assert {**world.metadata(), "spec": ""} == {**before, "spec": ""}
        assert last.spec == ClusterSpec(workers=1)
        assert last.server in (kubeconfig.path()).read_text()

    def test_nobody_is_sent_to_one_that_does_not_run_yet(self, world: World) -> None:
        """HAProxy takes it for a good one for a second, and then closes the connections that it sent there."""
        world.up(workers=0)
        world.reloading = 2
        closed = list[str]()

        def script(node: FakeNode, call: Call) -> Result | None:
            if call.argv[:2] == ("systemctl", "reload-or-restart"):
                text = node.text(loadbalancer.CONFIG_PATH)
                closed.extend(line.split()[1] for line in text.splitlines() if line.endswith(" disabled"))
            return world.answer(node, call)

        world.kubernetes.answers = script
        world.add(control_plane=True)
        admit = "control-planes/lab-control-plane-2 health down"
        steps = ["reload-or-restart haproxy", admit, "create lab-control-plane-2"]
        first, *others = world.order(*steps)
        assert first == steps[0], "of the balancer that knows the first control plane alone"
        assert others == [steps[0], admit, admit, admit, steps[2]], (
            "asked again until it is the new process that answers"
        )
        assert closed == ["lab-control-plane-2"]
        balancer = world.provider.node("lab-load-balancer")
        assert "disabled" not in balancer.text(loadbalancer.CONFIG_PATH), "where it starts again it asks its checks"
        world.provider.events.clear()
        world.add(control_plane=True)
        assert world.order("control-plane-1 health down", "control-plane-2 health down") == []
        assert world.order("control-plane-3 health down") != []
        world.provider.events.clear()
        world.remove("control-plane-3")
        assert world.order("health down") == []

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
