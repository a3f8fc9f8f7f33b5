"""How busy this computer was: what a report needs when figures of the same drill differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CpuTime:
    """What all cores have done since the boot (hundredths of a second, proc(5): /proc/stat).

    Args:
        total: all of it.
        idle: nothing to do, or waiting for a disk.
        stolen: given by the host of a virtual machine to others.
    """

    total: int
    idle: int
    stolen: int


def read(*, proc: Path = Path("/proc")) -> CpuTime | None:
    """What /proc/stat says; None where there is none."""
    try:
        words = (proc / "stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, idle, wait, irq, softirq, stolen = map(int, words)
    return CpuTime(user + nice + system + idle + wait + irq + softirq + stolen, idle + wait, stolen)


def between(before: CpuTime | None, after: CpuTime | None) -> str:
    """In words how busy it was between two moments; empty where that is not known."""
    if before is None or after is None or after.total <= before.total:
        return ""
    total = after.total - before.total
    busy = 1 - (after.idle - before.idle) / total
    stolen = (after.stolen - before.stolen) / total
    return f"{busy:.0%} busy, {stolen:.0%} taken by its host"
