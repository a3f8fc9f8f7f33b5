"""One control plane and two workers: what a user expects of a cluster that is up."""

from __future__ import annotations

import json
import platform
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from workload import bootstrap_list, bootstrapped, in_pod, kubectl, manifest, running

from kubedrill import checks, cluster, kube, kubeconfig, load, logs, registries, shell, spec
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.errors import Busy, InvalidSpec, NotFound
from kubedrill.faults.images import listed
from kubedrill.images import components, oci, push, store
from kubedrill.kube import Kube
from kubedrill.providers.archive import tar_of
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
SPEC = {
    "workers": 2,
    "nodes": {
        "worker-1": {
            "labels": {"disk": "fast"},
            "ports": [{"nodePort": 30081, "hostPort": 38081}],
            "mounts": [{"hostPath": "/usr/share", "nodePath": "/of-the-host", "readOnly": True}],
        },
        "worker-2": {"taints": ["team=drill:PreferNoSchedule"]},
    },
    "featureGates": {"ContextualLogging": True},
    "extraArgs": {
        "scheduler": {"v": "3"},
        "kubelet": {"max-pods": "57"},
        "etcd": {"snapshot-count": "20000"},
        "kubeProxy": {"metricsBindAddress": "127.0.0.1:10249"},
    },
}


@pytest.fixture(scope="module")
def hello(lab: Cluster, api: Kube) -> None:
    kubectl(lab, "apply", "-f", "-", stdin=manifest())
    running(api, 2)


def test_all_nodes_are_ready_at_their_static_addresses(lab: Cluster, api: Kube) -> None:
    nodes = {node.name: node for node in api.nodes()}
    assert {node.name: node.address for node in lab.nodes} == {name: node.address for name, node in nodes.items()}
    assert all(node.ready and node.version == lab.spec.version() for node in nodes.values())
    assert [node.control_plane for node in nodes.values()] == [True, False, False]


def test_labels_taints_and_gates_of_the_spec_are_in_force(lab: Cluster, api: Kube) -> None:
    labelled = json.loads(kubectl(lab, "get", "nodes", "-l", "disk=fast", "-o", "json").stdout)["items"]
    assert [node["metadata"]["name"] for node in labelled] == [f"{lab.spec.name}-worker-1"]
    taints = {node.name: node.taints for node in api.nodes()}
    assert "team=drill:PreferNoSchedule" in taints[f"{lab.spec.name}-worker-2"]
    command = lab.node("control-plane-1").run(["pgrep", "-a", "kube-apiserver"]).stdout
    assert "--feature-gates=ContextualLogging=true" in command


def test_extra_arguments_reach_each_component(lab: Cluster) -> None:
    node = lab.node("control-plane-1")
    assert "--v=3" in node.run(["pgrep", "-a", "kube-scheduler"]).stdout
    assert "--snapshot-count=20000" in node.run(["pgrep", "-a", "-x", "etcd"]).stdout
    capacity = kubectl(lab, "get", "nodes", "-o", "jsonpath={.items[*].status.capacity.pods}").stdout
    assert capacity.split() == ["57"] * 3
    config = kubectl(lab, "--namespace", "kube-system", "get", "configmap", "kube-proxy", "-o", "yaml").stdout
    assert "metricsBindAddress: 127.0.0.1:10249" in config


@pytest.mark.usefixtures("hello")
def test_a_port_and_a_folder_of_the_host_are_shared_with_a_node(lab: Cluster) -> None:
    patch = '{"spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30081}]}}'
    kubectl(lab, "patch", "service", "hello", "--patch", patch)
    answer = until(
        lambda: shell.run(["curl", "-sS", "-m", "5", "http://127.0.0.1:38081/"], check=False),
        lambda result: (result.status == 0, result.output), within=20, what="hello on the host's port",
    )  # fmt: skip
    assert json.loads(answer.stdout)["node"].startswith(lab.spec.name)
    node = lab.node("worker-1")
    assert set(node.run(["ls", "/of-the-host"]).stdout.splitlines()) == {
        path.name for path in Path("/usr/share").iterdir()
    }
    assert "Read-only file system" in node.run(["touch", "/of-the-host/x"], check=False).stderr


