"""What can go wrong with faults themselves, as opposed to what they break."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill.errors import KubedrillError


class FaultRefused(KubedrillError):
    """A fault cannot be injected here and now; nothing was changed."""


class BrokenJournal(KubedrillError):
    """A file of the journal cannot be read: what it would undo is not known."""


class HealFailed(KubedrillError):
    """A fault could not be undone; it stays in the journal.

    Args:
        what: one sentence that says what happened.
        evidence: each thing that failed, and why.
        during: the error that ended the fault's block, if one did.
        late: whether it only took longer than it may.
    """

    def __init__(
        self, what: str, *, evidence: Sequence[str], during: BaseException | None = None, late: bool = False
    ) -> None:
        also = [] if during is None else [f"the fault had been ended by {type(during).__name__}: {during}"]
        super().__init__(what, evidence=[*evidence, *also], todo=["run: invoke heal", "or remove it: invoke down"])
        self.during, self.late = during, late
