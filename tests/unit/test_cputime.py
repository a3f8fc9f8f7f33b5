"""How busy this computer was."""

from __future__ import annotations

from pathlib import Path

from kubedrill import cputime
from kubedrill.cputime import CpuTime, Diary, Stopwatch, Taken
from kubedrill.probes.cores import Cores


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


class TestStopwatch:
    def test_seconds_and_shares_of_what_passed(self) -> None:
        times, cores = iter([7.0, 20.5]), iter([CpuTime(100, 50, 0), CpuTime(300, 100, 20)])
        taken = Stopwatch(lambda: next(times), lambda: next(cores)).taken()
        assert taken == Taken(13.5, 0.75, 0.1)
        assert taken.words == "75% busy, 10% taken by its host"

    def test_without_a_proc_seconds_are_known_all_the_same(self) -> None:
        times = iter([7.0, 20.5])
        taken = Stopwatch(lambda: next(times), lambda: None).taken()
        assert taken == Taken(13.5)
        assert taken.words == ""


class TestDiary:
    """A computer with two cores, whose host takes both of them from second 10 to 13."""

    def diary(self) -> Diary:
        second = [0]

        def read() -> CpuTime:
            at = second[0]
            return CpuTime(total=200 * at, idle=100 * at, stolen=200 * min(max(at - 10, 0), 3))

        made = Diary(lambda: float(second[0]), read)
        for second[0] in range(20):
            made.note()
        return made

    def test_what_went_wrong_while_the_host_took_the_cores(self) -> None:
        assert self.diary().excuse([(10.4, 12.9)]) == (
            "just then 60% or more of this computer's cores were taken by its host: too busy for a verdict on this"
        )

    def test_what_went_wrong_at_another_time(self) -> None:
        assert self.diary().excuse([(4.0, 7.5)]) == ""

    def test_one_moment_without_an_excuse_is_enough(self) -> None:
        assert self.diary().excuse([(10.4, 12.9), (16.2, 16.4)]) == ""

    def test_nothing_went_wrong(self) -> None:
        assert self.diary().excuse([]) == ""

    def test_at_the_edges_what_is_known_counts(self) -> None:
        diary = self.diary()
        assert diary.excuse([(0.1, 0.2)]) == ""
        assert diary.excuse([(18.5, 30.0)]) == ""

    def test_without_a_proc(self) -> None:
        diary = Diary(lambda: 0.0, lambda: None)
        diary.note()
        assert diary.excuse([(0.0, 1.0)]) == ""

    def test_full_cores_excuse_it_whenever_it_was(self) -> None:
        times = iter([CpuTime(100, 50, 0), CpuTime(300, 65, 8)])
        assert "92% busy, 4% taken by its host" in Diary(lambda: 0.0, lambda: next(times)).excuse()

    def test_a_sampler_notes_each_second_and_at_the_end(self) -> None:
        noted: list[CpuTime] = []

        def read() -> CpuTime:
            noted.append(CpuTime(len(noted) + 1, 0, 0))
            return noted[-1]

        cores = Cores(Diary(lambda: 0.0, read))
        assert cores.lane.interval == 1
        assert cores.ask(1) == ("ok", "")
        cores.close()
        assert len(noted) == 3
