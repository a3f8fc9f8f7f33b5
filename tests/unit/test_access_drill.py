"""The drill of access: what it asks, and how it reads answers and the audit log."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import loading
import pytest
import yaml
from fake_provider import FakeProvider

from kubedrill.cluster import Cluster
from kubedrill.faults import PutFolder
from kubedrill.faults.actions import Command
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

REFUSED = {
    "kind": "Status",
    "message": 'secrets "of-worker-2" is forbidden: User "system:node:worker-1" cannot get it',
    "code": 403,
}


@pytest.fixture(scope="module")
def drill() -> ModuleType:
    return loading.drill("access")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            "HTTP/2 403 \r\naudit-id: 1-2\r\ncontent-type: application/json\r\n\r\n" + json.dumps(REFUSED),
            (403, "1-2", REFUSED["message"]),
        ),
        ("HTTP/1.1 200 OK\nAudit-Id: 3-4\n\nok", (200, "3-4", "")),
        ("HTTP/2 200 \r\naudit-id: 5\r\n\r\n[1]", (200, "5", "")),
        ("", (0, "", "")),
    ],
)
def test_an_answer_is_read(drill: ModuleType, text: str, answer: tuple[int, str, str]) -> None:
    found = drill.answer_of(text)
    assert (found.status, found.audit, found.message) == answer


def test_the_audit_log_is_read(drill: ModuleType) -> None:
    entry: dict[str, Any] = {
        "stage": "ResponseComplete",
        "user": {"username": "system:node:worker-1"},
        "responseStatus": {"code": 403},
        "annotations": {"authorization.k8s.io/decision": "forbid"},
    }
    assert drill.told(entry) == ("system:node:worker-1", "forbid", 403)
    assert drill.told({"user": {}, "responseStatus": {"code": 401}}) == ("", "", 401)


def test_an_answer_without_an_audit_id_is_in_no_log(drill: ModuleType) -> None:
    provider = FakeProvider(script=lambda _node, _call: Result(0, '{"user": {"username": "somebody else"}}\n', ""))
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "an image"))
    plane = provider.node("lab-control-plane-1")
    assert drill._audit(plane, "1-2")
    assert drill._audit(plane, "") == {}


def test_an_audit_log_is_all_that_is_changed(drill: ModuleType) -> None:
    before = {
        "kind": "ClusterConfiguration",
        "apiServer": {"certSANs": ["localhost"], "extraArgs": [{"name": "v", "value": "4"}]},
    }
    after = yaml.safe_load(drill.audited(yaml.safe_dump(before)))
    flags = {one["name"]: one["value"] for one in after["apiServer"].pop("extraArgs")}
    (volume,) = after["apiServer"].pop("extraVolumes")
    assert flags.pop("v") == "4"
    assert set(flags) == {"audit-policy-file", "audit-log-path"}
    assert all(path.startswith(volume["mountPath"] + "/") for path in flags.values())
    assert not volume.get("readOnly"), "the log is written there"
    assert after == {"kind": "ClusterConfiguration", "apiServer": {"certSANs": ["localhost"]}}


def test_each_way_to_be_refused_is_tried_and_each_client_may_something(drill: ModuleType) -> None:
    tried = drill.trials("worker-1", "worker-2")
    for user in ("system:serviceaccount:drill:reader", "system:node:worker-1", "system:anonymous"):
        assert {trial.status for trial in tried if trial.user == user} == {200, 403}
    assert [trial.decision for trial in tried if trial.status == 401] == [""]
    admission = [trial for trial in tried if (trial.status, trial.decision) == (403, "allow")]
    assert admission, "what admission refuses, the authorizers have allowed"
    words = yaml.safe_dump([vars(trial) for trial in tried])
    assert "of-worker-2" in words


def test_only_the_control_binds_all_nodes(drill: ModuleType) -> None:
    assert "system:nodes" not in json.dumps(drill.objects(("worker-1", "worker-2")))
    assert "system:nodes" in json.dumps(drill.loose())


class TestPutFolder:
    def test_it_is_there_and_gone_again(self) -> None:
        provider = FakeProvider()
        provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        provider.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.0.101", "an image"))
        cluster = Cluster(ClusterSpec(workers=1), tuple(provider.nodes("lab")), 1)
        fault = PutFolder("worker-1", "/etc/kubernetes/kubedrill-audit", (("policy.yaml", "a: 1\n"),))
        (made,) = fault.ways(cluster, "0badcafe")
        assert [one.argv for one in made.undo if isinstance(one, Command)] == [
            ("rm", "-rf", "/etc/kubernetes/kubedrill-audit")
        ]
        assert made.healed[0] in made.before, "a folder that is there already is not this fault's to remove"
        writes = [one for one in made.inject if isinstance(one, Command) and one.stdin]
        assert [one.stdin for one in writes] == ["a: 1\n"]

    @pytest.mark.parametrize("folder", ["/etc/kubernetes", "/", "/etc/kubernetes/kubedrill-x/..", "kubedrill-audit"])
    def test_no_other_folder_is_ever_removed(self, folder: str) -> None:
        with pytest.raises(ValueError, match="is no folder of a drill"):
            PutFolder("worker-1", folder, ())
