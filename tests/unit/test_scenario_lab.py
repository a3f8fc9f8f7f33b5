"""What a drill gets: phases, expectations and faults, on nodes and with a clock that live in memory."""

from __future__ import annotations

import math
from typing import Any, cast

import lab_world
import pytest
from lab_world import OTHER, WORKER, FakeKube, Make, World, at_least

from kubedrill.errors import CommandFailed, KubedrillError, NotFound, TimedOut
from kubedrill.faults import FaultRefused, HealFailed, KillNode, LeftOut, Target
from kubedrill.faults.perform import NoControlPlane
from kubedrill.faults.targets import NoTarget
from kubedrill.history import FaultSpan
from kubedrill.kube import ApiUnavailable
from kubedrill.scenario import resolving, workload
from kubedrill.scenario.judge import Unmet, Untrustworthy
from kubedrill.scenario.lab import names
from kubedrill.scenario.resolving import Told
from kubedrill.shell import Result

make, world = lab_world.make, lab_world.world  # fixtures


class TestExpect:
    def test_gives_what_was_read_and_tells_how_long_it_took(self, world: World) -> None:
        world.clock.time = 3
        with world.lab.fault(WORKER):
            began = world.clock.time
            found = world.lab.expect("it is late", world.clock.monotonic, at_least(9), within=20, predicted=4)
        assert found >= 9
        step = next(step for step in world.narrator.steps if step.kind == "wait")
        assert (step.phase, step.text, step.expected) == ("fault", "it is late", 4)
        assert step.measured == pytest.approx(found - began)
        assert step.measured == pytest.approx(5, abs=0.21)

    def test_after_the_heal_time_counts_from_its_end(self, world: World) -> None:
        with world.lab.fault(WORKER):
            world.clock.sleep(50)
        world.clock.sleep(3)
        world.lab.expect("all is well", lambda: 1, at_least(1), within=1)
        assert [step.measured for step in world.narrator.steps if step.kind == "wait"] == [3]

    @pytest.mark.parametrize(
        ("phase", "error"),
        [("assumptions", Untrustworthy), ("baseline", Untrustworthy), ("fault", Unmet), ("converge", Unmet)],
    )
    def test_what_it_means_when_it_is_not_seen(self, world: World, phase: str, error: type[Exception]) -> None:
        world.narrator.enter(phase)
        with pytest.raises(error, match=r"^the API answers: not within 5 s .*last seen: 0$"):
            world.lab.expect("the API answers", lambda: 0, at_least(1), within=5)
        assert world.kinds()[-1] == (phase, "fail", "the API answers: not seen within 5 s; last seen: 0")
        assert world.clock.time == pytest.approx(5)

    @pytest.mark.parametrize(("away", "error"), [((0, 9), Untrustworthy), ((2, 9), Unmet), ((0, 4), Unmet)])
    def test_the_host_had_the_cores_all_the_time(
        self, world: World, away: tuple[float, float], error: type[Exception]
    ) -> None:
        world.narrator.enter("fault")
        world.monitor.cores.away = away
        with pytest.raises(
            error, match=r"last seen: 0" + (r" \(the host had them\)$" if error is Untrustworthy else "$")
        ):
            world.lab.expect("the API answers", lambda: 0, at_least(1), within=5)

    @pytest.mark.parametrize(
        "error",
        [
            ApiUnavailable("refused"),
            CommandFailed("kubectl get pods", 1, "refused", "lab-control-plane-1"),
            NotFound("no control plane runs"),
            NoControlPlane("no control plane runs"),
            NoTarget("etcd names no leader"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_a_broken_cluster_answers_means_not_yet(self, world: World, error: KubedrillError) -> None:
        answers: list[KubedrillError | int] = [error, error, 7]

        def read() -> int:
            answer = answers.pop(0)
            if isinstance(answer, KubedrillError):
                raise answer
            return answer

        assert world.lab.expect("it answers", read, at_least(7), within=5) == 7
        assert answers == []

    def test_an_error_of_another_kind_is_not_waited_for(self, world: World) -> None:
        def read() -> int:
            raise KubedrillError("the engine is gone")

        with pytest.raises(KubedrillError, match="the engine is gone"):
            world.lab.expect("it answers", read, at_least(7), within=5)
        assert world.clock.time == 0

    def test_a_line_now_and_then_while_it_waits(self, world: World) -> None:
        world.narrator.enter("fault")
        world.lab.expect("it is late", world.clock.monotonic, at_least(14), within=20)
        waiting = [line for line in world.told if "..." in line]
        assert len(waiting) == 2
        assert all(line.startswith("   ... it is late: ") for line in waiting)

    @pytest.mark.parametrize("phase", ["assumptions", "fault", "converge"])
    def test_an_assumption_says_nothing_of_the_cluster_in_any_phase(self, world: World, phase: str) -> None:
        world.narrator.enter(phase)
        with pytest.raises(Untrustworthy, match="two pods: not within 5 s"):
            world.lab.assume("two pods", lambda: 1, at_least(2), within=5)
        assert world.lab.assume("two pods", lambda: 2, at_least(2)) == 2

    def test_assume_true(self, world: World) -> None:
        world.lab.assume_true("different nodes", True, "a, b")
        with pytest.raises(Untrustworthy, match=r"^different nodes: a, a$"):
            world.lab.assume_true("different nodes", False, "a, a")
        assert world.kinds() == [
            ("assumptions", "say", "different nodes: a, b"), ("assumptions", "fail", "different nodes: a, a"),
        ]  # fmt: skip


class TestFault:
    def test_the_undo_is_on_disk_before_anything_breaks(self, world: World) -> None:
        with world.lab.fault(WORKER, role="runs a pod"):
            assert world.stopped == {"lab-worker-1"}
            assert not world.journal.is_empty()
        assert world.in_journal == [("lab-worker-1", 1)]
        assert world.journal.is_empty()
        assert world.stopped == set()

    def test_the_span_begins_before_the_inject_and_ends_after_the_heal(self, world: World) -> None:
        world.clock.time = 10
        with world.lab.fault(WORKER, role="runs a pod"):
            world.clock.sleep(9)
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "runs a pod", 10, 22)]
        assert world.lab.windows() == [(10, 22)]
        assert world.lab.span() == (10, 22)

    def test_the_story(self, world: World) -> None:
        with world.lab.fault(WORKER):
            world.lab.say("something happens")
        world.lab.say("and then")
        assert world.kinds() == [
            ("fault", "fault", "stop kubelet on worker-1"), ("fault", "say", "something happens"),
            ("heal", "heal", "undone: stop kubelet"), ("converge", "say", "and then"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "error", [Unmet("no answer"), IndexError("a bug"), KeyboardInterrupt()], ids=lambda error: type(error).__name__
    )
    def test_an_exception_in_the_block_heals_too(self, world: World, error: BaseException) -> None:
        with pytest.raises(type(error)) as raised, world.lab.fault(WORKER):
            raise error
        assert raised.value is error
        assert world.stopped == set()
        assert world.journal.is_empty()
        assert [span.healed for span in world.lab.spans] == [3]
        assert world.narrator.phase == "heal"

    def test_two_faults_heal_in_reverse_order(self, world: World) -> None:
        with world.lab.fault(WORKER, OTHER):
            assert world.stopped == {"lab-worker-1", "lab-worker-2"}
        assert world.in_journal == [("lab-worker-1", 1), ("lab-worker-2", 2)]
        assert world.lines("start") == [
            "lab-worker-2: systemctl start containerd", "lab-worker-1: systemctl start kubelet",
        ]  # fmt: skip
        assert world.lab.spans == [
            FaultSpan("stop kubelet", "worker-1", "", 0, 6), FaultSpan("stop containerd", "worker-2", "", 1, 6),
        ]  # fmt: skip

    def test_a_heal_that_fails(self, world: World) -> None:
        world.cannot_start("kubelet")
        with pytest.raises(HealFailed, match="the engine is gone"), world.lab.fault(WORKER):
            world.clock.sleep(5)
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "", 0, None)]
        assert not world.journal.is_empty()
        assert not [text for _, kind, text in world.kinds() if kind == "heal"]
        world.clock.time = 40
        assert world.lab.windows() == [(0, 40)]

    def test_of_two_heals_one_fails(self, world: World) -> None:
        world.cannot_start("containerd")
        with pytest.raises(HealFailed), world.lab.fault(WORKER, OTHER):
            pass
        assert [(span.target, span.healed) for span in world.lab.spans] == [("worker-1", 4), ("worker-2", None)]
        assert world.stopped == {"lab-worker-2"}
        assert ("heal", "heal", "undone: stop kubelet") in world.kinds()

    def test_a_heal_that_fails_does_not_hide_what_ended_the_block(self, world: World) -> None:
        world.cannot_start("kubelet")
        unmet = Unmet("the API answers: not within 5 s")
        with pytest.raises(HealFailed, match="the API answers: not within 5 s") as raised, world.lab.fault(WORKER):
            raise unmet
        assert raised.value.during is unmet

    def test_a_second_fault_that_is_refused_heals_the_first(self, world: World) -> None:
        world.stopped.add("lab-worker-2")
        reached = []
        with pytest.raises(FaultRefused), world.lab.fault(WORKER, OTHER):
            reached.append("the block")
        assert reached == []
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "", 0, 3)]
        assert world.journal.is_empty()
        assert world.stopped == {"lab-worker-2"}

    def test_one_whose_heal_is_left_out_is_not_called_healed(self, world: World) -> None:
        with world.lab.fault(LeftOut(WORKER)):
            pass
        assert world.lab.spans == [FaultSpan("stop kubelet", "worker-1", "", 0, None)]
        assert not [text for _, kind, text in world.kinds() if kind == "heal"]

    def test_a_computer_that_stays_down_is_down_until_the_end(self, world: World) -> None:
        world.clock.time = 7
        with world.lab.fault(LeftOut(KillNode("worker-2"))):
            pass
        assert world.monitor.downs == [("worker-2", 7, math.inf)]

    def test_a_computer(self, world: World) -> None:
        with world.lab.fault(KillNode("worker-2")):
            assert world.provider.node("lab-worker-2").state() == "stopped"
        assert world.provider.node("lab-worker-2").state() == "running"
        (down,) = world.monitor.downs
        assert down[0] == "worker-2", "the pod that asks from inside may have been on it"
        assert down[2] == world.clock.time


