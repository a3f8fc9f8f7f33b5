"""The drill upgrade on three control planes: behind a balancer the API's gaps have a budget of seconds."""

from __future__ import annotations

import pytest
from drilling import DRILLS, function
from verdicts import demand

from kubedrill import checkpoints, status, versions
from kubedrill import cluster as clusters
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.scenario import runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
OLD = versions.kubernetes_minors()[-2]
SPEC = {"controlPlanes": 3, "workers": 1, "kubernetes": OLD}


@pytest.mark.minutes(25)
def test_the_drill_passes_and_leaves_the_cluster_as_it_was(lab: Cluster, place: Lab, console: Console) -> None:
    """It takes 12 minutes: each of the control planes waits for its API server, which lives on for 30 s."""
    run, _ = runner.run(DRILLS["upgrade"], lab, console)
    demand(run, "passed")
    reads, writes = function("upgrade").__globals__["GAPS"][True]
    budgets = [(one.rule["lane"], one.rule["at_most"]) for one in run.requirements if one.rule.get("kind") == "gap"]
    assert {("api-read", reads), ("api-write", writes)} <= set(budgets)
    found = status.of(clusters.attach(place.provider, lab.spec.name))
    assert found.healthy
    assert found.kubernetes == versions.kubernetes_version(OLD)
    assert list(checkpoints.listed(place.provider, lab.spec.name)) == []
