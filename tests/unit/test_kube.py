"""The API's answers as snapshots, over a real socket: what is there, what is left out, and what is no answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from kubedrill import init_phases
from kubedrill.kube import (
    HOLLOW,
    ApiUnavailable,
    ClusterSnapshot,
    EventSnapshot,
    Kube,
    NodeSnapshot,
    PodSnapshot,
    WorkloadSnapshot,
)

NODE = {
    "metadata": {"name": "lab-control-plane-1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
    "spec": {
        "unschedulable": True,
        "taints": [
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
            {"key": "drill", "value": "on", "effect": "NoExecute"},
        ],
    },
    "status": {
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "cni plugin not initialized"},
        ],
        "addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": "172.28.0.11"}],
        "nodeInfo": {"kubeletVersion": "v1.37.2"},
    },
}
NEW_NODE: dict[str, Any] = {"metadata": {"name": "lab-a"}, "spec": {}, "status": {}}
POD = {
    "metadata": {
        "namespace": "default", "name": "hello-1", "uid": "u-1", "labels": {"app": "hello"},
        "annotations": {"a": "b"}, "ownerReferences": [{"kind": "ReplicaSet", "name": "hello"}],
        "deletionTimestamp": "2026-11-27T14:20:00Z",
    },
    "spec": {"nodeName": "lab-worker-1"},
    "status": {
        "phase": "Running", "podIP": "10.244.1.2", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"restartCount": 2, "state": {"running": {"startedAt": "2026-11-27T14:20:01Z"}}},
            {"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {"restartCount": 0, "state": {"running": {"startedAt": "2026-11-27T14:20:00Z"}}},
        ],
    },
}  # fmt: skip
NEW_POD: dict[str, Any] = {"metadata": {"namespace": "default", "name": "a"}, "spec": {}, "status": {}}
BEGAN = 1795789200.0  # 2026-11-27T14:20:00Z


class Api(ThreadingHTTPServer):
    """Answers each path with what a test put there; notes what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.given: list[Any] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def lists(self, path: str, *items: Any) -> None:
        """All objects of a kind."""
        self.answers[path] = (200, json.dumps({"kind": "List", "items": items}).encode())


class _Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.given.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, body = self.server.answers.get(urlsplit(self.path).path, (404, b"no such path"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def client_of(port: int, timeout: float = 5, scheme: str = "http") -> Kube:
    named = {"name": "x"}
    server = f"{scheme}://127.0.0.1:{port}"
    return Kube(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{**named, "cluster": {"server": server}}], "users": [{**named, "user": {}}],
        "contexts": [{**named, "context": {"cluster": "x", "user": "x"}}],
    }), timeout=timeout)  # fmt: skip


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kube(api: Api) -> Kube:
    return client_of(api.server_port)


