"""VirtualBox, by its own command; written after its manual (chapter 'VBoxManage'), never run by this project's CI."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from kubedrill import shell
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.base import State
from kubedrill.providers.hypervisor import Verb

_SECONDS = 60
_STATES: dict[str, State] = {
    "running": "running", "starting": "running", "stopping": "running", "paused": "paused", "poweroff": "stopped",
    "aborted": "stopped", "saved": "stopped", "gurumeditation": "stopped",
}  # fmt: skip
_VERBS: dict[Verb, tuple[str, ...]] = {
    "start": ("startvm", "{}", "--type", "headless"), "destroy": ("controlvm", "{}", "poweroff"),
    "suspend": ("controlvm", "{}", "pause"), "resume": ("controlvm", "{}", "resume"),
}  # fmt: skip


class VBox:
    """VirtualBox on this machine.

    Args:
        run: runs a command.
    """

    def __init__(self, run: Callable[..., shell.Result] = shell.run) -> None:
        self._run = run

    def state(self, domain: str) -> State:
        """Whether a VM runs."""
        said = self._field(domain, "VMState")
        if said not in _STATES:
            raise KubedrillError(f"VirtualBox says of {domain} that it is '{said}'")
        return _STATES[said]

    def exists(self, domain: str) -> bool:
        """Whether there is a VM of that name."""
        return f'"{domain}"' in self._ask("list", "vms").stdout

    def act(self, what: Verb, domain: str) -> None:
        """Do something with a VM."""
        self._ask(*(word.format(domain) for word in _VERBS[what]))

    def disk(self, domain: str) -> Path:
        """The file of a VM's own disk."""
        return Path(self._field(domain, "SATA Controller-0-0"))

    def remove(self, domain: str) -> None:
        """Remove a VM and its own disk, whatever its state; harmless where there is none."""
        if not self.exists(domain):
            return
        if self.state(domain) != "stopped":
            self.act("destroy", domain)
        self._ask("unregistervm", domain, "--delete")

    def create_network(self, xml: str, name: str) -> None:
        """Nothing: Vagrant makes the host-only network with the first VM."""

    def start_network(self, name: str) -> None:
        """Nothing: host-only networks are always there."""

    def remove_network(self, name: str) -> bool:
        """Nothing: Vagrant keeps host-only networks for the next VM with such an address."""
        return False

    def has_volume(self, beginning: str) -> bool:
        """Each VM has a copy of the box's disk; there is nothing to wait for."""
        return True

    def _field(self, domain: str, name: str) -> str:
        text = self._ask("showvminfo", domain, "--machinereadable").stdout
        found = re.search(rf'^"?{re.escape(name)}"?="(.*)"$', text, flags=re.MULTILINE)
        if not found:
            raise NotFound(f"{domain} has no '{name}'")
        return found.group(1)

    def _ask(self, *words: str) -> shell.Result:
        result = self._run(["VBoxManage", "--nologo", *words], check=False, timeout=_SECONDS)
        if result.status != 0:
            said = result.stderr.strip().splitlines()
            if any("Could not find a registered machine" in line for line in said):
                raise NotFound("there is no such VM", evidence=said)
            raise KubedrillError(f"VirtualBox refuses: VBoxManage {' '.join(words)}", evidence=said)
        return result
