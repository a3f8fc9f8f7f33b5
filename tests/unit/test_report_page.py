"""The page of a run: all that was measured is in it, and nothing that came from a cluster can become markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_demo
from plotly import graph_objects

from kubedrill import hints, history, report
from kubedrill.history import ClusterEvent, FaultSpan, Lane, LaneFigures, Phase, Requirement, Run, Sample, Step
from kubedrill.report import words
from kubedrill.report.timeline import timeline

HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7*7 }}<a href='javascript:alert(2)'>%{x}</a>"


class Page(HTMLParser):
    """What a browser would make of a page: its tags with their attributes, its text without scripts and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in != "style":
            self.text += data


def page(run: Run, samples: report_demo.Samples) -> Page:
    return Page(report.render(run, samples))


def figure(parsed: Page) -> Any:
    return json.loads(parsed.scripts[0])["figure"]


def hostile_run() -> tuple[Run, dict[str, list[Sample]]]:
    run = Run(
        drill=HOSTILE, title=HOSTILE, verdict="failed", reason=HOSTILE, started=HOSTILE, duration=9.0,
        cluster={HOSTILE: [HOSTILE]}, kubernetes=HOSTILE, machine=HOSTILE,
        phases=(Phase(HOSTILE, 0, 9),), steps=(Step(1, HOSTILE, HOSTILE, "fail", 1.0, None),),
        faults=(FaultSpan(HOSTILE, HOSTILE, HOSTILE, 1, None),), events=(ClusterEvent(2, HOSTILE, HOSTILE, HOSTILE),),
        lanes=(Lane(HOSTILE, HOSTILE, 0.1, "read", "new"),),
        figures=(LaneFigures(HOSTILE, 1, 1, 0, 1.0, 1.0, ((1, 2),)),),
        requirements=(Requirement(HOSTILE, HOSTILE, False),), targets={HOSTILE: HOSTILE}, facts={HOSTILE: HOSTILE},
    )  # fmt: skip
    return run, {HOSTILE: [Sample(1, 2, "failed", HOSTILE)]}


@pytest.mark.parametrize(("called", "name"), [("", "invoke"), ("yes", "kubedrill")])
def test_what_to_do_names_the_program_that_was_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, called: str, name: str
) -> None:
    """On the page, in the index and in JUnit; what the cluster itself said stays."""
    monkeypatch.setenv(hints.VARIABLE, called)
    run, samples = report_demo.failover()
    said = ClusterEvent(2, "Pod/web", "Failed", "failed to invoke webhook")
    step = Step(1, "fault", "all nodes are started (invoke start)")
    run = replace(
        run, reason="refused: <a>\n  -> run: invoke heal", verdict="inconclusive", steps=(step,), events=(said,)
    )
    (tmp_path / "one").mkdir()
    history.save(run, tmp_path / "one")
    page = Page(report.write(run, samples, tmp_path / "one").read_text())
    index = Page(report.index(tmp_path).read_text())
    junit = (tmp_path / "one" / "junit.xml").read_text()
    for text in (page.text, index.text, junit):
        assert f"run: {name} heal" in text
    for text in (page.text, junit):
        assert f"({name} start)" in text
    assert "refused: <a>" in page.text
    assert "failed to invoke webhook" in page.text


def test_text_from_a_cluster_never_becomes_markup() -> None:
    parsed = page(*hostile_run())
    tags = [tag for tag, _ in parsed.tags]
    assert not {"img", "a", "iframe"} & set(tags)
    assert tags.count("script") == 3
    assert all(not name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert HOSTILE in parsed.text
    assert "49" not in parsed.text


def test_text_from_a_cluster_is_no_markup_for_the_drawing_library_either() -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.values() for text in texts(item)]
        return [text for item in value for text in texts(item)] if isinstance(value, list) else [str(value)]

    found = [text for text in texts(figure(page(*hostile_run()))) if "img" in text]
    assert found
    assert all(set(re.findall(r"<[^>]*>", text)) <= {"<b>", "</b>", "<br>"} for text in found)


