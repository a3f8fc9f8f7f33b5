"""Make Docker's engine answer on a machine that has it: with systemd, or by starting dockerd itself."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from kubedrill import engine_socket, host, paths, shell
from kubedrill.errors import EngineUnavailable, MissingPrerequisite, TimedOut
from kubedrill.wait import Clock, Verdict, until

SECONDS = 60.0
# dockerd refuses to start while its own pid file names a live process, and waits for ever for a containerd that is not
# one: after a crash or a restored snapshot any process may have that number.
PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}

Start = Callable[[list[str], Path], Callable[[], int | None]]


def ensure_engine(
    answers: Callable[[], bool] = engine_socket.engine_answers,
    *,
    within: float = SECONDS,
    start: Start = shell.start_daemon,
    run: Callable[[list[str]], object] = shell.run,
    systemd: bool | None = None,
    root: bool | None = None,
    pid_files: dict[Path, str] | None = None,
    log: Path | None = None,
    clock: Clock | None = None,
) -> str:
    """See that the engine answers; start it where it does not. Harmless when it does.

    Args:
        answers: asks the engine.
        within: seconds to wait at most until it answers.
        start: starts a daemon with a log; gives what asks for its exit status.
        run: runs a command.
        systemd: whether systemd is process 1; found out without it.
        root: whether this process acts as root; found out without it.
        pid_files: files that may name a dead process, with the program that they stand for.
        log: dockerd's log; in the state folder without it.
        clock: where time comes from.

    Returns:
        A line that says what was done.

    Raises:
        EngineUnavailable: it does not answer in time, ends, or is a remote one (DOCKER_HOST) that is not ours to start.
        MissingPrerequisite: only root can start it, or there is no dockerd.
    """
    if answers():
        return "Docker's engine answers"
    path = engine_socket.socket_path()
    if path is None:
        raise EngineUnavailable(
            "the engine that DOCKER_HOST names does not answer",
            todo=["start it there, or unset DOCKER_HOST to use one on this machine"],
        )
    systemd = host.systemd_runs() if systemd is None else systemd
    root = host.is_root() if root is None else root
    if not root:
        raise _not_ours(path, systemd)
    log = log or paths.state() / "dockerd.log"
    if systemd:
        run(["systemctl", "start", "docker"])
        _wait(answers, lambda: None, None, within, clock)
        return "started Docker's engine (systemctl start docker)"
    if not shutil.which("dockerd") and start is shell.start_daemon:
        raise MissingPrerequisite("there is no dockerd on this machine", todo=["run: invoke setup"])
    files = PID_FILES if pid_files is None else pid_files
    removed, alive = clear_pid_files(files)
    if alive:  # it is on its way up, or down, or stuck: a second one would only refuse

        def ended() -> int | None:
            return None if clear_pid_files(files)[1] else 0

        try:
            _wait(answers, ended, log, within, clock)
        except EngineUnavailable:
            if ended() is None:
                raise
        else:
            return "Docker's engine was starting, and answers now"
    _wait(answers, start(["dockerd"], log), log, within, clock)
    after = f" after removing {', '.join(removed)}" if removed else ""
    return f"started dockerd{after}; its log is {log}"


def stop_engine(*, within: float = SECONDS, pid_file: Path | None = None, systemd: bool | None = None) -> None:
    """Stop a dockerd that `ensure_engine` started, and every container with it; which one was running it will know.

    Args:
        within: seconds to wait at most until it has ended.
        pid_file: names its process.
        systemd: whether systemd is process 1, which then started it; found out without it.

    Raises:
        MissingPrerequisite: it is not ours to stop: systemd started it, it is a remote one, or it does not run.
        TimedOut: it did not end.
    """
    pid = own_engine(pid_file=pid_file, systemd=systemd)
    os.kill(pid, signal.SIGTERM)
    until(lambda: host.process_name(pid), lambda name: (name != "dockerd", f"process {pid} is {name}"),
          within=within, what="the end of Docker's engine")  # fmt: skip


def own_engine(*, pid_file: Path | None = None, systemd: bool | None = None) -> int:
    """The process of a dockerd that is kubedrill's to stop, since `ensure_engine` would start the same again.

    Args:
        pid_file: names its process.
        systemd: whether systemd is process 1, which then started it; found out without it.

    Raises:
        MissingPrerequisite: it is not ours to stop: systemd started it, it is a remote one, or it does not run.
    """
    file = pid_file or next(path for path, program in PID_FILES.items() if program == "dockerd")
    pid = host.pid_from(file)
    ours = not (host.systemd_runs() if systemd is None else systemd) and engine_socket.socket_path() is not None
    if not ours or pid is None or host.process_name(pid) != "dockerd":
        raise MissingPrerequisite(
            "Docker's engine was not started by `invoke setup`, and is not stopped",
            evidence=[f"{file}: {pid or 'no process'}", f"DOCKER_HOST={os.environ.get('DOCKER_HOST', '')}"],
            todo=["where systemd does not run: stop that one, unset DOCKER_HOST, and run: invoke setup"],
        )
    return pid


def clear_pid_files(files: dict[Path, str], *, proc: Path = host.PROC) -> tuple[list[str], bool]:
    """Remove pid files whose process is gone or is another program.

    Args:
        files: pid files, with the program that each stands for.
        proc: where procfs is mounted.

    Returns:
        The files removed, and whether a dockerd among them is alive.
    """
    removed, alive = [], False
    for file, program in files.items():
        if not file.exists():
            continue
        pid = host.pid_from(file)
        if pid is not None and host.process_name(pid, proc=proc) == program:
            alive = alive or program == "dockerd"
        else:
            file.unlink(missing_ok=True)
            removed.append(str(file))
    return removed, alive


def _wait(
    answers: Callable[[], bool],
    ended: Callable[[], int | None],
    log: Path | None,
    within: float,
    clock: Clock | None,
) -> None:
    def read() -> bool:
        answered, status = answers(), ended()
        if not answered and status is not None:
            raise EngineUnavailable(f"dockerd ended with status {status}", evidence=_tail(log), todo=_hints(log))
        return answered

    def check(answered: bool) -> Verdict:
        return answered, "it answers" if answered else "it does not answer"

    try:
        if clock is None:
            until(read, check, within=within, what="Docker's engine answers")
        else:
            until(read, check, within=within, what="Docker's engine answers", clock=clock)
    except TimedOut as error:
        raise EngineUnavailable(
            f"Docker's engine does not answer within {within:g} s", evidence=_tail(log), todo=_hints(log)
        ) from error


def _not_ours(path: Path, systemd: bool) -> MissingPrerequisite:
    if engine_socket.ask(path) == "forbidden":
        return MissingPrerequisite(
            "Docker's engine belongs to another user",
            evidence=[f"this user may not open {path}"],
            todo=["sudo usermod -aG docker $USER    (then log in again)"],
        )
    return MissingPrerequisite(
        "Docker's engine does not run, and only root can start it", todo=[f"sudo {start_command(systemd)}"]
    )


def start_command(systemd: bool) -> str:
    """The command that starts the engine, for root."""
    return "systemctl start docker" if systemd else "dockerd &"


def _tail(log: Path | None) -> list[str]:
    if log is None or not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-15:]


def _hints(log: Path | None) -> list[str]:
    return [f"all of its log is in {log}"] if log else ["see: journalctl -u docker"]
