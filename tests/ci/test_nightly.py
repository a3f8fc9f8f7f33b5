"""What the nightly run promises and neither a schema nor actionlint knows: one word less, and it is silently green."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedrill import paths

GITHUB = paths.repository() / ".github"
WORKFLOWS = {name: yaml.safe_load((GITHUB / "workflows" / name).read_text()) for name in ("nightly.yml", "ci.yml")}
NIGHTLY = WORKFLOWS["nightly.yml"]["jobs"]
HISTORY = yaml.safe_load((GITHUB / "actions" / "history" / "action.yml").read_text())["runs"]["steps"]
# The steps that bring what a job measured out of it.
REPORTING = {"nightly.yml": ("drill", "Upload reports"), "ci.yml": ("clusters", "Upload reports and logs")}


def named(steps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A step by its name."""
    return next(step for step in steps if step.get("name") == name)


def using(steps: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    """Steps that use an action."""
    return [step for step in steps if step.get("uses", "").startswith(f"actions/{action}@")]


def each() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """All steps: of which workflow and job."""
    for file, workflow in WORKFLOWS.items():
        for name, job in workflow["jobs"].items():
            for step in job["steps"]:
                yield file, name, step


def position(steps: list[dict[str, Any]], name: str) -> int:
    """Where a step is."""
    return steps.index(named(steps, name))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where kubedrill keeps its state in a job, as paths.py says."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    within = paths.state().relative_to(tmp_path).as_posix()
    (base,) = {workflow["env"]["XDG_STATE_HOME"] for workflow in WORKFLOWS.values()}
    return f"{base}/{within}"


class TestWhatFailedIsSeen:
    @pytest.mark.parametrize("file", REPORTING)
    def test_reports_leave_a_job_that_failed(self, file: str) -> None:
        """Those of failed drills are the ones that matter: on success() alone, none of them would be uploaded."""
        job, upload = REPORTING[file]
        steps = WORKFLOWS[file]["jobs"][job]["steps"]
        assert named(steps, "Let reports be read")["if"] == "always()"
        assert named(steps, upload)["if"] == "always()"
        assert position(steps, "Let reports be read") < position(steps, upload)

    def test_a_failed_drill_takes_neither_the_page_nor_its_publication(self) -> None:
        """Without always() a job is skipped where any job before it failed, and so the page of a bad night."""
        assert NIGHTLY["page"]["if"] == "always() && needs.plan.result == 'success'"
        assert NIGHTLY["publish"]["if"].startswith("always() && needs.page.result == 'success' && ")
        assert "needs.drill" not in NIGHTLY["page"]["if"]

    def test_nothing_is_green_that_failed(self) -> None:
        """With continue-on-error a failed drill is a passed job: every night would be green."""
        for file, name, step in each():
            assert "continue-on-error" not in step, f"{file}: {name}: {step.get('name')}"
        for workflow in WORKFLOWS.values():
            for job in workflow["jobs"].values():
                assert "continue-on-error" not in job

    def test_drills_run_unless_something_before_them_failed(self) -> None:
        """With a condition of its own the step could be skipped, and a job without a drill passes."""
        assert "if" not in named(NIGHTLY["drill"]["steps"], "Run drills")

    def test_what_pipes_does_so_with_pipefail(self) -> None:
        """GitHub runs a step with `bash -e`, and with pipefail only where it says `shell: bash`."""
        piping = [
            (file, name, step) for file, name, step in each() if re.search(r"[^|]\|[^|]", shell_of(step.get("run", "")))
        ]
        assert {step["name"] for _, _, step in piping} == {"Run drills", "Make one page of them"}
        for file, name, step in piping:
            assert step.get("shell") == "bash", f"{file}: {name}: {step['name']}"


def shell_of(script: str) -> str:
    """A script without comments and what is quoted by single quotes: programs of jq and sed."""
    return re.sub(r"'[^']*'", "", re.sub(r"^\s*#.*$", "", script, flags=re.MULTILINE))


class TestReports:
    """From the jobs to the page: each end must name what the other does."""

    @pytest.mark.parametrize("file", REPORTING)
    def test_what_is_uploaded_is_the_state(self, file: str, state: str) -> None:
        """Of a wrong folder nothing is uploaded, and `if-no-files-found: ignore` says nothing of it."""
        job, upload = REPORTING[file]
        given = named(WORKFLOWS[file]["jobs"][job]["steps"], upload)["with"]
        assert given["path"] == f"{state}/"

    @pytest.mark.parametrize("file", REPORTING)
    def test_a_job_that_is_run_again_takes_the_place_of_its_first_attempt(self, file: str) -> None:
        """Artifacts are of a run, not of an attempt: without `overwrite` the second upload ends in a 409."""
        uploads = [step["with"] for of, _, step in each() if of == file and using([step], "upload-artifact")]
        assert any(given["name"].startswith("state-") for given in uploads)
        for given in uploads:
            assert given["overwrite"] is True, given["name"]

    def test_the_page_takes_what_jobs_upload(self) -> None:
        """By the pattern of their names, into the folder that its script goes through."""
        upload = named(NIGHTLY["drill"]["steps"], "Upload reports")["with"]
        take = named(NIGHTLY["page"]["steps"], "Take all reports")["with"]
        prefix = take["pattern"].removesuffix("*")
        assert upload["name"] == prefix + "${{ matrix.name }}"
        gather = named(NIGHTLY["page"]["steps"], "Gather them")["run"]
        assert f"for state in {take['path']}/{prefix}*; do" in gather
        # One artifact alone would be unpacked without a folder of its own if it were asked for by name.
        assert "name" not in take
        assert "merge-multiple" not in take

    def test_what_is_published_is_the_folder_of_pages(self, state: str) -> None:
        (publish,) = using(NIGHTLY["page"]["steps"], "upload-pages-artifact")
        assert publish["with"]["path"] == f"{state}/runs"


class TestCaches:
    def test_drills_take_what_was_built(self) -> None:
        """By the very key under which it was kept: any other is missed, and each job builds for an hour or fails."""
        (kept,) = using(NIGHTLY["build"]["steps"], "cache/save")
        taken = named(NIGHTLY["drill"]["steps"], "Take what was built")["with"]
        assert taken == {**kept["with"], "fail-on-cache-miss": True}

    def test_an_upgrade_takes_the_other_version_by_its_key(self) -> None:
        (kept,) = using(NIGHTLY["build"]["steps"], "cache/save")
        key = (
            kept["with"]["key"].replace("matrix.kubernetes", "matrix.also").replace("matrix.cache", "matrix.also_cache")
        )
        step = named(NIGHTLY["drill"]["steps"], "Take what an upgrade goes to")
        assert step["with"] == {"path": kept["with"]["path"], "key": key, "fail-on-cache-miss": True}
        assert step["if"] == "matrix.also != ''"

    @pytest.mark.parametrize(("file", "job"), [("nightly.yml", "build"), ("ci.yml", "clusters")])
    def test_what_is_kept_is_found_the_next_time(self, file: str, job: str) -> None:
        """Under another key each run would build anew; what is close enough is found by its beginning."""
        steps = WORKFLOWS[file]["jobs"][job]["steps"]
        (kept,), (taken,) = using(steps, "cache/save"), using(steps, "cache/restore")
        further = taken["with"]["restore-keys"]
        assert taken["with"] == {**kept["with"], "restore-keys": further}
        assert kept["with"]["key"].startswith(further)
        assert kept["if"] == f"steps.{taken['id']}.outputs.cache-hit != 'true'"

    def test_it_is_the_folder_that_is_built_into(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        within = paths.cache().relative_to(tmp_path).as_posix()
        for file, _, step in each():
            if "builds-" in step.get("with", {}).get("key", ""):
                assert step["with"]["path"] == f"{WORKFLOWS[file]['env']['XDG_CACHE_HOME']}/{within}"


class TestHistory:
    def test_it_is_kept_whatever_becomes_of_the_page(self, state: str) -> None:
        """If no run left a report there is no page; what bring-ups measured is kept before that fails."""
        steps = NIGHTLY["page"]["steps"]
        gathered, made = position(steps, "Gather them"), position(steps, "Make one page of them")
        for name in ("Keep the history", "Keep the history for people, too"):
            assert gathered < position(steps, name) < made
            assert named(steps, name)["with"]["path"] == f"{state}/history.jsonl"
        assert "invoke" not in named(steps, "Gather them")["run"], "what can end in an error comes later"

    def test_a_later_night_finds_it(self) -> None:
        """By the beginning of its key, which no other night has whole."""
        kept = named(NIGHTLY["page"]["steps"], "Keep the history")["with"]
        (taken,) = using(HISTORY, "cache/restore")
        assert taken["with"]["path"] == kept["path"]
        assert kept["key"].startswith(taken["with"]["restore-keys"])
        assert "github.run_id" in kept["key"]
        assert "github.run_attempt" in kept["key"], "a key that is there already is not saved again"
