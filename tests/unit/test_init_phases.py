"""`kubeadm init` in parts: each phase is done once, in an order that kubeadm itself allows."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from pathlib import Path

import pytest

from kubedrill import init_phases, paths, shell

# `kubeadm init --help` of v1.37.2 and v1.36.5 lists these.
PHASES = {
    "preflight", "certs", "kubeconfig", "etcd", "control-plane/apiserver", "control-plane/controller-manager",
    "control-plane/scheduler", "kubelet-start", "wait-control-plane", "upload-config", "upload-certs",
    "mark-control-plane", "bootstrap-token", "kubelet-finalize", "addon/coredns", "addon/kube-proxy",
    "show-join-command",
}  # fmt: skip


def done(command: list[str]) -> set[str]:
    """The phases that a command does."""
    [left_out] = [word.removeprefix("--skip-phases=") for word in command if word.startswith("--skip-phases=")]
    assert set(left_out.split(",")) < PHASES
    return PHASES - set(left_out.split(","))


@pytest.mark.parametrize("slow", [False, True])
def test_each_phase_is_done_once(slow: bool) -> None:
    last = [shlex.split(line) for line in init_phases.at_last(upload_certificates=True)[1:]]
    parts = [init_phases.AFTERWARDS] if slow else [init_phases.FINALIZE, *last]
    assert Counter(phase for part in [init_phases.BEGIN, *parts] for phase in done(part)) == Counter(PHASES)


def test_it_begins_with_the_api_server_alone() -> None:
    began = done(init_phases.BEGIN)
    assert {"etcd", "control-plane/apiserver", "kubelet-start"} < began
    assert not began & {"control-plane/controller-manager", "control-plane/scheduler"}


def test_who_waits_for_the_control_plane_has_started_it() -> None:
    """kubeadm reads their manifests to know where to ask."""
    [waits] = [phases for phases in init_phases.AT_LAST if "wait-control-plane" in phases]
    assert {"control-plane/controller-manager", "control-plane/scheduler"} < set(waits)


def test_certificates_are_uploaded_where_they_are_asked_for() -> None:
    for asked in (True, False):
        [_program, *lines] = init_phases.at_last(upload_certificates=asked)
        uploading = [line for line in lines if "--upload-certs" in shlex.split(line)]
        assert [("upload-certs" in done(shlex.split(line))) for line in uploading] == [True] * asked


class TestAtOnce:
    """The script of the node image."""

    def run(self, *lines: str) -> shell.Result:
        script = paths.repository() / "images/files/usr/local/sbin/kubedrill-at-once"
        return shell.run([str(script), *lines], check=False, timeout=20)

    def test_all_run_at_the_same_time(self, tmp_path: Path) -> None:
        for name in "ab":
            os.mkfifo(tmp_path / name)
        a, b = tmp_path / "a", tmp_path / "b"
        # Each would wait for ever for one that begins after its end.
        result = self.run(f"sh -c 'echo 1 > {a}; read line < {b}; echo one $line'",
                          f"sh -c 'read line < {a}; echo 2 > {b}; echo two $line'")  # fmt: skip
        assert (result.status, result.stdout) == (0, "one 2\ntwo 1\n")

    def test_words_of_one_run_are_kept_together_and_in_order(self) -> None:
        result = self.run("sh -c 'echo a; echo b >&2'", *(f"echo {number}" for number in range(12)))
        assert result.stdout.split() == ["a", "b", *map(str, range(12))]

    def test_the_first_that_failed_says_how(self) -> None:
        result = self.run("echo before", "sh -c 'echo why; exit 3'", "sh -c 'exit 4'", "echo after")
        assert (result.status, result.stdout.split()) == (3, ["before", "why", "after"])

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        script = paths.repository() / "images/files/usr/local/sbin/kubedrill-at-once"
        shell.run([str(script), "true", "false"], env={"TMPDIR": str(tmp_path)}, check=False, timeout=20)
        assert not list(tmp_path.iterdir())
