"""The drill upgrade on a real cluster, its negative control, and what a cluster that was upgraded can still do."""

from __future__ import annotations

import pytest
from verdicts import demand

from kubedrill import checkpoints, drill_commands, lifecycle, paths, scaling, status, upgrade, versions
from kubedrill import cluster as clusters
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.faults.actions import PutBack
from kubedrill.journal import Journal, Owner
from kubedrill.kube import Kube
from kubedrill.scenario import Scenario, registry, runner
from kubedrill.scenario import lab as labs

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
DRILL = next(drill for drill in registry.drills(paths.repository() / "scenarios") if drill.name == "upgrade")
OLD, NEW = versions.kubernetes_minors()[-2:]
SPEC = {"controlPlanes": 1, "workers": 1, "kubernetes": OLD}


def version_of(lab: Cluster, place: Lab) -> str:
    """The version of a cluster that is healthy."""
    seen = status.of(clusters.attach(place.provider, lab.spec.name))
    assert seen.healthy
    return seen.kubernetes


def test_the_drill_passes_and_leaves_the_cluster_as_it_was(lab: Cluster, place: Lab, console: Console) -> None:
    run, _ = runner.run(DRILL, lab, console)
    demand(run, "passed")
    assert version_of(lab, place) == versions.kubernetes_version(OLD)
    assert list(checkpoints.listed(place.provider, lab.spec.name)) == []


def test_with_a_single_pod_and_no_budget_requests_fail(lab: Cluster, place: Lab, console: Console) -> None:
    body = DRILL.body.__globals__["run"]

    def alone(lab: labs.Lab) -> None:
        body(lab, replicas=1, linger="0s")

    control = Scenario("upgrade-control", f"{DRILL.title} (control)", "", alone, DRILL.needs)
    run, _ = runner.run(control, lab, console)
    demand(run, "failed")
    assert "no failed request" in run.reason
    assert version_of(lab, place) == versions.kubernetes_version(OLD)


def test_one_that_was_killed_is_put_back_by_heal(lab: Cluster, place: Lab, console: Console) -> None:
    name = lab.spec.name
    # Of a process that is no more: with this number there is none.
    notes = Journal(Journal.of(name).folder, Owner(2**22 + 1, 1, "another boot"))
    notes.write(notes.entry("0badcafe", str(PutBack("before-upgrade")), "", (), (), PutBack("before-upgrade")))
    checkpoints.take(place.provider, lab, "before-upgrade", console)
    later = ["kubectl", "get", "namespace", "later", "--ignore-not-found", "-o", "name"]
    lab.node("control-plane-1").run(["kubectl", "create", "namespace", "later"])
    drill_commands.heal(console, name)
    there = clusters.attach(place.provider, name)
    assert there.node("control-plane-1").run(later).stdout == ""
    assert version_of(there, place) == versions.kubernetes_version(OLD)
    assert list(checkpoints.listed(place.provider, name)) == []
    assert notes.is_empty()


def test_a_cluster_that_was_upgraded_is_one_of_the_new_version(lab: Cluster, place: Lab, console: Console) -> None:
    """It grows by a node of the new version, stops, starts, and is kept as such."""
    version, name = versions.kubernetes_version(NEW), lab.spec.name
    upgraded = upgrade.upgrade(place, lab, NEW, console)
    assert version_of(lab, place) == version
    assert clusters.up(place, upgraded.spec, console, merge=False).spec.kubernetes == NEW
    grown = scaling.add(place, upgraded, console)
    checkpoints.take(place.provider, grown, "upgraded", console)  # stopped and started
    assert version_of(lab, place) == version
    scaling.remove(place.provider, grown, grown.nodes[-1].name, console)
    restored = checkpoints.restore(place.provider, name, "upgraded", console)
    assert restored.spec.kubernetes == NEW
    lifecycle.stop(restored, console)
    lifecycle.whole(restored, console)
    nodes = Kube(restored.admin_conf()).nodes()
    assert [node.version for node in nodes] == [version] * 3
    programs = ["sh", "-c", "kubelet --version; kubectl version --client | head -n 1; kubeadm version -o short"]
    for node in restored.nodes:
        assert node.run(programs).stdout.split().count(version) == 3
