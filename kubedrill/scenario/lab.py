"""What a drill gets: the cluster, its targets, faults, and words for what it expects and requires."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from kubedrill import kube, kubeconfig, slowness
from kubedrill.cluster import Cluster
from kubedrill.errors import CommandFailed, NotFound, TimedOut
from kubedrill.faults import EngineOff, Fault, KernelPanic, KillNode, LeftOut, PowerCut, PowerOff, StopNode, Target
from kubedrill.faults.actions import Whole
from kubedrill.faults.injection import going_back, inject
from kubedrill.faults.perform import NoControlPlane
from kubedrill.faults.targets import NoTarget
from kubedrill.history import FaultSpan
from kubedrill.journal import Entry, Journal
from kubedrill.kube import Kube
from kubedrill.network import API_PORT
from kubedrill.providers.base import Node
from kubedrill.scenario import orders, resolving, workload
from kubedrill.scenario.demands import Demands
from kubedrill.scenario.judge import Unmet, Untrustworthy
from kubedrill.scenario.monitor import Monitor
from kubedrill.scenario.narrator import Narrator
from kubedrill.shell import Result
from kubedrill.wait import Verdict, until

T = TypeVar("T")
# What only means "not yet" while a cluster is broken on purpose.
_TRANSIENT = (kube.ApiUnavailable, CommandFailed, NotFound, NoControlPlane, NoTarget)


class Lab(Demands):
    """A cluster under a drill.

    Args:
        cluster: the cluster.
        monitor: samples what users would feel.
        journal: has the undo of each fault before it is injected.
        narrator: tells the story.
        now: seconds since the start of the run.
        slow: whether slow variants are asked for.
    """

    def __init__(
        self, cluster: Cluster, monitor: Monitor, journal: Journal, narrator: Narrator, now: Callable[[], float],
        *, slow: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(cluster, monitor, narrator, now)
        # Where nodes are slow, limits are longer: they are there to end what does not come, not to measure.
        self.patience = slowness.patience(cluster.slow)
        self.api = Kube(cluster.admin_conf(), timeout=2 * self.patience)
        self.slow = slow
        self._journal = journal
        self._reference = 0.0
        self.targets: dict[str, str] = {}
        self.facts: dict[str, str] = {}
        if cluster.slow > 1:
            self.fact("nodes are slower than real hardware", f"{cluster.slow:g} times")

    # --- the story

    def command(self, line: str) -> None:
        """Tell the command that a person would type for what comes next."""
        self._narrator.step(f"$ {line}")

    def change(self, text: str) -> None:
        """Tell of something that is done now; what is expected next is timed from here."""
        self._narrator.step(text)
        self.from_now()

    def from_now(self) -> float:
        """What is expected next is measured from now, not from the last fault or heal: something was just done.

        Returns:
            Seconds since the start of the run.
        """
        self._reference = self.now()
        return self._reference

    def fact(self, name: str, value: object) -> None:
        """Keep something for the report."""
        self.facts[name] = str(value)

    # --- the cluster

    def node(self, name: str) -> Node:
        """A node by its name."""
        return self.cluster.node(name)

    def workers(self) -> list[Node]:
        """The workers, in their order."""
        return [node for node in self.cluster.nodes if node.role == "worker"]

    def control_planes(self) -> list[Node]:
        """The control planes, in their order."""
        return [node for node in self.cluster.nodes if node.role == "control-plane"]

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 90) -> Result:
        """kubectl on a control plane that runs.

        Raises:
            CommandFailed: its status was not 0 (with check).
            NotFound: no control plane runs.
        """
        running = next((node for node in self.control_planes() if node.state() == "running"), None)
        if running is None:
            raise NotFound("no control plane runs")
        return running.run(["kubectl", *arguments], stdin=stdin, check=check, timeout=timeout * self.patience)

    def order(self, *arguments: str, stdin: str | None = None) -> Result:
        """kubectl with what may be said twice: said until an API that is busy, or being rolled, takes it.

        Raises:
            CommandFailed: it was refused.
            TimedOut: the API did not answer for a minute.
        """
        return orders.take(lambda: self.kubectl(*arguments, stdin=stdin), patience=self.patience)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects in the drill's namespace, which is removed at the end."""
        manifest = workload.manifest(*(workload.patient(one, self.cluster.slow) for one in objects))
        self.order(*slowness.apply(self.cluster.slow), "-f", "-", stdin=manifest)

    def in_pod(self, pod: str, command: str, *, check: bool = True) -> Result:
        """A command line in a pod of the drill's namespace."""
        return self.kubectl("exec", "--namespace", workload.NAMESPACE, pod, "--", "sh", "-c", command, check=check)

    def pods(self, name: str) -> tuple[kube.PodSnapshot, ...]:
        """The pods of a workload of the drill."""
        return self.api.pods(workload.NAMESPACE, f"app={name}")

    def target(self, found: Target) -> Target:
        """Record what was chosen, and why."""
        self.targets[found.node] = f"{found.role}{f' ({found.why})' if found.why else ''}"
        self.say(f"{found.role}: {found.node}{f' ({found.why})' if found.why else ''}")
        return found

    # --- phases, expectations, requirements

    def baseline(self, seconds: float, *, inside: str | None = "") -> None:
        """Sample the healthy cluster for a while.

        Args:
            seconds: how long, once every lane has answered.
            inside: the node whose pod asks from inside: the last worker (or control plane) without it, none with None.

        Raises:
            Untrustworthy: what is sampled does not work even now.
        """
        self._narrator.enter("baseline")
        self.from_now()
        servers = self._servers()
        self.expect("every API server is ready", lambda: _unready(servers), lambda bad: (not bad, "; ".join(bad)),
                    within=120)  # fmt: skip
        self.expect("every CoreDNS knows the Service of this drill", self._names, resolving.right, within=90)
        last = (self.workers() or self.control_planes())[-1].name
        self.monitor.start("" if inside is None else inside or last)
        self.say(f"sampling {', '.join(self.monitor.names())} for {seconds:g} s before anything is broken")
        began = self.now()
        self.hold(seconds)
        silent = [name for name in self.monitor.names() if not self.monitor.works(name)]
        if silent:
            why = f"before any fault nothing succeeded on: {', '.join(silent)}"
            # What has never answered does not wait for a busy core, but for one that the host has it may.
            worked = all(map(self.monitor.has_worked, silent))
            excuse = self.excuse() if worked else self.monitor.cores.taken([(began, self.now())])
            raise Untrustworthy(f"{why} ({excuse})" if excuse else why)

    def _servers(self) -> dict[str, Kube]:
        """The API of each control plane, past the balancer: one that drops out is no news where others answer."""
        planes, admin = self.control_planes(), self.cluster.admin_conf()
        if len(planes) == 1:
            return {planes[0].name: self.api}
        urls = {node.name: f"https://{node.address}:{API_PORT}" for node in planes}
        return {name: Kube(kubeconfig.standalone(name, admin, url), timeout=2 * self.patience)
                for name, url in urls.items()}  # fmt: skip

    def _names(self) -> resolving.Told:
        dns = self.api.pods("kube-system", "k8s-app=kube-dns")
        return resolving.ask(self.kubectl, workload.NAMESPACE, self.pods(resolving.SERVICE), dns)

    def hold(self, seconds: float) -> None:
        """Let time pass while the sampling goes on; so much longer as slow nodes are asked less often."""
        seconds *= self.cluster.slow
        began = self.now()
        until(lambda: self.now() - began, lambda passed: (passed >= seconds, f"{passed:.0f} s"),
              within=seconds + 30, every=0.1, what="the time that was to pass")  # fmt: skip

    @contextlib.contextmanager
    def fault(self, *faults: Fault, role: str = "") -> Iterator[None]:
        """Break something, and mend it at the end of the block whatever happens.

        Raises:
            FaultRefused: this machine cannot do it.
            HealFailed: it could not be mended.
        """
        self._narrator.enter("fault")
        began: list[tuple[Fault, Entry, float]] = []
        try:
            with contextlib.ExitStack() as stack:
                for fault in faults:
                    start = self.now()
                    entry = stack.enter_context(inject(fault, self.cluster, self._journal))
                    began.append((fault, entry, start))
                    self._narrator.step(f"{entry.fault}{f' (by {entry.means})' if entry.means else ''}", "fault")
                self._reference = self.now()
                try:
                    yield
                finally:
                    self._narrator.enter("heal")
        finally:  # also where the inject of a later fault failed
            self._ended(began, role)
        self._narrator.enter("converge")

    @contextlib.contextmanager
    def way_back(self, whole: Whole, back: Callable[[], None]) -> Iterator[None]:
        """Change the cluster as a whole in the block, and go back at its end whatever happens.

        Args:
            whole: the way back, for `invoke heal` where this process is killed.
            back: goes it here, as a part of the story.

        Raises:
            FaultRefused: the cluster carries what a killed run left.
            HealFailed: it could not go back.
        """
        with going_back(whole, self._journal, back):
            yield

    def expect(
        self, what: str, read: Callable[[], T], check: Callable[[T], Verdict], *, within: float,
        predicted: float | None = None, every: float = 0.2,
    ) -> T:  # fmt: skip
        """Wait for something to be seen, and say how long it took since the last fault or heal.

        Args:
            what: what is expected, as a sentence's beginning: 'the API answers'.
            read: gives the present state; an API that does not answer counts as 'not yet'.
            check: says (True, why) when it is as it should be.
            within: seconds from now.
            predicted: seconds after the fault or heal at which it should be seen, from the settings.
            every: seconds between two reads.

        Raises:
            Unmet: it was not seen in time.
            Untrustworthy: it was not seen, and nothing had been broken yet, or the host had this computer's cores.
        """
        began = self.now()
        told = [began]

        def waiting(seen: str) -> None:
            # A line each few seconds tells that something is going on; each change would be too many.
            if self.now() - told[0] > 5:
                told[0] = self.now()
                self._narrator.waiting(what, seen)

        try:
            state = until(read, check, within=within * self.patience, every=every * self.patience, what=what,
                          transient=_TRANSIENT, seen=waiting)  # fmt: skip
        except TimedOut as error:
            self._narrator.step(f"{what}: not seen within {within:g} s; {'; '.join(error.evidence)}", "fail")
            reason = f"{error.what}; {'; '.join(error.evidence)}"
            cores = self.monitor.cores
            excuse = self.too_slow() if self.cluster.slow > 1 else cores.taken([(began, self.now())])
            early = self._narrator.phase in ("assumptions", "baseline")
            kind = Untrustworthy if early or excuse else Unmet
            raise kind(f"{reason} ({excuse})" if excuse else reason) from error
        self._narrator.step(what, "wait", predicted, self.now() - self._reference)
        return state

    def assume(self, what: str, read: Callable[[], T], check: Callable[[T], Verdict], *, within: float = 60) -> T:
        """Wait for something that must hold before the drill can say anything.

        Raises:
            Untrustworthy: it was not seen in time.
        """
        try:
            return self.expect(what, read, check, within=within)
        except Unmet as error:
            raise Untrustworthy(str(error)) from error

    def assume_true(self, what: str, ok: bool, measured: object) -> None:
        """What must hold before the drill can say anything, and can be said at once.

        Raises:
            Untrustworthy: it does not hold.
        """
        self._narrator.step(f"{what}: {measured}", "say" if ok else "fail")
        if not ok:
            raise Untrustworthy(f"{what}: {measured}")

    def require_seen(self, text: str, read: Callable[[], T], check: Callable[[T], Verdict], *, within: float) -> bool:
        """Require that something is seen in time; the drill goes on where it is not.

        Returns:
            Whether it was seen.
        """
        try:
            self.expect_quietly(read, check, within=within)
        except TimedOut as error:
            self.require(text, False, "; ".join(error.evidence))
            return False
        self.require(text, True, f"after {self.now() - self._reference:.1f} s")
        return True

    def expect_quietly(self, read: Callable[[], T], check: Callable[[T], Verdict], *, within: float) -> T:
        """Wait without a word.

        Raises:
            TimedOut: it was not seen in time.
        """
        return until(read, check, within=within * self.patience, every=0.5 * self.patience, what="a settled cluster",
                     transient=_TRANSIENT)  # fmt: skip

    def read(self, read: Callable[[], T], *, within: float = 30) -> T:
        """Read something now, however often an API that is slow to answer must be asked.

        Raises:
            TimedOut: it could not be read in time.
        """
        return until(read, lambda _: (True, "read"), within=within * self.patience, every=0.2, what="an answer",
                     transient=_TRANSIENT)  # fmt: skip

    def verify(self) -> None:
        """All is mended and settled: what follows is checked at leisure. Sampling ends here."""
        self._narrator.enter("verify")
        self.monitor.stop()
        self.monitor.complete()

    def _ended(self, began: Sequence[tuple[Fault, Entry, float]], role: str) -> None:
        """Keep the faults of a block; one whose undo failed, or was left out, is still in the journal."""
        self._reference = self.now()
        for fault, entry, start in began:
            healed = None if self._journal.has(entry) else self._reference
            done = fault.fault if isinstance(fault, LeftOut) else fault
            if isinstance(done, KillNode | StopNode | PowerOff | PowerCut | KernelPanic | EngineOff):
                self.monitor.was_down(done.subject, start, math.inf if healed is None else healed)
            self.spans.append(FaultSpan(fault.name, fault.subject, role, start, healed))
        undone = [span.name for span in self.spans[len(self.spans) - len(began) :] if span.healed is not None]
        if undone:
            self._narrator.step("undone: " + ", ".join(undone), "heal")


def _unready(servers: Mapping[str, Kube]) -> list[str]:
    lacking = []
    for name, api in servers.items():
        try:
            api.readyz()
        except kube.ApiUnavailable as error:
            lacking.append(f"{name}: {'; '.join([error.what, *error.evidence])}")
    return lacking


def names(nodes: Sequence[Node]) -> list[str]:
    """The names of nodes."""
    return [node.name for node in nodes]
