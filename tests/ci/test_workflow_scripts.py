"""The scripts of workflows and actions that decide something, run here with stand-ins for what only CI has."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_demo
import yaml

from kubedrill import history, paths, shell
from kubedrill.shell import Result
from kubedrill.trends import records
from kubedrill.trends.records import Record

GITHUB = paths.repository() / ".github"
NIGHTLY, CI = (yaml.safe_load((GITHUB / "workflows" / name).read_text()) for name in ("nightly.yml", "ci.yml"))
HISTORY = yaml.safe_load((GITHUB / "actions" / "history" / "action.yml").read_text())


def script(steps: Sequence[Any], step: str) -> str:
    """What a step runs."""
    return str(next(one["run"] for one in steps if one.get("name") == step))


def as_github_does(steps: Sequence[Any], step: str) -> list[str]:
    """How GitHub runs a step whose shell is bash."""
    return ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script(steps, step)]


def stand_in(file: Path, text: str) -> None:
    """Make a program of a shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def bring_up(day: int) -> Record:
    """A line of the history."""
    return Record(
        f"2026-11-2{day}", "bring-up", "v1.37.2", "1+2 docker iptables", "4 cores, 16 GiB", "passed", {"took": 9.0}
    )


class TestRunDrills:
    """Failed fails the job, inconclusive is a warning, and the table is in the summary whatever happened."""

    def run(self, folder: Path, status: int) -> Result:
        table = "job      drill   verdict\\n1.37-x  hello   whatever"
        stand_in(folder / ".ci" / "as-root", f'echo "$@" >called\nprintf "noise\\n{table}\\n"\nexit {status}')
        environment = {
            "JOB": "1.37-x", "RUNNER_TEMP": str(folder), "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        }  # fmt: skip
        command = as_github_does(NIGHTLY["jobs"]["drill"]["steps"], "Run drills")
        return shell.run(command, env=environment, cwd=folder, check=False)

    @pytest.mark.parametrize(("status", "becomes"), [(0, 0), (1, 1), (3, 0), (143, 143)])
    def test_the_status(self, tmp_path: Path, status: int, becomes: int) -> None:
        result = self.run(tmp_path, status)
        assert result.status == becomes
        assert ("::warning title=Inconclusive::1.37-x" in result.stdout) is (status == 3)
        called = (tmp_path / "called").read_text().partition("invoke ")[2]
        assert called == f"matrix --run --plan {tmp_path}/plan/matrix.json --job 1.37-x\n"
        summary = (tmp_path / "summary").read_text()
        assert "1.37-x  hello   whatever" in summary
        assert "noise" not in summary


@pytest.mark.parametrize(("status", "becomes"), [(0, 0), (1, 1), (3, 0), (130, 130)])
def test_the_first_drill_of_a_change(tmp_path: Path, status: int, becomes: int) -> None:
    stand_in(tmp_path / ".ci" / "as-root", f'echo "$@" >called\nexit {status}')
    command = ["bash", "-e", "-c", script(CI["jobs"]["clusters"]["steps"], "First drill")]
    result = shell.run(command, env={"KUBERNETES": "1.36"}, cwd=tmp_path, check=False)
    assert result.status == becomes
    assert ("::warning title=Inconclusive::hello on Kubernetes 1.36" in result.stdout) is (status == 3)
    called = (tmp_path / "called").read_text()
    assert called == ".venv/bin/invoke scenario --setting kubernetes=1.36 --drill hello\n"


class TestHistory:
    """The cache, else what was published; where neither has it that is a warning, and nothing stops."""

    def run(self, folder: Path, curl: str) -> tuple[Result, Path]:
        stand_in(folder / "bin" / "curl", f'echo "$@" >"{folder}/called"\n{curl}')
        environment = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}", "XDG_STATE_HOME": str(folder / "state"),
            "GITHUB_REPOSITORY": "someone/kubedrill",
        }  # fmt: skip
        command = as_github_does(HISTORY["runs"]["steps"], "From the page")
        result = shell.run(command, env=environment, cwd=folder, check=False)
        assert result.status == 0, result.output
        return result, folder / "state" / "kubedrill" / "history.jsonl"

    def test_that_of_the_cache_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "state" / "kubedrill").mkdir(parents=True)
        (tmp_path / "state" / "kubedrill" / "history.jsonl").write_text("cached\n")
        _, file = self.run(tmp_path, "exit 1")
        assert file.read_text() == "cached\n"
        assert not (tmp_path / "called").exists()

    def test_that_of_the_page(self, tmp_path: Path) -> None:
        result, file = self.run(tmp_path, 'while [ "$1" != --output ]; do shift; done; echo published >"$2"')
        assert file.read_text() == "published\n"
        assert (tmp_path / "called").read_text().endswith(" https://someone.github.io/kubedrill/history.jsonl\n")
        assert "::warning" not in result.stdout

    def test_none(self, tmp_path: Path) -> None:
        result, file = self.run(tmp_path, 'while [ "$1" != --output ]; do shift; done; echo cut >"$2"; exit 22')
        assert "::warning title=No history::" in result.stdout
        assert list(file.parent.iterdir()) == []

    def test_whoever_needs_it_takes_it_so_and_it_is_kept_thrice(self) -> None:
        takers = {
            name for name, job in NIGHTLY["jobs"].items()
            if any(one.get("uses") == "./.github/actions/history" for one in job["steps"])
        }  # fmt: skip
        assert takers == {"plan", "page"}
        kept = [
            one["with"]["path"] for one in NIGHTLY["jobs"]["page"]["steps"] if "with" in one and "path" in one["with"]
        ]
        assert kept.count("/opt/kubedrill/state/kubedrill/history.jsonl") == 2  # cache and artifact; the page: above


