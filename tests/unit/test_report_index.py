"""The index over many runs: newest first, and no broken report keeps the others from being seen."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import report_demo

from kubedrill import history, report
from kubedrill.errors import KubedrillError
from kubedrill.history import Run


def put(run: Run, folder: Path, *, page: bool = True) -> None:
    folder.mkdir(parents=True)
    history.save(run, folder)
    if page:
        (folder / "index.html").write_text("the page")


def links(html: str) -> list[str]:
    return re.findall(r'href="([^"]*)"', html.partition("<body>")[2])


def test_the_newest_run_comes_first_whatever_its_time_zone(tmp_path: Path) -> None:
    run = report_demo.failover()[0]
    put(replace(run, started="2026-11-24T19:00:00+00:00"), tmp_path / "b")
    put(replace(run, started="2026-11-24T21:30:00+01:00"), tmp_path / "nightly" / "c")
    put(replace(run, started="2026-11-24T18:00:00"), tmp_path / "a")
    put(replace(run, started="some day"), tmp_path / "z")
    written = report.index(tmp_path)
    assert written == tmp_path / "index.html"
    assert links(written.read_text()) == ["nightly/c/index.html", "b/index.html", "a/index.html", "z/index.html"]


def test_a_row_says_what_matters(tmp_path: Path) -> None:
    run = replace(report_demo.failover()[0], verdict="failed", reason="it took too long")
    put(run, tmp_path / "one")
    text = report.index(tmp_path).read_text()
    for part in ("ha-failover", "failed", "it took too long", "2026-11-24 19:56:16 UTC", "2 min 30 s", "v1.34.2"):
        assert part in text
    assert "2.4 s (API reads were down for at most 15 s)" in text


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"schema": 99}', b'{"schema": 1, "drill": "x"}', b"\xff\xfe\x00"],
    ids=["empty", "cut off", "a list", "null", "schema", "missing parts", "no text"],
)
def test_a_broken_report_is_shown_as_such_beside_the_others(tmp_path: Path, content: bytes) -> None:
    put(report_demo.failover()[0], tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "report.json").write_bytes(content)
    text = report.index(tmp_path).read_text()
    assert set(links(text)) == {"good/index.html", "bad/report.json"}
    assert text.count("unreadable") == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("verdict", "splendid"), ("duration", "long"), ("started", 5), ("phases", 3), ("figures", [{"windows": None}]),
     ("figures", [{"windows": [[1, 2, 3]]}])],
)  # fmt: skip
def test_a_report_whose_parts_are_of_the_wrong_kind_is_broken_too(tmp_path: Path, key: str, value: object) -> None:
    put(report_demo.failover()[0], tmp_path / "bad")
    file = tmp_path / "bad" / "report.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    assert "unreadable" in report.index(tmp_path).read_text()


def test_a_report_that_is_a_folder_is_broken_too(tmp_path: Path) -> None:
    (tmp_path / "one" / "report.json").mkdir(parents=True)
    assert "unreadable" in report.index(tmp_path).read_text()


def test_a_run_without_a_page_is_linked_to_its_data(tmp_path: Path) -> None:
    put(report_demo.failover()[0], tmp_path / "one two#3", page=False)
    assert links(report.index(tmp_path).read_text()) == ["one%20two%233/report.json"]


def test_text_is_escaped(tmp_path: Path) -> None:
    put(replace(report_demo.failover()[0], title="</small><img onerror=alert(1)>"), tmp_path / "<img>")
    assert "<img" not in report.index(tmp_path).read_text()


def test_no_runs_at_all(tmp_path: Path) -> None:
    assert "no run below this folder" in report.index(tmp_path / "new").read_text()


def test_the_page_of_a_run_is_not_overwritten(tmp_path: Path) -> None:
    put(report_demo.failover()[0], tmp_path / "one")
    with pytest.raises(KubedrillError, match="the folder of one run"):
        report.index(tmp_path / "one")
    assert (tmp_path / "one" / "index.html").read_text() == "the page"
