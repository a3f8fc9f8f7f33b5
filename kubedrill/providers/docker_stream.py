"""The engine's way to send two streams as one: pure."""

from __future__ import annotations

import struct

from kubedrill.errors import KubedrillError

_HEADER = struct.Struct(">BxxxL")
_STDOUT, _STDERR = 1, 2


def split(data: bytes) -> tuple[bytes, bytes]:
    """Standard output and standard error out of a multiplexed stream.

    Each frame has a header of 8 bytes: the stream, three zeros, and the length (big-endian) of what follows.
    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach

    Raises:
        KubedrillError: it is no such stream, or was cut off.
    """
    parts: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: []}
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise KubedrillError("what a command in a node printed was cut off", evidence=[f"after {at} bytes"])
        stream, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        if stream not in parts or at + length > len(data):
            raise KubedrillError(
                "what a command in a node printed did not arrive whole",
                evidence=[f"stream {stream}, {length} bytes announced, {len(data) - at} there"],
            )
        parts[stream].append(data[at : at + length])
        at += length
    return b"".join(parts[_STDOUT]), b"".join(parts[_STDERR])
