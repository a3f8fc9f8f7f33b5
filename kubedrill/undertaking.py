"""What the steps of one run of `up` share: how long they may take, how they wait, and what ends them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kubedrill import kubeadm, network
from kubedrill.console import Reporter
from kubedrill.errors import KubedrillError, StepFailed
from kubedrill.providers.base import File, Node, Provider
from kubedrill.run_kubeadm import run_kubeadm
from kubedrill.spec import ClusterSpec
from kubedrill.wait import Verdict, until

T = TypeVar("T")

# Limits, not expectations: five times what a slow machine with two cores took.
KUBEADM = 600
API = 300
# Where nodes are slow, limits are so many times longer at most.
PATIENCE = 6.0


@dataclass
class Undertaking:
    """One run of `up`.

    Args:
        spec: the cluster asked for.
        addresses: its addresses.
        provider: where its nodes come from.
        real: what kubeadm's configuration must know of nodes that are not slow.
        console: told of each step.
        existing: nodes that have joined already, by host name.
        keys: the secrets of those that join now.
        failed: set once a step has failed.
    """

    spec: ClusterSpec
    addresses: network.Addresses
    provider: Provider
    real: kubeadm.Machine
    console: Reporter
    existing: Mapping[str, Node]
    keys: kubeadm.Secrets
    failed: threading.Event = field(default_factory=threading.Event)

    def run_kubeadm(
        self, node: Node, argv: list[str], name: str = "", part: str = "", done: Sequence[File] = (),
        kept: list[File] | None = None,
    ) -> None:  # fmt: skip
        """Run kubeadm in a node; its output is kept there.

        Args:
            node: where.
            argv: the command.
            name: of that file, where it is not the command's first two words.
            part: goes into the name of that file, where one run is one of several.
            done: written where it succeeded.
            kept: where it succeeded, what it printed is added to these instead of being written.

        Raises:
            CommandFailed: with all that it printed.
        """
        limit = KUBEADM * min(self.slow(), PATIENCE)
        run_kubeadm(node, argv, self.console, timeout=limit, name=name, part=part, done=done, kept=kept)

    def machine(self) -> kubeadm.Machine:
        """What kubeadm's configuration must know of the nodes, once it is known how slow they are."""
        return replace(self.real, slow=self.slow())

    def joined(self, node: Node) -> bool:
        """Whether a node had joined before."""
        return node.name in self.existing

    def wait(
        self, read: Callable[[], T], check: Callable[[T], Verdict], *, within: float, every: float, what: str,
        transient: tuple[type[Exception], ...] = (),
    ) -> T:  # fmt: skip
        """Wait, longer and less often where nodes are slow, and no longer once another step has failed.

        Args:
            read: gives the present state.
            check: says (True, why) when it is as it should be, (False, what is missing) when not.
            within: seconds to wait at most, where nodes are not slow.
            every: seconds between two reads, where nodes are not slow.
            what: names what is waited for, for the error.
            transient: errors of `read` that only mean "not yet".

        Raises:
            TimedOut: it did not hold in time.
            KubedrillError: another step has failed.
        """

        def read_on() -> T:
            # Here and not in the check, which is not asked where there is nothing to read.
            if self.failed.is_set():
                raise KubedrillError("given up, since another step failed")
            return read()

        slow = self.slow()
        return until(read_on, check, within=within * min(slow, PATIENCE), every=every * slow, what=what,
                     transient=transient)  # fmt: skip

    def slow(self) -> float:
        """How many times slower than real hardware nodes are."""
        return self.provider.slowness(self.spec.name)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Time a step, and say of an error in which step it was."""
        try:
            with self.console.step(what):
                yield
        except KubedrillError as error:
            raise StepFailed(
                f"step '{what}' failed", evidence=self.console.redacted(str(error)).splitlines()
            ) from error
