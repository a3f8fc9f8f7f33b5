"""The program `kubedrill`: the tasks of tasks.py under its own name."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest

import kubedrill
from kubedrill import hints, machine_commands, paths, program, shell
from kubedrill.console import Console, fail
from kubedrill.errors import KubedrillError, MissingPrerequisite

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def as_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `kubedrill` had been called."""
    monkeypatch.setenv(hints.VARIABLE, "of the test")  # what `called` sets goes with it
    hints.called()


def run(*words: str) -> str:
    return shell.run([sys.executable, "-m", "kubedrill", *words], timeout=60).stdout


def test_it_has_the_tasks_of_invoke() -> None:
    listed = shell.run([sys.executable, "-m", "invoke", "--list"], cwd=paths.repository(), timeout=60).stdout
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
    assert len(names) > 15
    mine = [line.split()[0] for line in run("--list").splitlines() if line.startswith("  ") and line[2] != " "]
    assert mine == names
    assert sorted(hints.TASKS) == sorted(names)


def test_its_version_is_written_once() -> None:
    assert run("--version").strip() == f"kubedrill {kubedrill.__version__}"
    project = tomllib.loads((paths.repository() / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "kubedrill.__version__"}


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in sorted(hints.TASKS)),
        ["exec", "worker-1"],
        ["exec", "worker-1", "crictl ps"],
        ["remove-node", "--name", "other"],
    ],
    ids=" ".join,
)
def test_whoever_asks_a_task_for_help_gets_help(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Also one that cannot do without a word: `load --help` looked for an image of that name."""
    monkeypatch.setattr(sys, "argv", ["kubedrill", *words, "--help"])
    with pytest.raises(SystemExit) as ended:
        program.program().run(sys.argv)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: kubedrill [--core-opts] {words[0]} ")


def test_a_word_that_must_be_there_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys, "argv", ["kubedrill", "exec", "worker-1"])
    with pytest.raises(SystemExit) as ended:
        program.program().run(sys.argv)
    assert ended.value.code == 1
    assert "'command'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "some"),
    [("kubedrill sc", {"scenario", "up"}), ("kubedrill up --", {"--control-planes", "--config"})],
)
def test_words_that_a_shell_completes(typed: str, some: set[str]) -> None:
    assert some <= set(run("--complete", "--", typed).split())


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_the_completion_script_is_of_this_program(kind: str) -> None:
    script = run("--print-completion-script", kind)
    assert re.search(r"kubedrill (\S+ )?--complete", script)
    assert not re.search(r"\b(invoke|inv) (\S+ )?--complete", script)
    if kind == "bash":
        shell.run(["bash", "-n"], stdin=script)


class TestHints:
    @pytest.mark.usefixtures("as_program")
    def test_they_name_the_program_that_was_called(self, capsys: Capture) -> None:
        console = Console()
        console.say("see `invoke status`")
        console.line("invoke down --name x")
        console.table(("", ""), [("a", "run: invoke up")])
        fail(KubedrillError("no", todo=["run: invoke heal"]))
        printed = capsys.readouterr()
        assert "invoke" not in printed.out + printed.err
        for hint in ("`kubedrill status`", "kubedrill down --name x", "run: kubedrill up"):
            assert hint in printed.out
        assert "run: kubedrill heal" in printed.err

    def test_in_a_checkout_they_stay(self, capsys: Capture) -> None:
        Console().line("run: invoke up")
        assert "run: invoke up" in capsys.readouterr().out

    @pytest.mark.usefixtures("as_program")
    @pytest.mark.parametrize(
        "text", ["`invoke`", "invoke TASK", "reinvoke up", "invoke upside", "failed to invoke webhook"]
    )
    def test_what_is_no_task(self, text: str) -> None:
        assert hints.hinted(text) == text

    def test_in_the_help_of_a_task_and_of_its_flags(self) -> None:
        assert "kubedrill scenario ha-failover" in run("scenario", "--help")
        assert "kubedrill checkpoint --list" in " ".join(run("--help", "restore").split())

    def test_an_installed_one_needs_not_be_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`pytest scenarios/` in somebody's repository: there is no task of invoke there."""
        assert hints.hinted("run: invoke heal") == "run: invoke heal"
        monkeypatch.setattr(paths, "is_installed", lambda: True)
        assert hints.hinted("run: invoke heal") == "run: kubedrill heal"

    @pytest.mark.usefixtures("as_program")
    def test_what_the_program_starts_is_told(self) -> None:
        code = "from kubedrill import hints; print(hints.hinted('invoke up'))"
        assert shell.run([sys.executable, "-c", code]).stdout == "kubedrill up\n"


def test_the_tests_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "is_installed", lambda: True)
    with pytest.raises(MissingPrerequisite, match="tests are not part"):
        machine_commands.test(Console(), unit=True, everything=False, vagrant=False, keyword="")
