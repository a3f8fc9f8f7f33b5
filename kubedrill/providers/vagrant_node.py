"""A node that is a VM: libvirt starts and stops it, ssh runs its commands, Vagrant removes it."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers import vagrant_state
from kubedrill.providers.archive import tar_of
from kubedrill.providers.base import File, Role, State
from kubedrill.providers.hypervisor import Hypervisor
from kubedrill.providers.offline import Offline
from kubedrill.providers.ssh import Ssh, Unreachable
from kubedrill.providers.vagrant_machines import Machines
from kubedrill.providers.vagrant_spec import BOOT_TIMEOUT, Vm
from kubedrill.shell import Result, pasteable
from kubedrill.wait import until

# What `timeout` (coreutils) answers when it ended the command, and after it had to kill it.
_TIMED_OUT = (124, 137)
# Until a VM that is told to shut down is switched off; twice that is what systemd gives one service.
_STOP_SECONDS = 180
_JOURNAL = ["--no-pager", "--output=short-precise"]
# A VM whose clock stood still, or was set wrong, reads its hardware clock, which libvirt keeps at UTC.
RTC = 'date --utc --set "@$(cat /sys/class/rtc/rtc0/since_epoch)"'

Observer = Callable[[str, Sequence[str], str | None], None]


class VagrantNode:
    """A node that is a VM."""

    def __init__(self, folder: Path, vm: Vm, hypervisor: Hypervisor, observer: Observer) -> None:
        self._folder, self._vm, self._hypervisor, self._observer = folder, vm, hypervisor, observer
        self._ssh = Ssh(vm.address, [folder / "id_ed25519", folder / "box.key"], folder / f"{vm.name}.known")

    def __repr__(self) -> str:
        return f"VagrantNode({self.name})"

    @property
    def name(self) -> str:
        """Its host name."""
        return self._vm.name

    @property
    def role(self) -> Role:
        """What it is for."""
        return self._vm.role

    @property
    def address(self) -> str:
        """Its IPv4 address in the cluster's network."""
        return self._vm.address

    def state(self) -> State:
        """Whether it runs."""
        return self._hypervisor.state(self._vm.domain)

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, check: bool = True, timeout: float | None = None,
        show: bool = True,
    ) -> Result:  # fmt: skip
        """Run a command in the node and wait for its end."""
        if show:
            self._observer(self.name, argv, stdin)
        self._running()
        began = time.monotonic()
        command = list(argv) if timeout is None else ["timeout", "--kill-after=5", f"{timeout:g}", *argv]
        # Its own limit is the VM's affair; the second one is for a VM that stops answering.
        limit = None if timeout is None else timeout + 90
        with self._answering():
            result = self._ssh.command(command, self._environment(), stdin=stdin, timeout=limit)
        if timeout is not None and result.status in _TIMED_OUT and time.monotonic() - began >= timeout:
            raise CommandFailed(self._pasteable(argv), None, result.output, self.name)
        if check and result.status != 0:
            raise CommandFailed(self._pasteable(argv), result.status, result.output, self.name)
        return result

    def write(self, files: Sequence[File]) -> None:
        """Write files, owned by root; folders are made. They are on the disk at the end."""
        self._running()
        with tempfile.NamedTemporaryFile() as archive:
            archive.write(tar_of({file.path: (file.content.encode(), file.mode) for file in files}))
            archive.flush()
            unpack = "tar --extract --file=- --directory=/ --preserve-permissions --no-overwrite-dir && sync -f /"
            self._copy_in(Path(archive.name), unpack)

    def send(self, source: Path, path: str) -> None:
        """Copy a file of this machine into the node, whatever its size."""
        self._running()
        target, folder = shlex.quote(path), shlex.quote(str(PurePosixPath(path).parent))
        self._copy_in(source, f"mkdir -p {folder} && cat >{target} && sync -f /")

    def journal(self) -> str:
        """The journal of its services as text; what it tells is on the disk then. Works on a stopped node too."""
        if self.state() == "running":
            script = 'journalctl --sync; exec journalctl "$@"'
            return self.run(["sh", "-c", script, "sh", *_JOURNAL], show=False, check=False, timeout=300).stdout
        return self._offline().journal(_JOURNAL)

    def console(self) -> str:
        """What its kernel and its first process wrote on the serial console since it was switched on."""
        self.state()
        file = self._folder / f"{self.name}.console"
        return file.read_text(errors="replace") if file.exists() else ""

    def read_tree(self, path: str) -> bytes:
        """A tar of a file or folder of the node; works on a stopped node too."""
        if self.state() == "stopped":
            return self._offline().tree(path)
        base = PurePosixPath(path)
        with tempfile.NamedTemporaryFile() as sink, self._answering():
            pack = ["tar", "--create", "--file=-", "--directory", str(base.parent), "--", base.name]
            result = self._ssh.copy_out(pack, Path(sink.name), timeout=600)
            if "No such file or directory" in result.stderr or "Cannot open" in result.stderr:
                raise NotFound(f"{self.name} has no {path}", evidence=result.stderr.splitlines()[-2:])
            if result.status not in (0, 1):  # 1: a file changed while it was read
                raise CommandFailed(self._pasteable(pack), result.status, result.stderr, self.name)
            return Path(sink.name).read_bytes()

    def stop(self) -> None:
        """Shut it down in order; one that does not end is switched off."""
        if self.state() == "stopped":
            return
        self._running()
        with contextlib.suppress(Unreachable, CommandFailed):
            self._ssh.command(["systemctl", "--no-block", "poweroff"], timeout=60)
            until(self.state, lambda now: (now == "stopped", f"it is {now}"), within=_STOP_SECONDS, every=0.5,
                  what=f"the end of {self.name}", )  # fmt: skip
        self._ssh.forget()
        if self.state() != "stopped":
            self._hypervisor.act("destroy", self._vm.domain)

    def start(self) -> None:
        """Start it again after `stop` or `kill`; returns when it can be given commands."""
        now = self.state()
        if now == "paused":
            raise KubedrillError(f"{self.name} is paused: it cannot be started")
        if now == "stopped":
            self._ssh.forget()
            self._offline().forget()
            self._hypervisor.start_network(vagrant_state.load(self._folder).network)
            self._hypervisor.act("start", self._vm.domain)
        self._wait_for_ssh()

    def kill(self) -> None:
        """End it at once, as a power cut would: what was not synced is lost."""
        self.state()
        self._hypervisor.act("destroy", self._vm.domain)
        self._ssh.forget()

    def pause(self) -> None:
        """Freeze it."""
        self.state()
        self._hypervisor.act("suspend", self._vm.domain)

    def resume(self) -> None:
        """Let it go on. Its clock stood still meanwhile, and is set."""
        self.state()
        self._hypervisor.act("resume", self._vm.domain)
        with contextlib.suppress(NotFound):
            self.run(["sh", "-c", RTC], check=False, show=False, timeout=60)

    def remove(self) -> None:
        """Remove it and its disk, whatever its state; harmless when it is gone."""
        self._ssh.forget()
        if self._hypervisor.exists(self._vm.domain):
            # Vagrant may be gone, or not know the VM (any more): what it leaves is removed all the same.
            with contextlib.suppress(KubedrillError):
                Machines(self._folder, vagrant_state.load(self._folder).vagrants_provider).destroy(self.name)
        self._hypervisor.remove(self._vm.domain)
        with vagrant_state.changing(self._folder) as kept:
            kept.drop(self.name)
        for suffix in ("console", "known", "offline"):
            (self._folder / f"{self.name}.{suffix}").unlink(missing_ok=True)

    def shell_argv(self, command: Sequence[str]) -> Sequence[str]:
        """The command of this machine that opens a terminal in the node."""
        return self._ssh.terminal(command, self._environment())

    def become(self, environment: Mapping[str, str]) -> None:
        """Make a fresh VM this node: its name, its services, and the cluster's own key instead of the box's.

        Args:
            environment: settings for kubedrill-boot.
        """
        settings = "".join(f"{key}={shlex.quote(value)}\n" for key, value in environment.items())
        public = (self._folder / "id_ed25519.pub").read_text()
        self.write([File("/etc/kubedrill/environment", settings), File("/root/.ssh/authorized_keys", public, 0o600)])
        self.run(["kubedrill-become", self.name, self.role], timeout=300, show=False)

    def _pasteable(self, argv: Sequence[str]) -> str:
        return pasteable(["vagrant", "ssh", self.name, "-c", shlex.join(argv)], cwd=self._folder)

    def _environment(self) -> Mapping[str, str]:
        return {"KUBECONFIG": "/etc/kubernetes/admin.conf"} if self.role == "control-plane" else {}

    def _offline(self) -> Offline:
        return Offline(self._hypervisor.disk(self._vm.domain), self._folder, self.name)

    def _copy_in(self, source: Path, script: str) -> None:
        with self._answering():
            result = self._ssh.copy_in(source, ["sh", "-c", script], timeout=900)
        if result.status != 0:
            raise CommandFailed(self._pasteable(["sh", "-c", script]), result.status, result.stderr, self.name)

    def _wait_for_ssh(self) -> None:
        def answers() -> bool:
            if self.state() != "running":
                raise KubedrillError(
                    f"{self.name} went down while it booted", evidence=self.console().splitlines()[-5:]
                )
            return self._ssh.command(["true"], timeout=60).status == 0

        until(answers, lambda there: (there, "ssh answers" if there else "ssh does not"), within=BOOT_TIMEOUT, every=1,
              what=f"the boot of {self.name}", transient=(Unreachable, CommandFailed))  # fmt: skip

    def _running(self) -> None:
        now = self.state()
        if now == "stopped":
            raise NotFound(f"the node {self.name} does not run", todo=["see `invoke status`"])
        if now == "paused":
            raise KubedrillError(f"the node {self.name} is paused")

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except Unreachable as error:
            self._running()
            raise NotFound(
                f"the node {self.name} runs but does not answer", evidence=error.evidence, todo=["see `invoke logs`"]
            ) from error
