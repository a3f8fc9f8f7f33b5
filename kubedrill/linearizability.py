"""What was asked of single objects and answered, such that a checker can say whether one order explains it all. Pure.

An object is a register: a read sees its value, a write sets it on the condition that it is what it was (compare and
set). The history is linearizable if all that was answered can be put in one order in which each read sees what the
write before it made, and nothing comes before what was over when it began (Herlihy and Wing, 'Linearizability: A
Correctness Condition for Concurrent Objects', 1990; checked object by object, which is enough: their theorem 1).

A write whose outcome is unknown may have been done at any time from its beginning to the end of the history, or never.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kubedrill.availability import Restored
from kubedrill.history import Outcome

FILE = "operations.jsonl"
# The value of an object that is not there.
NOTHING = ""
# That many of what cannot be explained are told.
_TOLD = 3


@dataclass(frozen=True)
class Operation:
    """A read or a write of one object.

    Args:
        key: the object's name.
        client: who asked: a lane's name.
        kind: 'read', 'cas' (a write on a condition), or 'restore' (the store was put back, on purpose).
        start: when it was begun, in seconds of the run.
        end: when it was answered, or given up.
        outcome: ok; failed: certainly not done; unknown: it may have been done, or be done yet.
        before: the value that a write is on condition of.
        after: the value that a write, or a restore, makes.
        seen: the value that a read saw.
        revision: the store's revision of the value that was made or seen; None where it is not known.
    """

    key: str
    client: str
    kind: Literal["read", "cas", "restore"]
    start: float
    end: float
    outcome: Outcome
    before: str = NOTHING
    after: str = NOTHING
    seen: str = NOTHING
    revision: int | None = None


@dataclass(frozen=True)
class Judgement:
    """What the checker says of a history.

    Args:
        result: whether one order explains all of it; 'unknown' where that was not decided in time.
        measured: what was judged and, where no order does, what cannot be explained.
        reads: how many reads were judged.
        writes: how many acknowledged writes were judged.
    """

    result: Literal["linearizable", "not linearizable", "unknown"]
    measured: str
    reads: int
    writes: int


def value(numbers: Sequence[int]) -> str:
    """The value of a list of numbers: short, and another one for each other list."""
    if not numbers:
        return NOTHING
    digest = hashlib.sha256(" ".join(map(str, numbers)).encode()).hexdigest()[:8]
    return f"{len(numbers)} numbers up to {numbers[-1]} ({digest})"


def complete(operations: Sequence[Operation], restored: Restored | None) -> tuple[Operation, ...]:
    """The operations, and those that putting the store back to a snapshot amounts to: one of each object.

    It set each object to what it was at the snapshot's revision. It was done some time after it was begun.

    Args:
        operations: what was asked and answered.
        restored: where the store was put back.
    """
    if restored is None or not operations:
        return tuple(operations)
    end = max(max(one.end for one in operations), restored.at)
    kept: dict[str, Operation] = {}
    for one in operations:
        if one.outcome == "ok" and one.revision is not None and one.revision <= restored.revision:
            newest = kept.get(one.key)
            if newest is None or newest.revision is None or one.revision > newest.revision:
                kept[one.key] = one
    values = {key: one.after if one.kind == "cas" else one.seen for key, one in kept.items()}
    return (
        *operations,
        *(
            Operation(key, "the restore", "restore", restored.at, end, "ok", after=values.get(key, NOTHING))
            for key in sorted({one.key for one in operations})
        ),
    )


def document(operations: Sequence[Operation], timeout: float) -> str:
    """The history as the checker reads it (images/components/porcupine/cmd/linearizable).

    Args:
        operations: what is to be judged.
        timeout: seconds that it may take.
    """
    return json.dumps({"timeout": timeout, "operations": [_given(one) for one in operations]})


def _given(one: Operation) -> dict[str, Any]:
    return {
        "key": one.key, "client": one.client, "kind": one.kind, "from": one.before, "to": one.after,
        "output": one.seen, "start": _nanoseconds(one.start), "end": _nanoseconds(one.end), "outcome": one.outcome,
    }  # fmt: skip


def judgement(answer: Mapping[str, Any], operations: Sequence[Operation], timeout: float) -> Judgement:
    """What the checker's answer says, in words.

    Args:
        answer: as the checker gave it.
        operations: what it was given.
        timeout: seconds that it had.
    """
    judged = Counter((one.kind, one.outcome) for one in operations)
    reads, writes, unknown = judged["read", "ok"], judged["cas", "ok"], judged["cas", "unknown"]
    measured = f"{answer['keys']} objects, {reads} reads, {writes} writes acknowledged, {unknown} of unknown outcome"
    match answer["result"]:
        case "unknown":
            measured += f": not decided within {timeout:g} s ({answer['key']})"
        case "not linearizable":
            measured += f": {_reason(answer, operations)}"
    return Judgement(answer["result"], measured, reads, writes)


def _reason(answer: Mapping[str, Any], operations: Sequence[Operation]) -> str:
    stuck = sorted((operations[number] for number in answer.get("stuck", ())), key=lambda one: one.start)
    told = "; ".join(map(_told, stuck[:_TOLD])) + (f"; and {len(stuck) - _TOLD} more" if len(stuck) > _TOLD else "")
    return (
        f"of {answer['key']} {len(answer.get('order', ()))} have an order, up to {_shown(answer['state'])}; "
        f"what must come next cannot: {told}"
    )


def _told(one: Operation) -> str:
    what = {
        "read": f"a read that saw {_shown(one.seen)}",
        "cas": f"a write that made {_shown(one.after)} of {_shown(one.before)}",
        "restore": f"the restore of {_shown(one.after)}",
    }[one.kind]
    return f"{what} ({one.client}, {one.start:.2f} to {one.end:.2f} s)"


def _shown(state: str) -> str:
    return f"'{state}'" if state else "nothing"


def save(operations: Iterable[Operation], folder: Path) -> None:
    """Keep operations in a run's folder, a JSON line each, so that the run can be judged again."""
    (folder / FILE).write_text("".join(f"{json.dumps(asdict(one))}\n" for one in operations))


def load(folder: Path) -> tuple[Operation, ...]:
    """What `save` kept.

    Raises:
        OSError: nothing was kept.
        ValueError: it cannot be read.
        TypeError: it cannot be read.
    """
    return tuple(Operation(**json.loads(line)) for line in (folder / FILE).read_text().splitlines())


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
