"""What libvirt is asked and told of VMs that are there, through its own command: fast, where Vagrant takes seconds."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kubedrill import shell
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.libvirtd import POOL, URI
from kubedrill.providers.base import State
from kubedrill.providers.hypervisor import Verb

_SECONDS = 60
# virsh domstate. One that hangs after a panic of its kernel is "running".
_STATES: dict[str, State] = {
    "running": "running", "idle": "running", "blocked": "running", "in shutdown": "running", "paused": "paused",
    "pmsuspended": "paused", "shut off": "stopped", "crashed": "stopped",
}  # fmt: skip


class Virsh:
    """libvirt on this machine.

    Args:
        run: runs a command.
    """

    def __init__(self, run: Callable[..., shell.Result] = shell.run) -> None:
        self._run = run

    def state(self, domain: str) -> State:
        """Whether a VM runs.

        Raises:
            NotFound: there is none of that name.
        """
        said = self._ask("domstate", domain).stdout.strip()
        if said not in _STATES:
            raise KubedrillError(f"libvirt says of {domain} that it is '{said}'")
        return _STATES[said]

    def exists(self, domain: str) -> bool:
        """Whether there is a VM of that name."""
        return domain in self._ask("list", "--all", "--name").stdout.split()

    def act(self, what: Verb, domain: str) -> None:
        """Do something with a VM.

        Raises:
            NotFound: there is none of that name.
            KubedrillError: libvirt refuses.
        """
        self._ask(what, domain)

    def disk(self, domain: str) -> Path:
        """The file of a VM's own disk.

        Raises:
            NotFound: there is no such VM.
        """
        rows = [line.split(None, 1) for line in self._ask("domblklist", domain).stdout.splitlines()]
        found = next((row[1].strip() for row in rows if row and row[0] in ("vda", "sda", "hda") and len(row) > 1), None)
        if found is None:
            raise NotFound(f"{domain} has no disk")
        return Path(found)

    def remove(self, domain: str) -> None:
        """Remove a VM and its own disk, whatever its state; harmless where there is none."""
        if not self.exists(domain):
            return
        disk = self.disk(domain)
        if self.state(domain) != "stopped":
            self._ask("destroy", domain)
        self._ask("undefine", domain)
        self._ask("vol-delete", "--pool", POOL, disk.name, check=False)

    def networks(self) -> Sequence[str]:
        """The names of all networks, active or not."""
        return self._ask("net-list", "--all", "--name").stdout.split()

    def create_network(self, xml: str, name: str) -> None:
        """Make a network and start it; what was begun is removed where that fails.

        Raises:
            KubedrillError: libvirt refuses: its name or its subnet is taken.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(xml)
            file.flush()
            self._ask("net-define", file.name)
        try:
            self._ask("net-start", name)
        except KubedrillError:
            self._ask("net-undefine", name)
            raise

    def start_network(self, name: str) -> None:
        """See that a network that is there is active: after a boot of this machine none is."""
        if name not in self._ask("net-list", "--name").stdout.split():
            self._ask("net-start", name)

    def remove_network(self, name: str) -> bool:
        """Remove a network; says whether there was one."""
        if name not in self.networks():
            return False
        if name in self._ask("net-list", "--name").stdout.split():
            self._ask("net-destroy", name)
        self._ask("net-undefine", name)
        return True

    def has_volume(self, beginning: str) -> bool:
        """Whether the pool has a volume whose name begins so."""
        listed = self._ask("vol-list", POOL).stdout
        return any(line.strip().startswith(beginning) for line in listed.splitlines())

    def refresh(self) -> None:
        """Let the pool see the files that are in its folder."""
        self._ask("pool-refresh", POOL)

    def _ask(self, *words: str, check: bool = True) -> shell.Result:
        argv = ["virsh", "--connect", URI, "--quiet", *words]
        result = self._run(argv, check=False, timeout=_SECONDS, env={"LC_ALL": "C"})
        if check and result.status != 0:
            said = re.sub(r"^error: ", "", result.stderr.strip(), flags=re.MULTILINE).splitlines()
            if any("failed to get domain" in line or "Domain not found" in line for line in said):
                raise NotFound(f"there is no VM {words[-1]}", evidence=said)
            raise KubedrillError(f"libvirt refuses: virsh {' '.join(words)}", evidence=said)
        return result
