"""The drill scale on a real cluster, and without its remedy: a worker that is not drained must be noticed."""

from __future__ import annotations

import pytest
from drilling import DRILLS, control, function
from verdicts import demand

from kubedrill import status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario import runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 1, "workers": 1}


def test_the_drill_passes_and_leaves_the_cluster_as_it_was(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(DRILLS["scale"], lab, console)
    demand(run, "passed")
    assert status.of(lab).healthy


def test_without_a_drain_requests_fail(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(control("scale", lambda lab: function("scale")(lab, drained=False)), lab, console)
    demand(run, "failed")
    assert "no failed request" in run.reason
    assert status.of(lab).healthy
