"""The key figures of a run as a table of texts, a row a lane. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kubedrill.history import Lane, LaneFigures, Run
from kubedrill.report.words import NOTHING, milliseconds, moment, percent, seconds

PERIODS = ("before", "during", "after")
COLUMNS = (
    "samples", "failed", "unknown", "down in total", "longest gap",
    *(f"p50 / p95 {period}" for period in PERIODS),
    "sampler stalled", "sampler overhead",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one lane's samples add up to, as text.

    Args:
        name: the lane's name.
        title: what it is, for people.
        note: how it was asked.
        cells: a text for each of COLUMNS.
        windows: each window without a success: 'from', 'to', 'for how long'.
        suffered: whether there was any.
    """

    name: str
    title: str
    note: str
    cells: tuple[str, ...]
    windows: tuple[tuple[str, str, str], ...]
    suffered: bool


def table(run: Run) -> tuple[Row, ...]:
    """A row for each lane, whether it has figures or not, and for each figure, whether it has a lane or not."""
    return tuple(_row(name, lane, figures) for name, lane, figures in paired(run))


def paired(run: Run) -> Iterator[tuple[str, Lane | None, LaneFigures | None]]:
    """Each lane's name with its description and its figures, in the order of the run's lanes."""
    lanes = {lane.name: lane for lane in run.lanes}
    figures = {item.lane: item for item in run.figures}
    for name in dict.fromkeys([*lanes, *figures]):
        yield name, lanes.get(name), figures.get(name)


def worst(run: Run) -> LaneFigures | None:
    """The figures of the lane that was down longest in total; None where nothing was sampled."""
    return max((item for item in run.figures if item.samples), key=lambda item: item.downtime, default=None)


def headline(run: Run) -> str:
    """The one figure of a run: what the drill requires first (first of all what is not met), as it was measured.

    Without requirements it is the lane that was down longest; which lanes matter is for the drill to say.
    """
    required = next((item for item in run.requirements if not item.ok), next(iter(run.requirements), None))
    if required:
        return f"{required.measured} ({required.text})"
    item = worst(run)
    if item is None:
        return "nothing was sampled"
    if not item.downtime:
        return "nothing was down"
    return f"{titles(run).get(item.lane, item.lane)}: {seconds(item.downtime)} down"


def titles(run: Run) -> dict[str, str]:
    """Each lane's title by its name."""
    return {lane.name: lane.title for lane in run.lanes}


def _row(name: str, lane: Lane | None, figures: LaneFigures | None) -> Row:
    note = f"every {seconds(lane.interval)}, {lane.connection} connection" if lane else ""
    title = lane.title if lane else name
    if figures is None:
        return Row(name, title, note, (NOTHING,) * len(COLUMNS), (), False)
    cells = (
        f"{figures.samples:,}",
        f"{figures.failed:,}",
        f"{figures.unknown:,}",
        seconds(figures.downtime),
        seconds(figures.longest),
        *(_latency(figures, period) for period in PERIODS),
        seconds(figures.stalled),
        percent(figures.overhead),
    )
    windows = tuple((moment(start), moment(end), seconds(end - start)) for start, end in figures.windows)
    return Row(name, title, note, cells, windows, bool(figures.downtime))


def _latency(figures: LaneFigures, period: str) -> str:
    measured = figures.latency.get(period)
    if not measured:
        return NOTHING
    return f"{milliseconds(measured.get('p50'))} / {milliseconds(measured.get('p95'))}"
