"""What must be undone, on disk before it is done: STATE/journal/CLUSTER/NUMBER-MARK.json, one file a fault."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kubedrill import journal_folders
from kubedrill.errors import Busy
from kubedrill.faults.actions import Action, Check, Whole, actions_of, checks_of, to_data, whole_of

_SUFFIX = ".json"


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same number.

    Args:
        pid: its number.
        started: clock ticks from the boot to its start (proc(5), field 22 of stat).
        boot: the kernel's id of the boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def me(cls, proc: Path = Path("/proc")) -> Owner:
        """This process."""
        found = _process(os.getpid(), proc)
        return cls(os.getpid(), found[1] if found else 0, _boot(proc))

    def is_alive(self, proc: Path = Path("/proc")) -> bool:
        """Whether it still runs; a process that has ended and only was not waited for does not."""
        found = _process(self.pid, proc)
        return found is not None and found[0] not in "ZX" and found[1] == self.started and _boot(proc) == self.boot


@dataclass(frozen=True)
class Entry:
    """One fault that was injected, or may have been.

    Args:
        number: its place in the order of the cluster's faults.
        mark: eight hexadecimal digits that are its own.
        fault: what was to be broken, in words.
        means: by what, where there are several ways.
        undo: what mends it, in order.
        healed: what must hold then.
        owner: the process that injects it.
        at: seconds since 1970 at which it was written.
        whole: the way back of the whole cluster, for what cannot be undone on nodes alone.
    """

    number: int
    mark: str
    fault: str
    means: str
    undo: tuple[Action, ...]
    healed: tuple[Check, ...]
    owner: Owner
    at: float
    whole: Whole | None = None

    @property
    def id(self) -> str:
        """The name of its file, without the suffix."""
        return f"{self.number:04d}-{self.mark}"

    def to_json(self) -> str:
        """The text of its file."""
        undo, healed = [to_data(one) for one in self.undo], [to_data(one) for one in self.healed]
        whole = None if self.whole is None else to_data(self.whole)
        return json.dumps({**asdict(self), "undo": undo, "healed": healed, "whole": whole}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """The entry again.

        Raises:
            ValueError: the text is no entry; says why.
        """
        data: Any = json.loads(text)
        try:
            owner = Owner(int(data["owner"]["pid"]), int(data["owner"]["started"]), str(data["owner"]["boot"]))
            return cls(
                int(data["number"]), str(data["mark"]), str(data["fault"]), str(data["means"]),
                actions_of(data["undo"]), checks_of(data["healed"]), owner, float(data["at"]),
                whole_of(data.get("whole")),  # not there in what an older revision wrote
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"no entry of a journal: {type(error).__name__} {error}") from error


class Journal:
    """The journal of one cluster.

    Args:
        folder: where its files are; made when the first is written.
        owner: the process on whose behalf entries are written.
    """

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.folder = folder
        self.owner = owner

    @classmethod
    def of(cls, cluster: str) -> Journal:
        """The journal of a cluster of this user, for this process."""
        return cls(journal_folders.of(cluster), Owner.me())

    def entry(
        self, mark: str, fault: str, means: str, undo: tuple[Action, ...], healed: tuple[Check, ...],
        whole: Whole | None = None,
    ) -> Entry:  # fmt: skip
        """A new entry of this process, not written yet; its number follows all that are there."""
        number = 1 + max((_number(path) for path in self._files()), default=0)
        return Entry(number, mark, fault, means, undo, healed, self.owner, time.time(), whole)

    def write(self, entry: Entry) -> None:
        """Write an entry so that it is there even after a power cut right now.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f".{entry.id}-{secrets.token_hex(4)}"
        try:
            with unfinished.open("w") as sink:
                sink.write(entry.to_json())
                sink.flush()
                os.fsync(sink.fileno())
            unfinished.rename(self.folder / f"{entry.id}{_SUFFIX}")
        finally:
            unfinished.unlink(missing_ok=True)
        # The file's name is the folder's content, and the folder's name its parent's.
        for folder in (self.folder, self.folder.parent):
            _sync(folder)

    def has(self, entry: Entry) -> bool:
        """Whether an entry was written, and not removed yet."""
        return (self.folder / f"{entry.id}{_SUFFIX}").exists()

    def remove(self, entry: Entry) -> None:
        """Remove an entry whose fault is healed; harmless when it is gone."""
        (self.folder / f"{entry.id}{_SUFFIX}").unlink(missing_ok=True)
        if self.folder.exists():
            _sync(self.folder)

    def read(self) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """All entries in the order in which they were written, and what is wrong with the files that are none."""
        entries, broken = [], []
        for path in self._files():
            try:
                entries.append(Entry.from_json(path.read_text()))
            except FileNotFoundError:
                continue  # healed by its owner just now
            except (OSError, ValueError) as error:
                broken.append(f"{path}: {error}")
        return tuple(sorted(entries, key=lambda entry: (entry.number, entry.mark))), tuple(broken)

    def is_empty(self) -> bool:
        """Whether there is nothing to undo, as far as files tell."""
        return not self._files()

    def claim(self) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """What `read` gives, of which nothing belongs to another process that is alive.

        Raises:
            Busy: something does.
        """
        entries, broken = self.read()
        for entry in entries:
            if entry.owner != self.owner and entry.owner.is_alive():
                raise Busy(
                    f"another kubedrill is breaking this cluster: {entry.fault}",
                    evidence=[f"process {entry.owner.pid}, {self.folder / entry.id}{_SUFFIX}"],
                    todo=["wait until it ends: it heals what it broke"],
                )
        return entries, broken

    def _files(self) -> Sequence[Path]:
        return sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))


def _number(path: Path) -> int:
    number = path.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _process(pid: int, proc: Path) -> tuple[str, int] | None:
    """State and start of a process."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name of the program, in parentheses, may hold blanks and parentheses itself.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    return None


def _boot(proc: Path) -> str:
    with contextlib.suppress(OSError):
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    return ""
