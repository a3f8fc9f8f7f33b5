"""Drills that take minutes, with Kubernetes' default settings: only in `invoke test --all`."""

from __future__ import annotations

import pytest
from drilling import DRILLS
from verdicts import demand

from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario import runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = dict(DRILLS["node-failure-default"].needs)


def test_node_failure_with_the_defaults(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(DRILLS["node-failure-default"], lab, console)
    demand(run, "passed")
