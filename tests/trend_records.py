"""Lines of a history, a day apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kubedrill.trends.records import Record

MACHINE = "2 cores, 24105 MiB, Linux 6.18, cgroup v1, Python 3.11.7, 2026-11-26"
KIND = "2 cores, 24 GiB, cgroup v1"


USUAL = [10.0] * 10
# The median is 10, the spread 0.64.
SCATTERED = [9.0, 10.6, 9.4, 10.2, 9.8, 10.4, 11.0, 9.6, 9.9, 10.1]


def record(number: int, value: float, **changes: Any) -> Record:
    given = Record(
        at=f"2026-11-{number + 1:02}T02:17:00+00:00", name="ha-failover", kubernetes="v1.37.2",
        cluster="3+2 docker iptables", machine=KIND, verdict="passed", figures={"took": value},
    )  # fmt: skip
    return replace(given, **changes)


def values(*seconds: float, **changes: Any) -> list[Record]:
    return [record(number, value, **changes) for number, value in enumerate(seconds)]
