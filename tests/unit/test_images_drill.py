"""The drill of images: what it reads of pods, and an image that leaves nodes as it found them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import loading
import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import shell
from kubedrill.cluster import Cluster
from kubedrill.faults import VisitingImage
from kubedrill.faults.actions import Command, Plan, from_data, to_data
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

NEW = "kubedrill.local/hello:2"


@pytest.fixture(scope="module")
def drill() -> ModuleType:
    return loading.drill("images")


@pytest.fixture
def plan() -> Plan:
    provider = FakeProvider()
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    for number in (1, 2):
        spec = NodeSpec(f"lab-worker-{number}", "worker", f"172.28.0.10{number}", "an image")
        provider.create_node("lab", spec)
    cluster = Cluster(ClusterSpec(workers=2), tuple(provider.nodes("lab")), 1)
    (made,) = VisitingImage(("worker-1", "worker-2"), NEW).ways(cluster, "0badcafe")
    return made


def item(name: str, image: str, state: dict[str, Any], **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": "worker-1", "containers": [{"image": image}]},
        "status": {"containerStatuses": [{"state": state, "ready": "running" in state}]},
    }


def test_pods_are_read(drill: ModuleType) -> None:
    unscheduled = item("d", NEW, {})
    unscheduled["status"] = {}
    del unscheduled["spec"]["nodeName"]
    items = [
        item("a", "old", {"running": {}}),
        item("b", NEW, {"waiting": {"reason": "ImagePullBackOff"}}),
        item("c", "old", {"running": {}}, deletionTimestamp="2026-01-01T00:00:00Z"),
        unscheduled,
    ]
    found = drill.pods_of(json.dumps({"items": items}))
    assert [(pod.name, pod.image, pod.waits, pod.ready) for pod in found] == [
        ("a", "old", "", True),
        ("b", NEW, "ImagePullBackOff", False),
        ("d", NEW, "", False),
    ]


class CacheLab:
    """A lab whose nodes pull from the cache, if they are pointed at it, and the cache from upstream, while it runs."""

    def __init__(self, drill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.required: dict[str, bool] = {}
        self.held: dict[str, list[str]] = {"upstream": [], "cache": []}
        self.pointed = False
        self.image = "old"
        provider = FakeProvider(script=self.answer)
        provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        for role, name, last in (("control-plane", "control-plane-1", 11), ("worker", "worker-1", 101)):
            provider.create_node("lab", NodeSpec(f"lab-{name}", role, f"172.28.0.{last}", "an image"))  # type: ignore[arg-type]
        self.cluster = Cluster(ClusterSpec(workers=1), tuple(provider.nodes("lab")), 1)
        self.having: set[str] = set()
        self.upstream_runs = True
        monkeypatch.setattr(
            drill.registries, "serve", lambda node, one, _: self.told.append(f"serve {one.name} {one.url}")
        )
        monkeypatch.setattr(drill.registries, "point", lambda nodes, source, lab, cache: self.point(cache.url))
        monkeypatch.setattr(
            drill.push, "catalog", lambda url, _: self.held["cache" if url.endswith("5011") else "upstream"]
        )
        monkeypatch.setattr(drill.push, "push", lambda archive, url, path, tag, _: self.held["upstream"].append(path))
        monkeypatch.setattr(drill, "_made", lambda *_: "archive")
        monkeypatch.setattr(
            drill, "_pods", lambda _: [drill.Pod(f"p{n}", "lab-worker-1", self.image, "", True) for n in "12"]
        )
        monkeypatch.setattr(drill, "_set", lambda _, image: self.set(image))

    def point(self, url: str) -> None:
        """Nodes ask the cache."""
        self.told.append(f"point {url}")
        self.pointed = True

    def set(self, image: str) -> None:
        """Roll out an image; only what can be pulled is."""
        if image.startswith("kubedrill.test/") and not self.pull("lab-worker-1"):
            return
        self.image = image

    def pull(self, node: str) -> bool:
        """Pull the image into a node."""
        if not self.pointed or not (self.upstream_runs or self.held["cache"]):
            return False
        self.held["cache"] = list(self.held["upstream"])
        self.having.add(node)
        return True

    def answer(self, node: FakeNode, call: Call) -> Result:
        """ctr, crictl and systemctl."""
        if call.argv[0] == "ctr":
            return Result(0, "it\n" if node.name in self.having else "", "")
        if call.argv[:2] == ("systemctl", "stop"):
            self.upstream_runs = False
        if call.argv[:2] == ("crictl", "pull"):
            return Result(0 if self.pull(node.name) else 1, "", "")
        return Result(0, "", "")

    def fault(self, *faults: object) -> contextlib.AbstractContextManager[None]:
        """Keep what visits."""
        self.told += map(str, faults)
        return contextlib.nullcontext()

    def expect(self, what: str, read: Callable[[], Any], check: Callable[[Any], tuple[bool, str]], **_: Any) -> None:
        """Look once."""
        self.required[what] = check(read())[0]

    def require(self, text: str, ok: bool, measured: object) -> None:
        """Keep it."""
        self.required[text] = ok

    def now(self) -> float:
        """No time passes."""
        return 0.0

    from_now = now

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("say", "command", "fact"):
            return lambda *_: None
        raise AttributeError(name)


class TestPullThrough:
    def drilled(
        self, drill: ModuleType, monkeypatch: pytest.MonkeyPatch, *, pointed: bool, keeps: bool = True
    ) -> CacheLab:
        lab = CacheLab(drill, monkeypatch)
        if not keeps:
            monkeypatch.setattr(lab, "pull", lambda node: lab.upstream_runs and not lab.having.add(node))
        drill._pulled_through(lab, lab.cluster.nodes, pointed=pointed)
        return lab

    def test_the_cache_gets_it_and_keeps_it(self, drill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        lab = self.drilled(drill, monkeypatch, pointed=True)
        assert [line for line in lab.told if not line.startswith("let ")] == [
            "serve upstream http://172.28.0.11:5010", "serve cache http://172.28.0.11:5011", "point http://172.28.0.11:5011"
        ]  # fmt: skip
        assert lab.told[0] == "let lab-control-plane-1 run the registries upstream, cache for a while"
        assert len(lab.required) == 5
        assert [text for text, ok in lab.required.items() if not ok] == []
        assert lab.having == {"lab-worker-1", "lab-control-plane-1"}

    def test_nodes_that_are_not_pointed_at_it_get_nothing(
        self, drill: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab = self.drilled(drill, monkeypatch, pointed=False)
        assert not lab.required["the version that no node had is rolled out"]

    def test_a_cache_that_keeps_nothing_is_noticed(self, drill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        lab = self.drilled(drill, monkeypatch, pointed=True, keeps=False)
        assert lab.required["the version that no node had is rolled out"]
        assert [text for text, ok in lab.required.items() if not ok] == [
            "the cache has the image now", "lab-control-plane-1 gets it from the cache, with nothing behind it"
        ]  # fmt: skip


class TestVisitingImage:
    def node(self, root: Path, images: str) -> None:
        """A node's runtime that knows these images; as containerd's, its CRI knows no filter of them."""
        (root / "images").write_text(images)
        ctr = f'#!/bin/sh\ntest "$3 $4 $5" = "images list --quiet" && grep -x "${{6#name==}}" {root}/images || true\n'
        crictl = (
            f'#!/bin/sh\ncase "$1" in images) cat {root}/images;; '
            f'rmi) [ "$2" != "" ] && grep -v -x "$2" {root}/images >{root}/new; mv {root}/new {root}/images;; esac\n'
        )
        for name, script in (("ctr", ctr), ("crictl", crictl)):
            (root / name).write_text(script)
            (root / name).chmod(0o755)

    def do(self, root: Path, action: object) -> int:
        assert isinstance(action, Command)
        return shell.run(list(action.argv), env={"PATH": f"{root}:/usr/bin:/bin"}, check=False).status

    def test_it_is_taken_out_of_every_node_and_nothing_else_is(self, tmp_path: Path, plan: Plan) -> None:
        self.node(tmp_path, f"old\n{NEW}\n")
        assert self.do(tmp_path, plan.healed[0]) == 1
        assert self.do(tmp_path, plan.undo[0]) == self.do(tmp_path, plan.undo[0]) == 0
        assert (tmp_path / "images").read_text() == "old\n"
        assert self.do(tmp_path, plan.healed[0]) == 0
        assert [action.node for action in plan.undo] == ["lab-worker-1", "lab-worker-2"]

    def test_other_images_are_not_taken_for_it(self, tmp_path: Path, plan: Plan) -> None:
        self.node(tmp_path, "old\nkubedrill.local/hello:21\n")
        assert self.do(tmp_path, plan.before[-1]) == 0

    def test_nodes_that_have_it_already_are_refused(self, plan: Plan) -> None:
        assert set(plan.healed) <= set(plan.before)

    def test_a_runtime_that_does_not_answer_says_nothing(self, tmp_path: Path, plan: Plan) -> None:
        for name in ("ctr", "crictl"):
            (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
            (tmp_path / name).chmod(0o755)
        assert self.do(tmp_path, plan.healed[0]) == 1
        assert self.do(tmp_path, plan.undo[0]) == 1

    def test_it_can_be_written_to_disk(self, plan: Plan) -> None:
        for action in (*plan.undo, *plan.healed, *plan.before):
            assert from_data(json.loads(json.dumps(to_data(action)))) == action

    @pytest.mark.parametrize("image", ["hello", "hello:2", "a/b:1; rm -rf /", "a/b", "a/b:$(x)"])
    def test_names_end_up_in_command_lines(self, image: str) -> None:
        with pytest.raises(ValueError, match="is no full name of an image"):
            VisitingImage(("worker-1",), image)
