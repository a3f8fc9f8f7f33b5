"""Hollow nodes: what is made of them, where kwok runs, and what a second `up` leaves alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import loading
import pytest
import yaml
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import hollow, paths
from kubedrill import hollow_parts as parts
from kubedrill.console import Console
from kubedrill.cputime import Stopwatch
from kubedrill.faults import SilenceHollowNodes
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, from_data, to_data
from kubedrill.kube import PodSnapshot
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.shell import Result
from kubedrill.spec import load

drill = loading.by_path("many_nodes", paths.repository() / "scenarios" / "many_nodes.py")


class TestParts:
    def test_a_node_is_told_from_real_ones_and_takes_no_strangers(self) -> None:
        (node,) = json.loads(parts.nodes([7]))["items"]
        assert node["metadata"]["name"] == "hollow-7"
        assert node["metadata"]["labels"][parts.LABEL] == "true"
        assert "kubernetes.io/os" not in node["metadata"]["labels"], "kube-proxy and flannel select by it"
        assert node["spec"]["taints"] == [{"key": parts.LABEL, "value": "true", "effect": "NoSchedule"}]

    def test_the_stages_are_of_nodes_and_pods(self) -> None:
        options, *stages = yaml.safe_load_all(parts.stages("v1.37.2"))
        assert options["options"]["nodeLeaseParallelism"] >= 10
        # Without a figure kwok refuses to start: none has a default once one is given.
        assert options["options"].keys() >= {
            "nodePlayStageParallelism", "podPlayStageParallelism", "podsOnNodeSyncParallelism",
        }  # fmt: skip
        assert [stage["spec"]["resourceRef"]["kind"] for stage in stages] == ["Node", "Pod", "Pod", "Pod"]
        template = stages[0]["spec"]["next"]["statusTemplate"]
        assert "kubeletVersion: v1.37.2" in template
        assert yaml.safe_load(template.replace("{{ $now := Now }}", "").replace("{{ $now | Quote }}", "now")
                              .replace("{{ NodeName | Quote }}", "a"))["allocatable"]["pods"] == "110"  # fmt: skip
        assert stages[3]["spec"]["next"]["delete"] is True

    def test_a_pod_whose_readiness_the_controller_manager_took_gets_it_again(self) -> None:
        (stage,) = [one for one in yaml.safe_load_all(parts.stages("v1")) if one.get("metadata", {}).get("name") ==
                    "pod-is-ready-again"]  # fmt: skip
        (ready,) = (one for one in stage["spec"]["selector"]["matchExpressions"] if "Ready" in one["key"])
        assert (ready["operator"], ready["values"]) == ("NotIn", ["True"])
        assert "podIP" not in stage["spec"]["next"]["statusTemplate"], "a pod keeps its address"

    def test_kwok_plays_those_that_are_not_silenced(self) -> None:
        assert f"--manage-nodes-with-label-selector={parts.PLAYED}=runs" in parts.unit("/kwok")

    def test_kwok_may_not_read_secrets_or_delete_nodes(self) -> None:
        objects = list(yaml.safe_load_all(parts.rights()))
        rules = [rule for item in objects for rule in item.get("rules", [])]
        assert {resource for rule in rules for resource in rule["resources"]} == {
            "nodes", "nodes/status", "pods", "pods/status", "events", "leases",
        }  # fmt: skip
        assert all("delete" not in rule["verbs"] for rule in rules if "nodes" in rule["resources"])


class FakeApi:
    """An API that knows of hollow nodes; a created one is Ready the second time somebody looks."""

    def __init__(self, there: int) -> None:
        self.found = {parts.name(number): True for number in range(1, there + 1)}
        self.looked = 0

    def hollow(self) -> Mapping[str, bool]:
        """As they are."""
        self.looked += 1
        now = dict(self.found)
        self.found = dict.fromkeys(self.found, True)
        return now


@pytest.fixture
def kwok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kwok that is built."""
    (tmp_path / "kwok").write_text("#!/bin/sh\n")
    monkeypatch.setattr(hollow.components, "build", lambda name, compiler, say: tmp_path)
    monkeypatch.setattr(hollow.components, "go_version", lambda: "go version go1 linux/amd64")
    return tmp_path


