"""Settings that follow from how slow nodes are."""

from __future__ import annotations

import pytest
import yaml
from fake_provider import FakeProvider
from rendering import ADDRESSES, KEYS, V2

from kubedrill import kubeadm, slowness
from kubedrill.errors import KubedrillError
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result, run
from kubedrill.spec import ClusterSpec

SLOW = kubeadm.Machine(2, None, None, slow=17.0)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.1, 1.0), (0.2, 1.0), (0.39, 1.0), (0.4, 2.0), (3.4, 17.0), (60, 30.0)]
)
def test_the_factor(seconds: float, expected: float) -> None:
    assert slowness.factor(seconds) == expected


def test_the_work_tells_milliseconds() -> None:
    assert 10 < int(run(["sh", "-c", slowness.WORK], timeout=60).stdout) < 60_000


@pytest.mark.parametrize(("said", "expected"), [("3400\n", 17.0), ("10\n", 1.0), ("sh: date: not found\n", None)])
def test_a_node_is_measured(said: str, expected: float | None) -> None:
    answers = [said, "9999\n" if said.strip().isdecimal() else said]
    provider = FakeProvider(script=lambda _node, _call: Result(0, answers.pop(), ""))
    provider.create_network("lab", NetworkSpec("172.28.7.0/24", {}))
    node = provider.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.7.101", "x"))
    if expected is not None:
        assert slowness.measure(node) == expected
        return
    with pytest.raises(KubedrillError, match="cannot be timed"):
        slowness.measure(node)


@pytest.mark.parametrize("control_planes", [1, 3])
def test_nothing_changes_where_nodes_are_as_fast_as_this_machine(control_planes: int) -> None:
    spec = ClusterSpec(control_planes=control_planes)
    text = kubeadm.init_config(spec, ADDRESSES, V2, KEYS)
    for word in ("timeouts", "heartbeat", "readycheck", "grace-period", "leader-elect-lease", "nodeLease"):
        assert word not in text
    assert list(kubeadm.patches()) == ["corednsdeployment+strategic.yaml"]


def documents(spec: ClusterSpec) -> dict[str, dict[str, object]]:
    found = yaml.safe_load_all(kubeadm.init_config(spec, ADDRESSES, SLOW, KEYS))
    return {one["kind"]: one for one in found}


def arguments(part: object) -> dict[str, str]:
    assert isinstance(part, dict)
    return {one["name"]: one["value"] for one in part["extraArgs"]}


def test_a_slow_single_control_plane() -> None:
    found = documents(ClusterSpec())
    cluster = found["ClusterConfiguration"]
    assert found["InitConfiguration"]["timeouts"]["controlPlaneComponentHealthCheck"] == "1500s"  # type: ignore[index]
    etcd = arguments(cluster["etcd"]["local"])  # type: ignore[index]
    assert not {"heartbeat-interval", "election-timeout"} & set(etcd), "a single member waits for nobody"
    assert etcd["warning-apply-duration"] == "1700ms"
    assert arguments(cluster["apiServer"])["etcd-readycheck-timeout"] == "30s"
    manager = arguments(cluster["controllerManager"])
    assert manager["leader-elect"] == "false"
    assert "leader-elect-retry-period" not in manager
    assert manager["node-monitor-grace-period"] == "180s"
    assert arguments(cluster["scheduler"])["leader-elect"] == "false"
    assert found["KubeletConfiguration"]["nodeLeaseDurationSeconds"] == 120


def test_several_slow_control_planes() -> None:
    cluster = documents(ClusterSpec(control_planes=3))["ClusterConfiguration"]
    etcd = arguments(cluster["etcd"]["local"])  # type: ignore[index]
    assert (etcd["heartbeat-interval"], etcd["election-timeout"]) == ("1000", "10000")
    manager = arguments(cluster["controllerManager"])
    assert manager["leader-elect-lease-duration"] == "90s"
    names = ("lease-duration", "renew-deadline", "retry-period")
    lease, renew, retry = (int(manager[f"leader-elect-{name}"].removesuffix("s")) for name in names)
    # What client-go's leader election insists on: lease > renew deadline > 1.2 x retry period.
    assert lease > renew > 1.2 * retry


def test_what_the_user_asked_for_wins() -> None:
    spec = ClusterSpec(extra_args={"controllerManager": {"node-monitor-grace-period": "20s", "leader-elect": "true"}})
    manager = arguments(documents(spec)["ClusterConfiguration"]["controllerManager"])
    assert (manager["node-monitor-grace-period"], manager["leader-elect"]) == ("20s", "true")


def test_static_pods_are_not_killed_for_being_slow() -> None:
    patches = kubeadm.patches(17.0)
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        container = yaml.safe_load(patches[f"{name}+strategic.yaml"])["spec"]["containers"][0]
        assert container["name"] == name
        assert container["livenessProbe"]["timeoutSeconds"] == 60
        startup = container["startupProbe"]
        # kubeadm's own period is 10 s.
        assert startup["failureThreshold"] * 10 >= 3600


def test_a_slow_kubelet_looks_less_often() -> None:
    registration = documents(ClusterSpec())["InitConfiguration"]["nodeRegistration"]
    flags = {one["name"]: one["value"] for one in registration["kubeletExtraArgs"]}  # type: ignore[index]
    assert flags["housekeeping-interval"] == "60s"
    assert "housekeeping-interval" not in kubeadm.init_config(ClusterSpec(), ADDRESSES, V2, KEYS)


def test_fields_are_not_checked_where_the_schema_would_take_long() -> None:
    assert slowness.apply(1.0) == ["apply"]
    assert slowness.apply(17.0) == ["apply", "--validate=false"]


def test_a_join_has_the_timeouts_too() -> None:
    text = kubeadm.join_config(ClusterSpec(), "worker-1", ADDRESSES, SLOW, KEYS)
    assert yaml.safe_load(text)["timeouts"]["tlsBootstrap"] == "1500s"
