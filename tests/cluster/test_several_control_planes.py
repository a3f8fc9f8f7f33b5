"""Three control planes and a worker behind the balancer, with the settings that are no defaults: nftables, host-gw."""

from __future__ import annotations

import json

import pytest
from workload import bootstrap_list, bootstrapped, in_pod, kubectl, manifest, running

from kubedrill import cluster
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.etcd_members import ETCDCTL
from kubedrill.kube import Kube
from kubedrill.loadbalancer import ANYWAY
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
SPEC = {"controlPlanes": 3, "workers": 1, "proxyMode": "nftables", "flannelBackend": "host-gw"}


def test_etcd_has_three_voting_members(lab: Cluster) -> None:
    listed = lab.node("control-plane-2").run(["sh", "-c", f"{ETCDCTL} member list -w json"]).stdout
    members = json.loads(listed)["members"]
    assert sorted(member["name"] for member in members) == [
        f"{lab.spec.name}-control-plane-{number}" for number in (1, 2, 3)
    ]
    assert not any(member.get("isLearner") for member in members)


def test_each_component_shows_a_certificate_of_its_own(lab: Cluster) -> None:
    """None of them has signed one with a key of its own choice, RSA, when it started."""
    shown = list[str]()
    for number in (1, 2, 3):
        node = lab.node(f"control-plane-{number}")
        for port, name in ((10250, node.name), (10257, "localhost"), (10259, "localhost")):
            show = f"openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -text"
            certificate = node.run(["sh", "-c", show]).stdout
            assert "ASN1 OID: prime256v1" in certificate
            assert f"DNS:{name}" in certificate
            shown.append(certificate)
    assert len(set(shown)) == 9


def test_the_balancer_sees_all_control_planes_and_drops_a_dead_one(lab: Cluster, api: Kube) -> None:
    servers = [f"{lab.spec.name}-control-plane-{number}" for number in (1, 2, 3)]
    assert _backends(lab) == {name: "UP" for server in servers for name in (server, server + ANYWAY)}
    dead = lab.node("control-plane-3")
    dead.kill()
    try:
        until(
            lambda: _backends(lab),
            lambda seen: (seen[dead.name] == seen[dead.name + ANYWAY] == "DOWN", str(seen)), within=30,
            what="HAProxy's notice of the dead control plane",
        )  # fmt: skip
        assert api.readyz() == "ok"
        assert kubectl(lab, "get", "nodes", "-o", "name").stdout.count("node/") == 4
    finally:
        dead.start()
    until(
        lambda: _backends(lab), lambda seen: (seen[dead.name] == "UP", str(seen)), within=120,
        what="the return of the control plane",
    )  # fmt: skip


def test_roles_were_made_before_the_api_server_made_them(lab: Cluster) -> None:
    """Roles by curl in a node, and priority classes, before all else, by kubedrill itself: the API keeps the names."""
    made = bootstrapped(lab)
    makers = {"curl" if bootstrap_list(lab) else "kube-apiserver"}
    found = {kind: [{field["manager"] for field in one["metadata"]["managedFields"]} for one in made
                    if (one["kind"] == "PriorityClass") == (kind == "PriorityClass")]
             for kind in ("PriorityClass", "roles")}  # fmt: skip
    assert len(found["roles"]) > 100
    assert all(makers <= each for each in found["roles"])
    assert {"kubedrill"} in found["PriorityClass"]
    # They are what this version's own code lists.
    listed = bootstrap_list(lab)
    classes = [one for one in made if one["kind"] == "PriorityClass"]
    assert not listed or all(str(one["value"]) in listed and one["description"] in listed for one in classes)


def test_nftables_and_host_gw_carry_traffic(lab: Cluster, api: Kube) -> None:
    kubectl(lab, "apply", "-f", "-", stdin=manifest())
    pod = running(api, 1)[0]
    # Between a pod's readiness and kube-proxy's rule for it lies a moment in which the Service refuses.
    answer = until(
        lambda: in_pod(lab, pod, "curl -sS -m 5 http://hello/", check=False),
        lambda result: (result.status == 0, result.output), within=20, what="the Service hello",
    )  # fmt: skip
    assert json.loads(answer.stdout)["pod"] == pod.name
    node = lab.node("worker-1")
    assert "kube-proxy" in node.run(["nft", "list", "tables"]).stdout
    assert "flannel.1" not in node.run(["ip", "-brief", "link"]).stdout
    # CoreDNS runs on a control plane: its answer came over the host's routes.
    assert in_pod(lab, pod, "dig +short kubernetes.default.svc.cluster.local").stdout.strip() == "10.96.0.1"


def test_another_cluster_beside_it_has_its_own_network(lab: Cluster, place: Lab, console: Console) -> None:
    other = cluster.up(place, lab.spec.model_copy(update={"name": f"{lab.spec.name}-b", "control_planes": 1}), console)
    try:
        assert {node.address for node in other.nodes}.isdisjoint({node.address for node in lab.nodes})
        assert len(Kube(other.admin_conf()).nodes()) == 2
    finally:
        cluster.down(place.provider, other.spec.name, console)
    assert other.spec.name not in place.provider.clusters()
    assert lab.spec.name in place.provider.clusters()


def _backends(lab: Cluster) -> dict[str, str]:
    """How HAProxy sees each control plane, and its stand-in for when all have weight 0, from its own statistics.

    They are CSV; column 18 is the status.
    """
    csv = lab.node("load-balancer").run(["curl", "-s", "http://127.0.0.1:8404/;csv"], show=False).stdout
    rows = [line.split(",") for line in csv.splitlines()]
    return {row[1]: row[17].split()[0] for row in rows if row[0] == "control-planes" and row[1] != "BACKEND"}
