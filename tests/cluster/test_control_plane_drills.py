"""Drills of static pods, of a change of configuration and of DNS, each with its negative controls: minutes each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drilling import fails, function, passes

from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.scenario.lab import Lab

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 3, "workers": 2}


@pytest.mark.parametrize("name", ["static-pods", "configuration-change", "dns"])
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    passes(lab, console, name)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        pytest.param(
            "static-pods", lambda lab: function("static-pods")(lab, static=False),
            "the mirror pod is back", id="static-pods: a plain pod",
        ),
        pytest.param(
            "configuration-change", lambda lab: function("configuration-change")(lab, at_once=True),
            "never two away at a time", id="configuration-change: all at once",
        ),
        pytest.param(
            "dns", lambda lab: function("dns")(lab, alone=True),
            "DNS from inside a pod: no gap longer than", id="dns: one pod, and it dies",
        ),
        pytest.param(
            "dns", lambda lab: function("dns")(lab, mended=False),
            "finds the name again", id="dns: the Corefile is not mended",
        ),
    ],
)  # fmt: skip
def test_without_its_remedy_it_fails(
    lab: Cluster, console: Console, name: str, body: Callable[[Lab], None], reason: str
) -> None:
    fails(lab, console, name, body, reason)
