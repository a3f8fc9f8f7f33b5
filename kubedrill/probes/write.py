"""Numbered compare-and-set writes, such that a lost or reordered acknowledged write cannot go unseen.

Each write appends its number to the list in a ConfigMap, on the condition (resourceVersion) that nobody has changed the
ConfigMap since it was read. Why so:

- The list is the history. A store that goes back to an earlier state loses numbers from it, whatever is written later;
  a single value would be overwritten by the next write, and the loss with it.
- The condition turns an unknown outcome into a known one: once a later write of the same list is acknowledged, an
  earlier one whose answer never came is in the list, or can never get into it.
- Writes of one list must wait for each other; so there are several lists (slots), taken in turn, enough that a write
  that hangs until its timeout is over before its slot's next turn. The schedule is kept, and the writes of a whole run
  are some 15 objects in etcd, not thousands.
- Order across the lists: each acknowledgement carries the revision that etcd gave it. A write that began after another
  one's acknowledgement must have a greater one.

The samples' details hold number and revision, so that the ledger can be had from saved samples alone.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubedrill.availability import Write
from kubedrill.errors import KubedrillError
from kubedrill.history import Lane, Outcome, Sample
from kubedrill.probes.base import Answered, brief
from kubedrill.probes.http1 import Answer
from kubedrill.probes.manifest import CONFIG_MAPS, NAMESPACE, RUN_LABEL
from kubedrill.probes.operations import Content, Operations, content
from kubedrill.probes.wire import Endpoint, Link, Unanswered

# After so many conflicts in a row somebody else writes too.
_TRIES = 3
_DETAIL = re.compile(r"#(\d+)(?: @(\d+))?")


@dataclass(frozen=True)
class Ack:
    """An acknowledged write: its number, and time.monotonic() when the acknowledgement came."""

    number: int
    at: float


@dataclass
class _Slot:
    """One list of numbers, as it was last known to be in the store."""

    name: str
    # None: to be read first. Empty: it is not there yet.
    version: str | None = None
    numbers: tuple[int, ...] = ()
    # Whether this run has ever tried to make it.
    begun: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)


class ApiWrite:
    """A compare-and-set write each interval; each opens its own connection.

    Outcomes: ok, acknowledged with a revision; failed, certainly not done (not sent, refused with 4xx, or the list
    could not be read before); unknown, anything else (no answer, or a 5xx, behind which etcd may have done it).

    Args:
        lane: name, interval.
        endpoint: the API.
        run: names the run's objects, and is used once: lower-case letters, digits, dashes.
        timeout: seconds that the sampler gives each write; decides how many lists there are.
        history: told of each question put to a list, and of its answer.
    """

    def __init__(
        self, lane: Lane, endpoint: Endpoint, run: str, *, timeout: float = 1.0, history: Operations | None = None
    ) -> None:
        self.lane = lane
        self._endpoint = endpoint
        self._run = run
        self._history = history or Operations(time.monotonic)
        self._lock = threading.Lock()
        self._last = 0
        self._newest: Ack | None = None
        self._slots = [_Slot(f"probe-{run}-{n:02d}") for n in range(math.ceil(timeout / lane.interval) + 3)]

    def ask(self, timeout: float) -> Answered:
        """Write the next number; see Probe. The detail is '#NUMBER @REVISION' or '#NUMBER: what went wrong'.

        Raises:
            KubedrillError: there are lists of another run of the same name, so that nothing could be told by them.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            self._last += 1
            number = self._last
        slot = self._slots[number % len(self._slots)]
        if not slot.turn.acquire(timeout=timeout):
            return "failed", f"#{number}: the write before it still holds its list"
        try:
            outcome, detail = self._write(slot, number, deadline)
        finally:
            slot.turn.release()
        if outcome != "ok":
            return outcome, f"#{number}: {detail}"
        with self._lock:
            if self._newest is None or number > self._newest.number:
                self._newest = Ack(number, time.monotonic())
        return "ok", f"#{number} @{detail}"

    def lists(self) -> tuple[str, ...]:
        """The names of all lists, whether they are there yet or not."""
        return tuple(slot.name for slot in self._slots)

    def newest(self) -> Ack | None:
        """The acknowledged write with the highest number."""
        with self._lock:
            return self._newest

    def read_back(self, timeout: float = 10.0, endpoint: Endpoint | None = None) -> dict[str, tuple[int, ...]]:
        """What the store has: for each list its numbers. Each list is read by name, so from a quorum of etcd.

        Args:
            timeout: seconds for all of it.
            endpoint: another way to the API, one control plane's.

        Raises:
            KubedrillError: the API does not answer, so that nothing can be said about lost writes.
        """
        deadline = time.monotonic() + timeout
        link = Link(endpoint or self._endpoint, deadline)
        found = {}
        try:
            for slot in self._slots:
                answer, seen = self._get(link, slot, deadline)
                if seen is None:
                    raise KubedrillError(
                        "the writes of the drill could not be read back",
                        evidence=[f"GET {slot.name} answered {answer.status}: {brief(answer.body)}"],
                    )
                found[slot.name] = seen[1]
        finally:
            link.close()
        return found

    def own_cpu(self) -> float:
        """It has no threads of its own."""
        return 0.0

    def close(self) -> None:
        """Nothing is kept open."""

    def _write(self, slot: _Slot, number: int, deadline: float) -> Answered:
        detail = "no time was left"
        try:
            link = Link(self._endpoint, deadline)
        except Unanswered as error:
            return "failed", error.what
        try:
            for _ in range(_TRIES):
                if slot.version is None and (problem := self._read(link, slot, deadline)):
                    return "failed", problem
                if number in slot.numbers:
                    return "ok", slot.version or "0"
                answer = self._put(link, slot, number, deadline)
                if answer.status in (200, 201):
                    return "ok", slot.version or "0"
                if answer.status >= 500:
                    slot.version = None
                    return "unknown", f"answered {answer.status}: {brief(answer.body)}"
                detail = f"answered {answer.status}: {brief(answer.body)}"
                if answer.status not in (404, 409):
                    return "failed", detail
                # Changed since it was read: by an earlier write that had no answer. A read tells.
                slot.version = None
            return "failed", detail
        except Unanswered as error:
            slot.version = None
            return ("unknown" if error.sent else "failed"), error.what
        finally:
            link.close()

    def _read(self, link: Link, slot: _Slot, deadline: float) -> str:
        """Learn what is in a slot; says what kept it from that. What is read here was never written: not unknown."""
        try:
            answer, seen = self._get(link, slot, deadline)
            if seen is None:
                return f"reading it before: answered {answer.status}: {brief(answer.body)}"
            if seen[0] and not slot.begun:
                raise KubedrillError(
                    f"the ConfigMap {slot.name} is there before this run wrote it",
                    todo=["give each run a name of its own", f"kubectl delete namespace {NAMESPACE}"],
                )
            slot.version, slot.numbers = seen
        except Unanswered as error:
            return f"reading it before: {error.what}"
        return ""

    def _get(self, link: Link, slot: _Slot, deadline: float) -> tuple[Answer, Content | None]:
        """The answer to a read, and what it holds; None where it says neither that nor that nothing is there."""
        start = self._history.now()
        answer = link.ask("GET", f"{CONFIG_MAPS}/{slot.name}", deadline)
        if answer.status not in (200, 404):
            return answer, None
        seen = content(answer)
        self._history.read(slot.name, self.lane.name, start, seen)
        return answer, seen

    def _put(self, link: Link, slot: _Slot, number: int, deadline: float) -> Answer:
        """Try to write. What came of it is put on record, and where it was done the slot is as it says."""
        start, before = self._history.now(), slot.numbers
        outcome: Outcome = "unknown"
        version = ""
        try:
            answer = self._send(link, slot, number, deadline)
            if answer.status in (200, 201):
                slot.version, slot.numbers = content(answer)
                version = slot.version
            outcome = _outcome(answer.status)
        except Unanswered as error:
            outcome = "unknown" if error.sent else "failed"
            raise
        finally:
            self._history.write(slot.name, self.lane.name, start, outcome, before, number, version)
        return answer

    def _send(self, link: Link, slot: _Slot, number: int, deadline: float) -> Answer:
        metadata: dict[str, Any] = {"name": slot.name, "namespace": NAMESPACE, "labels": {RUN_LABEL: self._run}}
        if slot.version:
            metadata["resourceVersion"] = slot.version
        body = json.dumps(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "data": {"numbers": " ".join(map(str, (*slot.numbers, number)))},
            }
        ).encode()
        slot.begun = True
        method, path = ("PUT", f"{CONFIG_MAPS}/{slot.name}") if slot.version else ("POST", CONFIG_MAPS)
        return link.ask(method, path, deadline, body, {"Content-Type": "application/json"})


def _outcome(status: int) -> Outcome:
    """What an answer's status says of a write.

    A conflict is not certain: with something on the way that asks twice it may be with this very write.
    """
    if status in (200, 201):
        return "ok"
    return "unknown" if status >= 500 or status == 409 else "failed"


def ledger(samples: Iterable[Sample]) -> tuple[Write, ...]:
    """The ledger that the samples of an ApiWrite lane hold, for availability.lost_writes.

    Raises:
        ValueError: they are of another lane.
    """
    writes = []
    for sample in samples:
        found = _DETAIL.match(sample.detail)
        if found is None:
            raise ValueError(f"'{sample.detail}' is not the detail of a write")
        revision = int(found[2]) if found[2] else None
        writes.append(Write(int(found[1]), sample.start, sample.end, sample.outcome, revision))
    return tuple(writes)


def save_found(found: Mapping[str, Sequence[int]], file: Path) -> None:
    """Keep what `read_back` gave, so that a run can be judged again."""
    file.write_text(json.dumps(found) + "\n")


def load_found(file: Path) -> dict[str, tuple[int, ...]]:
    """What `save_found` kept."""
    return {name: tuple(numbers) for name, numbers in json.loads(file.read_text()).items()}
