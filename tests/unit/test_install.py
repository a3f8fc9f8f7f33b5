"""What `setup` plans on which machine, what it runs, and how the engine is brought up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubedrill import dockerd, host, install
from kubedrill.errors import EngineUnavailable, MissingPrerequisite, TimedOut
from kubedrill.gotoolchain import Choice, Toolchain
from kubedrill.install import Machine
from kubedrill.shell import Result

GO = Choice("enough", Toolchain("/usr/local/go/bin/go", (1, 26, 8)))
READY = Machine(
    distribution=host.Distribution("debian", (), "bookworm"), root=True, systemd=False, packages=(), engine="answers",
    go=GO, inotify=install.INOTIFY,
)  # fmt: skip
NEED = (1, 26, 6)


@pytest.mark.parametrize(
    ("machine", "kinds"),
    [
        (READY, []),
        (replace(READY, packages=("git",)), ["update", "install"]),
        (replace(READY, packages=("git",), lists_fresh=True), ["install"]),
        (replace(READY, packages=("docker.io",), engine="silent"), ["update", "install", "engine"]),
        (replace(READY, engine="silent"), ["engine"]),
        (replace(READY, engine="forbidden", root=False), ["group"]),
        (replace(READY, inotify=host.Inotify(128, 1_000_000)), ["inotify"]),
        (replace(READY, load_bridge_filter=True), ["bridge"]),
        (replace(READY, go=Choice("package", None, "golang-go")), ["update", "install"]),
        (replace(READY, go=Choice("nothing")), ["update"]),
        (replace(READY, go=Choice("fetches", Toolchain("/usr/bin/go", (1, 22, 0)))), []),
    ],
)
def test_plan(machine: Machine, kinds: list[str]) -> None:
    assert [step.kind for step in install.plan(machine, NEED)] == kinds


def test_all_packages_are_installed_in_one_go() -> None:
    machine = replace(READY, packages=("git", "gcc"), go=Choice("package", None, "golang-go"), lists_fresh=True)
    (step,) = install.plan(machine)
    line = "DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends"
    assert step.line(root=True) == f"{line} git gcc golang-go"
    assert step.line(root=False).startswith("sudo DEBIAN_FRONTEND=noninteractive apt-get")


def test_inotify_limits_are_not_lowered_by_the_command() -> None:
    (step,) = install.plan(replace(READY, inotify=host.Inotify(128, 1_000_000)))
    assert step.argv[-1] == "fs.inotify.max_user_watches=1000000"


@pytest.mark.parametrize(
    "machine", [replace(READY, lists_fresh=True), replace(READY, distribution=host.Distribution())]
)
def test_no_go_to_be_had_is_an_error_that_says_what_was_found(machine: Machine) -> None:
    old = Choice("nothing", Toolchain("/usr/bin/go", (1, 19, 0)))
    with pytest.raises(MissingPrerequisite) as raised:
        install.plan(replace(machine, go=old), NEED)
    assert "found: go1.19.0 at /usr/bin/go" in raised.value.evidence
    assert "1.26.6" in str(raised.value)


@pytest.mark.parametrize(
    ("engine", "unprivileged", "programs", "files", "expected"),
    [
        ("answers", False, "all", True, ()),
        ("answers", False, "none", True,
         ("docker-cli", "mmdebstrap", "git", "gcc", "iptables", "e2fsprogs", "curl", "iproute2")),
        ("silent", True, "none", False, tuple(item.package for item in install.PREREQUISITES)),
        ("remote", False, "all", False, ("libc6-dev", "ca-certificates")),
    ],
)  # fmt: skip
def test_lacking(
    engine: install.Engine, unprivileged: bool, programs: str, files: bool, expected: tuple[str, ...]
) -> None:
    found = install.lacking(
        engine=engine, unprivileged=unprivileged, which=lambda _: programs == "all", exists=lambda _: files,
        offers=lambda _: True,
    )  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("offered", [True, False])
def test_docker_s_client_is_a_package_of_its_own_on_debian_13_alone(offered: bool) -> None:
    found = install.lacking(
        engine="silent", unprivileged=False, which=lambda _: None, exists=lambda _: True, offers=lambda _: offered
    )
    assert ("docker-cli" in found) == offered
    assert "docker.io" in found


class Recorder:
    """Stands for apt and the engine: keeps what was run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run(self, argv: list[str], **_: Any) -> Result:
        self.lines.append(" ".join(argv))
        return Result(0, "", "")

    def start_engine(self, answers: Callable[[], bool]) -> str:
        self.lines.append("ENGINE")
        return "started"


