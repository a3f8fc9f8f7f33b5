"""The dashboard of a real cluster, as a browser would hear of it: no reload, no kubectl of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workload import kubectl

from kubedrill.cluster import Cluster, Lab
from kubedrill.dashboard.feed import Feed
from kubedrill.dashboard.hub import Hub
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
SPEC = {"controlPlanes": 1, "workers": 1}


class Shown:
    """What a page that has been open since the beginning shows now."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._version, self._sections = hub, 0, dict[str, Any]()

    def section(self, name: str) -> Any:
        """A section as it is now."""
        new = self._hub.since(self._version, 0)
        assert new is not None
        self._version = new[0]
        self._sections |= {key: json.loads(text) for key, text in new[1].items()}
        return self._sections.get(name)


@pytest.fixture(scope="module")
def shown(lab: Cluster, place: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    hub = Hub()
    feed = Feed(place.provider, lab.spec.name, tmp_path_factory.mktemp("runs"), hub)
    before = set(threading.enumerate())
    feed.start()
    yield Shown(hub)
    feed.stop()
    left = [one.name for one in set(threading.enumerate()) - before if one.name.startswith(("watch-", "dashboard-"))]
    assert left == []


def row(shown: Shown, name: str) -> Any:
    """A node as it is shown."""
    return next((one for one in shown.section("nodes") or [] if one["name"].endswith(name)), {})


def ready(shown: Shown, name: str) -> bool | None:
    """What is shown of a node's readiness."""
    return (row(shown, name).get("node") or {}).get("ready")


def test_nodes_roles_and_the_api_are_shown_as_they_are(lab: Cluster, shown: Shown) -> None:
    until(lambda: [ready(shown, name) for name in ("control-plane-1", "worker-1")],
          lambda seen: (seen == [True, True], str(seen)), within=30, what="two Ready nodes on the page")  # fmt: skip
    assert row(shown, "worker-1")["state"] == "running"
    # The one that says "not ready" goes up to 5 s after that (checks.nodes_ready).
    until(lambda: row(shown, "control-plane-1")["node"]["taints"],
          lambda seen: (seen == ["node-role.kubernetes.io/control-plane:NoSchedule"], str(seen)), within=30,
          what="the control plane's taint alone on the page")  # fmt: skip
    leads = [(f"{lab.spec.name}-control-plane-1", "leads")]
    seen = until(
        lambda: shown.section("control"),
        lambda now: (bool(now["api"]) and [(one["node"], one["role"]) for one in now["members"]] == leads, str(now)),
        within=60, what="the API and who leads etcd on the page",
    )  # fmt: skip
    assert seen["api"]["answers"] is True
    assert [one["answers"] for one in seen["servers"]] == [True]
    leaders = {one["name"]: one["holder"] for one in shown.section("leases")["leaders"]}
    assert leaders == dict.fromkeys(("kube-scheduler", "kube-controller-manager"), f"{lab.spec.name}-control-plane-1")


def test_a_new_pod_and_its_end_are_shown_within_seconds(lab: Cluster, shown: Shown) -> None:
    def pod() -> Any:
        return next((one for one in shown.section("pods") or [] if one["name"] == "fresh"), None)

    kubectl(lab, "run", "fresh", "--image=kubedrill.local/hello:1", "--image-pull-policy=Never")
    until(pod, lambda seen: (bool(seen), "not shown"), within=5, every=0.1, what="the new pod on the page")
    until(pod, lambda seen: (bool(seen and seen["well"]), str(seen)), within=60, what="a pod that is well")
    assert pod()["node"] == f"{lab.spec.name}-worker-1"
    assert any(one["name"] == "fresh" and one["reason"] == "Scheduled" for one in shown.section("events"))
    kubectl(lab, "delete", "pod", "fresh", "--now")
    until(pod, lambda seen: (seen is None, str(seen)), within=10, what="the pod's end on the page")


def test_a_stopped_worker_is_shown_as_such_and_back_again(lab: Cluster, shown: Shown) -> None:
    worker = lab.node("worker-1")
    worker.kill()
    try:
        until(lambda: row(shown, "worker-1")["state"], lambda seen: (seen == "stopped", seen), within=10,
              what="the stopped computer on the page")  # fmt: skip
        until(lambda: ready(shown, "worker-1"), lambda seen: (seen is None, str(seen)), within=120,
              what="the node that Kubernetes no longer hears of, on the page")  # fmt: skip
    finally:
        worker.start()
    until(lambda: ready(shown, "worker-1"), lambda seen: (seen is True, str(seen)), within=120,
          what="the Ready node on the page")  # fmt: skip


def test_an_api_that_is_away_is_said_so_and_all_is_watched_again_when_it_is_back(lab: Cluster, shown: Shown) -> None:
    def answers() -> bool | None:
        return (shown.section("control")["api"] or {}).get("answers")

    plane = lab.node("control-plane-1")
    plane.kill()
    try:
        until(answers, lambda seen: (seen is False, str(seen)), within=20, what="the silent API on the page")
    finally:
        plane.start()
    until(answers, lambda seen: (seen is True, str(seen)), within=120, what="the API's return on the page")
    until(lambda: shown.section("control")["lost"], lambda seen: (not seen, str(seen)), within=60,
          what="all watches getting through")  # fmt: skip
    kubectl(lab, "label", "node", f"{lab.spec.name}-worker-1", "seen=yes")
    kubectl(lab, "cordon", f"{lab.spec.name}-worker-1")
    until(lambda: row(shown, "worker-1")["node"]["cordoned"], lambda seen: (seen, str(seen)), within=10,
          what="the cordoned node on the page")  # fmt: skip
    kubectl(lab, "uncordon", f"{lab.spec.name}-worker-1")


def test_what_it_shows_holds_no_secret(lab: Cluster, shown: Shown, tmp_path: Path) -> None:
    admin = lab.admin_conf()
    for name in ("cluster", "nodes", "pods", "leases", "events", "control", "drill"):
        text = json.dumps(shown.section(name))
        assert "client-key-data" not in text
        assert not [line for line in admin.splitlines() if len(line) > 200 and line.rpartition(" ")[2] in text]