class TestPhases:
    def test_baseline(self, world: World) -> None:
        world.clock.time = 2
        world.lab.baseline(5)
        assert world.monitor.inside == ["lab-worker-2"]
        assert world.narrator.phase == "baseline"
        assert world.clock.time == pytest.approx(7, abs=0.11)

    def test_nobody_asks_from_inside(self, world: World) -> None:
        world.lab.baseline(0, inside=None)
        assert world.monitor.inside == [""]

    @pytest.mark.parametrize(
        ("workers", "inside", "chosen"),
        [(2, "lab-worker-1", "lab-worker-1"), (1, "", "lab-worker-1"), (0, "", "lab-control-plane-3")],
    )
    def test_where_the_pod_asks_from(self, make: Make, workers: int, inside: str, chosen: str) -> None:
        world = make(workers=workers, control_planes=3)
        world.lab.baseline(0, inside=inside)
        assert world.monitor.inside == [chosen]

    def test_a_lane_that_never_works_says_nothing_of_the_cluster(self, world: World) -> None:
        world.monitor.silent = {"service"}
        with pytest.raises(Untrustworthy, match=r"^before any fault nothing succeeded on: service$"):
            world.lab.baseline(1)

    @pytest.mark.parametrize(
        ("away", "said"),
        [
            ((0.0, 99.0), "before any fault nothing succeeded on: service (the host had them)"),
            ((0.5, 99.0), "before any fault nothing succeeded on: service"),
        ],
    )
    def test_a_host_that_had_the_cores_all_the_while_is_why(
        self, world: World, away: tuple[float, float], said: str
    ) -> None:
        world.monitor.silent = world.monitor.dead = {"service"}
        world.monitor.cores.away, world.monitor.cores.full = away, "cores were 95% busy"
        with pytest.raises(Untrustworthy) as caught:
            world.lab.baseline(1)
        assert str(caught.value) == said

    def test_nothing_is_sampled_before_each_api_server_is_ready(self, make: Make) -> None:
        world = make(control_planes=3)
        third = "https://172.28.0.13:6443"
        FakeKube.lacking[third] = ["connection refused"] * 2
        world.lab.baseline(0)
        assert world.monitor.inside == ["lab-worker-2"]
        assert FakeKube.questions == [f"https://172.28.0.1{number}:6443" for number in (1, 2, 3)] * 3
        world.monitor.inside.clear()
        FakeKube.lacking[third] = ["connection refused"] * 1000
        with pytest.raises(Untrustworthy, match=r"lab-control-plane-3: it does not answer; connection refused$"):
            world.lab.baseline(0)
        assert world.monitor.inside == []

    def test_the_only_api_server_is_asked_as_everybody_asks(self, world: World) -> None:
        world.lab.baseline(0)
        assert FakeKube.questions == ["https://127.0.0.1:6443"]

    def test_nothing_is_sampled_before_names_lead_where_they_should(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = ["10.96.0.9", "10.96.0.9", "10.96.0.7"]

        def ask(*_: object) -> Told:
            assert world.monitor.inside == []
            return Told("10.96.0.7", {"coredns-1": said.pop(0) if len(said) > 1 else said[0]})

        monkeypatch.setattr(resolving, "ask", ask)
        world.lab.baseline(0)
        assert world.monitor.inside == ["lab-worker-2"]
        world.monitor.inside.clear()
        said[:] = ["10.96.0.9"]
        with pytest.raises(Untrustworthy, match=r"last seen: hello is 10\.96\.0\.7; coredns-1 says 10\.96\.0\.9"):
            world.lab.baseline(0)

    def test_verify_ends_the_sampling(self, world: World) -> None:
        world.lab.verify()
        assert (world.monitor.stops, world.narrator.phase) == (1, "verify")

    def test_quietly(self, world: World) -> None:
        assert world.lab.expect_quietly(lambda: 5, at_least(5), within=1) == 5
        with pytest.raises(TimedOut, match="a settled cluster"):
            world.lab.expect_quietly(lambda: 4, at_least(5), within=3)
        assert world.clock.time == pytest.approx(3)
        assert world.told == []


class TestCluster:
    def test_targets_are_recorded(self, world: World) -> None:
        leader = Target("lab-control-plane-1", "etcd leader", "etcdctl says so")
        assert world.lab.target(leader) is leader
        world.lab.target(Target("lab-worker-1", "runs a pod"))
        assert world.lab.targets == {
            "lab-control-plane-1": "etcd leader (etcdctl says so)", "lab-worker-1": "runs a pod",
        }  # fmt: skip
        assert "etcd leader: lab-control-plane-1 (etcdctl says so)" in world.told

    def test_facts_are_texts(self, world: World) -> None:
        world.lab.fact("replaced after", 3.5)
        assert world.lab.facts == {"replaced after": "3.5"}

    def test_nodes(self, make: Make) -> None:
        lab = make(control_planes=3, workers=1).lab
        assert names(lab.control_planes()) == [f"lab-control-plane-{n}" for n in (1, 2, 3)]
        assert names(lab.workers()) == ["lab-worker-1"]
        assert lab.node("worker-1").name == "lab-worker-1"

    def test_kubectl_runs_on_a_control_plane_that_runs(self, make: Make) -> None:
        world = make(control_planes=3)
        world.lab.kubectl("get", "nodes")
        world.provider.node("lab-control-plane-1").kill()
        world.lab.kubectl("get", "pods")
        assert world.lines("kubectl") == [
            "lab-control-plane-1: kubectl get nodes", "lab-control-plane-2: kubectl get pods",
        ]  # fmt: skip
        for number in (2, 3):
            world.provider.node(f"lab-control-plane-{number}").kill()
        with pytest.raises(NotFound, match="no control plane runs"):
            world.lab.kubectl("get", "pods")

    def test_a_status(self, world: World) -> None:
        world.broken = lambda call: Result(1, "", "no such pod") if "exec" in call.line else None
        with pytest.raises(CommandFailed, match="no such pod"):
            world.lab.in_pod("hello-1", "true")
        assert world.lab.in_pod("hello-1", "true", check=False).status == 1
        assert world.lines("exec")[-1].endswith(f"exec --namespace {workload.NAMESPACE} hello-1 -- sh -c true")

    @pytest.mark.parametrize(
        "said", ["Unable to connect to the server: unexpected EOF", "etcdserver: request timed out"]
    )
    def test_an_order_is_given_again_where_the_api_did_not_answer(self, world: World, said: str) -> None:
        answers = [Result(1, "", said), Result(1, "", said), Result(0, "labeled", "")]
        world.broken = lambda call: answers.pop(0) if "label" in call.line else None
        assert world.lab.order("label", "node", "x", "a=", "--overwrite").stdout == "labeled"
        assert not answers

    def test_an_order_that_is_refused_is_not_given_again(self, world: World) -> None:
        answers = [Result(1, "", "Error from server (Forbidden): no")]
        world.broken = lambda call: answers.pop(0) if "label" in call.line else None
        with pytest.raises(CommandFailed, match="Forbidden"):
            world.lab.order("label", "node", "x", "a=")

    def test_apply(self, world: World) -> None:
        world.lab.apply(workload.service("hello"))
        call = world.provider.node("lab-control-plane-1").calls[-1]
        assert call.line == "kubectl apply -f -"
        assert call.stdin is not None
        assert [line for line in call.stdin.splitlines() if line.startswith("kind:")] == [
            "kind: Namespace", "kind: Service",
        ]  # fmt: skip

    def test_pods_are_those_of_the_drill(self, world: World) -> None:
        assert world.lab.pods("hello") == ()
        assert cast(Any, world.lab.api).asked == [("drill", "app=hello")]
        assert cast(Any, world.lab.api).timeout == 2
