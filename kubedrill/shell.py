"""Run a command on this machine. The only module that calls subprocess."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubedrill.errors import CommandFailed, MissingPrerequisite


@dataclass(frozen=True)
class Result:
    """What a command left behind: its exit status and its two streams."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, standard output first."""
        return self.stdout + self.stderr


def pasteable(argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """The line a person would type to run the same command."""
    settings = [f"{key}={shlex.quote(value)}" for key, value in (env or {}).items()]
    line = " ".join([*settings, shlex.join(argv)])
    return f"cd {shlex.quote(str(cwd))} && {line}" if cwd else line


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    check: bool = True,
    timeout: float | None = None,
    log: Path | None = None,
) -> Result:
    """Run a command on this machine and wait for its end.

    Args:
        argv: the program and its arguments; no shell is involved.
        env: variables set in addition to this process's own.
        cwd: the folder to run it in.
        stdin: text for its standard input; nothing (not the terminal) without it.
        check: raise when the status is not 0.
        timeout: seconds until it is ended.
        log: a file that gets both streams while it runs (the result's stdout is then the file's text).

    Raises:
        CommandFailed: the status was not 0 (with check), or the time ran out.
        MissingPrerequisite: there is no such program.
        FileNotFoundError: there is no such cwd, or no folder for log.
    """
    line = pasteable(argv, env, cwd)
    full_env = {**os.environ, **env} if env else None
    try:
        if log is not None:
            with log.open("w") as sink:
                done = subprocess.run(
                    list(argv), env=full_env, cwd=cwd, input=stdin, text=True, timeout=timeout,
                    stdout=sink, stderr=subprocess.STDOUT, stdin=None if stdin is not None else subprocess.DEVNULL,
                )  # fmt: skip
            result = Result(done.returncode, log.read_text(errors="replace"), "")
        else:
            captured = subprocess.run(
                list(argv), env=full_env, cwd=cwd, input=stdin or "", text=True, timeout=timeout,
                capture_output=True, errors="replace",
            )  # fmt: skip
            result = Result(captured.returncode, captured.stdout, captured.stderr)
    except FileNotFoundError as error:
        if error.filename != argv[0]:  # it is cwd, or the folder of log, that is missing
            raise
        raise MissingPrerequisite(
            f"there is no program '{argv[0]}' on this machine",
            evidence=[f"$ {line}"],
            todo=["run: invoke setup"],
        ) from error
    except subprocess.TimeoutExpired as error:
        output = log.read_text(errors="replace") if log is not None else _text(error.stdout) + _text(error.stderr)
        raise CommandFailed(line, None, output, "this machine") from error
    if check and result.status != 0:
        raise CommandFailed(line, result.status, result.output, "this machine")
    return result


def pipe(
    argv: Sequence[str], *, source: Path | None = None, sink: Path | None = None, timeout: float | None = None
) -> Result:
    """Run a command whose input or output is bytes, of any size: they come from, and go to, files.

    Args:
        argv: the program and its arguments; no shell is involved.
        source: a file for its standard input; nothing without it.
        sink: a file that gets its standard output; it is dropped without it.
        timeout: seconds until it is ended.

    Returns:
        Its status and what it wrote on standard error.

    Raises:
        CommandFailed: the time ran out.
    """
    with contextlib.ExitStack() as files:
        stdin = files.enter_context(source.open("rb")) if source else subprocess.DEVNULL
        stdout = files.enter_context(sink.open("wb")) if sink else subprocess.DEVNULL
        try:
            done = subprocess.run(list(argv), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(pasteable(argv), None, _text(error.stderr), "this machine") from error
    return Result(done.returncode, "", done.stderr.decode(errors="replace"))


def interactive(argv: Sequence[str]) -> int:
    """Run a command on the user's own terminal, and return its exit status once it has ended by itself.

    Ctrl-C reaches the command, too, and it may have to clean up: it is waited for, not killed. SIGTERM to this process
    is passed on as Ctrl-C.
    """
    return attended(argv).status


@dataclass(frozen=True)
class Ending:
    """How a command on the user's terminal ended.

    Args:
        status: its exit status; below 0 the signal that ended it.
        interrupted: whether this process got Ctrl-C, or was told to end, meanwhile: no status of others says that.
    """

    status: int
    interrupted: bool = False


def attended(argv: Sequence[str]) -> Ending:
    """The same as `interactive`, for who must know whether it was the user who ended it."""
    process: subprocess.Popen[bytes] | None = None
    interrupted = passed_on = False

    def told(number: int, _frame: object) -> None:
        nonlocal interrupted, passed_on
        interrupted = True
        if number == signal.SIGTERM and process is not None:
            passed_on = True
            process.send_signal(signal.SIGINT)

    # An exception instead, KeyboardInterrupt, could lose the status of a command that ends in that moment. And before
    # the command starts: else it ignores Ctrl-C where this process did, as what a script puts into the background does.
    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(list(argv))
        if interrupted and not passed_on:
            process.send_signal(signal.SIGINT)
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Ending(status, interrupted)


@dataclass(frozen=True)
class Daemon:
    """A process that outlives this one; called, it gives its exit status, None while it runs."""

    pid: int
    poll: Callable[[], int | None]

    def __call__(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.poll()


def start_daemon(argv: Sequence[str], log: Path) -> Daemon:
    """Start a service that outlives this process, in a session of its own.

    Args:
        argv: the program and its arguments.
        log: a file that both its streams are appended to.

    Returns:
        A handle of it.

    Raises:
        MissingPrerequisite: there is no such program.
    """
    try:
        with log.open("a") as sink:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
            )
    except FileNotFoundError as error:
        raise MissingPrerequisite(
            f"there is no program '{argv[0]}' on this machine", todo=["run: invoke setup"]
        ) from error
    return Daemon(process.pid, process.poll)


def _text(stream: str | bytes | None) -> str:
    if stream is None:
        return ""
    return stream if isinstance(stream, str) else stream.decode(errors="replace")
