"""One process at a time changes a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from kubedrill import paths
from kubedrill.errors import Busy


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
