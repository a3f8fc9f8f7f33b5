"""How long drills took here, for the matrix that cuts jobs of an hour. Pure."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubedrill.spec import load
from kubedrill.trends.records import EMULATED, PACKAGES, Record, kind_of_cluster
from kubedrill.versions import minor_of

# Fewer runs than this say less than an estimate; older ones than this many are of another time.
FEWEST, NEWEST = 3, 10
# A drill takes no longer with more workers than it needs.
_WORKERS = re.compile(r"\+\d+ ")


def measured(records: Sequence[Record], machine: str) -> Callable[[str, Mapping[str, Any]], float | None]:
    """Minutes of a drill on the cluster that it needs there, as the matrix asks; None where too few runs passed.

    Args:
        records: the history.
        machine: the kind of machine that counts.
    """

    def of(drill: str, cluster: Mapping[str, Any]) -> float | None:
        wanted = _kind(kind_of_cluster(load(None, cluster)))
        found = [
            (made, record.figures["took"])
            for record in records
            if record.name == drill
            and record.machine == machine
            and record.verdict == "passed"
            and minor_of(record.kubernetes) == cluster.get("kubernetes")
            # A line that holds other figures alone says nothing of how long it took.
            and "took" in record.figures
            and (made := _made(record.cluster, wanted)) is not None
        ]
        # VMs with KVM or without, modules or packages: what the newest run was made of, the next one will be.
        took = [seconds for made, seconds in found if made == found[-1][0]]
        return statistics.median(took[-NEWEST:]) / 60 if len(took) >= FEWEST else None

    return of


def _kind(cluster: str) -> str:
    return _WORKERS.sub("+ ", cluster, count=1)


def _made(cluster: str, wanted: str) -> frozenset[str] | None:
    """What the nodes of a cluster were that no settings say; None where it is none of the kind that is wanted."""
    kind = _kind(cluster)
    further = frozenset(kind.removeprefix(wanted).split())
    return further if kind.startswith(wanted) and further <= {EMULATED, PACKAGES} else None
