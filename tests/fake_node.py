"""A node that lives in memory: what it runs, keeps on its disk and tells."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers.base import File, NodeSpec, Role, State
from kubedrill.shell import Result, pasteable

if TYPE_CHECKING:  # the provider is made of this module
    from fake_provider import FakeProvider

# What a node that goes down forgets.
_VOLATILE = ("/run/", "/tmp/")


@dataclass(frozen=True)
class Call:
    """A command that a fake node was asked to run."""

    argv: tuple[str, ...]
    stdin: str | None = None
    timeout: float | None = None

    @property
    def line(self) -> str:
        """The command as one line."""
        return " ".join(self.argv)


@dataclass(frozen=True)
class Stored:
    """A file on the disk of a fake node."""

    content: bytes
    mode: int

    @property
    def text(self) -> str:
        """Its content as text."""
        return self.content.decode()


Script = Callable[["FakeNode", Call], "Result | None"]


def succeeds(_node: FakeNode, _call: Call) -> Result:
    """The script of nodes in which every command succeeds and prints nothing."""
    return Result(0, "", "")


class FakeNode:
    """A node in memory. Its commands are answered by the provider's script."""

    def __init__(self, provider: FakeProvider, cluster: str, spec: NodeSpec) -> None:
        self.provider = provider
        self.cluster = cluster
        self.spec = spec
        self.disk: dict[str, Stored] = {}
        self.lines: list[str] = []
        self.calls: list[Call] = []
        self._state: State = "running"
        self._boots = 0
        self._boot()

    @classmethod
    def switched_off(
        cls, provider: FakeProvider, cluster: str, spec: NodeSpec, disk: dict[str, Stored], lines: list[str]
    ) -> FakeNode:
        """A node that has not booted since it got its disk."""
        node = cls(provider, cluster, spec)
        node.disk, node.lines, node._state = dict(disk), list(lines), "stopped"
        return node

    def __repr__(self) -> str:
        return f"FakeNode({self.name})"

    @property
    def name(self) -> str:
        """Its host name."""
        return self.spec.name

    @property
    def role(self) -> Role:
        """What it is for."""
        return self.spec.role

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return self.spec.address

    def log(self, line: str) -> None:
        """Add a line to its journal."""
        self.lines.append(line)

    def text(self, path: str) -> str:
        """The text of a file on its disk.

        Raises:
            NotFound: there is none.
        """
        if path not in self.disk:
            raise NotFound(f"{self.name} has no {path}")
        return self.disk[path].text

    def state(self) -> State:
        """Whether it runs."""
        self._there()
        return self._state

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, check: bool = True, timeout: float | None = None,
        show: bool = True,
    ) -> Result:  # fmt: skip
        """Ask the script; a command that it leaves to nobody (None) is an unknown program."""
        if show:
            self.provider.observer(self.name, argv, stdin)
        self._running("run a command")
        call = Call(tuple(argv), stdin, timeout)
        self.calls.append(call)
        self.provider.note("run", self.name, call.line)
        try:
            result = self.provider.script(self, call)
        except CommandFailed as error:  # from a script that runs something on this machine
            raise CommandFailed(self._pasteable(argv), error.status, error.output, self.name) from error
        finally:
            self.provider.note("ran", self.name, call.line)
        if result is None:
            result = Result(127, "", f"{argv[0]}: not found\n")
        if check and result.status != 0:
            raise CommandFailed(self._pasteable(argv), result.status, result.output, self.name)
        return result

    def write(self, files: Sequence[File]) -> None:
        """Write files, on a stopped node too."""
        self._there()
        for file in files:
            self.disk[file.path] = Stored(file.content.encode(), file.mode)
            self.provider.note("write", self.name, file.path)

    def send(self, source: Path, path: str) -> None:
        """Copy a file of this machine onto its disk."""
        self._there()
        self.disk[path] = Stored(source.read_bytes(), 0o644)
        self.provider.note("send", self.name, path)

    def journal(self) -> str:
        """The lines of its journal."""
        self._there()
        return "".join(f"{line}\n" for line in self.lines)

    def console(self) -> str:
        """One line for each boot."""
        self._there()
        return "".join(f"boot {number + 1}\n" for number in range(self._boots))

    def read_tree(self, path: str) -> bytes:
        """A tar of a file or folder, named after the last part of the path, as Docker does it."""
        self._there()
        base = PurePosixPath(path)
        found = {name: file for name, file in self.disk.items() if base in (PurePosixPath(name), *parents(name))}
        if not found:
            raise NotFound(f"{self.name} has no {path}")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for folder in sorted(
                {parent for name in found for parent in parents(name) if base in _at_or_above(parent)}
            ):
                entry = tarfile.TarInfo(str(folder.relative_to(base.parent)))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            for name, file in sorted(found.items()):
                entry = tarfile.TarInfo(str(PurePosixPath(name).relative_to(base.parent)))
                entry.size, entry.mode = len(file.content), file.mode
                tar.addfile(entry, io.BytesIO(file.content))
        return buffer.getvalue()

    def stop(self) -> None:
        """Shut it down; harmless where it is stopped."""
        self._down("stop")

    def kill(self) -> None:
        """End it at once."""
        if self.state() == "stopped":
            raise KubedrillError(f"{self.name} does not run")
        self._down("kill")

    def start(self) -> None:
        """Start it; harmless where it runs."""
        if self.state() == "paused":
            raise KubedrillError(f"{self.name} is paused: it cannot be started")
        if self._state == "stopped":
            self._state = "running"
            self._boot()
        self.provider.note("start", self.name)

    def pause(self) -> None:
        """Freeze it."""
        self._running("be paused")
        self._state = "paused"
        self.provider.note("pause", self.name)

    def resume(self) -> None:
        """Let it go on."""
        if self.state() != "paused":
            raise KubedrillError(f"{self.name} is not paused")
        self._state = "running"
        self.provider.note("resume", self.name)

    def remove(self) -> None:
        """Remove it; harmless when it is gone."""
        self.provider.forget_node(self)

    def shell_argv(self, command: Sequence[str]) -> Sequence[str]:
        """A command that does not work, but names the node."""
        return ["fake-terminal", self.name, *command]

    def _boot(self) -> None:
        self._boots += 1
        self.log(f"{self.name} systemd[1]: boot {self._boots}")

    def _down(self, how: str) -> None:
        self._there()
        self._state = "stopped"
        self.disk = {path: file for path, file in self.disk.items() if not path.startswith(_VOLATILE)}
        self.provider.note(how, self.name)

    def _there(self) -> None:
        if not self.provider.has(self):
            raise NotFound(f"the node {self.name} is gone")

    def _running(self, purpose: str) -> None:
        state = self.state()
        if state == "stopped":
            raise NotFound(f"the node {self.name} does not run")
        if state == "paused":
            raise KubedrillError(f"the node {self.name} is paused and cannot {purpose}")

    def _pasteable(self, argv: Sequence[str]) -> str:
        return pasteable(["fake-exec", self.name, *argv])


def parents(path: str | PurePosixPath) -> Sequence[PurePosixPath]:
    """The folders above a path."""
    return list(PurePosixPath(path).parents)


def _at_or_above(path: PurePosixPath) -> Sequence[PurePosixPath]:
    return [path, *path.parents]
