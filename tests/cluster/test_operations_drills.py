"""Drills of operations, each with its negative control: minutes each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from verdicts import demand

from kubedrill import paths, status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.history import Run
from kubedrill.journal import Journal
from kubedrill.scenario import Scenario, registry, runner
from kubedrill.scenario.lab import Lab

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
DRILLS = {drill.name: drill for drill in registry.drills(paths.repository() / "scenarios")}
SPEC = {"controlPlanes": 3, "workers": 2}
# What must be the same before and after; certificates and what kubeadm renews with them may be newer.
FOUND = """
cd /etc/kubernetes && find . -path ./pki -prune -o -type f ! -name '*.conf' -exec sha256sum {} + | sort -k 2
find . pki -type f | sort; ls manifests 2>&1; crictl images --quiet | sort; find /var/lib/etcd -maxdepth 1 2>&1 | sort
nft list tables | grep kubedrill
"""
OBJECTS = (
    "kubectl --namespace kube-system get configmap/kubeadm-config -o jsonpath='{.data}'; "
    "kubectl get nodes -o jsonpath='{.items[*].spec}'; "
    "kubectl get namespaces,clusterroles,clusterrolebindings -o name; "
    "kubectl --namespace kube-system get roles,rolebindings -o name"
)


def function(name: str) -> Callable[..., None]:
    """The `run` of a drill's module."""
    run: Callable[..., None] = DRILLS[name].body.__globals__["run"]
    return run


def found(lab: Cluster) -> list[str]:
    """What drills of this file change, as it is now."""
    nodes = [node for node in lab.nodes if node.role != "load-balancer"]
    on_disk = [node.run(["sh", "-c", FOUND], check=False).stdout for node in nodes]
    return [*on_disk, lab.node("control-plane-1").run(["sh", "-c", OBJECTS]).stdout]


def drilled(lab: Cluster, console: Console, drill: Scenario) -> tuple[Run, Path]:
    """Run a drill, which must leave the cluster as it was."""
    before = found(lab)
    ended = runner.run(drill, lab, console)
    assert found(lab) == before, "the drill leaves something behind"
    assert Journal.of(lab.spec.name).is_empty()
    assert status.of(lab).healthy
    return ended


@pytest.mark.parametrize("name", ["access", "images", "certificates", "partition", "etcd-disaster"])
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    run, _ = drilled(lab, console, DRILLS[name])
    demand(run, "passed")


@pytest.mark.parametrize(
    ("name", "without", "reason"),
    [
        pytest.param("access", {"guarded": False}, "not the Secret of a pod of another node: 403",
                     id="access: a Role for all nodes"),
        pytest.param("images", {"loaded": False}, "the new version is rolled out", id="images: nobody loads it"),
        pytest.param("certificates", {"renewed": False}, "is trusted", id="certificates: nobody renews them"),
        pytest.param("partition", {"healed": False}, "all members of etcd are healthy", id="partition: no heal"),
        pytest.param("etcd-disaster", {"stale": True}, "every acknowledged write up to the snapshot",
                     id="etcd-disaster: the snapshot is older than believed"),
    ],
)  # fmt: skip
def test_without_its_remedy_it_fails(
    lab: Cluster, console: Console, name: str, without: dict[str, bool], reason: str
) -> None:
    drill = DRILLS[name]

    def body(lab: Lab) -> None:
        function(name)(lab, **without)

    run, _ = drilled(lab, console, Scenario(f"{name}-control", f"{drill.title} (control)", "", body, drill.needs))
    demand(run, "failed")
    assert reason in run.reason
