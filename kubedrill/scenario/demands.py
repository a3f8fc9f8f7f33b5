"""What a drill requires of a run once sampling has ended, and what excuses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubedrill.availability import Restored
from kubedrill.cluster import Cluster
from kubedrill.history import FaultSpan, LaneFigures, Requirement
from kubedrill.scenario import rules
from kubedrill.scenario.monitor import Monitor
from kubedrill.scenario.narrator import Narrator


class Demands:
    """The requirements of a run.

    Args:
        cluster: the cluster.
        monitor: sampled what users would feel.
        narrator: tells the story.
        now: seconds since the start of the run.

    Attributes:
        requirements: what was required, in order.
        doubts: why nothing can be said of the run, whatever was measured.
        excuses: limits of time that were missed where the computer may have been at fault.
        spans: what was broken, and when.
    """

    def __init__(self, cluster: Cluster, monitor: Monitor, narrator: Narrator, now: Callable[[], float]) -> None:
        self.cluster = cluster
        self.monitor = monitor
        self.now = now
        self.requirements: list[Requirement] = []
        self.doubts: list[str] = []
        self.excuses: list[str] = []
        self.spans: list[FaultSpan] = []
        self._narrator = narrator

    def say(self, text: str) -> None:
        """Tell something."""
        self._narrator.step(text)

    def require(self, text: str, ok: bool, measured: object) -> None:
        """Require something of the run; the verdict depends on it.

        Args:
            text: what is required: 'no acknowledged write is lost'.
            ok: whether it holds.
            measured: what was measured.
        """
        self._add(Requirement(text, str(measured), ok))

    def figures(self, lane: str) -> LaneFigures:
        """What a lane's samples add up to, once sampling has ended."""
        return self.monitor.figures(lane, self.windows())

    def span(self) -> tuple[float, float]:
        """The newest fault, from just before it was injected until it was undone."""
        return self.windows()[-1]

    def windows(self) -> list[tuple[float, float]]:
        """When something was broken: (start, end)."""
        return [(span.injected, span.healed if span.healed is not None else self.now()) for span in self.spans]

    def require_downtime(
        self, lane: str, at_most: float, *, between: tuple[float, float] | None = None, when: str = ""
    ) -> None:
        """Require that a lane had no longer gap than so many seconds.

        Args:
            lane: its name.
            at_most: seconds; with 0 each of its questions must have been answered well.
            between: only the gaps that begin in this part of the run.
            when: that part in words.
        """
        figures = self.figures(lane)
        moments = rules.gaps(figures, between, at_most)
        self._add(rules.gap(self.monitor.lane(lane).title, figures, at_most, between, when), moments)

    def require_no_failure(self, lane: str) -> None:
        """Require that every question of a lane was answered well."""
        figures = self.figures(lane)
        self._add(rules.no_failure(self.monitor.lane(lane).title, figures), figures.windows)

    def require_within(self, text: str, began: float, ended: float, at_most: float) -> None:
        """Require that something took no longer than so many seconds.

        Args:
            text: what was to happen, without the limit: 'the API is back'.
            began: in seconds of the run.
            ended: when it had happened, in seconds of the run.
            at_most: seconds.
        """
        self._add(rules.within(text, ended - began, at_most), [(began, ended)])

    def require_never_together(self, lanes: Sequence[str], what: str) -> None:
        """Require that at no moment two of these lanes were refused a connection: that nobody listened at both.

        It says what was done in which order, so no slow computer excuses it.

        Args:
            lanes: their names.
            what: what they ask, in words.
        """
        self._add(rules.never_together(what, [self.figures(lane) for lane in lanes]))

    def require_writes(self, restored: Restored | None = None) -> None:
        """Require that every acknowledged write is there, in order.

        Args:
            restored: where the store was put back to a snapshot: what was younger is told, and may not be there.
        """
        self._add(rules.writes(self.monitor.writes_check(restored), restored))

    def require_linearizable(self, restored: Restored | None = None) -> None:
        """Require that one order explains all reads and writes; `restored` as above. The last thing: it may build."""
        self._add(rules.linearizable(self.monitor.linearizable(self.say, restored), restored))

    def too_slow(self) -> str:
        """Why nodes that are slow are an excuse."""
        return f"nodes are {self.cluster.slow:g} times slower than real hardware, too slow for a verdict on this"

    def excuse(self, moments: Sequence[tuple[float, float]] = ()) -> str:
        """Why what was late, in those moments, may have been the computer's doing; '' where it was the cluster's."""
        return self.too_slow() if self.cluster.slow > 1 else self.monitor.cores.excuse(moments)

    def _add(self, one: Requirement, moments: Sequence[tuple[float, float]] = ()) -> None:
        if not one.ok and one.rule.get("kind") in rules.TIMED and (excuse := self.excuse(moments)):
            self.excuses.append(f"{one.text}: {one.measured} ({excuse})")
        self.doubts += rules.undecided([one])
        self.requirements.append(one)
        self._narrator.step(
            f"{'met' if one.ok else 'NOT MET'}: {one.text} ({one.measured})", "say" if one.ok else "fail"
        )
