"""The engine's way to send two streams as one: pure."""

from __future__ import annotations

import struct

from kubedrill.errors import KubedrillError

STDOUT, STDERR = 1, 2
# The status of a command under which its container ended: the engine has none for it.
KILLED = 137
_HEADER = struct.Struct(">BxxxL")


def split(data: bytes) -> tuple[bytes, bytes]:
    """Standard output and standard error out of a multiplexed stream that has ended.

    Raises:
        KubedrillError: it is no such stream, or was cut off.
    """
    found, left = frames(data)
    if left:
        raise KubedrillError(
            "what a command in a node printed did not arrive whole", evidence=[f"cut off: {len(left)} bytes of a frame"]
        )
    out, err = (b"".join(text for stream, text in found if stream == wanted) for wanted in (STDOUT, STDERR))
    return out, err


def frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames at the beginning of a multiplexed stream, and what is left of it.

    Each frame has a header of 8 bytes: the stream, three zeros, and the length (big-endian) of what follows.
    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach

    Raises:
        KubedrillError: it is no such stream.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + _HEADER.size <= len(data):
        stream, length = _HEADER.unpack_from(data, at)
        begin, end = at + _HEADER.size, at + _HEADER.size + length
        if stream not in (STDOUT, STDERR):
            raise KubedrillError(
                "what a command in a node printed did not arrive whole",
                evidence=[f"stream {stream}, {length} bytes announced, {len(data) - begin} there"],
            )
        if end > len(data):
            break
        found.append((stream, data[begin:end]))
        at = end
    return found, data[at:]
