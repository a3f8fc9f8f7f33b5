"""Who may write a kubeconfig now: kubectl's own lock, and one between processes of kubedrill."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from kubedrill import paths
from kubedrill.errors import Busy, TimedOut
from kubedrill.wait import until

# Seconds to wait for another writer; kubectl holds its lock for a few milliseconds.
PATIENCE = 10.0

_OURS = re.compile(r"kubedrill (?P<host>\S+) (?P<pid>\d+)\n")
# link(2) says these where a file system has no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def temporary_prefix(path: Path) -> str:
    """How the names of all temporary files begin that kubedrill makes beside `path`."""
    return f".{path.name}.kubedrill-"


def lock_of(path: Path) -> Path:
    """The lock of a kubeconfig: `<file>.lock`, made exclusively (client-go, tools/clientcmd/loader.go, lockFile).

    Its folder is resolved, so that two ways to the same lock are one.
    """
    return Path(os.path.realpath(path.parent)) / f"{path.name}.lock"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else writes the kubeconfig `path` while this is entered; its folder must exist.

    Raises:
        Busy: somebody else still wrote it after PATIENCE seconds.
        OSError: a lock cannot be made in that folder.
    """
    real = Path(os.path.realpath(path))
    # kubectl does not resolve links before it locks, so that a linked file has two locks.
    wanted = sorted({lock_of(path), lock_of(real)})
    digest = hashlib.sha256(str(real).encode()).hexdigest()[:16]
    mutex = filelock.FileLock(paths.state() / f"kubeconfig-{digest}.lock")
    taken: list[Path] = []

    def blocked() -> Path | None:
        """Take what is still missing; the lock that somebody else has, or None."""
        if not mutex.is_locked:
            try:
                mutex.acquire(blocking=False)
            except filelock.Timeout:
                return Path(mutex.lock_file)
        for lock in wanted[len(taken) :]:
            if not _claim(lock):
                return lock
            taken.append(lock)
        return None

    try:
        try:
            until(
                blocked,
                lambda lock: (lock is None, f"{lock} is there" if lock else "locked"),
                within=PATIENCE,
                what=f"the lock of {path}",
                every=0.02,
            )
        except TimedOut as error:
            raise _busy(path, wanted[len(taken)], mutex.is_locked) from error
        yield
    finally:
        for lock in taken:
            if _text(lock) == _mark():  # else somebody removed it by hand, and it is another's by now
                lock.unlink(missing_ok=True)
        mutex.release()


def _claim(lock: Path) -> bool:
    """Make the lock file; call it only with the mutex held, as it judges locks that others left."""
    try:
        _create(lock)
    except FileExistsError:
        if _abandoned(lock):
            lock.unlink(missing_ok=True)  # the next attempt takes it
        return False
    return True


def _create(lock: Path) -> None:
    # Linked into place with its content: a process killed between making and filling the file would leave an empty
    # lock, which looks like kubectl's and so would never be taken over.
    descriptor, name = tempfile.mkstemp(prefix=temporary_prefix(lock.with_suffix("")), dir=lock.parent)
    try:
        with os.fdopen(descriptor, "w") as sink:
            sink.write(_mark())
        try:
            os.link(name, lock)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with lock.open("x") as sink:
                sink.write(_mark())
    finally:
        Path(name).unlink(missing_ok=True)


def _mark() -> str:
    return f"kubedrill {platform.node()} {os.getpid()}\n"


def _text(lock: Path) -> str:
    """What the lock says; kubectl's says nothing, and its mode 0 lets no one but root read it."""
    try:
        return lock.read_text(errors="replace")
    except OSError:
        return ""


def _abandoned(lock: Path) -> bool:
    found = _OURS.fullmatch(_text(lock))
    if found is None or found["host"] != platform.node():
        return False
    pid = int(found["pid"])
    # Our own number: an earlier process had it (in a container numbers repeat), since this one has the mutex.
    return pid == os.getpid() or not _alive(pid)


def _alive(pid: int) -> bool:
    import psutil  # late: every command imports this module, and few meet a lock that was left

    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _busy(path: Path, lock: Path, has_mutex: bool) -> Busy:
    if not has_mutex:
        return Busy(
            f"another kubedrill is writing {path}",
            evidence=[f"waited {PATIENCE:g} s for it"],
            todo=["run the command again when the other one has ended"],
        )
    try:
        age = f"it is {max(0.0, time.time() - lock.lstat().st_mtime):.0f} s old"
    except FileNotFoundError:
        age = "it was removed just now"
    mark = _text(lock).strip()
    return Busy(
        f"{path} is locked by another program",
        evidence=[f"{lock} exists, {age}", f"it says: {mark}" if mark else "it is empty, as kubectl's locks are"],
        todo=[f"if nothing works on that file now (kubectl, kubedrill), remove the lock: rm {lock}"],
    )