def test_setup_does_the_steps_in_order_and_says_so() -> None:
    recorder = Recorder()
    machine = replace(READY, packages=("docker.io",), engine="silent")
    done = install.setup(lambda: False, look=lambda _: machine, run=recorder.run, start_engine=recorder.start_engine)
    assert [line.split()[3] for line in recorder.lines[:2]] == ["update", "install"]
    assert recorder.lines[2] == "ENGINE"
    assert done[:3] == ["updated apt's lists", "installed docker.io", "started"]


def test_setup_twice_is_harmless() -> None:
    recorder = Recorder()
    done = install.setup(lambda: True, look=lambda _: READY, run=recorder.run)
    assert recorder.lines == []
    assert "packages: nothing is lacking" in done
    assert "engine: answers" in done


def test_setup_looks_again_once_the_lists_are_fresh() -> None:
    recorder = Recorder()
    machines = iter([replace(READY, go=Choice("nothing")), replace(READY, go=Choice("package", None, "golang-go"))])
    done = install.setup(lambda: True, look=lambda _: next(machines), run=recorder.run)
    assert recorder.lines[1].endswith("golang-go")
    assert done[1] == "installed golang-go"


def test_setup_of_a_user_who_is_not_root_gives_the_commands() -> None:
    machine = replace(READY, root=False, systemd=True, packages=("git",), engine="silent", inotify=host.Inotify(1, 1))
    with pytest.raises(MissingPrerequisite) as raised:
        install.setup(lambda: False, look=lambda _: machine)
    todo = raised.value.todo
    assert [line.split()[0] for line in todo] == ["sudo"] * 4
    assert todo[-1] == "sudo systemctl start docker"


def test_setup_on_a_distribution_without_apt_names_the_packages() -> None:
    machine = replace(READY, distribution=host.Distribution("rocky", ("rhel",)), packages=("git", "gcc"))
    with pytest.raises(MissingPrerequisite) as raised:
        install.setup(lambda: True, look=lambda _: machine)
    assert raised.value.todo == ("install with this distribution's package manager (Debian's names): git, gcc",)


def test_setup_leaves_a_remote_engine_alone() -> None:
    with pytest.raises(MissingPrerequisite, match="DOCKER_HOST"):
        install.setup(lambda: False, look=lambda _: replace(READY, engine="remote"))


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeEngine:
    """An engine that answers after it was asked some times, once started."""

    def __init__(self, after: int = 2, status: int | None = None) -> None:
        self.started: list[list[str]] = []
        self.after = after
        self.status = status

    def answers(self) -> bool:
        if self.started:
            self.after -= 1
        return bool(self.started) and self.after < 0

    def start(self, argv: list[str], log: Path) -> Callable[[], int | None]:
        self.started.append(argv)
        log.write_text("level=info starting\nfailed to start daemon: no cgroups\n")
        return lambda: self.status


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


def ensure(engine: FakeEngine, tmp_path: Path, **more: Any) -> str:
    settings: dict[str, Any] = {"systemd": False, "root": True, "pid_files": {}, **more}
    return dockerd.ensure_engine(
        engine.answers, start=engine.start, log=tmp_path / "dockerd.log", clock=Clock(), **settings
    )


def test_an_engine_that_answers_is_left_alone(tmp_path: Path) -> None:
    engine = FakeEngine(after=-1)
    engine.started.append(["before"])
    assert ensure(engine, tmp_path) == "Docker's engine answers"
    assert engine.started == [["before"]]


@pytest.mark.usefixtures("local")
def test_dockerd_is_started_and_waited_for(tmp_path: Path) -> None:
    engine = FakeEngine()
    assert "started dockerd" in ensure(engine, tmp_path)
    assert engine.started == [["dockerd"]]


@pytest.mark.usefixtures("local")
def test_a_dockerd_that_ends_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="ended with status 1") as raised:
        ensure(FakeEngine(after=1000, status=1), tmp_path)
    assert raised.value.evidence[-1] == "failed to start daemon: no cgroups"


