"""Notes what this computer's cores do, on the schedule of a sampler: no lane of the report, and nothing is asked."""

from __future__ import annotations

from kubedrill.cputime import Diary
from kubedrill.history import Lane
from kubedrill.probes.base import Answered


class Cores:
    """A probe for a sampler.

    Args:
        diary: gets a note each second.
    """

    lane = Lane("cores", "this computer's cores", 1.0, "read", "kept")

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def ask(self, timeout: float) -> Answered:
        """Note."""
        self._diary.note()
        return "ok", ""

    def own_cpu(self) -> float:
        """It has no threads of its own."""
        return 0.0

    def close(self) -> None:
        """The last note: until then sampling went on."""
        self._diary.note()
