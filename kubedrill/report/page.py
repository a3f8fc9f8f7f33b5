"""One run as one HTML page that needs nothing but itself: script, style and data are in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from kubedrill.hints import hinted
from kubedrill.history import FaultSpan, Run, Sample, Step
from kubedrill.report import figures, words
from kubedrill.report.timeline import extent, timeline

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def render(run: Run, samples: Mapping[str, Sequence[Sample]]) -> str:
    """The page of a run, about 5 MB, nearly all of it the library that draws the timeline.

    Args:
        run: the run.
        samples: the samples of each lane, by the lane's name; a lane may be missing.
    """
    drawn = timeline(run, samples)
    scripts = [library(), _script(asset("timeline.js"))]
    return template("page.html").render(
        run=run,
        said=words.VERDICTS[run.verdict],
        headline=figures.headline(run),
        about=_about(run),
        columns=figures.COLUMNS,
        rows=figures.table(run),
        steps=[(step, _judged(step)) for step in run.steps],
        faults=[_fault(fault) for fault in run.faults],
        views=_views(run, extent(run, samples)),
        cluster=words.plain(run.cluster),
        facts=words.plain(run.facts),
        merged=drawn.merged,
        data={"figure": drawn.figure, "narrow": drawn.narrow},
        style=Markup(asset("style.css")),  # our own file
        scripts=scripts,
        policy=policy(scripts),
    )


def policy(scripts: Sequence[str]) -> str:
    """The page's content security policy: these scripts and no other, and no request to anywhere.

    Text is escaped where it is put in; should that ever fail, a script in a pod's name would still not run.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


@cache
def _environment() -> Environment:
    # Late: every command imports this module, and few write a page.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("kubedrill.report", "assets"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_finalized,
    )  # fmt: skip
    environment.filters |= {"seconds": words.seconds, "moment": words.moment, "calendar": words.calendar}
    return environment


def _finalized(value: object) -> object:
    # Exactly str: what is Markup holds scripts, whose digests are in the policy.
    return hinted(value) if type(value) is str else value


def template(name: str) -> Template:
    """A template of ours, by its name; all that it puts into a page is escaped."""
    return _environment().get_template(name)


@cache
def asset(name: str) -> str:
    """The text of a file in assets/."""
    return resources.files("kubedrill.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def library() -> Markup:
    """The library that draws timelines, as it stands in each page."""
    return _script(get_plotlyjs())


def _script(source: str) -> Markup:
    # Browsers turn CRLF into LF before they compare a script with the policy's digest.
    text = source.replace("\r\n", "\n")
    if "</script" in text.lower():
        raise ValueError("a script that holds its own end tag cannot be put into a page")
    return Markup(text)  # the library's own file, or ours


def _about(run: Run) -> list[tuple[str, str]]:
    return [
        ("Drill", run.drill),
        ("Started", words.calendar(run.started)),
        ("Took", words.seconds(run.duration)),
        ("Kubernetes", run.kubernetes),
        ("Machine", run.machine),
    ]


def _judged(step: Step) -> str:
    if step.expected is None:
        return ""
    if step.measured is None:
        return "not seen"
    late = step.measured - step.expected
    return f"late by {words.seconds(late)}" if late > 0 else "in time"


def _fault(fault: FaultSpan) -> dict[str, str]:
    healed = fault.healed
    return {
        "name": fault.name,
        "target": fault.target,
        "role": fault.role,
        "injected": words.moment(fault.injected),
        "healed": "not healed" if healed is None else words.moment(healed),
        "lasted": "to the end" if healed is None else words.seconds(healed - fault.injected),
    }


def _views(run: Run, end: float) -> list[tuple[str, float, float]]:
    """What the timeline can show at a click: each fault, with some time on either side."""
    views = []
    for number, fault in enumerate(run.faults, 1):
        until = end if fault.healed is None else fault.healed
        margin = max(2.0, 0.25 * (until - fault.injected))
        views.append((f"Fault {number}", max(0.0, fault.injected - margin), min(end, until + margin)))
    return views