def test_the_kubeconfig_is_merged_private_and_current(lab: Cluster, user_config: Path) -> None:
    content = yaml.safe_load(user_config.read_text())
    assert content["current-context"] == f"{kubeconfig.PREFIX}{lab.spec.name}"
    assert stat.S_IMODE(user_config.stat().st_mode) == 0o600
    assert Kube(user_config.read_text()).readyz() == "ok"


def test_the_api_is_published_on_the_loopback_address_alone(lab: Cluster, place: Lab) -> None:
    ports = place.engine.inspect_container(lab.node("control-plane-1").name)["HostConfig"]["PortBindings"]
    assert ports == {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(lab.api_port)}]}


def test_secrets_are_not_left_for_everybody_to_read(lab: Cluster) -> None:
    node = lab.node("control-plane-1")
    mode = node.run(["stat", "--format=%a", "/etc/kubernetes/kubeadm-init.yaml"]).stdout.strip()
    token = yaml.safe_load(node.run(["head", "-n", "6", "/etc/kubernetes/kubeadm-init.yaml"]).stdout)
    secret = token["bootstrapTokens"][0]["token"]
    assert mode == "600"
    assert secret not in node.run(["sh", "-c", "cat /var/log/kubedrill/kubeadm-init*.log"]).stdout
    assert lab.node("worker-1").run(["test", "-e", "/var/run/docker.sock"], check=False).status == 1


@pytest.mark.usefixtures("hello")
def test_pods_reach_each_other_across_nodes(lab: Cluster, api: Kube) -> None:
    first, second = running(api, 2)
    assert first.node != second.node
    answer = json.loads(in_pod(lab, first, f"curl -sS -m 5 http://{second.ip}:8080/").stdout)
    assert (answer["pod"], answer["node"]) == (second.name, second.node)
    pinged = in_pod(lab, second, f"nping --tcp -c 2 -p 8080 {first.ip}").stdout
    assert "Lost: 0 (0.00%)" in pinged


