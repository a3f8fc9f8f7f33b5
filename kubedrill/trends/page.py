"""The page of trends: a chart for each figure, a line for each Kubernetes minor. It needs nothing but itself."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from kubedrill.cputime import DISTURBED
from kubedrill.report import words
from kubedrill.report.page import asset, policy, template
from kubedrill.trends import chance, noise
from kubedrill.trends.noise import Change, Key, Point, Series
from kubedrill.trends.records import Record

# A chart in the units of its viewBox; lines are told apart by colour and dash, classes line-0 to line-3 of trends.html.
WIDTH, HEIGHT, EDGE = 320, 72, 6
STYLES = 4


@dataclass(frozen=True)
class Line:
    """One Kubernetes minor in a chart.

    Args:
        minor: '1.37'.
        style: which of the line styles.
        path: points of an SVG polyline.
        dots: where each value is, and what it says: (x, y, text, failed).
        newest: as text.
        usual: the median of the earlier runs and their spread, as text.
        runs: how many values.
        change: what the newest value is, where it is beyond the noise: slower or faster; or disturbed.
    """

    minor: str
    style: int
    path: str
    dots: tuple[tuple[float, float, str, bool], ...]
    newest: str
    usual: str
    runs: int
    change: str


@dataclass(frozen=True)
class Chart:
    """A figure over time."""

    figure: str
    top: str
    first: str
    last: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Block:
    """All charts of a drill (or of bring-ups) on one kind of cluster and machine."""

    title: str
    charts: tuple[Chart, ...]


def write(records: Sequence[Record], file: Path) -> list[Change]:
    """Write the page; gives the changes that it names."""
    found = noise.changes(records)
    file.parent.mkdir(parents=True, exist_ok=True)
    html = template("trends.html").render(
        blocks=blocks(records, found), changes=[str(one) for one in found], runs=len(records), width=WIDTH,
        height=HEIGHT, count=noise.counted(records), fewest=noise.FEWEST, most=round(100 * DISTURBED),
        style=Markup(asset("style.css")), policy=policy([]),
    )  # fmt: skip
    file.write_bytes(html.encode("utf-8", "replace"))
    return found


def blocks(records: Sequence[Record], changes: Sequence[Change] = ()) -> list[Block]:
    """What the page shows: bring-ups first, then drills by name.

    Args:
        records: all of them.
        changes: those that are beyond the noise.
    """
    named = {one.key: one for one in changes}
    grouped: dict[tuple[str, str, str], dict[str, list[Series]]] = {}
    for one in noise.series(records):
        where = (one.key.machine, one.key.name, one.key.cluster)
        grouped.setdefault(where, {}).setdefault(one.key.figure, []).append(one)
    order = sorted(grouped, key=lambda where: (where[0], where[1] != "bring-up", where[1], where[2]))
    return [
        Block(
            f"{name}, {cluster} ({machine})",
            tuple(_chart(figure, series, named) for figure, series in grouped[machine, name, cluster].items()),
        )
        for machine, name, cluster in order
    ]


def _chart(figure: str, series: Sequence[Series], named: Mapping[Key, Change]) -> Chart:
    moments = [_moment(point) for one in series for point in one.points]
    first, last = min(moments), max(moments)
    top = max(point.value for one in series for point in one.points)
    ordered = sorted(series, key=lambda one: [int(part) for part in one.key.minor.split(".")])
    return Chart(
        figure,
        words.seconds(top),
        f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d}",
        f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d}",
        tuple(_line(one, number % STYLES, first, last, top, named.get(one.key)) for number, one in enumerate(ordered)),
    )


def _line(one: Series, style: int, first: float, last: float, top: float, beyond: Change | None) -> Line:
    def place(point: Point) -> tuple[float, float]:
        across = (_moment(point) - first) / (last - first) if last > first else 0.5
        up = point.value / top if top else 0.0
        return round(EDGE + across * (WIDTH - 2 * EDGE), 1), round(HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE), 1)

    dots = tuple(
        (*place(point), f"{words.calendar(point.at)}, {point.version}: {words.seconds(point.value)}{_stolen(point)}",
         point.verdict == "failed")
        for point in one.points
    )  # fmt: skip
    earlier = one.earlier
    usual = (
        f"{words.seconds(statistics.median(earlier))} ± {words.seconds(chance.spread_of(earlier))}" if earlier else ""
    )
    change = "disturbed" if one.disturbed else ""
    if beyond is not None:
        change = "slower" if beyond.now > beyond.median else "faster"
    return Line(
        minor=one.key.minor,
        style=style,
        path=" ".join(f"{x},{y}" for x, y, _, _ in dots),
        dots=dots,
        newest=words.seconds(one.points[-1].value),
        usual=usual or words.NOTHING,
        runs=len(dots),
        change=change,
    )


def _stolen(point: Point) -> str:
    return f", {words.percent(point.stolen)} of the cores taken by the host" if point.stolen is not None else ""


def _moment(point: Point) -> float:
    when = words.parsed(point.at)
    return when.timestamp() if when else 0.0
