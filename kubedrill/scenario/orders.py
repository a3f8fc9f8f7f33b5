"""What may be said twice, said until an API that is busy or being rolled takes it: so would whoever types it."""

from __future__ import annotations

from collections.abc import Callable

from kubedrill import kube
from kubedrill.errors import CommandFailed
from kubedrill.shell import Result
from kubedrill.wait import until

# Seconds for one order, and between two tries.
_WITHIN, _EVERY = 60.0, 1.0


def take(give: Callable[[], Result], *, patience: float = 1.0) -> Result:
    """Give an order until the API answers.

    Args:
        give: runs kubectl.
        patience: so many times longer is waited, where nodes are slow.

    Raises:
        CommandFailed: it was refused.
        TimedOut: the API did not answer for a minute.
    """

    def attempt() -> Result:
        try:
            return give()
        except CommandFailed as error:
            if kube.unanswered(str(error)):
                raise kube.ApiUnavailable(str(error)) from error
            raise

    return until(attempt, lambda _: (True, "taken"), within=_WITHIN * patience, every=_EVERY * patience,
                 what="an API that takes an order", transient=(kube.ApiUnavailable,))  # fmt: skip
