"""Facts about this machine, each read when asked for; where they are read from can be given.

Capabilities, kernel features and the engine's socket have modules of their own, whose functions can be had here too.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kubedrill import shell
from kubedrill.capabilities import engine_missing_capabilities, missing_capabilities, pid_from, process_name
from kubedrill.errors import CommandFailed, MissingPrerequisite
from kubedrill.kernel import Feature, kernel_features

__all__ = [
    "DefaultRoute", "Distribution", "Feature", "Inotify", "Kvm", "Memory", "as_root", "cgroup_version", "cores",
    "default_route", "distribution", "engine_missing_capabilities", "free_disk", "free_port", "host_networks",
    "inotify_limits", "is_root", "kernel_features", "kvm", "machine", "memory", "missing_capabilities", "pid_from",
    "process_name",
    "raise_inotify_limits", "sysctl_command", "systemd_runs", "upstream_nameservers",
]  # fmt: skip

PROC = Path("/proc")
MIB = 2**20
_INOTIFY = "sys/fs/inotify"
_ROUTE_UP, _ROUTE_REJECT = 0x1, 0x200  # include/uapi/linux/route.h
_KVM_PROBE_SECONDS = 10


@dataclass(frozen=True)
class Memory:
    """Memory in MiB: all of it, and what can be used without swapping (MemAvailable, proc(5))."""

    total: int
    available: int


@dataclass(frozen=True)
class Distribution:
    """The distribution as os-release(5) names it; fields are empty where it does not tell."""

    id: str = ""
    id_like: tuple[str, ...] = ()
    codename: str = ""

    @property
    def has_apt(self) -> bool:
        """Whether it is Debian, Ubuntu or made from one of them."""
        return bool({"debian", "ubuntu"} & {self.id, *self.id_like})


class Inotify(NamedTuple):
    """The inotify limits of a user: instances, and watches in all of them together (inotify(7))."""

    instances: int
    watches: int


@dataclass(frozen=True)
class DefaultRoute:
    """Where packets to the world leave: the interface and the IPv4 address of the router."""

    interface: str
    gateway: ipaddress.IPv4Address


@dataclass(frozen=True)
class Kvm:
    """Whether KVM can run a machine, with the reason."""

    works: bool
    reason: str


def memory(*, proc: Path = PROC) -> Memory:
    """The memory of this machine in MiB.

    Raises:
        MissingPrerequisite: there is no /proc/meminfo.
    """
    text = _read(proc / "meminfo")
    if text is None:
        raise MissingPrerequisite(
            "the memory of this machine cannot be read",
            evidence=[f"there is no {proc / 'meminfo'}"],
            todo=["use Linux, with /proc mounted"],
        )
    values = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, flags=re.MULTILINE))
    return Memory(int(values["MemTotal"]) // 1024, int(values["MemAvailable"]) // 1024)


def free_disk(path: Path) -> int:
    """MiB that this user can still write at a path; where it does not exist yet, at its nearest parent."""
    there = next(folder for folder in (path, *path.absolute().parents) if _reachable(folder))
    status = os.statvfs(there)
    return status.f_bavail * status.f_frsize // MIB


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> str:
    """This machine in a line."""
    room = memory()
    return (
        f"{cores()} cores, {room.total} MiB, Linux {platform.release()}, cgroup v{cgroup_version()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def cgroup_version(*, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """2 where the unified hierarchy is mounted, else 1 (cgroups(7): only its root has cgroup.controllers)."""
    return 2 if (cgroup / "cgroup.controllers").exists() else 1


def distribution(*, os_release: Path = Path("/etc/os-release")) -> Distribution:
    """The distribution of this machine."""
    pairs = re.findall(r"^(\w+)=[\"']?(.*?)[\"']?\s*$", _read(os_release) or "", flags=re.MULTILINE)
    values = dict(pairs)
    like = tuple(values.get("ID_LIKE", "").split())
    return Distribution(values.get("ID", ""), like, values.get("VERSION_CODENAME", ""))


def systemd_runs(*, proc: Path = PROC) -> bool:
    """Whether systemd is process 1, so that it is the one to start services."""
    return process_name(1, proc=proc) == "systemd"


def is_root() -> bool:
    """Whether this process acts as root."""
    return os.geteuid() == 0


def as_root(command: str, *, root: bool) -> str:
    """The line to paste for a command that only root may run."""
    return command if root else f"sudo {command}"


def inotify_limits(*, proc: Path = PROC) -> Inotify:
    """The inotify limits in force; 0 where they cannot be read."""
    values = [_read(proc / _INOTIFY / name) for name in ("max_user_instances", "max_user_watches")]
    return Inotify(*(int(value or 0) for value in values))


def raise_inotify_limits(wanted: Inotify, *, proc: Path = PROC) -> bool:
    """Raise the inotify limits that are lower; never lowers one. Lasts until the next boot.

    Args:
        wanted: the limits at least.
        proc: where procfs is mounted.

    Returns:
        Whether anything had to be raised.

    Raises:
        MissingPrerequisite: this process may not; the to-do has the command.
    """
    now = inotify_limits(proc=proc)
    names = ("max_user_instances", "max_user_watches")
    low = [(name, goal) for name, goal, value in zip(names, wanted, now, strict=True) if value < goal]
    try:
        for name, goal in low:
            (proc / _INOTIFY / name).write_text(f"{goal}\n")
    except OSError as error:
        raise MissingPrerequisite(
            "the inotify limits of this machine are too low, and this user may not raise them",
            evidence=[f"instances {now.instances}, watches {now.watches}", str(error)],
            todo=[f"sudo {sysctl_command(wanted)}"],
        ) from error
    return bool(low)


def sysctl_command(wanted: Inotify) -> str:
    """The command that sets the inotify limits, for root."""
    return f"sysctl -w fs.inotify.max_user_instances={wanted.instances} fs.inotify.max_user_watches={wanted.watches}"


def upstream_nameservers(
    *,
    resolv_conf: Path = Path("/etc/resolv.conf"),
    resolved: Path = Path("/run/systemd/resolve/resolv.conf"),
) -> tuple[str, ...]:
    """The machine's nameservers that a pod can reach: IPv4, and neither this machine's loopback nor a link's.

    Args:
        resolv_conf: what programs of this machine use; it may name only a resolver on loopback (Docker's
            127.0.0.11, systemd-resolved's 127.0.0.53).
        resolved: where systemd-resolved then lists the real ones (systemd-resolved.service(8)).

    Returns:
        Their addresses; empty where none are known.
    """
    for file in (resolv_conf, resolved):
        words = re.findall(r"^\s*nameserver\s+(\S+)", _read(file) or "", flags=re.MULTILINE)
        if usable := tuple(word for word in words if _pod_can_reach(word)):
            return usable
    return ()


def host_networks(*, proc: Path = PROC) -> tuple[ipaddress.IPv4Network, ...]:
    """The IPv4 networks that this machine has routes to, default routes left out."""
    return tuple(route.network for route in _routes(proc) if route.network.prefixlen > 0)


def default_route(*, proc: Path = PROC) -> DefaultRoute | None:
    """The default route that is used (the one of the lowest metric); None where there is none."""
    routes = [route for route in _routes(proc) if route.network.prefixlen == 0]
    best = min(routes, key=lambda route: route.metric, default=None)
    return None if best is None else DefaultRoute(best.interface, best.gateway)


def kvm(*, device: Path = Path("/dev/kvm"), run: Callable[..., shell.Result] = shell.run) -> Kvm:
    """Whether KVM works, found by running a tiny machine in a child process (kubedrill/kvmprobe.py).

    Takes a few tens of milliseconds, and at most 10 s.
    """
    if not device.exists():
        return Kvm(False, f"there is no {device}")
    argv: Sequence[str] = [sys.executable, "-m", "kubedrill.kvmprobe"]
    try:
        result = run(argv, check=False, timeout=_KVM_PROBE_SECONDS)
    except CommandFailed:
        return Kvm(False, f"a tiny machine did not end within {_KVM_PROBE_SECONDS} s")
    lines = result.output.strip().splitlines() or [f"the probe ended with status {result.status}"]
    return Kvm(result.status == 0, lines[-1])


@dataclass(frozen=True)
class _Route:
    interface: str
    network: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address
    metric: int


def _routes(proc: Path) -> list[_Route]:
    lines = (_read(proc / "net/route") or "").splitlines()[1:]
    rows = [line.split() for line in lines]
    # Columns: Iface Destination Gateway Flags RefCnt Use Metric Mask
    return [
        _Route(row[0], ipaddress.IPv4Network((_address(row[1]), str(_address(row[7])))), _address(row[2]), int(row[6]))
        for row in rows
        if len(row) > 7 and int(row[3], 16) & (_ROUTE_UP | _ROUTE_REJECT) == _ROUTE_UP
    ]  # fmt: skip


def _address(word: str) -> ipaddress.IPv4Address:
    # The kernel prints the four bytes as one number of this machine's byte order.
    return ipaddress.IPv4Address(int(word, 16).to_bytes(4, sys.byteorder))


def _pod_can_reach(word: str) -> bool:
    try:
        address = ipaddress.IPv4Address(word)
    except ValueError:  # IPv6: pods have none
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_link_local)


def _reachable(folder: Path) -> bool:
    try:
        return folder.exists()
    except PermissionError:
        return False


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mebibytes(path: Path) -> int:
    """What a file or folder takes of its disk, in MiB, as far as this user may look; 0 where there is none."""
    result = shell.run(["du", "--summarize", "--block-size=1M", str(path)], check=False)
    return int(result.stdout.split()[0]) if result.stdout else 0
