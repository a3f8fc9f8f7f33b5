"""The project's own Go programs: `go vet`, gofmt and their unit tests."""

from __future__ import annotations

import pytest

from kubedrill import install, shell, versions
from kubedrill.shell import Result

FOLDER = versions.components_dir() / "kubedrill"


def go(*arguments: str) -> Result:
    argv, env = install.go_command()
    return shell.run([*argv, *arguments], cwd=FOLDER, env={**env, "GOFLAGS": "", "GOWORK": "off"}, check=False)


@pytest.mark.parametrize("command", [("vet", "./..."), ("test", "./...")], ids=lambda command: command[0])
def test_go(command: tuple[str, ...]) -> None:
    result = go(*command)
    assert result.status == 0, result.output


def test_there_are_tests() -> None:
    """`go test` is content with none."""
    result = go("test", "-list", "Test", "./cmd/addon-manager")
    assert "TestReconcilePutsBackAndPrunes" in result.stdout, result.output


def test_pause_ends_when_asked_who_it_is() -> None:
    """`kubeadm upgrade` runs it so in a Job, and waits for its end."""
    result = go("run", "./cmd/pause", "-v")
    assert (result.status, result.stdout) == (0, "pause of kubedrill\n"), result.output
