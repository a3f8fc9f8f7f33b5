"""How busy this computer was."""

from __future__ import annotations

from pathlib import Path

from kubedrill import cputime
from kubedrill.cputime import CpuTime


def test_the_first_line_of_stat(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 1 20 100 5 2 3 7 0 0\ncpu0 5 0 10 50 2 1 1 3 0 0\n")
    assert cputime.read(proc=tmp_path) == CpuTime(total=148, idle=106, stolen=7)


def test_without_a_proc(tmp_path: Path) -> None:
    assert cputime.read(proc=tmp_path) is None
    assert cputime.between(None, CpuTime(1, 0, 0)) == ""


def test_what_passed_between_two_moments() -> None:
    assert cputime.between(CpuTime(100, 50, 0), CpuTime(300, 100, 20)) == "75% busy, 10% taken by its host"
    assert cputime.between(CpuTime(100, 50, 0), CpuTime(100, 50, 0)) == ""


def test_full_cores_are_told_with_their_figures() -> None:
    assert cputime.saturated(CpuTime(100, 50, 0), CpuTime(300, 65, 8)) == (
        "this computer's cores were 92% busy, 4% taken by its host: too busy for a verdict on this"
    )


def test_cores_with_time_to_spare_excuse_nothing() -> None:
    assert cputime.saturated(CpuTime(100, 50, 0), CpuTime(300, 82, 0)) == ""
    assert cputime.saturated(None, CpuTime(300, 82, 0)) == ""
