"""JUnit XML that CI servers can read, whatever a pod logged."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
import report_demo

from kubedrill.history import Requirement, Run, Step
from kubedrill.report import junit


def parse(run: Run) -> ElementTree.Element:
    return ElementTree.fromstring(junit.xml(run))


def properties(root: ElementTree.Element) -> dict[str, str]:
    return {item.attrib["name"]: item.attrib["value"] for item in root.iter("property")}


def test_the_shape_is_what_the_schema_of_jenkins_wants() -> None:
    root = parse(report_demo.failover()[0])
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "1", "failures": "0", "errors": "0", "skipped": "0",
    }  # fmt: skip
    assert [child.tag for child in suite] == ["properties", "testcase"]
    assert suite.attrib["timestamp"] == "2026-11-24T19:56:16+00:00"
    case = suite[1]
    assert set(case.attrib) == {"classname", "name", "time"}
    assert (case.attrib["name"], float(case.attrib["time"])) == ("ha-failover", 150.0)
    assert [child.tag for child in case] == ["system-out"]


@pytest.mark.parametrize(
    ("verdict", "tag", "failures", "errors"), [("failed", "failure", "1", "0"), ("inconclusive", "error", "0", "1")]
)
def test_a_verdict_that_is_no_pass(verdict: str, tag: str, failures: str, errors: str) -> None:
    unmet = Requirement("API reads were down for at most 1 s", "2.4 s", False)
    run = replace(report_demo.failover()[0], verdict=verdict, reason="too long", requirements=(unmet,))
    suite = parse(run)[0]
    case = suite[1]
    assert [child.tag for child in case] == [tag, "system-out"]
    assert case[0].attrib == {"message": "too long", "type": verdict}
    assert "not met: API reads were down for at most 1 s (measured: 2.4 s)" in (case[0].text or "")
    assert (suite.attrib["failures"], suite.attrib["errors"]) == (failures, errors)


def test_the_figures_of_every_lane_are_properties() -> None:
    run = report_demo.failover()[0]
    found = properties(parse(run))
    for item in run.figures:
        assert found[f"{item.lane}.samples"] == str(item.samples)
        assert float(found[f"{item.lane}.downtime"]) == pytest.approx(item.downtime, abs=0.001)
    assert float(found["api-read.latency.before.p95"]) > 0
    assert found["target.leads etcd"] == "lab-control-plane-2"
    assert found["cluster.control planes"] == "3"
    assert found["requirement.1"] == "API reads were down for at most 15 s: 2.4 s (met)"


def test_the_story_is_the_output_with_predictions() -> None:
    steps = (
        Step(46, "fault", "leader", "wait", 3.0, 3.7),
        Step(50, "fault", "ready", "wait", 60, None),
        Step(51, "heal", "done"),
    )
    text = parse(replace(report_demo.nothing()[0], steps=steps)).findtext(".//system-out") or ""
    assert text.splitlines() == [
        "    46.0 s  fault        leader (after 3.7 s, predicted 3.0 s)",
        "    50.0 s  fault        ready (predicted 60.0 s, not seen)",
        "    51.0 s  heal         done",
    ]


def test_what_xml_cannot_hold_is_replaced_and_the_rest_escaped() -> None:
    hostile = "\x00\x1b[31m]]><failure/>&\ud800 " + '"quoted"'
    run = replace(
        report_demo.nothing()[0], drill=hostile, reason=hostile, targets={hostile: hostile}, started="yesterday",
        steps=(Step(0, "fault", hostile),),
    )  # fmt: skip
    suite = parse(run)[0]
    assert suite[1].attrib["name"] == "\ufffd\ufffd[31m]]><failure/>&\ufffd " + '"quoted"'
    assert "timestamp" not in suite.attrib
    assert suite.findall(".//failure") == []
