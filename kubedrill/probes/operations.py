"""Each question that probes put to the lists of writes, and its answer, as linearizability.py takes them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kubedrill.history import Outcome
from kubedrill.linearizability import Operation, value
from kubedrill.probes.base import brief
from kubedrill.probes.http1 import Answer
from kubedrill.probes.wire import WrongAnswer

# What an answer holds: the version of the object ('' where it is not there), and the numbers in it.
Content = tuple[str, tuple[int, ...]]


class Operations:
    """What was asked and answered so far; used by several threads.

    Args:
        now: seconds since the start of the run.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._all: list[Operation] = []

    def all(self) -> tuple[Operation, ...]:
        """All of them, in the order of their beginnings."""
        with self._lock:
            return tuple(sorted(self._all, key=lambda one: one.start))

    def read(self, key: str, client: str, start: float, content: Content) -> None:
        """A read was answered just now. (One that was not says nothing.)

        Args:
            key: the object's name.
            client: who asked.
            start: when, in seconds of the run.
            content: what was seen.
        """
        version, numbers = content
        self._add(Operation(key, client, "read", start, self.now(), "ok", seen=value(numbers),
                            revision=int(version) if version else None))  # fmt: skip

    def write(
        self, key: str, client: str, start: float, outcome: Outcome, before: tuple[int, ...], number: int, version: str
    ) -> None:
        """A write was answered, or given up, just now.

        Args:
            key: the object's name.
            client: who asked.
            start: when, in seconds of the run.
            outcome: what became of it.
            before: the numbers that it was to be added to, on condition that nobody had changed them.
            number: what was to be added.
            version: the revision that was acknowledged; '' where it is not known.
        """
        self._add(Operation(key, client, "cas", start, self.now(), outcome, value(before), value((*before, number)),
                            revision=int(version) if version else None))  # fmt: skip

    def _add(self, one: Operation) -> None:
        with self._lock:
            self._all.append(one)


def numbers_of(config_map: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers in a list of writes, in its order."""
    return tuple(int(number) for number in (config_map.get("data") or {}).get("numbers", "").split())


def content(answer: Answer) -> Content:
    """What an answer of status 200, 201 or 404 holds.

    Raises:
        WrongAnswer: it is no ConfigMap, or not an API's word that there is none.
    """
    try:
        found = json.loads(answer.body)
        if answer.status == 404:
            if found["kind"] == "Status" and found["reason"] == "NotFound":
                return "", ()
        elif found["kind"] == "ConfigMap":
            return str(int(found["metadata"]["resourceVersion"])), numbers_of(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongAnswer(brief(answer.body)) from error
    raise WrongAnswer(brief(answer.body))
