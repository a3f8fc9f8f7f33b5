"""The project's own Go programs: `go vet`, gofmt and their unit tests."""

from __future__ import annotations

import pytest

from kubedrill import gotoolchain, shell, versions
from kubedrill.shell import Result


def go(component: str, *arguments: str) -> Result:
    argv, env = gotoolchain.go_command()
    folder = versions.components_dir() / component
    return shell.run([*argv, *arguments], cwd=folder, env={**env, "GOFLAGS": "", "GOWORK": "off"}, check=False)


@pytest.mark.parametrize("component", ["kubedrill", "porcupine"])
@pytest.mark.parametrize("command", [("vet", "./..."), ("test", "./...")], ids=lambda command: command[0])
def test_go(component: str, command: tuple[str, ...]) -> None:
    result = go(component, *command)
    assert result.status == 0, result.output


@pytest.mark.parametrize(
    ("component", "program", "test"),
    [
        ("kubedrill", "addon-manager", "TestReconcilePutsBackAndPrunes"),
        ("porcupine", "linearizable", "TestWhatIsLeftOutMakesNoDifference"),
    ],
)
def test_there_are_tests(component: str, program: str, test: str) -> None:
    """`go test` is content with none."""
    result = go(component, "test", "-list", "Test", f"./cmd/{program}")
    assert test in result.stdout, result.output


def test_pause_ends_when_asked_who_it_is() -> None:
    """`kubeadm upgrade` runs it so in a Job, and waits for its end."""
    result = go("kubedrill", "run", "./cmd/pause", "-v")
    assert (result.status, result.stdout) == (0, "pause of kubedrill\n"), result.output
