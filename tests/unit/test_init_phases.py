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

CAN_MOUNT = shell.run(["unshare", "--mount", "true"], check=False, timeout=20).status == 0

# One phase before roles are made, and several: as commands.
ALONE = (
    r"kubeadm init phase [a-z-]+(?: (?:all|coredns|kube-proxy))? --config \S+ --kubeconfig [\w/.-]+(?: --upload-certs)?"
)
SEVERAL = r"kubeadm init --config \S+ --skip-phases=[\w/,-]+"


def done(command: str) -> set[str]:
    """The phases that a command does."""
    if command.startswith("kubeadm init phase "):
        name, of = command.split()[3:5]
        assert "--kubeconfig /etc/kubernetes/super-admin.conf" in command, "admin.conf has no rights yet"
        if (name, of) == ("addon", "all"):
            return {phase for phase in PHASES if phase.startswith("addon/")}
        return {name if of in ("--config", "all") else f"{name}/{of}"}
    [left_out] = re.findall(r"--skip-phases=([\w/,-]+)", command)
    assert set(left_out.split(",")) < PHASES
    return PHASES - set(left_out.split(","))


def parts(command: list[str]) -> list[str]:
    """What a command runs, in its order."""
    return re.findall(rf"{ALONE}|{SEVERAL}", re.sub("['\"]", "", " ".join(command)))


def all_parts(*, slow: bool = False, other_planes: bool = True, dns: bool = True) -> list[str]:
    """All that `up` runs on the first control plane."""
    early = init_phases.meanwhile(other_planes=other_planes, dns=dns)
    quick = [init_phases.HOLD, init_phases.FINALIZE, early, init_phases.at_last(other_planes=other_planes)]
    rest = [init_phases.afterwards(dns=dns)] if slow else quick
    rest += [] if dns else [init_phases.coredns()]
    return [part for command in [init_phases.BEGIN, *rest] for part in parts(command)]


@pytest.mark.parametrize(("other_planes", "dns"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("slow", [False, True])
def test_each_phase_is_done_once(slow: bool, other_planes: bool, dns: bool) -> None:
    left = set() if slow else {"show-join-command"} if other_planes else {"show-join-command", "upload-certs"}
    ran = all_parts(slow=slow, other_planes=other_planes, dns=dns)
    assert Counter(phase for part in ran for phase in done(part)) == Counter(PHASES - left)


def test_it_begins_with_the_api_server_alone() -> None:
    began = done(shlex.join(init_phases.BEGIN))
    assert {"etcd", "control-plane/apiserver", "kubelet-start"} < began
    assert not began & {"control-plane/controller-manager", "control-plane/scheduler"}


def test_who_waits_for_the_control_plane_has_started_it() -> None:
    """kubeadm reads their manifests to know where to ask."""
    assert done(shlex.join(init_phases.HOLD)) == {"control-plane/controller-manager", "control-plane/scheduler"}
    [waits] = [part for part in all_parts() if "wait-control-plane" in done(part)]
    assert waits == shlex.join(init_phases.at_last(other_planes=True)), "after LET_GO"


def test_nothing_that_needs_roles_is_asked_for_before_they_are_made() -> None:
    early = parts(init_phases.meanwhile(other_planes=True, dns=True))
    assert done(early.pop()) == {"mark-control-plane"}, "which asks until it may, and lets admin.conf have its rights"
    assert all("--kubeconfig /etc/kubernetes/super-admin.conf" in part for part in early)
    assert done(shlex.join(init_phases.FINALIZE)) == {"kubelet-finalize"}, "which asks nobody"


@pytest.mark.skipif(not CAN_MOUNT, reason="a mount of one's own takes root's rights")
def test_held_manifests_are_not_where_the_kubelet_looks(tmp_path: Path) -> None:
    """With a kubeadm that writes two."""
    etc = tmp_path / "etc"
    (etc / "manifests").mkdir(parents=True)
    (etc / "manifests/etcd.yaml").write_text("etcd")
    (tmp_path / "kubeadm").write_text(f"#!/bin/sh\nfor name in a b; do echo $name >{etc}/manifests/$name.yaml; done\n")
    (tmp_path / "kubeadm").chmod(0o755)

    def run(command: list[str]) -> None:
        here = [word.replace("/etc/kubernetes/", f"{etc}/") for word in command]
        shell.run(here, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=20)

    run(init_phases.HOLD)
    assert [path.name for path in (etc / "manifests").iterdir()] == ["etcd.yaml"]
    run(init_phases.LET_GO)
    texts = {path.name: path.read_text() for path in (etc / "manifests").iterdir()}
    assert texts == {"etcd.yaml": "etcd", "a.yaml": "a\n", "b.yaml": "b\n"}
    assert [path.name for path in etc.iterdir()] == ["manifests"], "nothing is left"


@pytest.mark.parametrize("asked", [True, False])
def test_certificates_are_uploaded_where_they_are_asked_for(asked: bool) -> None:
    """Before others know that they may join: cluster-info comes with the tokens."""
    early = [done(part) for part in parts(init_phases.meanwhile(other_planes=asked, dns=True))]
    uploading = [{"upload-certs"}] if asked else []
    assert [phases for phases in early if phases & {"upload-config", "upload-certs", "bootstrap-token"}] == [
        {"upload-config"}, *uploading, {"bootstrap-token"},
    ]  # fmt: skip


@pytest.mark.parametrize("phase", ["upload-config", "addon/coredns", "bootstrap-token", "mark-control-plane", ""])
def test_a_part_that_fails_is_told(tmp_path: Path, phase: str) -> None:
    """With a kubeadm that only says what it would do."""
    scripts = paths.repository() / "images/files/usr/local/sbin"
    command = init_phases.meanwhile(other_planes=True, dns=True)
    [broken] = [part for part in parts(command) if phase in done(part)] if phase else ["kubeadm init nothing"]
    words = broken.removeprefix("kubeadm ")
    (tmp_path / "kubeadm").write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/ran\ncase "$*" in *"{words}"*) echo broken; exit 5;; esac\n'
    )
    (tmp_path / "kubeadm").chmod(0o755)
    result = shell.run(command, env={"PATH": f"{tmp_path}:{scripts}:{os.environ['PATH']}"}, check=False, timeout=20)
    assert (result.status, "broken" in result.stdout) == ((5, True) if phase else (0, False))
    assert len((tmp_path / "ran").read_text().splitlines()) == (3 if phase == "upload-config" else 5)


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