def test_the_policy_allows_the_pages_own_scripts_and_no_request() -> None:
    parsed = page(*report_demo.failover())
    policy = next(a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == report.page.policy(parsed.scripts[1:])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    loads = [a for tag, a in parsed.tags if a.get("src") or (tag == "link" and not str(a["href"]).startswith("data:"))]
    assert loads == []


@pytest.mark.parametrize("verdict", ["passed", "failed", "inconclusive"])
def test_the_verdict_is_said_in_words_and_has_its_colour(verdict: str) -> None:
    parsed = page(replace(report_demo.nothing()[0], verdict=verdict), {})
    assert words.VERDICTS[verdict] in parsed.text
    assert verdict in words.VERDICTS[verdict].lower()
    assert {"class": f"verdict {verdict}", "aria-label": "Verdict"} in [a for _, a in parsed.tags]


def test_every_lanes_figures_are_there() -> None:
    run, samples = report_demo.failover()
    text = page(run, samples).text
    for lane, item in zip(run.lanes, run.figures, strict=True):
        assert lane.title in text
        assert f"{item.samples:,}" in text
        assert words.seconds(item.downtime) in text
        before = item.latency["before"]
        assert f"{words.milliseconds(before['p50'])} / {words.milliseconds(before['p95'])}" in text


def test_a_lane_without_figures_and_figures_without_a_lane_are_there_too() -> None:
    run = replace(report_demo.nothing()[0], figures=(LaneFigures("stray", 7, 0, 0, 0.0, 0.0, ()),))
    text = page(run, {"stray": [Sample(0, 0.01, "ok")]}).text
    assert "API read, connection kept" in text
    assert "stray" in text


def test_the_story_says_whether_a_prediction_came_true() -> None:
    text = page(*report_demo.failover()).text
    assert "late by 0.70 s" in text
    assert "in time" in text


def test_the_figure_is_one_that_the_library_accepts() -> None:
    """Its own validator looks at every name and value, once our colours' names are colours."""
    for run, samples in (report_demo.failover(), report_demo.nothing(), hostile_run()):
        text = json.dumps(timeline(run, samples).figure)
        graph_objects.Figure(json.loads(re.sub(r'"\$[a-z-]+"', '"red"', text)))


def test_each_colour_is_in_the_style_sheet_for_light_and_for_dark() -> None:
    style = report.page.asset("style.css")
    text = json.dumps(timeline(*report_demo.failover()).figure)
    for name in set(re.findall(r'"\$([a-z-]+)"', text)):
        assert len(re.findall(rf"--{name}: ", style)) == 2, name


def test_the_timeline_has_each_lane_each_fault_and_each_event() -> None:
    run, samples = report_demo.failover()
    drawn = figure(page(run, samples))
    labels = " ".join(item["text"] for item in drawn["layout"]["annotations"])
    assert all(lane.title in labels for lane in run.lanes)
    assert "F1 kill node lab-control-plane-2 (leads etcd): 48.7 s" in labels
    shades = [shape for shape in drawn["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(shape["x0"], shape["x1"]) for shape in shades] == [(f.injected, f.healed) for f in run.faults]
    assert [trace["x"] for trace in drawn["data"] if trace["name"] == "events"] == [[e.time for e in run.events]]
    outage = next(trace for trace in drawn["data"] if trace["name"] == "api-read failed")
    assert outage["x"] == pytest.approx([2.4], abs=0.1)


def test_faults_at_the_same_moment_share_a_mark() -> None:
    run, samples = report_demo.failover()
    both = tuple(replace(fault, injected=50 + i) for i, fault in enumerate(run.faults))
    texts = [item["text"] for item in timeline(replace(run, faults=both), samples).figure["layout"]["annotations"]]
    assert "<b>F1 F2</b>" in texts


def test_a_fault_that_was_not_healed_lasts_to_the_end_and_says_so() -> None:
    run, samples = report_demo.failover()
    drawn = timeline(replace(run, faults=(replace(run.faults[0], healed=None),)), samples).figure
    assert drawn["layout"]["shapes"][0]["x1"] == 150
    assert any("NOT HEALED" in item["text"] for item in drawn["layout"]["annotations"])


def test_a_run_without_anything_says_so_everywhere() -> None:
    text = page(replace(report_demo.nothing()[0], lanes=(), steps=(), phases=(), duration=0.0), {}).text
    for said in ("Nothing was judged", "Nothing was sampled", "No fault was injected", "Nothing was told", "No role"):
        assert said in text


def test_four_minutes_of_ten_lanes_add_little_to_the_page() -> None:
    lanes = tuple(Lane(f"lane-{i}", f"Lane {i}", 0.1, "read", "new") for i in range(10))
    flapping = [Sample(i / 10, i / 10 + 0.004, "failed" if i % 2 else "ok", f"pod-{i % 3}") for i in range(2400)]
    run = replace(report_demo.failover()[0], lanes=lanes, duration=240.0)
    drawn = timeline(run, {lane.name: flapping for lane in lanes})
    assert len(json.dumps(drawn.figure)) < 2_000_000
    assert drawn.merged == tuple(lane.title for lane in lanes)
    calm = timeline(run, {lane.name: [replace(sample, outcome="ok") for sample in flapping] for lane in lanes})
    assert len(json.dumps(calm.figure)) < 40_000


def test_pages_for_a_web_server_share_what_draws(tmp_path: Path) -> None:
    folders = [tmp_path / "1.37-docker" / "20261126-021700-hello", tmp_path / "20261126-021800-drain"]
    for folder in folders:
        report.write(*report_demo.failover(), folder)
    whole = (folders[0] / "index.html").stat().st_size
    assert report.share(tmp_path) == 2
    assert report.share(tmp_path) == 0, "twice is harmless"
    library = (tmp_path / "plotly.min.js").stat().st_size
    for folder, up in zip(folders, ("../../", "../"), strict=True):
        text = (folder / "index.html").read_text()
        assert f'<script src="{up}plotly.min.js"></script>' in text
        assert re.search(r"script-src 'self' (&#39;|')sha256-", text)
        assert len(text) < whole - 0.9 * library


def test_write_puts_the_page_and_junit_beside_the_data(tmp_path: Path) -> None:
    run, samples = report_demo.failover()
    written = report.write(replace(run, reason="a lone \ud800 surrogate"), samples, tmp_path / "runs" / "one")
    assert written == tmp_path / "runs" / "one" / "index.html"
    assert {file.name for file in written.parent.iterdir()} == {"index.html", "junit.xml"}
    assert "lone ? surrogate" in written.read_text()


def test_a_run_read_from_disk_has_the_same_page(tmp_path: Path) -> None:
    run, samples = report_demo.failover()
    history.save(run, tmp_path)
    for lane, taken in samples.items():
        history.write_samples(taken, tmp_path, lane)
    again = {lane: history.read_samples(tmp_path, lane) for lane in samples}
    assert report.render(history.load(tmp_path), again) == report.render(run, samples)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (2.4, "2.40 s"), (9.996, "10.0 s"), (83.24, "83.2 s"), (120, "2 min"), (150.2, "2 min 30 s"),
     (None, "–"), (float("nan"), "–")],
)  # fmt: skip
def test_seconds(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0032, "3.2 ms"), (0.0996, "100 ms"), (1.5, "1,500 ms"), (None, "–"), (float("inf"), "–")]
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert words.milliseconds(value) == text
