"""Faults of static pods and of configuration: their scripts are run for real, in a folder that stands for the node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import loading
import pytest
import yaml
from fake_provider import FakeProvider

from kubedrill import kubeadm, shell
from kubedrill.cluster import Cluster
from kubedrill.faults import ChangeConfigMap, Fault, KillPod, Reconfigure, Scale, StaticPod, Taint
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Plan, from_data, to_data
from kubedrill.faults.settings import saved_manifest
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.spec import ClusterSpec

MARK = "0badcafe"
POD = StaticPod("worker-1", "by-file", "kind: Pod\n", "drill")
COREFILE = ".:53 {\n    errors\n}\n"
CONFIG_MAP = ChangeConfigMap("kube-system", "coredns", "Corefile", COREFILE, ".:53 {\n")
AGAIN = Reconfigure("worker-1", "kube-apiserver", "kind: ClusterConfiguration\n")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    provider = FakeProvider()
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    provider.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.0.101", "an image"))
    return Cluster(ClusterSpec(workers=1), tuple(provider.nodes("lab")), 1)


def plan(cluster: Cluster, fault: Fault) -> Plan:
    (only,) = fault.ways(cluster, MARK)
    return only


def perform(root: Path, actions: tuple[Any, ...]) -> list[int]:
    """Run the commands of an own node with `root` for /etc/kubernetes and its bin/ first in PATH; their statuses."""
    env = {"PATH": f"{root}/bin:/usr/bin:/bin"}
    mine = [one for one in actions if isinstance(one, Command) and one.node != ANY_CONTROL_PLANE]
    return [
        shell.run([word.replace("/etc/kubernetes", str(root)) for word in one.argv], stdin=one.stdin, env=env,
                  check=False).status
        for one in mine
    ]  # fmt: skip


def program(root: Path, name: str, script: str) -> None:
    """A program that the scripts find first."""
    (root / "bin").mkdir(exist_ok=True)
    (root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (root / "bin" / name).chmod(0o755)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() if path.is_file() else "" for path in root.rglob("*")
            if "bin" not in path.parts}  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [POD, KillPod("worker-1", "kube-system", "coredns-1", "coredns"), CONFIG_MAP, AGAIN,
     Scale("kube-system", "coredns", 2, 3), Taint("worker-1", "drill=yes:NoSchedule")],
)  # fmt: skip
def test_a_plan_can_be_written_to_disk_and_says_when_it_is_healed(cluster: Cluster, fault: Fault) -> None:
    made = plan(cluster, fault)
    assert made.before
    assert made.healed
    for action in (*made.inject, *made.undo, *made.healed, *made.before):
        assert from_data(json.loads(json.dumps(to_data(action)))) == action


class TestStaticPod:
    def test_a_folder_that_was_not_there_is_gone_again(self, tmp_path: Path, cluster: Cluster) -> None:
        made = plan(cluster, POD)
        assert perform(tmp_path, made.inject) == [0, 0]
        assert files(tmp_path)["manifests/by-file.yaml"] == "kind: Pod\n"
        assert perform(tmp_path, made.undo * 2) == [0, 0]
        assert not files(tmp_path)

    def test_what_was_there_stays(self, tmp_path: Path, cluster: Cluster) -> None:
        (tmp_path / "manifests").mkdir()
        (tmp_path / "manifests" / "etcd.yaml").write_text("etcd")
        before = files(tmp_path)
        made = plan(cluster, POD)
        perform(tmp_path, made.inject)
        perform(tmp_path, made.undo)
        assert files(tmp_path) == before

    def test_the_folder_goes_with_the_last_of_two(self, tmp_path: Path, cluster: Cluster) -> None:
        one, other = plan(cluster, POD), plan(cluster, StaticPod("worker-1", "other", "", "drill"))
        perform(tmp_path, (*one.inject, *other.inject, *other.undo))
        assert "manifests/by-file.yaml" in files(tmp_path)
        perform(tmp_path, one.undo)
        assert not files(tmp_path)

    def test_half_an_inject_is_undone(self, tmp_path: Path, cluster: Cluster) -> None:
        made = plan(cluster, POD)
        perform(tmp_path, made.inject[:1])
        perform(tmp_path, made.undo)
        assert not files(tmp_path)

    def test_healed_is_what_has_no_container(self, tmp_path: Path, cluster: Cluster) -> None:
        made = plan(cluster, POD)
        program(tmp_path, "crictl", "echo 1234")
        assert perform(tmp_path, made.healed) == [0, 1]
        program(tmp_path, "crictl", "exit 0")
        assert perform(tmp_path, made.healed) == [0, 0]
        program(tmp_path, "crictl", "exit 1")
        assert perform(tmp_path, made.healed) == [0, 1], "a runtime that does not answer says nothing"


class TestReconfigure:
    @pytest.fixture
    def node(self, tmp_path: Path) -> Path:
        (tmp_path / "manifests").mkdir()
        (tmp_path / "manifests" / "kube-apiserver.yaml").write_text("old")
        return tmp_path

    def test_the_manifest_is_put_back(self, node: Path, cluster: Cluster) -> None:
        before = files(node)
        program(node, "kubeadm", f'cat "$6" > {node}/manifests/kube-apiserver.yaml')
        made = plan(cluster, AGAIN)
        assert perform(node, made.inject) == [0, 0, 0]
        assert files(node)["manifests/kube-apiserver.yaml"] == "kind: ClusterConfiguration\n"
        assert files(node)[saved_manifest("kube-apiserver", MARK).removeprefix("/etc/kubernetes/")] == "old"
        assert perform(node, made.undo * 2) == [0, 0]
        assert files(node) == before

    @pytest.mark.parametrize("done", [0, 1, 2])
    def test_whatever_part_of_it_was_done(self, node: Path, cluster: Cluster, done: int) -> None:
        before, made = files(node), plan(cluster, AGAIN)
        perform(node, made.inject[:done])
        perform(node, made.undo)
        assert files(node) == before

    def test_nobody_is_sent_to_a_control_plane_before_it_runs_again(self, cluster: Cluster) -> None:
        balanced = Reconfigure("worker-1", "kube-apiserver", "", entrance="worker-1")
        (made,) = balanced.ways(cluster, MARK)
        drained, *_ = (str(one) for one in made.inject)
        first, _, wait, last = (str(one) for one in made.undo)
        assert "state drain" in drained
        assert "state drain" in first
        assert "readyz" in wait
        assert "state ready" in last

    def test_only_what_kubeadm_runs(self) -> None:
        with pytest.raises(ValueError, match="etcd"):
            Reconfigure("worker-1", "etcd", "")


@pytest.mark.parametrize(
    ("there", "status"), [(COREFILE, 0), (COREFILE.rstrip(), 1), ("", 1)], ids=["the same", "no last line end", "empty"]
)
def test_a_config_map_that_is_not_as_expected_is_refused(
    tmp_path: Path, cluster: Cluster, there: str, status: int
) -> None:
    (tmp_path / "value").write_text(there)
    program(tmp_path, "kubectl", f"cat {tmp_path}/value")
    (check,) = plan(cluster, CONFIG_MAP).before
    assert isinstance(check, Command)
    assert perform(tmp_path, (Command("lab-worker-1", check.argv),)) == [status]


def test_a_config_map_s_undo_writes_what_was_there(cluster: Cluster) -> None:
    (undo,) = plan(cluster, CONFIG_MAP).undo
    assert isinstance(undo, Command)
    assert json.loads(undo.argv[-1].removeprefix("--patch=")) == {"data": {"Corefile": COREFILE}}


@pytest.mark.parametrize(("taints", "held"), [("", 0), ("drill:NoExecute", 0), ("a:b\ndrill:NoSchedule", 1)])
def test_a_taint_that_is_there_is_refused(tmp_path: Path, cluster: Cluster, taints: str, held: int) -> None:
    program(tmp_path, "kubectl", f"printf '{taints}'")
    (check,) = plan(cluster, Taint("worker-1", "drill=yes:NoSchedule")).before
    assert isinstance(check, Command)
    assert perform(tmp_path, (Command("lab-worker-1", check.argv),)) == [held]


@pytest.mark.parametrize("taint", ["drill", "drill=yes", "drill=yes:Never", "a b:NoSchedule", "$(x):NoSchedule"])
def test_what_is_no_taint(taint: str) -> None:
    with pytest.raises(ValueError, match="no taint"):
        Taint("worker-1", taint)


class TestArguments:
    def test_flags_join_those_that_are_there(self) -> None:
        before = "apiServer:\n  certSANs: [a]\n  extraArgs:\n  - {name: v, value: '4'}\nkind: ClusterConfiguration\n"
        after = yaml.safe_load(kubeadm.with_arguments(before, "apiServer", {"event-ttl": "2h", "v": "5"}))
        assert after["kind"] == "ClusterConfiguration"
        assert after["apiServer"]["certSANs"] == ["a"]
        assert after["apiServer"]["extraArgs"] == [{"name": "v", "value": "5"}, {"name": "event-ttl", "value": "2h"}]

    def test_a_gate_joins_those_that_are_there(self) -> None:
        before = "scheduler:\n  extraArgs:\n  - {name: feature-gates, value: A=true}\n"
        after = yaml.safe_load(kubeadm.with_arguments(before, "scheduler", {"feature-gates": "B=false"}))
        assert after["scheduler"]["extraArgs"] == [{"name": "feature-gates", "value": "A=true,B=false"}]

    @pytest.mark.parametrize("before", ["scheduler: {}\n", "kind: ClusterConfiguration\n", "scheduler: null\n"])
    def test_a_part_without_any(self, before: str) -> None:
        after = yaml.safe_load(kubeadm.with_arguments(before, "scheduler", {"v": "2"}))
        assert after["scheduler"]["extraArgs"] == [{"name": "v", "value": "2"}]

    def test_a_phase_knows_its_own_address(self) -> None:
        init, cluster = yaml.safe_load_all(kubeadm.phase_config("kind: ClusterConfiguration\n", "cp-2", "172.28.0.12"))
        assert init["localAPIEndpoint"]["advertiseAddress"] == "172.28.0.12"
        assert init["nodeRegistration"]["name"] == "cp-2"
        assert cluster == {"kind": "ClusterConfiguration"}


def test_gates_are_read_from_metrics() -> None:
    metrics = (
        "# TYPE kubernetes_feature_enabled gauge\n"
        'kubernetes_feature_enabled{name="A",stage="ALPHA"} 0\nkubernetes_feature_enabled{name="B",stage=""} 1\n'
        'apiserver_x{name="C"} 1\n'
    )
    assert loading.drill("configuration_change").feature_gates(metrics) == {"A": 0, "B": 1}
