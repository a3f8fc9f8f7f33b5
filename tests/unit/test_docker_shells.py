"""Shells that are kept: what is asked of them, when they are taken again, and what becomes of those that ended."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubedrill.errors import CommandFailed, EngineUnavailable
from kubedrill.providers.base import File
from kubedrill.providers.docker import DockerNode
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.docker_shells import Shell, Shells
from kubedrill.shell import Result


def frame(stream: int, data: bytes) -> bytes:
    """As the engine sends it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@dataclass
class Asked:
    """A command as a shell got it."""

    script: str
    stdin: bytes
    mark: bytes


def answered(status: int, out: bytes = b"", err: bytes = b"") -> Callable[[Asked], bytes]:
    """All that a shell says of a command."""
    return lambda asked: frame(1, out + asked.mark + b"%d;" % status) + frame(2, err + asked.mark + b";")


@dataclass
class World:
    """Containers with shells: each is a thread at the other end of a socket."""

    answer: Callable[[Asked], bytes] = field(default_factory=lambda: answered(0))
    asked: list[Asked] = field(default_factory=list)
    opened: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    there: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def open(self, name: str, environment: Mapping[str, str]) -> socket.socket | None:
        """What Shells opens them by."""
        if name == "off":
            return None
        self.opened.append((name, environment))
        here, there = socket.socketpair()
        self.there.append(there)
        self.threads.append(threading.Thread(target=self._serve, args=(name, there), daemon=True))
        self.threads[-1].start()
        return here

    def join(self) -> None:
        """Wait until all have ended."""
        for thread in self.threads:
            thread.join(timeout=5)
            assert not thread.is_alive()

    def _serve(self, name: str, there: socket.socket) -> None:
        with there, there.makefile("rb") as lines:
            for line in lines:
                script = line.decode()
                mark = re.search(r"printf '%s%d;' ([0-9a-f]{32}) ", script)
                length = re.search(r"head --bytes (\d+)", script)
                assert mark
                self.asked.append(Asked(script, lines.read(int(length[1]) if length else 0), mark[1].encode()))
                if not (said := self.answer(self.asked[-1])):
                    break
                there.sendall(said)
        self.ended.append(name)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for there in made.there:
        there.close()


@pytest.fixture
def shells(world: World) -> Shells:
    return Shells(world.open)


@contextlib.contextmanager
def kept(shells: Shells) -> Iterator[None]:
    """Shells that are kept, of a container that has booted."""
    with shells.kept():
        shells.has_booted("a")
        yield


class TestOne:
    def shell(self, world: World) -> Shell:
        stream = world.open("a", {})
        assert stream is not None
        return Shell(stream)

    def test_status_and_both_streams(self, world: World) -> None:
        world.answer = answered(3, "out é".encode(), b"err\n")
        assert self.shell(world).run(["it's", "-x"]) == Result(3, "out é", "err\n")
        assert world.asked[0].script.startswith("""(exec 'it'"'"'s' -x) </dev/null; """)

    def test_standard_input(self, world: World) -> None:
        given = b"two\nlines, and no end"
        self.shell(world).run(["cat"], given)
        assert world.asked[0].stdin == given
        assert "</dev/null" not in world.asked[0].script

    def test_one_after_another(self, world: World) -> None:
        shell = self.shell(world)
        for number in range(3):
            world.answer = answered(number, b"%d" % number)
            assert shell.run(["x"]) == Result(number, str(number), "")
        assert shell.idle()
        assert len({asked.mark for asked in world.asked}) == 3

    def test_in_whatever_pieces_it_comes(self, world: World) -> None:
        """Byte by byte, the mark spread over frames, and one stream all before the other."""

        def slowly(asked: Asked) -> bytes:
            for byte in frame(2, b"e") + frame(2, asked.mark + b";"):
                world.there[0].sendall(bytes([byte]))
            text = b"o" * 70_000 + asked.mark + b"12;"
            return b"".join(frame(1, text[at : at + 7]) for at in range(0, len(text), 7))

        world.answer = slowly
        assert self.shell(world).run(["x"]) == Result(12, "o" * 70_000, "e")

    def test_output_that_looks_like_an_end(self, world: World) -> None:
        world.answer = answered(0, b"0" * 32 + b"1;", b";;")
        assert self.shell(world).run(["x"]) == Result(0, "0" * 32 + "1;", ";;")

    def test_one_that_ends_under_a_command(self, world: World) -> None:
        def killed(asked: Asked) -> bytes:
            world.there[0].sendall(frame(1, b"begun") + frame(2, b"and")[:-1])
            return b""

        world.answer = killed
        shell = self.shell(world)
        assert shell.run(["x"]) == Result(137, "begun", "")
        assert not shell.idle()
        assert shell.run(["x"]).status == 137

    def test_closing_ends_it(self, world: World) -> None:
        shell = self.shell(world)
        shell.close()
        world.join()
        assert not shell.idle()


