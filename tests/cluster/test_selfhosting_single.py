"""Selfhosting with a single control plane, where nobody else can help; and without its checkpoint it must fail."""

from __future__ import annotations

import pytest
from verdicts import demand

from kubedrill import anatomy, paths, status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario import Scenario, registry, runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 1, "workers": 1}
DRILL = next(drill for drill in registry.drills(paths.repository() / "scenarios") if drill.name == "selfhosting-single")


def test_the_drill_passes_and_leaves_static_pods(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(DRILL, lab, console)
    demand(run, "passed")
    started = {one.name: one.started.kind for one in anatomy.of(lab, "control-plane-1")}
    assert started["kube-apiserver"] == started["kube-scheduler"] == started["kube-controller-manager"] == "static pod"


def test_without_the_checkpoint_the_cold_boot_fails_and_is_healed(lab: Cluster, console: Console) -> None:
    control = Scenario(
        "selfhosting-control", f"{DRILL.title} (negative control)", "",
        lambda lab: DRILL.body.__globals__["run"](lab, checkpoint=False), DRILL.needs,
    )  # fmt: skip
    run, _ = runner.run(control, lab, console)
    demand(run, "failed")
    assert "the API answers: the checkpoint runs it" in run.reason
    assert status.of(lab).healthy
