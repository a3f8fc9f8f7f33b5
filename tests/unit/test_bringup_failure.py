"""What a user learns of an `up` that fails, and that nobody learns its secrets."""

from __future__ import annotations

import shlex
import threading

import bringup_world
import pytest
from bringup_world import SECRETS, SOON, Run, fail, spec_of
from fake_kubernetes import KEYS, ends_init
from fake_node import Call, FakeNode

from kubedrill import bringup, crashes, etcd_members, first_plane, init_phases, join_phases, kube, kubeadm
from kubedrill.errors import CommandFailed, KubedrillError, StepFailed
from kubedrill.marks import JOINED
from kubedrill.providers.base import NodeSpec
from kubedrill.shell import Result
from kubedrill.wait import until

run = bringup_world.run  # a fixture

FAILURES = {
    "init, its controllers": ("lab-control-plane-1", "unshare --mount", "lab-control-plane-1: kubeadm init"),
    "init, its kubelet": ("lab-control-plane-1", shlex.join(init_phases.FINALIZE), "lab-control-plane-1: kubeadm init"),
    "init, its end": (
        "lab-control-plane-1",
        shlex.join(init_phases.at_last(other_planes=True)),
        "lab-control-plane-1: kubeadm init",
    ),
    "init": ("lab-control-plane-1", shlex.join(init_phases.BEGIN), "lab-control-plane-1: kubeadm init"),
    "init, while the API starts": (
        "lab-control-plane-1",
        "kubedrill-at-once",
        "lab-control-plane-1: kubeadm init",
    ),
    "worker": ("lab-worker-2", "kubeadm join", "lab-worker-2: kubeadm join"),
    "control plane": (
        "lab-control-plane-3",
        shlex.join(join_phases.ETCD),
        "lab-control-plane-3: kubeadm join, its member of etcd",
    ),
    "control plane, its end": (
        "lab-control-plane-3",
        shlex.join(join_phases.AT_LAST),
        "lab-control-plane-3: kubeadm join",
    ),
    "control plane, its first half": (
        "lab-control-plane-3",
        shlex.join(join_phases.AT_ONCE),
        "lab-control-plane-3: kubeadm join, all that may be done at once",
    ),
    "flannel": (
        "lab-control-plane-1",
        "kubectl --kubeconfig /etc/kubernetes/super-admin.conf apply",
        "flannel applied",
    ),
}


