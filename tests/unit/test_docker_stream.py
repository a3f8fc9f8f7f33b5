"""Two streams out of one, and nothing silently lost."""

from __future__ import annotations

import pytest
from bash_streams import frame

from kubedrill.errors import KubedrillError
from kubedrill.providers.docker_stream import split


def test_both_streams_in_their_order() -> None:
    assert split(frame(1, b"a") + frame(2, b"x") + frame(1, b"") + frame(1, b"bc")) == (b"abc", b"x")


def test_nothing_was_printed() -> None:
    assert split(b"") == (b"", b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(1, b"abc")[:-1], id="cut off in a frame"),
        pytest.param(frame(1, b"abc") + b"\1\0\0", id="cut off in a head"),
        pytest.param(b"ntrol-plane-1 kernel", id="begins in the middle"),
    ],
)
def test_what_is_not_whole_is_no_output(data: bytes) -> None:
    with pytest.raises(KubedrillError, match=r"cut off|did not arrive whole"):
        split(data)
