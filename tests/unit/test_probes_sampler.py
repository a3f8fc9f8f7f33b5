"""The sampler's schedule, with a clock that costs no time, and what it does with what a probe raises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kubedrill import history
from kubedrill.errors import KubedrillError
from kubedrill.history import Lane, Sample
from kubedrill.probes.base import Answered
from kubedrill.probes.sampler import RunPace, Sampler, next_number, stop_all

LANE = Lane("x", "X", 0.1, "read", "new")


@dataclass
class FakePace:
    """Time that passes only when the sampler waits; stops it at `until`. `late` adds to single waits."""

    until: float
    time: float = 5.0
    late: dict[int, float] = field(default_factory=dict)
    waits: int = 0

    def now(self) -> float:
        return self.time

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.time += max(seconds, 0) + self.late.get(self.waits, 0)
        self.waits += 1
        return self.time > self.until  # not `stop`: the test would race with the loop


class Inline:
    """Runs each question at once."""

    def submit(self, question: Callable[[], None], /) -> Future[None]:
        future: Future[None] = Future()
        try:
            question()
        except KubedrillError as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


class Never(Inline):
    """Accepts questions and never ends them."""

    def __init__(self) -> None:
        self.begun = 0

    def submit(self, question: Callable[[], None], /) -> Future[None]:
        self.begun += 1
        return Future()


@dataclass
class FakeProbe:
    """Answers by a script."""

    answer: Callable[[], Answered] = lambda: ("ok", "")
    lane: Lane = LANE
    closed: bool = False

    def ask(self, timeout: float) -> Answered:
        return self.answer()

    def own_cpu(self) -> float:
        return 0.0

    def close(self) -> None:
        self.closed = True


def starts(samples: tuple[Sample, ...]) -> list[float]:
    return [round(sample.start, 6) for sample in samples]


@pytest.mark.parametrize(
    ("now", "last", "expected"), [(10.01, 0, 1), (10.1, 0, 1), (10.25, 0, 2), (10.3, 2, 3), (15, 2, 50), (10.3, 7, 8)]
)
def test_the_next_number_is_never_one_that_was_asked_nor_one_that_is_over(now: float, last: int, expected: int) -> None:
    assert next_number(10, 0.1, now, last) == expected


def test_it_asks_on_an_absolute_schedule(tmp_path: Path) -> None:
    sampler = Sampler(FakeProbe(), FakePace(until=5.95), tmp_path / "samples" / "x.jsonl", asker=Inline())
    sampler.start()
    recording = sampler.stop()
    assert starts(recording.samples) == [5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7, 5.8, 5.9]
    assert recording.missed == 0
    assert recording.broken == ()
    assert history.read_samples(tmp_path, "x") == recording.samples


def test_waking_late_shifts_nothing_and_makes_no_burst() -> None:
    pace = FakePace(until=6.05, late={2: 0.03, 4: 0.35})
    sampler = Sampler(FakeProbe(), pace, asker=Inline())
    sampler.start()
    recording = sampler.stop()
    assert starts(recording.samples) == [5.0, 5.1, 5.23, 5.3, 5.75, 5.8, 5.9, 6.0]
    assert recording.missed == 3  # 5.4, 5.5 and 5.6; 5.7 was asked 0.05 s late


def test_a_tick_without_a_free_worker_is_passed_over_and_counted() -> None:
    asker = Never()
    sampler = Sampler(FakeProbe(), FakePace(until=8.0), timeout=0.5, asker=asker)
    sampler.loop()
    assert asker.begun == 7  # 0.5 s of questions, and two to spare


def test_what_a_probe_raises_is_on_record() -> None:
    def answer() -> Answered:
        raise KubedrillError("no such thing")

    probe = FakeProbe(answer)
    sampler = Sampler(probe, FakePace(until=5.95), asker=Inline())
    sampler.start()
    recording = sampler.stop()
    assert recording.samples == ()
    assert recording.broken == ("the probe: KubedrillError: no such thing",)
    assert probe.closed


def test_a_question_that_outlasts_its_timeout_is_a_broken_probe() -> None:
    sampler = Sampler(FakeProbe(), FakePace(until=5.05), timeout=0.01, asker=Never())
    sampler.start()
    assert "outlasted" in sampler.stop().broken[0]


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("in the way")
    with pytest.raises(OSError, match="samples"):
        Sampler(FakeProbe(), FakePace(until=6), tmp_path / "samples" / "x.jsonl").start()


def test_a_sampler_that_never_started_cannot_be_stopped() -> None:
    with pytest.raises(KubedrillError, match="never started"):
        Sampler(FakeProbe(), FakePace(until=6)).stop()


def test_samples_reach_the_file_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    sizes = []

    class Watching(FakePace):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            sizes.append(len(file.read_text().splitlines()))
            return super().wait(stop, seconds)

    sampler = Sampler(FakeProbe(), Watching(until=7.55), file, asker=Inline())
    sampler.start()
    recording = sampler.stop()
    assert recording.broken == ()
    assert len(recording.samples) == 26
    assert set(sizes) == {0, 11, 21}


def test_slow_answers_do_not_stop_those_after_them() -> None:
    """Real threads: while one question waits for the end of the test, others are asked and answered."""
    first, others, release = threading.Event(), threading.Event(), threading.Event()
    count = iter(range(10_000))

    def answer() -> Answered:
        number = next(count)
        if number == 0:
            first.set()
            release.wait(20)
        if number == 5:
            others.set()
        return "ok", str(number)

    moments = iter(range(100_000))
    sampler = Sampler(FakeProbe(answer, Lane("x", "X", 0.01, "read", "new")), RunPace(lambda: next(moments) / 1000))
    sampler.start()
    assert first.wait(20)
    assert others.wait(20)
    assert "0" not in {sample.detail for sample in sampler.samples()}
    release.set()
    recording = sampler.stop()
    assert "0" in {sample.detail for sample in recording.samples}
    assert list(recording.samples) == sorted(recording.samples, key=lambda sample: sample.start)


def test_all_stop_at_once() -> None:
    other = Lane("y", "Y", 0.1, "read", "new")
    samplers = [Sampler(probe, FakePace(until=5.95), asker=Inline()) for probe in (FakeProbe(), FakeProbe(lane=other))]
    for sampler in samplers:
        sampler.start()
    assert {name: len(recording.samples) for name, recording in stop_all(samplers).items()} == {"x": 10, "y": 10}
