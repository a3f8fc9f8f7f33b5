"""The timeline as a Plotly figure: rows of bars along time. Pure: plain data in, JSON-ready data out.

Colours are names such as '$failed', which assets/timeline.js looks up in the style sheet: one place for light and dark.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubedrill.history import FaultSpan, Lane, LaneFigures, Outcome, Run, Sample
from kubedrill.report.figures import paired
from kubedrill.report.segments import WORST, Segment, segments
from kubedrill.report.words import milliseconds, moment, seconds, shortened

ROW = 46
MARGIN = {"l": 8, "r": 8, "t": 22, "b": 44}
# Where in a row (1 high, downwards) its label and its bar are, and how high a bar is: trouble is higher than the rest.
LABEL, BAR = 0.2, 0.66
HEIGHT: dict[Outcome, float] = {"ok": 0.32, "failed": 0.54, "unknown": 0.54}
PATTERN: dict[Outcome, str] = {"ok": "", "failed": "/", "unknown": "."}
# Faults nearer to each other than this share of the run have one mark: two would cover each other on a phone.
CLOSE = 0.06

Part = dict[str, Any]


@dataclass(frozen=True)
class Timeline:
    """What the page draws.

    Args:
        figure: data and layout for Plotly.
        narrow: the rows' labels for a narrow screen, in the order of the layout's annotations.
        merged: the titles of lanes that changed so often that neighbouring stretches are drawn as one.
    """

    figure: Part
    narrow: tuple[str, ...]
    merged: tuple[str, ...]


def timeline(run: Run, samples: Mapping[str, Sequence[Sample]]) -> Timeline:
    """Draw a run: its phases, its faults (a row each, and shaded across all rows), its lanes, the cluster's events."""
    end = extent(run, samples)
    traces: list[Part] = []
    labels: list[tuple[str, str]] = []
    merged: list[str] = []

    labels.append(("Phases", "Phases") if run.phases else ("Phases: none was reached", "Phases: none was reached"))
    traces.append(_phases(run))
    for number, fault in enumerate(run.faults, 1):
        traces.append(_fault(fault, number, len(labels), end))
        labels.append(_fault_label(fault, number))
    for name, lane, figures in paired(run):
        stretches = segments(samples.get(name, ()), lane.interval if lane else 0.0)
        title = lane.title if lane else name
        traces += [_lane(title, lane, stretches, outcome, len(labels)) for outcome in WORST]
        if any(len(stretch.counts) > 1 for stretch in stretches):
            merged.append(title)
        said = _said(stretches, figures)
        labels.append((f"{title}: {said}", f"{shortened(title, 44 - len(said))}: {said}"))
    traces.append(_events(run, len(labels)))
    events = f"Cluster events: {len(run.events) or 'none recorded'}"
    labels.append((events, events))

    marks = _marks(run, end)
    annotations = [_label(text, row) for row, (text, _) in enumerate(labels)] + marks
    figure = {"data": traces, "layout": _layout(run, len(labels), end, annotations)}
    narrow = [_safe(text) for _, text in labels] + [mark["text"] for mark in marks]
    return Timeline(figure, tuple(narrow), tuple(merged))


def extent(run: Run, samples: Mapping[str, Sequence[Sample]]) -> float:
    """Where the timeline ends (seconds): with the run, or with whatever was seen after it."""
    ends = [sample.end for lane in samples.values() for sample in lane]
    ends += [event.time for event in run.events] + [phase.end for phase in run.phases]
    return max([run.duration, *ends]) or 1.0


def fault_name(fault: FaultSpan) -> str:
    """A fault in words: 'kill node lab-control-plane-2 (leads etcd)'."""
    return f"{fault.name} {fault.target}" + (f" ({fault.role})" if fault.role else "")


def _phases(run: Run) -> Part:
    lines = [[phase.name, f"{moment(phase.start)} to {moment(phase.end)}"] for phase in run.phases]
    bars = _bars("phases", [(phase.start, phase.end) for phase in run.phases], lines, 0, 0.54, "$phase")
    bars["marker"]["color"] = ["$phase" if number % 2 else "$phase-other" for number in range(len(run.phases))]
    return bars | {
        "text": [_safe(phase.name) for phase in run.phases],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": "$text", "size": 12},
    }


def _fault(fault: FaultSpan, number: int, row: int, end: float) -> Part:
    until = end if fault.healed is None else fault.healed
    healed = "not healed" if fault.healed is None else f"healed at {moment(fault.healed)}"
    lines = [fault_name(fault), f"injected at {moment(fault.injected)}, {healed}"]
    return _bars(f"fault {number}", [(fault.injected, until)], [lines], row, 0.4, "$fault")


def _fault_label(fault: FaultSpan, number: int) -> tuple[str, str]:
    said = "NOT HEALED" if fault.healed is None else seconds(fault.healed - fault.injected)
    name = fault_name(fault)
    return f"F{number} {name}: {said}", f"F{number} {shortened(name, 40 - len(said))}: {said}"


def _lane(title: str, lane: Lane | None, stretches: Sequence[Segment], outcome: Outcome, row: int) -> Part:
    mine = [stretch for stretch in stretches if stretch.outcome == outcome]
    spans = [(stretch.start, stretch.end) for stretch in mine]
    name = f"{lane.name if lane else title} {outcome}"
    part = _bars(name, spans, [_hover(title, stretch) for stretch in mine], row, HEIGHT[outcome], f"${outcome}")
    # A line around it, so that 0.1 s of trouble in 4 minutes are still to be seen.
    part["marker"]["line"] = {"color": f"${outcome}", "width": 1 if outcome == "ok" else 2}
    if PATTERN[outcome]:
        part["marker"]["pattern"] = {"shape": PATTERN[outcome], "fgcolor": "$pattern", "size": 7, "solidity": 0.2}
        part["marker"]["pattern"]["bgcolor"] = f"${outcome}"
    return part


