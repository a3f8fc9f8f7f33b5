"""A real bash behind a socket, whose outputs come in the engine's frames: as a shell in a container is."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from kubedrill import shell
from kubedrill.providers.docker_shells import SHELL


def frame(stream: int, data: bytes) -> bytes:
    """As the engine sends it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@dataclass
class Bash:
    """One bash; it ends where its end of the socket is closed, or only said to have no more to say.

    Args:
        folder: where its pipes are.
    """

    folder: Path
    stream: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        pipes = [self.folder / name for name in ("in", "out", "err")]
        for pipe in pipes:
            os.mkfifo(pipe)
        line = f"exec {shlex.join(SHELL)} <{pipes[0]} >{pipes[1]} 2>{pipes[2]}"
        shell.start_daemon(["sh", "-c", line], self.folder / "log")
        # In the order in which it opens them: each waits for the other side.
        self._in = pipes[0].open("wb", buffering=0)
        self._out = [pipe.open("rb", buffering=0) for pipe in pipes[1:]]
        self.stream, self._there = socket.socketpair()
        self._lock = threading.Lock()
        self._open = 2
        for work in (self._feed, lambda: self._tell(1), lambda: self._tell(2)):
            threading.Thread(target=work, daemon=True).start()

    def _feed(self) -> None:
        # An error: one of both ends is gone.
        with self._in, contextlib.suppress(OSError):
            while piece := self._there.recv(65536):
                self._in.write(piece)

    def _tell(self, stream: int) -> None:
        with self._out[stream - 1] as pipe, contextlib.suppress(OSError):
            while text := pipe.read(65536):
                with self._lock:
                    self._there.sendall(frame(stream, text))
        with self._lock:
            self._open -= 1
            if not self._open:
                # Closed alone, it would stay open for who waits for more of it.
                with contextlib.suppress(OSError):
                    self._there.shutdown(socket.SHUT_RDWR)
