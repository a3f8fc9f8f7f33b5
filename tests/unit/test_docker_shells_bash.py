"""The words that a kept shell is told, said to a real one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from bash_streams import Bash

from kubedrill import shell
from kubedrill.providers import docker_shells
from kubedrill.providers.docker_shells import Shell
from kubedrill.shell import Result
from kubedrill.wait import until


class Cut:
    """A connection that breaks after so many bytes of what is sent, as far as its sender knows."""

    def __init__(self, stream: socket.socket, after: int) -> None:
        self._stream, self._after = stream, after

    def sendall(self, data: bytes) -> None:
        self._stream.sendall(data[: self._after])
        self._stream.shutdown(socket.SHUT_WR)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.fixture
def bash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setattr(docker_shells, "_STDIN", f"{tmp_path}/stdin-$$")
    made = Shell(Bash(tmp_path / "bash").stream)
    yield made
    made.close()


def test_status_and_both_streams(bash: Shell) -> None:
    assert bash.run(["sh", "-c", "printf é; echo err >&2; exit 3"]) == Result(3, "é", "err\n")
    assert bash.run(["printf", "a\\377b"]) == Result(0, "a\N{REPLACEMENT CHARACTER}b", "")
    assert bash.idle()


def test_words(bash: Shell) -> None:
    odd = ["", " ", "it's", '"', "$HOME `id` $(id)", "\\", "a\nb", "; exit 7", "*", "-n", "}", "é✓"]
    result = bash.run(["printf", "<%s>", *odd])
    assert result is not None
    assert result.stdout == "".join(f"<{word}>" for word in odd)


@pytest.mark.parametrize("text", ["", "two\nlines, and no end", "exit 3\n" * 50_000])
def test_standard_input(bash: Shell, tmp_path: Path, text: str) -> None:
    assert bash.run(["cat"], text.encode()) == Result(0, text, "")
    assert bash.run(["true"], text.encode()) == Result(0, "", ""), "it need not be read"
    assert bash.run(["cat"]) == Result(0, "", "")
    assert not [*tmp_path.glob("stdin-*")]


def test_its_standard_input_is_for_its_owner_alone(bash: Shell, tmp_path: Path) -> None:
    result = bash.run(["sh", "-c", "stat --dereference --format %a /proc/self/fd/0; umask"], b"secret")
    own = shell.run(["sh", "-c", "umask"]).stdout
    assert result == Result(0, f"600\n{own}", "")


def test_programs_only(bash: Shell) -> None:
    result = bash.run(["cd", "/"])
    assert result is not None
    assert result.status == 127
    assert "cd" in result.stderr
    assert bash.run(["pwd"]) == Result(0, f"{Path.cwd()}\n", "")


@pytest.mark.parametrize("stdin", [None, b"x"])
@pytest.mark.parametrize("signal", ["KILL", "TERM", "SEGV"])
def test_one_that_is_killed(bash: Shell, signal: str, stdin: bytes | None) -> None:
    """The shell's own word on that is not the command's."""
    result = bash.run(["sh", "-c", f"ulimit -c 0; kill -{signal} $$"], stdin)
    number = {"KILL": 9, "TERM": 15, "SEGV": 11}[signal]
    assert result == Result(128 + number, "", "")
    assert bash.run(["echo", "well"]) == Result(0, "well\n", "")


def test_what_a_process_that_is_left_says_later_is_not_the_next_one_s(bash: Shell, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    assert bash.run(["timeout", "20", "sh", "-c", f"(read word <{gate}; echo late) & echo now"]) == Result(
        0, "now\n", ""
    )
    assert bash.idle()
    gate.write_text("go\n")
    until(bash.idle, lambda idle: (not idle, "not yet"), within=5, every=0.01, what="the late word")
    assert bash.run(["echo", "next"]) == Result(0, "next\n", "")


def test_where_there_is_no_room_for_its_input_it_does_not_begin(
    bash: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_shells, "_STDIN", f"{tmp_path}/no-such-folder/stdin")
    result = bash.run(["touch", f"{tmp_path}/ran"], f"touch {tmp_path}/misread\n".encode() * 20_000)
    assert result is not None
    assert result.status == 1
    assert "found no room" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bash"]
    assert bash.run(["true"]) is None, "it is over"


def test_input_that_does_not_arrive_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_shells, "_STDIN", f"{tmp_path}/stdin-$$")
    stream = Bash(tmp_path / "bash").stream
    text = b"x" * 100_000
    result = Shell(cast(socket.socket, Cut(stream, 50_000))).run(["touch", f"{tmp_path}/ran"], text)
    assert result is not None
    assert (result.status, result.stderr) == (1, "its input found no room, or did not arrive whole\n")
    assert [path.name for path in tmp_path.iterdir()] == ["bash"]


@pytest.mark.parametrize("stdin", [None, b""])
def test_words_that_do_not_arrive_whole(tmp_path: Path, stdin: bytes | None) -> None:
    sent: list[bytes] = []

    class Recorded:
        """A connection that takes all and ends."""

        def sendall(self, data: bytes) -> None:
            sent.append(data)

        def __getattr__(self, name: str) -> Any:
            return lambda *_: b""

    assert Shell(cast(socket.socket, Recorded())).run(["touch", f"{tmp_path}/ran"], stdin) is None
    (script,) = sent
    assert script.endswith(b"; }\n")
    for end in range(0, len(script) - 2, 11):
        shell.run(["bash"], stdin=script[:end].decode(), check=False)
    assert [*tmp_path.iterdir()] == []


def test_what_takes_its_input_over_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the input, which is still on its way, is neither its end nor a command."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "head").write_text("#!/bin/sh\n/usr/bin/head --bytes 5\nkill -KILL $$\n")
    (programs / "head").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(docker_shells, "_STDIN", f"{tmp_path}/stdin-$$")
    bash = Shell(Bash(tmp_path / "bash").stream)
    result = bash.run(["touch", f"{tmp_path}/ran"], f"12345\ntouch {tmp_path}/misread\n".encode())
    assert result is not None
    assert result.status == 1
    assert {path.name for path in tmp_path.iterdir()} == {"bash", "programs"}
    bash.close()
