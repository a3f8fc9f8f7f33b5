"""Hollow nodes on a real cluster: `up` makes them Ready, status counts them, and the drill many-nodes passes."""

from __future__ import annotations

import pytest
from drilling import fails, function, passes

from kubedrill import hollow_parts as parts
from kubedrill import status
from kubedrill.cluster import Cluster, Lab
from kubedrill.cluster import up as bring_up
from kubedrill.console import Console
from kubedrill.kube import Kube
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow, pytest.mark.minutes(10)]
COUNT = 100
SPEC = {"controlPlanes": 1, "workers": 1, "hollow": COUNT}


def test_all_are_ready(lab: Cluster, api: Kube) -> None:
    assert sum(api.hollow().values()) == COUNT
    found = status.of(lab)
    assert found.healthy
    assert (found.hollow_ready, found.hollow) == (COUNT, COUNT)
    assert len(found.nodes) == 2, "those without a computer are counted, not listed"


def test_the_drill_passes(lab: Cluster, console: Console) -> None:
    run = passes(lab, console, "many-nodes")
    assert {"pods replaced", "kube-apiserver holds", "etcd's data"} <= set(run.facts)


def test_pods_that_tolerate_a_dead_node_for_long_are_not_replaced_in_time(lab: Cluster, console: Console) -> None:
    fails(lab, console, "many-nodes", lambda lab: function("many-nodes")(lab, tolerate=300), "are replaced on others")


def test_without_kwok_the_cluster_is_not_healthy_and_the_same_up_mends_it(
    lab: Cluster, place: Lab, console: Console
) -> None:
    home = lab.node("control-plane-1")
    home.run(["systemctl", "stop", parts.UNIT])
    # A lease lasts 40 s, and the controller manager's grace period is 50 s at most.
    silent = until(lambda: status.of(lab), lambda found: (found.hollow_ready == 0, found.summary), within=180, every=2,
                   what="hollow nodes that are NotReady")  # fmt: skip
    assert silent.api == "answers"
    assert all(node.kubernetes.startswith("Ready") for node in silent.nodes)
    assert not silent.healthy
    assert status.of(bring_up(place, lab.spec, console)).healthy
