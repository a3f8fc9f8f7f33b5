"""The one wait: read something until it is as it should be. The only module that sleeps or retries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import tenacity

from kubedrill.errors import TimedOut

# Rounding of the clock must not make one more read a few nanoseconds before the end.
_TICK = 1e-6

T = TypeVar("T")
Verdict = tuple[bool, str]


class Clock(Protocol):
    """Time as `until` sees it, so that a test can bring its own."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        ...


def until(
    read: Callable[[], T],
    check: Callable[[T], Verdict],
    *,
    within: float,
    what: str,
    every: float = 0.25,
    transient: tuple[type[Exception], ...] = (),
    seen: Callable[[str], None] | None = None,
    clock: Clock = time,
) -> T:
    """Read again and again until the check holds, and return what was read then.

    Args:
        read: gives the present state.
        check: says (True, why) when it is as it should be, (False, what is missing) when not.
        within: seconds to wait at most. What holds at the very end still counts.
        what: names what is waited for, for the error.
        every: seconds between two reads.
        transient: errors of `read` that only mean "not yet".
        seen: called with the check's reason each time it changes.
        clock: where time comes from.

    Raises:
        TimedOut: it did not hold in time; the evidence says what was last seen.
    """
    started = clock.monotonic()
    last = "nothing was read yet"

    def attempt() -> tuple[bool, T | None]:
        nonlocal last
        try:
            state = read()
        except transient as error:
            ok, why, state_or_none = False, f"{type(error).__name__}: {error}", None
        else:
            ok, why = check(state)
            state_or_none = state
        if why != last and seen is not None:
            seen(why)
        last = why
        return ok, state_or_none

    def left() -> float:
        return within - (clock.monotonic() - started)

    def out_of_time(_: tenacity.RetryCallState) -> bool:
        return left() <= _TICK

    def pause(_: tenacity.RetryCallState) -> float:
        return max(0.0, min(every, left()))  # the last read falls on the end, not up to `every` after it

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda outcome: not outcome[0]),
        stop=out_of_time,
        wait=pause,
        sleep=clock.sleep,
    )
    try:
        _, state = retrying(attempt)
    except tenacity.RetryError as error:
        took = clock.monotonic() - started
        raise TimedOut(
            f"{what}: not within {within:g} s (waited {took:.1f} s)", evidence=[f"last seen: {last}"]
        ) from error
    return state  # type: ignore[return-value]  # a state whose check held is never the None of a failed read
