"""The workflows of CI: schema, actionlint (with a Go toolchain, built once), and what neither of them knows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from kubedrill import gotoolchain, paths, program, shell
from kubedrill.images import components
from kubedrill.images.components import Component

ROOT = paths.repository()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
# What a job may ask for. Whoever needs more says so here, and why.
PERMISSIONS = {"contents": {"read"}, "pages": {"write"}, "id-token": {"write"}}  # the latter two publish the page


@pytest.fixture(scope="session")
def actionlint() -> Path:
    """The program, built from its Go module as its go.sum says, into the cache of builds."""
    folder = Path(__file__).parent / "actionlint"
    tool = Component("actionlint", folder, ("github.com/rhysd/actionlint/cmd/actionlint",), "", "", (), False, ())
    target = paths.cache() / "tools" / f"actionlint-{components.key(tool, components.go_version())}"
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not (target / "actionlint").exists():
            argv, env = gotoolchain.go_command()
            shell.run(tool.command(argv, target), cwd=folder, env={**env, "CGO_ENABLED": "0"}, timeout=600)
    return target / "actionlint"


def test_there_are_workflows() -> None:
    assert [file.name for file in WORKFLOWS] == ["ci.yml", "nightly.yml"]


def test_actionlint(actionlint: Path) -> None:
    result = shell.run([str(actionlint), "-no-color", *map(str, WORKFLOWS)], cwd=ROOT, check=False)
    assert result.status == 0, result.output


def test_actionlint_finds_what_is_wrong(actionlint: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(WORKFLOWS[1].read_text().replace("needs.plan.outputs.jobs", "needs.plan.outputs.jbos"))
    assert '"jbos" is not defined' in shell.run([str(actionlint), "-no-color", str(file)], check=False).output


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-actions", ACTIONS),
    ],
)
def test_schema(schema: str, files: list[Path]) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    result = shell.run([*check, *map(str, files)], check=False)
    assert result.status == 0, result.output


def test_the_schema_finds_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yml"
    file.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "runs-under:"))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    assert shell.run(check, check=False).status == 1


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: file.parent.name + "-" + file.name)
class TestEach:
    def test_actions_are_pinned_by_digest_and_say_their_version(self, file: Path) -> None:
        used = [line.strip() for line in file.read_text().splitlines() if "uses:" in line]
        assert used
        pinned = r"(- )?uses: (\./\S+|[-\w]+/[-\w/]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)"
        assert [line for line in used if not re.fullmatch(pinned, line)] == []

    def test_scripts_are_shell(self, file: Path) -> None:
        """Values of expressions reach them as variables alone, so none can be a command."""
        scripts = [step["run"] for step in steps(file) if "run" in step]
        assert scripts
        for script in scripts:
            assert "${{" not in script
            shell.run(["bash", "-n"], stdin=script)

    def test_tasks_exist(self, file: Path) -> None:
        known = program.program().namespace.task_names
        for step in steps(file):
            for task, flags in re.findall(r"bin/invoke ([-a-z]+)((?: --\S+| \"\S+\"| modules)*)", step.get("run", "")):
                assert task in known
                accepted = shell.run([sys.executable, "-m", "kubedrill", task, "--help"]).stdout
                assert [flag for flag in flags.split() if flag.startswith("--") and flag not in accepted] == []


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
class TestMatrix:
    """What runs on clusters is what `invoke matrix --json` says, in both."""

    def test_it_is_that_of_the_plan(self, file: Path) -> None:
        jobs = yaml.safe_load(file.read_text())["jobs"]
        (plan,) = [step for step in jobs["plan"]["steps"] if step.get("id") == "plan"]
        assert ".venv/bin/invoke matrix --json >" in plan["run"]
        matrices = {name: job["strategy"]["matrix"] for name, job in jobs.items() if "strategy" in job}
        assert matrices
        for name, matrix in matrices.items():
            found = re.fullmatch(r"\$\{\{ fromJSON\(needs\.plan\.outputs\.(builds|jobs)\) \}\}", matrix)
            assert found
            assert "plan" in jobs[name]["needs"]
            assert jobs["plan"]["outputs"][found[1]] == f"${{{{ steps.plan.outputs.{found[1]} }}}}"
            assert f"{found[1]}=\\({{include: .{found[1]}}})" in plan["run"]

    def test_no_job_without_a_matrix_has_a_cluster(self, file: Path) -> None:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            scripts = "\n".join(step.get("run", "") for step in job["steps"])
            runs = re.findall(r"bin/invoke (?:up|scenario|test(?! --unit)|matrix --run)", scripts)
            assert not runs or "strategy" in job, name

    def test_builds_are_cached_by_their_content_address(self, file: Path) -> None:
        saved = [step["with"]["key"] for step in steps(file) if step.get("uses", "").startswith("actions/cache/save@")]
        builds = "builds-${{ runner.os }}-${{ matrix.kubernetes }}-${{ matrix.cache }}"
        assert [key for key in saved if "history" not in key] == [builds]


def test_each_change_runs_on_every_kubernetes() -> None:
    """The newest is tested whole, of the others each is brought up and drilled once."""
    steps = {one.get("name"): one for one in yaml.safe_load(WORKFLOWS[0].read_text())["jobs"]["clusters"]["steps"]}
    assert steps["Test"]["if"] == "matrix.newest"
    assert steps["First drill"]["if"] == "${{ !matrix.newest }}"
    # sudo takes away what is not named, and tests/conftest.py tells GitHub nothing without it
    assert '"GITHUB_ACTIONS=$GITHUB_ACTIONS"' in steps["Test"]["run"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
class TestPermissions:
    def test_none_for_all(self, file: Path) -> None:
        assert yaml.safe_load(file.read_text())["permissions"] == {}

    def test_each_job_says_what_it_needs_and_no_more_is_known(self, file: Path) -> None:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            assert all(level in PERMISSIONS.get(scope, ()) for scope, level in job["permissions"].items())

    def test_writing_is_for_the_job_that_publishes(self, file: Path) -> None:
        jobs = yaml.safe_load(file.read_text())["jobs"]
        writing = {name for name, job in jobs.items() if "write" in job["permissions"].values()}
        assert writing <= {"publish"}
        # It runs nothing of the repository.
        assert not [step for name in writing for step in jobs[name]["steps"] if "run" in step]

    def test_no_credentials_stay_in_the_checkout(self, file: Path) -> None:
        for step in steps(file):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def steps(file: Path) -> list[dict[str, Any]]:
    """All steps of a workflow, or of an action."""
    content = yaml.safe_load(file.read_text())
    jobs = content["jobs"].values() if "jobs" in content else [content["runs"]]
    return [step for job in jobs for step in job["steps"]]
