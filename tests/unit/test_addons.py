"""Add-ons under a manager: what is rendered, what is put back, and that the undo is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from kubedrill import paths
from kubedrill.addons import metrics_server, render
from kubedrill.faults import ManageAddOns
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, from_data, to_data
from kubedrill.images.store import metrics_server as metrics_image
from kubedrill.network import to_yaml

NODES = ("lab-control-plane-1", "lab-control-plane-2")
LIVE: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "coredns",
        "namespace": "kube-system",
        "labels": {"k8s-app": "kube-dns"},
        "annotations": {"deployment.kubernetes.io/revision": "2"},
        "uid": "u",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-11-24T00:00:00Z",
        "managedFields": [{}],
    },
    "spec": {"replicas": 2, "template": {"metadata": {"creationTimestamp": None, "labels": {"k8s-app": "kube-dns"}}}},
    "status": {"replicas": 2},
}
FOUND = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "coredns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
    "spec": {"replicas": 2, "template": {"metadata": {"labels": {"k8s-app": "kube-dns"}}}},
}


class Places:
    """A cluster of which only names are known."""

    def node(self, name: str) -> Any:
        return type("Node", (), {"name": name, "address": ""})()


def plan(managed: bool = True) -> Any:
    files = (("coredns.yaml", render.manifest([LIVE])), ("metrics-server.yaml", "metrics: {}\n"))
    return ManageAddOns(NODES, files, to_yaml([FOUND]), managed).ways(Places(), "0badcafe")[0]


def scripts(actions: Any) -> list[str]:
    return [f"{one.node}: {one.argv[-1]}" for one in actions if isinstance(one, Command)]


def test_an_object_as_it_was_found() -> None:
    before = json.dumps(LIVE)
    assert render.as_found(LIVE) == FOUND
    assert json.dumps(LIVE) == before, "what was read is left as it is"
    # Under the manager it carries two things more; taken away, it is the same again.
    kept = render.labelled(LIVE)
    assert kept["metadata"]["labels"] == {"k8s-app": "kube-dns", render.MODE: "Reconcile"}
    kept["metadata"]["annotations"] = {render.LAST_APPLIED: "{}"}
    assert render.as_found(kept) == FOUND
    # What a user applied before carries that note, too, and keeps it; its manifest must not.
    users = {**FOUND, "metadata": {**FOUND["metadata"], "annotations": {render.LAST_APPLIED: "{}"}}}  # type: ignore[dict-item]
    assert render.as_found(users) == users
    assert "annotations" not in render.labelled(users)["metadata"]


def test_without_labels_nothing_is_left_of_the_mode() -> None:
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}}
    assert render.labelled(bare)["metadata"]["labels"] == {render.MODE: "EnsureExists"}
    assert render.as_found(render.labelled(bare)) == bare


def test_the_manifests(golden: Callable[[str, str], None]) -> None:
    text = render.manifest(metrics_server.objects())
    golden("addons-metrics-server.yaml", text.replace(metrics_image(), "METRICS_SERVER"))
    golden("addons-static-pod.yaml", render.static_pod())
    assert {one["metadata"]["labels"][render.MODE] for one in yaml.safe_load_all(text)} == {"Reconcile"}


def test_the_undo_makes_all_of_it_undone() -> None:
    """Whatever the inject makes is taken away: static pod, directory, credentials, binding, each add-on of its own."""
    whole = plan()
    made, undone = "\n".join(scripts(whole.inject)), scripts(whole.undo)
    for node in NODES:
        for path in (render.STATIC_POD, render.DIRECTORY, render.KUBECONFIG):
            assert re.search(rf"{node}: .*{path}", made)
            assert any(re.fullmatch(rf"{node}: rm -r?f .*{path}.*", line) for line in undone), path
    deleted = {
        (one["kind"], one["metadata"]["name"])
        for action in whole.undo if " delete " in action.argv[-1]
        for one in yaml.safe_load_all(action.stdin) if one
    }  # fmt: skip
    own = [*metrics_server.objects(), render.binding()]
    assert deleted == {(one["kind"], one["metadata"]["name"]) for one in own}
    restored = next(action.stdin for action in whole.undo if " replace " in action.argv[-1])
    assert list(yaml.safe_load_all(restored)) == [FOUND]


def test_the_manager_ends_before_anything_is_put_back() -> None:
    whole = plan()
    undone = scripts(whole.undo)
    last_end = max(number for number, line in enumerate(undone) if "pgrep" in line)
    assert last_end < min(number for number, line in enumerate(undone) if line.startswith(ANY_CONTROL_PLANE))
    assert [line.partition(":")[0] for line in scripts(whole.inject)[-2:]] == list(NODES), "it starts last of all"
    api = next(number for number, line in enumerate(undone) if metrics_server.API_SERVICE in line)
    assert api == last_end + 1, "an API without its Service would stall others"


def test_without_a_manager_the_same_manifests_are_applied_and_undone() -> None:
    whole = plan(managed=False)
    assert render.STATIC_POD not in "\n".join(scripts(whole.inject))
    assert [one.stdin for one in whole.inject[-2:]] == [render.manifest([LIVE]), "metrics: {}\n"]
    assert (whole.undo, whole.healed) == (plan().undo, plan().healed)


def test_the_journal_holds_all_of_it() -> None:
    for action in plan().undo:
        assert from_data(json.loads(json.dumps(to_data(action)))) == action


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet", "Service"])
def test_modes(kind: str) -> None:
    assert render.mode(kind) == "Reconcile"
    assert render.mode("ConfigMap") == "EnsureExists"


def test_the_drill_is_declared() -> None:
    from kubedrill.scenario import registry

    drills = {drill.name: drill for drill in registry.drills(paths.repository() / "scenarios")}
    assert drills["addon-manager"].needs == {"controlPlanes": 1, "workers": 1}
