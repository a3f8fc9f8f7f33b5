"""The samples of a lane while they come: a strip of the last minute, and the gap that is open now. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from kubedrill import availability
from kubedrill.history import Sample

# Seconds that a strip shows, and that each of its letters stands for.
SHOWN = 60.0
STEP = 0.5
# Samples older than this are forgotten, but for those of a gap that is still open.
_KEPT = 2 * SHOWN
# Samplers write each second; a lane of which nothing has come for so long is not sampled any more.
_QUIET = 4.0
_LETTER = {"ok": "o", "unknown": "u", "failed": "f"}
_WORST = "ouf"


@dataclass(frozen=True)
class LaneNow:
    """A lane as it is now.

    Args:
        strip: a letter for each half second of the last minute, the newest last: o (ok), f (failed), u (unknown) or a
            blank (not asked); where there are several, the worst.
        sampled: whether it is being sampled.
        gap: seconds for which nothing has succeeded up to now; 0 where the last answer was good.
        longest: the longest gap so far, seconds.
        counts: how many samples were ok, failed, unknown.
        detail: what the newest sample that was not ok said.
    """

    strip: str
    sampled: bool
    gap: float
    longest: float
    counts: tuple[int, int, int]
    detail: str


class LaneTail:
    """Takes the lines of a lane's file as they come."""

    def __init__(self) -> None:
        self._left = b""
        self._samples: list[Sample] = []
        self._counts = {"ok": 0, "failed": 0, "unknown": 0}
        self._longest = 0.0
        self._detail = ""

    @property
    def newest(self) -> float:
        """When the newest answer came, in seconds of the run; 0 where there is none."""
        return max((sample.end for sample in self._samples), default=0.0)

    def take(self, data: bytes) -> None:
        """The next bytes of the file; they may end anywhere in a line."""
        *lines, self._left = (self._left + data).split(b"\n")
        for line in filter(None, lines):
            sample = Sample(**json.loads(line))
            self._samples.append(sample)
            self._counts[sample.outcome] += 1
            if sample.outcome != "ok":
                self._detail = sample.detail

    def now(self, edge: float) -> LaneNow:
        """The lane at a moment of the run, in seconds since its start; what is older than is shown is forgotten."""
        sampled = bool(self._samples) and self.newest > edge - _QUIET
        windows = availability.downtime(self._samples, edge) if self._samples else ()
        answered = max((sample.start for sample in self._samples if sample.outcome == "ok"), default=-1.0)
        failing = any(sample.start > answered for sample in self._samples if sample.outcome != "ok")
        began = windows[-1][0] if failing else edge
        self._longest = max([self._longest, *(end - start for start, end in windows if sampled or end < edge)])
        strip = letters(self._samples, edge)
        self._samples = [sample for sample in self._samples if sample.end > min(edge - _KEPT, began - 1)]
        gap = edge - began if sampled else 0.0
        counts = (self._counts["ok"], self._counts["failed"], self._counts["unknown"])
        return LaneNow(strip, sampled, round(gap, 2), round(self._longest, 2), counts, self._detail)


def letters(samples: Sequence[Sample], edge: float) -> str:
    """The strip that ends at a moment of the run; a sample counts where it was asked."""
    count = round(SHOWN / STEP)
    last = int(edge / STEP)
    cells = [-1] * count
    for sample in samples:
        place = count - 1 - (last - int(sample.start / STEP))
        if 0 <= place < count:
            cells[place] = max(cells[place], _WORST.index(_LETTER[sample.outcome]))
    return "".join(_WORST[cell] if cell >= 0 else " " for cell in cells)
