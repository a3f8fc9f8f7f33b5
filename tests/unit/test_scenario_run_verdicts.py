"""A run from its first line to report.json: which verdict it ends with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import run_world
from fake_node import Call
from run_world import KUBELET, World, engine_gone, good

from kubedrill import history
from kubedrill.errors import KubedrillError, TimedOut
from kubedrill.faults import LeftOut
from kubedrill.history import Requirement
from kubedrill.journal import Journal
from kubedrill.probes import manifest
from kubedrill.scenario import workload
from kubedrill.scenario.lab import Lab
from kubedrill.shell import Result
from kubedrill.trends import records

world = run_world.world  # a fixture


def unseen(lab: Lab) -> None:
    """Something is not seen."""
    lab.baseline(0)
    with lab.fault(KUBELET):
        lab.expect("the API answers", lambda: 1, lambda _: (False, "refused"), within=5)


def unmet(lab: Lab) -> None:
    """Something is not met."""
    lab.baseline(0)
    lab.require("no write is lost", False, "2 lost")


def empty(lab: Lab) -> None:
    """Nothing is required."""
    lab.baseline(0)


def unsampled(lab: Lab) -> None:
    """Nothing is sampled."""
    lab.require("one is one", True, 1)


def no_assumption(lab: Lab) -> None:
    """An assumption does not hold."""
    lab.assume_true("there are two pods", False, "1")


def refused(lab: Lab) -> None:
    """A fault is refused: what it breaks is broken already."""
    lab.baseline(0)
    with lab.fault(KUBELET), lab.fault(KUBELET):
        lab.require("not reached", False, "reached")


def broken_off(lab: Lab) -> None:
    """The drill itself fails."""
    lab.baseline(0)
    lab.require("no write is lost", False, "2 lost")
    raise KubedrillError("the engine is gone")


class TestVerdicts:
    def test_a_drill_that_passes(self, world: World) -> None:
        done, folder = world.run(good)
        assert (done.verdict, done.reason) == ("passed", "1 requirements met")
        assert world.did == [
            "clear", "sample", "stop", "start", "stop sampling", "fetch", "look", "fetch", "page of 1 lanes",
            "index of all", "clear",
        ]  # fmt: skip
        assert history.load(folder) == done
        assert not (folder / "logs").exists()

    def test_its_figures_are_recorded(self, world: World) -> None:
        world.cluster = replace(world.cluster, source="packages")
        done, _ = world.run(good)
        (record,) = records.read()
        assert record == records.of_run(done, ("packages",))
        assert (record.name, record.verdict) == (done.drill, "passed")
        assert "it is broken" in record.figures

    @pytest.mark.parametrize(
        ("body", "judged", "reason"),
        [
            (unseen, "failed", "the API answers: not within 5 s"),
            (unmet, "failed", "not met: no write is lost: 2 lost"),
            (empty, "inconclusive", "the drill required nothing"),
            (unsampled, "inconclusive", "nothing was sampled"),
            (no_assumption, "inconclusive", "there are two pods: 1"),
            (refused, "inconclusive", "refused: this fault cannot be injected"),
            (broken_off, "inconclusive", "the drill broke off: the engine is gone"),
        ],
    )
    def test_one_that_does_not(
        self, world: World, body: Callable[[Lab], None], judged: str, reason: str
    ) -> None:  # fmt: skip
        done, folder = world.run(body)
        assert (done.verdict, done.reason[: len(reason)]) == (judged, reason)
        assert history.load(folder) == done
        assert (folder / "logs").is_dir()
        assert world.did[-6:] == ["look", "fetch", "logs", *world.did[-3:-2], "index of all", "clear"]
        assert world.did[-3].startswith("page of")
        assert not world.stopped
        assert Journal.of("lab").is_empty()

    def test_one_that_broke_off_while_the_host_had_the_cores(self, world: World) -> None:
        world.taken = "the host had them"
        done, _ = world.run(broken_off)
        assert done.reason == done.ended == "the drill broke off: the engine is gone (the host had them)"

    @pytest.mark.parametrize("body", [good, unseen, unmet])
    def test_a_broken_probe_wins(self, world: World, body: Callable[[Lab], None]) -> None:
        world.doubts, world.late = ["the probe of watch broke: KeyError"], ["api-read: 3 samples, 30 are needed"]
        done, _ = world.run(body)
        assert (done.verdict, done.reason) == ("inconclusive", "; ".join(world.doubts + world.late))

    @pytest.mark.parametrize("body", [good, unseen, unmet])
    def test_samples_that_came_late_win(self, world: World, body: Callable[[Lab], None]) -> None:
        world.late = ["api-read: 3 samples, 30 are needed"]
        done, _ = world.run(body)
        assert (done.verdict, done.reason) == ("inconclusive", "api-read: 3 samples, 30 are needed")

    @pytest.mark.parametrize(
        ("rule", "judged", "reason"),
        [
            ({"kind": "writes", "proven": True}, "failed", "not met: the requirement: as measured"),
            ({"kind": "gap"}, "inconclusive", "full cores"),
        ],
    )
    def test_full_cores_excuse_what_was_late_and_no_fact(
        self, world: World, rule: dict[str, Any], judged: str, reason: str
    ) -> None:
        def body(lab: Lab) -> None:
            """Misses a limit, and another requirement."""
            lab.baseline(0)
            lab.requirements.append(Requirement("the requirement", "as measured", False, rule))
            lab.excuses.append("full cores")

        done, _ = world.run(body)
        assert (done.verdict, done.reason) == (judged, reason)

    @pytest.mark.parametrize("body", [good, unmet])
    def test_a_cluster_that_is_not_healthy_afterwards(self, world: World, body: Callable[[Lab], None]) -> None:
        world.healthy = False
        done, folder = world.run(body)
        assert done.verdict == "inconclusive"
        assert done.reason.startswith("the cluster is not healthy after the drill: last seen: answers")
        assert done.events == ()
        assert history.load(folder) == done

    def test_a_lane_that_never_works(self, world: World) -> None:
        world.answers = False
        done, _ = world.run(good)
        assert (done.verdict, done.reason) == ("inconclusive", "before any fault nothing succeeded on: api-read")
        assert done.faults == ()
        assert "stop sampling" in world.did

    def test_what_is_sampled_cannot_be_set_up(self, world: World) -> None:
        world.broken = lambda call: Result(1, "", "no room") if call.line == "kubectl apply -f -" else None
        done, folder = world.run(good)
        assert done.verdict == "inconclusive"
        assert done.reason.startswith("the drill broke off: a command failed on lab-control-plane-1")
        assert (done.lanes, done.figures) == ((), ())
        assert history.load(folder) == done

    def test_a_heal_that_fails(self, world: World) -> None:
        world.broken = engine_gone
        done, _ = world.run(good)
        assert done.verdict == "inconclusive"
        assert done.reason.startswith("the heal failed: could not heal: stop kubelet on worker-1")
        assert "the engine is gone" in done.reason
        assert [span.healed for span in done.faults] == [None]
        assert not Journal.of("lab").is_empty()

    def test_a_heal_that_fails_for_good_has_no_excuse(self, world: World) -> None:
        world.broken, world.taken = engine_gone, "cores were full"
        done, _ = world.run(good)
        assert "cores were full" not in done.reason

    @pytest.mark.parametrize(
        ("full", "error", "excused"),
        [
            ("cores were full", TimedOut("too late"), True),
            ("", TimedOut("too late"), False),
            ("cores were full", KubedrillError("no"), False),
        ],
    )
    def test_a_heal_that_works_at_the_second_try(
        self, world: World, full: str, error: KubedrillError, excused: bool
    ) -> None:
        tries: list[Call] = []

        def once(call: Call) -> Result | None:
            if call.line == "systemctl start kubelet" and not tries:
                tries.append(call)
                raise error
            return None

        world.broken, world.taken = once, full
        done, _ = world.run(good)
        assert done.verdict == "inconclusive"
        assert done.reason == done.ended
        assert done.reason.endswith("; the second try mended it (cores were full)") is excused
        assert Journal.of("lab").is_empty()

    def test_a_heal_that_was_left_out_is_made_up_for_before_the_cluster_is_looked_at(self, world: World) -> None:
        def body(lab: Lab) -> None:
            lab.baseline(0)
            with lab.fault(LeftOut(KUBELET)):
                pass
            lab.require("it is mended", not world.stopped, "it is not")

        done, _ = world.run(body)
        assert (done.verdict, done.reason) == ("failed", "not met: it is mended: it is not")
        assert world.did[:6] == ["clear", "sample", "stop", "stop sampling", "start", "look"]
        assert Journal.of("lab").is_empty()

    def test_pods_go_before_their_namespaces(self, world: World) -> None:
        deleted: list[tuple[str, ...]] = []

        def note(call: Call) -> None:
            if call.argv[:2] == ("kubectl", "delete"):
                deleted.append(call.argv[2:])

        world.broken = note
        world.run(good)
        own, probe, both = deleted[:3]
        assert deleted == [own, probe, both] * 2, "before the drill and after it"
        for kinds, namespace in ((own, workload.NAMESPACE), (probe, manifest.NAMESPACE)):
            assert {"pods", "deployments", "daemonsets"} < set(kinds[0].split(","))
            assert kinds[kinds.index("--namespace") + 1] == namespace
        assert both[:3] == ("namespace", workload.NAMESPACE, manifest.NAMESPACE)

    def test_what_cannot_be_cleared_costs_no_verdict(self, world: World) -> None:
        world.broken = lambda call: Result(1, "", "timed out") if "delete" in call.argv else None
        done, _ = world.run(good)
        assert done.verdict == "passed"
