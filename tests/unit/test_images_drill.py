"""The drill of images: what it reads of pods, and an image that leaves nodes as it found them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import loading
import pytest
from fakes import FakeProvider

from kubedrill import shell
from kubedrill.cluster import Cluster
from kubedrill.faults import VisitingImage
from kubedrill.faults.actions import Command, Plan, from_data, to_data
from kubedrill.providers.base import NetworkSpec, NodeSpec
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
