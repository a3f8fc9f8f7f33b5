"""What nodes are made of, and what `up` does to those that are there already."""

from __future__ import annotations

import shlex
import threading
from dataclasses import replace
from typing import Any

import bringup_world
import pytest
from bringup_world import API_PORT, MADE, SECRETS, SUBNET, Run, spec_of
from fake_kubernetes import ADMIN, KEYS
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import bringup, init_phases, kubeadm, node_specs, undertaking
from kubedrill.kube import ClusterSnapshot
from kubedrill.marks import JOINED, READY
from kubedrill.network import Addresses
from kubedrill.providers.base import NodeSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

run = bringup_world.run  # a fixture

DNS = " ".join(init_phases.coredns())


class TestNodes:
    def test_what_they_are_made_of(self, run: Run) -> None:
        nodes = {
            "worker-1": {"ports": [{"nodePort": 80, "hostPort": 8080, "protocol": "udp"}]},
            "worker": {"mounts": [{"hostPath": "/src", "nodePath": "/dst", "readOnly": True}]},
        }
        run.up(ClusterSpec.model_validate({"controlPlanes": 3, "workers": 1, "nodes": nodes}))
        environment = {"KUBEDRILL_NAMESERVERS": "192.0.2.53"}
        common = {"image": MADE.image, "environment": environment}
        assert run.node("lab-load-balancer").spec == NodeSpec(
            "lab-load-balancer", "load-balancer", "172.28.0.2", publish={(6443, "tcp"): 16443}, mounts=[], **common
        )  # type: ignore[arg-type]
        assert run.node("lab-control-plane-2").spec == NodeSpec(
            "lab-control-plane-2", "control-plane", "172.28.0.12", stores=MADE.stores, mounts=[], **common
        )  # type: ignore[arg-type]
        assert run.node("lab-worker-1").spec == NodeSpec(
            "lab-worker-1", "worker", "172.28.0.101", stores=MADE.stores, publish={(80, "udp"): 8080},
            mounts=[("/src", "/dst", True)], **common
        )  # type: ignore[arg-type]  # fmt: skip

    def test_the_only_control_plane_publishes_the_api(self, run: Run) -> None:
        run.up(spec_of(1, 1))
        assert run.node("lab-control-plane-1").spec.publish == {(6443, "tcp"): 16443}
        assert run.node("lab-worker-1").spec.publish == {}

    def test_vms_have_addresses_and_publish_nothing(self) -> None:
        spec, addresses = spec_of(vm={"controlPlaneMemory": 4000}), Addresses(SUBNET)
        made = node_specs.node_spec(spec, "control-plane-1", addresses, MADE, API_PORT)
        assert made.publish == {(6443, "tcp"): API_PORT}
        made = node_specs.node_spec(spec, "control-plane-1", addresses, MADE, None)
        assert (made.publish, made.memory, made.cpus) == ({}, 4000, 0)

    def test_slow_nodes_get_settings_and_limits_that_follow(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run.provider.slow = 17
        waits: list[float] = []
        quick = undertaking.until

        def noted(*arguments: Any, **settings: Any) -> Any:
            waits.append(settings["within"])
            return quick(*arguments, **settings)

        monkeypatch.setattr(undertaking, "until", noted)
        run.up(spec_of(1, 1))
        leader = run.node("lab-control-plane-1")
        assert "leader-elect" in leader.text(kubeadm.INIT_CONFIG)
        assert "timeouts" in leader.text(kubeadm.INIT_CONFIG)
        assert f"{kubeadm.PATCHES}/kube-apiserver+strategic.yaml" in leader.disk
        assert "timeouts" in run.node("lab-worker-1").text(kubeadm.JOIN_CONFIG)
        assert min(waits) >= 6 * 60
        begin, whole = [call for call in leader.calls if call.argv[:2] == ("kubeadm", "init")]
        assert [begin.timeout, whole.timeout] == [3600, 3600]
        assert "control-plane/scheduler" in begin.argv[-1]
        assert "control-plane/scheduler" not in whole.argv[-1]
        init = shlex.join(whole.argv)
        assert run.at("create", "lab-worker-1") < run.at("ran", leader.name, shlex.join(begin.argv)), (
            "nothing boots then"
        )
        assert run.at("ran", leader.name, init) < run.at("write", leader.name, JOINED), "half an init is none"
        assert all(f"/var/log/kubedrill/kubeadm-init{part}.log" in leader.disk for part in ("-begin", ""))

    def test_vms_boot_all_at_once(self, run: Run) -> None:
        together = threading.Barrier(4)

        def meet(_spec: NodeSpec) -> None:
            together.wait(10)

        run.provider.before_create = meet
        run.up(spec_of(3, 0, provider="vagrant"))
        assert not together.broken

    def test_files_with_secrets_are_for_root_alone(self, run: Run) -> None:
        run.up(spec_of(3, 1))
        found = 0
        for name in run.provider.names():
            for path, file in run.node(name).disk.items():
                if any(secret in file.text for secret in SECRETS):
                    found += 1
                    assert file.mode == 0o600, f"{path} on {name}"
        assert found == 4, "one configuration on each node that joins"


class TestAgain:
    def test_the_ways_into_nodes_are_kept_open(self, run: Run) -> None:
        run.up(spec_of(3, 2))
        assert run.ran("kubeadm") != []
        assert run.provider.each_for_itself == []

    def test_nothing_is_done_where_all_nodes_have_joined(self, run: Run) -> None:
        spec = spec_of(3, 2)
        run.up(spec)
        run.up(spec)
        assert [event for event in run.provider.events if event[0] in ("create", "write", "remove", "start")] == []
        for beginning in ("kubeadm", "kubectl"):
            assert run.ran(beginning) == []
        assert run.published == [ADMIN, ADMIN]

    @pytest.mark.parametrize("name", ["lab-worker-2", "lab-control-plane-3"])
    def test_a_node_that_is_missing_joins_with_new_secrets(self, run: Run, name: str) -> None:
        spec = spec_of(3, 2)
        run.up(spec)
        run.node(name).remove()
        run.kubernetes.registered.discard(name)
        run.up(spec)
        assert run.joins() == [name]
        assert [event[1] for event in run.provider.events if event[0] == "create"] == [name]
        assert run.ran("kubeadm init --") == []
        token = run.at("ran", "lab-control-plane-1", f"kubeadm token create {KEYS.token}")
        upload = run.at("ran", "lab-control-plane-1", "kubeadm init phase upload-certs")
        assert max(token, upload) < run.at("run", name, "kubeadm join")
        (call,) = [call for call in run.node("lab-control-plane-1").calls if "upload-certs" in call.argv]
        assert call.argv[-2:] == ("--config", "/dev/stdin"), "kubeadm would ask the internet for a version"
        assert f"certificateKey: {KEYS.certificate_key}" in (call.stdin or "")
        assert run.kubernetes.applied[1:] == [], "flannel is there already"

    def test_nodes_that_do_not_run_are_started(self, run: Run) -> None:
        spec = spec_of(1, 2)
        run.up(spec)
        run.node("lab-control-plane-1").kill()
        run.node("lab-worker-1").stop()
        run.node("lab-worker-2").pause()
        run.up(spec)
        assert {name: run.node(name).state() for name in run.provider.names()} == dict.fromkeys(
            run.provider.names(), "running"
        )
        assert run.ran("kubeadm") == []


@pytest.mark.parametrize("slow", [1.0, 25.0])
def test_coredns_waits_for_workers_where_there_are_several_control_planes(run: Run, slow: float) -> None:
    run.provider.slow = slow
    run.up(spec_of(3, 2))
    for worker in ("lab-worker-1", "lab-worker-2"):
        assert run.at("ran", worker, "kubeadm join") < run.at("run", "lab-control-plane-1", DNS)


def test_coredns_waits_until_workers_are_ready(run: Run) -> None:
    looked = [0]
    whole = run.kubernetes.snapshot

    def snapshot(provider: FakeProvider) -> ClusterSnapshot:
        looked[0] += 1
        seen = whole(provider)
        if looked[0] > 20:
            return seen
        assert run.ran(DNS) == []
        nodes = [replace(node, ready=node.name != "lab-worker-2") for node in seen.nodes]
        return replace(seen, nodes=tuple(nodes))

    run.kubernetes.snapshot = snapshot  # type: ignore[method-assign]
    run.up(spec_of(3, 2))
    assert looked[0] > 20
    assert run.ran(DNS) == ["lab-control-plane-1"]


def test_where_coredns_does_not_come_it_is_told_what_else_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringup, "_SOON", 0.05)
    monkeypatch.setattr(bringup, "_READY", 0.05)

    def answer(node: FakeNode, call: Call) -> Result | None:
        if "addon all" in call.line:
            return Result(0, "", "")  # and no CoreDNS
        return Result(0, "", "") if node.name == "lab-worker-1" and "join" in call.argv else None

    run.kubernetes.answers = answer
    told = run.fails(spec_of(1, 1))
    assert "not registered yet: lab-worker-1" in told
    assert "CoreDNS is not there yet" in told


@pytest.mark.parametrize(("control_planes", "workers"), [(1, 2), (3, 0)])
def test_coredns_waits_for_nobody_elsewhere(run: Run, control_planes: int, workers: int) -> None:
    run.up(spec_of(control_planes, workers))
    assert run.ran(DNS) == []


def test_coredns_is_made_up_for_where_up_was_ended_before(run: Run) -> None:
    run.up(spec_of(3, 1))
    del run.node("lab-control-plane-1").disk[READY]
    run.kubernetes.dns.clear()
    run.up(spec_of(3, 1))
    assert run.ran(DNS) == ["lab-control-plane-1"]
    run.up(spec_of(3, 1))
    assert run.ran(DNS) == [], "what somebody has made of it since is theirs"
