"""What a drill that is going on tells other processes: live.json in the folder of its run, gone when it ends.

It names the process that runs the drill, so that one that was killed is not taken for one that goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from kubedrill.history import Lane, Step
from kubedrill.journal import Owner

FILE = "live.json"
# The newest lines of the story; all of it is in the report.
_STEPS = 12


@dataclass(frozen=True)
class Live:
    """A drill that is going on.

    Args:
        cluster: the name of the cluster it runs on.
        drill: its name.
        title: what it does.
        started: seconds since 1970 at which it began.
        owner: the process that runs it.
        phase: one of history.PHASES.
        steps: the newest lines of its story, the newest last.
        waiting: what it waits for, and what was last seen; empty where it does not wait.
        lanes: what is sampled; the samples are in samples/ beside this file.
    """

    cluster: str
    drill: str
    title: str
    started: float
    owner: Owner
    phase: str
    steps: tuple[Step, ...] = ()
    waiting: str = ""
    lanes: tuple[Lane, ...] = ()


class Present(NamedTuple):
    """What changes while a drill goes on; as in Live, but with all steps."""

    phase: str
    steps: Sequence[Step]
    waiting: str
    lanes: Sequence[Lane]


@contextlib.contextmanager
def going_on(folder: Path, about: Live, present: Callable[[], Present]) -> Iterator[Callable[[], None]]:
    """Keep live.json for as long as the block runs.

    Args:
        folder: of the run.
        about: what stays as it is.
        present: gives what changes, as it is now.

    Yields:
        What is to be called whenever something has changed.
    """
    turn = threading.Lock()
    file = folder / FILE

    def tell() -> None:
        # Those who look on must not be what a drill fails by.
        with turn, contextlib.suppress(OSError):
            now = present()
            content = replace(
                about, phase=now.phase, steps=tuple(now.steps[-_STEPS:]), waiting=now.waiting, lanes=tuple(now.lanes)
            )
            unfinished = folder / f".{FILE}-{os.getpid()}"
            unfinished.write_text(json.dumps(asdict(content)) + "\n")
            unfinished.replace(file)

    try:
        yield tell
    finally:
        with turn, contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def read(folder: Path) -> Live | None:
    """What the run in a folder tells; None where it has ended, or what is there is of another version."""
    try:
        content = json.loads((folder / FILE).read_text())
        content["owner"] = Owner(**content["owner"])
        content["steps"] = tuple(Step(**step) for step in content["steps"])
        content["lanes"] = tuple(Lane(**lane) for lane in content["lanes"])
        return Live(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None
