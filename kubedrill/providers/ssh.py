"""Commands in a VM by plain ssh, over one connection that is kept: a new one takes seconds under emulation."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubedrill import shell
from kubedrill.errors import CommandFailed, KubedrillError
from kubedrill.shell import Result

# What ssh itself ends with when it could not do what it was told (ssh(1), 'EXIT STATUS').
_BROKEN = 255
# A VM that is dead without saying so is noticed after a minute; one that is slow is not taken for dead.
_ALIVE = {"ServerAliveInterval": "10", "ServerAliveCountMax": "6"}
_CHECK_SECONDS = 10


class Unreachable(KubedrillError):
    """A VM does not answer on its ssh port."""


@dataclass
class Ssh:
    """The way into one VM.

    Args:
        address: its IPv4 address.
        key: private keys to try, the first one first.
        known: the file that remembers the VM's own key.
        connect_timeout: seconds for a new connection.
        run: runs a command.
        pipe: runs a command between files.
    """

    address: str
    keys: Sequence[Path]
    known: Path
    connect_timeout: float = 60
    run: Callable[..., Result] = shell.run
    pipe: Callable[..., Result] = shell.pipe
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def command(
        self, argv: Sequence[str], environment: Mapping[str, str] | None = None, *, stdin: str | None = None,
        timeout: float | None = None,
    ) -> Result:  # fmt: skip
        """Run a program there and wait for its end.

        Args:
            argv: the program and its arguments.
            environment: what is set for it besides.
            stdin: text for its standard input; nothing without it.
            timeout: seconds until ssh itself is ended.

        Raises:
            Unreachable: the VM does not answer.
            CommandFailed: the time ran out.
        """
        self._connect()
        line = _line(argv, environment)
        result = self.run([*self._ssh(), "-T", self._who, line], stdin=stdin, check=False, timeout=timeout)
        if result.status == _BROKEN and not self._connected():
            raise Unreachable(f"the connection to {self.address} broke", evidence=result.stderr.splitlines()[-5:])
        return result

    def copy_in(self, source: Path, argv: Sequence[str], timeout: float | None = None) -> Result:
        """Run a program there whose standard input is a file of this machine.

        Raises:
            Unreachable: the VM does not answer.
            CommandFailed: the time ran out.
        """
        self._connect()
        return self.pipe([*self._ssh(), "-T", self._who, _line(argv)], source=source, timeout=timeout)

    def copy_out(self, argv: Sequence[str], sink: Path, timeout: float | None = None) -> Result:
        """Run a program there whose standard output becomes a file of this machine.

        Raises:
            Unreachable: the VM does not answer.
            CommandFailed: the time ran out.
        """
        self._connect()
        return self.pipe([*self._ssh(), "-T", "-n", self._who, _line(argv)], sink=sink, timeout=timeout)

    def terminal(self, argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """The command of this machine that opens a terminal there."""
        return [*self._ssh(), "-t", self._who, _line(argv, environment)]

    def forget(self) -> None:
        """Close the connection: the VM goes down, or is another one from now on."""
        with self._turn, contextlib.suppress(CommandFailed):
            self.run([*self._ssh(), "-O", "exit", self._who], check=False, timeout=_CHECK_SECONDS)
            self._socket.unlink(missing_ok=True)

    @property
    def _who(self) -> str:
        return f"root@{self.address}"

    @property
    def _socket(self) -> Path:
        # Not in the state folder: a path of a socket has 108 characters at most.
        folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"kubedrill-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise KubedrillError(f"{folder} belongs to somebody else", todo=["remove it, or set XDG_RUNTIME_DIR"])
        return folder / hashlib.sha256(f"{self.known}".encode()).hexdigest()[:16]

    def _ssh(self) -> list[str]:
        settings = {
            "BatchMode": "yes",
            "ControlPath": str(self._socket),
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(self.known),
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": f"{self.connect_timeout:.0f}",
            "LogLevel": "ERROR",
            **_ALIVE,
        }
        options = [f"-o{name}={value}" for name, value in settings.items()]
        return ["ssh", "-F", "none", *options, *(f"-i{key}" for key in self.keys if key.exists())]

    def _connected(self) -> bool:
        try:
            asked = self.run([*self._ssh(), "-O", "check", self._who], check=False, timeout=_CHECK_SECONDS)
        except CommandFailed:
            return False
        return asked.status == 0

    def _connect(self) -> None:
        with self._turn:
            if self._socket.exists() and self._connected():
                return
            self._socket.unlink(missing_ok=True)
            # The one that is kept goes on in the background, and ends with the VM or by `forget`.
            master = [*self._ssh(), "-oControlMaster=yes", "-oControlPersist=yes", "-f", "-N", self._who]
            try:
                made = self.run(master, check=False, timeout=2 * self.connect_timeout + 10)
            except CommandFailed as error:
                raise Unreachable(f"{self.address} does not answer", evidence=error.evidence) from error
            if made.status != 0 and not self._connected():  # another process may have been faster
                raise Unreachable(f"{self.address} does not answer", evidence=made.stderr.splitlines()[-5:])


def _line(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """The line that the VM's shell makes the very arguments of again."""
    settings = "".join(f"{key}={shlex.quote(value)} " for key, value in (environment or {}).items())
    return f"{settings}exec {shlex.join(argv)}"
