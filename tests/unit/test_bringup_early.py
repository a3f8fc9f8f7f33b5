"""The steps of `up` that begin before what they need is there, and what holds them until it is."""

from __future__ import annotations

import shlex
import threading

import bringup_world
import pytest
from bringup_world import SOON, Run, spec_of
from fake_node import Call, FakeNode

from kubedrill import init_phases, join_phases, kube, loadbalancer
from kubedrill.init_phases import BEGIN
from kubedrill.marks import JOINED
from kubedrill.shell import Result
from kubedrill.wait import until

run = bringup_world.run  # a fixture

LAST = init_phases.at_last(other_planes=False)


class TestEarly:
    def test_controllers_start_when_the_api_server_makes_its_roles(self, run: Run) -> None:
        run.roles.clear()
        let_go = " ".join(init_phases.LET_GO)

        def asked_often() -> bool:
            return len([event for event in run.provider.events if event == ("asked", init_phases.HALFWAY)]) >= 5

        def make_roles() -> None:
            until(asked_often, lambda yes: (yes, ""), within=SOON, every=0.005, what="questions")
            assert run.ran(let_go) == []
            run.roles.set()

        helper = threading.Thread(target=make_roles)
        helper.start()
        run.up(spec_of())
        helper.join()
        first = "lab-control-plane-1"
        held, asked = " ".join(init_phases.HOLD), ("asked", "default", "kube-root-ca.crt")
        assert run.at("ran", first, held) < run.at("ran", first, let_go) < run.at(*asked)
        assert run.at(*asked) < run.at("run", first, shlex.join(LAST))

    def test_where_their_roles_could_be_made_controllers_start_once_the_api_server_looks_through_them(
        self, run: Run
    ) -> None:
        """A controller manager that asks before whether it is well asks again a second later."""
        run.roles.clear()
        let_go = " ".join(init_phases.LET_GO)
        refusals = [kube.PRIORITIES] * 5
        usual = run.kubernetes.readyz

        def readyz(*without: str) -> str:
            if without == (kube.ROLES,):
                assert run.ran(" ".join(init_phases.BOOTSTRAP))
                assert run.ran(let_go) == []
                if refusals:
                    raise kube.ApiUnavailable("not yet", evidence=[refusals.pop()])
                run.provider.note("asked", kube.ROLES)
            return usual(*without)

        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        run.kubernetes.answers = lambda _node, call: (
            Result(0, "143 201", "") if call.argv[0] == init_phases.BOOTSTRAP[0] else None
        )
        run.up(spec_of())
        assert refusals == []
        assert run.ran(let_go) == ["lab-control-plane-1"]
        assert run.at("asked", kube.ROLES) < run.at("ran", "lab-control-plane-1", let_go)
        assert ("asked", init_phases.HALFWAY) not in run.provider.events

    @pytest.mark.parametrize(("status", "told"), [(init_phases.NO_LIST, False), (1, True)])
    def test_roles_that_could_not_be_made_are_left_to_the_api_server(
        self, run: Run, capsys: pytest.CaptureFixture[str], status: int, told: bool
    ) -> None:
        run.kubernetes.answers = lambda _node, call: (
            Result(status, "2 403\n", "") if call.argv[0] == init_phases.BOOTSTRAP[0] else None
        )
        run.up(spec_of())
        assert run.ran(" ".join(init_phases.LET_GO)) == ["lab-control-plane-1"]
        assert ("a second later (2 403)" in capsys.readouterr().out) is told

    @pytest.mark.parametrize(
        "settings",
        [
            {"feature_gates": {"UserNamespacesSupport": False}},
            {"extra_args": {"apiserver": {"feature-gates": "UserNamespacesSupport=false"}}},
            {"extra_args": {"apiserver": {"authorization-mode": "AlwaysAllow"}}},
        ],
    )
    def test_roles_of_an_api_server_that_may_make_others_are_its_own(
        self, run: Run, settings: dict[str, object]
    ) -> None:
        run.up(spec_of().model_copy(update=settings))
        assert run.ran(init_phases.BOOTSTRAP[0]) == []
        assert not [event for event in run.provider.events if event[0] == "made"]
        assert run.ran(" ".join(init_phases.LET_GO)) == ["lab-control-plane-1"]

    def test_priorities_of_static_pods_are_there_before_all_else(self, run: Run) -> None:
        """The kubelet tells of its static pods as soon as the API serves, and of those that are refused 10 s later."""
        refused = iter(["not yet"])

        def readyz(*_without: str) -> str:
            if next(refused, None):
                raise kube.ApiUnavailable("connection refused")
            return "ok"

        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        run.up(spec_of())
        made = [event for event in run.provider.events if event[0] == "made"]
        assert made == [("made", "system-node-critical"), ("made", "system-cluster-critical")]
        first = run.provider.events.index(made[0])
        assert run.at("run", "lab-control-plane-1", init_phases.BOOTSTRAP[0]) > first

    def test_other_settings_change_no_roles(self, run: Run) -> None:
        run.up(spec_of().model_copy(update={"extra_args": {"apiserver": {"v": "4"}}}))
        assert run.ran(init_phases.BOOTSTRAP[0]) == ["lab-control-plane-1"]

    def test_the_kubelet_is_not_started_again_before_its_static_pods_run(self, run: Run) -> None:
        looks = iter([Result(1, "", "no such socket"), Result(0, "", ""), Result(0, "9d1\n", "")])

        def answer(_node: FakeNode, call: Call) -> Result | None:
            return next(looks, None) if list(call.argv) == init_phases.STARTED else None

        run.kubernetes.answers = answer
        run.up(spec_of(1, 0))
        assert len(run.ran(" ".join(init_phases.STARTED))) == 4
        ran = [event[2] for event in run.provider.events if event[0] == "run"]
        last = max(number for number, line in enumerate(ran) if line == " ".join(init_phases.STARTED))
        assert last < ran.index(" ".join(init_phases.FINALIZE))

    def test_others_boot_once_the_first_kubelet_runs(self, run: Run) -> None:
        run.up(spec_of(1, 2))
        for name in ("lab-worker-1", "lab-worker-2"):
            assert run.at("ran", "lab-control-plane-1", shlex.join(BEGIN)) < run.at("create", name)

    def test_workers_join_early_and_are_held_until_the_api_is_well(self, run: Run) -> None:
        """Their kubelets would ask in vain before; what kubeadm does before their start is done by then."""
        well = threading.Event()

        def answer(_node: FakeNode, call: Call) -> Result | None:
            if call.argv == tuple(join_phases.WHOLE):
                assert not well.is_set()
                until(
                    lambda: len(run.joins()), lambda joined: (joined == 2, ""), within=SOON, every=0.005, what="joins"
                )
                well.set()
                until(lambda: run.ran(" ".join(join_phases.TURN)), lambda told: (len(told) == 2, str(told)),
                      within=SOON, every=0.005, what="words")  # fmt: skip
            return None

        def readyz(*without: str) -> str:
            if not run.kubernetes.api.is_set():
                raise kube.ApiUnavailable("connection refused")
            return "ok" if without or well.is_set() else "[-]poststarthook/rbac/bootstrap-roles failed"

        run.kubernetes.answers = answer
        run.kubernetes.readyz = readyz  # type: ignore[method-assign]
        run.up(spec_of(1, 2))
        for name in ("lab-worker-1", "lab-worker-2"):
            assert {join_phases.HELD, join_phases.CERTIFICATE_FIRST} < set(run.node(name).disk)

    def test_nobody_is_held_where_all_is_well(self, run: Run) -> None:
        run.up(spec_of(3, 1))
        assert run.ran(" ".join(join_phases.TURN)) == []
        disk = run.node("lab-worker-1").disk
        assert (join_phases.CERTIFICATE_FIRST in disk, join_phases.HELD in disk) == (True, False)
        planes = [run.node(f"lab-control-plane-{number}").disk for number in (1, 2, 3)]
        assert not [disk for disk in planes if join_phases.CERTIFICATE_FIRST in disk], "static pods cannot wait for it"

    def test_slow_nodes_start_no_kubelet_twice(self, run: Run) -> None:
        run.provider.slow = 20.0
        run.up(spec_of(1, 1))
        assert not {join_phases.CERTIFICATE_FIRST, join_phases.HELD} & set(run.node("lab-worker-1").disk)
        assert run.at("asked", "default", "kube-root-ca.crt") < run.at("run", "lab-worker-1", "kubeadm join")

    def test_the_first_api_server_is_sent_to_before_it_calls_itself_ready(self, run: Run) -> None:
        run.up(spec_of(3, 0))
        trusts, checks = (
            " ".join(command("lab-control-plane-1")) for command in (loadbalancer.trust, loadbalancer.check)
        )
        assert run.ran(trusts) == run.ran(checks) == ["lab-load-balancer"]
        trusted, checked = run.at("ran", "lab-load-balancer", trusts), run.at("run", "lab-load-balancer", checks)
        assert trusted < run.at("run", "lab-control-plane-1", "cat /etc/kubernetes/super-admin.conf") < checked
        assert run.at("asked", "default", "kube-root-ca.crt") < checked < run.at("write", "lab-control-plane-1", JOINED)

    def test_what_the_parts_of_init_printed_is_written_at_once(self, run: Run) -> None:
        """Each write costs the engine a process, while the node has no processor to spare."""
        run.up(spec_of(1, 0))
        written = [event[2] for event in run.provider.events if event[0] == "write"]
        logs = [path for path in written if "kubeadm-init" in path and path.endswith(".log")]
        parts = ("-begin", "-controllers", "-kubelet", "-meanwhile", "")
        assert sorted(logs) == sorted(f"/var/log/kubedrill/kubeadm-init{part}.log" for part in parts)
        done = run.at("ran", "lab-control-plane-1", " ".join(LAST))
        assert all(done < run.at("write", "lab-control-plane-1", log) for log in logs)
