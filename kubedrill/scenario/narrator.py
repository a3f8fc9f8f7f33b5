"""Tells the story of a run while it happens, and keeps it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kubedrill.history import PHASES, Phase, Step


class Narrator:
    """Lines with their time and phase; told to a person at once, kept for the report.

    Args:
        now: seconds since the start of the run.
        tell: prints a line.
        changed: called after each line and phase; may look at phase, steps and awaited.
    """

    def __init__(
        self, now: Callable[[], float], tell: Callable[[str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._now, self._tell, self._changed = now, tell, changed
        self._lock = threading.Lock()
        self._phase, self._phase_start = PHASES[0], 0.0
        self.awaited = ""
        self.steps: list[Step] = []
        self.phases: list[Phase] = []

    @property
    def phase(self) -> str:
        """The phase that the run is in."""
        return self._phase

    def enter(self, phase: str) -> None:
        """The run enters a phase of PHASES."""
        assert phase in PHASES, phase
        if phase == self._phase:
            return
        self._close()
        self._phase, self._phase_start = phase, self._now()
        self.awaited = ""
        self._tell(f"-- {phase}")
        self._changed()

    def end(self) -> None:
        """The run is over."""
        self._close()

    def step(self, text: str, kind: str = "say", expected: float | None = None, measured: float | None = None) -> None:
        """Tell a line of the story.

        Args:
            text: the line.
            kind: as in history.Step.
            expected: after how many seconds something was predicted.
            measured: after how many seconds it was seen.
        """
        with self._lock:
            self.steps.append(Step(self._now(), self._phase, text, kind, expected, measured))  # type: ignore[arg-type]
        self.awaited = ""
        timing = ""
        if measured is not None:
            timing = f": seen after {measured:.1f} s"
            if expected is not None:
                timing = f": expected after about {expected:.0f} s, seen after {measured:.1f} s"
        self._tell(f"{text}{timing}")
        self._changed()

    def waiting(self, what: str, seen: str) -> None:
        """What is being waited for, and what was last seen; told, not kept."""
        self.awaited = f"{what}: {seen}"
        self._tell(f"   ... {self.awaited}")
        self._changed()

    def _close(self) -> None:
        now = self._now()
        if now > self._phase_start:
            self.phases.append(Phase(self._phase, self._phase_start, now))
