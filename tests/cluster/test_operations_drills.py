"""Drills of operations for which one control plane is enough, each with its negative control: minutes each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drilling import fails, function, passes

from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario.lab import Lab

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 1, "workers": 2}


@pytest.mark.parametrize("name", ["access", "images", "certificates"])
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    passes(lab, console, name)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        pytest.param(
            "access", lambda lab: function("access")(lab, guarded=False),
            "not the Secret of a pod of another node: 403", id="access: a Role for all nodes",
        ),
        pytest.param(
            "images", lambda lab: function("images")(lab, loaded=False),
            "the new version is rolled out", id="images: nobody loads it",
        ),
        pytest.param(
            "images", lambda lab: function("images")(lab, pointed=False),
            "the version that no node had is rolled out", id="images: no node asks the lab's registry",
        ),
        pytest.param(
            "certificates", lambda lab: function("certificates")(lab, renewed=False),
            "is trusted", id="certificates: nobody renews them",
        ),
    ],
)  # fmt: skip
def test_without_its_remedy_it_fails(
    lab: Cluster, console: Console, name: str, body: Callable[[Lab], None], reason: str
) -> None:
    fails(lab, console, name, body, reason)
