"""A run as JUnit XML, for CI servers: one suite, one test case. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from kubedrill.hints import hinted
from kubedrill.history import Run, Step
from kubedrill.report.figures import PERIODS
from kubedrill.report.words import parsed, plain

# What XML 1.0 cannot hold, not even escaped; a container's log can.
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ELEMENT = {"failed": "failure", "inconclusive": "error"}


def xml(run: Run) -> bytes:
    """The document: failed is a <failure>, inconclusive an <error>, the figures are properties (seconds, counts)."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name="kubedrill",
        tests="1",
        failures=str(int(run.verdict == "failed")),
        errors=str(int(run.verdict == "inconclusive")),
        skipped="0",
        time=f"{run.duration:.3f}",
    )
    if when := parsed(run.started):
        suite.set("timestamp", when.isoformat(timespec="seconds"))
    # Of the suite: the schema of most servers knows no properties of a case.
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(run):
        ElementTree.SubElement(properties, "property", name=_clean(name), value=_clean(value))
    case = ElementTree.SubElement(
        suite, "testcase", classname="kubedrill.drills", name=_clean(run.drill), time=f"{run.duration:.3f}"
    )
    if element := ELEMENT.get(run.verdict):
        problem = ElementTree.SubElement(case, element, message=_clean(run.reason), type=run.verdict)
        unmet = [f"not met: {item.text} (measured: {item.measured})" for item in run.requirements if not item.ok]
        problem.text = _clean("\n".join([run.reason, *unmet]))
    ElementTree.SubElement(case, "system-out").text = _clean("\n".join(map(_line, run.steps)))
    ElementTree.indent(suites, " ")
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _properties(run: Run) -> Iterator[tuple[str, str]]:
    yield "verdict", run.verdict
    yield "reason", run.reason
    yield "title", run.title
    yield "kubernetes", run.kubernetes
    yield "machine", run.machine
    for item in run.figures:
        for key in ("samples", "failed", "unknown"):
            yield f"{item.lane}.{key}", str(getattr(item, key))
        for key in ("downtime", "longest", "stalled", "overhead"):
            yield f"{item.lane}.{key}", f"{getattr(item, key):.3f}"
        for period in PERIODS:
            for key, value in item.latency.get(period, {}).items():
                yield f"{item.lane}.latency.{period}.{key}", f"{value:.4f}"
    for number, requirement in enumerate(run.requirements, 1):
        met = "met" if requirement.ok else "not met"
        yield f"requirement.{number}", f"{requirement.text}: {requirement.measured} ({met})"
    for prefix, values in (("target", run.targets), ("cluster", run.cluster), ("fact", run.facts)):
        for key, text in plain(values):
            yield f"{prefix}.{key}", text


def _line(step: Step) -> str:
    line = f"{step.time:8.1f} s  {step.phase:<11}  {step.text}"
    if step.measured is not None:
        line += f" (after {step.measured:.1f} s"
        line += f", predicted {step.expected:.1f} s)" if step.expected is not None else ")"
    elif step.expected is not None:
        line += f" (predicted {step.expected:.1f} s, not seen)"
    return line


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", hinted(text))
