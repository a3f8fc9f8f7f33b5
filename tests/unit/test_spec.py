"""The cluster asked for: what is wrong with it is said clearly, and all at once."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from kubedrill import spec, versions
from kubedrill.errors import InvalidSpec
from kubedrill.node_settings import NodeSettings
from kubedrill.spec import ClusterSpec, load_mapping

PORT = {"nodePort": 30080, "hostPort": 8080}


def reasons(given: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InvalidSpec) as caught:
        load_mapping(given, source="a test")
    assert "a test" in caught.value.what
    assert caught.value.todo
    return caught.value.evidence


def of_nodes(key: str, **settings: Any) -> dict[str, Any]:
    return {"nodes": {key: settings}}


# What is given, and words that its one reason must have.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "name upper case": ({"name": "Lab"}, ["name", "'Lab'", "DNS label"]),
    "name empty": ({"name": ""}, ["name", "''", "DNS label"]),
    "name begins with -": ({"name": "-lab"}, ["'-lab'", "DNS label"]),
    "name ends with -": ({"name": "lab-"}, ["'lab-'", "DNS label"]),
    "name with a dot": ({"name": "a.b"}, ["'a.b'", "DNS label"]),
    "name with a line end": ({"name": "lab\n"}, ["name", "DNS label"]),
    "name for a shell": ({"name": "a;reboot"}, ["'a;reboot'", "DNS label"]),
    "name too long": ({"name": "a" * 41}, ["a" * 41, "up to 40"]),
    "name a number": ({"name": 5}, ["name", "string", "5"]),
    "2 control planes": ({"controlPlanes": 2}, ["2 control planes", "majority", "no more of them than 1", "3"]),
    "4 control planes": ({"controlPlanes": 4}, ["4 control planes", "majority", "no more of them than 3", "5"]),
    "no control plane": ({"controlPlanes": 0}, ["controlPlanes", "0 control planes", "1, 3 or 5"]),
    "-1 control planes": ({"controlPlanes": -1}, ["-1 control planes", "1, 3 or 5"]),
    "500 control planes": ({"controlPlanes": 500}, ["500 control planes", "1, 3 or 5"]),
    "control planes a text": ({"controlPlanes": "3"}, ["controlPlanes", "integer", "'3'"]),
    "control planes a truth": ({"controlPlanes": True}, ["controlPlanes", "integer", "True"]),
    "-1 workers": ({"workers": -1}, ["-1 workers", "0 to 99"]),
    "500 workers": ({"workers": 500}, ["500 workers", "0 to 99"]),
    "3001 hollow nodes": ({"hollow": 3001}, ["3001 hollow nodes", "0 to 3000"]),
    "half a worker": ({"workers": 1.5}, ["workers", "integer", "1.5"]),
    "subnets equal": (
        {"podSubnet": "10.0.0.0/16", "serviceSubnet": "10.0.0.0/16"},
        ["podSubnet", "serviceSubnet", "10.0.0.0/16", "overlap"],
    ),
    "pods in the default services": ({"podSubnet": "10.0.0.0/8"}, ["podSubnet", "10.96.0.0/16", "overlap"]),
    "services in the default pods": ({"serviceSubnet": "10.244.4.0/22"}, ["serviceSubnet", "10.244.0.0/16", "overlap"]),
    "pod subnet too small": (
        {"podSubnet": "10.1.0.0/22", "workers": 4},
        ["podSubnet", "10.1.0.0/22", "room for 4 nodes", "not 5"],
    ),
    "subnet /23": ({"podSubnet": "10.1.0.0/23"}, ["10.1.0.0/23", "/8 to /22"]),
    "subnet with host bits": ({"podSubnet": "10.1.0.1/16"}, ["podSubnet", "10.1.0.1/16", "host bits"]),
    "subnet IPv6": ({"serviceSubnet": "fd00::/16"}, ["serviceSubnet", "fd00::/16", "no IPv4 subnet"]),
    "unknown version": ({"kubernetes": "1.2"}, ["'1.2'", "not known", *versions.kubernetes_minors()]),
    "unknown patch": ({"kubernetes": versions.newest_minor() + ".99"}, ["not known", versions.newest_minor()]),
    "version a number": ({"kubernetes": 1.37}, ["write it in quotes", 'kubernetes: "1.37"']),
    "version a whole number": ({"kubernetes": 2}, ["write it in quotes", 'kubernetes: "2"']),
    "unknown provider": ({"provider": "podman"}, ["provider", "'docker'", "'podman'"]),
    "ports of VMs": (
        {"provider": "vagrant", **of_nodes("worker-1", ports=[{"nodePort": 80, "hostPort": 8080}])},
        ["worker-1: ports", "an address that this machine reaches"],
    ),
    "mounts of VMs": (
        {"provider": "vagrant", **of_nodes("worker", mounts=[{"hostPath": "/a", "nodePath": "/b"}])},
        ["worker: mounts", "a file system of its own"],
    ),
    "unknown driver of VMs": ({"vm": {"driver": "xen"}}, ["vm.driver", "'emulation'", "'xen'"]),
    "misspelt setting of VMs": ({"vm": {"workerCpu": 2}}, ["vm.workerCpu", "did you mean 'workerCpus'?"]),
    "VMs of negative size": ({"vm": {"workerMemory": -1}}, ["vm.workerMemory", "-1"]),
    "unknown proxy mode": ({"proxyMode": "ipvs"}, ["proxyMode", "nftables", "'ipvs'"]),
    "misspelt key": ({"controlPlane": 3}, ["unknown key 'controlPlane'", "did you mean 'controlPlanes'?"]),
    "misspelt key by case": ({"podsubnet": "10.1.0.0/16"}, ["'podsubnet'", "did you mean 'podSubnet'?"]),
    "unknown key": ({"zzzzzz": 1}, ["unknown key 'zzzzzz'", "known: name, controlPlanes, workers"]),
    "misspelt component": ({"extraArgs": {"api-server": {}}}, ["'api-server'", "did you mean 'apiserver'?"]),
    "misspelt key of a node": (of_nodes("worker-1", label={}), ["nodes.worker-1.label'", "did you mean 'labels'?"]),
    "misspelt key of a port": (
        of_nodes("worker-1", ports=[{**PORT, "protocl": "tcp"}]),
        ["nodes.worker-1.ports.0.protocl'", "did you mean 'protocol'?"],
    ),
    "misspelt key of a mount": (
        of_nodes("worker-1", mounts=[{"hostPath": "/a", "nodePath": "/b", "readonly": True}]),
        ["nodes.worker-1.mounts.0.readonly'", "did you mean 'readOnly'?"],
    ),
    "missing key of a port": (of_nodes("worker-1", ports=[{"hostPort": 1}]), ["ports.0.nodePort", "required"]),
    "port 0": (of_nodes("worker-1", ports=[{**PORT, "hostPort": 0}]), ["ports.0.hostPort", "0 is no port"]),
    "port 65536": (of_nodes("worker-1", ports=[{**PORT, "nodePort": 65536}]), ["ports.0.nodePort", "65536"]),
    "relative mount": (
        of_nodes("worker-1", mounts=[{"hostPath": "a", "nodePath": "/b"}]),
        ["nodes.worker-1.mounts.0", "'a'", "absolute"],
    ),
    "taint without effect": (of_nodes("worker", taints=["a=b"]), ["worker.taints.0", "'a=b'", "key=value:Effect"]),
    "taint without key": (of_nodes("worker", taints=["=b:NoExecute"]), ["'=b:NoExecute'", "key=value:Effect"]),
    "taint with a wrong effect": (of_nodes("worker", taints=["a:noSchedule"]), ["'a:noSchedule'", "NoSchedule, "]),
    "label with a space": (of_nodes("worker", labels={"a b": "c"}), ["worker.labels", "'a b' is no label"]),
    "label of two prefixes": (of_nodes("worker", labels={"a/b/c": "d"}), ["'a/b/c' is no label"]),
    "label without a name": (of_nodes("worker", labels={"a/": "d"}), ["'a/' is no label"]),
    "label's value": (of_nodes("worker", labels={"a": "c d"}), ["'c d' is no value of a label"]),
    "label that only others may give": (
        of_nodes("worker", labels={"node-role.kubernetes.io/db": ""}),
        ["node-role.kubernetes.io/db", "may not give its node", "kubectl label node"],
    ),
    "host port twice, two nodes": (
        {"nodes": {"worker-1": {"ports": [PORT]}, "control-plane-1": {"ports": [PORT]}}},
        ["nodes", "host port 8080", "control-plane-1", "worker-1"],
    ),
    "host port twice, one role": (of_nodes("worker", ports=[PORT]), ["host port 8080", "worker-1", "worker-2"]),
    "host port twice, one node": (
        of_nodes("worker-1", ports=[PORT, {**PORT, "nodePort": 30081}]),
        ["host port 8080", "twice by worker-1"],
    ),
    "host port twice, node and role": (
        {"workers": 1, "nodes": {"worker": {"ports": [PORT]}, "worker-1": {"ports": [PORT]}}},
        ["host port 8080", "twice by worker-1"],
    ),
    "no such worker": (of_nodes("worker-3"), ["nodes", "there is no 'worker-3'"]),
    "no such control plane": (of_nodes("control-plane-2"), ["there is no 'control-plane-2'"]),
    "a node numbered 0": (of_nodes("worker-0"), ["'worker-0'", "neither a role"]),
    "a role misspelt": (of_nodes("master"), ["'master'", "neither a role", "control-plane, worker"]),
}  # fmt: skip


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_input_is_one_clear_reason(given: dict[str, Any], words: list[str]) -> None:
    found = reasons(given)
    assert len(found) == 1
    for word in words:
        assert word in found[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"name": "A", "controlPlanes": 2, "workers": 500, "kubernetes": "9", "wrkers": 1, "podSubnet": "x"},
            ["'A'", "2 control", "500 workers", "'9'", "'wrkers'", "'x'"],
        ),
        ({"name": "A", "podSubnet": "10.0.0.0/8"}, ["'A'", "overlap"]),
        ({"name": "A", "nodes": {"worker-9": {}, "foo": {}, "bar": {}}}, ["'A'", "'worker-9'", "'foo'", "'bar'"]),
        ({"kubernetes": "9", "nodes": {"worker": {"ports": [PORT]}}}, ["'9'", "host port 8080"]),
        ({"name": "A", "extraArgs": {"x": {}, "y": {}}}, ["'A'", "no component 'x'", "no component 'y'"]),
        ({"nodes": {"worker": {"taints": ["a", "b"], "port": 1}}}, ["'a' is no", "'b' is no", "worker.port"]),
        ({"podSubnet": "10.0.0.0/8", "extraArgs": {"x": {}}, "nodes": {"foo": {}}}, ["overlap", "'x'", "'foo'"]),
    ],
)
def test_several_bad_inputs_are_reported_at_once(given: dict[str, Any], words: list[str]) -> None:
    found = reasons(given)
    assert len(found) == len(words)
    for word in words:
        assert sum(word in reason for reason in found) == 1, word


def test_a_refused_count_does_not_blame_the_nodes_too() -> None:
    assert len(reasons({"controlPlanes": 2, "nodes": {"control-plane-2": {}}})) == 1
    assert len(reasons({"workers": 500, "nodes": {"worker-7": {}}, "podSubnet": "10.1.0.0/22"})) == 1


GOOD: list[tuple[dict[str, Any], str, object]] = [
    ({}, "name", "lab"),
    ({"name": "a"}, "name", "a"),
    ({"name": "9" * 40}, "name", "9" * 40),
    ({"workers": 0}, "workers", 0),
    ({"workers": 99}, "workers", 99),
    ({"controlPlanes": 5}, "control_planes", 5),
    ({"podSubnet": "10.1.0.0/22", "workers": 3}, "pod_subnet", "10.1.0.0/22"),
    ({"kubernetes": "v" + versions.newest_minor()}, "kubernetes", versions.newest_minor()),
    ({"kubernetes": versions.kubernetes_version("1.36")}, "kubernetes", "1.36"),
    ({"kubernetes": "1.36"}, "kubernetes", "1.36"),
    ({}, "kubernetes", versions.newest_minor()),
]


@pytest.mark.parametrize(("given", "field", "value"), GOOD)
def test_good_input_is_taken(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(load_mapping(given, source="a test"), field) == value


def test_one_host_port_may_serve_two_protocols() -> None:
    given = of_nodes("worker-1", ports=[PORT, {**PORT, "protocol": "udp"}])
    assert len(load_mapping(given, source="a test").settings("worker-1").ports) == 2


@pytest.mark.parametrize(
    "label", ["disk", "example.org/disk", "node.kubernetes.io/disk", "topology.kubernetes.io/zone", "a.b_c-d"]
)
def test_good_labels(label: str) -> None:
    for value in ("", "fast", "a.b_c-9"):
        found = load_mapping(of_nodes("worker", labels={label: value}), source="a").settings("worker-1").labels
        assert found == {label: value}


@pytest.mark.parametrize("taint", ["a:NoSchedule", "a=b:NoExecute", "example.com/a=:PreferNoSchedule"])
def test_good_taints(taint: str) -> None:
    assert load_mapping(of_nodes("worker", taints=[taint]), source="a").settings("worker-1").taints == (taint,)


def test_the_exact_version_comes_from_go_mod() -> None:
    assert load_mapping({"kubernetes": "1.36"}, source="a").version() == versions.kubernetes_version("1.36")


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        ClusterSpec().workers = 3  # type: ignore[misc]


# --- files and flags


def test_node_keys() -> None:
    keys = load_mapping({"controlPlanes": 3, "workers": 2}, source="a").node_keys()
    assert keys == ("control-plane-1", "control-plane-2", "control-plane-3", "worker-1", "worker-2")
    assert load_mapping({"workers": 0}, source="a").node_keys() == ("control-plane-1",)


def test_settings_of_a_node_are_laid_over_those_of_its_role() -> None:
    mount = {"hostPath": "/h", "nodePath": "/n"}
    found = load_mapping(
        {
            "nodes": {
                "worker": {"labels": {"a": "role", "b": "role"}, "taints": ["r:NoExecute"], "mounts": [mount]},
                "worker-2": {"labels": {"b": "node", "c": "node"}, "taints": ["n:NoExecute"], "ports": [PORT]},
                "control-plane": {"labels": {"cp": "yes"}},
            }
        },
        source="a",
    )
    first, second = found.settings("worker-1"), found.settings("worker-2")
    assert first.labels == {"a": "role", "b": "role"}
    assert second.labels == {"a": "role", "b": "node", "c": "node"}
    assert first.taints == ("r:NoExecute",)
    assert second.taints == ("r:NoExecute", "n:NoExecute")
    assert first.ports == ()
    assert [port.host_port for port in second.ports] == [8080]
    assert [item.node_path for item in second.mounts] == ["/n"]
    assert found.settings("control-plane-1") == NodeSettings(labels={"cp": "yes"})


# --- JSON and differences

FULL: dict[str, Any] = {
    "name": "school",
    "controlPlanes": 3,
    "workers": 1,
    "hollow": 3,
    "kubernetes": "1.36",
    "etcd": "external",
    "podSubnet": "10.1.0.0/16",
    "serviceSubnet": "10.2.0.0/16",
    "proxyMode": "nftables",
    "flannelBackend": "host-gw",
    "featureGates": {"A": True},
    "extraArgs": {"apiserver": {"a" * 1100: "", "v": "1e3", "x": "on", "y": "\u7f8e\U0001f600\x7f"}},
    "nodes": {
        "worker-1": {
            "labels": {"a": "2024-01-01"},
            "taints": ["a:NoExecute"],
            "ports": [{**PORT, "protocol": "udp"}],
            "mounts": [{"hostPath": "/a", "nodePath": "/b", "readOnly": True}],
        }
    },
    "vm": {"driver": "emulation", "controlPlaneMemory": 4096, "workerCpus": 2},
}
VMS = {
    "provider": "vagrant",
    "vm": {"driver": "kvm"},
    "nodes": {"worker": {"labels": {"a": "b"}, "taints": ["a:NoExecute"]}},
}


@pytest.mark.parametrize("given", [{}, FULL, VMS], ids=["defaults", "full", "VMs"])
def test_json_round_trip(given: dict[str, Any]) -> None:
    made = load_mapping(given, source="a")
    text = made.to_json()
    assert "\n" not in text
    assert ClusterSpec.from_json(text) == made


def test_the_full_spec_differs_from_the_default_in_every_key() -> None:
    """Else the round trip would not notice a key that is lost."""
    full = load_mapping(FULL, source="a").model_dump()
    same = [key for key, value in ClusterSpec().model_dump().items() if full[key] == value]
    assert same == ["provider"]  # VMs have neither ports nor mounts
    assert load_mapping(VMS, source="a").provider == "vagrant"


def test_sizes_of_vms_go_by_role() -> None:
    made = load_mapping({"vm": {"controlPlaneMemory": 4096, "workerCpus": 2}}, source="a").vm
    assert [made.size(key) for key in ("control-plane-3", "worker-1", "load-balancer")] == [(4096, 0), (0, 2), (0, 0)]


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "5", '"x"', '{"workers": 1, "fromTheFuture": 2}'])
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match="label of a running cluster"):
        ClusterSpec.from_json(text)


def test_differences() -> None:
    there = load_mapping({"workers": 2, "proxyMode": "iptables"}, source="a")
    wanted = load_mapping({"workers": 3, "proxyMode": "nftables"}, source="a")
    assert wanted.differences(there) == [
        "workers: 2 there, 3 asked for",
        "proxyMode: iptables there, nftables asked for",
    ]
    assert wanted.differences(wanted) == []


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("workes", ("name", "workers"), "; did you mean 'workers'?"),
        ("zzz", ("name", "workers"), "; known: name, workers"),
    ],
)
def test_nearest(word: str, known: tuple[str, ...], hint: str) -> None:
    assert spec.nearest(word, known) == hint
