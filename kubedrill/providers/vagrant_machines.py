"""Vagrant, narrowed to what kubedrill asks of it. The only module that imports vagrant (python-vagrant)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from kubedrill.errors import KubedrillError, MissingPrerequisite


class Machines:
    """The VMs of a folder with a Vagrantfile.

    Args:
        folder: it; Vagrant's output goes to vagrant-NAME.log there.
        provider: Vagrant's name of the hypervisor.
    """

    def __init__(self, folder: Path, provider: str) -> None:
        self._folder, self._provider = folder, provider

    def up(self, name: str) -> None:
        """Make a VM and wait until ssh answers.

        Raises:
            KubedrillError: with the end of Vagrant's output.
        """
        self._do(name, lambda machines: machines.up(vm_name=name, provider=self._provider, provision=False), "made")

    def destroy(self, name: str) -> None:
        """Remove a VM; harmless where there is none.

        Raises:
            KubedrillError: with the end of Vagrant's output.
        """
        self._do(name, lambda machines: machines.destroy(vm_name=name), "removed")

    def _do(self, name: str, work: Any, done: str) -> None:
        import vagrant

        log = self._folder / f"vagrant-{name}.log"

        @contextlib.contextmanager
        def output() -> Iterator[IO[bytes]]:
            with log.open("ab") as sink:
                yield sink

        # VAGRANT_NO_PARALLEL: one machine is named, so nothing could be done at once; Vagrant then prints in order.
        env = {**os.environ, "VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_NO_COLOR": "1", "VAGRANT_NO_PARALLEL": "1"}
        try:
            work(vagrant.Vagrant(root=str(self._folder), out_cm=output, err_cm=output, env=env))
        except RuntimeError as error:  # what python-vagrant raises where there is no such program
            raise MissingPrerequisite(
                "there is no program 'vagrant' on this machine", evidence=[str(error)],
                todo=["run: invoke setup --provider vagrant"],
            ) from error  # fmt: skip
        except subprocess.CalledProcessError as error:
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise KubedrillError(
                f"Vagrant could not do it: {name} was not {done}", evidence=lines[-12:],
                todo=[f"all of its output is in {log}"],
            ) from error  # fmt: skip
