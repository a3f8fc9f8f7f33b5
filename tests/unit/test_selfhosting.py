"""Selfhosting: the DaemonSets, what is saved and put back, and the checkpoint's script with stand-ins around it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import Golden

from kubedrill import paths, shell
from kubedrill.faults import selfhosted
from kubedrill.network import to_yaml
from kubedrill.selfhosting import COMPONENTS, GATE, LABEL, SHARE, daemon_set, flags
from kubedrill.shell import Result

# As kubeadm v1.37.2 wrote them, on the first of three control planes.
MANIFESTS = {
    component: (Path(__file__).parent / f"static_pods/{component}.yaml").read_text() for component in COMPONENTS
}


def shared(component: str) -> str:
    """The manifest as it is before the pivot."""
    pod = yaml.safe_load(MANIFESTS[component])
    pod["spec"]["containers"][0]["command"] += flags(component)
    return str(yaml.safe_dump(pod))


@pytest.mark.parametrize("component", COMPONENTS)
def test_daemon_sets(golden: Golden, component: str) -> None:
    golden(f"self-hosted-{component}.yaml", to_yaml([daemon_set(shared(component))]))


@pytest.mark.parametrize("component", COMPONENTS)
def test_nothing_of_one_node_is_in_a_daemon_set(component: str) -> None:
    text = to_yaml([daemon_set(shared(component))])
    address = yaml.safe_load(MANIFESTS["kube-apiserver"])["spec"]["containers"][0]["livenessProbe"]["httpGet"]["host"]
    assert address.count(".") == 3
    assert address not in text
    assert GATE in text
    assert "\n        ports:" not in text


def test_without_a_shared_port_there_is_no_daemon_set() -> None:
    with pytest.raises(ValueError, match=SHARE):
        daemon_set(MANIFESTS["kube-scheduler"])


class Place:
    """A control plane's files in a folder, and programs that answer what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        for name in ("etc/manifests", "etc/pki", "run", "bin", "answers"):
            (folder / name).mkdir(parents=True)
        for component, text in MANIFESTS.items():
            (folder / f"etc/manifests/{component}.yaml").write_text(text)
        (folder / "etc/kubelet.conf").write_text("    server: https://10.0.0.2:6443\n")
        (folder / "etc/admin.conf").write_text("    client-certificate-data: YQ==\n    client-key-data: Yg==\n")
        for name in ("systemctl", "crictl", "ss", "curl", "hostname"):
            self.program(name, "exit 1")
        self.program("hostname", "echo cp-1")
        self.program("systemctl", "exit 0")

    def program(self, name: str, script: str) -> None:
        """Make a stand-in."""
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, script: str) -> Result:
        """Run a script that was written for a node here."""
        moved = script.replace("/etc/kubernetes", f"{self.folder}/etc").replace("/run/", f"{self.folder}/run/")
        path = f"{self.programs}:{os.environ['PATH']}"
        return shell.run(["sh", "-c", moved], env={"PATH": path}, check=False)

    def manifests(self) -> set[str]:
        """The components that the kubelet would start from files."""
        return {file.stem for file in (self.folder / "etc/manifests").iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


AGENT = (paths.repository() / "images/files/usr/local/sbin/kubedrill-selfhosted").read_text()


def test_what_is_saved_is_what_was_there_and_the_same_with_the_flags(place: Place) -> None:
    assert place.run(selfhosted._SAVE).status == 0
    for component, text in MANIFESTS.items():
        found = place.folder / "etc/selfhosted/as-found"
        assert (found / f"{component}.yaml").read_text() == text
        command = yaml.safe_load((found / f"{component}.shared").read_text())["spec"]["containers"][0]["command"]
        there = yaml.safe_load(text)["spec"]["containers"][0]["command"]
        assert command == [component, *flags(component), *there[1:]]


def test_the_way_back_from_half_way(place: Place) -> None:
    place.run(selfhosted._SAVE)
    (place.folder / "etc/manifests/kube-scheduler.yaml").unlink()
    (place.folder / "etc/manifests/kube-apiserver.yaml").write_text("a checkpoint")
    result = place.run(selfhosted._STATIC_AGAIN)
    assert result.status == 0, result.output
    assert SHARE in (place.folder / "etc/manifests/kube-scheduler.yaml").read_text()
    assert SHARE in (place.folder / "etc/manifests/kube-apiserver.yaml").read_text()
    # That one was not touched yet: it is as it was found.
    assert (place.folder / "etc/manifests/kube-controller-manager.yaml").read_text() == MANIFESTS[
        "kube-controller-manager"
    ]


def test_after_the_way_back_there_is_nothing_to_put_back(place: Place) -> None:
    assert place.run(selfhosted._STATIC_AGAIN).status == 0
    assert place.run(selfhosted._AS_FOUND).status == 0
    assert place.manifests() == set(COMPONENTS)


class TestCheckpoint:
    """Its decisions: when it saves, when it recovers, when it steps aside."""

    @pytest.fixture(autouse=True)
    def _pivoted(self, place: Place) -> None:
        for component in COMPONENTS:
            (place.folder / f"etc/manifests/{component}.yaml").unlink()
            checkpoint = place.folder / "etc/selfhosted/checkpoint"
            checkpoint.mkdir(parents=True, exist_ok=True)
            (checkpoint / f"{component}.json").write_text(
                '{"metadata": {"annotations": {"kubedrill.local/checkpoint": "x"}}}'
            )
        (place.folder / "run").mkdir(exist_ok=True)
        place.program("pgrep", "exit 1")

    def test_without_an_api_all_that_does_not_run_is_recovered_at_once(self, place: Place) -> None:
        place.program("curl", "exit 7")
        place.program("pgrep", 'case "$*" in *"^kube-scheduler "*) ;; *) exit 1 ;; esac')
        result = place.run(AGENT)
        assert result.status == 0, result.output
        assert place.manifests() == {"kube-apiserver", "kube-controller-manager"}

    def test_with_an_api_the_cluster_gets_9_seconds_to_replace_it(self, place: Place) -> None:
        place.program("curl", 'case "$*" in *readyz*) printf ok ;; *) echo "{\\"items\\": []}" ;; esac')
        place.program("pgrep", 'case "$*" in *"^kube-apiserver "*) ;; *) exit 1 ;; esac')
        assert place.run(AGENT).status == 0
        assert place.manifests() == set()
        since = place.folder / "run/kubedrill-selfhosted/missing-kube-scheduler"
        since.write_text(str(int(since.read_text()) - 9))
        assert place.run(AGENT).status == 0
        assert place.manifests() == {"kube-scheduler"}

    def serving(self, place: Place, *, listens: bool, told: str = "") -> None:
        """An API server of the DaemonSet with the container 0123 runs, while a checkpoint stands in for it."""
        (place.folder / "etc/manifests/kube-apiserver.yaml").write_text("kubedrill.local/checkpoint")
        condition = [{"type": GATE, "status": "True", "message": told}] if told else []
        pod: dict[str, Any] = {
            "metadata": {"name": "self-hosted-kube-apiserver-abc", "labels": {LABEL: "kube-apiserver"}},
            "spec": {"nodeName": "cp-1", "containers": [{"name": "kube-apiserver"}], "readinessGates": []},
            "status": {"conditions": condition, "containerStatuses": [
                {"state": {"running": {}}, "containerID": "containerd://0123"}]},
        }  # fmt: skip
        answers = place.folder / "answers"
        (answers / "pods").write_text(json.dumps({"items": [pod]}))
        (answers / "asked").unlink(missing_ok=True)
        place.program(
            "curl",
            f'echo "$*" >>{answers}/asked\n'
            f'case "$*" in *PATCH*) exit 0 ;; *readyz*) printf ok ;; *pods?label*) cat {answers}/pods ;; esac',
        )
        place.program("crictl", 'case "$1" in inspect) echo 42 ;; esac')
        place.program("pgrep", "exit 0")
        place.program("ss", f"echo 'LISTEN users:((\"kube-apiserver\",pid={42 if listens else 7},fd=3))'")

    def test_it_steps_aside_when_the_process_itself_listens(self, place: Place) -> None:
        self.serving(place, listens=True)
        result = place.run(AGENT)
        assert result.status == 0, result.output
        assert place.manifests() == set()
        assert '"status":"True","message":"0123"' in (place.folder / "answers/asked").read_text()
        saved = json.loads((place.folder / "etc/selfhosted/checkpoint/kube-apiserver.json").read_text())
        assert saved["kind"] == "Pod"
        assert saved["spec"] == {"containers": [{"name": "kube-apiserver"}]}

    def test_what_is_saved_is_not_saved_again_until_another_pod_runs(self, place: Place) -> None:
        self.serving(place, listens=True)
        saved = place.folder / "etc/selfhosted/checkpoint/kube-apiserver.json"
        first = place.run(AGENT)
        assert "saved self-hosted-kube-apiserver-abc as the checkpoint of kube-apiserver" in first.output
        saved.write_text(saved.read_text() + " ")
        content = saved.read_text()
        assert "saved" not in place.run(AGENT).output
        assert saved.read_text() == content
        answer = place.folder / "answers/pods"
        answer.write_text(answer.read_text().replace("apiserver-abc", "apiserver-def"))
        assert "saved self-hosted-kube-apiserver-def" in place.run(AGENT).output
        assert "apiserver-def" in saved.read_text()

    def test_where_only_the_pods_cannot_be_had_the_cluster_still_gets_its_9_seconds(self, place: Place) -> None:
        place.program("curl", 'case "$*" in *readyz*) printf ok ;; *) exit 22 ;; esac')
        assert place.run(AGENT).status == 0
        assert place.manifests() == set()

    def test_an_answer_of_the_other_process_on_the_port_is_none(self, place: Place) -> None:
        self.serving(place, listens=False)
        assert place.run(AGENT).status == 0
        assert place.manifests() == {"kube-apiserver"}
        assert "PATCH" not in (place.folder / "answers/asked").read_text()

    def test_what_was_told_of_another_container_does_not_count(self, place: Place) -> None:
        self.serving(place, listens=False, told="9999")
        assert place.run(AGENT).status == 0
        assert place.manifests() == {"kube-apiserver"}

    def test_a_manifest_that_is_no_checkpoint_is_left_alone(self, place: Place) -> None:
        self.serving(place, listens=True)
        (place.folder / "etc/manifests/kube-apiserver.yaml").write_text(MANIFESTS["kube-apiserver"])
        assert place.run(AGENT).status == 0
        assert place.manifests() == {"kube-apiserver"}
