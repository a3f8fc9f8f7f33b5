"""The scripts of nightly.yml that decide something, run here with stand-ins for what only CI has."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import report_demo
import yaml

from kubedrill import history, paths, shell
from kubedrill.shell import Result
from kubedrill.trends import records
from kubedrill.trends.records import Record

NIGHTLY = yaml.safe_load((paths.repository() / ".github" / "workflows" / "nightly.yml").read_text())


def script(job: str, step: str) -> str:
    """What a step runs."""
    return str(next(one["run"] for one in NIGHTLY["jobs"][job]["steps"] if one.get("name") == step))


class TestRunDrills:
    """Failed fails the job, inconclusive is a warning, and the table is in the summary whatever happened."""

    def run(self, folder: Path, status: int) -> Result:
        tool = folder / ".ci" / "as-root"
        tool.parent.mkdir()
        table = "job      drill   verdict\\n1.37-x  hello   whatever"
        tool.write_text(f'#!/bin/sh\necho "$@" >called\nprintf "noise\\n{table}\\n"\nexit {status}\n')
        tool.chmod(0o755)
        environment = {
            "JOB": "1.37-x", "RUNNER_TEMP": str(folder), "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        }  # fmt: skip
        # How GitHub runs a step whose shell is bash.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script("drill", "Run drills")]
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


class TestPage:
    def run(self, folder: Path) -> Result:
        text = script("page", "Make one page of them").replace("/opt/kubedrill/artifacts", str(folder / "artifacts"))
        text = text.replace(".venv/bin/invoke", f"{sys.executable} -m invoke")
        environment = {
            "XDG_STATE_HOME": str(folder / "state"), "GITHUB_STEP_SUMMARY": str(folder / "summary"), "BROWSER": "true",
        }  # fmt: skip
        command = ["bash", "-e", "-c", text]
        return shell.run(command, env=environment, cwd=paths.repository(), check=False, timeout=120)

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
        assert not list(runs.rglob("samples"))
        assert len(list(runs.rglob("report.json"))) == 2