def _said(stretches: Sequence[Segment], figures: LaneFigures | None) -> str:
    if not stretches:
        return "no samples"
    if figures is None:
        return "no figures"
    return f"down {seconds(figures.downtime)}" if figures.downtime else "never down"


def _hover(title: str, stretch: Segment) -> list[str]:
    took = f"answered in {milliseconds(stretch.median)} (median), {milliseconds(stretch.slowest)} (slowest)"
    return [
        title,
        f"{stretch.outcome}: {moment(stretch.start)} to {moment(stretch.end)} ({seconds(stretch.end - stretch.start)})",
        ", ".join(f"{number:,} {outcome}" for outcome, number in stretch.counts),
        took,
        *(f"{number:,} x {shortened(detail, 160)}" for detail, number in stretch.details),
    ]


def _events(run: Run, row: int) -> Part:
    lines = [
        [f"{moment(event.time)} {event.subject}", event.reason, shortened(event.message, 300)] for event in run.events
    ]
    return {
        "type": "scatter", "mode": "markers", "name": "events",
        "x": [event.time for event in run.events],
        # Three heights, by turns: events come in bursts.
        "y": [row + BAR + 0.16 * (number % 3 - 1) for number in range(len(run.events))],
        "marker": {"symbol": "diamond", "size": 9, "color": "$event", "line": {"color": "$paper", "width": 1}},
        "hovertext": [_tooltip(line) for line in lines],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def _bars(
    name: str, spans: Sequence[tuple[float, float]], lines: Sequence[list[str]], row: int, height: float, colour: str
) -> Part:
    return {
        "type": "bar", "orientation": "h", "name": _safe(name),
        "base": [round(start, 3) for start, _ in spans],
        "x": [round(max(end - start, 0.0), 3) for start, end in spans],
        "y": [row + BAR] * len(spans),
        "width": height,
        "marker": {"color": colour, "line": {"width": 0}},
        "hovertext": [_tooltip(line) for line in lines],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def _label(text: str, row: int) -> Part:
    return {
        "text": _safe(shortened(text, 110)), "x": 0, "xref": "paper", "xanchor": "left",
        "y": row + LABEL, "yref": "y", "yanchor": "middle",
        "showarrow": False, "borderpad": 1, "bgcolor": "$paper", "opacity": 0.95,
        "font": {"color": "$text", "size": 12},
    }  # fmt: skip


def _marks(run: Run, end: float) -> list[Part]:
    groups: list[tuple[float, list[str]]] = []
    for number, fault in sorted(enumerate(run.faults, 1), key=lambda pair: pair[1].injected):
        if groups and fault.injected - groups[-1][0] < CLOSE * end:
            groups[-1][1].append(f"F{number}")
        else:
            groups.append((fault.injected, [f"F{number}"]))
    return [
        {
            "text": f"<b>{' '.join(names)}</b>", "x": time, "xref": "x", "xanchor": "left",
            "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
            "font": {"color": "$fault-text", "size": 12},
        }
        for time, names in groups
    ]  # fmt: skip


def _layout(run: Run, rows: int, end: float, annotations: list[Part]) -> Part:
    shades = [
        {
            "type": "rect", "layer": "below", "xref": "x", "yref": "paper", "y0": 0, "y1": 1,
            "x0": fault.injected, "x1": end if fault.healed is None else fault.healed,
            "fillcolor": "$shade", "line": {"color": "$fault", "width": 1}, "name": f"fault {number}",
        }
        for number, fault in enumerate(run.faults, 1)
    ]  # fmt: skip
    borders = [
        {
            "type": "line", "layer": "below", "xref": "x", "yref": "paper", "y0": 0, "y1": 1,
            "x0": phase.start, "x1": phase.start, "line": {"color": "$rule", "width": 1, "dash": "dot"},
            "name": "phase",
        }
        for phase in run.phases
    ]  # fmt: skip
    return {
        "height": rows * ROW + MARGIN["t"] + MARGIN["b"],
        "margin": MARGIN, "barmode": "overlay", "showlegend": False, "hovermode": "closest",
        "paper_bgcolor": "$paper", "plot_bgcolor": "$paper",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "$text"},
        "hoverlabel": {
            "align": "left", "bgcolor": "$hover", "bordercolor": "$rule", "font": {"color": "$text", "size": 12},
        },
        # Text that does not fit into its bar is left out, not shrunk.
        "uniformtext": {"mode": "hide", "minsize": 11},
        "xaxis": {
            "range": [0, end], "minallowed": 0, "maxallowed": end, "ticksuffix": " s", "nticks": 9, "tickangle": 0,
            "title": {"text": "seconds since the start of the run", "standoff": 6, "font": {"size": 12}},
            "gridcolor": "$grid", "linecolor": "$rule", "ticks": "outside", "tickcolor": "$rule", "zeroline": False,
            "separatethousands": True,
        },
        "yaxis": {"range": [rows, 0], "fixedrange": True, "visible": False},
        "shapes": shades + borders,
        "annotations": annotations,
    }  # fmt: skip


def _tooltip(lines: Sequence[str]) -> str:
    wrapped = [_safe(part) for line in lines for part in textwrap.wrap(line, 46) or [""]]
    return "<br>".join([f"<b>{wrapped[0]}</b>", *wrapped[1:]]) if wrapped else ""


def _safe(text: str) -> str:
    # Plotly reads a little HTML of its own in texts: links, for one.
    return html.escape(text, quote=False)
