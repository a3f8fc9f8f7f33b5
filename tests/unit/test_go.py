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
