"""The socket of Docker's engine, spoken to without Docker's client: who is behind it, and does it answer."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

DEFAULT_SOCKET = Path("/var/run/docker.sock")
_UNIX = "unix://"
_TIMEOUT = 5.0

Answer = Literal["answers", "forbidden", "silent"]


def socket_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """The unix socket of the engine that DOCKER_HOST names; None where the engine is reached in another way."""
    where = (os.environ if environ is None else environ).get("DOCKER_HOST", "")
    if not where:
        return DEFAULT_SOCKET
    return Path(where.removeprefix(_UNIX)) if where.startswith(_UNIX) else None


def ask(path: Path) -> Answer:
    """Whether an engine answers `GET /_ping` on a unix socket, and if not, whether this user may not ask."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT)
            client.connect(str(path))
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            status_line = client.makefile("rb").readline()
    except PermissionError:
        return "forbidden"
    except OSError:
        return "silent"
    return "answers" if b" 200 " in status_line else "silent"


def engine_answers() -> bool:
    """Whether the engine of this machine (DOCKER_HOST, or the usual socket) answers. A remote one counts as silent."""
    path = socket_path()
    return path is not None and ask(path) == "answers"


def peer(path: Path) -> int | None:
    """The process id that listens on a unix socket (SO_PEERCRED, unix(7)); None where it is not visible from here."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT)
            client.connect(str(path))
            pid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    except OSError:
        return None
    return int(pid) or None  # 0: a process outside of this PID namespace
