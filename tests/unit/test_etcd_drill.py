"""Faults of etcd's data: their scripts are run for real, in a folder that stands for the node."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import loading
import pytest
from fake_provider import FakeProvider

from kubedrill import etcd_members, shell
from kubedrill.cluster import Cluster
from kubedrill.errors import TimedOut
from kubedrill.faults import EtcdSnapshot, Fault, LoseMember, LoseQuorum
from kubedrill.faults.actions import ANY_MEMBER, Command, Plan, from_data, to_data
from kubedrill.faults.etcd import rejoin, restore
from kubedrill.providers import base
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.spec import ClusterSpec

ONE, TWO, THREE = (f"lab-control-plane-{number}" for number in (1, 2, 3))
QUORUM = LoseQuorum(ONE, (TWO, THREE))
# etcdctl and etcdutl as far as the scripts use them. The last word of --endpoints is who is asked, else oneself.
CRICTL = """#!/bin/sh
echo "$@" >>ROOT/crictl.log
case "$*" in
    ps*etcd*) if [ -e ROOT/runs ]; then echo 1234; fi;;
    ps*) ;;
    *"endpoint status"*) case "$*" in *--endpoints=*) at=${*#*--endpoints=https://}; [ -e "ROOT/answers-${at%%:*}" ];;
                                    *) [ -e ROOT/runs ];; esac;;
    *"endpoint health"*) [ -e ROOT/healthy ];;
    *"member list"*) cat ROOT/members;;
    *"member remove"*) echo "${*##* } removed" >>ROOT/changes;;
    *"member add"*) echo "added ${*#*member add }" >>ROOT/changes;;
    *"snapshot restore"*) dir=${*#*--data-dir }; mkdir -p "${dir%% *}/member"; echo restored >"${dir%% *}/member/db";;
esac
"""


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    provider = FakeProvider()
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    for number in (1, 2, 3):
        provider.create_node(
            "lab", NodeSpec(f"lab-control-plane-{number}", "control-plane", f"172.28.0.1{number}", "an image")
        )
    return Cluster(ClusterSpec(control_planes=3, workers=0), tuple(provider.nodes("lab")), 1)


def plan(cluster: Cluster, fault: Fault) -> Plan:
    (only,) = fault.ways(cluster, "0badcafe")
    return only


class Node:
    """A control plane: a folder, and what of its etcd there is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "kubernetes/manifests", "etcd/member"):
            (root / folder).mkdir(parents=True)
        self.put("kubernetes/manifests/etcd.yaml", "manifest")
        self.put("etcd/member/db", "old")
        self.put("bin/crictl", CRICTL.replace("ROOT", str(root))).chmod(0o755)
        self.put("bin/pgrep", "#!/bin/sh\nexit 1\n").chmod(0o755)
        self.put("runs")
        self.put("healthy")

    def put(self, file: str, text: str = "") -> Path:
        """Write a file."""
        (self.root / file).write_text(text)
        return self.root / file

    def text(self, file: str) -> str:
        """What a file holds; '-' where there is none."""
        return (self.root / file).read_text() if (self.root / file).exists() else "-"

    def do(self, *actions: object) -> list[int]:
        """Carry out commands; their statuses."""
        statuses = []
        for action in actions:
            assert isinstance(action, Command)
            argv = [
                word.replace("/etc/kubernetes/", f"{self.root}/kubernetes/").replace(
                    "/var/lib/etcd", f"{self.root}/etcd"
                )
                for word in action.argv
            ]
            env = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
            statuses.append(shell.run(argv, env=env, check=False).status)
        return statuses


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("fault", [EtcdSnapshot(ONE), LoseMember(THREE), QUORUM])
def test_a_plan_can_be_written_to_disk_and_says_when_it_is_healed(cluster: Cluster, fault: Fault) -> None:
    made = plan(cluster, fault)
    assert made.before
    assert made.undo
    assert made.healed
    for action in (*made.inject, *made.undo, *made.healed, *made.before):
        assert from_data(json.loads(json.dumps(to_data(action)))) == action


