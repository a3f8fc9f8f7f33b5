"""The socket of Docker's engine, spoken to without Docker's client: who is behind it, and does it answer."""

from __future__ import annotations

import os
import re
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


def take_over(path: Path, request: str, body: str, timeout: float) -> socket.socket | None:
    """Post a request after whose answer the connection is a stream in both directions; None where it is refused.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Exec/operation/ExecStart

    Args:
        path: the engine's unix socket.
        request: the path of the request.
        body: its content, as JSON.
        timeout: seconds to wait for the answer.
    """
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(timeout)
        client.connect(str(path))
        head = [f"POST {request} HTTP/1.1", "Host: docker", "Content-Type: application/json", "Connection: Upgrade",
                "Upgrade: tcp", f"Content-Length: {len(body)}", "", ""]  # fmt: skip
        client.sendall("\r\n".join(head).encode() + body.encode())
        answer = b""
        # No byte further than its end: what follows is the stream's.
        while not answer.endswith(b"\r\n\r\n") and (byte := client.recv(1)):
            answer += byte
        if re.fullmatch(rb"HTTP/1\.. (101|200) .*\r\n\r\n", answer, flags=re.DOTALL):
            client.settimeout(None)
            return client
    except OSError:
        pass
    client.close()
    return None


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
