"""The nightly matrix: what is read, what runs where and why not, jobs of an hour, and how they are run."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedrill import paths, versions
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, NotFound
from kubedrill.matrix import command, plan, run, table
from kubedrill.matrix.plan import Group, Job
from kubedrill.matrix.run import INTERRUPTED, Result
from kubedrill.scenario import Scenario, registry, settings
from kubedrill.spec import load

Capture = pytest.CaptureFixture[str]

AXES = '[axes]\nkubernetes = ["1.37"]\nprovider = ["docker"]\ncontrolPlanes = [1, 3]\n'
MINUTES = "[minutes]\njob = 60\nsetup = 5\ndrill = 10\nup = { 1 = 1, 3 = 2 }\n"


@pytest.fixture(autouse=True)
def no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was run on this machine sizes no job of these tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def drill(name: str, **needs: Any) -> Scenario:
    return Scenario(name, "", "", lambda lab: None, {"controlPlanes": 1, "workers": 2, **needs})


def planned(drills: Sequence[Scenario], more: str = "", **arguments: Any) -> plan.Plan:
    return plan.plan(table.load(AXES + MINUTES + more, drills=[one.name for one in drills]), drills, **arguments)


class TestTable:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[axes", "at end of document"),
            (AXES, "minutes: Field required"),
            (AXES + MINUTES + 'colour = "red"', "minutes.colour: Extra inputs"),
            (AXES + MINUTES + '[[except]]\nwhere = { provder = "x" }\nwhy = "so it is now"', "did you mean 'provider'"),
            (AXES + MINUTES + '[[except]]\nwhere = { controlPlanes = 5 }\nwhy = "so it is now"', "is never 5: 1, 3"),
            (AXES + MINUTES + '[[except]]\ndrills = ["helo"]\nwhy = "so it is now"', "did you mean 'hello'"),
            (AXES + MINUTES + '[[except]]\ndrills = ["hello"]\nwhy = ""', "at least 10 characters"),
            (AXES + MINUTES + "[minutes.drills]\nhelo = 1", "minutes.drills: there is no drill 'helo'"),
            (AXES + MINUTES + '[[slower]]\nwhere = { provider = "vagrant" }\ntimes = 2', "slower: provider is never"),
            (AXES.replace("[1, 3]", "[1, 5]") + MINUTES, "how long do 5 control planes take"),
        ],
    )
    def test_what_is_wrong_with_it(self, text: str, said: str) -> None:
        with pytest.raises(InvalidSpec) as refused:
            table.load(text, drills=["hello", "drain"])
        assert said in "\n".join(refused.value.evidence)

    def test_all_of_it_at_once(self) -> None:
        with pytest.raises(InvalidSpec) as refused:
            table.load(AXES + MINUTES + "[minutes.drills]\na = 1\nb = 1", drills=["hello"])
        assert len(refused.value.evidence) == 2


class TestPlan:
    def test_each_drill_on_each_cluster_that_it_can_run_on(self) -> None:
        made = planned([drill("small"), drill("large", controlPlanes=3)])
        assert [(job.name, job.drills) for job in made.jobs] == [
            ("1.37-docker-1-1", ("small",)), ("1.37-docker-3-1", ("large", "small")),
        ]  # fmt: skip
        (left_out,) = made.skipped
        assert (left_out.drill, left_out.cell["controlPlanes"], left_out.why) == (
            "large", 1, "needs controlPlanes 3 or more",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("needs", "why"),
        [
            ({"provider": "vagrant"}, "needs provider vagrant"),
            ({"workers": 200}, "no such cluster can be made: workers: 200 workers"),
        ],
    )
    def test_why_one_cannot_run(self, needs: dict[str, Any], why: str) -> None:
        made = planned([drill("it", **needs)])
        assert not made.jobs
        assert all(one.why.startswith(why) for one in made.skipped)
        assert len(made.skipped) == 2

    def test_exceptions(self) -> None:
        axes = AXES.replace('["docker"]', '["docker", "vagrant"]')
        text = f"""{axes}{MINUTES}
