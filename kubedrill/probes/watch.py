"""A watch on the objects that ApiWrite changes, and whether it tells in time.

At each question take the newest acknowledged write. The watch is alive (ok) when an event that contains that write's
number came, or comes, within the timeout after its acknowledgement; the detail is the delay from the one to the other.
It is not (failed) when the event does not come. Where no write was acknowledged lately there is nothing to see, and the
watch is not proved to be alive: unknown, hence downtime too. So a watch is never reported better than it was, and the
downtime of a watch contains that of the writes; what the watch adds is the difference. (The very first acknowledgement
is waited for, so that a run does not begin with downtime.)
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from urllib.parse import quote

from kubedrill.errors import KubedrillError
from kubedrill.history import Lane
from kubedrill.probes.base import Answered, brief
from kubedrill.probes.http1 import dechunk, parse_head
from kubedrill.probes.manifest import CONFIG_MAPS, RUN_LABEL
from kubedrill.probes.operations import numbers_of
from kubedrill.probes.wire import Endpoint, Link, Unanswered
from kubedrill.probes.write import Ack

_PAUSE = 0.1
_CONNECT = 1.0


class Watch:
    """A watch that is kept open, and opened anew from where it was when it breaks.

    Args:
        lane: name, interval.
        endpoint: the API.
        run: of the ApiWrite whose objects are watched.
        newest: that ApiWrite's `newest`.
        silence: seconds without any event after which the connection counts as broken. (client-go notices a peer that
            vanished after 45 s, unless something else closes the connection.)
        recent: seconds that the newest acknowledgement may be old; 5 intervals without it.
    """

    def __init__(
        self, lane: Lane, endpoint: Endpoint, run: str, newest: Callable[[], Ack | None], *, silence: float = 5.0,
        recent: float | None = None,
    ) -> None:  # fmt: skip
        self.lane = lane
        self._endpoint = endpoint
        self._path = f"{CONFIG_MAPS}?watch=1&timeoutSeconds=3600&labelSelector={quote(f'{RUN_LABEL}={run}')}"
        self._newest = newest
        self._silence = silence
        self._recent = 5 * lane.interval if recent is None else recent
        self._news = threading.Condition()
        self._seen: dict[int, float] = {}
        self._state = "not connected yet"
        self._version = ""
        self._cpu = 0.0
        self._ending = threading.Event()
        self._link: Link | None = None
        self._reader = threading.Thread(target=self._read_on, name=f"watch-{lane.name}", daemon=True)
        self._reader.start()

    def ask(self, timeout: float) -> Answered:
        """See whether the newest acknowledged write is told; see Probe.

        Raises:
            KubedrillError: the thread that reads the watch has died.
        """
        if not self._reader.is_alive():
            raise KubedrillError("the thread that reads the watch has died", evidence=[self._state])
        ack = self._newest() or self._first(timeout)
        if ack is None or time.monotonic() - ack.at > self._recent:
            return "unknown", f"no write was acknowledged in the last {self._recent:g} s: nothing to see"
        with self._news:
            self._news.wait_for(lambda: ack.number in self._seen, ack.at + timeout - time.monotonic())
            seen = self._seen.get(ack.number)
            state = self._state
        if seen is None or seen > ack.at + timeout:
            return "failed", f"write {ack.number} not seen {timeout:g} s after its acknowledgement ({state})"
        return "ok", f"write {ack.number} seen after {max(seen - ack.at, 0):.3f} s"

    def _first(self, timeout: float) -> Ack | None:
        """Wait for the first acknowledgement of all: a run does not begin with downtime of what nobody could see."""
        with self._news:
            return self._news.wait_for(self._newest, timeout)

    def own_cpu(self) -> float:
        """What reading the watch took."""
        return self._cpu

    def close(self) -> None:
        """End the watch."""
        self._ending.set()
        link = self._link
        if link is not None:
            link.shutdown()
        self._reader.join(_CONNECT + 1)

    def _read_on(self) -> None:
        while not self._ending.is_set():
            try:
                self._read_one()
            except Unanswered as error:
                self._say(f"broken: {error.what}")
            except ValueError as error:
                self._say(f"broken: a wrong answer: {error}")
            self._cpu = time.thread_time()
            self._ending.wait(_PAUSE)

    def _read_one(self) -> None:
        """One connection, until it breaks or the server ends it."""
        since = f"&resourceVersion={self._version}" if self._version else ""
        deadline = time.monotonic() + _CONNECT
        link = self._link = Link(self._endpoint, deadline)
        try:
            if self._ending.is_set():
                return
            link.send("GET", self._path + since, deadline)
            data = b""
            while (head := parse_head(data) if data else None) is None:
                data += self._receive(link)
            rest, lines = data[head.body_at :], b""
            if head.status != 200:
                # 410: what is asked for is compacted away; a watch from now tells all there is first.
                self._version = ""
                raise ValueError(f"{head.status}: {brief(rest)}")
            self._say("connected")
            chunked = head.headers.get("transfer-encoding") == "chunked"
            while True:
                content, rest, ended = dechunk(rest) if chunked else (rest, b"", False)
                *whole, lines = (lines + content).split(b"\n")
                for line in whole:
                    self._event(line)
                if ended:
                    self._say("ended by the server")
                    return
                rest += self._receive(link)
        finally:
            link.close()

    def _receive(self, link: Link) -> bytes:
        received = link.receive(time.monotonic() + self._silence)
        if not received:
            raise Unanswered("the connection was closed", sent=True)
        return received

    def _event(self, line: bytes) -> None:
        event = json.loads(line)
        at = time.monotonic()
        self._cpu = time.thread_time()
        if event["type"] == "ERROR":
            self._version = ""
            raise ValueError(f"an error event: {brief(line)}")
        thing = event["object"]
        self._version = thing["metadata"]["resourceVersion"]
        with self._news:
            for number in numbers_of(thing):
                self._seen.setdefault(number, at)
            self._news.notify_all()

    def _say(self, state: str) -> None:
        with self._news:
            self._state = state
