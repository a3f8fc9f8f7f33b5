"""`invoke scenario`: names before flags, and a name that is mistyped."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.program import Program

from kubedrill import drill_commands, paths, shell, tasking

OFF = {"fresh": False, "keep": False, "slow": False, "show-commands": False}


@pytest.fixture(scope="module")
def tasks() -> ModuleType:
    """tasks.py, as invoke imports it."""
    spec = importlib.util.spec_from_file_location("tasks", paths.repository() / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Each task says what SIGTERM does; not beyond its test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class TestDrills:
    @pytest.mark.parametrize(
        ("typed", "names"),
        [
            (["scenario"], []),
            (["scenario", "a"], ["a"]),
            (["scenario", "a", "b", "--keep"], ["a", "b"]),
            (["scenario", "--keep", "a"], []),
            (["--echo", "scenario", "a", "-s"], ["a"]),
            (["status", "--name", "lab"], []),
        ],
    )
    def test_one_argument_a_name(
        self, tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, typed: list[str], names: list[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["invoke", *typed])
        arguments = tasks.scenario.get_arguments()
        mine = [one for one in arguments if one.name.startswith("drill_")]
        assert [one.name for one in mine] == [f"drill_{number}" for number in range(len(names))]
        assert all(one.positional for one in mine)
        assert {"drill", "all", "list", "name", "fresh", "keep", "slow"} <= {one.name for one in arguments}

    @pytest.mark.parametrize(
        ("typed", "names", "everything", "name", "flags"),
        [
            (["a", "b", "--keep"], ["a", "b"], False, "", {"keep": True}),
            (["b", "a"], ["b", "a"], False, "", {}),
            (["ha-failover", "--name", "mine", "--slow"], ["ha-failover"], False, "mine", {"slow": True}),
            (["--all", "--fresh"], [], True, "", {"fresh": True}),
            (["a", "--name", "mine", "--from-checkpoint", "clean", "-f"], ["a"], False, "mine", {"fresh": True}),
            (["--drill", "a", "--drill", "b"], ["a", "b"], False, "", {}),
            (["a", "--drill", "b", "--show-commands"], ["b", "a"], False, "", {"show-commands": True}),
            ([], [], False, "", {}),
        ],
    )
    def test_what_the_command_gets(
        self, tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, typed: list[str], names: list[str], everything: bool,
        name: str, flags: dict[str, bool],
    ) -> None:  # fmt: skip
        got: list[dict[str, Any]] = []

        def scenario(
            _console: object, names: Sequence[str], *, everything: bool, name: str, flags: Mapping[str, bool],
            settings: Sequence[str], checkpoint: str,
        ) -> int:  # fmt: skip
            got.append({"names": list(names), "everything": everything, "name": name, "flags": flags})
            assert settings == []
            assert checkpoint == ("clean" if "--from-checkpoint" in typed else "")
            return 0

        argv = ["invoke", "scenario", *typed]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(drill_commands, "scenario", scenario)
        Program(namespace=Collection.from_module(tasks)).run(argv, exit=False)
        assert got == [{"names": names, "everything": everything, "name": name, "flags": {**OFF, **flags}}]


class TestMistyped:
    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            (["helo"], ["'helo'; did you mean 'hello'?"]),
            (
                ["hello", "ha-failovr", "qqq"],
                ["'ha-failovr'; did you mean 'ha-failover'?", "'qqq'; known: access"],
            ),
            ([], ["none was named", "invoke scenario --list"]),
        ],
        ids=["one", "two", "none"],
    )
    def test_the_nearest_name(self, typed: list[str], said: list[str]) -> None:
        result = shell.run(
            [sys.executable, "-m", "invoke", "scenario", *typed], cwd=paths.repository(), check=False, timeout=60
        )
        assert result.status == 1, result.output
        assert not [line for line in said if line not in result.stderr], result.stderr
        assert "Traceback" not in result.output


def test_who_is_told_to_end_twice_removes_what_it_removes() -> None:
    """As `timeout` does: it tells the process, and then its group."""
    done: list[str] = []

    @tasking.friendly
    def body() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            done.append("removed")

    with pytest.raises(SystemExit) as ended:
        body()
    assert (done, ended.value.code) == (["removed"], 128 + signal.SIGTERM)


@pytest.mark.parametrize("flags", [{"json": True, "run": True}, {"plan": "FILE"}, {"plan": "FILE", "json": True}])
def test_flags_of_the_matrix_that_do_not_belong_together(
    tasks: ModuleType, flags: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        tasks.matrix(Context(), **flags)
    assert ended.value.code == 1
    assert "invoke matrix --json >FILE" in capsys.readouterr().err
