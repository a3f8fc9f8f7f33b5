"""Shells that stay open in containers, and run one command after another.

Each `docker exec` has the engine start four processes, before and beside the command's own: 35 ms of a core, and where
all are busy several times that until the command begins. A shell that is there already needs 2 ms.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from kubedrill.providers.docker_stream import STDERR, STDOUT, frames
from kubedrill.shell import Result

# bash reads its commands byte for byte, and so leaves to `head` what is not its own. HOME and other settings it has
# from the engine.
SHELL = ("bash", "--norc", "--noprofile")
# A command at a time in each shell.
_STDIN = "/run/kubedrill-stdin-$$"
_PIECE = 1 << 16
# What the engine answers where a container died under a command.
KILLED = 137


class Shell:
    """One shell.

    Args:
        stream: leads to its standard input, and gives both its outputs in the engine's frames.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._left = b""

    def idle(self) -> bool:
        """Whether it waits for a command: between two there is nothing to be read but its end."""
        try:
            self._stream.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def run(self, argv: Sequence[str], stdin: bytes | None = None) -> Result:
        """Run a command and wait for its end.

        Args:
            argv: the program and its arguments.
            stdin: its standard input, empty without it; taken over whole before it begins, since it need not read it.

        Returns:
            Its status and output; that of a killed one where the container ended under it.
        """
        # `exec` takes programs only: what the shell itself can do by that name is another thing.
        command, mark = f"exec {shlex.join(argv)}", secrets.token_hex(16)
        script = f"({command}) </dev/null; status=$?"
        if stdin is not None:
            # `tee` takes all of it also where there is no room: what was left would be taken for commands.
            script = (
                f"if (umask 077; head --bytes {len(stdin)} | tee {_STDIN} >/dev/null); "
                f"then (rm {_STDIN}; {command}) <{_STDIN}; status=$?; else status=$?; rm -f {_STDIN}; fi"
            )
        script += f"; printf '%s%d;' {mark} $status; printf '%s;' {mark} >&2\n"
        try:
            self._stream.sendall(script.encode() + (stdin or b""))
            return self._until(mark.encode())
        except OSError:
            return Result(KILLED, "", "")

    def close(self) -> None:
        """End it; what runs in it goes on to its own end."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def _until(self, mark: bytes) -> Result:
        """What comes before the mark in both streams."""
        texts = {STDOUT: b"", STDERR: b""}
        whole = False
        while not whole:
            piece = self._stream.recv(_PIECE)
            found, self._left = frames(self._left + piece)
            for stream, text in found:
                texts[stream] += text
            whole = all(mark in text and text.endswith(b";") for text in texts.values())
            if not piece:
                break
        out, _, status = texts[STDOUT].partition(mark)
        err, _, _ = texts[STDERR].partition(mark)
        code = int(status.rstrip(b";")) if whole else KILLED
        return Result(code, out.decode(errors="replace"), err.decode(errors="replace"))


class Shells:
    """The shells in all nodes, while they are kept open.

    Args:
        opened: opens one in a container, with these settings; None where that cannot be.
    """

    def __init__(self, opened: Callable[[str, Mapping[str, str]], socket.socket | None]) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._keepers = 0
        self._booted: set[str] = set()
        self._idle: dict[str, list[Shell]] = {}

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep them open meanwhile."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                ended = [] if self._keepers else [shell for shells in self._idle.values() for shell in shells]
                if not self._keepers:
                    self._idle.clear()
                    self._booted.clear()
            for shell in ended:
                shell.close()

    def has_booted(self, name: str) -> None:
        """A command has succeeded in a container: it may have shells for as long as they are kept.

        A shell that is there when systemd makes its groups of processes could be in a group that may hold none.
        """
        with self._lock:
            if self._keepers:
                self._booted.add(name)

    def run(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes | None = None
    ) -> Result | None:
        """Run a command in a container, in a shell of its own.

        Args:
            name: the container.
            argv: the program and its arguments.
            environment: what is set for it besides.
            stdin: its standard input; empty without it.

        Returns:
            Its status and output; None where it was not even begun: no shells are kept, or there can be none.
        """
        shell = self._take(name, environment)
        if shell is None:
            return None
        keep = False
        try:
            result = shell.run(argv, stdin)
            with self._lock:
                if keep := self._keepers > 0 and shell.idle():
                    self._idle.setdefault(name, []).append(shell)
        finally:
            if not keep:
                shell.close()
        return result

    def _take(self, name: str, environment: Mapping[str, str]) -> Shell | None:
        with self._lock:
            if not self._keepers or name not in self._booted:
                return None
            idle = self._idle.get(name, [])
            while idle:
                if (shell := idle.pop()).idle():
                    return shell
                shell.close()
        stream = self._opened(name, environment)
        return Shell(stream) if stream is not None else None
