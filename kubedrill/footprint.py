"""What nodes, and programs in them, hold: memory and disk, in MiB."""

from __future__ import annotations

from kubedrill.providers.base import Node

# MiB that a node's processes hold: what its cgroup is charged for, without file cache that can be dropped.
MEMORY = (
    "sh",
    "-c",
    "cd /sys/fs/cgroup; "
    "if [ -e memory.current ]; then used=$(cat memory.current); file=inactive_file; "
    "else cd memory; used=$(cat memory.usage_in_bytes); file=total_inactive_file; fi; "
    'echo $(( (used - $(grep "^$file " memory.stat | cut -d" " -f2)) / 1048576 ))',
)
# MiB on a node's own disk (/var), without what it mounts from elsewhere.
DISK = ("sh", "-c", "du -xsm /var | cut -f1")
_ETCD_DATA = "/var/lib/etcd/member/snap/db"
# Seconds. A limit, not an expectation.
_WITHIN = 60


def memory(node: Node) -> float:
    """What a node's processes hold.

    Raises:
        CommandFailed: the node does not tell.
    """
    return float(node.run(MEMORY, show=False).stdout)


def disk(node: Node) -> float:
    """What a node has on its own disk.

    Raises:
        CommandFailed: the node does not tell.
    """
    return float(node.run(DISK, show=False).stdout)


def program(node: Node, name: str) -> float | None:
    """What the processes of a program hold in a node (their resident memory); None where none runs."""
    told = node.run(["ps", "-C", name, "-o", "rss="], check=False, timeout=_WITHIN).stdout.split()
    return sum(map(int, told)) / 1024 if told else None


def etcd_data(node: Node) -> float | None:
    """What the data of etcd take on a control plane's disk; None where there are none."""
    told = node.run(["du", "-sm", _ETCD_DATA], check=False, timeout=_WITHIN).stdout.split()
    return float(told[0]) if told else None
