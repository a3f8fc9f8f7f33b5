"""What is asked and told of VMs that are there; libvirt (virsh.py) and VirtualBox (vbox.py) each have an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from kubedrill.providers.base import State

# 'destroy' is a power cut, in libvirt's words.
Verb = Literal["start", "destroy", "suspend", "resume"]


class Hypervisor(Protocol):
    """A hypervisor of this machine."""

    def state(self, domain: str) -> State:
        """Whether a VM runs.

        Raises:
            NotFound: there is none of that name.
        """
        ...

    def exists(self, domain: str) -> bool:
        """Whether there is a VM of that name."""
        ...

    def act(self, what: Verb, domain: str) -> None:
        """Do something with a VM.

        Raises:
            NotFound: there is none of that name.
            KubedrillError: it is refused.
        """
        ...

    def disk(self, domain: str) -> Path:
        """The file of a VM's own disk.

        Raises:
            NotFound: there is no such VM.
        """
        ...

    def remove(self, domain: str) -> None:
        """Remove a VM and its own disk, whatever its state; harmless where there is none."""
        ...

    def create_network(self, xml: str, name: str) -> None:
        """Make a network and start it, where that is not left to Vagrant.

        Raises:
            KubedrillError: its name or its subnet is taken.
        """
        ...

    def start_network(self, name: str) -> None:
        """See that a network that is there is active."""
        ...

    def remove_network(self, name: str) -> bool:
        """Remove a network; says whether there was one."""
        ...

    def has_volume(self, beginning: str) -> bool:
        """Whether the disk of a box whose volume's name begins so needs no bringing in."""
        ...
