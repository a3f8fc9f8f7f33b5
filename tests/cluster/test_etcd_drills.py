"""Drills that need three members of etcd, and those that go on behind a balancer, each with its negative control."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drilling import fails, function, passes

from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario.lab import Lab

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 3, "workers": 1}


@pytest.mark.parametrize("name", ["certificates", "partition", "etcd-disaster"])
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    passes(lab, console, name)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        pytest.param(
            "partition", lambda lab: function("partition")(lab, healed=False),
            "all members of etcd are healthy", id="partition: no heal",
        ),
        pytest.param(
            "etcd-disaster", lambda lab: function("etcd-disaster")(lab, stale=True),
            "every acknowledged write up to the snapshot", id="etcd-disaster: the snapshot is older than believed",
        ),
    ],
)  # fmt: skip
def test_without_its_remedy_it_fails(
    lab: Cluster, console: Console, name: str, body: Callable[[Lab], None], reason: str
) -> None:
    fails(lab, console, name, body, reason)


def test_writes_that_are_tried_on_the_majoritys_side_are_acknowledged(lab: Cluster, console: Console) -> None:
    """So the drill's tries say something of the side on which they are made, and only that is not met."""
    wanted = "the minority acknowledged no write"
    run = fails(lab, console, "partition", lambda one: function("partition")(one, minority=False), wanted)
    assert [one.text for one in run.requirements if not one.ok] == [wanted]