class TestAll:
    def test_nobody_keeps_them(self, world: World, shells: Shells) -> None:
        shells.has_booted("a")
        assert shells.run("a", ["x"], {}) is None
        assert world.opened == []

    def test_before_its_container_has_booted_there_is_none(self, world: World, shells: Shells) -> None:
        with kept(shells):
            assert shells.run("b", ["x"], {}) is None
            shells.has_booted("b")
            assert shells.run("b", ["x"], {}) is not None
            assert shells.run("a", ["x"], {}) is not None
        shells.has_booted("b")
        with kept(shells):  # it may be another container of that name by then
            assert shells.run("b", ["x"], {}) is None

    def test_where_none_can_be_had(self, world: World, shells: Shells) -> None:
        with kept(shells):
            shells.has_booted("off")
            assert shells.run("off", ["x"], {}) is None

    def test_one_is_enough_for_one_at_a_time(self, world: World, shells: Shells) -> None:
        with kept(shells):
            for _ in range(3):
                assert shells.run("a", ["x"], {"KEY": "value"}) == Result(0, "", "")
            assert world.opened == [("a", {"KEY": "value"})]
            assert world.ended == []
        world.join()
        assert world.ended == ["a"]

    def test_as_many_as_there_are_commands_at_once(self, world: World, shells: Shells) -> None:
        both = threading.Barrier(2, timeout=5)

        def wait(asked: Asked) -> bytes:
            both.wait()
            return answered(0)(asked)

        world.answer = wait
        with kept(shells):
            threads = [threading.Thread(target=shells.run, args=("a", ["x"], {})) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(world.opened) == 2
        world.join()

    def test_one_that_ended_meanwhile_is_not_taken(self, world: World, shells: Shells) -> None:
        with kept(shells):
            shells.run("a", ["x"], {})
            world.there[0].shutdown(socket.SHUT_RDWR)
            assert shells.run("a", ["y"], {}) == Result(0, "", "")
            assert len(world.opened) == 2
            assert [asked.script.split(")")[0] for asked in world.asked] == ["(exec x", "(exec y"]

    def test_one_that_ends_under_a_command_is_not_taken_again(self, world: World, shells: Shells) -> None:
        world.answer = lambda _: b""
        with kept(shells):
            assert shells.run("a", ["x"], {}) == Result(137, "", "")
            world.answer = answered(0)
            assert shells.run("a", ["x"], {}) == Result(0, "", "")

    def test_whoever_keeps_them_longest_keeps_them(self, world: World, shells: Shells) -> None:
        with kept(shells):
            with kept(shells):
                shells.run("a", ["x"], {})
            shells.run("a", ["x"], {})
            assert len(world.opened) == 1
        world.join()

    def test_one_that_is_at_work_when_they_are_given_up_ends_after_it(self, world: World, shells: Shells) -> None:
        begun, over = threading.Event(), threading.Event()

        def wait(asked: Asked) -> bytes:
            begun.set()
            assert over.wait(5)
            return answered(7)(asked)

        world.answer = wait
        results: list[Result | None] = []
        with kept(shells):
            thread = threading.Thread(target=lambda: results.append(shells.run("a", ["x"], {})))
            thread.start()
            assert begun.wait(5)
        over.set()
        thread.join()
        world.join()
        assert results == [Result(7, "", "")]


class TestNode:
    """What a node makes of it."""

    @pytest.fixture
    def engine(self) -> Engine:
        """An engine that is gone."""

        class Gone(Engine):
            def inspect_container(self, name: str) -> Mapping[str, Any]:
                raise EngineUnavailable(f"nobody knows {name}")

        return Gone()

    def node(self, engine: Engine, shells: Shells) -> DockerNode:
        return DockerNode(engine, shells, "a", "worker", "10.0.0.1", lambda *_: None)

    def test_an_engine_that_ends_under_a_command_is_the_error(
        self, world: World, shells: Shells, engine: Engine
    ) -> None:
        world.answer = lambda _: b""
        with kept(shells):
            for act in (
                lambda node: node.run(["x"], check=False), lambda node: node.write([File("/etc/x", "")]),
            ):  # fmt: skip
                with pytest.raises(EngineUnavailable):
                    act(self.node(engine, shells))

    def test_what_cannot_be_written_is_an_error(self, world: World, shells: Shells, engine: Engine) -> None:
        world.answer = answered(2, err=b"tar: no room")
        with kept(shells), pytest.raises(CommandFailed, match="no room"):
            self.node(engine, shells).write([File("/etc/x", "content")])
        assert b"content" in world.asked[0].stdin
