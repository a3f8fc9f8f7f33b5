"""How nodes join, and what saves them time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from kubedrill import etcd_members, join_phases, kubeadm, network
from kubedrill.errors import KubedrillError, TimedOut
from kubedrill.marks import JOINED
from kubedrill.providers.base import File, Node
from kubedrill.shell import Result
from kubedrill.undertaking import API, KUBEADM, Undertaking
from kubedrill.wait import Verdict


class Joins:
    """The joins of one run of `up`.

    Args:
        up: what its steps share.
    """

    def __init__(self, up: Undertaking) -> None:
        self._up = up

    def worker(self, made: Future[Node], key: str, discovery: str, turn: threading.Event) -> None:
        """Join a worker.

        Args:
            made: it.
            key: worker-N.
            discovery: a kubeconfig that says where the cluster is and by which CA it is known.
            turn: set once the API calls itself well, before which its kubelet need not ask for a certificate. All that
                comes before may be done.

        Raises:
            StepFailed: kubeadm failed; with its output.
        """
        node = made.result()
        if self._up.joined(node):
            return
        # Where nodes are slow, one more start of a kubelet takes more time than it saves.
        first = [join_phases.CERTIFICATE_FIRST] if self._up.slow() == 1 else []
        held = [join_phases.HELD] if first and not turn.is_set() else []
        self._describe(node, key, discovery, *first, *held)
        if held:
            self._held(node, turn)
        else:
            self._finish(node, join_phases.WHOLE)

    def _held(self, node: Node, turn: threading.Event) -> None:
        own = ThreadPoolExecutor(max_workers=1, thread_name_prefix="up_held")
        join = own.submit(self._finish, node, join_phases.WHOLE)
        own.shutdown(wait=False)
        try:
            self._up.wait(lambda: turn.is_set() or join.done(), lambda yes: (yes, "not yet"), within=API, every=0.05,
                          what="an API that calls itself well")  # fmt: skip
        finally:
            # Also where something has failed: nothing else would end its waiting.
            node.run(join_phases.TURN, check=False)
        join.result()

    def prepare(self, made: Future[Node], key: str, discovery: str) -> None:
        """What a control plane may do beside the others: its checks and certificates, and the kubelet's start.

        Args:
            made: it.
            key: control-plane-N.
            discovery: a kubeconfig that says where the cluster is and by which CA it is known.

        Raises:
            StepFailed: kubeadm failed; with its output.
        """
        node = made.result()
        if self._up.joined(node):
            return
        self._describe(node, key, discovery)
        with self._up.step(f"{node.name}: kubeadm join, all that may be done at once"):
            self._up.run_kubeadm(node, join_phases.AT_ONCE, part="-begin")

    def member(self, node: Node) -> None:
        """Its member of etcd.

        Raises:
            StepFailed: kubeadm failed; with its output.
        """
        if not self._up.joined(node):
            with self._up.step(f"{node.name}: kubeadm join, its member of etcd"):
                self._up.run_kubeadm(node, join_phases.ETCD, part="-etcd")

    def plane(self, node: Node) -> None:
        """The rest: its API server, and what comes after.

        Raises:
            StepFailed: kubeadm failed; with its output.
        """
        if not self._up.joined(node):
            self._finish(node, join_phases.AT_LAST)

    def _finish(self, node: Node, argv: list[str]) -> None:
        with self._up.step(f"{node.name}: kubeadm join"):
            self._up.run_kubeadm(node, argv, done=[File(JOINED, "")])

    def _describe(self, node: Node, key: str, discovery: str, *marks: str) -> None:
        config = kubeadm.join_config(self._up.spec, key, self._up.addresses, self._up.machine(), self._up.keys)
        files = [File(kubeadm.JOIN_CONFIG, config, 0o600), File(kubeadm.DISCOVERY_FILE, discovery, 0o600)]
        files += [File(mark, "") for mark in marks]
        if key.startswith("control-plane"):
            files += [
                File(f"{kubeadm.PATCHES}/{name}", text) for name, text in kubeadm.patches(self._up.slow()).items()
            ]
        node.write(files)
        self._up.console.wrote(node.name, kubeadm.JOIN_CONFIG, config)

    def announce(self, leader: Node, joining: Sequence[str]) -> bool:
        """Tell etcd of all members that will join, before any of them does; then they may do so at once.

        kubeadm would add one after another, since each starts from the list of those before it; and beside two that
        vote etcd takes a third one only after these have been connected for 5 s (HealthInterval). Here just one votes,
        all the others are in each one's list, and kubeadm, which finds its own there, adds none.

        Args:
            leader: the only one there is.
            joining: control-plane-N.

        Returns:
            Whether etcd knows all of them.
        """
        if self._up.slow() > 1 or self._up.joined(leader):
            return False
        addresses = {kubeadm.node_name(self._up.spec, key): self._up.addresses.node(key) for key in joining}
        try:
            leader.run(["sh", "-c", etcd_members.add(addresses)], timeout=60)
        except KubedrillError as error:
            said = self._up.console.redacted(" ".join(str(error).split()))
            self._up.console.say(f"members of etcd join one after another, since not all could be announced: {said}")
            return False
        return True

    def until_it_begins(self, node: Node, join: Future[None]) -> None:
        """Wait until etcd of a new member is about to start; only then may the next one be asked for.

        A new member first asks all others for their versions. One that starts beside it takes its connection, but
        answers only once it has asked itself: each would wait 7 s for the other (getMembersVersions and ReqTimeout in
        etcd's server). One that does not run yet refuses the connection, and one that runs answers at once.
        """

        def check(result: Result) -> Verdict:
            if join.done():
                join.result()
            return join.done() or result.status == 0, "its container is not made yet"

        self._up.wait(
            lambda: node.run(["sh", "-c", etcd_members.BEGINS], check=False, show=False),
            check, within=2 * KUBEADM, every=0.05, what=f"the start of etcd on {node.name}",
        )  # fmt: skip

    def until_it_votes(self, leader: Node, node: Node, join: Future[None]) -> None:
        """Wait until etcd's new member takes part; only then may the next one join that etcd does not know yet.

        What `kubeadm join` does after that is the node's own affair. Its own log is asked, which costs less than
        etcdctl, where etcd writes there what goes well.
        """
        if node.name in self._up.existing:
            return
        talks = self._talks()
        asked, command = (node, etcd_members.LOG) if talks else (leader, etcd_members.LIST)

        def check(result: Result) -> Verdict:
            if join.done():
                join.result()
                return True, f"{node.name} has joined"
            votes = etcd_members.votes(result.stdout) if talks else etcd_members.started(result.stdout, node.name)
            return votes, f"etcd says: {result.output[-300:] or 'nothing'}"

        # kubeadm's own limit ends first, with what it printed.
        self._up.wait(
            lambda: asked.run(["sh", "-c", command], check=False, show=False),
            check, within=2 * KUBEADM, every=0.2 if talks else 0.3, what=f"etcd's member on {node.name}",
        )  # fmt: skip

    def hasten_etcd(self, joining: Sequence[tuple[Node, Future[None]]]) -> None:
        """End new members of etcd once where they would not serve for 7 s; the kubelet starts them again at once.

        A new member tells its address to the others, and serves clients when it hears of that in the log. Its first
        snapshot mostly holds that already: then it never hears of it, and tells it again after 7 s (publishV3 and
        ReqTimeout in etcd's server). A member that starts with data takes no snapshot. One after another, and only
        once all of them vote, so that there is always a majority without the one that starts again.

        Args:
            joining: nodes with new members, all of which vote, each with the rest of its join; a single one is left to
                wait, since without it there would be no majority.

        Raises:
            StepFailed: the join of one of them failed.
        """
        if not self._talks() or len(joining) < 2:
            return
        for node, join in joining:
            seen: list[etcd_members.Standing] = []

            def overtaken(log: str, seen: list[etcd_members.Standing] = seen) -> Verdict:
                seen.append(etcd_members.standing(log))
                return seen[-1] == "serves" or seen[-2:] == ["overtaken"] * 2, f"it {seen[-1]}"

            self._look(node, join, overtaken)
            if seen[-1:] == ["overtaken"] and not join.done():
                self._up.console.say(f"{node.name}: etcd is started again, since it missed the word of itself")
                node.run(["pkill", "--signal", "KILL", "--exact", "etcd"], check=False)
                self._look(node, join, lambda log: (etcd_members.standing(log) == "serves", "it does not serve"))

    def _talks(self) -> bool:
        """Whether etcd writes into its log what goes well."""
        return self._up.slow() == 1 and "log-level" not in self._up.spec.extra_args.get("etcd", {})

    def _look(self, node: Node, join: Future[None], check: Callable[[str], Verdict]) -> None:
        """Wait until what a node's etcd has written is as it should be, or the node has joined in another way."""

        def either(result: Result) -> Verdict:
            if join.done():
                join.result()
                return True, f"{node.name} has joined"
            return check(result.stdout)

        self._up.wait(
            lambda: node.run(["sh", "-c", etcd_members.LOG], check=False, show=False),
            either, within=2 * KUBEADM, every=0.2, what=f"the words of etcd on {node.name}",
        )  # fmt: skip

    def wake_kubelet(self, node: Node, join: Future[None]) -> None:
        """Start a joining control plane's kubelet again once its own API server knows it by its token.

        The kubelet bootstraps against that one (since 1.35), which cannot serve before the member of etcd does, 10 s
        after the start of the kubelet. By then its retries are up to 7 s apart, those of its watches more. Until all
        of the API server is ready it takes 2 s more, which the kubelet need not wait for.
        """
        if node.name in self._up.existing:
            return
        url = f"https://{node.address}:{network.API_PORT}/version"
        serves = f"curl --silent --insecure --fail --max-time 5 --output /dev/null {url}"
        # A kubelet that happened to look just then has its certificate already. It is started again all the same: of
        # its watches that of Services, without which it starts no pod, would look again up to 25 s later.
        given = f"[ -e {kubeadm.KUBELET_CERTIFICATE} ] && config={kubeadm.KUBELET_KUBECONFIG}"
        known = "kubectl --kubeconfig $config --request-timeout 30s get --raw /version"
        ask = f"config={kubeadm.BOOTSTRAP_KUBECONFIG}; {given}; {serves} && {known}"

        def check(result: Result) -> Verdict:
            return join.done() or result.status == 0, result.output[-200:] or "no answer"

        # It only saves time: whether the node joins is what kubeadm says.
        with contextlib.suppress(TimedOut):
            self._up.wait(lambda: node.run(["sh", "-c", ask], check=False, show=False), check, within=API,
                          every=0.2, what=f"the API of {node.name}")  # fmt: skip
            if not join.done():
                node.run(["systemctl", "restart", "kubelet"])
