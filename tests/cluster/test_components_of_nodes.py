"""What `invoke components` tells of a real cluster, and of what is broken or rebuilt in it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from workload import kubectl

from kubedrill import anatomy, checks, insights, kube, logs
from kubedrill.anatomy import Component, explain
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, NotFound
from kubedrill.kube import Kube
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
# Both schedulers of the pivot listen on one port; without this flag the second backs off for minutes.
SPEC = {
    "workers": 1,
    "featureGates": {"ContextualLogging": False},
    "extraArgs": {"scheduler": {"permit-port-sharing": "true"}},
}
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
SELFHOSTED = "self-hosted-kube-scheduler"
MANIFEST = "/etc/kubernetes/manifests/kube-scheduler.yaml"


def named(found: tuple[Component, ...]) -> dict[tuple[str, str], Component]:
    """By component and the node's role."""
    return {(one.name, "control-plane" if "control-plane" in one.node else "worker"): one for one in found}


@pytest.fixture(scope="module")
def found(lab: Cluster) -> tuple[Component, ...]:
    return anatomy.of(lab)


def test_every_component_is_found_healthy_and_started_as_kubeadm_does(found: tuple[Component, ...]) -> None:
    started = {key: one.started.kind for key, one in named(found).items() if key[0] != "coredns"}
    everywhere = {
        "kubelet": "systemd unit", "containerd": "systemd unit", "kube-proxy": "DaemonSet", "flannel": "DaemonSet",
    }  # fmt: skip
    static = dict.fromkeys(("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"), "static pod")
    assert started == {
        **{(name, "control-plane"): kind for name, kind in {**everywhere, **static}.items()},
        **{(name, "worker"): kind for name, kind in everywhere.items()},
    }
    assert [str(one.started) for one in found if one.name == "coredns"] == ["Deployment coredns"] * 2
    assert {(one.name, one.why) for one in found if not one.healthy} == set()
    assert all(one.version and one.version_from for one in found)
    assert {one.name for one in found if not one.flags} == {"containerd"}


def test_every_source_and_health_page_answers(found: tuple[Component, ...]) -> None:
    silent = [(one.name, source.name, source.note) for one in found for source in one.sources if not source.answered]
    assert silent == []
    assert {one.name for one in found if not one.checks} == set()
    assert {one.name for one in found if not one.sources} == set()
    pages = {one.name: {source.name for source in one.sources} for one in found}
    assert pages["kubelet"] == {"configz", "flagz", "statusz"}
    assert pages["kube-apiserver"] == {"flagz", "statusz"}


def test_gates_of_the_spec_are_told_as_set(found: tuple[Component, ...]) -> None:
    for one in found:
        if one.name not in KUBERNETES:
            continue
        assert len(one.gates) > 50, (one.name, one.gates_from)
        gate = next(gate for gate in one.gates if gate.name == "ContextualLogging")
        assert (gate.on, gate.default, gate.differs) == (False, True, True)
        assert gate.set_by
        # Nothing but what was asked for: a default that was read wrongly would show here.
        assert [other.name for other in one.gates if other.differs] == ["ContextualLogging"]


def test_every_flag_that_kubeadm_sets_is_explained(found: tuple[Component, ...]) -> None:
    flags = {(one.name, flag.name) for one in found for flag in one.flags}
    assert len(flags) > 80
    assert sorted(pair for pair in flags if not explain.flag(*pair)) == []


@pytest.mark.parametrize(("name", "missing"), [("kubelet", {"serverTLSBootstrap"}), ("kube-proxy", set())])
def test_explained_fields_are_fields_of_this_version(
    found: tuple[Component, ...], name: str, missing: set[str]
) -> None:
    config = next(one for one in found if one.name == name).source("configz")
    assert config is not None
    assert {field for field in explain.fields(name) if explain.value(config.content, field) is None} <= missing


def test_files_that_kubeadm_makes_are_there(found: tuple[Component, ...]) -> None:
    missing = {file.path for one in found for file in one.files if not file.exists}
    # The first is deleted after the join, the second is the user's to make, the third a control plane's.
    assert missing <= {
        "/etc/kubernetes/bootstrap-kubelet.conf", "/etc/default/kubelet", "/etc/kubernetes/manifests",
    }  # fmt: skip
    assert {file.place for one in found for file in one.files} == {"node", "container", "API"}


def test_nothing_secret_is_told(lab: Cluster, found: tuple[Component, ...]) -> None:
    text = json.dumps([anatomy.as_data(one, explained=True) for one in found])
    node = lab.node("control-plane-1")
    admin = yaml.safe_load(lab.admin_conf())["users"][0]["user"]
    init = next(yaml.safe_load_all(logs.text_of(node.read_tree("/etc/kubernetes/kubeadm-init.yaml"))))
    secrets = [admin["client-key-data"], init["bootstrapTokens"][0]["token"], init["certificateKey"]]
    assert [secret for secret in secrets if secret in text] == []
    assert "PRIVATE KEY" not in text
    left = node.run(["sh", "-c", "ls -d /run/kubedrill-anatomy.*"], check=False)
    assert left.status != 0, "the administrator's key was left on the node"


