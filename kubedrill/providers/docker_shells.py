"""Shells that stay open in containers, and run one command after another.

Each `docker exec` has the engine start four processes, before and beside the command's own: `true` took 44 ms of a core
so, and 2 to 3 ms through a shell that was there already; a file of one letter 60 and 8 ms (2026-11-30, 40 and 200 times
in a node with nothing else to do, by /proc/stat). Where all cores are busy a command begins that much later.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from kubedrill.providers.docker_stream import KILLED, STDERR, STDOUT, frames
from kubedrill.shell import Result

# It reads its commands byte for byte, and so leaves what is not its own to `head`.
SHELL = ("bash", "--norc", "--noprofile")
# In /run, which is memory. One command at a time in each shell.
_STDIN = "/run/kubedrill-stdin-$$"
_PIECE = 1 << 16
# Seconds of silence after which whoever waits looks whether there is still somebody to wait for.
_SILENCE = 60.0


class Shell:
    """One shell.

    Args:
        stream: leads to its standard input, and gives both its outputs in the engine's frames.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._stream.settimeout(_SILENCE)
        self._left = b""
        self._well = True

    def idle(self) -> bool:
        """Whether it can take a command: after one it says nothing, not even its end."""
        if not self._well or self._left:
            return False
        try:
            self._stream.setblocking(False)
            self._stream.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                self._stream.settimeout(_SILENCE)
        return False

    def run(
        self, argv: Sequence[str], stdin: bytes | None = None, look: Callable[[], object] = object
    ) -> Result | None:
        """Run a command and wait for its end.

        It is in the shell's group of processes. What a process says that an earlier one left behind, while this one
        runs, is taken for its own.

        Args:
            argv: the program and its arguments.
            stdin: its standard input, empty without it; taken over whole before it begins, since it need not read it.
            look: called after each minute without a word; what it raises ends the wait.

        Returns:
            Its status and output; KILLED where the shell ended under it; None where that ended before it began.
        """
        mark = secrets.token_hex(16)
        try:
            self._stream.sendall(_script(argv, stdin, mark) + (stdin or b""))
        except OSError:
            self._well = False
            return None
        return self._until(mark.encode(), look)

    def close(self) -> None:
        """End it; what runs in it goes on to its own end."""
        self._well = False
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def _until(self, mark: bytes, look: Callable[[], object]) -> Result | None:
        """What is between the marks in both streams."""
        whole = re.compile(rb"%b<(.*)%b>(\d+);(.*)" % (mark, mark), flags=re.DOTALL)
        texts = {STDOUT: bytearray(), STDERR: bytearray()}
        ended: set[int] = set()
        while piece := self._piece(look):
            found, self._left = frames(self._left + piece)
            for stream, more in found:
                texts[stream] += more
                if mark + b">" in texts[stream][-len(more) - len(mark) - 1 :]:
                    ended.add(stream)
            if len(ended) == len(texts) and all(ends := [whole.search(text) for text in texts.values()]):
                (out, status, more_out), (err, _, more_err) = (end.groups() for end in ends if end)
                # Of a process that the command left behind: it may say more.
                self._well = not (more_out or more_err)
                return _result(int(status), out, err)
        self._well = False
        begun = [text.partition(mark + b"<") for text in texts.values()]
        if not any(middle for _, middle, _ in begun):
            return None
        out, err = (text.partition(mark + b">")[0] for _, _, text in begun)
        return _result(KILLED, out, err.rstrip(b"\n") + b"\nthe connection to its shell was lost\n")

    def _piece(self, look: Callable[[], object]) -> bytes:
        while True:
            try:
                return self._stream.recv(_PIECE)
            except TimeoutError:
                look()
            except OSError:
                return b""


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
                over = [] if self._keepers else [*self._booted, *self._idle]
            for name in over:
                self.forget(name)

    def has_booted(self, name: str) -> None:
        """A command has succeeded in a container: it may have shells for as long as they are kept.

        A shell that is there when systemd makes its groups of processes could be in a group that may hold none.
        """
        with self._lock:
            if self._keepers:
                self._booted.add(name)

    def forget(self, name: str) -> None:
        """End those of a container that is about to stop, and have no more until it has booted again."""
        with self._lock:
            self._booted.discard(name)
            idle = self._idle.pop(name, [])
        for shell in idle:
            shell.close()

    def run(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes | None = None,
        look: Callable[[], object] = object,
    ) -> Result | None:  # fmt: skip
        """Run a command in a container, in a shell of its own.

        Args:
            name: the container.
            argv: the program and its arguments.
            environment: what is set for it besides.
            stdin: its standard input; empty without it.
            look: called after each minute without a word; what it raises ends the wait.

        Returns:
            Its status and output; None where it was not begun: no shells are kept, or there can be none.
        """
        shell = self._take(name, environment)
        if shell is None:
            return None
        keep = False
        try:
            result = shell.run(argv, stdin, look)
            with self._lock:
                if keep := name in self._booted and shell.idle():
                    self._idle.setdefault(name, []).append(shell)
        finally:
            if not keep:
                shell.close()
        if result is None:
            # Whatever ended it: the container may be booting again.
            self.forget(name)
        return result

    def _take(self, name: str, environment: Mapping[str, str]) -> Shell | None:
        with self._lock:
            if name not in self._booted:
                return None
            idle = self._idle.get(name, [])
            while idle:
                if (shell := idle.pop()).idle():
                    return shell
                shell.close()
        stream = self._opened(name, environment)
        return Shell(stream) if stream is not None else None


def _script(argv: Sequence[str], stdin: bytes | None, mark: str) -> bytes:
    """What a shell is told; in braces, so that it does nothing where not all of it arrives."""
    # `exec` takes programs only: what the shell itself can do by that name is another thing. The shell's own word on a
    # command that was killed is not the command's.
    run = f"exec {shlex.join(argv)}"
    end = f"printf '%s>%d;' {mark} $status; printf '%s>0;' {mark} >&2"
    if stdin is None:
        body = f"{{ ({run}) 2>&3 3>&- </dev/null; status=$?; }} 3>&2 2>/dev/null; {end}"
    else:
        # `tee` takes all of it also where there is no room: what was left would be taken for commands, but for the
        # `exit`. After it there is nothing to be read, but for an end where not all of it arrived.
        body = (
            f"if (set -o pipefail; umask 077; head --bytes {len(stdin)} | tee {_STDIN} >/dev/null) && ! read -t 0; "
            f"then {{ (rm {_STDIN}; {run}) 2>&3 3>&- <{_STDIN}; status=$?; }} 3>&2 2>/dev/null; {end}; "
            f"else status=1; rm -f {_STDIN}; echo 'its input found no room, or did not arrive whole' >&2; {end}; exit; "
            "fi"
        )
    return f"{{ printf '%s<' {mark}; printf '%s<' {mark} >&2; {body}; }}\n".encode()


def _result(status: int, out: bytes | bytearray, err: bytes | bytearray) -> Result:
    return Result(status, out.decode(errors="replace"), err.decode(errors="replace"))
