"""Which Linux capabilities a process can ever have, and the engine above all: a node gets no more than that."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from kubedrill import engine_socket

PROC = Path("/proc")
DOCKER_PID_FILE = Path("/var/run/docker.pid")
# include/uapi/linux/capability.h, in the order of their numbers.
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip


def missing_capabilities(pid: int, *, proc: Path = PROC) -> tuple[str, ...] | None:
    """The capabilities of this kernel that a process is bounded from (CapBnd, capabilities(7)).

    Args:
        pid: the process.
        proc: where procfs is mounted.

    Returns:
        Their names as Docker's --cap-drop takes them ('SYS_RESOURCE'); empty where it has all; None where it cannot
        be read.
    """
    try:
        status = (proc / str(pid) / "status").read_text()
        last = int((proc / "sys/kernel/cap_last_cap").read_text())
    except OSError:
        return None
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)", status, flags=re.MULTILINE)
    if not found:
        return None
    bounding = int(found.group(1), 16)
    return tuple(_name(number) for number in range(last + 1) if not bounding >> number & 1)


def engine_missing_capabilities(
    *,
    socket: Path | None = None,
    peer: Callable[[Path], int | None] = engine_socket.peer,
    pid_file: Path = DOCKER_PID_FILE,
    proc: Path = PROC,
) -> tuple[str, ...] | None:
    """The capabilities that the engine lacks, so that no container can have them.

    Args:
        socket: the engine's socket; the one of DOCKER_HOST without it.
        peer: gives the process behind a socket.
        pid_file: where dockerd writes its process id.
        proc: where procfs is mounted.

    Returns:
        Their names; None where they cannot be known (the engine is remote or silent, or its process is not visible).
    """
    path = socket or engine_socket.socket_path()
    pid = peer(path) if path is not None else None
    # Under socket activation it is systemd that listens, and the engine is only to be found by its pid file.
    if pid is not None and process_name(pid, proc=proc) in ("systemd", "init"):
        pid = pid_from(pid_file)
        if pid is not None and process_name(pid, proc=proc) != "dockerd":
            pid = None
    return None if pid is None else missing_capabilities(pid, proc=proc)


def process_name(pid: int, *, proc: Path = PROC) -> str | None:
    """The name of a process; None where there is none of that number, or it is dead and only not reaped yet."""
    try:
        status = proc / str(pid) / "status"
        if status.exists() and re.search(r"^State:\s*[ZX]", status.read_text(), flags=re.MULTILINE):
            return None
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return None


def pid_from(file: Path) -> int | None:
    """The process id in a pid file; None where there is no such file or no number in it."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _name(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else f"CAP_{number}"