@pytest.mark.usefixtures("local")
def test_a_dockerd_that_never_answers_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="within 60 s") as raised:
        ensure(FakeEngine(after=10_000), tmp_path)
    assert raised.value.evidence


@pytest.mark.usefixtures("local")
def test_systemd_starts_the_engine_where_it_runs(tmp_path: Path) -> None:
    engine = FakeEngine()
    assert "systemctl" in ensure(engine, tmp_path, systemd=True, run=engine.started.append)
    assert engine.started == [["systemctl", "start", "docker"]]


@pytest.mark.usefixtures("local")
def test_only_root_starts_the_engine(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite) as raised:
        ensure(FakeEngine(), tmp_path, root=False, systemd=True)
    assert raised.value.todo == ("sudo systemctl start docker",)


def test_a_remote_engine_is_not_ours_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2376")
    with pytest.raises(EngineUnavailable, match="DOCKER_HOST"):
        ensure(FakeEngine(), tmp_path)


@pytest.mark.parametrize(
    ("process", "removed", "alive"), [("dockerd\n", False, True), ("bash\n", True, False), (None, True, False)]
)
def test_pid_files(tmp_path: Path, process: str | None, removed: bool, alive: bool) -> None:
    file = tmp_path / "docker.pid"
    file.write_text("7\n")
    if process:
        (tmp_path / "7").mkdir()
        (tmp_path / "7/comm").write_text(process)
    files = {file: "dockerd", tmp_path / "none.pid": "containerd"}
    assert dockerd.clear_pid_files(files, proc=tmp_path) == ([str(file)] if removed else [], alive)
    assert file.exists() is not removed


@pytest.mark.parametrize(("state", "alive"), [("S (sleeping)", True), ("Z (zombie)", False), ("X (dead)", False)])
def test_a_dockerd_that_is_dead_but_not_reaped_is_not_alive(tmp_path: Path, state: str, alive: bool) -> None:
    """Whoever killed it may never ask for its status; its name stands in /proc until then."""
    file = tmp_path / "docker.pid"
    file.write_text("77")
    process = tmp_path / "77"
    process.mkdir()
    (process / "comm").write_text("dockerd\n")
    (process / "status").write_text(f"Name:\tdockerd\nState:\t{state}\n")
    assert dockerd.clear_pid_files({file: "dockerd"}, proc=tmp_path)[1] is alive


def test_a_dockerd_that_goes_down_is_followed_by_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed a moment ago, it still has its name; once it is gone, one is started."""
    looks = iter([True, True, False])
    monkeypatch.setattr(dockerd, "clear_pid_files", lambda files: ([], next(looks, False)))
    started: list[list[str]] = []

    def start(argv: list[str], log: Path) -> Callable[[], int | None]:
        started.append(argv)
        return lambda: None

    said = dockerd.ensure_engine(
        lambda: bool(started), start=start, systemd=False, root=True, pid_files={}, log=tmp_path / "log"
    )
    assert started == [["dockerd"]]
    assert said.startswith("started dockerd")


def test_an_engine_that_systemd_started_is_not_stopped(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(f"{os.getpid()}\n")
    with pytest.raises(MissingPrerequisite):
        dockerd.stop_engine(pid_file=file, systemd=True)


def test_a_process_that_is_no_dockerd_is_not_stopped(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(f"{os.getpid()}\n")
    with pytest.raises(MissingPrerequisite, match=str(os.getpid())):
        dockerd.stop_engine(pid_file=file, systemd=False)


@pytest.mark.parametrize("ends", [True, False])
def test_a_dockerd_is_told_to_end_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:  # fmt: skip
    sent: list[tuple[int, int]] = []
    file = tmp_path / "docker.pid"
    file.write_text("4711\n")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(host, "process_name", lambda pid: None if sent and ends else "dockerd")
    if ends:
        dockerd.stop_engine(pid_file=file, systemd=False, within=1)
    else:
        with pytest.raises(TimedOut, match="4711"):
            dockerd.stop_engine(pid_file=file, systemd=False, within=0.05)
    assert sent == [(4711, signal.SIGTERM)]