[[except]]
where = {{ provider = "vagrant" }}
spare = ["hello"]
spare-needed = true
why = "VMs are slow"
[[except]]
drills = ["hello"]
where = {{ controlPlanes = 3 }}
why = "said elsewhere"
"""
        drills = [drill("hello"), drill("other"), drill("cut", provider="vagrant")]
        read = table.load(text, drills=["hello", "other", "cut"])
        reasons = {
            (one.drill, one.cell["provider"], one.cell["controlPlanes"]): one.why
            for one in plan.plan(read, drills).skipped
        }
        assert reasons["other", "vagrant", 1] == "VMs are slow"
        assert reasons["hello", "docker", 3] == reasons["hello", "vagrant", 3] == "said elsewhere"
        assert reasons["cut", "docker", 1] == "needs provider vagrant"
        assert ("hello", "docker", 1) not in reasons
        # A spared drill still needs a cluster that can be made, whatever providers this kubedrill knows.
        for spared in ("hello", "cut"):
            assert reasons.get((spared, "vagrant", 1), "no such cluster").startswith("no such cluster")

    def test_jobs_are_not_longer_than_asked(self) -> None:
        made = planned([drill(f"d{number}") for number in range(12)])
        assert all(job.minutes <= 60 for job in made.jobs)
        assert [len(job.drills) for job in made.jobs] == [5, 5, 2, 5, 5, 2]
        assert [job.minutes for job in made.jobs][:3] == [56, 56, 26]
        for count in (1, 3):
            names = [name for job in made.jobs if job.cell["controlPlanes"] == count for name in job.drills]
            assert Counter(names) == Counter(f"d{number}" for number in range(12))
        assert len({job.name for job in made.jobs}) == 6

    def test_one_that_is_longer_than_a_job(self) -> None:
        made = planned([drill("long")], "[minutes.drills]\nlong = 55")
        assert not made.jobs
        assert made.skipped[0].why == "takes 61 minutes with its cluster, and a job has 60"

    def test_drills_that_need_another_cluster_pay_for_it(self) -> None:
        tuned = {"controllerManager": {"v": "4"}}
        (job, _) = planned([drill("a"), drill("b", workers=3), drill("c", extraArgs=tuned)]).jobs
        assert job.minutes == 5 + 3 * 10 + 2 * 1
        assert {group.drills: group.settings["workers"] for group in job.groups} == {("a", "b"): 3, ("c",): 2}

    def test_what_was_measured_counts_before_estimates(self) -> None:
        asked = []

        def measured(name: str, cell: table.Cell) -> float | None:
            asked.append((name, cell["controlPlanes"]))
            return 3 if cell["controlPlanes"] == 1 else None

        jobs = planned([drill("a")], measured=measured).jobs
        assert [job.minutes for job in jobs] == [5 + 1 + 3, 5 + 2 + 10]
        assert asked == [("a", 1), ("a", 3)]

    def test_margin_and_slower_places(self) -> None:
        text = AXES + MINUTES.replace("setup = 5", "margin = 1.5\nsetup = 5")
        read = table.load(text + "[[slower]]\nwhere = { controlPlanes = 3 }\ntimes = 2", drills=["a"])
        jobs = plan.plan(read, [drill("a")]).jobs
        assert [job.minutes for job in jobs] == [(5 + 1 + 10) * 1.5, 5 * 1.5 + (2 + 10) * 3]


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

        def __call__(self, argv: Sequence[str]) -> int:
            if "pytest" not in argv:
                self.setups.append(list(argv)[4:])
                return int(self.ends.get("setup", "0"))
            names = [word.removeprefix("--drill=") for word in argv if word.startswith("--drill=")]
            self.runs.append(names)
            cases = "".join(self.case(name) for name in names if self.ends.get(name) != "crash")
            file = next(word.removeprefix("--junitxml=") for word in argv if word.startswith("--junitxml="))
            if any(self.ends.get(name) == "interrupt" for name in names):
                return INTERRUPTED
            Path(file).write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
            return 0

        def case(self, name: str) -> str:
            tag = self.ends.get(name, "")
            inside = f"<{tag}>The drill ran.\nit was bad\n</{tag}>" if tag else ""
            return f'<testcase name="{name}" time="12.5">{inside}</testcase>'

    def results(self, **ends: str) -> list[tuple[str, str, str, str]]:
        found = run.run(self.JOBS, lambda _: None, self.Terminal(**ends))
        return [(one.job, one.drill, one.outcome, one.reason) for one in found]

    def test_it_goes_on_after_a_failure(self) -> None:
        assert self.results(a="failure", b="error", c="skipped") == [
            ("one", "a", "failed", "it was bad"),
            ("one", "b", "inconclusive", "it was bad"),
            ("one", "c", "inconclusive", "it was bad"),
            ("two", "a", "failed", "it was bad"),
        ]

    def test_one_that_left_no_result_is_no_pass(self) -> None:
        assert self.results(b="crash")[1] == ("one", "b", "inconclusive", "did not run: pytest ended with status 0")

    def test_a_setup_that_fails(self) -> None:
        assert {outcome for _, _, outcome, _ in self.results(setup="1")} == {"inconclusive"}

    def test_ctrl_c_ends_all(self) -> None:
        terminal = self.Terminal(c="interrupt")
        found = run.run(self.JOBS, lambda _: None, terminal)
        assert terminal.runs == [["a", "b"], ["c"]]
        assert [(one.drill, one.outcome) for one in found] == [
            ("a", "passed"), ("b", "passed"), ("c", "inconclusive"), ("a", "inconclusive"),
        ]  # fmt: skip

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

        def terminal(argv: Sequence[str]) -> int:
            return 0 if "setup" in argv else run.shell.run(argv, check=False, timeout=60).status

        it, gone = run.run([job], lambda _: None, terminal)
        assert it.outcome == "inconclusive"
        assert it.reason == "no cluster to run it on: it needs controlPlanes 3 or more"
        assert gone.reason == "did not run: pytest ended with status 3"


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

    def test_each_job_fits_into_an_hour_and_can_be_made(self, plan: plan.Plan) -> None:
        assert plan.jobs
        drills = {one.name: one for one in self.DRILLS}
        for job in plan.jobs:
            assert job.minutes <= 60
            for group in job.groups:
                made = load(None, {"name": "x", **group.settings, "workers": group.settings["workers"]})
                assert all(not drills[name].within(group.settings).conflicts(job.cell) for name in group.drills)
                assert made.workers >= max(drills[name].needs["workers"] for name in group.drills)

    def test_as_json(self, capsys: Capture, plan: plan.Plan) -> None:
        assert command.show(Console(), shard="", job="", as_json=True) == 0
        data = json.loads(capsys.readouterr().out)
        assert [one["name"] for one in data["jobs"]] == [job.name for job in plan.jobs]
        assert all(re.fullmatch(r"[-.a-z0-9]+", one["name"]) for one in data["jobs"])
        caches = {one["kubernetes"]: one["cache"] for one in data["builds"]}
        assert len(set(caches.values())) == len(versions.kubernetes_minors())
        assert all(one["cache"] == caches[one["kubernetes"]] for one in data["jobs"])
        assert len(data["jobs"]) <= 256  # GitHub's limit of a matrix

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


class TestSettings:
    def test_words_and_back(self) -> None:
        found = {"controlPlanes": 3, "kubernetes": "1.36", "proxyMode": "nftables"}
        assert settings.parse(settings.words(found)) == found

    @pytest.mark.parametrize(
        ("word", "said"),
        [("workers", "write KEY=VALUE"), ("proxymode=x", "did you mean 'proxyMode'"), ("name=x", "unknown")],
    )
    def test_wrong_ones(self, word: str, said: str) -> None:
        with pytest.raises(InvalidSpec) as refused:
            settings.parse(["kubernetes=1.36", word])
        assert said in refused.value.evidence[0]


class TestWithin:
    """A drill on clusters of some settings."""

    def test_it_needs_both(self) -> None:
        tuned = {"etcd": {"a": "b"}}
        made = drill("it", extraArgs=tuned).within({"kubernetes": "1.36", "controlPlanes": 3, "workers": 1})
        assert made.needs == {"kubernetes": "1.36", "controlPlanes": 3, "workers": 2, "extraArgs": tuned}
        assert made.spec("x").kubernetes == "1.36"
        assert drill("it").within({}).needs == drill("it").needs

    def test_clusters_of_other_settings_do_not_fit_it(self) -> None:
        made = drill("it").within({"proxyMode": "nftables"})
        assert made.misfits(load(None, {"name": "x"})) == ["proxyMode: iptables, needed nftables"]
        assert not made.misfits(load(None, {"name": "x", "proxyMode": "nftables"}))

    @pytest.mark.parametrize(
        ("needs", "given", "why"),
        [
            ({"controlPlanes": 3}, {"controlPlanes": 1}, ["needs controlPlanes 3 or more"]),
            ({"controlPlanes": 1}, {"controlPlanes": 3}, []),
            ({"proxyMode": "nftables"}, {"proxyMode": "iptables"}, ["needs proxyMode nftables"]),
            ({"proxyMode": "nftables"}, {"proxyMode": "nftables"}, []),
            ({}, {"proxyMode": "nftables"}, []),
        ],
    )
    def test_conflicts(self, needs: dict[str, Any], given: dict[str, Any], why: list[str]) -> None:
        assert drill("it", **needs).conflicts(given) == why