def test_a_node_alone_with_what_is_not_on_it(lab: Cluster) -> None:
    found = {one.name: one for one in anatomy.of(lab, "worker-1")}
    assert set(anatomy.NAMES) == set(found)
    assert (found["etcd"].state, found["etcd"].healthy) == ("absent", None)
    with pytest.raises(NotFound) as caught:
        anatomy.of(lab, "worker-7")
    assert f"{lab.spec.name}-worker-1" in caught.value.evidence[0]


@pytest.fixture
def stopped_kubelet(lab: Cluster, api: Kube) -> Iterator[None]:
    node = lab.node("worker-1")
    node.run(["systemctl", "stop", "kubelet"])
    yield
    node.run(["systemctl", "start", "kubelet"])
    ready(lab, api)


@pytest.mark.usefixtures("stopped_kubelet")
def test_a_stopped_kubelet_is_down_and_the_others_are_told(
    lab: Cluster, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {one.name: one for one in anatomy.of(lab, "worker-1")}
    assert (found["kubelet"].state, found["kubelet"].healthy) == ("down", False)
    assert "inactive" in found["kubelet"].why
    assert {found[name].healthy for name in ("containerd", "kube-proxy", "flannel")} == {True}
    options = {"as_json": True, "explained": False}
    assert insights.components(console, lab.spec.name, "worker-1", "kubelet", **options) == 1
    assert json.loads(capsys.readouterr().out)["components"][0]["state"] == "down"
    assert insights.components(console, lab.spec.name, "worker-1", "kube-proxy", **options) == 0
    with pytest.raises(InvalidSpec, match="did you mean 'kubelet'"):
        insights.components(console, lab.spec.name, None, "kubelt", **options)


@pytest.fixture
def selfhosted_scheduler(lab: Cluster) -> Iterator[None]:
    """kube-scheduler as a DaemonSet, its manifest out of the way."""
    node = lab.node("control-plane-1")
    kubectl(lab, "apply", "-f", "-", stdin=daemon_set(node.run(["cat", MANIFEST]).stdout))
    until(
        lambda: schedulers(lab), lambda told: (len(told) == 2 and all(well for _, well in told), str(told)),
        within=300, what="both schedulers",
    )  # fmt: skip
    node.run(["mv", MANIFEST, "/etc/kubernetes/kube-scheduler.aside"])
    yield
    node.run(["mv", "/etc/kubernetes/kube-scheduler.aside", MANIFEST])
    kubectl(lab, "--namespace", "kube-system", "delete", "daemonset", SELFHOSTED, "--timeout=60s")
    until(
        lambda: schedulers(lab), lambda told: (told == [("static pod", True)], str(told)),
        within=300, what="the scheduler as a static pod again",
    )  # fmt: skip


@pytest.mark.usefixtures("selfhosted_scheduler")
def test_a_selfhosted_component_is_told_as_its_daemonset(lab: Cluster) -> None:
    until(
        lambda: schedulers(lab), lambda told: (told == [(f"DaemonSet {SELFHOSTED}", True)], str(told)),
        within=300, what="the scheduler of the DaemonSet alone",
    )  # fmt: skip


def test_a_node_that_is_off_is_told(lab: Cluster, api: Kube) -> None:
    node = lab.node("worker-1")
    node.kill()
    try:
        found = anatomy.of(lab)
    finally:
        node.start()
    off = [one for one in found if one.node == node.name]
    assert {(one.state, one.why, one.healthy) for one in off} == {("unknown", "the node is stopped", False)}
    assert {one.name for one in off} == {"kubelet", "containerd", "kube-proxy", "flannel"}
    assert named(found)["etcd", "control-plane"].healthy
    ready(lab, api)


def schedulers(lab: Cluster) -> list[tuple[str, bool]]:
    """How the schedulers on the control plane are started, and whether they are healthy."""
    found = [one for one in anatomy.of(lab, "control-plane-1") if one.name == "kube-scheduler"]
    return [
        (one.started.kind if one.started.kind == "static pod" else str(one.started), bool(one.healthy)) for one in found
    ]


def daemon_set(manifest: str) -> str:
    """The DaemonSet of a static pod."""
    spec = yaml.safe_load(manifest)["spec"]
    container = spec["containers"][0]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            container[probe]["httpGet"]["port"] = 10259
    container.pop("ports", None)
    spec |= {
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        "tolerations": [{"operator": "Exists"}],
        "automountServiceAccountToken": False,
    }
    labels = {"k8s-app": SELFHOSTED}
    return yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": SELFHOSTED, "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
        }
    )


def ready(lab: Cluster, api: Kube) -> None:
    """Wait until all is as it was, for the tests that follow."""
    until(
        api.cluster, checks.cluster_ready([node.name for node in lab.nodes]), within=180,
        what="a cluster that is ready", transient=(kube.ApiUnavailable,),
    )  # fmt: skip
