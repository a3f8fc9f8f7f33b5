"""Bench: the machine in words."""

from __future__ import annotations

from pathlib import Path

import pytest

import kubedrill
from kubedrill import paths, shell
from kubedrill.bench import compare, machine


class TestMachine:
    def test_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fast One\nprocessor\t: 1\n")
        found = machine.describe({"ServerVersion": "20.10.24", "Driver": "overlay2"}, "v1.37.2", proc=tmp_path)
        assert (found["processor"], found["engine"]) == ("A Fast One", "Docker 20.10.24, overlay2")
        assert found["kubernetes"] == "v1.37.2"
        assert all(found.values())
        assert set(compare.ALIKE) <= found.keys()

    def test_a_processor_without_a_name(self) -> None:
        assert machine.processor("CPU implementer\t: 0x41\n")

    def test_the_revision_of_a_checkout(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(paths, "repository", lambda: tmp_path)
        assert machine.revision() == kubedrill.__version__  # no repository of git
        git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        (tmp_path / "file").write_text("1")
        for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
            shell.run([*git, *words])
        commit = shell.run([*git, "rev-parse", "--short", "HEAD"]).stdout.strip()
        assert machine.revision() == f"{kubedrill.__version__}, {commit}"
        (tmp_path / "file").write_text("2")
        assert machine.revision() == f"{kubedrill.__version__}, {commit} with changes"

    def test_the_revision_of_what_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(paths, "is_installed", lambda: True)
        assert machine.revision() == kubedrill.__version__
