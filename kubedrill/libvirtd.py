"""Make libvirt answer on a machine that has it: with systemd, or by starting libvirtd itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kubedrill import host, paths, shell
from kubedrill.errors import CommandFailed, EngineUnavailable, MissingPrerequisite, TimedOut
from kubedrill.wait import until

URI = "qemu:///system"
QEMU_CONF = Path("/etc/libvirt/qemu.conf")
POOL = "default"
IMAGES = Path("/var/lib/libvirt/images")
_SECONDS = 30
_BEGIN, _END = "# kubedrill: begin", "# kubedrill: end"
# Where systemd is not process 1 there is most often no logind, no D-Bus and no right to cgroups of machines either:
# libvirtd is told to do without them, and to let qemu run as root, who it itself is.
_BY_HAND = f"""{_BEGIN} (no systemd on this machine)
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
{_END}
"""

Run = Callable[..., shell.Result]


def answers(run: Run = shell.run) -> bool:
    """Whether libvirt answers this user."""
    try:
        return run(["virsh", "--connect", URI, "uri"], check=False, timeout=10).status == 0
    except (CommandFailed, MissingPrerequisite):
        return False


def check(run: Run = shell.run) -> None:
    """See that libvirt answers.

    Raises:
        EngineUnavailable: it does not; says what to do.
    """
    if not answers(run):
        raise EngineUnavailable(
            "libvirt does not answer", evidence=[f"asked for {URI}"], todo=["run: invoke setup --provider vagrant"]
        )


def ensure(
    run: Run = shell.run,
    *,
    start: Callable[[list[str], Path], Callable[[], int | None]] = shell.start_daemon,
    systemd: bool | None = None,
    root: bool | None = None,
    conf: Path = QEMU_CONF,
) -> str:
    """See that libvirt answers and has a storage pool; start it where it does not. Harmless when it does.

    Args:
        run: runs a command.
        start: starts a daemon with a log; gives what asks for its exit status.
        systemd: whether systemd is process 1; found out without it.
        root: whether this process acts as root; found out without it.
        conf: libvirt's settings for QEMU.

    Returns:
        A line that says what was done.

    Raises:
        EngineUnavailable: it does not answer in time, or ends.
        MissingPrerequisite: only root can start it.
    """
    said = "libvirt answers"
    if not answers(run):
        systemd = host.systemd_runs() if systemd is None else systemd
        if not (host.is_root() if root is None else root):
            command = "systemctl start libvirtd" if systemd else "invoke setup --provider vagrant"
            raise MissingPrerequisite(
                "libvirt does not answer this user",
                todo=["sudo usermod -aG libvirt $USER    (then log in again)", f"sudo {command}"],
            )
        said = _started(run, start, systemd, conf)
    _pool(run)
    return said


def with_settings(text: str) -> str:
    """The text of qemu.conf with the settings for a machine without systemd, once."""
    before, found, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2].lstrip("\n") if found else ""
    return f"{before.rstrip()}\n{_BY_HAND}{after}".lstrip("\n")


def _started(run: Run, start: Callable[[list[str], Path], Callable[[], int | None]], systemd: bool, conf: Path) -> str:
    if systemd:
        run(["systemctl", "start", "libvirtd"])
        _wait(run, lambda: None, None)
        return "started libvirt (systemctl start libvirtd)"
    conf.write_text(with_settings(conf.read_text() if conf.exists() else ""))
    log = paths.state() / "libvirtd.log"
    _wait(run, start(["libvirtd"], log), log)
    return f"started libvirtd; its log is {log}"


def _wait(run: Run, ended: Callable[[], int | None], log: Path | None) -> None:
    def read() -> bool:
        there, status = answers(run), ended()
        if not there and status is not None:
            raise EngineUnavailable(f"libvirtd ended with status {status}", evidence=_tail(log))
        return there

    try:
        until(read, lambda there: (there, "it answers" if there else "it does not answer"), within=_SECONDS,
              what="libvirt answers")  # fmt: skip
    except TimedOut as error:
        raise EngineUnavailable(f"libvirt does not answer within {_SECONDS} s", evidence=_tail(log)) from error


def _pool(run: Run) -> None:
    """The storage pool that disks are in, where there is none of that name."""
    virsh = ["virsh", "--connect", URI]
    if run([*virsh, "pool-info", POOL], check=False).status != 0:
        run([*virsh, "pool-define-as", POOL, "dir", "--target", str(IMAGES)])
        run([*virsh, "pool-build", POOL])
    if "running" not in run([*virsh, "pool-info", POOL], env={"LC_ALL": "C"}).stdout:
        run([*virsh, "pool-start", POOL])
        run([*virsh, "pool-autostart", POOL])


def _tail(log: Path | None) -> list[str]:
    if log is None or not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-10:]
