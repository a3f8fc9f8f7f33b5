"""The drills on a real cluster, and for each its negative control: with the remedy taken away it must fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from drilling import DRILLS, control, function
from verdicts import demand

from kubedrill import history, linearizability
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.faults import DropForward, LeftOut
from kubedrill.history import Run
from kubedrill.scenario import Scenario, runner
from kubedrill.scenario.lab import Lab, names
from kubedrill.scenario.rejudge import rejudge

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
# One cluster that fits all of them: three control planes, and the short grace period of node-failure.
SPEC = {"controlPlanes": 3, "workers": 2, "extraArgs": DRILLS["node-failure"].needs["extraArgs"]}
Drilled = Callable[[Scenario], tuple[Run, Path]]


@pytest.fixture(scope="module")
def drilled(lab: Cluster, console: Console) -> Drilled:
    """Run a drill on the module's cluster."""
    return lambda drill: runner.run(drill, lab, console)


@pytest.mark.parametrize(
    "name",
    [
        "hello", "drain", "node-failure", "pod-network", "ha-failover",
        pytest.param("cold-restart", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_the_drill_passes(drilled: Drilled, name: str) -> None:
    passes(drilled, name)


def passes(drilled: Drilled, name: str) -> None:
    """Run a drill, which must pass, and look at what it left."""
    run, folder = drilled(DRILLS[name])
    demand(run, "passed")
    assert {phase.name for phase in run.phases} >= {"assumptions", "baseline", "verify"}
    assert all(figures.samples > 30 for figures in run.figures)
    assert history.load(folder) == run
    assert (folder / "junit.xml").exists()
    assert (folder / "index.html").stat().st_size > 100_000
    assert "api-write" in {lane.name for lane in run.lanes}


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        pytest.param(
            "hello", lambda lab: function("hello")(lab, DropForward(tuple(names(lab.workers())))),
            "nping from pod to pod", id="hello: the pod network is broken",
        ),
        pytest.param(
            "drain", lambda lab: function("drain")(lab, replicas=1, at_least=0, linger="0s"),
            "no failed request", id="drain: one replica, no budget, and it ends at once",
        ),
        pytest.param(
            "node-failure", lambda lab: function("node-failure")(lab, grace=20, tolerate=5, replicas=1),
            "no gap longer than 5 s", id="node-failure: one replica",
        ),
        pytest.param(
            "pod-network",
            lambda lab: function("pod-network")(lab, LeftOut(DropForward(tuple(names(lab.workers()))))),
            "pod reaches pod again", id="pod-network: the heal is left out",
        ),
        pytest.param(
            "ha-failover", lambda lab: function("ha-failover")(lab, balanced=False),
            "itself: no gap longer than 3 s", id="ha-failover: no balancer",
        ),
    ],
)  # fmt: skip
def test_without_its_remedy_it_fails(drilled: Drilled, name: str, body: Callable[[Lab], None], reason: str) -> None:
    run, folder = drilled(control(name, body))
    demand(run, "failed")
    assert reason in run.reason
    assert list((folder / "logs").iterdir()), "the logs of all nodes are kept when it does not pass"


def test_a_saved_run_is_judged_again_the_same(drilled: Drilled) -> None:
    folder = sorted(runner.runs().glob("*-ha-failover"))[-1]
    saved, again = rejudge(folder)
    demand(saved, "passed")
    assert again.verdict == "passed"
    assert [one.measured for one in again.requirements] == [one.measured for one in saved.requirements]


def copied(folder: Path) -> Path:
    """A copy of the newest run of ha-failover, to be doctored."""
    source = sorted(runner.runs().glob("*-ha-failover"))[-1]
    demand(history.load(source), "passed")
    copy = folder / "run"
    (copy / "samples").mkdir(parents=True)
    kept = [source / name for name in ("report.json", "writes-found.json", linearizability.FILE)]
    for file in [*kept, *(source / "samples").iterdir()]:
        (copy / file.relative_to(source)).write_bytes(file.read_bytes())
    return copy


def test_a_lost_write_in_a_saved_run_is_noticed(tmp_path: Path, drilled: Drilled) -> None:
    """The same run, with one acknowledged write taken out of what the store held at the end."""
    copy = copied(tmp_path)
    found = json.loads((copy / "writes-found.json").read_text())
    acknowledged = {
        int(sample.detail.split()[0].removeprefix("#"))
        for sample in history.read_samples(copy, "api-write")
        if sample.outcome == "ok"
    }
    slot = next(name for name, numbers in found.items() if set(numbers) & acknowledged)
    found[slot].remove(next(number for number in found[slot] if number in acknowledged))
    (copy / "writes-found.json").write_text(json.dumps(found))
    _, again = rejudge(copy)
    assert again.verdict == "failed"
    assert "1 lost" in again.reason


def test_a_stale_read_in_a_saved_run_is_noticed(tmp_path: Path, drilled: Drilled) -> None:
    """The same run, with the last read of a control plane's own API answered from the past: no write is lost."""
    copy = copied(tmp_path)
    operations = list(linearizability.load(copy))
    reads = [
        number for number, one in enumerate(operations) if one.kind == "read" and one.client == "cp-1" and one.revision
    ]
    stale = operations[reads[-1]]
    past = next(operations[number] for number in reads if operations[number].key == stale.key)
    assert past.end < stale.start
    assert past.seen != stale.seen
    operations[reads[-1]] = replace(stale, seen=past.seen)
    linearizability.save(operations, copy)
    _, again = rejudge(copy)
    assert again.verdict == "failed"
    assert f"a read that saw '{past.seen}' (cp-1," in again.reason


@pytest.mark.minutes(40)
def test_the_control_plane_runs_on_itself(drilled: Drilled) -> None:
    """The longest one comes last: 10 minutes on a machine with time to spare, 34 were seen on one without."""
    passes(drilled, "selfhosting")
