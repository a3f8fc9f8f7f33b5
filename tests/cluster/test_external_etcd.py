"""A cluster whose etcd has computers of its own: what it is made of, that it stops and starts, and drills of etcd."""

from __future__ import annotations

import pytest
from drilling import DRILLS, control, function
from verdicts import demand

from kubedrill import anatomy, etcd_members, lifecycle, scaling, status
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.faults import targets
from kubedrill.scenario import etcd, runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 3, "workers": 2, "etcd": "external"}


def test_etcd_is_apart(lab: Cluster) -> None:
    assert [node.name for node in etcd_members.of(lab.nodes)] == [f"{lab.spec.name}-etcd-{n}" for n in (1, 2, 3)]
    assert len(etcd.healthy(lab)) == 3
    for node in lab.nodes:
        if node.role == "control-plane":
            assert node.run(["sh", "-c", "pgrep -x etcd"], check=False).stdout == ""
            assert node.run(["ls", "/etc/kubernetes/pki/etcd"]).stdout.split() == ["ca.crt"]
    assert status.of(lab).healthy
    components = anatomy.of(lab)
    assert {one.state for one in components} == {"running"}
    assert sorted(one.node for one in components if one.name == "etcd") == [
        node.name for node in etcd_members.of(lab.nodes)
    ]


def certificates(lab: Cluster) -> dict[str, str]:
    """What the drill cold-restart compares of each node."""
    script = function("cold-restart").__globals__["CERTIFICATES"]
    return {node.name: node.run(["sh", "-c", script]).stdout for node in lab.nodes if node.role != "load-balancer"}


def test_it_stops_and_starts(lab: Cluster, console: Console) -> None:
    before = certificates(lab)
    assert all(before.values())
    lifecycle.stop(lab, console)
    lifecycle.whole(lab, console)
    assert certificates(lab) == before
    assert status.of(lab).healthy
    assert len(etcd.healthy(lab)) == 3


def test_control_planes_come_and_go_without_a_member(lab: Cluster, place: Lab, console: Console) -> None:
    left = scaling.remove(place.provider, lab, "control-plane-3", console)
    assert len(etcd.healthy(left)) == 3
    more = scaling.add(place, left, console, control_plane=True)
    assert status.of(more).healthy
    assert len(etcd.healthy(more)) == 3


@pytest.mark.parametrize("name", ["ha-failover", "etcd-disaster"])
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    run, _ = runner.run(DRILLS[name], lab, console)
    demand(run, "passed")
    leaders = [node for node, why in run.targets.items() if "etcd leader" in why]
    assert leaders or name != "ha-failover"
    assert all(map(etcd_members.alone, leaders))
    assert status.of(lab).healthy


def test_a_stale_snapshot_is_noticed(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(control("etcd-disaster", lambda one: function("etcd-disaster")(one, stale=True)), lab, console)
    demand(run, "failed")
    assert "every acknowledged write up to the snapshot" in run.reason
    assert targets.etcd_leader(lab).node in [node.name for node in etcd_members.of(lab.nodes)]
