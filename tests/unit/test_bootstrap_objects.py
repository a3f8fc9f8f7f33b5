"""What an API server makes for itself, as a list, and the script of the node image that makes it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from kubedrill import init_phases, paths, shell, versions
from kubedrill.images import bootstrap_objects, components

ROLE = {
    "kind": "ClusterRole",
    "metadata": {"name": "system:a", "annotations": {"why": 'a "quote", a \\ and\na line'}},
    "rules": [{"verbs": ["get"]}],
}
CLASS = {"kind": "PriorityClass", "metadata": {"name": "b"}, "value": 2000001000}
LINES = "".join(
    json.dumps({"path": path, "object": one}) + "\n"
    for path, one in (("/apis/rbac/clusterroles", ROLE), ("/apis/scheduling/priorityclasses", CLASS))
)


class TestList:
    def test_each_object_is_a_request_of_its_own(self) -> None:
        first, second = bootstrap_objects.requests(LINES).split("next\n")
        assert 'url = "https://127.0.0.1:6443/apis/rbac/clusterroles"\n' in first
        assert 'url = "https://127.0.0.1:6443/apis/scheduling/priorityclasses"\n' in second
        for each in (first, second):
            assert f'cert = "{bootstrap_objects.RIGHTS}"\n' in each
            assert 'cacert = "/etc/kubernetes/pki/ca.crt"\n' in each

    def test_data_is_the_object(self) -> None:
        [line] = [line for line in bootstrap_objects.requests(LINES).splitlines() if "system:a" in line]
        assert json.loads(json.loads(line.partition(" = ")[2])) == ROLE

    def test_it_comes_from_the_program(self, tmp_path: Path) -> None:
        program = tmp_path / bootstrap_objects.PROGRAM
        program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{LINES}EOF\n")
        program.chmod(0o755)
        assert bootstrap_objects.of(tmp_path) == bootstrap_objects.requests(LINES)


@pytest.mark.parametrize("minor", versions.kubernetes_minors())
def test_every_kubernetes_version_has_the_same_program(minor: str) -> None:
    """Of its own code: it is built in that version's module."""
    sources = [
        versions.components_dir() / f"kubernetes-{each}" / "cmd" / bootstrap_objects.PROGRAM / "main.go"
        for each in (minor, versions.newest_minor())
    ]
    assert sources[0].read_text() == sources[1].read_text()
    assert "./cmd/..." in components.load(f"kubernetes-{minor}").packages


class TestScript:
    """Of the node image; with a curl that answers what a test says, and notes what it had."""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Path:
        for folder in ("store/bin", "etc/kubernetes", "run", "bin"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "store/bin/kubeadm").touch()
        (tmp_path / "kubeadm").symlink_to(tmp_path / "store/bin/kubeadm")
        (tmp_path / "store/bootstrap-objects").write_text("a list")
        kubeconfig = "".join(
            f"    client-{part}-data: {base64.b64encode(f'the {part}'.encode()).decode()}\n"
            for part in ("certificate", "key")
        )
        (tmp_path / "etc/kubernetes/super-admin.conf").write_text(f"users:\n- user:\n{kubeconfig}")
        return tmp_path

    def run(self, node: Path, answers: str) -> shell.Result:
        curl = node / "bin/curl"
        keeps = f"cp -p {node}/run/kubedrill-rights.pem {node}/rights"
        curl.write_text(f'#!/bin/sh\necho "$@" >{node}/asked\n{keeps}\nprintf "{answers}"\n')
        curl.chmod(0o755)
        text = (paths.repository() / "images/files/usr/local/sbin/kubedrill-bootstrap-objects").read_text()
        for here, there in (
            ("/usr/bin/kubeadm", "kubeadm"),
            ("/etc/kubernetes/", "etc/kubernetes/"),
            ("/run/", "run/"),
        ):
            assert here in text
            text = text.replace(here, f"{node}/{there}")
        (node / "script").write_text(text)
        return shell.run(
            ["sh", str(node / "script"), "touch", str(node / "went on")],
            env={"PATH": f"{node}/bin:{os.environ['PATH']}"}, check=False, timeout=20,
        )  # fmt: skip

    def test_it_puts_its_rights_where_the_list_says(self) -> None:
        text = (paths.repository() / "images/files/usr/local/sbin/kubedrill-bootstrap-objects").read_text()
        assert f"\nrights={bootstrap_objects.RIGHTS}\n" in text

    def test_what_follows_runs_once_all_are_there(self, node: Path) -> None:
        result = self.run(node, "201\\n409\\n201\\n")
        assert (result.status, result.stdout.split()) == (0, ["2", "201", "1", "409"])
        assert (node / "went on").exists()
        assert (node / "asked").read_text().split()[-2:] == ["--config", f"{node}/store/bootstrap-objects"]

    def test_the_rights_are_for_root_alone_and_do_not_stay(self, node: Path) -> None:
        self.run(node, "201\\n")
        assert (node / "rights").read_text() == "the certificatethe key"
        assert (node / "rights").stat().st_mode & 0o777 == 0o600
        assert not list((node / "run").iterdir())

    @pytest.mark.parametrize("answers", ["201\\n403\\n", "000\\n", ""])
    def test_it_fails_where_something_is_lacking(self, node: Path, answers: str) -> None:
        assert self.run(node, answers).status == 1
        assert not (node / "went on").exists()
        assert not list((node / "run").iterdir())

    def test_a_store_without_a_list(self, node: Path) -> None:
        (node / "store/bootstrap-objects").unlink()
        result = self.run(node, "201\\n")
        assert (result.status, (node / "went on").exists()) == (init_phases.NO_LIST, False)
        assert "store/bootstrap-objects" in result.stdout
