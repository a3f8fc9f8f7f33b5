"""Each check says whether it holds, and what is missing where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubedrill import checks
from kubedrill.kube import ClusterSnapshot, NodeSnapshot, PodSnapshot, WorkloadSnapshot

GOOD = NodeSnapshot("a", True, "kubelet is posting ready status", False, False, (), "172.28.0.11", "v1.37.2")
A, B = GOOD, replace(GOOD, name="b")
UNREADY = replace(B, ready=False, why="container runtime network not ready")
POD = PodSnapshot("default", "p1", "a", "10.244.1.2", "Running", True, 0, False, {})
P2 = replace(POD, name="p2")
PLANE = "node-role.kubernetes.io/control-plane:NoSchedule"
GOES_LAST = "node.kubernetes.io/not-ready:NoExecute"


def workload(desired: int, available: int) -> WorkloadSnapshot:
    return WorkloadSnapshot("w", desired, available)


NODES = {
    "all Ready": ([A, B], True, ["2 nodes"]),
    "another besides": ([A, B, replace(UNREADY, name="c")], True, ["2 nodes"]),
    "a foreign taint": ([A, replace(B, taints=("only=batch:NoSchedule",))], True, ["2 nodes"]),
    "a control plane's taint": (
        [A, replace(B, taints=(PLANE,))],
        True,
        [],
    ),
    "a control plane's, and the one that goes last": ([A, replace(B, taints=(PLANE, GOES_LAST))], True, ["2 nodes"]),
    "the one that goes last": ([A, replace(B, taints=(GOES_LAST,))], False, ["tainted", "b"]),
    "a control plane that is cordoned": (
        [A, replace(B, taints=(PLANE, "node.kubernetes.io/unschedulable:NoSchedule"))],
        False,
        ["tainted", "b"],
    ),
    "none registered": ([], False, ["not registered", "a, b"]),
    "one not registered": ([A], False, ["not registered", "b"]),
    "one not Ready": ([A, UNREADY], False, ["b is not Ready", "network not ready"]),
    "one still tainted": (
        [A, replace(B, taints=("node.kubernetes.io/not-ready:NoSchedule",))],
        False,
        ["tainted", "b"],
    ),
}


@pytest.mark.parametrize("case", NODES)
def test_nodes_ready(case: str) -> None:
    nodes, wanted, words = NODES[case]
    ok, why = checks.nodes_ready(nodes, ["a", "b"])
    assert ok is wanted
    for word in words:
        assert word in why


AVAILABLE = [
    (None, 1, False, "not there yet"),
    (workload(2, 2), 1, True, "2 of 2"),
    (workload(2, 1), 1, False, "1 of 2"),
    (workload(0, 0), 1, False, "0 of 1"),  # a Deployment that nobody has looked at yet
    (workload(1, 1), 3, False, "1 of 3"),  # a DaemonSet that does not know all nodes yet
    (workload(3, 4), 3, True, "4 of 3"),
    (workload(0, 0), 0, True, "0 of 0"),
]


@pytest.mark.parametrize(("found", "at_least", "wanted", "words"), AVAILABLE)
def test_available(found: WorkloadSnapshot | None, at_least: int, wanted: bool, words: str) -> None:
    ok, why = checks.available(found, "CoreDNS", at_least)
    assert ok is wanted
    assert why.startswith("CoreDNS")
    assert words in why


CLUSTERS = {
    "ready": (ClusterSnapshot((A, B), workload(2, 2), workload(2, 2)), True, ["2 nodes", "flannel", "CoreDNS"]),
    "without flannel": (ClusterSnapshot((A, B), workload(2, 2), None), False, ["flannel is not there"]),
    "flannel on one node": (ClusterSnapshot((A, B), workload(2, 2), workload(1, 1)), False, ["flannel: 1 of 2"]),
    "without CoreDNS": (ClusterSnapshot((A, B), None, workload(2, 2)), False, ["CoreDNS is not there"]),
    "flannel without a lease": (
        ClusterSnapshot((A, replace(B, routed=False)), workload(2, 2), workload(2, 2)),
        False,
        ["no pod network yet: b"],
    ),
    "kube-proxy on one node": (
        ClusterSnapshot((A, B), workload(2, 2), workload(2, 2), workload(1, 1)),
        False,
        ["kube-proxy: 1 of 2"],
    ),
    "a node short": (ClusterSnapshot((A,), workload(2, 2), workload(2, 2)), False, ["not registered yet: b"]),
    "nothing yet": (ClusterSnapshot((), None, None), False, ["a, b", "flannel", "CoreDNS"]),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_cluster_ready(case: str) -> None:
    cluster, wanted, words = CLUSTERS[case]
    ok, why = checks.cluster_ready(["a", "b"])(cluster)
    assert ok is wanted
    for word in words:
        assert word in why
    if case == "without flannel":
        assert "nodes Ready" not in why, "only what is missing is said"


@pytest.mark.parametrize(
    ("nodes", "wanted", "words"),
    [
        ((A, B), True, "pods reach each other"),
        ((A,), False, "not registered yet: b"),
        ((A, replace(B, ready=False, routed=False)), False, "b is not Ready"),
        ((replace(A, routed=False), B), False, "no pod network yet: a"),
    ],
)
def test_nodes_able(nodes: tuple[NodeSnapshot, ...], wanted: bool, words: str) -> None:
    ok, why = checks.nodes_able(["a", "b"])(nodes)
    assert ok is wanted
    assert words in why


PODS = {
    "all": ([POD, P2], 2, True, "2 pods ready"),
    "none wanted": ([], 0, True, "0 pods ready"),
    "none there": ([], 2, False, "0 of 2 pods ready (no other)"),
    "one pending": ([POD, replace(P2, ready=False, phase="Pending")], 2, False, "p2 Pending"),
    "one ending": ([POD, replace(P2, deleting=True)], 2, False, "p2 ending"),
    "one ending besides": ([POD, P2, replace(POD, name="p3", deleting=True)], 2, False, "p3 ending"),
    "one too many": ([POD, P2], 1, False, "2 of 1"),
}


@pytest.mark.parametrize("case", PODS)
def test_pods_running(case: str) -> None:
    pods, count, wanted, words = PODS[case]
    ok, why = checks.pods_running(pods, count)
    assert ok is wanted
    assert words in why
