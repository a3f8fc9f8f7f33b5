"""Inject a fault and heal it, whatever happens between.

What happens when:
- An error, Ctrl-C, or an inject that failed half-way: the undo runs, then the error goes on its way.
- Ctrl-C (or SIGTERM) while the undo runs: noted, and delivered when the undo is complete. So pressing it twice leaves
  nothing half done; the undo itself ends in any case, since each of its steps has a limit.
- kill -9, a power cut, a signal that nobody turns into an exception (tasks.py does so for SIGTERM), or one that falls
  between the end of the block and the first line of the undo: the undo is on disk, and `invoke heal` does it.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from kubedrill.errors import KubedrillError, TimedOut
from kubedrill.faults.actions import Fault, Plan, Whole
from kubedrill.faults.errors import BrokenJournal, FaultRefused, HealFailed
from kubedrill.faults.needs import lacking
from kubedrill.faults.perform import Computers, holds, mend, perform, verify

if TYPE_CHECKING:  # the journal is made of this package's actions: whoever calls brings it
    from kubedrill.journal import Entry, Journal

_HELD = (signal.SIGINT, signal.SIGTERM)


Tell = Callable[[str], None]


@contextlib.contextmanager
def inject(fault: Fault, cluster: Computers, journal: Journal, tell: Tell = lambda _: None) -> Iterator[Entry]:
    """Break something for as long as the block runs.

    Args:
        fault: what to break.
        cluster: where; kubedrill.cluster.Cluster is one.
        journal: the journal of that cluster.
        tell: told in a sentence what is injected and healed.

    Yields:
        What was written into the journal: the fault in words, and by what it is done.

    Raises:
        FaultRefused: it cannot be here and now; nothing was changed.
        Busy: another process that is alive breaks this cluster.
        HealFailed: the undo failed, or what it should have mended does not hold; the fault is still in the journal. An
            error of the block is its `during`, its cause and part of its evidence.
        KubedrillError: the inject failed, and was healed.
    """
    _only_mine(journal)
    mark = secrets.token_hex(4)
    plan = _choose(fault, cluster, mark)
    entry = journal.entry(mark, str(fault), plan.means, plan.undo, plan.healed)
    left_out, ended_by = False, None
    try:
        journal.write(entry)
        for action in plan.inject:
            perform(cluster, action)
        tell(f"injected: {entry.fault}{f' (by {entry.means})' if entry.means else ''}")
        left_out = plan.left_out
        yield entry
    except BaseException as error:
        ended_by = error
        raise
    finally:
        if left_out:
            tell(f"left as it is: {entry.fault}")
        else:
            _heal_own(entry, cluster, journal, tell, ended_by)


@contextlib.contextmanager
def going_back(whole: Whole, journal: Journal, back: Callable[[], None]) -> Iterator[Entry]:
    """Change a cluster as a whole for as long as the block runs, and go back whatever happens.

    Args:
        whole: the way back, as `heal` goes it where this process is killed.
        journal: the journal of that cluster.
        back: goes the same way, for this process.

    Yields:
        What was written into the journal.

    Raises:
        FaultRefused: the cluster carries what a killed run left; nothing was written.
        Busy: another process that is alive breaks this cluster.
        HealFailed: the way back failed, and is still in the journal. An error of the block is its `during`.
    """
    _only_mine(journal)
    entry = journal.entry(secrets.token_hex(4), str(whole), "", (), (), whole)
    ended_by = None
    try:
        journal.write(entry)
        yield entry
    except BaseException as error:
        ended_by = error
        raise
    finally:
        with _signals_held():
            if journal.has(entry):  # else nothing was changed
                try:
                    back()
                except (KubedrillError, OSError) as error:
                    raise _not_healed(entry, error, ended_by) from ended_by
                journal.remove(entry)


def heal(
    cluster: Computers, journal: Journal, tell: Tell = lambda _: None, whole: Callable[[Whole], None] | None = None
) -> list[str]:
    """Undo all that is in the journal, the last fault first; one that cannot be undone does not keep the others.

    Args:
        cluster: the cluster.
        journal: its journal.
        tell: told what is being done.
        whole: goes back with the cluster as a whole (kubedrill.ways_back); without it that cannot be done.

    Returns:
        A sentence for each fault that was healed; none where there was nothing to undo.

    Raises:
        Busy: something belongs to a process that is alive; nothing was undone.
        HealFailed: something could not be undone; all else was, and is in the evidence.
        BrokenJournal: a file cannot be read; all else was healed.
    """
    entries, broken = journal.claim()
    healed, failed = [], []
    with _signals_held():
        for entry in reversed(entries):
            tell(f"healing: {entry.fault}")
            why = _undo(entry, cluster, journal, whole)
            if why:
                failed.append(f"{entry.fault}: {why}")
            else:
                healed.append(f"healed: {entry.fault}")
    if failed:
        raise HealFailed("not all that was broken could be healed", evidence=[*failed, *broken, *healed])
    if broken:
        raise BrokenJournal(
            "the journal has files that cannot be read: what they would undo is not known",
            evidence=[*broken, *healed],
            todo=["remove the cluster (invoke down), or look at it, mend it and remove the files"],
        )
    return healed


def _only_mine(journal: Journal) -> None:
    entries, broken = journal.claim()
    left = [entry.fault for entry in entries if entry.owner != journal.owner]
    if left or broken:
        raise FaultRefused(
            "this cluster carries what a killed run left", evidence=[*left, *broken], todo=["run: invoke heal"]
        )


def _choose(fault: Fault, cluster: Computers, mark: str) -> Plan:
    """The first of a fault's ways that is open here.

    Raises:
        FaultRefused: none is, or what it would break is broken already.
    """
    reasons: list[str] = []
    for plan in fault.ways(cluster, mark):
        try:
            verdicts = [holds(cluster, check) for check in plan.before]
        except KubedrillError as error:
            raise FaultRefused(f"this fault cannot be injected: {fault!s}", evidence=[str(error)]) from error
        wrong = [why for ok, why in verdicts if not ok]
        if wrong:
            raise FaultRefused(
                f"this fault cannot be injected: {fault!s}",
                evidence=[f"what it would break is broken already: {why}" for why in wrong],
                todo=["see `invoke status`; heal it first"],
            )
        missing = lacking(cluster.node, plan.needs)
        if not missing:
            return plan
        reasons += missing
    raise FaultRefused(
        f"this fault needs what is not here: {fault!s}",
        evidence=reasons,
        todo=["see `invoke doctor`; nodes in VMs have a kernel of their own"],
    )


def _heal_own(entry: Entry, cluster: Computers, journal: Journal, tell: Tell, ended_by: BaseException | None) -> None:
    with _signals_held():
        if not journal.has(entry):  # it was not written, so nothing was injected; or `down` took the cluster away
            return
        why = _undo(entry, cluster, journal)
        if why:
            raise _not_healed(entry, why, ended_by) from ended_by
        tell(f"healed: {entry.fault}")


def _not_healed(entry: Entry, why: Exception, ended_by: BaseException | None) -> HealFailed:
    late = isinstance(why, TimedOut)
    return HealFailed(f"could not heal: {entry.fault}", evidence=[str(why)], during=ended_by, late=late)


def _undo(
    entry: Entry, cluster: Computers, journal: Journal, whole: Callable[[Whole], None] | None = None
) -> Exception | None:
    """Undo, verify, and only then forget; what kept it from that, where it failed."""
    try:
        if entry.whole is not None:
            if whole is None:
                raise KubedrillError("this is not undone on nodes alone", todo=["run: invoke heal"])
            whole(entry.whole)
        for action in entry.undo:
            mend(cluster, action)
        for check in entry.healed:
            verify(cluster, check)
        journal.remove(entry)
    except (KubedrillError, OSError) as error:
        return error
    return None


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Signals that would end this process wait until the end of the block (in the main thread, which gets them)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in _HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if came:
        signal.raise_signal(came[0])