class TestFailure:
    @pytest.mark.parametrize("case", FAILURES)
    def test_it_names_step_node_command_and_last_lines(self, run: Run, case: str) -> None:
        name, command, step = FAILURES[case]
        lines = [f"line {number}" for number in range(40)]
        run.kubernetes.answers = fail(name, command, "\n".join(lines))
        if case == "flannel":
            run.kubernetes.flannel.set()  # so that init ends
        told = run.fails(spec_of(3, 2))
        assert f"step '{step}' failed" in told
        assert f"a command failed on {name} (exit status 1)" in told
        assert command in told
        assert "line 39" in told
        assert "line 2\n" not in told, "the end of the output, not all of it"

    def test_what_kubeadm_printed_is_kept_in_the_node(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-worker-1", "kubeadm join", f"first line\n{KEYS.token}\nlast line")
        told = run.fails(spec_of(1, 1))
        log = "/var/log/kubedrill/kubeadm-join.log"
        assert log in told
        assert run.node("lab-worker-1").text(log) == "first line\n<secret>\nlast line"
        assert JOINED not in run.node("lab-worker-1").disk

    @pytest.mark.parametrize("answers", [True, False])
    def test_other_waits_end_soon(self, run: Run, answers: bool) -> None:
        """Its end fails, and nobody may ever join: the wait of minutes for that must end with it.

        Where the API does not answer, what is read raises each time, so that its check is never asked.
        """
        asked = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if ends_init(call):
                assert asked.wait(SOON), "what joins need is asked for while init runs"
                return Result(1, "", "init broke")
            return None

        def ask() -> bool:
            asked.set()
            if not answers:
                raise kube.ApiUnavailable("no answer")
            return False

        run.kubernetes.answers = answer
        run.tokens.is_set = ask  # type: ignore[method-assign]
        assert "init broke" in run.fails(spec_of())
        ended()

    @pytest.mark.parametrize("begins", [True, False])
    def test_no_worker_is_made_where_no_second_member_of_etcd_comes(self, run: Run, begins: bool) -> None:
        """Each fails in its turn, or the first one before the next may begin."""

        def answer(_node: FakeNode, call: Call) -> Result | None:
            if call.argv == ("sh", "-c", etcd_members.BEGINS):
                return Result(0 if begins else 2, "", "")
            return Result(1, "", "no member") if call.argv == tuple(join_phases.ETCD) else None

        run.kubernetes.answers = answer
        assert "no member" in run.fails(spec_of(3, 2))
        assert not [name for name in run.provider.names() if "worker" in name]
        if not begins:
            assert run.ran(shlex.join(join_phases.ETCD)) == ["lab-control-plane-2"]
        ended()

    def test_an_api_that_never_answers_is_told_with_where_to_look(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(first_plane, "API", 0.05)

        def readyz(*_without: str) -> str:
            raise kube.ApiUnavailable("connection refused")

        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        told = run.fails(spec_of())
        assert "connection refused" in told
        assert "lab-control-plane-1/pods/kube-system_kube-apiserver-*" in told
        assert "/var/log/kubedrill/kubeadm-init-begin.log" in run.node("lab-control-plane-1").disk
        ended()

    @pytest.mark.parametrize("slow", [1.0, 8.0])
    def test_an_api_server_that_ends_again_and_again_is_not_waited_for(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, slow: float
    ) -> None:
        """Slow nodes are: there it may end, and come all the same."""
        monkeypatch.setattr(first_plane, "_CLOSER", 0.1)
        monkeypatch.setattr(first_plane, "API", 30 if slow == 1 else 0.05)
        run.provider.slow = slow

        def readyz(*_without: str) -> str:
            raise kube.ApiUnavailable("connection refused")

        def answer(_: FakeNode, call: Call) -> Result | None:
            if list(call.argv) != crashes.LOOK:
                return None
            return Result(0, "# kube-apiserver 3\nError: unknown flag: --no\n", "")

        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        run.kubernetes.answers = answer
        told = run.fails(spec_of())
        assert "Error: unknown flag: --no" in told
        assert ("ends again and again" in told) == (slow == 1)
        ended()

    def test_those_of_a_cluster_that_is_there_may_have_ended_often(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With each restart of it, say; and where its API is late, it is late."""
        monkeypatch.setattr(first_plane, "_CLOSER", 0.1)
        run.up(spec_of(1, 1))
        refusals = iter(range(3))

        def readyz(*_without: str) -> str:
            if next(refusals, None) is not None:
                raise kube.ApiUnavailable("connection refused")
            return "ok"

        def answer(_: FakeNode, call: Call) -> Result | None:
            return Result(0, "# kube-apiserver 3\n", "") if list(call.argv) == crashes.LOOK else None

        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        run.kubernetes.answers = answer
        run.up(spec_of(1, 2))
        assert next(refusals, None) is None
        assert "lab-worker-2" in run.provider.names()

    @pytest.mark.parametrize(
        ("missing", "where"),
        [("static pods", "kube-apiserver"), ("roles", "kube-apiserver"), ("controllers", "kube-controller-manager")],
    )
    def test_what_never_comes_is_told_with_where_to_look(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, missing: str, where: str
    ) -> None:
        monkeypatch.setattr(first_plane, "API", 0.05)
        run.kubernetes.static_pods = 0 if missing == "static pods" else 2
        if missing != "static pods":
            (run.roles if missing == "roles" else run.controllers).clear()
        assert f"lab-control-plane-1/pods/kube-system_{where}-*" in run.fails(spec_of(1, 0))
        ended()

    def test_a_first_part_that_fails_is_told_though_the_api_is_waited_for(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-control-plane-1", shlex.join(init_phases.BEGIN), "init broke")
        assert "init broke" in run.fails(spec_of())
        ended()

    def test_a_node_that_never_boots_does_not_hold_others_back(self, run: Run) -> None:
        booting = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if node.name == "lab-worker-1" and call.argv[0] == "systemctl":
                booting.set()
                return Result(3, "activating\n", "")
            if list(call.argv) == init_phases.HOLD:  # others boot beside it
                assert booting.wait(SOON)
                return Result(1, "", "init broke")
            return None

        run.kubernetes.answers = answer
        assert "init broke" in run.fails(spec_of(1, 1))
        ended()

    def test_the_first_failure_is_told_not_the_waits_that_it_ended(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-control-plane-1", "kubeadm init", "the cause")
        told = run.fails(spec_of(3, 3))
        assert "the cause" in told
        assert "given up" not in told

    def test_a_node_that_cannot_be_made(self, run: Run) -> None:
        def refuse(spec: NodeSpec) -> None:
            if spec.name == "lab-worker-2":
                raise KubedrillError("no disk left")

        run.provider.before_create = refuse
        told = run.fails(spec_of())
        assert "step 'lab-worker-2: started' failed" in told
        assert "no disk left" in told

    def test_no_node_is_made_after_it_has_failed(self, run: Run) -> None:
        """Whoever removes the nodes of a failed run must find them all: a late one would stay for ever."""
        begun, go_on = threading.Event(), threading.Event()

        def slow(spec: NodeSpec) -> None:
            if spec.name == "lab-worker-1":
                begun.set()
                go_on.wait(0.5)

        def answer(node: FakeNode, call: Call) -> Result | None:
            if list(call.argv) == init_phases.HOLD:  # others are made beside it
                assert begun.wait(SOON)
                return Result(1, "", "init broke")
            return None

        run.provider.before_create, run.kubernetes.answers = slow, answer
        assert "init broke" in run.fails(spec_of(1, 1))
        at_the_end = run.provider.names()
        go_on.set()
        ended()
        assert run.provider.names() == at_the_end

    def test_a_cluster_that_does_not_become_ready(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bringup, "_READY", 0.05)

        def answer(node: FakeNode, call: Call) -> Result | None:
            return Result(0, "", "") if node.name == "lab-worker-1" and "join" in call.argv else None

        run.kubernetes.answers = answer
        told = run.fails(spec_of(1, 1))
        assert "not registered yet: lab-worker-1" in told
        assert "all nodes Ready" in told

    def test_a_run_that_failed_can_be_finished(self, run: Run) -> None:
        run.kubernetes.answers = fail("lab-worker-2", "kubeadm join")
        run.fails(spec_of())
        run.kubernetes.answers = lambda _node, _call: None
        run.node("lab-worker-2").remove()
        run.up(spec_of())
        assert run.joins() == ["lab-worker-2"]


class TestSecrets:
    def held(self, run: Run) -> list[str]:
        """The files of all nodes that hold a secret."""
        return sorted(
            {
                path
                for name in run.provider.names()
                for path, file in run.node(name).disk.items()
                if any(secret in file.text for secret in SECRETS)
            }
        )

    def test_they_are_in_kubeadms_configuration_and_nowhere_else(
        self, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spec = spec_of(3, 1)
        run.up(spec)
        run.node("lab-worker-1").remove()
        run.up(spec)  # shows `kubeadm token create`, too
        assert self.held(run) == [kubeadm.INIT_CONFIG, kubeadm.JOIN_CONFIG]
        printed = capsys.readouterr()
        for secret in SECRETS:
            assert secret not in printed.out + printed.err
        assert "kubeadm token create '<secret>'" in printed.out or "kubeadm token create <secret>" in printed.out
        assert f"cat >{kubeadm.INIT_CONFIG}" in printed.out

    @pytest.mark.parametrize(
        ("command", "missing"),
        [
            ("kubeadm init --config", None),
            ("kubeadm token create", "lab-worker-1"),
            ("kubeadm init phase upload-certs", "lab-control-plane-2"),
        ],
    )
    def test_an_error_does_not_tell_them(self, run: Run, command: str, missing: str | None) -> None:
        spec = spec_of(3, 1)
        if missing:
            run.up(spec)
            run.node(missing).remove()
        run.kubernetes.answers = fail("lab-control-plane-1", command, f"it said {' '.join(SECRETS)}")
        told = run.fails(spec)
        assert command in told
        for secret in SECRETS:
            assert secret not in told

    def test_nor_does_a_command_that_ran_out_of_time(self, run: Run) -> None:
        def answer(node: FakeNode, call: Call) -> Result | None:
            if call.argv[:2] == ("kubeadm", "init"):
                raise CommandFailed("kubeadm init", None, f"debugging {' '.join(SECRETS)}", "this machine")
            return None

        run.kubernetes.answers = answer
        told = run.fails(spec_of())
        assert "ran out of time" in told
        for secret in SECRETS:
            assert secret not in told


def ended() -> None:
    """Wait until no thread of bring-up runs any more."""
    until(
        lambda: [thread.name for thread in threading.enumerate() if thread.name.startswith("up_")],
        lambda left: (not left, f"still running: {left}"), within=SOON, every=0.01, what="the end of all threads",
    )  # fmt: skip


def test_step_failed_is_what_is_raised(run: Run) -> None:
    run.kubernetes.answers = fail("lab-control-plane-1", "kubeadm init")
    with pytest.raises(StepFailed) as caught:
        run.up(spec_of())
    assert caught.value.__cause__ is not None
