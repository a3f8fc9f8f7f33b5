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
from bash_streams import frame

from kubedrill.errors import CommandFailed, EngineUnavailable
from kubedrill.providers import docker_shells
from kubedrill.providers.base import File
from kubedrill.providers.docker import DockerNode
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.docker_shells import Shell, Shells
from kubedrill.shell import Result


@dataclass
class Asked:
    """A command as a shell got it."""

    script: str
    stdin: bytes
    mark: bytes

    def says(self, stream: int, text: bytes, status: int = 0) -> bytes:
        """All of one stream."""
        return frame(stream, b"%b<%b%b>%d;" % (self.mark, text, self.mark, status))


def answered(status: int, out: bytes = b"", err: bytes = b"") -> Callable[[Asked], bytes]:
    """All that a shell says of a command."""
    return lambda asked: asked.says(1, out, status) + asked.says(2, err)


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
                mark = re.search(r"printf '%s<' ([0-9a-f]{32});", script)
                length = re.search(r"head --bytes (\d+)", script)
                assert mark
                self.asked.append(Asked(script, lines.read(int(length[1]) if length else 0), mark[1].encode()))
                if not (said := self.answer(self.asked[-1])):
                    break
                with contextlib.suppress(BrokenPipeError):
                    there.sendall(said)
        self.ended.append(name)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for there in made.there:
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)


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

    def test_in_whatever_pieces_it_comes(self, world: World) -> None:
        """Byte by byte, the marks spread over frames, and one stream all before the other."""

        def slowly(asked: Asked) -> bytes:
            for byte in asked.says(2, b"e"):
                world.there[0].sendall(bytes([byte]))
            text = b"%b<%b%b>12;" % (asked.mark, b"o" * 70_000, asked.mark)
            return b"".join(frame(1, text[at : at + 7]) for at in range(0, len(text), 7))

        world.answer = slowly
        shell = self.shell(world)
        assert shell.run(["x"]) == Result(12, "o" * 70_000, "e")
        assert shell.idle()

    def test_output_that_looks_like_an_end(self, world: World) -> None:
        world.answer = answered(0, b"0" * 32 + b">1;", b"<;;>0;")
        assert self.shell(world).run(["x"]) == Result(0, "0" * 32 + ">1;", "<;;>0;")

    def test_one_that_ends_under_a_command(self, world: World) -> None:
        def killed(asked: Asked) -> bytes:
            world.there[0].sendall(frame(1, asked.mark + b"<begun") + frame(2, b"and")[:-1])
            return b""

        world.answer = killed
        shell = self.shell(world)
        assert shell.run(["x"]) == Result(137, "begun", "\nthe connection to its shell was lost\n")
        assert not shell.idle()
        assert shell.run(["y"]) is None

    @pytest.mark.parametrize("said", [b"", frame(1, b"OCI runtime exec failed"), frame(1, b"cut off")[:-1]])
    def test_one_that_ends_before_it_begins(self, world: World, said: bytes) -> None:
        def refuse(_: Asked) -> bytes:
            world.there[0].sendall(said)
            return b""

        world.answer = refuse
        shell = self.shell(world)
        assert shell.run(["x"]) is None
        assert not shell.idle()

    def test_what_is_said_after_the_end_spoils_it(self, world: World) -> None:
        world.answer = lambda asked: asked.says(1, b"now\n") + frame(1, b"late;") + asked.says(2, b"")
        shell = self.shell(world)
        assert shell.run(["x"]) == Result(0, "now\n", "")
        assert not shell.idle()

    def test_after_a_long_silence_it_is_looked_at(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(docker_shells, "_SILENCE", 0.02)
        over, looks = threading.Event(), list[int]()

        def look() -> None:
            looks.append(1)
            if len(looks) == 2:
                over.set()

        world.answer = lambda asked: answered(0)(asked) if over.wait(5) else b""
        assert self.shell(world).run(["x"], look=look) == Result(0, "", "")
        assert len(looks) >= 2

    def test_a_look_can_end_the_wait(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(docker_shells, "_SILENCE", 0.02)
        over = threading.Event()

        def look() -> None:
            over.set()
            raise EngineUnavailable("gone")

        def wait(_: Asked) -> bytes:
            over.wait(5)
            return b""

        world.answer = wait
        with pytest.raises(EngineUnavailable):
            self.shell(world).run(["x"], look=look)


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
                thread.join(timeout=5)
            assert len(world.opened) == 2
        world.join()

    def test_one_that_ended_meanwhile_is_not_taken(self, world: World, shells: Shells) -> None:
        with kept(shells):
            shells.run("a", ["x"], {})
            world.there[0].shutdown(socket.SHUT_RDWR)
            assert shells.run("a", ["y"], {}) == Result(0, "", "")
            assert len(world.opened) == 2
            assert [re.findall(r"\(exec (\w)\)", asked.script) for asked in world.asked] == [["x"], ["y"]]

    def test_one_that_ends_under_a_command_is_not_taken_again(self, world: World, shells: Shells) -> None:
        world.answer = lambda _: b""
        with kept(shells):
            assert shells.run("a", ["x"], {}) is None
            world.answer = answered(0)
            assert shells.run("a", ["x"], {}) is None, "the container may be booting again"
            shells.has_booted("a")
            assert shells.run("a", ["x"], {}) == Result(0, "", "")

    def test_of_a_container_that_stops_they_end(self, world: World, shells: Shells) -> None:
        with kept(shells):
            shells.run("a", ["x"], {})
            shells.forget("a")
            world.join()
            assert shells.run("a", ["x"], {}) is None
            shells.has_booted("a")
            assert shells.run("a", ["x"], {}) is not None

    def test_one_whose_wait_ended_is_not_taken_again(
        self, world: World, shells: Shells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(docker_shells, "_SILENCE", 0.02)
        over = threading.Event()

        def look() -> None:
            raise EngineUnavailable("gone")

        world.answer = lambda asked: answered(0)(asked) if over.wait(5) else b""
        with kept(shells):
            with pytest.raises(EngineUnavailable):
                shells.run("a", ["x"], {}, None, look)
            over.set()
            assert shells.run("a", ["x"], {}) == Result(0, "", "")
            assert len(world.opened) == 2

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
        thread.join(timeout=5)
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
        def die(asked: Asked) -> bytes:
            world.there[-1].sendall(frame(1, asked.mark + b"<"))
            return b""

        world.answer = die
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
