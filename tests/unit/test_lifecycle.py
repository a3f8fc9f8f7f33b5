"""A whole cluster off and on: who goes down when, what counts as whole again, and what is said to other tasks."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import whole_world
from fake_node import Call, FakeNode
from whole_world import World, whole_as_of

from kubedrill import commands, insights, lifecycle, load, operations, registries, status
from kubedrill.console import Console
from kubedrill.errors import Busy, KubedrillError, NotFound, TimedOut
from kubedrill.journal import Journal, Owner
from kubedrill.shell import Result

world = whole_world.world  # a fixture
WORKERS, PLANES, BALANCER = {"worker-1", "worker-2"}, {f"control-plane-{n}" for n in (1, 2, 3)}, {"load-balancer"}


class TestOrder:
    def test_down_from_the_leaves_and_up_from_the_root(self, world: World) -> None:
        lifecycle.stop(world.cluster, Console())
        down = [name for _, name in world.happened("stop")]
        assert [set(down[:2]), set(down[2:5]), set(down[5:])] == [WORKERS, PLANES, BALANCER]
        lifecycle.start(world.cluster, Console())
        up = [name for _, name in world.happened("start")]
        assert [set(up[:1]), set(up[1:4]), set(up[4:])] == [BALANCER, PLANES, WORKERS]

    def test_members_of_etcd_start_one_after_another_each_once_the_one_before_serves(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that has started and does not serve yet costs those that ask it 7 s."""
        monkeypatch.setattr(lifecycle, "_ETCD", 0.05)
        silent = {"lab-control-plane-2"}

        def answer(node: FakeNode, call: Call) -> Result | None:
            return Result(7, "", "") if "2381" in call.line and node.name in silent else None

        world.provider.script = answer
        lifecycle.stop(world.cluster, Console())
        world.provider.events.clear()
        lifecycle.start(world.cluster, Console())
        planes = [
            (event[0], event[1].removeprefix("lab-control-plane-")) for event in world.provider.events
            if "control-plane" in event[1] and (event[0] == "start" or (event[0] == "run" and "2381" in event[-1]))
        ]  # fmt: skip
        assert [one for one, before in zip(planes, [("", ""), *planes], strict=False) if one != before] == [
            ("start", "1"), ("run", "1"), ("start", "2"), ("run", "2"), ("start", "3"),
        ]  # fmt: skip

    def test_one_that_cannot_does_not_keep_the_others(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        stop = FakeNode.stop

        def refuse(node: FakeNode) -> None:
            if node.name == "lab-worker-1":
                raise KubedrillError("it will not")
            stop(node)

        monkeypatch.setattr(FakeNode, "stop", refuse)
        with pytest.raises(KubedrillError) as caught:
            lifecycle.stop(world.cluster, Console())
        assert caught.value.evidence == ("lab-worker-1: it will not",)
        assert world.happened("stop") == [("stop", "worker-2")], "nobody pulls the root away then"
        started = [event[1] for event in world.provider.events if event[-1] == "systemctl start kubelet"]
        assert set(started) == {"lab-worker-1"}, "it runs on, so its kubelet does"

    def test_coredns_need_not_serve_for_its_five_seconds_where_all_go_off(self, world: World) -> None:
        """The kubelet, which would start it again, goes first; a node that answers nothing is stopped all the same."""

        def answer(node: FakeNode, call: Call) -> Result | None:
            if "coredns" in call.line and node.name == "lab-worker-2":
                raise NotFound("it does not run")
            return Result(1, "", "") if "coredns" in call.line else None

        world.provider.script = answer
        lifecycle.stop(world.cluster, Console())
        of_one = [
            event for event in world.provider.events if event[1] == "lab-worker-1" and event[0] in ("run", "stop")
        ]
        assert [event[0] for event in of_one] == ["run", "stop"]
        assert of_one[0][-1].index("stop kubelet") < of_one[0][-1].index("-x coredns")
        assert "lab-load-balancer" not in [event[1] for event in world.provider.events if "coredns" in event[-1]]
        assert world.states() == {"stopped"}

    def test_a_cluster_that_lacks_nodes_is_not_started(self, world: World) -> None:
        world.provider.node("lab-worker-2").remove()
        with pytest.raises(NotFound, match=r"5 of 6 nodes.*(\n.*)*invoke up --name lab"):
            lifecycle.start(world.cluster, Console())


class TestWhole:
    NAMES = tuple(whole_as_of(0).heartbeats)

    def test_what_is_only_remembered_does_not_count(self) -> None:
        ok, why = lifecycle.is_whole(whole_as_of(99), self.NAMES, self.NAMES, since=100.7)
        assert not ok
        assert "not heard of since: lab-control-plane-1" in why
        assert "not started again yet: p-lab-control-plane-1" in why
        assert lifecycle.is_whole(whole_as_of(101), self.NAMES, self.NAMES, since=100.7)[0]

    def test_a_pod_s_second_is_the_one_of_the_start(self) -> None:
        """Kubernetes knows whole seconds only: what started 0.2 s after the boot is dated 0.7 s before it."""
        seen = replace(whole_as_of(100), heartbeats=dict.fromkeys(self.NAMES, 101.0))
        assert lifecycle.is_whole(seen, self.NAMES, self.NAMES, since=100.7)[0]

    def test_nodes_that_were_not_off_need_not_be_new(self) -> None:
        assert lifecycle.is_whole(whole_as_of(1), self.NAMES, (), since=100)[0]
        seen = whole_as_of(1)
        seen = replace(seen, heartbeats={**seen.heartbeats, "lab-worker-1": 101},
                       pods=tuple(replace(pod, started=101) if pod.node == "lab-worker-1" else pod
                                  for pod in seen.pods))  # fmt: skip
        assert lifecycle.is_whole(seen, self.NAMES, ("lab-worker-1",), since=100)[0]
        assert not lifecycle.is_whole(seen, self.NAMES, ("lab-worker-2",), since=100)[0]

    def test_a_node_that_was_paused_is_heard_of_again_but_what_runs_in_it_goes_on(self) -> None:
        seen = replace(whole_as_of(1), leaders=dict.fromkeys(whole_as_of(1).leaders, 101.0))
        ok, why = lifecycle.is_whole(seen, self.NAMES, (), 100, ("lab-worker-1", "lab-load-balancer"))
        assert (ok, why) == (False, "not heard of since: lab-worker-1")
        seen = replace(seen, heartbeats={**seen.heartbeats, "lab-worker-1": 101})
        assert lifecycle.is_whole(seen, self.NAMES, (), 100, ("lab-worker-1", "lab-load-balancer"))[0]
        assert not lifecycle.is_whole(seen, self.NAMES, ("lab-worker-1",), 100)[0], "one that was off has started them"

    def test_after_a_pause_somebody_must_lead(self) -> None:
        """One that was frozen for longer than its lease allows ends itself: nobody schedules until another leads."""
        seen = replace(whole_as_of(101), leaders={"kube-controller-manager": 101.0, "kube-scheduler": 99.0})
        ok, why = lifecycle.is_whole(seen, self.NAMES, (), 100, self.NAMES)
        assert (ok, why) == (False, "no leader since: kube-scheduler")
        assert lifecycle.is_whole(seen, self.NAMES, self.NAMES, 100)[0], "no start waits for a lease to run out"
        assert lifecycle.is_whole(replace(seen, leaders={}), self.NAMES, (), 100, self.NAMES)[0], "they elect none"

    @pytest.mark.parametrize(
        ("change", "ok"),
        [({"ready": False}, False), ({"ready": False, "phase": "Succeeded"}, True),
         ({"ready": False, "deleting": True}, True), ({"ready": True}, True),
         ({"ready": False, "owner": "Node/lab-worker-1"}, True), ({"owner": "Node/x", "started": 99.0}, False)],
    )  # fmt: skip
    def test_each_pod_of_the_system_must_be_ready_unless_it_has_ended(self, change: dict[str, Any], ok: bool) -> None:
        seen = whole_as_of(101)
        first, *others = seen.pods
        seen = replace(seen, pods=(replace(first, **change), *others))
        assert lifecycle.is_whole(seen, self.NAMES, self.NAMES, since=100)[0] is ok

    def test_a_node_that_is_not_ready(self) -> None:
        seen = whole_as_of(101)
        first, *others = seen.cluster.nodes
        nodes = (replace(first, ready=False, why="no network"), *others)
        seen = replace(seen, cluster=replace(seen.cluster, nodes=nodes))
        ok, why = lifecycle.is_whole(seen, self.NAMES, self.NAMES, since=100)
        assert (ok, "no network" in why) == (False, True)

    def test_a_start_that_leads_nowhere_says_what_is_missing(self, world: World) -> None:
        lifecycle.stop(world.cluster, Console())
        world.seen = whole_as_of(1)
        with pytest.raises(TimedOut, match="not heard of since"):
            lifecycle.whole(world.cluster, Console(), within=0.05)
        world.seen = None
        with pytest.raises(TimedOut, match="connection refused"):
            lifecycle.whole(world.cluster, Console(), within=0.05)

    def test_a_resume_after_which_all_is_only_remembered_says_what_is_missing(self, world: World) -> None:
        """Also where `start` and `up` find a node that is paused."""
        world.seen = whole_as_of(1)
        missing = "not heard of since: lab-control-plane-1, .*; no leader since: kube-controller-manager, kube-sch"
        for go_on in (lifecycle.whole_after_pause, lifecycle.whole):
            lifecycle.pause(world.cluster, Console())
            with pytest.raises(TimedOut, match=missing):
                go_on(world.cluster, Console(), within=0.05)
            assert world.states() == {"running"}
        assert not lifecycle.whole_after_pause(world.cluster, Console(), within=0.05), "nothing was paused"

    def test_what_was_said_before_the_resume_does_not_count(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:  # fmt: skip
        """The moment that counts is one before the first node goes on, for what it says at once."""
        lifecycle.pause(world.cluster, Console())
        resume = FakeNode.resume

        def resumed(node: FakeNode) -> None:
            resume(node)
            world.seen = whole_as_of(time.time())

        monkeypatch.setattr(FakeNode, "resume", resumed)
        assert lifecycle.whole_after_pause(world.cluster, Console(), within=0.05)


class TestTasks:
    def test_stop_and_start(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        operations.stop(Console(), "lab")
        assert world.states() == {"stopped"}
        operations.stop(Console(), "lab")
        operations.start(Console(), "lab")
        assert world.states() == {"running"}
        operations.start(Console(), "lab")
        said = capsys.readouterr().out
        for text in ("lab is stopped; it goes on with: invoke start", "stopped already", "is up again", "runs already"):
            assert text in said

    def test_pause_and_resume(self, world: World) -> None:
        operations.pause(Console(), "lab")
        operations.pause(Console(), "lab")
        assert world.states() == {"paused"}
        operations.resume(Console(), "lab")
        assert world.states() == {"running"}
        operations.resume(Console(), "lab")

    def test_what_is_stopped_is_neither_paused_nor_resumed(self, world: World) -> None:
        operations.stop(Console(), "lab")
        for task in (operations.pause, operations.resume):
            with pytest.raises(KubedrillError, match=r"the cluster lab is stopped(\n.*)*invoke start --name lab"):
                task(Console(), "lab")
        assert world.states() == {"stopped"}

    @pytest.mark.parametrize(
        "task",
        [operations.stop, operations.start, operations.pause, operations.resume,
         lambda console, name: operations.load(console, name, "an-image", registry=True),
         lambda console, name: operations.run_registry(console, name, "docker.io", "")],
        ids=["stop", "start", "pause", "resume", "load", "registry"],
    )  # fmt: skip
    def test_while_a_drill_breaks_it_it_is_left_alone(
        self, world: World, monkeypatch: pytest.MonkeyPatch, task: Any
    ) -> None:
        notes = Journal.of("lab")
        entry = notes.entry("0badcafe", "kill the node lab-worker-1", "", (), ())
        notes.write(replace(entry, owner=replace(entry.owner, pid=1)))
        monkeypatch.setattr(Owner, "is_alive", lambda _: True)
        with pytest.raises(Busy, match="kill the node lab-worker-1"):
            task(Console(), "lab")
        assert world.happened("stop", "start", "pause", "resume") == []

    def test_registries_and_images_are_brought_by_one_at_a_time(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a task does while it has the cluster, another one is refused."""
        refused: list[str] = []

        def meanwhile(*_: object) -> SimpleNamespace:
            for task in (
                lambda: operations.run_registry(Console(), "lab", "quay.io", ""),
                lambda: operations.load(Console(), "lab", "an-image", registry=False),
            ):
                with pytest.raises(Busy, match="at work on the cluster 'lab'"):
                    task()
                refused.append("one")
            return SimpleNamespace(url="http://172.28.0.2:5001", upstream="https://docker.io")

        monkeypatch.setattr(registries, "mirror", meanwhile)
        monkeypatch.setattr(load, "load", meanwhile)
        operations.run_registry(Console(), "lab", "docker.io", "")
        operations.load(Console(), "lab", "an-image", registry=True)
        assert len(refused) == 4

    @pytest.mark.parametrize(("off", "back"), [(operations.stop, "start"), (operations.pause, "resume")])
    def test_other_tasks_say_what_to_do(self, world: World, off: Any, back: str) -> None:
        off(Console(), "lab")
        for task in (
            lambda: commands.execute(Console(), "lab", "worker-1", "true"),
            lambda: commands.open_shell(Console(), "lab", "worker-1"),
            lambda: operations.load(Console(), "lab", "an-image", registry=False),
            lambda: operations.run_registry(Console(), "lab", "", ""),
            lambda: insights.addons(Console(), "lab", remove=False),
        ):
            with pytest.raises(KubedrillError, match=f"invoke {back} --name lab"):
                task()

    @pytest.mark.parametrize(
        ("off", "states", "told"),
        [(operations.stop, {"stopped"}, "stopped (run: invoke start --name lab)"),
         (operations.pause, {"paused"}, "paused (run: invoke resume --name lab)")],
    )  # fmt: skip
    def test_status(
        self, world: World, capsys: pytest.CaptureFixture[str], off: Any, states: set[str], told: str
    ) -> None:
        off(Console(), "lab")
        capsys.readouterr()
        assert commands.status(Console(), "lab", as_json=True) == 1
        (found,) = json.loads(capsys.readouterr().out)
        assert found["api"] == told
        assert {node["state"] for node in found["nodes"]} == states

    def test_status_where_only_the_entrance_is_off(self, world: World) -> None:
        world.provider.node("lab-load-balancer").stop()
        assert status.of(world.cluster).api == "lab-load-balancer is stopped (run: invoke start --name lab)"
        world.provider.node("lab-load-balancer").start()
        assert status.of(world.cluster).healthy
