"""Reads: of the API, and of a Service from outside."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence

from kubedrill.history import Lane
from kubedrill.probes.base import Answered, brief, unanswered_read
from kubedrill.probes.http1 import Answer
from kubedrill.probes.manifest import CONFIG_MAPS, READ
from kubedrill.probes.operations import Operations, content
from kubedrill.probes.wire import Endpoint, Link, Unanswered, ask_once


class ApiRead:
    """GET of a small object, by name and without a resourceVersion: the API server asks a quorum of etcd for it.

    With lane.connection 'kept' there is one connection, as of a client that has one: a question waits for the one
    before it (its own time runs meanwhile), and one on which the connection breaks is not ok and is not asked again;
    the next opens a new connection. With 'new' each question opens its own.

    Args:
        lane: name, interval, connection.
        endpoint: the API through the balancer, or one control plane's.
        names: the ConfigMaps to get, in turn.
        history: where they are the lists of an ApiWrite, told of what is in them; one that is not there yet is well.
    """

    def __init__(
        self, lane: Lane, endpoint: Endpoint, names: Sequence[str] = (READ,), history: Operations | None = None
    ) -> None:
        self.lane = lane
        self._endpoint = endpoint
        self._names = itertools.cycle(names)
        self._history = history
        self._next = threading.Lock()
        self._turn = threading.Lock()
        self._link: Link | None = None

    def ask(self, timeout: float) -> Answered:
        """Read once; see Probe."""
        with self._next:
            name = next(self._names)
        start = self._history.now() if self._history else 0.0
        try:
            if self.lane.connection == "kept":
                answer = self._over_the_kept(f"{CONFIG_MAPS}/{name}", time.monotonic() + timeout)
            else:
                answer = ask_once(self._endpoint, "GET", f"{CONFIG_MAPS}/{name}", timeout)
            if answer.status != 200 and not (answer.status == 404 and self._history):
                return "failed", f"answered {answer.status}: {brief(answer.body)}"
            seen = content(answer)
        except Unanswered as error:
            return unanswered_read(error)
        if self._history:
            self._history.read(name, self.lane.name, start, seen)
        return "ok", ""

    def own_cpu(self) -> float:
        """It has no threads of its own."""
        return 0.0

    def close(self) -> None:
        """Close the kept connection."""
        with self._turn:
            if self._link is not None:
                self._link.close()

    def _over_the_kept(self, path: str, deadline: float) -> Answer:
        if not self._turn.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise Unanswered("the connection was busy with the question before", sent=False)
        try:
            if self._link is None or not self._link.usable:
                self._link = Link(self._endpoint, deadline)
            return self._link.ask("GET", path, deadline)
        finally:
            self._turn.release()


class HttpService:
    """GET of a Service of `hello` pods from outside; the detail of an answer is the pod that gave it.

    Each question opens its own connection, so that each is balanced anew.

    Args:
        lane: name, interval.
        urls: asked in turn, http://ADDRESS:PORT/path: the node port on several nodes, or one of it.

    Raises:
        ValueError: one of them is no http URL.
    """

    def __init__(self, lane: Lane, urls: Sequence[str]) -> None:
        self.lane = lane
        self._targets = itertools.cycle([(Endpoint.of(url), _path(url)) for url in urls])
        self._several = len(urls) > 1
        self._turn = threading.Lock()

    def ask(self, timeout: float) -> Answered:
        """Ask the next URL; see Probe."""
        with self._turn:
            endpoint, path = next(self._targets)
        outcome, detail = _hello(endpoint, path, timeout)
        return outcome, detail if outcome == "ok" or not self._several else f"{endpoint.host}: {detail}"

    def own_cpu(self) -> float:
        """It has no threads of its own."""
        return 0.0

    def close(self) -> None:
        """Nothing is kept open."""


def _hello(endpoint: Endpoint, path: str, timeout: float) -> Answered:
    try:
        answer = ask_once(endpoint, "GET", path, timeout)
    except Unanswered as error:
        return unanswered_read(error)
    if answer.status != 200:
        return "failed", f"answered {answer.status}: {brief(answer.body)}"
    try:
        return "ok", str(json.loads(answer.body)["pod"])
    except (ValueError, KeyError, TypeError):
        return "failed", f"a wrong answer: {brief(answer.body)}"


def _path(url: str) -> str:
    path = url.partition("://")[2].partition("/")[2]
    return f"/{path}"
