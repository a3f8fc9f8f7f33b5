"""How long drills took here, for the matrix that cuts jobs of an hour. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubedrill.trends.records import Record
from kubedrill.versions import minor_of

# Fewer runs than this say less than an estimate; older ones than this many are of another time.
FEWEST, NEWEST = 3, 10


def measured(records: Sequence[Record], machine: str) -> Callable[[str, Mapping[str, Any]], float | None]:
    """Minutes of a drill on a cluster of some settings, as the matrix asks; None where too few runs passed.

    Args:
        records: the history.
        machine: the kind of machine that counts.
    """

    def of(drill: str, cell: Mapping[str, Any]) -> float | None:
        apart = ["external-etcd"] if cell.get("etcd") == "external" else []
        took = [
            record.figures["took"]
            for record in records
            if record.name == drill
            and record.machine == machine
            and record.verdict == "passed"
            and minor_of(record.kubernetes) == cell.get("kubernetes")
            and record.cluster.split()[1:] == [cell.get("provider"), cell.get("proxyMode"), *apart]
            and record.cluster.startswith(f"{cell.get('controlPlanes')}+")
        ]
        return statistics.median(took[-NEWEST:]) / 60 if len(took) >= FEWEST else None

    return of