class TestSnapshots:
    def test_nodes_in_the_order_of_their_names(self, api: Api, kube: Kube) -> None:
        api.lists("/api/v1/nodes", NODE, NEW_NODE)
        assert kube.nodes() == (
            NodeSnapshot("lab-a", False, "the kubelet has not reported yet", False, False, (), "", "", False),
            NodeSnapshot(
                "lab-control-plane-1", False, "cni plugin not initialized", True, True,
                ("node-role.kubernetes.io/control-plane:NoSchedule", "drill=on:NoExecute"), "172.28.0.11", "v1.37.2",
                False,
            ),
        )  # fmt: skip
        assert api.asked == ["/api/v1/nodes?labelSelector=%21kubedrill.io%2Fhollow"]

    @pytest.mark.parametrize(("status", "routed"), [("False", True), ("True", False), ("Unknown", False)])
    def test_a_node_has_a_pod_network_once_flannel_says_so(
        self, api: Api, kube: Kube, status: str, routed: bool
    ) -> None:
        said = {"type": "NetworkUnavailable", "status": status, "reason": "FlannelIsUp"}
        api.lists("/api/v1/nodes", {**NEW_NODE, "status": {"conditions": [said]}})
        assert [node.routed for node in kube.nodes()] == [routed]

    def test_those_without_a_computer(self, api: Api, kube: Kube) -> None:
        there = {
            "metadata": {"name": "hollow-1"},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        api.lists("/api/v1/nodes", there, NEW_NODE)
        assert kube.hollow() == {"hollow-1": True, "lab-a": False}
        assert api.asked == [f"/api/v1/nodes?labelSelector={HOLLOW.replace('/', '%2F')}"]

    def test_pods(self, api: Api, kube: Kube) -> None:
        api.lists("/api/v1/namespaces/default/pods", POD, NEW_POD)
        assert kube.pods("default", "app=hello") == (
            PodSnapshot("default", "a", "", "", "", False, 0, False, {}),
            PodSnapshot(
                "default", "hello-1", "lab-worker-1", "10.244.1.2", "Running", True, 3, True, {"app": "hello"},
                "u-1", "ReplicaSet/hello", {"a": "b"}, BEGAN,
            ),
        )  # fmt: skip
        assert api.asked == ["/api/v1/namespaces/default/pods?labelSelector=app%3Dhello"]

    def test_pods_of_all_namespaces(self, api: Api, kube: Kube) -> None:
        api.lists("/api/v1/pods", NEW_POD)
        assert [pod.name for pod in kube.pods()] == ["a"]
        assert api.asked == ["/api/v1/pods"]

    def test_what_up_waits_for(self, api: Api, kube: Kube) -> None:
        dns = {"metadata": {"name": "coredns"}, "spec": {"replicas": 2}, "status": {"availableReplicas": 1}}
        flannel = {
            "metadata": {"name": "kube-flannel-ds"},
            "spec": {},
            "status": {"desiredNumberScheduled": 3, "numberReady": 2},
        }
        api.lists("/api/v1/nodes")
        api.lists("/apis/apps/v1/namespaces/kube-system/deployments", dns)
        api.lists("/apis/apps/v1/namespaces/kube-flannel/daemonsets", flannel)
        api.lists("/apis/apps/v1/namespaces/kube-system/daemonsets", {**flannel, "metadata": {"name": "kube-proxy"}})
        assert kube.cluster() == ClusterSnapshot(
            (), WorkloadSnapshot("coredns", 2, 1), WorkloadSnapshot("kube-flannel-ds", 3, 2),
            WorkloadSnapshot("kube-proxy", 3, 2),
        )  # fmt: skip
        for one in (
            "deployments?fieldSelector=metadata.name%3Dcoredns",
            "daemonsets?fieldSelector=metadata.name%3Dkube-proxy",
        ):
            assert f"/apis/apps/v1/namespaces/kube-system/{one}" in api.asked

    def test_what_is_not_there_yet_is_not_available(self, api: Api, kube: Kube) -> None:
        dns: dict[str, Any] = {"metadata": {"name": "coredns"}, "spec": {"replicas": 2}, "status": {}}
        api.answers["/api/v1/nodes"] = (200, b'{"items": null}')
        api.lists("/apis/apps/v1/namespaces/kube-system/deployments", dns)
        api.lists("/apis/apps/v1/namespaces/kube-flannel/daemonsets")
        api.lists("/apis/apps/v1/namespaces/kube-system/daemonsets")
        assert kube.cluster() == ClusterSnapshot((), WorkloadSnapshot("coredns", 2, 0), None)

    def test_heartbeats(self, api: Api, kube: Kube) -> None:
        said = {"metadata": {"name": "lab-a"}, "spec": {"renewTime": "2026-11-27T14:20:00.250000Z"}}
        silent: dict[str, Any] = {"metadata": {"name": "lab-b"}, "spec": {}}
        api.lists("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", said, silent)
        assert kube.heartbeats() == {"lab-a": BEGAN + 0.25}

    def test_leaders(self, api: Api, kube: Kube) -> None:
        """Other leases of that namespace are those of API servers; one that was given back is nobody's."""
        when = "2026-11-27T14:20:00.250000Z"
        names = {"kube-controller-manager": "lab-a_x", "kube-scheduler": "", "apiserver-x": "apiserver-x_y"}
        leases = [
            {"metadata": {"name": name}, "spec": {"renewTime": when, "holderIdentity": holder}}
            for name, holder in names.items()
        ]
        api.lists("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", *leases)
        assert kube.leaders() == {"kube-controller-manager": BEGAN + 0.25, "kube-scheduler": 0.0}
        api.lists("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", leases[-1])
        assert kube.leaders() == {}

    @pytest.mark.parametrize(
        ("times", "at"),
        [
            ({"lastTimestamp": "2026-11-27T14:20:05Z", "firstTimestamp": "2026-11-27T14:20:00Z", "eventTime": None}, 5),
            ({"lastTimestamp": None, "firstTimestamp": None, "eventTime": "2026-11-27T14:20:01.5Z"}, 1.5),
            ({"series": {"lastObservedTime": "2026-11-27T14:20:09.000000Z"}, "eventTime": "2026-11-27T14:20:01Z"}, 9),
            ({}, 0),
        ],
    )
    def test_an_event_is_of_the_moment_it_was_last_seen(
        self, api: Api, kube: Kube, times: dict[str, Any], at: float
    ) -> None:
        event = {
            "metadata": {"creationTimestamp": "2026-11-27T14:20:00Z"}, "reason": "Killing", "message": "Stopping x\n",
            "involvedObject": {"kind": "Pod", "name": "hello-1"}, **times,
        }  # fmt: skip
        api.lists("/api/v1/events", event)
        assert kube.events() == (EventSnapshot(BEGAN + at, "Pod hello-1", "Killing", "Stopping x"),)

    def test_a_config_map(self, api: Api, kube: Kube) -> None:
        api.lists("/api/v1/namespaces/kube-public/configmaps", {"metadata": {"name": "cluster-info"}})
        assert kube.has_config_map("kube-public", "cluster-info")
        assert api.asked == ["/api/v1/namespaces/kube-public/configmaps?fieldSelector=metadata.name%3Dcluster-info"]
        api.lists("/api/v1/namespaces/kube-public/configmaps")
        assert not kube.has_config_map("kube-public", "cluster-info")

    def test_a_cluster_role(self, api: Api, kube: Kube) -> None:
        path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        api.lists(path, {"metadata": {"name": "system:node"}})
        assert kube.has_cluster_role("system:node")
        assert api.asked == [f"{path}?fieldSelector=metadata.name%3Dsystem%3Anode"]
        api.lists(path)
        assert not kube.has_cluster_role("system:node")


class TestPriorityClass:
    PATH = "/apis/scheduling.k8s.io/v1/priorityclasses"

    @pytest.mark.parametrize("status", [201, 409])
    def test_it_is_made_or_is_there(self, api: Api, kube: Kube, status: int) -> None:
        api.answers[self.PATH] = (status, b"{}")
        kube.make_priority_class(init_phases.PRIORITY_CLASSES[0])
        (given,) = api.given
        assert (given["apiVersion"], given["kind"]) == ("scheduling.k8s.io/v1", "PriorityClass")
        assert (given["metadata"], given["value"]) == ({"name": "system-node-critical"}, 2000001000)

    @pytest.mark.parametrize("status", [200, 403, 500])
    def test_it_is_not_taken(self, api: Api, kube: Kube, status: int) -> None:
        api.answers[self.PATH] = (status, b"not yet ready")
        with pytest.raises(ApiUnavailable, match=rf"(?s)answered {status}.*not yet ready"):
            kube.make_priority_class(init_phases.PRIORITY_CLASSES[0])


class TestNoAnswer:
    def test_ready_is_its_own_word(self, api: Api, kube: Kube) -> None:
        api.answers["/readyz"] = (200, b"ok")
        assert kube.readyz() == "ok"
        api.answers["/readyz"] = (500, b"[-]etcd failed: reason withheld")
        with pytest.raises(ApiUnavailable, match=r"(?s)/readyz answered 500.*etcd failed"):
            kube.readyz()

    def test_a_refusal_with_its_reason(self, api: Api, kube: Kube) -> None:
        api.answers["/api/v1/nodes"] = (403, b'{"message": "nodes is forbidden"}')
        with pytest.raises(ApiUnavailable, match=r"(?s)/api/v1/nodes answered 403.*nodes is forbidden"):
            kube.nodes()

    @pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b""])
    def test_what_is_no_list(self, api: Api, kube: Kube, body: bytes) -> None:
        api.answers["/api/v1/nodes"] = (200, body)
        with pytest.raises(ApiUnavailable, match="/api/v1/nodes is no list"):
            kube.nodes()

    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
    def test_a_proxy_is_not_asked_for_what_is_here(
        self, api: Api, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in (variable, variable.lower()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        api.answers["/readyz"] = (200, b"ok")
        assert client_of(api.server_port).readyz() == "ok"

    def test_nobody_listens(self, api: Api, kube: Kube) -> None:
        api.shutdown()
        api.server_close()
        with pytest.raises(ApiUnavailable, match="the API does not answer"):
            kube.nodes()

    def test_a_broken_handshake(self, api: Api) -> None:
        with pytest.raises(ApiUnavailable, match="does not answer"):
            client_of(api.server_port, scheme="https").nodes()

    def test_one_that_says_nothing(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        with silent, pytest.raises(ApiUnavailable, match=r"(?s)does not answer.*timed out"):
            client_of(silent.getsockname()[1], timeout=0.2).nodes()
