"""HTTP/1.1 answers taken apart: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Bytes that are read at once, and that headers may take.
MOST = 64 * 1024


class Answer(NamedTuple):
    """An HTTP answer, complete."""

    status: int
    body: bytes


class Head(NamedTuple):
    """The beginning of an HTTP answer: its status, its headers by lower-case name, where its body begins."""

    status: int
    headers: Mapping[str, str]
    body_at: int


def parse_head(data: bytes) -> Head | None:
    """The head of an answer, None while it is not complete.

    Raises:
        ValueError: it is no HTTP answer.
    """
    if not data.startswith(b"HTTP/"[: len(data)]):
        raise ValueError(f"not HTTP: {data[:40]!r}")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > MOST:
            raise ValueError("the headers do not end")
        return None
    status, *lines = data[:end].decode("latin-1").split("\r\n")
    words = status.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdecimal():
        raise ValueError(f"not HTTP: {status[:40]!r}")
    pairs = (line.partition(":") for line in lines)
    return Head(int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, end + 4)


def dechunk(data: bytes) -> tuple[bytes, bytes, bool]:
    """Take the complete chunks off the beginning of a chunked body.

    Returns:
        (what they hold, what is left, whether the last one was among them).

    Raises:
        ValueError: it is not chunked.
    """
    parts: list[bytes] = []
    at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].split(b";")[0], 16)
        chunk_end = line_end + 2 + size
        if len(data) < chunk_end + 2:
            break
        if size == 0:
            return b"".join(parts), b"", True
        parts.append(data[line_end + 2 : chunk_end])
        at = chunk_end + 2
    return b"".join(parts), data[at:], False
