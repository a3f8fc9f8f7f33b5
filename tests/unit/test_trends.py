"""Figures over time: what is recorded, and the page that shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_demo
from trend_records import KIND, MACHINE, USUAL, record, values

from kubedrill import history, paths, report
from kubedrill.console import Console
from kubedrill.cputime import Taken
from kubedrill.errors import NotFound
from kubedrill.history import Step
from kubedrill.matrix import command as matrix_command
from kubedrill.spec import load
from kubedrill.trends import command, page, records, sizes
from kubedrill.trends.records import Record

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return paths.state()


class TestRecords:
    def test_a_line_each_and_back(self, state: Path) -> None:
        for one in values(1, 2):
            records.append(one)
        assert records.read() == tuple(values(1, 2))
        assert len((state / "history.jsonl").read_text().splitlines()) == 2

    def test_nothing_yet(self, state: Path) -> None:
        assert records.read() == ()

    @pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"schema": 2}', '{"schema": 1, "at": "x"}', "\udcff"])
    def test_a_broken_line_is_passed_over(self, state: Path, line: str) -> None:
        records.append(record(0, 1))
        with records.file().open("a", errors="surrogateescape") as sink:
            sink.write(line + "\n")
        records.append(record(1, 2))
        assert records.read() == tuple(values(1, 2))

    def test_figures_that_are_no_numbers(self, state: Path) -> None:
        records.append(record(0, 1))
        text = records.file().read_text()
        records.file().write_text(text.replace('"took": 1', '"took": "long"') + text)
        assert len(records.read()) == 1

    def test_gathered_twice_it_counts_once_and_by_its_time(self, state: Path) -> None:
        for one in [record(2, 3), record(1, 2), record(2, 3)]:
            records.append(one)
        assert [one.figures["took"] for one in records.read()] == [2, 3]

    def test_of_a_drill(self) -> None:
        cluster = load(None, {"name": "drill-77-1", "control_planes": 3}).model_dump(by_alias=True)
        steps = (
            Step(1, "assumptions", "hello is ready", "wait", None, 3.0),
            Step(2, "fault", "drill-77-1-control-plane-2 is NotReady", "wait", 17.5, 16.0),
            Step(3, "fault", "coredns-d97978667-qpl2q is ready again", "wait", 4, 1.512),
            Step(4, "converge", "all are Ready", "wait", None, 2.0),
            Step(5, "converge", "all are Ready", "wait", None, 4.0),
            Step(6, "fault", "not seen", "wait", 4, None),
            Step(7, "fault", "kill", "fault"),
        )
        run = replace(report_demo.failover()[0], cluster=cluster, steps=steps, machine=MACHINE, kubernetes="v1.37.2")
        made = records.of_run(run, ("emulated",), Taken(run.duration, 0.5, 0.25))
        waits = {name: value for name, value in made.figures.items() if not name.startswith("longest gap")}
        assert waits == {
            "took": run.duration, "control-plane is NotReady": 16.0, "coredns is ready again": 1.51,
            "all are Ready": 2.0, "all are Ready (2)": 4.0,
        }  # fmt: skip
        assert made.figures["longest gap: API read through the balancer"] == run.figures[0].longest
        assert (made.cluster, made.machine, made.verdict) == ("3+2 docker iptables emulated", KIND, run.verdict)
        assert (made.busy, made.stolen) == (0.5, 0.25)

    def test_gaps_of_each_control_plane_are_one_figure(self) -> None:
        """The longest of them: who leads, and what a session calls its cluster, is another each time."""
        run = report_demo.failover()[0]
        lane, figures = run.lanes[0], run.figures[0]
        names = [f"drill-77-1-control-plane-{number}" for number in (1, 2, 3)]
        made = records.of_run(replace(
            run, cluster=load(None, {"name": "drill-77-1", "control_planes": 3}).model_dump(by_alias=True),
            lanes=tuple(replace(lane, name=name, title=f"API of {name} itself") for name in names),
            figures=tuple(replace(figures, lane=name, longest=gap) for name, gap in zip(names, (1, 7, 3), strict=True)),
        ))  # fmt: skip
        gaps = {name: value for name, value in made.figures.items() if name.startswith("longest gap")}
        assert gaps == {"longest gap: API of control-plane itself": 7}

    def test_of_a_drill_on_two_control_planes(self) -> None:
        """A cluster that is on its way to another size has that many; nobody could ask for it."""
        given = {**load(None, {"control_planes": 3}).model_dump(by_alias=True), "controlPlanes": 2}
        assert records.of_run(replace(report_demo.failover()[0], cluster=given)).cluster.startswith("2+2 ")

    def test_of_a_bring_up(self) -> None:
        spec = load(None, {"name": "x", "workers": 0, "proxyMode": "nftables", "kubernetes": "1.36"})
        made = records.of_bring_up(spec, Taken(13.3333, 0.87654, 0.0123), MACHINE)
        assert (made.name, made.cluster, made.figures) == ("bring-up", "1+0 docker nftables", {"took": 13.3})
        assert made.kubernetes.startswith("v1.36.")
        assert (made.busy, made.stolen) == (0.877, 0.012)
        unknown = records.of_bring_up(spec, Taken(9), MACHINE, made=("emulated",), name=records.HOLLOW)
        assert (unknown.name, unknown.cluster) == ("hollow nodes", "1+0 docker nftables emulated")
        assert (unknown.busy, unknown.stolen) == (None, None)

    def test_a_line_of_before_shares_were_kept(self, state: Path) -> None:
        line = {"schema": 1, "at": "2026-11-01", "name": "bring-up", "kubernetes": "v1.37.2", "machine": KIND,
                "cluster": "1+2 docker iptables", "verdict": "passed", "figures": {"took": 13.3}}  # fmt: skip
        records.file().write_text(json.dumps(line) + "\n")
        (read,) = records.read()
        assert (read.figures, read.busy, read.stolen) == ({"took": 13.3}, None, None)

    @pytest.mark.parametrize(
        ("settings", "kind"),
        [
            ({}, "1+2 docker iptables"),  # as in lines of before further settings were told
            ({"etcd": "external", "controlPlanes": 3}, "3+2 docker iptables external-etcd"),
            ({"podSubnet": "10.1.0.0/16", "serviceSubnet": "10.9.0.0/16", "name": "x"}, "1+2 docker iptables"),
            ({"hollow": 2000}, "1+2 docker iptables hollow=2000"),
            ({"flannelBackend": "host-gw"}, "1+2 docker iptables flannelBackend=host-gw"),
            ({"extraArgs": {"etcd": {"b": "2", "a": "1"}}, "featureGates": {"X": True}},
             "1+2 docker iptables featureGates.X=True extraArgs.etcd.a=1 extraArgs.etcd.b=2"),
            ({"provider": "vagrant", "vm": {"driver": "kvm"}}, "1+2 vagrant iptables"),
            ({"provider": "vagrant", "vm": {"driver": "virtualbox", "workerMemory": 4096}},
             "1+2 vagrant iptables vm.driver=virtualbox vm.workerMemory=4096"),
        ],
    )  # fmt: skip
    def test_kinds_of_clusters(self, settings: dict[str, Any], kind: str) -> None:
        assert records.kind_of_cluster(load(None, settings)) == kind
        assert records.kind_of_cluster(load(None, settings), ("emulated", "packages")) == f"{kind} emulated packages"

    def test_labels_tell_clusters_apart(self) -> None:
        kinds = {
            records.kind_of_cluster(load(None, {"nodes": nodes}))
            for nodes in ({}, {"worker": {"labels": {"a": "b"}}}, {"worker": {"labels": {"a": "c"}}})
        }
        assert len(kinds) == 3

    @pytest.mark.parametrize(
        ("text", "kind"),
        [(MACHINE, KIND), ("4 cores, 15990 MiB, cgroup v2", "4 cores, 16 GiB, cgroup v2"), ("a Mac", "")],
    )
    def test_kinds_of_machines(self, text: str, kind: str) -> None:
        assert records.kind_of_machine(text) == kind


class TestPage:
    def test_a_line_for_each_kubernetes(self, tmp_path: Path) -> None:
        found = [*values(*USUAL, 20), *values(9, 9.5, kubernetes="v1.36.5"), *values(13, name="bring-up")]
        changes = page.write(found, tmp_path / "new" / "trends.html")
        html = (tmp_path / "new" / "trends.html").read_text()
        assert len(changes) == 1
        assert "slower than 10.0 s" in html
        assert html.count("<polyline") == 3
        assert "1.36: 9.50 s (9.00 s ± 0 s; 2)" in html
        assert '1.37: 20.0 s (10.0 s ± 0 s; 11) <span class="badge inconclusive">slower</span>' in html
        assert "2026-11-01 to 2026-11-11, at most 20.0 s" in html
        assert html.index("bring-up, 3+2") < html.index("ha-failover, 3+2")

    def test_what_the_host_disturbed_is_said(self, tmp_path: Path) -> None:
        found = [*values(*USUAL, stolen=0.012), record(10, 20, stolen=0.21)]
        assert page.write(found, tmp_path / "t.html") == []
        html = (tmp_path / "t.html").read_text()
        assert "Not judged: 1 newest values, since the host took more than 5 % of this computer's cores" in html
        assert '<span class="badge inconclusive">disturbed</span>' in html
        assert "20.0 s, 21.0 % of the cores taken by the host" in html
        page.write(values(*USUAL, 10), tmp_path / "t.html")
        assert "Not judged" not in (tmp_path / "t.html").read_text()

    def test_it_needs_nothing_but_itself(self, tmp_path: Path) -> None:
        page.write(values(1, 2), tmp_path / "t.html")
        html = (tmp_path / "t.html").read_text()
        assert "default-src &#39;none&#39;" in html
        assert "<script" not in html
        assert "src=" not in html.replace("default-src", "")

    def test_text_is_escaped(self, tmp_path: Path) -> None:
        page.write([record(0, 1, figures={"<img onerror=x>": 1.0})], tmp_path / "t.html")
        assert "<img" not in (tmp_path / "t.html").read_text()

    def test_within_the_noise_it_says_so(self, tmp_path: Path) -> None:
        assert page.write(values(*USUAL, 10), tmp_path / "t.html") == []
        html = (tmp_path / "t.html").read_text()
        assert "Nothing changed beyond the noise" in html
        assert '<section class="verdict passed">' in html
        assert "Not judged" not in html

    @pytest.mark.parametrize("newest", [{}, {"stolen": 0.2}])
    def test_where_nothing_was_judged_it_does_not_say_that_nothing_changed(
        self, tmp_path: Path, newest: dict[str, Any]
    ) -> None:
        page.write([*values(*USUAL[:9]), record(9, 10, **newest)], tmp_path / "t.html")
        html = (tmp_path / "t.html").read_text()
        assert "Nothing could be judged" in html
        assert "Nothing changed" not in html
        assert '<section class="verdict inconclusive">' in html

    def test_series_with_too_few_runs_are_counted(self, tmp_path: Path) -> None:
        page.write([*values(*USUAL, 10), record(10, 10, name="dns")], tmp_path / "t.html")
        html = (tmp_path / "t.html").read_text()
        assert "Not judged: 1 of 2 series, since they have fewer than 10 earlier runs that count." in html
        assert "Nothing changed beyond the noise" in html

    def test_for_which_scatter_its_one_in_twenty_holds(self, tmp_path: Path) -> None:
        page.write(values(1), tmp_path / "t.html")
        html = (tmp_path / "t.html").read_text()
        assert (
            "one in twenty names something, where figures scatter normally "
            "(with scatter that has a long tail to one side, more)"
        ) in html

    def test_where_points_are(self) -> None:
        (block,) = page.blocks(values(0, 5, 10))
        (line,) = block.charts[0].lines
        assert line.path == "6.0,66.0 160.0,36.0 314.0,6.0"

    @pytest.mark.parametrize("found", [values(0, 0), values(3), [record(0, 1, at="some day")]])
    def test_what_has_no_extent(self, found: list[Record]) -> None:
        (block,) = page.blocks(found)
        assert block.charts[0].lines[0].path

    def test_more_minors_than_styles(self) -> None:
        found = [record(0, 1, kubernetes=f"v1.{minor}.0") for minor in range(8, 14)]
        lines = page.blocks(found)[0].charts[0].lines
        assert [line.minor for line in lines] == ["1.8", "1.9", "1.10", "1.11", "1.12", "1.13"]
        assert [line.style for line in lines] == [0, 1, 2, 3, 0, 1]


class TestCommand:
    def test_the_changes_and_the_page(self, state: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[str] = []
        monkeypatch.setattr(command.webbrowser, "open", opened.append)
        for one in [*values(*USUAL, 20), record(10, 9, name="dns", stolen=0.06)]:
            records.append(one)
        command.show(Console())
        printed = capsys.readouterr().out.splitlines()
        assert printed[0].startswith("beyond the noise: ha-failover")
        assert printed[1] == "not judged: 1 newest values, since the host took more than 5% of the cores"
        assert printed[2] == str(state / "runs" / "trends.html")
        assert opened == [(state / "runs" / "trends.html").as_uri()]
        assert 'href="trends.html"' in report.index(state / "runs").read_text()

    def test_nothing_yet(self, state: Path) -> None:
        with pytest.raises(NotFound, match="nothing is recorded"):
            command.show(Console())


class TestSizes:
    CELL = {"kubernetes": "1.37", "provider": "docker", "controlPlanes": 3, "proxyMode": "iptables"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("found", "minutes"),
        [
            (values(60, 120, 240), 2.0),
            (values(60, 120), None),
            (values(60, 120, 240, verdict="failed"), None),
            (values(60, 120, 240, machine="4 cores"), None),
            (values(60, 120, 240, cluster="1+2 docker iptables"), None),
            (values(60, 120, 240, cluster="3+2 docker nftables"), None),
            (values(60, 120, 240, cluster="3+1 docker iptables"), 2.0),
            (values(60, 120, 240, kubernetes="v1.36.5"), None),
            (values(60, 120, 240, name="dns"), None),
            (values(60, 120, 240, cluster="3+2 docker iptables hollow=1000"), None),
            (values(60, 120, 240, cluster="3+2 docker iptables packages"), 2.0),
            # What the newest was made of counts, since the next will be as well.
            ([*values(60, 120, 240), *values(9, 9, 9, cluster="3+2 docker iptables packages")], 0.15),
            ([*values(60, 120, 240), *values(9, 9, cluster="3+2 docker iptables packages")], None),
            ([*values(*[600] * 10), *values(*[60] * 10)], 1.0),
        ],
    )
    def test_minutes_of_a_drill(self, found: list[Record], minutes: float | None) -> None:
        assert sizes.measured(found, KIND)("ha-failover", self.CELL) == minutes

    def test_of_a_drill_on_a_cluster_of_other_settings(self) -> None:
        found = values(60, 120, 240, cluster="3+2 docker iptables hollow=1000")
        measured = sizes.measured(found, KIND)
        assert measured("ha-failover", {**self.CELL, "workers": 1, "hollow": 1000}) == 2.0
        assert measured("ha-failover", {**self.CELL, "workers": 1, "hollow": 2000}) is None

    def test_the_matrix_asks_it(self, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        def minutes() -> float:
            matrix_command.show(Console(), shard="", job="", as_json=True)
            return sum(float(job["minutes"]) for job in json.loads(capsys.readouterr().out)["jobs"])

        monkeypatch.setattr(matrix_command.host, "machine", lambda: MACHINE)
        before = minutes()
        for one in values(600, 600, 600, figures={"took": 1.0}):
            records.append(one)
        assert minutes() < before


def test_a_report_is_found_wherever_it_lies(state: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI gathers the runs of many computers, each in a folder of its own."""
    from kubedrill import drill_commands

    monkeypatch.setattr(drill_commands.webbrowser, "open", lambda _: True)
    for folder in ("20261126-020000-hello", "job/20261127-020000-hello", "other/20261125-020000-hello"):
        (state / "runs" / folder).mkdir(parents=True)
        history.save(report_demo.failover()[0], state / "runs" / folder)
        (state / "runs" / folder / "index.html").write_text("the page")
    (state / "runs" / "a-job").mkdir()
    (state / "runs" / "a-job" / "index.html").write_text("an index")
    drill_commands.report(Console(), "", index=False, again=False)
    assert capsys.readouterr().out.strip().endswith("job/20261127-020000-hello/index.html")
