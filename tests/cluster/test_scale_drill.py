"""The drill scale on a real cluster, without its remedies, and where it was killed half-way."""

from __future__ import annotations

import pytest
from drilling import DRILLS, control, function
from verdicts import demand

from kubedrill import cluster as clusters
from kubedrill import drill_commands, scaling, status
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.faults.actions import ShrinkBack
from kubedrill.journal import Journal, Owner
from kubedrill.scenario import runner

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 1, "workers": 1}


def test_the_drill_passes_and_leaves_the_cluster_as_it_was(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(DRILLS["scale"], lab, console)
    demand(run, "passed")
    assert any("through the balancer" in one.text for one in run.requirements)
    assert Journal.of(lab.spec.name).is_empty()
    assert status.of(lab).healthy


def test_without_a_drain_requests_fail(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(control("scale", lambda lab: function("scale")(lab, drained=False)), lab, console)
    demand(run, "failed")
    assert "no failed request" in run.reason
    assert status.of(lab).healthy


def test_without_leaving_the_balancer_first_reads_fail(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(control("scale", lambda lab: function("scale")(lab, balanced=False)), lab, console)
    demand(run, "failed")
    assert "through the balancer while there is one, each on a new connection: never away" in run.reason
    assert Journal.of(lab.spec.name).is_empty()
    assert status.of(lab).healthy


def test_what_one_that_was_killed_added_is_removed_by_heal(lab: Cluster, place: Lab, console: Console) -> None:
    name, before = lab.spec.name, [node.name for node in lab.nodes]
    # Of a process that is no more: with this number there is none.
    notes = Journal(Journal.of(name).folder, Owner(2**22 + 1, 1, "another boot"))
    notes.write(notes.entry("0badcafe", str(ShrinkBack(1, 1)), "", (), (), ShrinkBack(1, 1)))
    scaling.add(place, scaling.add(place, lab, console), console, control_plane=True)
    drill_commands.heal(console, name)
    there = clusters.attach(place.provider, name)
    assert [node.name for node in there.nodes] == before
    assert there.server == lab.server
    assert notes.is_empty()
    assert status.of(there).healthy
