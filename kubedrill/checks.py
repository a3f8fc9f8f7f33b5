"""Predicates over snapshots: pure, each gives (whether it holds, why)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from kubedrill.kube import ClusterSnapshot, NodeSnapshot, PodSnapshot, WorkloadSnapshot
from kubedrill.wait import Verdict

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane:NoSchedule"
_NOT_READY = "node.kubernetes.io/not-ready:NoExecute"


def nodes_ready(nodes: Sequence[NodeSnapshot], wanted: Collection[str]) -> Verdict:
    """All wanted nodes are registered, Ready, and free of the taint that keeps pods away until then.

    The controller manager takes that taint away up to 5 s after the node is Ready (its --node-monitor-period). That of
    a control plane is not waited for where its own taint keeps pods away in any case.
    """
    known = {node.name: node for node in nodes}
    missing = sorted(set(wanted) - set(known))
    if missing:
        return False, f"not registered yet: {', '.join(missing)}"
    unready = [node for node in nodes if node.name in wanted and not node.ready]
    if unready:
        return False, "; ".join(f"{node.name} is not Ready: {node.why}" for node in unready)
    tainted = [node.name for node in nodes if node.name in wanted and _still_tainted(node)]
    if tainted:
        return False, f"Ready, but still tainted so: {', '.join(tainted)}"
    return True, f"{len(wanted)} nodes Ready"


def nodes_routed(nodes: Sequence[NodeSnapshot], wanted: Collection[str]) -> Verdict:
    """flannel has set up the pod network of all wanted nodes.

    A node is Ready as soon as flannel's pod has come to it; its own pods wait until flannel holds its lease.
    """
    without = sorted(node.name for node in nodes if node.name in wanted and not node.routed)
    return not without, f"no pod network yet: {', '.join(without)}" if without else "pods reach each other"


def _still_tainted(node: NodeSnapshot) -> bool:
    kept = [taint for taint in node.taints if taint.startswith("node.kubernetes.io/")]
    if _CONTROL_PLANE in node.taints:
        kept = [taint for taint in kept if taint != _NOT_READY]
    return bool(kept)


def available(workload: WorkloadSnapshot | None, name: str, at_least: int) -> Verdict:
    """A workload has all its pods serving, and not fewer than it should have."""
    if workload is None:
        return False, f"{name} is not there yet"
    wanted = max(workload.desired, at_least)
    return workload.available >= wanted, f"{name}: {workload.available} of {wanted} pods available"


def nodes_able(wanted: Collection[str]) -> Callable[[Sequence[NodeSnapshot]], Verdict]:
    """All wanted nodes Ready, with a lease of flannel on each of them."""
    return lambda nodes: _all([nodes_ready(nodes, wanted), nodes_routed(nodes, wanted)])


def cluster_ready(wanted: Collection[str]) -> Callable[[ClusterSnapshot], Verdict]:
    """All wanted nodes Ready, flannel with a lease and kube-proxy on each of them, CoreDNS available."""

    def check(cluster: ClusterSnapshot) -> Verdict:
        return _all([
            nodes_ready(cluster.nodes, wanted),
            available(cluster.flannel, "flannel", len(wanted)),
            nodes_routed(cluster.nodes, wanted),
            # A cluster may do without.
            *([available(cluster.kube_proxy, "kube-proxy", len(wanted))] if cluster.kube_proxy else []),
            available(cluster.coredns, "CoreDNS", 1),
        ])  # fmt: skip

    return check


def _all(verdicts: Sequence[Verdict]) -> Verdict:
    failing = [why for ok, why in verdicts if not ok]
    return not failing, "; ".join(failing or [why for _, why in verdicts])


def pods_running(pods: Sequence[PodSnapshot], count: int) -> Verdict:
    """That many pods are ready, and none besides them is ending."""
    ready = [pod for pod in pods if pod.ready and not pod.deleting]
    if len(ready) == count == len(pods):
        return True, f"{count} pods ready"
    states = ", ".join(f"{pod.name} {'ending' if pod.deleting else pod.phase}" for pod in pods if pod not in ready)
    return False, f"{len(ready)} of {count} pods ready ({states or 'no other'})"


def heard_since(heartbeats: Mapping[str, float], wanted: Collection[str], since: float) -> Verdict:
    """The kubelet of each wanted node has said since then that it lives; what was said before may be long untrue."""
    silent = sorted(name for name in wanted if heartbeats.get(name, 0) < since)
    return not silent, f"not heard of since: {', '.join(silent)}" if silent else f"{len(wanted)} nodes heard of"


def led_since(leaders: Mapping[str, float], since: float) -> Verdict:
    """Each component of which one at a time leads has a leader that has renewed its lease since then."""
    without = sorted(name for name, renewed in leaders.items() if renewed < since)
    return not without, f"no leader since: {', '.join(without)}" if without else f"{len(leaders)} leaders"


def started_since(pods: Sequence[PodSnapshot], since: float) -> Verdict:
    """Every pod is ready by containers that were started since then: none is only remembered as ready.

    Static pods need not be ready, as their probes begin after 10 s; whether they serve tells the API.

    Args:
        pods: those that should be; ones that have ended are passed over.
        since: seconds since 1970. Kubernetes rounds its moments down to seconds.
    """
    alive = [pod for pod in pods if pod.phase not in ("Succeeded", "Failed") and not pod.deleting]
    waited = [pod.name for pod in alive if pod.started < int(since) or not (pod.ready or pod.owner.startswith("Node/"))]
    return bool(alive) and not waited, f"not started again yet: {', '.join(waited)}" if waited else f"{len(alive)} pods"
