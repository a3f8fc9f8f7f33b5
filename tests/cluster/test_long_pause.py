"""A cluster that is paused for longer than leases last: once it goes on, it works, and stays well."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from kubedrill import checks, kube, lifecycle, status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.kube import Kube
from kubedrill.scenario import workload
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 3, "workers": 1}
# Seconds. The leases of controller manager and scheduler last 15, and whoever has not renewed one for 10 ends itself.
PAUSE = 30
# For so long it must stay well: three looks of the controller that says which node is NotReady.
WATCHED = 15


def let_pass(seconds: float, look: Callable[[], object], what: str) -> None:
    """Let time pass, with a look at something now and then."""
    began = time.monotonic()

    def passed() -> float:
        look()
        return time.monotonic() - began

    until(passed, lambda now: (now >= seconds, f"{now:.0f} s"), within=seconds + 60, every=1, what=what)


def test_after_a_long_pause_a_new_pod_is_scheduled_and_runs(lab: Cluster, console: Console) -> None:
    nodes = {node.name for node in lab.nodes if node.role != "load-balancer"}
    lifecycle.pause(lab, console)
    let_pass(PAUSE, lambda: None, "the pause")
    assert set(lifecycle.states(lab).values()) == {"paused"}
    began = time.time()
    assert lifecycle.whole_after_pause(lab, console)
    # Once, not waited for: what is promised then holds already.
    api = Kube(lab.admin_conf())
    beats = api.heartbeats()
    assert nodes <= set(beats)
    assert checks.heard_since(beats, nodes, began)[0]
    leaders = api.leaders()
    assert set(leaders) == {"kube-controller-manager", "kube-scheduler"}
    assert checks.led_since(leaders, began)[0]
    new = workload.manifest(workload.deployment("resumed", 1))
    lab.node("control-plane-1").run(["kubectl", "apply", "-f", "-"], stdin=new, timeout=60)
    until(
        lambda: api.pods(workload.NAMESPACE, "app=resumed"), lambda pods: checks.pods_running(pods, 1), within=30,
        what="a pod that is new", transient=(kube.ApiUnavailable,),
    )  # fmt: skip

    def well() -> None:
        seen = status.of(lab)
        assert seen.healthy, seen

    let_pass(WATCHED, well, "a while in which it stays well")
