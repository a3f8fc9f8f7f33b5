"""What a user sees of a run: a line and a time for each step. The only module that prints."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Column, Table

from kubedrill.errors import KubedrillError
from kubedrill.hints import hinted
from kubedrill.shell import pasteable


class Reporter(Protocol):
    """Whoever is told what happens."""

    def say(self, text: str) -> None:
        """Something happened."""
        ...

    def step(self, what: str) -> AbstractContextManager[None]:
        """Something takes its time."""
        ...

    def command(self, node: str, argv: Sequence[str], stdin: str | None) -> None:
        """A command runs in a node."""
        ...

    def wrote(self, node: str, path: str, content: str) -> None:
        """A file was written in a node."""
        ...

    def redact(self, *words: str) -> None:
        """Words that must never be shown."""
        ...

    def redacted(self, text: str) -> str:
        """The text without those words."""
        ...


class Console:
    """Prints progress: coloured on a terminal, plain lines elsewhere.

    Args:
        show_commands: whether commands run in nodes are printed as a person would type them there.
    """

    def __init__(self, *, show_commands: bool = False) -> None:
        self._out = RichConsole(highlight=False, soft_wrap=True, emoji=False)
        if not self._out.is_terminal:
            # Files and CI have no width; 80 columns would break every row of a table.
            self._out.width = 180
        self._show_commands = show_commands
        self._started = time.monotonic()
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()
        self._hidden: list[str] = []
        self._sink: TextIO | None = None

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        with self._lock:
            self._out.print(f"{time.monotonic() - self._started:7.1f} s  ", style="dim", end="")
            self._out.print(hinted(self.redacted(text)), markup=False)

    def command(self, node: str, argv: Sequence[str], stdin: str | None) -> None:
        """Print a command that runs in a node, once where it is repeated."""
        if not self._show_commands and self._sink is None:
            return
        line = self.redacted(_typed(argv, stdin))
        with self._lock:
            if self._last.get(node) == line:
                return
            self._last[node] = line
            if self._sink is not None:
                self._sink.write(f"{node} # {line}\n")
            if not self._show_commands:
                return
            self._out.print(f"           {node} # ", style="cyan", end="")
            self._out.print(line, markup=False)

    @contextlib.contextmanager
    def keeping_commands(self, file: Path) -> Iterator[None]:
        """Write every command that runs in a node to a file, too, whether it is printed or not."""
        with file.open("w") as sink:
            self._sink = sink
            try:
                yield
            finally:
                with self._lock:
                    self._sink = None

    def wrote(self, node: str, path: str, content: str) -> None:
        """Print a file that was written in a node, as a person would type it there."""
        self.command(node, ["sh", "-c", f"cat >{path}"], content)

    def redact(self, *words: str) -> None:
        """Words that are never printed from now on."""
        self._hidden += words

    def redacted(self, text: str) -> str:
        """The text with '<secret>' in the place of those words."""
        for word in self._hidden:
            text = text.replace(word, "<secret>")
        return text

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print when a step ends, and how long it took."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self.say(f"{what}: FAILED after {time.monotonic() - began:.1f} s")
            raise
        self.say(f"{what} ({time.monotonic() - began:.1f} s)")

    def line(self, text: str = "") -> None:
        """Print a line as it is."""
        self._out.print(hinted(text), markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        # Where a word is longer than its column, it goes on in the next line: nothing is cut off.
        headers = [Column(name, overflow="fold") for name in columns]
        table = Table(*headers, box=None, pad_edge=False, header_style="bold", show_header=any(columns))
        for row in rows:
            table.add_row(*(escape(hinted(cell)) for cell in row))
        self._out.print(table)


def raw(text: str) -> None:
    """Print text as it is, for programs to read."""
    sys.stdout.write(text)
    sys.stdout.flush()


def fail(error: KubedrillError) -> None:
    """Print an error for a person, on standard error."""
    RichConsole(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(
        f"kubedrill: {hinted(str(error))}", markup=False, style="red" if sys.stderr.isatty() else None
    )


def _typed(argv: Sequence[str], stdin: str | None) -> str:
    line = argv[2] if list(argv[:2]) == ["sh", "-c"] and len(argv) == 3 else pasteable(argv)
    return f"{line} <<'EOF'\n{stdin.rstrip()}\nEOF" if stdin else line
