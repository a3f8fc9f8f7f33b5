"""`kubeadm init` in parts: each phase is done once, in an order that kubeadm itself allows."""

from __future__ import annotations

import os
import re
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


def done(command: str) -> set[str]:
    """The phases that a command does."""
    [left_out] = re.findall(r"--skip-phases=([\w/,-]+)", command)
    assert set(left_out.split(",")) < PHASES
    return PHASES - set(left_out.split(","))


def parts(*, upload_certificates: bool = False) -> list[str]:
    """The commands of the last part, in their order."""
    whole = " ".join(init_phases.at_last(upload_certificates=upload_certificates))
    return [f"kubeadm init {one}" for one in re.sub("['\"]", "", whole).split("kubeadm init ")[1:]]


@pytest.mark.parametrize("slow", [False, True])
def test_each_phase_is_done_once(slow: bool) -> None:
    rest = [shlex.join(init_phases.AFTERWARDS)] if slow else [shlex.join(init_phases.FINALIZE), *parts()]
    assert Counter(phase for part in [shlex.join(init_phases.BEGIN), *rest] for phase in done(part)) == Counter(PHASES)


def test_it_begins_with_the_api_server_alone() -> None:
    began = done(shlex.join(init_phases.BEGIN))
    assert {"etcd", "control-plane/apiserver", "kubelet-start"} < began
    assert not began & {"control-plane/controller-manager", "control-plane/scheduler"}


def test_who_waits_for_the_control_plane_has_started_it() -> None:
    """kubeadm reads their manifests to know where to ask."""
    [waits] = [part for part in parts() if "wait-control-plane" in done(part)]
    assert {"control-plane/controller-manager", "control-plane/scheduler"} < done(waits)


@pytest.mark.parametrize("asked", [True, False])
def test_certificates_are_uploaded_where_they_are_asked_for(asked: bool) -> None:
    uploading = [part for part in parts(upload_certificates=asked) if re.search(r" --upload-certs\b", part)]
    assert [("upload-certs" in done(part)) for part in uploading] == [True] * asked


def run_last(folder: Path, fails: str = "") -> shell.Result:
    """Run the last part, with a kubeadm that only says what it would do."""
    scripts = paths.repository() / "images/files/usr/local/sbin"
    broken = [part for part in parts() if fails and fails in done(part)]
    skipped = re.findall(r"--skip-phases=[\w/,-]+", broken[0])[0] if broken else "none"
    (folder / "kubeadm").write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/ran\ncase "$*" in *{skipped}*) echo broken; exit 5;; esac\n'
    )
    (folder / "kubeadm").chmod(0o755)
    env = {"PATH": f"{folder}:{scripts}:{os.environ['PATH']}"}
    return shell.run(init_phases.at_last(upload_certificates=False), env=env, check=False, timeout=20)


def test_nobody_asks_before_the_rights_are_bound(tmp_path: Path) -> None:
    assert run_last(tmp_path).status == 0
    ran = [done(line) for line in (tmp_path / "ran").read_text().splitlines()]
    assert len(ran) == 5
    asking = [phases for phases in ran if "wait-control-plane" not in phases]
    assert "upload-config" in asking[0], "the part of kubeadm that asks again where it is refused"


@pytest.mark.parametrize("phase", ["upload-config", "addon/coredns", "wait-control-plane", "bootstrap-token"])
def test_a_part_that_fails_is_told(tmp_path: Path, phase: str) -> None:
    result = run_last(tmp_path, fails=phase)
    assert result.status == 5
    assert "broken" in result.stdout
    ran = [done(line) for line in (tmp_path / "ran").read_text().splitlines()]
    assert len(ran) == (2 if phase == "upload-config" else 5)


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