class TestRejoin:
    def test_a_member_that_was_never_touched_is_left_alone(self, node: Node, cluster: Cluster) -> None:
        node.put("answers-172.28.0.13")
        assert node.do(*rejoin(cluster, THREE)) == [0, 0, 0, 0]
        assert (node.text("etcd/member/db"), node.text("changes")) == ("old", "-")
        assert node.text("kubernetes/manifests/etcd.yaml") == "manifest"

    def test_one_that_is_slow_for_a_moment_is_left_alone_too(self, node: Node, cluster: Cluster) -> None:
        node.put("answers-172.28.0.13")
        (node.root / "healthy").unlink()
        first, replace, back, healthy = rejoin(cluster, THREE)
        assert node.do(first, replace, back) == [0, 0, 0]
        assert node.do(healthy) != [0], "the undo waits until it is well again"
        assert (node.text("etcd/member/db"), node.text("changes")) == ("old", "-")

    def test_one_whose_data_is_destroyed_is_replaced(self, node: Node, cluster: Cluster) -> None:
        (inject,) = plan(cluster, LoseMember(THREE)).inject
        assert node.do(inject) == [0]
        assert node.text("etcd/member/db") == node.text("kubernetes/manifests/etcd.yaml") == "-"
        node.put("members", "a1, started, x, https://172.28.0.11:2380, https://172.28.0.11:2379, false\n"
                            "c3, started, y, https://172.28.0.13:2380, https://172.28.0.13:2379, false\n")  # fmt: skip
        assert node.do(*rejoin(cluster, THREE)) == [0, 0, 0, 0]
        assert node.text("changes") == f"c3 removed\nadded {THREE} --peer-urls=https://172.28.0.13:2380\n"
        assert node.text("kubernetes/manifests/etcd.yaml") == "manifest"
        assert not (node.root / "kubernetes" / "kubedrill-removed").exists()

    def test_an_undo_that_was_cut_off_begins_again_with_no_data(self, node: Node, cluster: Cluster) -> None:
        node.do(*plan(cluster, LoseMember(THREE)).inject)
        node.put("members", "")
        first, replace, back, healthy = rejoin(cluster, THREE)
        node.do(first, replace, back)
        # It started, as a member that the next run removes: what it has written must go.
        (node.root / "etcd" / "member").mkdir()
        node.put("etcd/member/db", "of a member that is to be removed")
        (node.root / "runs").unlink()
        (node.root / "healthy").unlink()
        assert node.do(healthy) != [0]
        assert node.do(first) == [0]
        assert node.text("etcd/member/db") == "-"
        node.put("healthy")
        node.put("runs")
        assert node.do(replace, back, healthy) == [0, 0, 0]
        assert node.text("kubernetes/manifests/etcd.yaml") == "manifest"

    def test_one_that_was_added_and_never_started_is_started(self, node: Node, cluster: Cluster) -> None:
        """It has a vote: beside one other there is no majority until it starts, and nothing can be changed before."""
        node.do(*plan(cluster, LoseMember(THREE)).inject)
        node.put("members", "a1, started, x, https://172.28.0.11:2380, https://172.28.0.11:2379, false\n"
                            "d4, unstarted, , https://172.28.0.13:2380, , false\n")  # fmt: skip
        (node.root / "healthy").unlink()
        first, replace, back, healthy = rejoin(cluster, THREE)
        assert node.do(first, replace, back) == [0, 0, 0]
        assert node.text("changes") == "-"
        assert node.text("kubernetes/manifests/etcd.yaml") == "manifest"
        node.put("healthy")
        assert node.do(healthy) == [0]

    def test_without_a_majority_nothing_is_removed(self, node: Node, cluster: Cluster) -> None:
        node.do(*plan(cluster, LoseMember(THREE)).inject)
        (node.root / "healthy").unlink()
        _, replace, *_ = rejoin(cluster, THREE)
        assert replace.node == ANY_MEMBER
        assert node.do(replace) != [0]
        assert node.text("changes") == "-"


