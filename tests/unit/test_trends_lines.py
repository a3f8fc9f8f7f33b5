"""Lines of the history that are odd: what is read of them, and what is said of those that are passed over."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from trend_records import KIND, MACHINE, USUAL, record, values

from kubedrill import paths
from kubedrill.console import Console
from kubedrill.errors import NotFound
from kubedrill.matrix import command as matrix_command
from kubedrill.trends import command, page, records, sizes

Capture = pytest.CaptureFixture[str]
ODD: list[dict[str, Any]] = [
    {"at": "yesterday"}, {"at": 5}, {"at": None}, {"at": "20261130T021700"}, {"at": "9999-12-31T23:59:59-14:00"},
    {"kubernetes": "foo"}, {"kubernetes": None}, {"kubernetes": "v1"}, {"kubernetes": "v1.x.2"},
    {"name": None}, {"name": ["hello"]}, {"cluster": 3}, {"machine": None}, {"verdict": True},
    {"stolen": "a lot"}, {"stolen": True}, {"busy": []}, {"busy": float("nan")},
    {"figures": None}, {"figures": {"took": None}}, {"figures": {"took": "9"}}, {"figures": {"took": True}},
    {"figures": {"took": float("inf")}}, {"figures": {"took": 10**400}},
]  # fmt: skip


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(command.webbrowser, "open", lambda _: True)
    return paths.state()


def line(**changes: Any) -> str:
    """A line of the history, of the day after USUAL, as it is but for some fields."""
    return json.dumps({"schema": 1, **asdict(record(10, 20)), **changes}) + "\n"


def add(*lines: str) -> None:
    """Add lines as they are."""
    with records.file().open("a") as sink:
        sink.writelines(lines)


@pytest.mark.parametrize("odd", ODD, ids=str)
class TestAFieldOfTheWrongType:
    """One such line ended in a traceback whatever read the history, and so did every later night."""

    def test_its_line_is_passed_over(self, state: Path, odd: dict[str, Any]) -> None:
        add(line(**odd), line())
        assert records.kept() == ((record(10, 20),), 1)

    def test_the_page_is_made_of_the_others(self, state: Path, capsys: Capture, odd: dict[str, Any]) -> None:
        for one in values(*USUAL, 20):
            records.append(one)
        add(line(**odd))
        command.show(Console())
        assert "slower than 10.0 s" in capsys.readouterr().out


def test_a_matrix_is_planned_whatever_the_history_holds(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(matrix_command.host, "machine", lambda: MACHINE)
    add(*(line(**odd) for odd in ODD), line())
    assert matrix_command.show(Console(), shard="", job="", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["jobs"]


def test_a_drill_without_the_figure_that_sizes_jobs() -> None:
    cell = {"kubernetes": "1.37", "provider": "docker", "controlPlanes": 3, "proxyMode": "iptables"}
    found = [*values(60, 120, 240), record(3, 0, figures={"another": 1.0})]
    assert sizes.measured(found, KIND)("ha-failover", cell) == 2.0


@pytest.mark.parametrize("further", [{"more": 1}, {"busy": None, "nested": {"a": []}}])
def test_what_a_later_version_adds_is_left_out(state: Path, further: dict[str, Any]) -> None:
    add(line(**further))
    assert records.kept() == ((record(10, 20),), 0)


@pytest.mark.parametrize("kubernetes", ["v1.37.2", "1.37", "v1.38.0-alpha.1", "v1.37.2+k3s1"])
@pytest.mark.parametrize("at", ["2026-11-30", "2026-11-30T02:17:00", "2026-11-30T02:17:00.5+01:00"])
def test_what_is_not_odd(state: Path, tmp_path: Path, kubernetes: str, at: str) -> None:
    add(line(kubernetes=kubernetes, at=at))
    (read,) = records.read()
    assert (read.kubernetes, read.at) == (kubernetes, at)
    assert page.write([read], tmp_path / "t.html") == []


class TestAfterAKilledWriter:
    @pytest.mark.parametrize("left", ['{"schema": 1, "at": "2026-', "x", "\n", ""])
    def test_the_next_record_has_a_line_of_its_own(self, state: Path, left: str) -> None:
        records.append(record(0, 1))
        add(left)
        records.append(record(1, 2))
        records.append(record(2, 3))
        assert records.read() == tuple(values(1, 2, 3))

    def test_a_whole_line_that_lacks_its_newline_alone_is_read(self, state: Path) -> None:
        add(line().rstrip("\n"))
        records.append(record(11, 2))
        assert records.kept() == ((record(10, 20), record(11, 2)), 0)

    def test_no_line_is_empty_where_nothing_was_cut_off(self, state: Path) -> None:
        for one in values(1, 2):
            records.append(one)
        assert "" not in records.file().read_text().splitlines()


class TestWhatIsSaid:
    def show(self, capsys: Capture) -> list[str]:
        command.show(Console())
        return capsys.readouterr().out.splitlines()

    def test_some_lines_were_passed_over(self, state: Path, capsys: Capture) -> None:
        add(line(), "\n", line(schema=2), "{", "\n")
        assert self.show(capsys)[0] == f"passed over: 2 lines of {state / 'history.jsonl'} that cannot be read"

    def test_none_was(self, state: Path, capsys: Capture) -> None:
        add(line())
        assert not [one for one in self.show(capsys) if "passed over" in one]

    @pytest.mark.parametrize(
        ("lines", "what", "evidence"),
        [
            ((), "nothing is recorded yet", "there is no line in"),
            (("\n",), "nothing is recorded yet", "there is no line in"),
            ((line(at=5),), "nothing that is recorded can be read", "1 line of"),
            ((line(at=5), line(schema=2)), "nothing that is recorded can be read", "2 lines of"),
        ],
    )
    def test_all_were(self, state: Path, lines: tuple[str, ...], what: str, evidence: str) -> None:
        add(*lines)
        with pytest.raises(NotFound) as raised:
            command.show(Console())
        assert raised.value.what == what
        assert raised.value.evidence[0].startswith(f"{evidence} {state / 'history.jsonl'}")
        assert raised.value.todo

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (values(*USUAL), ["not judged: 1 of 1 series, since they have fewer than 10 earlier runs that count"]),
            (
                [*values(*USUAL, 10), record(10, 0, figures={"a": 1.0, "b": 1.0}, name="dns")],
                ["not judged: 2 of 3 series, since they have fewer than 10 earlier runs that count"],
            ),
            (values(*USUAL, 10), []),
        ],
    )
    def test_series_with_too_few_runs(
        self, state: Path, capsys: Capture, found: list[records.Record], said: list[str]
    ) -> None:
        for one in found:
            records.append(one)
        assert self.show(capsys) == [*said, str(state / "runs" / "trends.html")]
