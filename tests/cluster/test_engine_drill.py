"""Docker's engine itself stopped and started under a cluster, where it is kubedrill's to stop.

Nothing else may run in it then. The clusters of other modules are up for those alone, and whatever else runs here, for
example a cluster that somebody works with, is a reason to skip.
"""

from __future__ import annotations

import pytest
from drilling import DRILLS, fails, function, passes

from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
NAME = "cold-restart-engine"
SPEC = dict(DRILLS[NAME].needs)


@pytest.fixture(autouse=True)
def may_be_stopped(lab: Cluster) -> None:
    """Skip where it may not, with the drill's own reason."""
    if why := function(NAME).__globals__["why_not"](lab):
        pytest.skip(why)


def test_the_drill_passes(lab: Cluster, console: Console) -> None:
    run = passes(lab, console, NAME)
    assert [one.ok for one in run.requirements if "the API is back within" in one.text] == [True, True, True]
    assert run.faults[-1].name == "engine off"


def test_a_node_that_the_engine_does_not_start_again_is_noticed_and_started(
    lab: Cluster, place: Lab, console: Console
) -> None:
    plane = lab.node("control-plane-1").name
    place.engine.act("update_container", plane, restart_policy={"Name": "no"})
    try:
        run = fails(lab, console, NAME, lambda one: function(NAME)(one, engine=True), "the API answers")
    finally:
        place.engine.act("update_container", plane, restart_policy={"Name": "unless-stopped"})
    # Both restarts before were well: those do not depend on the engine.
    assert [one.ok for one in run.requirements if "the API is back within" in one.text] == [True, True]
    assert (run.faults[-1].name, run.faults[-1].healed is not None) == ("engine off", True)