def world(api: FakeApi, control_planes: int = 1) -> FakeProvider:
    def answer(node: FakeNode, call: Call) -> Result | None:
        if call.argv[:2] == ("kubectl", "create"):
            api.found |= {item["metadata"]["name"]: False for item in json.loads(call.stdin or "")["items"]}
        return Result(0, "", "")

    provider = FakeProvider(script=answer)
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    roles: list[tuple[str, Role]] = [(f"control-plane-{n}", "control-plane") for n in range(1, control_planes + 1)]
    roles += [("load-balancer", "load-balancer")] if control_planes > 1 else []
    for last, (key, role) in enumerate([*roles, ("worker-1", "worker")], 10):
        provider.create_node("lab", NodeSpec(f"lab-{key}", role, f"172.28.0.{last}", "an image"))
    return provider


def add(api: FakeApi, count: int, control_planes: int = 1) -> FakeProvider:
    provider = world(api, control_planes)
    asked = load(None, {"workers": 1, "controlPlanes": control_planes, "hollow": count})
    hollow.add(asked, tuple(provider.nodes("lab")), api, Console())  # type: ignore[arg-type]
    return provider


def test_what_it_took_does_not_count_the_build_of_kwok(kwok: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def build(*_: object) -> Path:
        clock[0] += 100
        return kwok

    def watch() -> Stopwatch:
        return Stopwatch(lambda: clock[0], lambda: None)

    monkeypatch.setattr(hollow.components, "build", build)
    monkeypatch.setattr(hollow, "Stopwatch", watch)
    api = FakeApi(3)
    asked = load(None, {"workers": 1, "hollow": 3})
    assert hollow.add(asked, tuple(world(api).nodes("lab")), api, Console()).seconds == 0  # type: ignore[arg-type]
    assert clock == [100]


def lines(provider: FakeProvider, name: str) -> list[str]:
    return [call.line for call in provider.node(name).calls]


class TestAdd:
    def test_all_are_made_some_hundreds_at_a_time(self, kwok: Path) -> None:
        api = FakeApi(0)
        provider = add(api, 1200)
        assert len(api.found) == 1200
        assert lines(provider, "lab-control-plane-1").count("kubectl create -f -") == 3

    def test_what_is_there_stays(self, kwok: Path) -> None:
        api = FakeApi(20)
        provider = add(api, 20)
        assert "kubectl create -f -" not in lines(provider, "lab-control-plane-1")
        assert f"systemctl restart {parts.UNIT}" in lines(provider, "lab-control-plane-1")

    def test_those_that_fell_silent_are_waited_for(self, kwok: Path) -> None:
        """A kwok that was dead is started again; its nodes are Ready a moment later."""
        api = FakeApi(20)
        api.found = dict.fromkeys(api.found, False)
        add(api, 20)
        assert api.looked == 2, "to know who is there, and until all are Ready"

    def test_behind_a_balancer_kwok_runs_on_it(self, kwok: Path) -> None:
        provider = add(FakeApi(0), 3, control_planes=3)
        assert f"systemctl restart {parts.UNIT}" in lines(provider, "lab-load-balancer")
        assert f"systemctl restart {parts.UNIT}" not in lines(provider, "lab-control-plane-1")
        assert parts.UNIT_PATH in provider.node("lab-load-balancer").disk


class TestSpec:
    def test_hundreds_get_a_larger_subnet(self) -> None:
        assert load(None, {"hollow": 1000}).pod_subnet == "10.240.0.0/12"
        assert load(None, {"hollow": 50}).pod_subnet == "10.244.0.0/16"

    def test_a_subnet_that_is_asked_for_must_have_room(self) -> None:
        with pytest.raises(Exception, match="room for 256 nodes"):
            load(None, {"hollow": 1000, "podSubnet": "10.1.0.0/16"})


class TestFault:
    def test_the_undo_is_the_other_way_round(self) -> None:
        fault = SilenceHollowNodes(("hollow-1", "hollow-2"))
        (plan,) = fault.ways(None, "")  # type: ignore[arg-type]
        (broken,), (mended,) = plan.inject, plan.undo
        assert isinstance(broken, Command)
        assert isinstance(mended, Command)
        assert broken.node == mended.node == ANY_CONTROL_PLANE
        assert broken.argv[-1] == f"{parts.PLAYED}-"
        assert mended.argv[-1] == f"{parts.PLAYED}=runs"
        assert from_data(to_data(mended)) == mended


def pod(name: str, node: str, *, ready: bool = True, deleting: bool = False) -> PodSnapshot:
    return PodSnapshot("drill", name, node, "10.0.0.1", "Running", ready, 0, deleting, {})


class Dying:
    """A lab in which pods of dead nodes are replaced once they are not tolerated any more; time passes in waits."""

    def __init__(self, count: int) -> None:
        self.nodes = [parts.name(number) for number in range(1, count + 1)]
        self.time = 0.0
        self.dead_at: float | None = None
        self.dead: tuple[str, ...] = ()
        self.stays = 0
        self.met: list[bool] = []
        spec = SimpleNamespace(hollow=count)
        self.cluster = SimpleNamespace(spec=spec)
        self.api = SimpleNamespace(hollow=lambda: {name: name not in self.dead for name in self.nodes})

    def apply(self, *objects: Any) -> None:
        """The Deployment tells how long pods stay."""
        for tolerations in (one["spec"]["template"]["spec"].get("tolerations", []) for one in objects
                            if one["kind"] == "Deployment" and one["metadata"]["name"] == "many"):  # fmt: skip
            self.stays = next(one["tolerationSeconds"] for one in tolerations if "tolerationSeconds" in one)

    def pods(self, name: str) -> list[PodSnapshot]:
        """One on each node; those of dead ones move when their time is over."""
        if name == "hello":
            return [pod(name, "lab-worker-1")]
        over = self.dead_at is not None and self.time >= self.dead_at + self.stays
        alive = [one for one in self.nodes if one not in self.dead]
        homes = [alive[0] if over and one in self.dead else one for one in self.nodes]
        return [pod(f"{name}-{number}", home) for number, home in enumerate(homes)]

    def expect(self, what: str, read: Any, check: Any, *, within: float, **_: Any) -> Any:
        """It comes."""
        assert check(read())[0], what
        return read()

    def require_seen(self, text: str, read: Any, check: Any, *, within: float) -> bool:
        """Look again at the end of the time."""
        self.time += within
        self.met.append(check(read())[0])
        return self.met[-1]

    @contextlib.contextmanager
    def fault(self, fault: SilenceHollowNodes, role: str) -> Iterator[None]:
        """They die."""
        self.dead, self.dead_at = fault.nodes, self.time
        yield
        self.dead = ()

    def control_planes(self) -> list[Any]:
        """One, that tells nothing of itself."""
        return [SimpleNamespace(run=lambda *_, **__: Result(1, "", ""))]

    def __getattr__(self, name: str) -> Any:
        if name in ("assume_true", "baseline", "from_now", "command", "require", "fact", "verify", "require_downtime",
                    "require_writes"):  # fmt: skip
            return lambda *_, **__: None
        raise AttributeError(name)


class TestDrill:
    def test_what_tolerates_dead_nodes_for_long_misses_the_limit_of_the_drill(self) -> None:
        passing, control = Dying(100), Dying(100)
        drill.run(passing)
        assert passing.met == [True]
        drill.run(control, tolerate=300)
        assert control.met == [False]

    def test_its_pods_are_for_hollow_nodes(self) -> None:
        made: Any = drill.many(10, 5)
        spec = made["spec"]["template"]["spec"]
        assert spec["nodeSelector"] == {parts.LABEL: "true"}
        assert {one["key"] for one in spec["tolerations"]} >= {parts.LABEL, "node.kubernetes.io/unreachable"}

    def test_pods_on_dead_nodes_do_not_count(self) -> None:
        pods = [pod("a", "hollow-1"), pod("b", "hollow-2"), pod("c", "hollow-3", deleting=True)]
        assert drill._elsewhere(pods, ["hollow-1"], 1) == (True, "1 of 1 pods run on nodes that live")
        assert not drill._elsewhere(pods, ["hollow-1"], 2)[0]

    def test_others_must_stay_ready(self) -> None:
        assert drill._unready({"a": False, "b": True}, ["a"])[0]
        assert not drill._unready({"a": False, "b": False}, ["a"])[0]
        assert not drill._unready({"a": True, "b": True}, ["a"])[0]
