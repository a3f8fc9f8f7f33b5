"""A drill on slow nodes."""

from __future__ import annotations

from typing import Any

import lab_world
import pytest
import yaml
from lab_world import Make, World, at_least

from kubedrill.scenario import workload
from kubedrill.scenario.judge import Untrustworthy

make, world = lab_world.make, lab_world.world  # fixtures


class TestSlowNodes:
    """What is too slow to judge is inconclusive: never passed, never failed."""

    @pytest.fixture
    def slow(self, make: Make) -> World:
        return make(slow=17.0)

    def test_limits_are_longer(self, slow: World) -> None:
        assert slow.lab.patience == 6
        slow.lab.expect("it is late", slow.clock.monotonic, at_least(100), within=20)

    def test_what_is_never_seen_says_nothing_of_the_cluster(self, slow: World) -> None:
        slow.narrator.enter("fault")
        with pytest.raises(Untrustworthy, match="17 times slower"):
            slow.lab.expect("it comes", lambda: 0, at_least(1), within=1)

    def test_time_passes_so_much_longer(self, slow: World) -> None:
        before = slow.clock.monotonic()
        slow.lab.hold(2)
        assert slow.clock.monotonic() - before >= 34

    def test_a_limit_of_time_that_is_not_met_is_a_doubt(self, slow: World) -> None:
        slow.monitor.gaps = ((1.0, 9.0),)
        slow.lab.require_downtime("service", 2)
        (doubt,) = slow.lab.excuses
        assert "17 times slower" in doubt
        assert "longest gap" in doubt, "with the figure"

    def test_what_was_lost_is_lost_on_slow_nodes_too(self, slow: World) -> None:
        slow.lab.require("it is there", False, "nothing")
        slow.lab.require_downtime("service", 2)
        assert slow.lab.excuses == []

    def test_the_report_tells_it(self, slow: World, world: World) -> None:
        assert slow.lab.facts["nodes are slower than real hardware"] == "17 times"
        assert world.lab.facts == {}

    def container(self, world: World) -> dict[str, Any]:
        """The container of the Deployment that was applied."""
        (text,) = (call.stdin for call in world.provider.node("lab-control-plane-1").calls if call.stdin)
        found = next(one for one in yaml.safe_load_all(text) if one["kind"] == "Deployment")
        container: dict[str, Any] = found["spec"]["template"]["spec"]["containers"][0]
        return container

    def test_its_pods_have_more_time(self, slow: World, world: World) -> None:
        given = workload.deployment("hello", 1)
        for one in (world, slow):
            one.lab.apply(given, workload.service("hello"))
        usual, patient = self.container(world), self.container(slow)
        assert usual["readinessProbe"]["periodSeconds"] == 1
        assert (patient["readinessProbe"]["periodSeconds"], patient["readinessProbe"]["timeoutSeconds"]) == (9, 17)
        assert given["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] == 1
