"""The drill scale on a real cluster, and without its remedy: a worker that is not drained must be noticed."""

from __future__ import annotations

import pytest
from verdicts import demand

from kubedrill import paths, status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario import Scenario, registry, runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
DRILL = next(drill for drill in registry.drills(paths.repository() / "scenarios") if drill.name == "scale")
SPEC = {"controlPlanes": 1, "workers": 1}


def test_the_drill_passes_and_leaves_the_cluster_as_it_was(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(DRILL, lab, console)
    demand(run, "passed")
    assert status.of(lab).healthy


def test_without_a_drain_requests_fail(lab: Cluster, console: Console) -> None:
    body = DRILL.body.__globals__["run"]
    control = Scenario(
        "scale-control", f"{DRILL.title} (control)", "", lambda lab: body(lab, drained=False), DRILL.needs
    )
    run, _ = runner.run(control, lab, console)
    demand(run, "failed")
    assert "no failed request" in run.reason
    assert status.of(lab).healthy
