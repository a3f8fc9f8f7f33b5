"""The steps of `up`: what waits for what, and what is done at once."""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path

import bringup_world
import pytest
import yaml
from bringup_world import SOON, Run, joins, spec_of
from fake_kubernetes import ADMIN, PROMOTED, SNAPSHOT, WORD, ends_init
from fake_node import Call, FakeNode

from kubedrill import etcd_members, init_phases, join_phases, kubeadm, shell
from kubedrill.init_phases import BEGIN
from kubedrill.marks import JOINED
from kubedrill.providers.base import NodeSpec
from kubedrill.shell import Result
from kubedrill.wait import until

run = bringup_world.run  # a fixture

# What etcd answers that takes one learner only.
REFUSED = Result(1, "", "etcdserver: too many learner members in cluster")
LAST = init_phases.at_last(other_planes=False)


class TestOrder:
    def test_one_control_plane(self, run: Run) -> None:
        run.up(spec_of())
        assert run.provider.names() == ["lab-control-plane-1", "lab-worker-1", "lab-worker-2"]
        early = init_phases.meanwhile(other_planes=False, dns=True)
        parts = [BEGIN, init_phases.HOLD, init_phases.FINALIZE, early, LAST]
        for part in parts:
            assert run.ran(" ".join(part)) == ["lab-control-plane-1"]
        ended = [run.at("ran", "lab-control-plane-1", " ".join(part)) for part in parts]
        assert ended == sorted(ended)
        assert sorted(run.joins()) == ["lab-worker-1", "lab-worker-2"]
        assert run.published == [ADMIN]
        for name in run.provider.names():
            assert JOINED in run.node(name).disk
        assert run.at("run", "lab-control-plane-1", "kubeadm init") < run.at("run", "lab-worker-1", "kubeadm join")
        assert ended[-1] < run.at("write", "lab-control-plane-1", JOINED), "half an init is none"

    def test_the_balancer_is_there_and_configured_before_init(self, run: Run) -> None:
        run.up(spec_of(3, 1))
        balancer = run.node("lab-load-balancer")
        assert balancer.text("/etc/haproxy/haproxy.cfg").count(":6443 check ") == 3
        written = run.at("write", "lab-load-balancer", "/etc/haproxy/haproxy.cfg")
        checked = run.at("ran", "lab-load-balancer", "systemctl start haproxy")
        assert written < checked < run.at("run", "lab-control-plane-1", "kubeadm init")

    def test_a_balancer_that_is_late_is_waited_for(self, run: Run) -> None:
        late = iter([Result(1, "Failed to connect to bus", "")] * 5)

        def answer(node: FakeNode, call: Call) -> Result | None:
            return next(late, None) if node.role == "load-balancer" else None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert run.ran("systemctl start haproxy") == ["lab-load-balancer"] * 6
        started = ("ran", "lab-load-balancer", "systemctl start haproxy")
        last = max(number for number, event in enumerate(run.provider.events) if event == started)
        assert last < run.at("run", "lab-control-plane-1", "kubeadm init")

    def test_no_balancer_for_one_control_plane(self, run: Run) -> None:
        run.up(spec_of(1, 0))
        assert run.provider.names() == ["lab-control-plane-1"]

    def test_members_of_etcd_are_announced_and_join_at_once(self, run: Run) -> None:
        together = threading.Barrier(4)

        def answer(_node: FakeNode, call: Call) -> Result | None:
            if call.argv == tuple(join_phases.ETCD):
                together.wait(SOON)
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(5, 0))
        assert not together.broken
        [announced] = [event for event in run.provider.events if event[0] == "ran" and "member add" in event[2]]
        assert announced[1] == "lab-control-plane-1"
        for number in range(2, 6):
            added = f"member add lab-control-plane-{number} --learner --peer-urls=https://172.28.0.1{number}:2380"
            assert added in announced[2]
            member = run.at("run", f"lab-control-plane-{number}", shlex.join(join_phases.ETCD))
            assert run.provider.events.index(announced) < member

    def test_each_member_begins_once_the_one_before_it_does(self, run: Run) -> None:
        """Two that begin at the same moment wait 7 s for each other."""
        together, looks = threading.Barrier(4), dict.fromkeys(range(2, 6), 0)

        def answer(node: FakeNode, call: Call) -> Result | None:
            number = int(node.name[-1]) if node.role == "control-plane" else 0
            if call.argv == ("sh", "-c", etcd_members.BEGINS):
                looks[number] += 1
                return Result(0 if looks[number] > 3 else 2, "", "")
            if call.argv == tuple(join_phases.ETCD):
                assert all(looks[before] > 3 for before in range(2, number))
                together.wait(SOON)
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(5, 0))
        assert not together.broken
        assert [looks[number] for number in (2, 3, 4)] == [4, 4, 4]

    def test_a_member_that_fails_before_it_begins_is_not_waited_for(self, run: Run) -> None:
        def answer(_node: FakeNode, call: Call) -> Result | None:
            if call.argv == ("sh", "-c", etcd_members.BEGINS):
                return Result(2, "", "no such file")
            return Result(1, "", "no member") if call.argv == tuple(join_phases.ETCD) else None

        run.kubernetes.answers = answer
        assert "no member" in run.fails(spec_of(3, 0))

    @pytest.mark.parametrize(("members", "learners"), [(1, None), (3, "2"), (5, "4")])
    def test_etcd_takes_all_of_them(self, run: Run, members: int, learners: str | None) -> None:
        run.up(spec_of(members, 0))
        written = run.node("lab-control-plane-1").text(kubeadm.INIT_CONFIG)
        [cluster] = [part for part in yaml.safe_load_all(written) if part["kind"] == "ClusterConfiguration"]
        flags = {each["name"]: each["value"] for each in cluster["etcd"]["local"].get("extraArgs", [])}
        assert flags.get("max-learners") == learners

    def test_a_control_plane_joins_once_etcd_has_the_one_before_it(self, run: Run) -> None:
        """Where not all can be announced: each starts from a list of those before it.

        kubeadm join goes on for a while after its member serves.
        """
        last = threading.Event()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if "member add" in call.line:
                return REFUSED
            if joins(call.line):
                before = {f"lab-control-plane-{number}" for number in range(1, int(node.name[-1]))}
                assert before == run.kubernetes.members, "its predecessors serve, and none else has begun"
                for _ in range(3):
                    assert run.joins()[-1] == node.name
                    node.run(["sh", "-c", etcd_members.LOG])
                run.kubernetes.joined(node)
                # The end of the join is none of its successors' business.
                (last.set if node.name.endswith("5") else lambda: last.wait(SOON))()
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(5, 0))
        assert last.is_set()
        assert run.joins() == [f"lab-control-plane-{number}" for number in range(2, 6)]

    @pytest.mark.parametrize("quiet", ["slow nodes", "a setting of the user's"])
    def test_where_etcd_writes_nothing_of_it_another_one_is_asked(self, run: Run, quiet: str) -> None:
        listed = [0]

        def answer(node: FakeNode, call: Call) -> Result | None:
            if "member add" in call.line:
                return REFUSED
            if call.argv == ("sh", "-c", etcd_members.LIST) and "lab-control-plane-2" in run.kubernetes.members:
                listed[0] += 1
                if listed[0] < 20:
                    assert run.joins() == ["lab-control-plane-2"]
                    return Result(0, "1, unstarted, , https://a:2380, , true\n", "")
            if joins(call.line) and node.name.endswith("2"):
                run.kubernetes.joined(node)
                until(
                    lambda: run.joins()[-1], lambda last: (last.endswith("3"), last), within=SOON, every=0.005,
                    what="the next one",
                )  # fmt: skip
            return None

        run.kubernetes.answers = answer
        run.provider.slow = 25.0 if quiet == "slow nodes" else 1.0
        run.up(spec_of(3, 0, **({} if quiet == "slow nodes" else {"extra_args": {"etcd": {"log-level": "warn"}}})))
        assert listed[0] >= 20
        assert run.joins() == ["lab-control-plane-2", "lab-control-plane-3"]

    def test_a_control_plane_waits_for_a_member_that_only_learns(self, run: Run) -> None:
        listed = [0]

        def answer(node: FakeNode, call: Call) -> Result | None:
            if "member add" in call.line:
                return REFUSED
            if call.argv == ("sh", "-c", etcd_members.LOG) and node.name.endswith("2"):
                listed[0] += 1
                if listed[0] < 20:
                    assert run.joins() == ["lab-control-plane-2"][: len(run.joins())]
                    return Result(0, SNAPSHOT + WORD + PROMOTED.replace("5304", "51e4", 1), "")
            if joins(call.line) and node.name.endswith("2"):
                run.kubernetes.joined(node)
                until(
                    lambda: listed[0], lambda count: (count >= 20, str(count)), within=SOON, every=0.005, what="looks"
                )
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert run.joins() == ["lab-control-plane-2", "lab-control-plane-3"]

    def test_nobody_waits_for_the_last_phases_of_init(self, run: Run) -> None:
        def answer(node: FakeNode, call: Call) -> Result | None:
            if not ends_init(call):
                return None
            run.kubernetes.answers = lambda _node, _call: None
            done = run.kubernetes.script(node, call)
            until(lambda: len([event for event in run.provider.events if event[-1] == "cluster-info"]),
                  lambda asked: (asked > 3, str(asked)), within=SOON, every=0.005, what="questions")  # fmt: skip
            assert run.ran("kubeadm join") == [], "before there are tokens"
            run.tokens.set()
            until(run.joins, lambda ran: (len(ran) == 4, str(ran)), within=SOON, every=0.005,
                  what="joins")  # fmt: skip
            assert not run.published, "that waits for its end"
            return done

        run.tokens.clear()
        run.kubernetes.answers = answer
        run.up(spec_of(3, 2))
        assert run.published

    def test_what_needs_no_turn_is_done_at_once(self, run: Run) -> None:
        together = threading.Barrier(2)

        def answer(_node: FakeNode, call: Call) -> Result | None:
            if call.argv == tuple(join_phases.AT_ONCE):
                together.wait(SOON)
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        assert not together.broken

    def test_a_kubelet_that_waits_is_started_again_once_its_api_server_knows_it(self, run: Run) -> None:
        looks = [0]

        def answer(node: FakeNode, call: Call) -> Result | None:
            if kubeadm.BOOTSTRAP_KUBECONFIG in call.line and node.name.endswith("2"):
                looks[0] += 1
                return Result(0 if looks[0] > 5 else 1, "", "Unauthorized")
            if call.line == "systemctl restart kubelet" and node.name.endswith("2"):
                assert looks[0] > 5
            if call.argv == tuple(join_phases.AT_LAST) and node.name.endswith("2"):
                run.kubernetes.joined(node)
                until(lambda: run.ran("systemctl restart kubelet"), lambda ran: (node.name in ran, ""), within=SOON,
                      every=0.005, what="a kubelet that is started again")  # fmt: skip
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))

    def test_workers_join_at_once_beside_the_control_planes(self, run: Run) -> None:
        """Both workers and the last control plane must join at the same moment, or the barrier breaks."""
        together = threading.Barrier(3)

        def answer(node: FakeNode, call: Call) -> Result | None:
            if joins(call.line) and node.name != "lab-control-plane-2":
                together.wait(SOON)
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 2))
        assert not together.broken
        assert len(run.joins()) == 4

    def test_so_is_one_that_has_its_certificate_already(self, run: Run, tmp_path: Path) -> None:
        """Its watches look again much later; it is asked for by what it is known by then."""
        looks = list[str]()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if kubeadm.KUBELET_CERTIFICATE in call.line:
                looks.append(call.argv[-1])
            if call.argv == tuple(join_phases.AT_LAST):
                run.kubernetes.joined(node)
                until(lambda: run.ran("systemctl restart kubelet"), lambda ran: (node.name in ran, ""), within=SOON,
                      every=0.005, what="a kubelet that is started again")  # fmt: skip
            return None

        run.kubernetes.answers = answer
        run.up(spec_of(3, 0))
        for name in ("curl", "kubectl"):
            (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/asked\n')
            (tmp_path / name).chmod(0o755)
        line = looks[0].replace(kubeadm.KUBELET_CERTIFICATE, f"{tmp_path}/certificate")
        for known_by in (kubeadm.BOOTSTRAP_KUBECONFIG, kubeadm.KUBELET_KUBECONFIG):
            (tmp_path / "asked").unlink(missing_ok=True)
            shell.run(["sh", "-c", line], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=20)
            first, second = (tmp_path / "asked").read_text().splitlines()
            assert first.startswith("curl ")
            assert second.startswith(f"kubectl --kubeconfig {known_by} ")
            (tmp_path / "certificate").touch()

    def test_no_worker_joins_before_the_controllers_work_but_control_planes_do(self, run: Run) -> None:
        run.controllers.clear()

        def answer(node: FakeNode, call: Call) -> Result | None:
            if joins(call.line) and node.role == "worker":
                assert run.controllers.is_set()
            return None

        def asked_often() -> bool:
            asked = [event for event in run.provider.events if event == ("asked", "default", "kube-root-ca.crt")]
            return len(asked) >= 5 and len(run.ran(shlex.join(join_phases.ETCD))) == 2

        run.kubernetes.answers = answer
        helper = threading.Thread(
            target=lambda: (
                until(asked_often, lambda yes: (yes, ""), within=SOON, every=0.005, what="questions"),
                run.controllers.set(),
            )
        )
        helper.start()
        run.up(spec_of(3, 2))
        helper.join()
        assert run.at("asked", "default", "kube-root-ca.crt") < run.at("run", "lab-worker-1", "kubeadm join")
        assert len(run.joins()) == 4

    def test_workers_wait_for_the_second_member_of_etcd(self, run: Run) -> None:
        """Until then nobody takes the processors from what all the others are waited for."""
        run.up(spec_of(3, 2))
        member = run.at("run", "lab-control-plane-2", shlex.join(join_phases.ETCD))
        for name in ("lab-worker-1", "lab-worker-2"):
            assert member < run.at("create", name) < run.at("run", name, "kubeadm join")

    def test_its_api_server_waits_for_its_member_of_etcd_and_the_kubelet_for_neither(self, run: Run) -> None:
        run.up(spec_of(3, 0))
        for name in ("lab-control-plane-2", "lab-control-plane-3"):
            parts = [" ".join(part) for part in (join_phases.AT_ONCE, join_phases.ETCD, join_phases.AT_LAST)]
            begun = [run.at("run", name, part) for part in parts]
            assert begun == sorted(begun)
            assert run.at("ran", name, parts[0]) < begun[1]
            assert run.at("ran", name, parts[2]) < run.at("write", name, JOINED)

    def test_nodes_are_made_at_once(self, run: Run) -> None:
        """All but the first control plane, which comes first."""
        together = threading.Barrier(3)

        def create(spec: NodeSpec) -> None:
            if spec.role == "worker":
                together.wait(SOON)

        run.provider.before_create = create
        run.up(spec_of(1, 3))
        assert not together.broken

    @pytest.mark.parametrize("control_planes", [1, 3])
    def test_flannel_is_applied_before_init_ends(self, run: Run, control_planes: int) -> None:
        """The fake's init fails if flannel waits for its end."""
        run.up(spec_of(control_planes))
        [manifest] = run.kubernetes.applied
        kinds = [document["kind"] for document in yaml.safe_load_all(manifest)]
        assert "DaemonSet" in kinds
        host = "172.28.0.2" if control_planes > 1 else "172.28.0.11"
        assert f"value: {host}\n" in manifest
        applied = run.at("ran", "lab-control-plane-1", "kubectl --kubeconfig /etc/kubernetes/super-admin.conf apply")
        last = init_phases.at_last(other_planes=control_planes > 1)
        assert applied < run.at("ran", "lab-control-plane-1", shlex.join(last))

    @pytest.mark.parametrize(("control_planes", "uploads"), [(1, False), (3, True)])
    def test_certificates_are_uploaded_where_others_need_them(
        self, run: Run, control_planes: int, uploads: bool
    ) -> None:
        run.up(spec_of(control_planes))
        early = " ".join(init_phases.meanwhile(other_planes=uploads, dns=not uploads))
        assert run.ran(early) == ["lab-control-plane-1"]
