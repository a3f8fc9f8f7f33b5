"""What is rendered from a spec: compared with golden files, and with what must hold whatever they say."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from rendering import ADDRESSES, KEYS, V1, V2, Golden

from kubedrill import kubeadm, loadbalancer, network, paths, versions
from kubedrill.kubeadm import Machine
from kubedrill.spec import ClusterSpec, load_mapping

ALL = {
    "name": "all",
    "controlPlanes": 3,
    "workers": 2,
    "proxyMode": "nftables",
    "podSubnet": "10.32.0.0/16",
    "serviceSubnet": "10.33.0.0/20",
    "featureGates": {"InPlacePodVerticalScaling": True, "SomethingOld": False},
    "extraArgs": {
        "apiserver": {"--audit-log-path": "/var/log/audit.log", "v": "4"},
        "controllerManager": {"node-monitor-grace-period": "16s"},
        "scheduler": {"v": "2"},
        "etcd": {"heartbeat-interval": "200"},
        "kubelet": {"max-pods": "40"},
        "kubeProxy": {"conntrack": "{maxPerCore: 7}", "metricsBindAddress": "0.0.0.0:10249"},
    },
    "nodes": {
        "worker": {"labels": {"disk": "ssd"}, "taints": ["only=batch:NoSchedule"]},
        "worker-2": {"labels": {"zone": "b"}, "taints": ["slow:PreferNoSchedule", "empty=:NoExecute"]},
        "control-plane-3": {"labels": {"zone": "c"}, "taints": ["extra=1:NoExecute"]},
    },
}
CASES: dict[str, tuple[dict[str, Any], Machine]] = {
    "one": ({}, V1),
    "lone": ({"workers": 0}, V2),
    "three": ({"controlPlanes": 3}, V1),
    "all": (ALL, V2),
}


def spec_of(case: str) -> ClusterSpec:
    """The spec of a case. The golden files leave the Kubernetes version out: a new patch changes nothing else."""
    return load_mapping(CASES[case][0], source=case)


def unversioned(text: str, spec: ClusterSpec) -> str:
    assert spec.version() in text
    return text.replace(spec.version(), "VERSION")


def init(case: str) -> dict[str, Any]:
    text = kubeadm.init_config(spec_of(case), ADDRESSES, CASES[case][1], KEYS)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def join(case: str, key: str) -> dict[str, Any]:
    text = kubeadm.join_config(spec_of(case), key, ADDRESSES, CASES[case][1], KEYS)
    document = yaml.safe_load(text)
    assert isinstance(document, dict)
    return document


def arguments(listed: list[dict[str, str]]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in listed}


@pytest.mark.parametrize("case", CASES)
def test_init(golden: Golden, case: str) -> None:
    spec, machine = spec_of(case), CASES[case][1]
    golden(f"init-{case}.yaml", unversioned(kubeadm.init_config(spec, ADDRESSES, machine, KEYS), spec))


JOINS = [("one", "worker-2"), ("three", "control-plane-2"), ("all", "worker-1"), ("all", "worker-2"),
         ("all", "control-plane-3")]  # fmt: skip


@pytest.mark.parametrize(("case", "key"), JOINS)
def test_join(golden: Golden, case: str, key: str) -> None:
    golden(f"join-{case}-{key}.yaml", kubeadm.join_config(spec_of(case), key, ADDRESSES, CASES[case][1], KEYS))


def test_discovery(golden: Golden) -> None:
    text = kubeadm.discovery_file("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n", "172.28.7.2")
    golden("discovery.yaml", text)
    cluster = yaml.safe_load(text)["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]).startswith(b"-----BEGIN CERTIFICATE-----\n")
    assert yaml.safe_load(text)["users"] == []


def test_patches(golden: Golden) -> None:
    [(name, text)] = kubeadm.patches().items()
    # kubeadm takes target[suffix][+patchtype].extension, and this is its one target that is no static pod.
    assert re.fullmatch(r"corednsdeployment\+strategic\.yaml", name)
    golden("patch-coredns.yaml", text)


FLANNELS: dict[str, dict[str, Any]] = {
    "vxlan": {},
    "host-gw": {"flannelBackend": "host-gw", "podSubnet": "10.32.0.0/16"},
    "nftables": {"proxyMode": "nftables", "controlPlanes": 3},
}


@pytest.mark.parametrize("case", FLANNELS)
def test_flannel(golden: Golden, case: str) -> None:
    spec = load_mapping(FLANNELS[case], source=case)
    text = network.flannel_manifest(spec, "ghcr.io/flannel-io/flannel:v0.0.1", ADDRESSES.endpoint(spec))
    golden(f"flannel-{case}.yaml", text)
    documents = {document["kind"]: document for document in yaml.safe_load_all(text)}
    conf = json.loads(documents["ConfigMap"]["data"]["net-conf.json"])
    assert conf["Network"] == spec.pod_subnet
    assert conf["Backend"]["Type"] == spec.flannel_backend
    assert conf["EnableNFTables"] is (spec.proxy_mode == "nftables")
    selected = documents["DaemonSet"]["spec"]["selector"]["matchLabels"].items()
    assert selected <= documents["DaemonSet"]["spec"]["template"]["metadata"]["labels"].items()


def test_haproxy(golden: Golden) -> None:
    text = loadbalancer.haproxy_config({"lab-control-plane-1": "172.28.7.11", "lab-control-plane-2": "172.28.7.12"})
    golden("haproxy.cfg", text)
    servers = re.findall(r"^    server (\S+) (\S+) (.*)$", text, flags=re.MULTILINE)
    assert [(name, where) for name, where, _ in servers] == [
        ("lab-control-plane-1", "172.28.7.11:6443"),
        ("lab-control-plane-2", "172.28.7.12:6443"),
        ("lab-control-plane-1:anyway", "172.28.7.11:6443"),
        ("lab-control-plane-2:anyway", "172.28.7.12:6443"),
    ]
    assert [{"check", "track", "backup"} & set(options.split()) for _, _, options in servers] == [
        {"check"}, {"check"}, {"track", "backup"}, {"track", "backup"},
    ]  # fmt: skip


def test_the_port_of_weights_is_the_one_that_control_planes_answer_on() -> None:
    unit = paths.repository() / "images" / "files/etc/systemd/system/kubedrill-weight.service"
    assert f"TCP4-LISTEN:{loadbalancer.WEIGHT_PORT}," in unit.read_text()


def test_who_is_taken_in_again_has_its_weight() -> None:
    order = loadbalancer.take_in("lab-control-plane-1")[-1]
    assert "set server control-planes/lab-control-plane-1 state ready; " in order
    assert "set server control-planes/lab-control-plane-1 weight 100%" in order


def test_who_is_trusted_is_sent_to_whatever_its_checks_said_before() -> None:
    """Without checks a server keeps the state that they gave it last."""
    server = "control-planes/lab-control-plane-1"
    order = loadbalancer.trust("lab-control-plane-1")[-1]
    assert f"'disable health {server}; set server {server} health up'" in order
    assert f"'enable health {server}'" in loadbalancer.check("lab-control-plane-1")[-1]


def test_who_does_not_run_yet_is_sent_nothing_before_a_check_says_that_it_is_well() -> None:
    planes = {"lab-control-plane-1": "172.28.0.11", "lab-control-plane-2": "172.28.0.12"}
    text = loadbalancer.haproxy_config(planes, ["lab-control-plane-2"])
    closed = [line.split()[1] for line in text.splitlines() if line.endswith(" disabled")]
    assert closed == ["lab-control-plane-2"], "its second entry follows it"
    assert text.replace(" disabled", "") == loadbalancer.haproxy_config(planes)
    server = "control-planes/lab-control-plane-2"
    order = f"'set server {server} state ready; set server {server} health down; show info'"
    assert order in loadbalancer.admit("lab-control-plane-2")[-1], "in this order: to be let in makes it a good one"


def test_which_process_of_the_balancer_answered() -> None:
    assert "show info" in loadbalancer.ask()[-1]
    assert loadbalancer.process("\n\nName: HAProxy\nProcess_num: 1\nPid: 94\nUptime: 0d\n") == "94"
    assert loadbalancer.process("") == ""


class TestInit:
    @pytest.mark.parametrize("case", CASES)
    def test_what_every_cluster_needs(self, case: str) -> None:
        documents, spec = init(case), spec_of(case)
        assert list(documents) == [
            "InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration"
        ]  # fmt: skip
        first, cluster = documents["InitConfiguration"], documents["ClusterConfiguration"]
        assert {first["apiVersion"], cluster["apiVersion"]} == {"kubeadm.k8s.io/v1beta4"}
        assert cluster["kubernetesVersion"] == versions.kubernetes_version(spec.kubernetes)
        endpoint = "172.28.7.2" if spec.control_planes > 1 else "172.28.7.11"
        assert cluster["controlPlaneEndpoint"] == f"{endpoint}:6443"
        planes = {f"172.28.7.{10 + number}" for number in range(1, spec.control_planes + 1)}
        assert {"localhost", "127.0.0.1", endpoint, *planes} == set(cluster["apiServer"]["certSANs"])
        assert first["bootstrapTokens"][0]["ttl"] == "1h0m0s"
        assert documents["KubeletConfiguration"]["failCgroupV1"] is False
        assert documents["KubeletConfiguration"]["failSwapOn"] is False
        assert documents["KubeProxyConfiguration"]["clusterCIDR"] == spec.pod_subnet

    @pytest.mark.parametrize(("case", "driver"), [("one", "cgroupfs"), ("lone", "systemd")])
    def test_the_cgroup_driver_follows_the_machine(self, case: str, driver: str) -> None:
        assert init(case)["KubeletConfiguration"]["cgroupDriver"] == driver

    @pytest.mark.parametrize("shields", [True, False])
    def test_nobody_tries_for_an_oom_score_that_the_kernel_refuses(self, shields: bool) -> None:
        text = kubeadm.init_config(ClusterSpec(), ADDRESSES, replace(V1, shields=shields), KEYS)
        documents = {document["kind"]: document for document in yaml.safe_load_all(text)}
        for kind in ("KubeletConfiguration", "KubeProxyConfiguration"):
            assert documents[kind].get("oomScoreAdj") == (None if shields else 0)

    @pytest.mark.parametrize(("case", "policy"), [("one", "Never"), ("lone", "IfNotPresent")])
    def test_images_are_pulled_only_where_they_may_be(self, case: str, policy: str) -> None:
        assert init(case)["InitConfiguration"]["nodeRegistration"]["imagePullPolicy"] == policy

    def test_image_tags_are_kubeadms_own_where_none_are_given(self) -> None:
        with_tags, without = init("one")["ClusterConfiguration"], init("lone")["ClusterConfiguration"]
        assert (with_tags["etcd"]["local"]["imageTag"], with_tags["dns"]["imageTag"]) == ("3.7.3", "v1.15.0")
        assert "imageTag" not in without["etcd"]["local"]
        assert without["dns"] == {}

    def test_a_cluster_without_workers_runs_pods_on_its_control_plane(self) -> None:
        assert init("lone")["InitConfiguration"]["nodeRegistration"]["taints"] == []

    def test_extra_arguments_and_gates_reach_every_component(self) -> None:
        documents = init("all")
        cluster = documents["ClusterConfiguration"]
        gates = "InPlacePodVerticalScaling=true,SomethingOld=false"
        assert arguments(cluster["apiServer"]["extraArgs"]) == {
            "feature-gates": gates, "audit-log-path": "/var/log/audit.log", "v": "4"
        }  # fmt: skip
        asked = {"feature-gates": gates, "node-monitor-grace-period": "16s"}
        assert asked.items() <= arguments(cluster["controllerManager"]["extraArgs"]).items()
        serving = {"cert-dir": "/etc/kubernetes/serving"}
        assert arguments(cluster["scheduler"]["extraArgs"]) == {"feature-gates": gates, "v": "2", **serving}
        assert arguments(cluster["etcd"]["local"]["extraArgs"]) == {"heartbeat-interval": "200", "max-learners": "2"}
        proxy = documents["KubeProxyConfiguration"]
        assert (proxy["mode"], proxy["conntrack"], proxy["metricsBindAddress"]) == (
            "nftables", {"maxPerCore": 7}, "0.0.0.0:10249"
        )  # fmt: skip
        for kind in ("KubeletConfiguration", "KubeProxyConfiguration"):
            assert documents[kind]["featureGates"] == {"InPlacePodVerticalScaling": True, "SomethingOld": False}
        assert arguments(documents["InitConfiguration"]["nodeRegistration"]["kubeletExtraArgs"]) == {
            "node-ip": "172.28.7.11", "max-pods": "40"
        }  # fmt: skip

    def test_an_extra_argument_wins_over_our_own(self) -> None:
        spec = load_mapping({"extraArgs": {"controllerManager": {"kube-api-burst": "7"}}}, source="x")
        documents = list(yaml.safe_load_all(kubeadm.init_config(spec, ADDRESSES, V1, KEYS)))
        given = documents[1]["controllerManager"]["extraArgs"]
        assert [item["value"] for item in given if item["name"] == "kube-api-burst"] == ["7"]

    def test_labels_join_those_of_the_kubelets_own_arguments(self) -> None:
        spec = load_mapping(
            {"extraArgs": {"kubelet": {"node-labels": "a=1"}}, "nodes": {"worker": {"labels": {"b": "2"}}}}, source="x"
        )
        text = kubeadm.join_config(spec, "worker-1", ADDRESSES, V1, KEYS)
        given = arguments(yaml.safe_load(text)["nodeRegistration"]["kubeletExtraArgs"])
        assert set(given["node-labels"].split(",")) == {"a=1", "b=2"}


class TestJoin:
    def test_a_worker(self) -> None:
        config = join("one", "worker-2")
        assert "controlPlane" not in config
        assert config["nodeRegistration"]["name"] == "lab-worker-2"
        assert "taints" not in config["nodeRegistration"]

    def test_the_ca_is_pinned(self) -> None:
        for case, key in JOINS:
            discovery = join(case, key)["discovery"]
            assert discovery == {
                "file": {"kubeConfigPath": "/etc/kubernetes/discovery.conf"},
                "tlsBootstrapToken": KEYS.token,
            }

    def test_labels_and_taints_of_the_role_and_of_the_node(self) -> None:
        registration = join("all", "worker-2")["nodeRegistration"]
        assert arguments(registration["kubeletExtraArgs"])["node-labels"] == "disk=ssd,zone=b"
        assert registration["taints"] == [
            {"key": "only", "value": "batch", "effect": "NoSchedule"},
            {"key": "slow", "effect": "PreferNoSchedule"},
            {"key": "empty", "value": "", "effect": "NoExecute"},
        ]

    def test_a_control_plane_keeps_its_own_taint_beside_others(self) -> None:
        config = join("all", "control-plane-3")
        assert config["nodeRegistration"]["taints"] == [
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
            {"key": "extra", "value": "1", "effect": "NoExecute"},
        ]
        assert config["controlPlane"]["localAPIEndpoint"] == {"advertiseAddress": "172.28.7.13", "bindPort": 6443}
        assert config["controlPlane"]["certificateKey"] == KEYS.certificate_key


class TestSecrets:
    def test_their_form(self) -> None:
        for _ in range(50):
            keys = kubeadm.new_secrets()
            assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", keys.token)
            assert re.fullmatch(r"[0-9a-f]{64}", keys.certificate_key)

    def test_no_two_are_alike(self) -> None:
        many = [kubeadm.new_secrets() for _ in range(200)]
        assert len({keys.token for keys in many}) == len({keys.certificate_key for keys in many}) == 200
        # Each place of the token takes many values: 200 draws of 36 letters leave fewer than 20 unseen never.
        letters = [{keys.token[place] for keys in many} for place in range(23) if place != 6]
        assert min(map(len, letters)) >= 20

    def test_they_are_not_shown(self) -> None:
        assert KEYS.token not in repr(KEYS)
        assert KEYS.certificate_key not in f"{KEYS}"