class TestPage:
    def run(self, folder: Path) -> Result:
        """Both steps, the first as GitHub runs what names no shell."""
        assert self.gathered(folder).status == 0
        return self.step(folder, as_github_does(NIGHTLY["jobs"]["page"]["steps"], "Make one page of them"))

    def gathered(self, folder: Path) -> Result:
        return self.step(folder, ["bash", "-e", "-c", script(NIGHTLY["jobs"]["page"]["steps"], "Gather them")])

    def step(self, folder: Path, command: Sequence[str]) -> Result:
        *shell_of_it, text = command
        text = text.replace("/opt/kubedrill/artifacts", str(folder / "artifacts"))
        text = text.replace(".venv/bin/invoke", f"{sys.executable} -m invoke")
        environment = {
            "XDG_STATE_HOME": str(folder / "state"), "GITHUB_STEP_SUMMARY": str(folder / "summary"), "BROWSER": "true",
        }  # fmt: skip
        command = [*shell_of_it, text]
        return shell.run(command, env=environment, cwd=paths.repository(), check=False, timeout=120)

    def test_without_any_report_the_history_is_gathered_and_no_page_is_made(self, tmp_path: Path) -> None:
        """Bring-ups alone: what they measured is kept by the steps in between (test_nightly.py)."""
        for number, job in enumerate(["1.36-docker", "1.37-docker"]):
            (tmp_path / "artifacts" / f"state-{job}").mkdir(parents=True)
            records.append(bring_up(number), tmp_path / "artifacts" / f"state-{job}" / "history.jsonl")
        result = self.run(tmp_path)
        assert result.status == 1
        assert "there is no report" in result.output
        assert len(records.read(tmp_path / "state" / "kubedrill" / "history.jsonl")) == 2

    def test_a_line_that_was_cut_off_takes_no_other_with_it(self, tmp_path: Path) -> None:
        for number, job in enumerate(["1.36-docker", "1.37-docker"]):
            lines = tmp_path / "artifacts" / f"state-{job}" / "history.jsonl"
            lines.parent.mkdir(parents=True)
            records.append(bring_up(number), lines)
            lines.write_text(lines.read_text() + '{"schema": 1, "at": ')
        assert self.gathered(tmp_path).status == 0
        assert records.kept(tmp_path / "state" / "kubedrill" / "history.jsonl") == ((bring_up(0), bring_up(1)), 2)

    def test_an_error_of_trends_is_one_of_the_step(self, tmp_path: Path) -> None:
        """It is piped through tee, whose status alone would count."""
        run = tmp_path / "artifacts" / "state-1.37-docker" / "runs" / "20261126-021700-hello"
        run.mkdir(parents=True)
        history.save(report_demo.failover()[0], run)
        (run / "index.html").write_text("the page")
        (run.parents[1] / "history.jsonl").write_text("{\n")
        result = self.run(tmp_path)
        assert result.status == 1
        assert "nothing that is recorded can be read" in result.output

    def test_runs_of_two_jobs_that_began_in_the_same_second(self, tmp_path: Path) -> None:
        (tmp_path / "state" / "kubedrill").mkdir(parents=True)
        record = Record("", "hello", "v1.37.2", "1+2 docker iptables", "4 cores, 16 GiB", "passed", {"took": 9.0})
        for number in range(10):
            records.append(
                replace(record, at=f"2026-11-{number + 1:02}"), tmp_path / "state" / "kubedrill" / "history.jsonl"
            )
        for number, job in enumerate(["1.36-docker", "1.37-docker"]):
            run = tmp_path / "artifacts" / f"state-{job}" / "runs" / "20261126-021700-hello"
            (run / "samples").mkdir(parents=True)
            (run / "samples" / "dns.jsonl").touch()
            (run / "index.html").write_text("the page")
            history.save(replace(report_demo.failover()[0], drill=f"of-{job}"), run)
            lines = tmp_path / "artifacts" / f"state-{job}" / "history.jsonl"
            records.append(replace(record, at=f"2026-11-2{number}", figures={"took": 9.0 + 11 * number}), lines)
        (tmp_path / "artifacts" / "state-cut-off").mkdir()
        result = self.run(tmp_path)
        assert result.status == 0, result.output
        runs = tmp_path / "state" / "kubedrill" / "runs"
        index = (runs / "index.html").read_text()
        for job in ("1.36-docker", "1.37-docker"):
            assert f"of-{job}" in index
            assert f'href="{job}/20261126-021700-hello/index.html"' in index
        assert 'href="trends.html"' in index
        assert "slower than 9.0 s" in (tmp_path / "summary").read_text()
        assert len(records.read(tmp_path / "state" / "kubedrill" / "history.jsonl")) == 12
        assert len(records.read(runs / "history.jsonl")) == 12, "it is published with the page"
        assert not list(runs.rglob("samples"))
        assert len(list(runs.rglob("report.json"))) == 2