@pytest.mark.usefixtures("hello")
def test_a_pod_reaches_the_api_and_finds_names(lab: Cluster, api: Kube) -> None:
    pod = running(api, 2)[0]
    version = json.loads(in_pod(lab, pod, "curl -sS -k -m 5 https://kubernetes/version").stdout)
    assert version["gitVersion"] == lab.spec.version()
    address = kubectl(lab, "get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert in_pod(lab, pod, "dig +short hello.default.svc.cluster.local").stdout.split() == [address]
    assert "NXDOMAIN" in in_pod(lab, pod, "dig nobody.default.svc.cluster.local").stdout


def test_up_again_changes_nothing(lab: Cluster, place: Lab, console: Console) -> None:
    before = [place.engine.inspect_container(node.name)["State"]["StartedAt"] for node in lab.nodes]
    cluster.up(place, lab.spec, console)
    assert [place.engine.inspect_container(node.name)["State"]["StartedAt"] for node in lab.nodes] == before


def test_up_with_other_settings_says_what_differs(lab: Cluster, place: Lab, console: Console) -> None:
    other = spec.load(None, {**SPEC, "name": lab.spec.name, "workers": 3})
    with pytest.raises(InvalidSpec, match="differs") as caught:
        cluster.up(place, other, console)
    assert caught.value.evidence == ("workers: 2 there, 3 asked for",)
    assert len(place.provider.nodes(lab.spec.name)) == 3


def test_two_at_once_on_one_name(lab: Cluster, place: Lab, console: Console) -> None:
    with cluster.only_one(lab.spec.name), pytest.raises(Busy, match=lab.spec.name):
        cluster.up(place, lab.spec, console)


def test_an_image_of_the_engine_is_loaded_into_every_node(lab: Cluster, place: Lab, api: Kube, tmp_path: Path) -> None:
    image = f"kubedrill.local/loaded:{lab.spec.name}"
    files = tmp_path / "files.tar"
    files.write_bytes(tar_of({"hello": ((_programs() / "hello").read_bytes(), 0o755)}))
    place.engine.import_image(files, image)
    try:
        load.load(place.engine, image, lab.nodes)
    finally:
        place.engine.remove_image(image)
    _runs_on_both_workers(lab, api, "loaded", image)


def test_an_archive_is_loaded_into_every_node(lab: Cluster, place: Lab, api: Kube, tmp_path: Path) -> None:
    image = oci.Image("kubedrill.local/archived:1", {"/hello": _programs() / "hello"}, ["/hello"])
    oci.archive(image, platform.machine(), tmp_path / "image.tar")
    load.load(place.engine, str(tmp_path / "image.tar"), lab.nodes)
    _runs_on_both_workers(lab, api, "archived", image.name)


def test_an_image_in_the_registry_of_the_lab_is_pulled_by_the_nodes_that_want_it(
    lab: Cluster, place: Lab, api: Kube, tmp_path: Path, console: Console
) -> None:
    """And again from a cache whose upstream is that registry, under the name that this gives it."""
    image = oci.Image("docker.io/kubedrill/brought:1", {"/hello": _programs() / "hello"}, ["/hello"])
    oci.archive(image, platform.machine(), tmp_path / "image.tar")
    load.load(place.engine, str(tmp_path / "image.tar"), lab.nodes, partial(registries.bring, say=console.say))
    assert _having(lab, image.name) == []
    pulls = manifest(image.name, "brought").replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent")
    kubectl(lab, "apply", "-f", "-", stdin=pulls)
    running(api, 2, "brought")
    assert _having(lab, image.name) == ["worker-1", "worker-2"]
    there = registries.lab_registry(lab.nodes, console.say)
    cache = registries.mirror(lab.nodes, "kubedrill.test", there.url, console.say)
    lab.node("worker-1").run(["crictl", "pull", f"kubedrill.test/{image.name}"])
    assert push.catalog(cache.url, console.say) == ["docker.io/kubedrill/brought"]


def _having(lab: Cluster, image: str) -> list[str]:
    nodes = [
        node for node in lab.nodes if node.run(["sh", "-c", f'test -n "$({listed(image)})"'], check=False).status == 0
    ]
    return [node.name.removeprefix(f"{lab.spec.name}-") for node in nodes]


def test_what_cannot_be_loaded_is_said(lab: Cluster, place: Lab, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nobody/knows:it"):
        load.load(place.engine, "nobody/knows:it", lab.nodes)
    (tmp_path / "no.tar").write_text("no archive")
    with pytest.raises(InvalidSpec, match="no archive of an image"):
        load.load(place.engine, str(tmp_path / "no.tar"), lab.nodes)


@pytest.mark.usefixtures("hello")
def test_logs_of_every_node_also_of_a_dead_one(lab: Cluster, api: Kube, tmp_path: Path) -> None:
    dead = lab.node("worker-2")
    dead.kill()
    try:
        problems = logs.collect(lab.nodes, tmp_path)
        assert problems == []
        for node in lab.nodes:
            assert "kubelet" in (tmp_path / node.name / "journal.txt").read_text()
            assert list((tmp_path / node.name / "pods").rglob("*.log"))
        printed = {
            "-begin": "[certs] ", "-controllers": "[control-plane] ", "-kubelet": "[kubelet-finalize] ",
            "-meanwhile": "[addons] ", "": "[mark-control-plane] ",
        }  # fmt: skip
        for part, words in printed.items():
            assert words in (tmp_path / lab.nodes[0].name / f"kubedrill/kubeadm-init{part}.log").read_text()
        assert (tmp_path / lab.nodes[0].name / "manifests" / "etcd.yaml").exists()
        assert not list(tmp_path.rglob("*.key"))
    finally:
        dead.start()
    _all_ready(lab, api)


@pytest.mark.usefixtures("hello")
def test_everything_is_back_after_a_restart_of_every_node(lab: Cluster, place: Lab, api: Kube) -> None:
    for node in lab.nodes:
        node.kill()
    for node in lab.nodes:
        node.start()
    _all_ready(lab, api)
    # The pods' own states are from before until the kubelets have seen them.
    first, second = until(
        lambda: [pod for pod in api.pods("default", "app=hello") if pod.ready and pod.restarts],
        lambda pods: (len(pods) == 2, f"{len(pods)} of 2 pods have been started again"),
        within=120, what="hello after the restart", transient=(kube.ApiUnavailable,),
    )  # fmt: skip
    both = f"curl -sS -m 5 http://{second.ip}:8080/ && dig +short kubernetes.default.svc.cluster.local"
    until(
        lambda: in_pod(lab, first, both, check=False),
        lambda result: (result.status == 0 and "10.96.0.1" in result.stdout, result.output),
        within=60, what="traffic between pods and DNS after the restart",
    )  # fmt: skip
    assert {node.name: node.address for node in place.provider.nodes(lab.spec.name)} == {
        node.name: node.address for node in api.nodes()
    }


def test_a_node_that_is_lost_is_made_anew_by_up(lab: Cluster, place: Lab, api: Kube, console: Console) -> None:
    lab.node("worker-1").remove()
    again = cluster.up(place, lab.spec, console)
    assert len(again.nodes) == 3
    _all_ready(lab, api)


def test_a_node_is_no_copy_of_the_image_store(lab: Cluster, place: Lab) -> None:
    node = lab.node("worker-2")
    built = [volume for volume in place.engine.volumes(store.LABEL) if lab.spec.version() in volume["Name"]]
    assert built
    links = node.run(["sh", "-c", "find /var/lib/containerd/*overlayfs/snapshots -type l | wc -l"]).stdout
    assert int(links) >= len(store.CONTROL_PLANE)
    refused = node.run(["touch", f"/opt/kubedrill/stores/{lab.spec.version()}/x"], check=False)
    assert "Read-only file system" in refused.stderr


def test_an_api_server_makes_by_itself_what_is_made_for_others(lab: Cluster) -> None:
    """This one has a feature gate, so nobody made its roles for it."""
    text = bootstrap_list(lab)
    if not text:
        pytest.skip("a store of official packages has no list")
    data = [line.removeprefix("data = ") for line in text.splitlines() if line.startswith("data = ")]
    listed = {_address(one): _content(one) for one in (json.loads(json.loads(line)) for line in data)}
    there = bootstrapped(lab)
    assert {_address(one): _content(one) for one in there} == listed
    assert "curl" not in {field["manager"] for one in there for field in one["metadata"]["managedFields"]}


def _address(made: Mapping[str, Any]) -> tuple[str, str, str]:
    return made["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"]


def _content(made: Mapping[str, Any]) -> dict[str, Any]:
    """What an object says, without what a server adds: it fills roles that gather others, and defaults."""
    added = {"metadata", "preemptionPolicy", *(["rules"] if made.get("aggregationRule") else [])}
    told = {key: made["metadata"].get(key) for key in ("labels", "annotations")}
    return {"metadata": told, **{key: value for key, value in made.items() if key not in added}}


def _all_ready(lab: Cluster, api: Kube) -> None:
    wanted = [node.name for node in lab.nodes if node.role != "load-balancer"]
    until(
        api.cluster, checks.cluster_ready(wanted), within=180, what="a cluster that is ready",
        transient=(kube.ApiUnavailable,),
    )  # fmt: skip


def _programs() -> Path:
    return components.build("kubedrill", components.go_version(), lambda _: None)


def _runs_on_both_workers(lab: Cluster, api: Kube, name: str, image: str) -> None:
    kubectl(lab, "apply", "-f", "-", stdin=manifest(image, name, ("/hello",)))
    pods = running(api, 2, name)
    assert {pod.node for pod in pods} == {f"{lab.spec.name}-worker-1", f"{lab.spec.name}-worker-2"}
    kubectl(lab, "delete", "daemonset,service", name)
