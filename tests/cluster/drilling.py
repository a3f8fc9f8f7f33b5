"""What the tests of drills share: the drills by name, their controls, a run that leaves its cluster as it was."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from verdicts import demand

from kubedrill import paths, status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.history import Run
from kubedrill.journal import Journal
from kubedrill.scenario import Scenario, registry, runner
from kubedrill.scenario.lab import Lab
from kubedrill.wait import until

DRILLS = {drill.name: drill for drill in registry.drills(paths.repository() / "scenarios")}
# These renew certificates, and the kubeconfigs that hold some.
RENEW = ("certificates",)
# On each node: manifests and whatever lies beside them, images, etcd's data, rules of faults. Certificates and what
# kubeadm renews with them may be newer after a drill that renews them, and are counted only.
_ON_DISK = """
cd /etc/kubernetes && find . -path ./pki -prune -o -type f ! -name '*.conf' -exec sha256sum {} + | sort -k 2
find . pki -type f | sort; ls manifests 2>&1; crictl images --quiet | sort; find /var/lib/etcd -maxdepth 1 2>&1 | sort
nft list tables | grep kubedrill
ls /etc/containerd/certs.d/* /etc/kubedrill/registry/* /etc/systemd/system/kubedrill-registry* 2>/dev/null
"""
_UNREADY = "node.kubernetes.io/not-ready"
_CONFIGS = "cd /etc/kubernetes && find . -path ./pki -prune -o -type f -name '*.conf' -exec sha256sum {} + | sort -k 2"
_OBJECTS = (
    "kubectl --namespace kube-system get configmap/coredns configmap/kubeadm-config -o jsonpath='{.items[*].data}'; "
    "kubectl --namespace kube-system get deployment/coredns -o jsonpath='{.spec}'; "
    "kubectl get nodes -o jsonpath='{.items[*].spec}'; "
    "kubectl get namespaces,clusterroles,clusterrolebindings -o name; "
    "kubectl --namespace kube-system get roles,rolebindings -o name"
)


def function(name: str) -> Callable[..., None]:
    """The `run` of a drill's module."""
    run: Callable[..., None] = DRILLS[name].body.__globals__["run"]
    return run


def control(name: str, body: Callable[[Lab], None]) -> Scenario:
    """A drill with another body: its negative control."""
    drill = DRILLS[name]
    return Scenario(f"{name}-control", f"{drill.title} (control)", "", body, drill.needs, builds=drill.builds)


def passes(lab: Cluster, console: Console, name: str) -> Run:
    """Run a drill, which must pass and leave the cluster as it was."""
    run = drilled(lab, console, DRILLS[name])
    demand(run, "passed")
    return run


def fails(lab: Cluster, console: Console, name: str, body: Callable[[Lab], None], reason: str) -> Run:
    """Run a drill's negative control, which must fail for that reason and leave the cluster as it was."""
    run = drilled(lab, console, control(name, body))
    demand(run, "failed")
    assert reason in run.reason
    return run


def drilled(lab: Cluster, console: Console, drill: Scenario) -> Run:
    """Run a drill, which must leave the cluster as it was."""
    renews = drill.name.removesuffix("-control") in RENEW
    # Taints of a node that was not Ready go some seconds after it is; `up` does not wait for that of a control plane.
    before = until(lambda: _found(lab, renews), lambda now: (_UNREADY not in now[-1], now[-1]), within=60, every=2,
                   what="no node with a taint of one that is not Ready")  # fmt: skip
    runner.build(drill, console)
    run, _ = runner.run(drill, lab, console)
    until(lambda: _found(lab, renews), lambda now: (now == before, _difference(before, now)), within=60, every=2,
          what="the cluster as it was before the drill")  # fmt: skip
    assert Journal.of(lab.spec.name).is_empty()
    assert status.of(lab).healthy
    return run


def _difference(before: list[str], now: list[str]) -> str:
    pairs = [(old.splitlines(), new.splitlines()) for old, new in zip(before, now, strict=True)]
    return "; ".join(line for old, new in pairs for line in difflib.unified_diff(old, new, lineterm="", n=0))


def _found(lab: Cluster, renews: bool) -> list[str]:
    script = _ON_DISK if renews else _ON_DISK + _CONFIGS
    nodes = [node for node in lab.nodes if node.role != "load-balancer"]
    on_disk = [node.run(["sh", "-c", script], check=False).stdout for node in nodes]
    return [*on_disk, lab.node("control-plane-1").run(["sh", "-c", _OBJECTS]).stdout]
