"""One process at a time changes a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from kubedrill import paths
from kubedrill.errors import Busy

# Seconds.
_TURN = 60


@contextlib.contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the name of a cluster: whoever changes it does so alone on this machine, for this user.

    Raises:
        Busy: another process holds it.
    """
    folder = paths.state() / "locks"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(
            f"another kubedrill is at work on the cluster '{name}'",
            evidence=[f"it holds {folder / name}.lock"],
            todo=["wait until it ends, or give another --name"],
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def in_turn(what: str) -> Iterator[None]:
    """Do something of a moment that no two processes may do at once; each waits for its turn.

    Args:
        what: its name; not one of a cluster's.

    Raises:
        Busy: its turn does not come within a minute.
    """
    folder = paths.state() / "locks"
    folder.mkdir(exist_ok=True)
    # No cluster's name begins with a dot.
    lock = FileLock(folder / f".{what}.lock", timeout=_TURN)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"another kubedrill is at work on {what}", evidence=[str(lock.lock_file)],
                   todo=["try again; if it stays so, see who holds that file: fuser FILE"]) from None  # fmt: skip
    try:
        yield
    finally:
        lock.release()
