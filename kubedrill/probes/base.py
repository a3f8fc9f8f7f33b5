"""What a probe is, and what they share."""

from __future__ import annotations

from typing import Protocol

from kubedrill.history import Lane, Outcome
from kubedrill.probes.wire import Unanswered, WrongAnswer

Answered = tuple[Outcome, str]


class Probe(Protocol):
    """One thing to ask. The sampler asks from several threads at once."""

    @property
    def lane(self) -> Lane:
        """What is asked, and how often."""
        ...

    def ask(self, timeout: float) -> Answered:
        """Ask once.

        Args:
            timeout: seconds after which the answer no longer counts; it returns no later than that.

        Returns:
            (ok, which pod answered), (failed, what went wrong), (unknown, why there is no answer). Anything raised
            means that the probe itself is broken.
        """
        ...

    def own_cpu(self) -> float:
        """Seconds of CPU that threads of the probe's own used so far; 0 where it has none."""
        ...

    def close(self) -> None:
        """Let go of connections and threads; no question is asked any more."""
        ...


def unanswered_read(error: Unanswered) -> Answered:
    """What a read without an answer counts as: failed where it was refused or answered nonsense, else unknown."""
    return ("unknown" if error.sent and not isinstance(error, WrongAnswer) else "failed"), error.what


def brief(body: bytes, limit: int = 120) -> str:
    """The beginning of an answer's body, on one line."""
    return " ".join(body[: 4 * limit].decode(errors="replace").split())[:limit]
