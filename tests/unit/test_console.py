"""What a user sees: steps with their times, commands to repeat by hand, and never a secret."""

from __future__ import annotations

import re

import pytest

from kubedrill import console
from kubedrill.console import Console
from kubedrill.errors import KubedrillError

Capture = pytest.CaptureFixture[str]


def test_a_step_and_its_time(capsys: Capture) -> None:
    with Console().step("lab-worker-1: kubeadm join"):
        pass
    assert re.fullmatch(r" +\d+\.\d s  lab-worker-1: kubeadm join \(\d+\.\d s\)\n", capsys.readouterr().out)


@pytest.mark.parametrize("error", [KubedrillError("no"), KeyboardInterrupt(), ValueError()])
def test_a_step_that_fails(capsys: Capture, error: BaseException) -> None:
    with pytest.raises(type(error)), Console().step("the step"):
        raise error
    assert re.search(r"the step: FAILED after \d+\.\d s\n$", capsys.readouterr().out)


def test_what_is_said_is_printed_as_it_is(capsys: Capture) -> None:
    Console().say("[bold]brackets[/] :smile: 'x'")
    assert "[bold]brackets[/] :smile: 'x'" in capsys.readouterr().out


class TestCommands:
    def test_they_are_shown_only_when_asked_for(self, capsys: Capture) -> None:
        quiet = Console()
        quiet.command("n", ["kubeadm", "init"], None)
        quiet.wrote("n", "/etc/x", "text")
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        ("argv", "stdin", "typed"),
        [
            (["kubeadm", "init", "--config", "/a b"], None, "kubeadm init --config '/a b'"),
            (["sh", "-c", "echo $X | wc"], None, "echo $X | wc"),
            (["kubectl", "apply", "-f", "-"], "kind: X\n", "kubectl apply -f - <<'EOF'\nkind: X\nEOF"),
            (["grep", "[a]"], None, "grep '[a]'"),
        ],
    )
    def test_as_a_person_would_type_them(self, capsys: Capture, argv: list[str], stdin: str | None, typed: str) -> None:
        Console(show_commands=True).command("lab-worker-1", argv, stdin)
        assert capsys.readouterr().out.strip() == f"lab-worker-1 # {typed}"

    def test_a_file_that_was_written(self, capsys: Capture) -> None:
        Console(show_commands=True).wrote("n", "/etc/kubernetes/x.yaml", "a: 1\nb: 2\n")
        assert capsys.readouterr().out.strip() == "n # cat >/etc/kubernetes/x.yaml <<'EOF'\na: 1\nb: 2\nEOF"

    def test_a_repeated_command_is_printed_once(self, capsys: Capture) -> None:
        shown = Console(show_commands=True)
        for argv, node in [(["a"], "n"), (["a"], "n"), (["a"], "m"), (["a"], "n"), (["b"], "n"), (["a"], "n")]:
            shown.command(node, argv, None)
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        assert lines == ["n # a", "m # a", "n # b", "n # a"]


class TestSecrets:
    def test_in_commands_and_files(self, capsys: Capture) -> None:
        shown = Console(show_commands=True)
        shown.redact("abc.def", "key")
        shown.command("n", ["kubeadm", "token", "create", "abc.def"], "stdin key abc.def")
        shown.wrote("n", "/x", "token: abc.def\n")
        printed = capsys.readouterr().out
        assert "abc.def" not in printed
        assert "key" not in printed
        assert printed.count("<secret>") == 4

    def test_in_texts(self) -> None:
        shown = Console()
        shown.redact("one")
        shown.redact("two")
        assert shown.redacted("one two three one") == "<secret> <secret> three <secret>"
        assert Console().redacted("one") == "one"

    def test_in_what_is_said(self, capsys: Capture) -> None:
        shown = Console()
        shown.redact("abc.def")
        shown.say("token abc.def")
        assert "abc.def" not in capsys.readouterr().out


def test_a_table(capsys: Capture) -> None:
    Console().table(["NAME", "STATE"], [["lab-worker-1", "running"], ["[x]", "stopped"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["NAME", "STATE"], ["lab-worker-1", "running"], ["[x]", "stopped"]]


def test_for_programs(capsys: Capture) -> None:
    console.raw('{"a": "[b]"}')
    assert capsys.readouterr().out == '{"a": "[b]"}'


def test_an_error_goes_to_standard_error(capsys: Capture) -> None:
    console.fail(KubedrillError("it broke", evidence=["seen [x]"], todo=["mend it"]))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "kubedrill: it broke\n    seen [x]\n  -> mend it\n"
