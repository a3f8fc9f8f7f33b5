"""The one wait, with a clock that costs no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from kubedrill.errors import TimedOut
from kubedrill.wait import until


@dataclass
class FakeClock:
    """Time that passes only when somebody sleeps, or a read says that it took some."""

    now: float = 1000.1
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def script(*states: object) -> Callable[[], object]:
    """A read that gives one state after the other, raises those that are errors, and repeats the last."""
    rest: Iterator[object] = iter(states)
    last = states[-1]

    def read() -> object:
        state = next(rest, last)
        if isinstance(state, Exception):
            raise state
        return state

    return read


def is_up(state: object) -> tuple[bool, str]:
    return state == "up", f"it is {state}"


def test_what_holds_at_once_is_returned_without_waiting() -> None:
    clock = FakeClock()
    assert until(lambda: "up", is_up, within=5, what="node", clock=clock) == "up"
    assert clock.slept == []


def test_what_holds_at_once_counts_even_without_any_time() -> None:
    assert until(lambda: "up", is_up, within=0, what="node", clock=FakeClock()) == "up"


def test_it_returns_the_state_whose_check_held() -> None:
    clock = FakeClock()
    states = script(["down"], ["starting"], ["up", 3], ["up", 4])
    found = until(states, lambda state: (state[0] == "up", "x"), within=5, what="n", every=0.5, clock=clock)  # type: ignore[index]
    assert found == ["up", 3]
    assert clock.slept == [0.5, 0.5]


@pytest.mark.parametrize("state", [None, 0, "", [], False])
def test_a_falsy_state_can_be_what_was_waited_for(state: object) -> None:
    assert until(lambda: state, lambda _: (True, ""), within=1, what="nothing", clock=FakeClock()) is state


def test_running_out_of_time_says_what_was_waited_for_how_long_and_what_was_last_seen() -> None:
    clock = FakeClock()
    with pytest.raises(TimedOut) as caught:
        until(script("off", "booting"), is_up, within=2.5, what="node lab-worker-1", every=1, clock=clock)
    assert caught.value.what == "node lab-worker-1: not within 2.5 s (waited 2.5 s)"
    assert caught.value.evidence == ("last seen: it is booting",)


@pytest.mark.parametrize("within", [0.3, 1, 7.77, 60])
@pytest.mark.parametrize("every", [0.1, 0.25, 0.7, 100])
def test_it_never_waits_longer_than_asked_and_reads_at_the_very_end(within: float, every: float) -> None:
    clock = FakeClock()
    started = clock.now
    reads: list[float] = []

    def read() -> str:
        reads.append(clock.now - started)
        return "down"

    with pytest.raises(TimedOut):
        until(read, is_up, within=within, what="node", every=every, clock=clock)
    assert reads[-1] == pytest.approx(within)
    assert len(reads) == pytest.approx(within / every + 1.5, abs=1)


def test_a_check_that_holds_at_the_very_end_counts() -> None:
    clock = FakeClock()
    end = clock.now + 1
    read = lambda: "up" if clock.now >= end - 1e-9 else "down"  # noqa: E731
    assert until(read, is_up, within=1, what="node", every=0.3, clock=clock) == "up"


def test_a_check_that_holds_too_late_does_not_count() -> None:
    clock = FakeClock()
    late = clock.now + 1.1
    with pytest.raises(TimedOut):
        until(lambda: "up" if clock.now >= late else "down", is_up, within=1, what="node", every=0.3, clock=clock)


def test_a_slow_read_that_began_in_time_counts() -> None:
    clock = FakeClock()

    def read() -> str:
        clock.now += 30
        return "up"

    assert until(read, is_up, within=1, what="node", clock=clock) == "up"


def test_transient_errors_mean_not_yet() -> None:
    states = script(ConnectionError("refused"), TimeoutError("slow"), "up")
    found = until(states, is_up, within=5, what="API", transient=(ConnectionError, TimeoutError), clock=FakeClock())
    assert found == "up"


def test_a_transient_error_at_the_end_is_the_evidence() -> None:
    with pytest.raises(TimedOut) as caught:
        until(
            script("down", ConnectionError("refused")), is_up, within=1, what="API",
            transient=(OSError,), clock=FakeClock(),
        )  # fmt: skip
    assert caught.value.evidence == ("last seen: ConnectionError: refused",)


def test_other_errors_end_the_wait_at_once() -> None:
    clock = FakeClock()
    with pytest.raises(KeyError, match="name"):
        until(script("down", KeyError("name"), "up"), is_up, within=5, what="API", transient=(OSError,), clock=clock)
    assert len(clock.slept) == 1


def test_an_error_of_the_check_is_never_transient() -> None:
    def check(_: object) -> tuple[bool, str]:
        raise OSError("a bug in the check")

    with pytest.raises(OSError, match="a bug"):
        until(lambda: "up", check, within=5, what="API", transient=(OSError,), clock=FakeClock())


def test_seen_is_called_once_a_change() -> None:
    seen: list[str] = []
    states = script("off", "off", OSError("no"), OSError("no"), "off", "booting", "booting", "up")
    until(
        states, is_up, within=9, what="node", transient=(OSError,), seen=seen.append, clock=FakeClock(),
    )  # fmt: skip
    assert seen == ["it is off", "OSError: no", "it is off", "it is booting", "it is up"]


def test_the_real_clock_is_the_default() -> None:
    with pytest.raises(TimedOut, match=r"waited 0\.0 s"):
        until(lambda: "down", is_up, within=0.02, what="node", every=0.01)
