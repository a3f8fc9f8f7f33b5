"""The jobs of the nightly matrix: their parts, how they are run and shown, and what they are built of."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedrill import paths, versions
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, NotFound
from kubedrill.matrix import command, plan, run, table
from kubedrill.matrix.plan import Group, Job
from kubedrill.matrix.run import Result
from kubedrill.pytest_plugin import DrillFailed, DrillInconclusive
from kubedrill.scenario import NO_CLUSTER, NOT_BUILT, registry, settings
from kubedrill.shell import Ending
from kubedrill.spec import load

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was run on this machine sizes no job of these tests, and what can be installed on it is no matter."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(command.vm_setup, "unavailable", lambda: "")


# What pytest writes of drills that end in some way.
KINDS = {
    "failed": f"<failure>{DrillFailed.__doc__}\nit was bad\n</failure>",
    "inconclusive": f"<error>{DrillInconclusive.__doc__}\nit was bad\n</error>",
    "skipped": '<skipped message="it was bad">x.py:1: it was bad</skipped>',
    "bug": '<failure message="IndexError: it was bad">self = the item\n\n    def runtest(self)</failure>',
    "error": '<error message="failed on setup with OSError">setup_module\nOSError</error>',
}


class TestShards:
    JOBS = tuple(Job(f"j{number}", {}, (), minutes) for number, minutes in enumerate([10, 50, 20, 30, 40]))

    @pytest.mark.parametrize("of", [1, 2, 3, 5, 7])
    def test_every_job_is_in_one(self, of: int) -> None:
        parts = [plan.shard(self.JOBS, part, of) for part in range(1, of + 1)]
        assert sorted(job.name for part in parts for job in part) == ["j0", "j1", "j2", "j3", "j4"]

    def test_they_take_about_equally_long(self) -> None:
        sums = [sum(job.minutes for job in plan.shard(self.JOBS, part, 2)) for part in (1, 2)]
        assert sorted(sums) == [70, 80]

    @pytest.mark.parametrize("typed", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2"])
    def test_mistyped(self, typed: str) -> None:
        with pytest.raises(InvalidSpec, match="no part of the matrix"):
            command.show(Console(), shard=typed, job="", as_json=False)


class TestRun:
    JOBS = (
        Job("one", {"provider": "docker"}, (Group({"workers": 2}, ("a", "b")), Group({"workers": 1}, ("c",))), 9),
        Job("two", {"provider": "vagrant"}, (Group({}, ("a",)),), 9),
    )

    class Terminal:
        """What stands for the user's terminal: pytest that ends each drill as told."""

        def __init__(self, **ends: str) -> None:
            self.ends = ends
            self.setups: list[list[str]] = []
            self.runs: list[list[str]] = []

        def __call__(self, argv: Sequence[str]) -> Ending:
            if "pytest" not in argv:
                self.setups.append(list(argv)[4:])
                return Ending(int(self.ends.get("setup", "0")))
            names = [word.removeprefix("--drill=") for word in argv if word.startswith("--drill=")]
            self.runs.append(names)
            ended = next((self.ends[name] for name in names if self.ends.get(name, "").startswith("status ")), "0")
            status, interrupted = int(ended.split()[-1]), any(self.ends.get(name) == "ctrl-c" for name in names)
            cases = "".join(self.case(name) for name in names if not status and not interrupted)
            file = next(word.removeprefix("--junitxml=") for word in argv if word.startswith("--junitxml="))
            Path(file).write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
            return Ending(2 if interrupted else status, interrupted)

        def case(self, name: str) -> str:
            if self.ends.get(name) == "gone":
                return ""
            inside = KINDS.get(self.ends.get(name, ""), "")
            return f'<testcase name="{name}" time="12.5">{inside}</testcase>'

    def results(self, **ends: str) -> list[tuple[str, str, str, str]]:
        found = run.run(self.JOBS, lambda _: None, self.Terminal(**ends))
        return [(one.job, one.drill, one.outcome, one.reason) for one in found]

    def test_it_goes_on_after_a_failure(self) -> None:
        assert self.results(a="failed", b="inconclusive", c="skipped") == [
            ("one", "a", "failed", "it was bad"),
            ("one", "b", "inconclusive", "it was bad"),
            ("one", "c", "inconclusive", "it was bad"),
            ("two", "a", "failed", "it was bad"),
        ]

    def test_a_crash_is_a_failure(self) -> None:
        """Only a drill that says itself that it says nothing is inconclusive."""
        assert self.results(a="bug", b="error")[:2] == [
            ("one", "a", "failed", "IndexError: it was bad"),
            ("one", "b", "failed", "failed on setup with OSError"),
        ]

    def test_one_that_left_no_result_is_a_failure(self) -> None:
        assert self.results(b="gone")[1] == ("one", "b", "failed", "did not run: pytest ended with status 0")

    @pytest.mark.parametrize("status", [2, 3, 4, 5, -9, -11])
    def test_pytest_that_ends_without_results_is_a_failure_and_ends_nothing_else(self, status: int) -> None:
        """2: a file cannot be imported; 3: a crash; 4: a wrong flag; 5: no such drill; out of memory, SIGSEGV."""
        why = f"did not run: pytest ended with status {status}"
        assert self.results(c=f"status {status}") == [
            ("one", "a", "passed", ""), ("one", "b", "passed", ""), ("one", "c", "failed", why),
            ("two", "a", "passed", ""),
        ]  # fmt: skip

    def test_a_setup_that_fails_is_a_failure(self) -> None:
        """What is never tried is never red, else."""
        assert {outcome for _, _, outcome, _ in self.results(setup="1")} == {"failed"}

    @pytest.mark.parametrize("status", ["130", "143", "-2", "-15"])
    def test_a_setup_that_is_interrupted_ends_all(self, status: str) -> None:
        found = self.results(setup=status)
        assert {(outcome, why) for _, _, outcome, why in found} == {("inconclusive", "interrupted")}
        assert len(found) == 4

    def test_ctrl_c_ends_all(self) -> None:
        terminal = self.Terminal(c="ctrl-c")
        found = run.run(self.JOBS, lambda _: None, terminal)
        assert terminal.runs == [["a", "b"], ["c"]]
        assert [(one.drill, one.outcome, one.reason) for one in found] == [
            ("a", "passed", ""), ("b", "passed", ""),
            ("c", "inconclusive", "interrupted"), ("a", "inconclusive", "interrupted"),
        ]  # fmt: skip

    def test_one_that_is_told_to_end_ends_all(self) -> None:
        assert [outcome for _, _, outcome, _ in self.results(a="status -15")] == ["inconclusive"] * 4

    def test_each_provider_is_set_up(self) -> None:
        terminal = self.Terminal()
        run.run(self.JOBS, lambda _: None, terminal)
        assert terminal.setups == [[], ["--provider", "vagrant"]]

    @pytest.mark.parametrize(
        ("outcomes", "status"),
        [
            ([], 0), (["passed"], 0), (["passed", "inconclusive"], 3), (["inconclusive", "failed", "passed"], 1),
        ],
    )  # fmt: skip
    def test_exit_status(self, outcomes: list[Any], status: int) -> None:
        assert run.exit_status([Result("j", "d", outcome, 1) for outcome in outcomes]) == status

    def test_pytest_itself_understands_the_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Real pytest, a real drill file: no cluster fits 3 control planes within 1, and that is inconclusive."""
        (tmp_path / "scenarios").mkdir()
        (tmp_path / "scenarios" / "it.py").write_text(
            "from kubedrill.scenario import scenario\n\n@scenario(control_planes=3)\ndef it(lab):\n    '''It.'''\n"
        )
        monkeypatch.setattr(paths, "repository", lambda: tmp_path)
        job = Job("j", {}, (Group({"controlPlanes": 1, "proxyMode": "nftables"}, ("it", "gone")),), 1)

        def terminal(argv: Sequence[str]) -> Ending:
            return Ending(0 if "setup" in argv else run.shell.run(argv, check=False, timeout=60).status)

        it, gone = run.run([job], lambda _: None, terminal)
        assert it.outcome == "inconclusive"
        assert it.reason == "no cluster to run it on: it needs controlPlanes 3 or more"
        assert (gone.outcome, gone.reason) == ("failed", "did not run: pytest ended with status 3")
        # A file that cannot be imported: pytest ends as after Ctrl-C, but nobody has interrupted it.
        (tmp_path / "scenarios" / "other.py").write_text("import there_is_no_such_module\n")
        assert {(one.outcome, one.reason) for one in run.run([job], lambda _: None, terminal)} == {
            ("failed", "did not run: pytest ended with status 2")
        }

    def test_a_cluster_that_cannot_be_brought_up_is_a_failure(self, tmp_path: Path) -> None:
        broken = f"{NO_CLUSTER}: step 'kubeadm init' failed", f"{NOT_BUILT}: registry could not be built"
        for why, outcome in [*((why, "failed") for why in broken), ("cores busy", "inconclusive")]:
            error = f"<error>{DrillInconclusive.__doc__}\n{why}</error>"
            (tmp_path / "it.xml").write_text(f'<testsuite><testcase name="it" time="1">{error}</testcase></testsuite>')
            (found,) = run.read("j", ["it"], tmp_path / "it.xml", Ending(3))
            assert (found.outcome, found.reason) == (outcome, why)


class TestOurs:
    """matrix.toml itself, with the drills of scenarios/."""

    DRILLS = tuple(registry.drills(paths.repository() / "scenarios"))

    @pytest.fixture
    def plan(self) -> plan.Plan:
        return plan.plan(table.load(drills=[one.name for one in self.DRILLS]), self.DRILLS)

    def test_every_kubernetes_that_there_is(self) -> None:
        read = table.load(drills=[one.name for one in self.DRILLS])
        assert read.axes["kubernetes"] == versions.kubernetes_minors()

    def test_every_drill_runs_or_it_is_said_why_not(self, plan: plan.Plan) -> None:
        ran = {name for job in plan.jobs for name in job.drills}
        assert {one.name for one in self.DRILLS} == ran | {one.drill for one in plan.skipped}
        # On containers nothing is left out but what needs VMs, and what stops the engine.
        assert {one.name for one in self.DRILLS if one.needs.get("provider", "docker") == "docker"} - ran == {
            "cold-restart-engine"
        }

    def test_scale_begins_with_one_control_plane(self, plan: plan.Plan) -> None:
        on = {job.cell["controlPlanes"] for job in plan.jobs if "scale" in job.drills}
        assert on == {1}
        why = {one.why for one in plan.skipped if one.drill == "scale" and one.cell["controlPlanes"] == 3}
        assert any("workers alone" in one for one in why)
        # With three workers, too, it would have nothing to add.
        sizes = [group.settings["workers"] for job in plan.jobs for group in job.groups if "scale" in group.drills]
        assert max(sizes) < 3

    def test_each_job_fits_into_an_hour_and_can_be_made(self, plan: plan.Plan) -> None:
        assert plan.jobs
        drills = {one.name: one for one in self.DRILLS}
        for job in plan.jobs:
            assert job.minutes <= 60
            for group in job.groups:
                made = load(None, {"name": "x", **group.settings, "workers": group.settings["workers"]})
                assert all(not drills[name].within(group.settings).conflicts(job.cell) for name in group.drills)
                assert made.workers >= max(drills[name].needs["workers"] for name in group.drills)

    def test_the_drills_of_a_group_share_one_cluster(self, plan: plan.Plan) -> None:
        """That of whichever comes first: a second one would stay beside the first until the group ends."""
        drills = {one.name: one for one in self.DRILLS}
        groups = [group for job in plan.jobs for group in job.groups]
        for group in groups:
            words = settings.parse(settings.words(group.settings))
            within = [drills[name].within(words) for name in group.drills]
            for first in within:
                there = first.spec("x")
                assert there.hollow == max(drills[name].needs.get("hollow", 0) for name in group.drills)
                assert {one.name: one.misfits(there) for one in within} == {name: [] for name in group.drills}
        assert [group.drills for group in groups if "hollow" in group.settings].count(("many-nodes",)) >= 4

    def test_as_json(self, capsys: Capture, plan: plan.Plan) -> None:
        assert command.show(Console(), shard="", job="", as_json=True) == 0
        data = json.loads(capsys.readouterr().out)
        assert [one["name"] for one in data["jobs"]] == [job.name for job in plan.jobs]
        assert all(re.fullmatch(r"[-.a-z0-9]+", one["name"]) for one in data["jobs"])
        caches = {one["kubernetes"]: one["cache"] for one in data["builds"]}
        assert len(set(caches.values())) == len(versions.kubernetes_minors())
        assert [one["kubernetes"] for one in data["builds"] if one["newest"]] == [versions.newest_minor()]
        assert all(one["cache"] == caches[one["kubernetes"]] for one in data["jobs"])
        assert len(data["jobs"]) <= 256  # GitHub's limit of a matrix

    def test_who_runs_a_job_elsewhere_runs_what_was_planned(
        self, capsys: Capture, plan: plan.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command.show(Console(), shard="", job="", as_json=True)
        file = tmp_path / "matrix.json"
        file.write_text(capsys.readouterr().out)
        ran: list[Job] = []
        monkeypatch.setattr(run, "run", lambda jobs, _say: ran.extend(jobs) or [])
        # Planned anew it would be another: all drills are fast now.
        monkeypatch.setattr(command.sizes, "measured", lambda *_: lambda _drill, _cell: 0.1)
        for job in plan.jobs:
            command.run(Console(), shard="", job=job.name, plan=str(file))
        assert [(job.name, job.groups, job.minutes) for job in ran] == [
            (job.name, job.groups, job.minutes) for job in plan.jobs
        ]
        assert [run._provider(job) for job in ran] == [run._provider(job) for job in plan.jobs]
        command.run(Console(), shard="", job="")
        assert len(ran) < 2 * len(plan.jobs)

    @pytest.mark.parametrize(
        ("shard", "job", "text"), [("1000/1000", "", ""), ("2/2", "first", ""), ("", "", '{"schema": 1, "jobs": []}')]
    )
    def test_a_run_of_nothing_is_no_run_that_passed(
        self, plan: plan.Plan, tmp_path: Path, shard: str, job: str, text: str
    ) -> None:
        (tmp_path / "it").write_text(text)
        name, file = plan.jobs[0].name if job else "", str(tmp_path / "it") if text else ""
        with pytest.raises(InvalidSpec, match="nothing to run"):
            command.run(Console(), shard=shard, job=name, plan=file)

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"jobs": [{"name": "x"}]}', '{"schema": 99, "jobs": []}'])
    def test_what_is_no_plan(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "it").write_text(text)
        for file in (tmp_path / "it", tmp_path / "gone"):
            with pytest.raises(InvalidSpec, match="no plan"):
                command.run(Console(), shard="", job="", plan=str(file))

    def test_an_upgrade_has_its_target_built(self, capsys: Capture) -> None:
        command.show(Console(), shard="", job="", as_json=True)
        data = json.loads(capsys.readouterr().out)
        caches = {one["kubernetes"]: one["cache"] for one in data["builds"]}
        also = {one["name"]: (one["also"], one["also_cache"]) for one in data["jobs"]}
        upgrades = {one["name"] for one in data["jobs"] if "upgrade" in one["drills"].split()}
        assert upgrades
        assert {name for name, (minor, _) in also.items() if minor} == upgrades
        assert {also[name] for name in upgrades} == {("1.37", caches["1.37"])}

    def test_without_a_package_of_vagrant_there_are_no_vms(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command.vm_setup, "unavailable", lambda: "no package vagrant")
        command.show(Console(), shard="", job="", as_json=True)
        data = json.loads(capsys.readouterr().out)
        assert {one["provider"] for one in data["jobs"]} == {"docker"}
        assert {one["why"] for one in data["skipped"] if one["cluster"]["provider"] == "vagrant"} == {
            "no package vagrant"
        }

    def test_as_a_table(self, capsys: Capture) -> None:
        command.show(Console(), shard="", job="", as_json=False)
        printed = capsys.readouterr().out
        assert "needs controlPlanes 3 or more" in printed
        assert "hours one after another" in printed

    def test_one_job_and_one_that_there_is_not(self, capsys: Capture, plan: plan.Plan) -> None:
        command.show(Console(), shard="", job=plan.jobs[1].name, as_json=False)
        printed = capsys.readouterr().out
        assert plan.jobs[1].name in printed
        assert plan.jobs[0].name not in printed
        with pytest.raises(NotFound, match="did you mean"):
            command.show(Console(), shard="", job=plan.jobs[1].name + "x", as_json=False)

    def test_running_ends_with_a_table(self, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
        made = [Result("j", "hello", "passed", 12, ""), Result("j", "drain", "failed", 3, "why")]
        monkeypatch.setattr(run, "run", lambda jobs, say: made)
        assert command.run(Console(), shard="1/2", job="") == 1
        printed = capsys.readouterr().out
        assert re.search(r"j +drain +failed +3 s +why", printed)
        assert printed.rstrip().endswith("1 passed, 1 failed, 0 inconclusive")


class TestBuildKey:
    """What a cache of builds is called: it changes with what is built of it, and with nothing else."""

    @pytest.fixture
    def images(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("files", *(f"components/{one}" for one in ("etcd", "kubernetes-1.36", "kubernetes-1.37"))):
            (tmp_path / "images" / name).mkdir(parents=True)
            (tmp_path / "images" / name / "it").write_text(name)
        (tmp_path / "images" / "packages.txt").write_text("systemd")
        monkeypatch.setattr(paths, "repository", lambda: tmp_path)
        monkeypatch.setattr(versions, "repository", lambda: tmp_path)
        return tmp_path / "images"

    @pytest.mark.parametrize(
        ("changed", "changes"),
        [
            ("components/etcd/it", True), ("files/it", True), ("packages.txt", True),
            ("components/kubernetes-1.37/it", True), ("components/kubernetes-1.36/it", False),
        ],
    )  # fmt: skip
    def test_what_it_depends_on(self, images: Path, changed: str, changes: bool) -> None:
        before = command.build_key("1.37", "go1.26.8")
        assert command.build_key("1.37", "go1.26.8") == before
        assert command.build_key("1.37", "go1.26.9") != before
        (images / changed).write_text("new")
        assert (command.build_key("1.37", "go1.26.8") != before) is changes
