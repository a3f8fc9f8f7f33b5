"""The sampler: asks one probe on a fixed schedule, keeps every answer, and says what it cost and where it was late.

The schedule is absolute: question n is due at the start + n intervals, whatever the answers take. Each question is
asked by a worker, so that one that hangs does not stop those after it; there are workers for all questions that can be
open within the timeout. A time at which no worker is free, or at which the sampler itself did not get to run, is passed
over, never made up for in a burst: it is a gap between two starts, which availability.figures reports as `stalled`.
"""

from __future__ import annotations

import concurrent.futures
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TextIO

from kubedrill.errors import KubedrillError
from kubedrill.history import Sample
from kubedrill.probes.base import Probe

FLUSH_EVERY = 1.0
# How much longer than its timeout a question may take before the probe counts as broken: a busy machine is slow.
_GRACE = 2.0


class Pace(Protocol):
    """Time as the sampler sees it, so that a test can bring its own."""

    def now(self) -> float:
        """Seconds since the start of the run."""
        ...

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Let that many seconds pass, or fewer once `stop` is set; says whether it is."""
        ...


class Asker(Protocol):
    """What runs questions: a thread pool, or a test's own."""

    def submit(self, question: Callable[[], None], /) -> Future[None]:
        """Begin one."""
        ...

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Begin no more."""
        ...


@dataclass(frozen=True)
class RunPace:
    """Time of a run: `now` gives seconds since its start."""

    now: Callable[[], float]

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait for real."""
        return stop.wait(seconds) if seconds > 0 else stop.is_set()


@dataclass(frozen=True)
class Recording:
    """What a sampler leaves behind.

    Args:
        samples: in the order of their starts.
        overhead: share of one core that it used, 0 to 1.
        missed: how many questions were due and not asked.
        broken: what the probe or the sampler raised; with anything in it the lane is inconclusive.
    """

    samples: tuple[Sample, ...]
    overhead: float
    missed: int
    broken: tuple[str, ...]


def next_number(origin: float, interval: float, now: float, last: int) -> int:
    """The number of the question to ask next: the one after `last`, or the latest that is due, if that is later."""
    return max(last + 1, math.floor((now - origin) / interval + 1e-9))


class Sampler:
    """Asks one probe until it is stopped.

    Args:
        probe: what to ask; its lane gives the interval.
        pace: gives the time of the run.
        file: gets each sample as a JSON line, each second; None for none. Its folder is made.
        timeout: seconds that each question has.
        asker: runs the questions; a thread pool without it.
    """

    def __init__(
        self, probe: Probe, pace: Pace, file: Path | None = None, *, timeout: float = 1.0, asker: Asker | None = None
    ) -> None:
        self.lane = probe.lane
        self._probe = probe
        self._pace = pace
        self._file = file
        self._timeout = timeout
        self._room = math.ceil(timeout / self.lane.interval) + 2
        self._asker = asker or ThreadPoolExecutor(self._room, thread_name_prefix=f"probe-{self.lane.name}")
        # A daemon, so that a program that forgets to stop it can still end.
        self._thread = threading.Thread(target=self._run, name=f"sampler-{self.lane.name}", daemon=True)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._open: set[Future[None]] = set()
        self._broken: list[str] = []
        self._cpu = 0.0
        self._missed = 0
        self._began = pace.now()
        self._written = 0
        self._sink: TextIO | None = None

    def start(self) -> None:
        """Begin to ask.

        Raises:
            OSError: the file cannot be opened.
        """
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._sink = self._file.open("w")
        self._began = self._pace.now()
        self._thread.start()

    def samples(self) -> tuple[Sample, ...]:
        """What was answered so far, in the order of the answers."""
        with self._lock:
            return tuple(self._samples)

    def halt(self) -> None:
        """Ask no more; what is asked is still answered. `stop` does the rest."""
        self._stop.set()

    def stop(self) -> Recording:
        """Ask no more, wait for the open questions, close the probe and the file.

        Raises:
            KubedrillError: it was never started.
        """
        if self._thread.ident is None:
            raise KubedrillError(f"the sampler of {self.lane.name} was never started")
        self.halt()
        self._thread.join(self._timeout + _GRACE)
        _, late = concurrent.futures.wait(tuple(self._open), timeout=self._timeout + _GRACE)
        if self._thread.is_alive() or late:
            self._note(f"{len(late)} questions outlasted their timeout of {self._timeout:g} s")
        elapsed = max(self._pace.now() - self._began, 1e-9)
        self._asker.shutdown(wait=False, cancel_futures=True)
        own = self._probe.own_cpu()
        self._probe.close()
        if self._sink is not None and not self._thread.is_alive():
            with self._sink:
                self._write()
        with self._lock:
            return Recording(
                samples=tuple(sorted(self._samples, key=lambda sample: sample.start)),
                overhead=(self._cpu + own) / elapsed,
                missed=self._missed,
                broken=tuple(self._broken),
            )

    def _run(self) -> None:
        try:
            self.loop()
        except BaseException as error:  # raised again: it is on record, and seen
            self._note(f"the sampler itself: {type(error).__name__}: {error}")
            raise

    def loop(self) -> None:
        """Ask on schedule until stopped; what the sampler's thread does."""
        origin = flushed = self._pace.now()
        used = time.thread_time()
        number = passed_over = 0
        while not self._pace.wait(self._stop, origin + number * self.lane.interval - self._pace.now()):
            # Woken late, it asks the latest question that is due, and once.
            due = next_number(origin, self.lane.interval, self._pace.now(), number - 1)
            passed_over += due - number
            self._begin()
            if self._pace.now() - flushed >= FLUSH_EVERY:
                self._write()
                flushed = self._pace.now()
            number = next_number(origin, self.lane.interval, self._pace.now(), due)
            passed_over += number - due - 1
            with self._lock:
                self._missed += passed_over
                self._cpu += time.thread_time() - used
            passed_over, used = 0, time.thread_time()

    def _begin(self) -> None:
        with self._lock:
            free = len(self._open) < self._room
            self._missed += not free
        if free:
            question = self._asker.submit(self._question)
            with self._lock:
                self._open.add(question)
            question.add_done_callback(self._done)

    def _question(self) -> None:
        used = time.thread_time()
        start = self._pace.now()
        outcome, detail = self._probe.ask(self._timeout)
        sample = Sample(start, self._pace.now(), outcome, detail)
        with self._lock:
            self._samples.append(sample)
            self._cpu += time.thread_time() - used

    def _done(self, question: Future[None]) -> None:
        with self._lock:
            self._open.discard(question)
        if not question.cancelled() and (error := question.exception()) is not None:
            self._note(f"the probe: {type(error).__name__}: {error}")

    def _note(self, what: str) -> None:
        with self._lock:
            if what not in self._broken:
                self._broken.append(what)

    def _write(self) -> None:
        if self._sink is None:
            return
        new = self.samples()[self._written :]
        self._sink.write("".join(f"{json.dumps(asdict(sample))}\n" for sample in new))
        self._sink.flush()
        self._written += len(new)


def stop_all(samplers: Sequence[Sampler]) -> dict[str, Recording]:
    """Stop samplers, all at the same moment: a watch must not outlive the writes that it is measured by.

    Returns:
        The recording of each lane, by its name.

    Raises:
        KubedrillError: one was never started.
    """
    for sampler in samplers:
        sampler.halt()
    return {sampler.lane.name: sampler.stop() for sampler in samplers}
