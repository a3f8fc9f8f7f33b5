"""What comes in from the API, the provider and etcd, and what the page is told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_provider import FakeProvider

from kubedrill.dashboard import etcd, state, views
from kubedrill.dashboard.state import Computer, Member, State
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result

CREATED = "2026-11-24T21:00:00Z"


def node(name: str, ready: str = "True", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "message": "because"}]
    meta = {"name": name, "uid": f"uid-{name}", "creationTimestamp": CREATED}
    return {"metadata": meta, "spec": spec, "status": {"conditions": conditions}}


def pod(name: str, node: str = "", phase: str = "Running", *states: dict[str, Any], **meta: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]
    statuses = [{"ready": "running" in one, "restartCount": 2, "state": one} for one in states]
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": CREATED, **meta},
        "spec": {"containers": [{}] * len(states), **({"nodeName": node} if node else {})},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": statuses},
    }


def lease(namespace: str, name: str, holder: str) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "renewTime": "2026-11-24T21:00:01.500000Z", "leaseDurationSeconds": 15}
    return {"metadata": {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}"}, "spec": spec}


def test_a_list_replaces_and_a_change_touches_one() -> None:
    first = State().listed("pods", [pod("a", "w"), pod("b", "w")])
    then = first.changed("pods", "ADDED", pod("c")).changed("pods", "DELETED", pod("a", "w"))
    assert [one["name"] for one in state.pods(then)] == ["b", "c"]
    assert [one["name"] for one in state.pods(first)] == ["a", "b"]
    assert [one["name"] for one in state.pods(then.listed("pods", [pod("d")]))] == ["d"]


def test_an_object_made_anew_under_its_name_is_not_taken_away_by_the_end_of_the_old_one() -> None:
    new = pod("a", "w", uid="new")
    seen = State().listed("pods", [pod("a")]).changed("pods", "ADDED", new).changed("pods", "DELETED", pod("a"))
    assert [one["node"] for one in state.pods(seen)] == ["w"]


def test_a_watch_that_gets_through_again_is_no_longer_lost() -> None:
    lost = State().silent("pods", "refused").silent("nodes", "refused")
    assert state.control(lost.changed("pods", "ADDED", pod("a")))["lost"] == {"nodes": "refused"}


@pytest.mark.parametrize(
    ("item", "status", "ready", "well"),
    [
        (pod("a", "w", "Running", {"running": {}}), "Running", "1/1", True),
        (pod("a", "w", "Pending", {"waiting": {"reason": "CrashLoopBackOff"}}), "CrashLoopBackOff", "0/1", False),
        (pod("a", "w", "Running", {"running": {}}, deletionTimestamp=CREATED), "Terminating", "1/1", False),
        (pod("a", "w", "Succeeded", {"terminated": {"reason": "Completed"}}), "Succeeded", "0/1", True),
        (pod("a", "w", "Running", {"terminated": {"reason": "OOMKilled"}}), "OOMKilled", "0/1", False),
        (pod("a", "", "Pending"), "Starting", "0/0", False),
    ],
)
def test_pods_are_told_in_kubectls_words(item: dict[str, Any], status: str, ready: str, well: bool) -> None:
    seen = views.pod(item)
    assert (seen.status, seen.ready, seen.well) == (status, ready, well)


def test_nodes_are_computers_with_what_kubernetes_says_and_what_only_it_knows_of() -> None:
    taint = {"key": "team", "value": "drill", "effect": "NoSchedule"}
    here = (Computer("lb", "load-balancer", "x", "running"), Computer("w1", "worker", "y", "stopped"))
    seen = State(computers=here).listed("nodes", [node("w1", "Unknown", unschedulable=True, taints=[taint]), node("z")])
    balancer, worker, stray = state.nodes(seen)
    assert balancer["node"] is None
    assert (worker["state"], worker["node"]["ready"], worker["node"]["cordoned"]) == ("stopped", None, True)
    assert worker["node"]["taints"] == ("team=drill:NoSchedule",)
    assert (stray["name"], stray["state"], stray["node"]["ready"]) == ("z", "gone", True)


def test_leases_name_the_node_that_leads_and_each_kubelets_word() -> None:
    items = [
        lease("kube-system", "kube-scheduler", "lab-control-plane-1_7c0e-55"), lease("kube-node-lease", "w1", "w1"),
        lease("kube-system", "apiserver-x", "x_y"),
    ]  # fmt: skip
    seen = state.leases(State().listed("leases", items))
    assert [(one["name"], one["holder"]) for one in seen["leaders"]] == [("kube-scheduler", "lab-control-plane-1")]
    assert [(one["name"], one["renewed"] % 60, one["duration"]) for one in seen["nodes"]] == [("w1", 1.5, 15.0)]


def test_events_come_newest_first_by_when_they_were_last_seen() -> None:
    def event(name: str, **times: Any) -> dict[str, Any]:
        return {"metadata": {"uid": name, "creationTimestamp": CREATED}, "reason": name, "involvedObject": {}, **times}

    again = {"count": 3, "lastObservedTime": "2026-11-24T21:09:00.000000Z"}
    items = [
        event("old"), event("last", lastTimestamp="2026-11-24T21:05:00Z"), event("series", series=again),
        event("new", eventTime="2026-11-24T21:07:00.000001Z", lastTimestamp=None),
    ]  # fmt: skip
    seen = state.events(State().listed("events", items))
    assert [one["reason"] for one in seen] == ["series", "new", "last", "old"]
    assert seen[0]["count"] == 3


def test_how_long_something_answers_counts_from_when_that_changed() -> None:
    one = State().asked((True, ""), {"cp": (True, "")}, 10).asked((True, ""), {"cp": (False, "refused")}, 11)
    seen = state.control(one.asked((True, ""), {"cp": (False, "timed out")}, 12))
    assert seen["api"] == {"answers": True, "since": 10, "why": ""}
    assert seen["servers"] == [{"node": "cp", "answers": False, "since": 11, "why": "timed out"}]


def _status(address: str, member: int, leader: int, **more: Any) -> dict[str, Any]:
    header = {"member_id": member}
    return {
        "Endpoint": f"https://{address}:2379",
        "Status": {"header": header, "leader": leader, "raftTerm": 4, **more},
    }


def test_etcd_members_lead_follow_or_do_not_answer() -> None:
    said = [_status("10.0.0.1", 7, 9), _status("10.0.0.2", 9, 9, dbSize=100), _status("10.0.0.4", 5, 0)]
    names = {"10.0.0.1": "a", "10.0.0.2": "b", "10.0.0.3": "c", "10.0.0.4": "d"}
    assert etcd.members(json.dumps(said), names) == (
        Member("a", "follows", 4), Member("b", "leads", 4, 100), Member("c", "no answer"), Member("d", "no leader", 4),
    )  # fmt: skip
    assert etcd.members("Error: no endpoints", names) == ()


def test_etcd_is_asked_where_a_control_plane_runs_and_for_every_one_by_its_address() -> None:
    said = json.dumps([_status("10.0.0.2", 9, 9)])
    provider = FakeProvider(script=lambda _node, _call: Result(1, said, "one is dead"))
    provider.create_network("lab", NetworkSpec("10.0.0.0/24", {}))
    made = [provider.create_node("lab", NodeSpec(f"cp-{n}", "control-plane", f"10.0.0.{n}", "x")) for n in (1, 2)]
    made[0].kill()
    found, why = etcd.ask(made)
    assert (found, why) == ((Member("cp-1", "no answer"), Member("cp-2", "leads", 4)), "")
    made[1].kill()
    assert etcd.ask(made) == ((Member("cp-1", "no answer"), Member("cp-2", "no answer")), "no node with a member runs")


def test_that_nobody_could_be_asked_says_nothing_of_the_members() -> None:
    provider = FakeProvider(script=lambda _node, _call: Result(1, "", "context deadline exceeded"))
    provider.create_network("lab", NetworkSpec("10.0.0.0/24", {}))
    made = [provider.create_node("lab", NodeSpec("cp-1", "control-plane", "10.0.0.1", "x"))]
    assert etcd.ask(made) == ((Member("cp-1", "not known"),), "cp-1: context deadline exceeded")
