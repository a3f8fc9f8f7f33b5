"""Drills of static pods, of a change of configuration and of DNS, each with its negative controls: minutes each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from verdicts import demand

from kubedrill import paths
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.history import Run
from kubedrill.journal import Journal
from kubedrill.scenario import Scenario, registry, runner
from kubedrill.scenario.lab import Lab

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
DRILLS = {drill.name: drill for drill in registry.drills(paths.repository() / "scenarios")}
SPEC = {"controlPlanes": 3, "workers": 2}
# What must be the same before and after: manifests, what lies beside them, CoreDNS and the cluster's configuration.
FOUND = """
cd /etc/kubernetes && find . -path ./pki -prune -o -type f -exec sha256sum {} + | sort -k 2
ls manifests 2>&1 || true
"""
OBJECTS = (
    "kubectl --namespace kube-system get configmap/coredns configmap/kubeadm-config -o jsonpath='{.items[*].data}'; "
    "kubectl --namespace kube-system get deployment/coredns -o jsonpath='{.spec}'; "
    "kubectl get nodes -o jsonpath='{.items[*].spec}'"
)


def function(name: str) -> Callable[..., None]:
    """The `run` of a drill's module."""
    run: Callable[..., None] = DRILLS[name].body.__globals__["run"]
    return run


def found(lab: Cluster) -> list[str]:
    """What drills of this file change, as it is now."""
    nodes = [node for node in lab.nodes if node.role != "load-balancer"]
    on_disk = [node.run(["sh", "-c", FOUND]).stdout for node in nodes]
    return [*on_disk, lab.node("control-plane-1").run(["sh", "-c", OBJECTS]).stdout]


def drilled(lab: Cluster, console: Console, drill: Scenario) -> tuple[Run, Path]:
    """Run a drill, which must leave the cluster as it was."""
    before = found(lab)
    ended = runner.run(drill, lab, console)
    assert found(lab) == before, "the drill leaves something behind"
    assert Journal.of(lab.spec.name).is_empty()
    return ended


@pytest.mark.parametrize("name", ["static-pods", "configuration-change", "dns"])
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    run, _ = drilled(lab, console, DRILLS[name])
    demand(run, "passed")


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        pytest.param(
            "static-pods", lambda lab: function("static-pods")(lab, static=False),
            "the mirror pod is back", id="static-pods: a plain pod",
        ),
        pytest.param(
            "configuration-change", lambda lab: function("configuration-change")(lab, at_once=True),
            "no gap longer than", id="configuration-change: all at once",
        ),
        pytest.param(
            "dns", lambda lab: function("dns")(lab, alone=True),
            "DNS from inside a pod: no gap longer than", id="dns: one pod, and it dies",
        ),
        pytest.param(
            "dns", lambda lab: function("dns")(lab, mended=False),
            "finds the name again", id="dns: the Corefile is not mended",
        ),
    ],
)  # fmt: skip
def test_without_its_remedy_it_fails(
    lab: Cluster, console: Console, name: str, body: Callable[[Lab], None], reason: str
) -> None:
    drill = DRILLS[name]
    run, _ = drilled(lab, console, Scenario(f"{name}-control", f"{drill.title} (control)", "", body, drill.needs))
    demand(run, "failed")
    assert reason in run.reason