class TestRestore:
    @pytest.fixture
    def lost(self, node: Node, cluster: Cluster) -> Node:
        """The survivor of a quorum that is lost."""
        assert node.do(plan(cluster, QUORUM).inject[0]) == [0]
        (node.root / "healthy").unlink()
        return node

    def test_it_becomes_a_cluster_of_its_own(self, lost: Node, cluster: Cluster) -> None:
        command = restore(cluster, ONE, (TWO, THREE))[0]
        assert lost.do(command) == [0]
        assert lost.text("etcd/member/db") == "restored\n"
        (line,) = [line for line in lost.text("crictl.log").splitlines() if "snapshot restore" in line]
        assert f"--initial-cluster {ONE}=https://172.28.0.11:2380 " in line
        assert "--bump-revision 1000000000 --mark-compacted" in line
        assert sorted(path.name for path in (lost.root / "etcd").iterdir()) == ["member"]
        lost.put("etcd/member/db", "written since")
        assert lost.do(command) == [0]
        assert lost.text("etcd/member/db") == "written since", "it is done once"

    def test_where_another_member_answers_there_is_a_majority(self, lost: Node, cluster: Cluster) -> None:
        lost.put("answers-172.28.0.13")
        assert lost.do(restore(cluster, ONE, (TWO, THREE))[0]) == [0]
        assert lost.text("etcd/member/db") == "old"
        (lost.root / "answers-172.28.0.13").unlink()
        assert lost.do(restore(cluster, ONE, (TWO, THREE))[0]) == [0]
        assert lost.text("etcd/member/db") == "old"

    def test_without_the_fault_nothing_is_restored(self, node: Node, cluster: Cluster) -> None:
        (node.root / "healthy").unlink()
        assert node.do(restore(cluster, ONE, (TWO, THREE))[0]) == [0]
        assert node.text("etcd/member/db") == "old"

    def test_it_waits_for_its_container(self, lost: Node, cluster: Cluster) -> None:
        (lost.root / "runs").unlink()
        assert lost.do(restore(cluster, ONE, (TWO, THREE))[0]) != [0]
        assert lost.text("etcd/member/db") == "old"

    def test_one_that_was_cut_off_goes_on_with_what_it_had_restored(self, lost: Node, cluster: Cluster) -> None:
        lost.put("bin/pgrep", "#!/bin/sh\nkill -KILL $PPID\n")
        command = restore(cluster, ONE, (TWO, THREE))[0]
        assert lost.do(command) != [0]
        lost.put("bin/pgrep", "#!/bin/sh\nexit 1\n")
        assert lost.do(command) == [0]
        assert lost.text("etcd/member/db") == "restored\n"
        assert lost.text("crictl.log").count("snapshot restore") == 1

    def test_the_process_is_stopped_before_its_data_is_changed(self, cluster: Cluster) -> None:
        script = restore(cluster, ONE, (TWO, THREE))[0].argv[-1]
        assert script.index("kill -STOP") < script.index("rm -rf /var/lib/etcd/member") < script.index("kill -KILL")


class TestForget:
    """A member that has no node any more, or soon will not have."""

    MEMBERS = ("a1, started, x, https://172.28.0.11:2380, https://172.28.0.11:2379, false\n"
               "d4, unstarted, , https://172.28.0.13:2380, , false\n")  # fmt: skip

    @pytest.fixture
    def leader(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> base.Node:
        monkeypatch.setattr(etcd_members, "_QUORUM", 0.2)
        env = {"PATH": f"{node.root}/bin:/usr/bin:/bin"}
        return cast(base.Node, SimpleNamespace(run=partial(shell.run, env=env)))

    def test_it_is_removed_by_its_address(self, node: Node, leader: base.Node) -> None:
        node.put("members", self.MEMBERS)
        etcd_members.forget_member(leader, "172.28.0.13")
        assert node.text("changes") == "d4 removed\n"

    def test_one_that_there_is_not_is_no_error(self, node: Node, leader: base.Node) -> None:
        node.put("members", self.MEMBERS)
        etcd_members.forget_member(leader, "172.28.0.1")
        assert node.text("changes") == "-"

    def test_an_etcd_that_does_not_tell_its_members_is(self, node: Node, leader: base.Node) -> None:
        """Its node would go all the same, and with it half of the votes."""
        assert node.text("members") == "-"
        with pytest.raises(TimedOut):
            etcd_members.forget_member(leader, "172.28.0.13")


def test_the_members_in_a_manifest() -> None:
    text = (
        "    - --name=b\n    - --initial-cluster=a=https://1:2380,b=https://2:2380\n    - --initial-cluster-state=x\n"
    )
    assert loading.drill("etcd_disaster").members_in(text) == {"a", "b"}
    assert loading.drill("etcd_disaster").members_in("") == set()
