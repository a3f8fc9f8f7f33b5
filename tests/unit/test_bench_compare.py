"""Bench: figures as JSON, two revisions side by side, and a run of the task: what is kept of it whatever happens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import bench_world
import pytest
from bench_world import Place

from kubedrill.bench import command, compare
from kubedrill.bench.compare import Bench
from kubedrill.bench.figures import Cores, Figure
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.shell import Result

Capture = pytest.CaptureFixture[str]
place = bench_world.place  # a fixture
QUIET, DISTURBED = Cores(0.6, 0.05), Cores(0.9, 0.12)


def figure(*values: float, what: str = "up", unit: str = "s", cores: tuple[Cores | None, ...] = ()) -> Figure:
    return Figure(what, unit, values, "", cores)


class TestFigures:
    def test_cores(self) -> None:
        one = figure(1, 2, 3, cores=(QUIET, None, DISTURBED))
        assert (one.busy, one.taken) == (0.75, 0.12)
        assert (figure(1).busy, figure(1).taken) == (None, None)
        assert figure(1, cores=(None,)).taken is None


class TestCompare:
    @pytest.mark.parametrize(
        ("old", "new", "ratio", "word"),
        [
            ([10, 11, 12], [5, 5.5, 6], 0.5, "perhaps less"),
            ([10, 11, 12], [20, 22, 24], 2.0, "perhaps more"),
            ([10, 11, 12, 11], [5, 5.5, 6, 5.5], 0.5, "less"),
            ([10, 11, 12, 11], [20, 22, 24, 22], 2.0, "more"),
            ([10, 11, 12], [9, 9.5, 10], 9.5 / 11, "within the spread"),
            ([10, 11, 12], [12, 13, 14], 13 / 11, "within the spread"),
            ([10, 11], [5, 5.5, 6], 5.5 / 10.5, "too few runs"),
            ([10, 11, 12], [5], 5 / 11, "too few runs"),
            ([0, 0, 0], [1, 1, 1], None, "perhaps more"),
        ],
    )
    def test_a_figure(self, old: list[float], new: list[float], ratio: float | None, word: str) -> None:
        (found,) = compare.compare([figure(*old)], [figure(*new)])
        assert found.ratio == (ratio if ratio is None else pytest.approx(ratio))
        assert found.word == word
        assert found.taken == ""

    @pytest.mark.parametrize(
        ("old", "new", "marked"),
        [
            ((QUIET, QUIET), (QUIET, QUIET), ""),
            ((QUIET, DISTURBED), (QUIET, QUIET), "before 12%"),
            ((QUIET, QUIET), (None, DISTURBED), "now 12%"),
            ((DISTURBED, QUIET), (QUIET, Cores(0.5, 0.4)), "before 12%, now 40%"),
            ((), (DISTURBED, QUIET), "now 12%"),
        ],
    )
    def test_one_in_whose_runs_the_host_took_much(
        self, old: tuple[Cores | None, ...], new: tuple[Cores | None, ...], marked: str
    ) -> None:
        (found,) = compare.compare([figure(1, 2, cores=old)], [figure(1, 2, cores=new)])
        assert found.taken == marked

    def test_only_what_both_have_in_the_same_unit(self) -> None:
        old = [figure(1, what="a"), figure(1, what="b"), figure(1, what="c")]
        new = [figure(1, what="c"), figure(1, what="a"), figure(1, what="b", unit="MiB"), figure(1, what="d")]
        assert [one.what for one in compare.compare(old, new)] == ["c", "a"]
        assert compare.only_in_one(old, new) == ["b", "b", "d"]

    def test_machines_that_differ(self) -> None:
        old = {"cores": "2", "processor": "A", "load": "0.1", "kubedrill": "a"}
        assert compare.unlike(old, {**old, "load": "0.2", "kubedrill": "b"}) == []
        assert compare.unlike(old, {**old, "cores": "4"}) == ["cores: 2, now 4"]


ONE = '"what": "a", "unit": "s", "goal": ""'


class TestFiles:
    def test_and_back(self, tmp_path: Path) -> None:
        figures = (figure(1, 2, 4, cores=(QUIET, None, DISTURBED)), figure(7, what="disk", unit="MiB"))
        bench = Bench({"cores": "2"}, figures, ("the group drill: late",))
        compare.save(bench, tmp_path / "it.json")
        assert compare.load(tmp_path / "it.json") == bench
        written = json.loads((tmp_path / "it.json").read_text())
        assert written["schema"] == 2
        first = written["figures"][0]
        assert (first["median"], first["low"], first["high"]) == (2, 1, 4)
        assert first["cores"] == [{"busy": 0.6, "taken": 0.05}, None, {"busy": 0.9, "taken": 0.12}]
        assert [path.name for path in tmp_path.iterdir()] == ["it.json"]

    def test_one_that_cannot_be_written_is_left_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "it.json").mkdir()
        with pytest.raises(KubedrillError, match="cannot be written"):
            compare.save(Bench({}, ()), tmp_path / "it.json")
        assert [path.name for path in tmp_path.iterdir()] == ["it.json"]

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{}", '{"schema": 1, "machine": {}, "figures": []}',
         '{"schema": 2, "machine": {}, "missing": [], "figures": [{}]}',
         f'{{"schema": 2, "machine": {{}}, "missing": [], "figures": [{{{ONE}, "values": [], "cores": []}}]}}',
         f'{{"schema": 2, "machine": {{}}, "missing": [], "figures": [{{{ONE}, "values": ["x"], "cores": []}}]}}',
         f'{{"schema": 2, "machine": {{}}, "missing": [], "figures": [{{{ONE}, "values": [NaN], "cores": []}}]}}',
         '{"schema": 2, "machine": {}, "missing": [], "figures": [{"what": 5, "unit": "s", "goal": "", "values": [1], '
         '"cores": []}]}',
         f'{{"schema": 2, "machine": {{}}, "missing": [], "figures": [{{{ONE}, "values": [1, 2], "cores": [null]}}]}}'],
    )  # fmt: skip
    def test_others(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "it.json").write_text(text)
        with pytest.raises(KubedrillError, match="holds no figures"):
            compare.load(tmp_path / "it.json")

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(KubedrillError, match="holds no figures"):
            compare.load(tmp_path / "none.json")


class TestCommand:
    @pytest.fixture
    def measured(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
        monkeypatch.setattr(command.cluster, "lab", lambda _: place.lab())
        monkeypatch.setattr(command.machine, "revision", lambda: "0.1.0")
        return place

    def bench(self, *, runs: int = 3, only: str = "single", json_file: str = "", against: Sequence[str] = ()) -> int:
        return command.bench(Console(), runs=runs, only=only, json_file=json_file, against=against)

    def test_measured_kept_and_compared(self, measured: Place, tmp_path: Path, capsys: Capture) -> None:
        old = tmp_path / "old.json"
        measured.taken = 0.07
        assert self.bench(json_file=str(old)) == 0
        printed = capsys.readouterr().out
        assert "processor" in printed
        row = next(line for line in printed.splitlines() if line.startswith("up 1+0"))
        assert row.split()[-8:] == ["2.5", "s", "2.5", "to", "2.5", "3", "60%", "7%"]
        slower = json.loads(old.read_text())
        slower["figures"][0]["values"] = [25, 26, 27]
        slower["machine"]["cores"] = "64"
        old.write_text(json.dumps(slower))
        measured.taken = 0.01
        assert self.bench(against=[str(old)], json_file=str(tmp_path / "new.json")) == 0
        printed = capsys.readouterr().out
        row = next(line for line in printed.splitlines() if line.startswith("up 1+0") and "26.0" in line)
        assert row.split()[-9:] == ["26.0", "s", "2.5", "s", "0.10", "perhaps", "less", "before", "7%"]
        assert "not the same machine, so that ratios say little: cores: 64, now" in printed
        assert compare.load(tmp_path / "new.json").figures[0].values == (2.5, 2.5, 2.5)

    def test_what_fails_takes_nothing_else_with_it(self, measured: Place, tmp_path: Path, capsys: Capture) -> None:
        file = tmp_path / "it.json"
        seen: list[Bench] = []

        def broken(line: str) -> Result | None:
            if file.exists() and line.startswith("up "):
                seen.append(compare.load(file))
            return Result(1, "", "kubedrill: no room\n") if "--workers 10" in line or "--workers 1" in line else None

        measured.broken = broken
        assert self.bench(only="", runs=1, json_file=str(file)) == 1
        printed = capsys.readouterr()
        kept = compare.load(file)
        names = [one.what for one in kept.figures]
        assert "build with nothing to do" in names
        assert "restore of 1+2, with start" in names, "a group after one that failed"
        for group in ("ten", "nodes", "drill"):
            assert any(line.startswith(f"the group {group}: ") for line in kept.missing)
            assert f"missing: the group {group}: `kubedrill up --name bench" in printed.out
        assert len(kept.missing) == 3
        assert "kubedrill: no room" in printed.err
        assert seen[0].figures, "after each group, not at the end"
        assert "the group drill: the run ended before it" in seen[0].missing
        assert measured.clusters == {}

    def test_a_run_that_is_ended_leaves_what_it_has(self, measured: Place, tmp_path: Path) -> None:
        def broken(line: str) -> Result | None:
            if "--control-planes 3" in line:
                raise KeyboardInterrupt
            return None

        measured.broken = broken
        with pytest.raises(KeyboardInterrupt):
            self.bench(only="", runs=1, json_file=str(tmp_path / "it.json"))
        kept = compare.load(tmp_path / "it.json")
        assert any(one.what.startswith("up 1+2") for one in kept.figures)
        assert "the group large: the run ended before it" in kept.missing

    def test_a_file_that_cannot_be_written_is_said_before_the_work(self, measured: Place, tmp_path: Path) -> None:
        with pytest.raises(KubedrillError, match="cannot be written"):
            self.bench(json_file=str(tmp_path / "none" / "it.json"))
        with pytest.raises(KubedrillError, match="it is a folder"):
            self.bench(json_file=str(tmp_path))
        assert measured.commands == []

    def test_two_files_and_nothing_is_measured(self, measured: Place, tmp_path: Path, capsys: Capture) -> None:
        files = [tmp_path / "a.json", tmp_path / "b.json"]
        compare.save(Bench({"kubedrill": "one"}, (figure(1, 1, 1), figure(1, what="old"))), files[0])
        compare.save(Bench({"kubedrill": "two"}, (figure(3, 3, 3),), ("the group ten: late",)), files[1])
        assert self.bench(against=[str(file) for file in files]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("one, and now two:")
        assert printed.splitlines()[2].split() == ["up", "1.0", "s", "3.0", "s", "3.00", "perhaps", "more"]
        assert "perhaps: with so few runs the ranges of some of 1 figures can be apart by chance; 4 runs on" in printed
        assert "not in both: old" in printed
        assert "missing now: the group ten: late" in printed
        assert measured.commands == []

    @pytest.mark.parametrize(("against", "runs", "only"), [(["a", "b", "c"], 3, ""), ([], 0, ""), ([], 3, "singel")])
    def test_what_cannot_be(self, measured: Place, against: list[str], runs: int, only: str) -> None:
        with pytest.raises(InvalidSpec):
            self.bench(against=against, runs=runs, only=only)
