"""HTTP answers taken apart."""

from __future__ import annotations

import pytest

from kubedrill.probes.http1 import dechunk, parse_head
from kubedrill.probes.wire import Endpoint

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a:b\r\n\r\n"


@pytest.mark.parametrize("length", range(1, len(HEAD)))
def test_a_head_that_is_not_complete_is_none(length: int) -> None:
    assert parse_head(HEAD[:length]) is None


def test_a_head() -> None:
    head = parse_head(HEAD + b"ok")
    assert head is not None
    assert (head.status, head.headers, head.body_at) == (200, {"content-length": "2", "x": "a:b"}, len(HEAD))


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/" + b"x" * 70_000]
)
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_head(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (b"", b"", False)),
        (b"2\r\nab\r\n", (b"ab", b"", False)),
        (b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", (b"abc", b"", True)),
        (b"2\r\nab\r\n5\r\ncd", (b"ab", b"5\r\ncd", False)),
        (b"2\r\nab", (b"", b"2\r\nab", False)),
        (b"0\r\n", (b"", b"0\r\n", False)),
        (b"A\r\n0123456789\r\n", (b"0123456789", b"", False)),
    ],
)
def test_chunks(data: bytes, expected: tuple[bytes, bytes, bool]) -> None:
    assert dechunk(data) == expected


@pytest.mark.parametrize("url", ["ftp://x", "https://1.2.3.4", "x", "http://"])
def test_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.of(url)


def test_the_endpoint_of_a_url() -> None:
    assert Endpoint.of("http://1.2.3.4:30080/x") == Endpoint("1.2.3.4", 30080)
    assert Endpoint.of("http://1.2.3.4") == Endpoint("1.2.3.4", 80)
