"""Follows the drill that is going on in a cluster, whichever process runs it, by the files that its run writes."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kubedrill import history, live
from kubedrill.dashboard.lanes import STEP, LaneTail
from kubedrill.journal import Journal
from kubedrill.live import Live


class Follower:
    """Looks at the runs of one cluster.

    Args:
        cluster: its name.
        runs: the folder of all runs.
        journal: what is broken in the cluster.
    """

    def __init__(self, cluster: str, runs: Path, journal: Journal) -> None:
        self._cluster, self._runs, self._journal = cluster, runs, journal
        self._folder: Path | None = None
        self._live: Live | None = None
        self._tails: dict[str, tuple[LaneTail, int]] = {}

    def look(self, now: float) -> dict[str, Any]:
        """What is going on, for the page.

        Args:
            now: seconds since 1970.
        """
        going_on = self._going_on()
        if going_on is not None:
            folder, self._live = going_on
            if folder != self._folder:
                self._folder, self._tails = folder, {}
        broken, left = self._broken()
        if self._live is None or self._folder is None:
            return {"run": None, "broken": broken, "left": left}
        status, reason = ("running", "") if going_on else _ending(self._folder)
        return {"run": self._shown(self._live, self._folder, status, reason, now), "broken": broken, "left": left}

    def _going_on(self) -> tuple[Path, Live] | None:
        found = []
        for file in self._runs.glob(f"*/{live.FILE}"):
            told = live.read(file.parent)
            if told is not None and told.cluster == self._cluster and told.owner.is_alive():
                found.append((file.parent, told))
        return max(found, key=lambda one: one[1].started, default=None)

    def _broken(self) -> tuple[list[dict[str, Any]], list[str]]:
        """What is broken now: by a process that will mend it, and by one that no longer can."""
        entries, _ = self._journal.read()
        alive = [{"fault": one.fault, "since": one.at} for one in entries if one.owner.is_alive()]
        return alive, [one.fault for one in entries if not one.owner.is_alive()]

    def _shown(self, told: Live, folder: Path, status: str, reason: str, now: float) -> dict[str, Any]:
        for lane in told.lanes:
            tail, at = self._tails.get(lane.name, (LaneTail(), 0))
            with contextlib.suppress(OSError), (folder / "samples" / f"{lane.name}.jsonl").open("rb") as file:
                file.seek(at)
                data = file.read()
                tail.take(data)
                at += len(data)
            self._tails[lane.name] = (tail, at)
        newest = max((tail.newest for tail, _ in self._tails.values()), default=0.0)
        # Samples come a second at a time: the strip ends where they do, not in an empty second.
        edge = newest if status != "running" or now - told.started - newest < 3 else now - told.started
        lanes = []
        for lane in told.lanes:
            if lane.name in self._tails:
                lanes.append({"name": lane.name, "title": lane.title, **asdict(self._tails[lane.name][0].now(edge))})
        return {
            "drill": told.drill, "title": told.title, "started": told.started, "status": status, "reason": reason,
            "pid": told.owner.pid, "phase": told.phase, "phases": history.PHASES, "waiting": told.waiting,
            "step": STEP, "lanes": lanes, "steps": [asdict(step) for step in reversed(told.steps)],
        }  # fmt: skip


def _ending(folder: Path) -> tuple[str, str]:
    """How a run that was followed has ended: (passed, failed, inconclusive, killed or broken off; why)."""
    if (folder / live.FILE).exists():
        return "killed", "its process is gone without a word"
    try:
        run = history.load(folder)
    except (OSError, ValueError, TypeError):
        return "broken off", "it left no report"
    return run.verdict, run.reason
