"""The ordered steps of `up`, each one idempotent: a node that has joined is left alone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field

from kubedrill import checks, external_etcd, init_phases, kube, kubeadm, network, node_specs
from kubedrill.console import Reporter
from kubedrill.etcd_members import forget_member
from kubedrill.first_plane import FirstPlane, Start, why
from kubedrill.joins import Joins
from kubedrill.kube import Kube
from kubedrill.marks import READY, has_file
from kubedrill.node_specs import BALANCER, Made
from kubedrill.providers.base import File, Node, Provider
from kubedrill.providers.places import VMS
from kubedrill.spec import ClusterSpec
from kubedrill.undertaking import API, KUBEADM, PATIENCE, Undertaking
from kubedrill.wait import Verdict

_CA = "/etc/kubernetes/pki/ca.crt"
# Limits, not expectations: five times what a slow machine with two cores took.
_BOOT = 60
_READY = 300
# How long what is left after the last join may take before one looks closer: it takes 3 s.
_SOON = 60


@dataclass
class BringUp:
    """One run of `up`.

    Args:
        spec: the cluster asked for.
        addresses: its addresses.
        provider: where its nodes come from.
        made: what its nodes are made of.
        api_port: port on which the API is reached from this machine.
        console: told of each step.
        existing: nodes that have joined already, by host name.
        api_host: where it is: on 127.0.0.1 it is published there, anywhere else it is the node's own address.
    """

    spec: ClusterSpec
    addresses: network.Addresses
    provider: Provider
    made: Made
    api_port: int
    console: Reporter
    existing: dict[str, Node] = field(default_factory=dict)
    api_host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self._keys = kubeadm.new_secrets()
        self._up = Undertaking(
            self.spec, self.addresses, self.provider, self.made.machine, self.console, self.existing, self._keys
        )
        self._joins = Joins(self._up)
        self._first = FirstPlane(self._up, self.made.flannel_image, self.api_host, self.api_port)
        self._making: list[Future[Node]] = []

    def run(self, publish: Callable[[str], str]) -> None:
        """Bring the cluster up, as far as it is not.

        Args:
            publish: takes admin.conf once there is one, and returns a kubeconfig that works from here.

        Raises:
            StepFailed: with the node, the command and the end of its output.
        """
        self.console.redact(self._keys.token, self._keys.certificate_key)
        pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="up")
        try:
            with self.provider.kept_open():
                self._run(pool, publish)
        except BaseException:
            # Whoever waits in another thread stops at its next look.
            self._up.failed.set()
            pool.shutdown(wait=False, cancel_futures=True)
            # Nodes that are being made right now: whoever removes the cluster next must find them.
            wait([future for future in self._making if not future.done()])
            raise
        pool.shutdown()

    def _run(self, pool: ThreadPoolExecutor, publish: Callable[[str], str]) -> None:
        preload = pool.submit(kube.preload)
        first, *others = [key for key in self.spec.node_keys() if key.startswith("control-plane")]
        workers = [key for key in self.spec.node_keys() if key.startswith("worker")]
        early = [BALANCER, first] if others else [first]
        if self.spec.provider == VMS:  # the boot of a VM takes a while, and no more than one processor
            early += [*others, *workers]
        nodes = self._boot(pool, (*self.spec.etcd_keys(), *early))
        for made in list(nodes.values()):
            made.result()
        # Others boot while the first one, which everything waits for, waits for itself: once its kubelet runs. Where
        # nodes are slow, before that: it needs all of the processors then. Where further control planes join, workers
        # have time.
        meanwhile = others if others and self._up.slow() == 1 else [*others, *workers]
        begun = threading.Event()
        nodes |= self._boot(pool, [key for key in meanwhile if key not in nodes], begun)
        slow = self._up.slow()
        if slow > 1 or self._up.joined(nodes[first].result()):
            begun.set()
        if slow > 1:
            self.console.say(
                f"nodes are {slow:g} times slower than real hardware: settings and limits follow from that"
            )
            for made in nodes.values():
                made.result()
        leader = nodes[first].result()
        preload.result()
        self._external_etcd({key: nodes[key].result() for key in self.spec.etcd_keys()}, leader)
        start: Start | None = None
        if self._up.joined(leader):
            self._readmit(leader)
        else:
            start = self._first.begin(leader, begun, nodes[BALANCER].result() if others else None)
        if start is not None:
            self._others_may_join(start)
        ca = start.ca if start is not None else leader.run(["cat", _CA], show=False).stdout
        discovery = kubeadm.discovery_file(ca, self.addresses.endpoint(self.spec))
        joining: list[Future[None]] = []
        if others:
            second = threading.Event()
            planes = pool.submit(self._planes, leader, {key: nodes[key] for key in others}, discovery, second)
            joining.append(planes)
            if slow == 1:
                # All other nodes wait less long than these: until then nobody else gets the processors.
                with why(start.init) if start is not None else contextlib.nullcontext():
                    self._up.wait(lambda: second.is_set() or planes.done(), lambda yes: (yes, "not yet"),
                                  within=3 * KUBEADM, every=0.1, what="the second member of etcd")  # fmt: skip
                if planes.done():
                    planes.result()  # where they failed, no worker need be made
        nodes |= self._boot(pool, [key for key in workers if key not in nodes])
        turn = threading.Event()
        if start is None:
            turn.set()
        elif others or slow > 1:  # the controllers work already, or what runs beside them delays them
            self._controllers_work(leader, start)
            turn.set()
        workers_join = [pool.submit(self._joins.worker, nodes[key], key, discovery, turn) for key in workers]
        joining += workers_join
        if start is not None:
            if not turn.is_set():
                # A kubelet that asks before for its certificate asks again 2 s later.
                with why(start.init):
                    self._first.is_ready(leader, start.api)
                turn.set()
            start.init.result()
        api = Kube(publish(leader.run(["cat", "/etc/kubernetes/admin.conf"], show=False).stdout))
        if init_phases.dns_later(self.spec):
            joining.append(pool.submit(self._dns, api, leader, workers_join))
        for join in joining:
            join.result()
        self._ready(api)
        if not has_file(leader, READY):
            leader.write([File(READY, "")])

    def _planes(self, leader: Node, made: Mapping[str, Future[Node]], discovery: str, second: threading.Event) -> None:
        """Let further control planes join: all at once, where etcd can be told of all their members before.

        Args:
            leader: the first one.
            made: the others.
            discovery: a kubeconfig that says where the cluster is and by which CA it is known.
            second: set once one of them has its member of etcd.
        """
        # Not in the pool of `up`: many workers that join would come before them there.
        own = ThreadPoolExecutor(max_workers=4 * len(made), thread_name_prefix="up_planes")
        joining: list[Future[None]] = []
        new: list[tuple[Node, Future[None]]] = []

        def member(node: Node) -> Future[None]:
            joining.append(own.submit(self._joins.member, node))
            return joining[-1]

        def go_on(node: Node) -> None:
            join = own.submit(self._joins.plane, node)
            new.append((node, join))
            second.set()
            joining.extend([join, own.submit(self._joins.wake_kubelet, node, join)])

        try:
            prepared = {key: own.submit(self._joins.prepare, node, key, discovery) for key, node in made.items()}
            stacked = self.spec.etcd == "stacked"
            if stacked and self._joins.announce(leader, list(made)):
                # kubeadm's look at etcd before it joins is not to meet members that only start.
                for done in prepared.values():
                    done.result()
                votes: dict[Future[None], Node] = {}
                for node in [node.result() for node in made.values()]:
                    join = member(node)
                    votes[own.submit(self._joins.until_it_votes, leader, node, join)] = node
                    self._joins.until_it_begins(node, join)
                for vote in as_completed(votes):
                    vote.result()
                    go_on(votes[vote])
            else:
                for key, made_node in made.items():
                    node = made_node.result()
                    prepared[key].result()
                    if stacked:
                        self._joins.until_it_votes(leader, node, member(node))
                    go_on(node)
            if stacked and not self._up.joined(leader):
                joining.append(own.submit(self._joins.hasten_etcd, sorted(new, key=lambda one: one[0].name)))
            for each in joining:
                each.result()
        finally:
            own.shutdown(wait=False, cancel_futures=True)

    def _others_may_join(self, start: Start) -> None:
        """Wait until kubeadm has made what a node needs to join: configurations, tokens and rights, then cluster-info.

        On real hardware that is a second before the end of init. What else that does (it waits for the controllers, and
        makes add-ons) nobody who joins waits for.
        """
        if self._up.slow() > 1:
            start.init.result()
            return

        def ready() -> bool:
            return start.init.done() or start.api.has_config_map("kube-public", "cluster-info")

        with why(start.init):
            self._up.wait(ready, lambda yes: (yes, "kubeadm has not come so far"), within=KUBEADM, every=0.1,
                          what="kubeadm's bootstrap tokens", transient=(kube.ApiUnavailable,))  # fmt: skip

    def _boot(
        self, pool: ThreadPoolExecutor, keys: Iterable[str], after: threading.Event | None = None
    ) -> dict[str, Future[Node]]:
        def node(key: str) -> Node:
            if after is not None:
                self._up.wait(after.is_set, lambda yes: (yes, "not yet"), within=KUBEADM, every=0.05, what="its turn")
            return self._node(key)

        nodes = {key: pool.submit(node, key) for key in keys}
        self._making += nodes.values()
        return nodes

    def balancer(self) -> Node:
        """The balancer alone, made where it is not there: of a cluster that gets a second control plane."""
        return self._node(BALANCER)

    def _node(self, key: str) -> Node:
        """Make a node, or start the one that is there; returns when its services run."""
        name = kubeadm.node_name(self.spec, key)
        role = node_specs.role_of(key)
        service = "haproxy" if key == BALANCER else "containerd"
        node = self.existing.get(name)
        with self._up.step(f"{name}: started"):
            if node is None:
                published = self.api_port if self.api_host == "127.0.0.1" else None
                made_of = node_specs.node_spec(self.spec, key, self.addresses, self.made, published)
                node = self.provider.create_node(self.spec.name, made_of)
                if role == "load-balancer":
                    node.write([node_specs.haproxy(self.spec, self.addresses)])
            elif node.state() == "stopped":
                node.start()
            elif node.state() == "paused":
                node.resume()
            made, boot = node, _BOOT * min(self._up.slow(), PATIENCE)
            # `start` waits for the start that the boot has in hand, without looks that cost a process each; it fails as
            # long as systemd does not listen.
            self._up.wait(
                lambda: made.run(["systemctl", "start", service], check=False, show=False, timeout=boot),
                lambda found: (found.status == 0, f"systemctl start {service}: {found.output.strip()}"),
                within=_BOOT, every=0.1, what=f"{service} on {name}",
            )  # fmt: skip
        return node

    def _external_etcd(self, nodes: Mapping[str, Node], leader: Node) -> None:
        """etcd on computers of its own, where it is asked for, before the first control plane needs it."""
        if not nodes or self._up.joined(leader):
            return
        members = external_etcd.Members(self.spec, self.addresses, self._up.machine(), nodes)
        if not all(self._up.joined(node) for node in nodes.values()):
            with self._up.step(f"{', '.join(node.name for node in nodes.values())}: a cluster of etcd"):
                members.start(lambda read, check: self._up.wait(read, check, within=API, every=0.3, what="etcd"))
        members.introduce(leader)

    def _dns(self, api: Kube, leader: Node, joins: list[Future[None]]) -> None:
        """CoreDNS, where it was left until there are workers."""
        for join in joins:
            join.result()
        if self._up.joined(leader) and has_file(leader, READY):
            return
        workers = [kubeadm.node_name(self.spec, key) for key in self.spec.node_keys() if key.startswith("worker")]
        self._up.wait(
            api.cluster, lambda seen: checks.nodes_ready(seen.nodes, workers), within=_READY, every=0.3,
            what="workers to run CoreDNS", transient=(kube.ApiUnavailable,),
        )  # fmt: skip
        with self._up.step("CoreDNS"):
            self._up.run_kubeadm(leader, init_phases.coredns(), name="kubeadm-init", part="-coredns")

    def _readmit(self, leader: Node) -> None:
        """Make a cluster ready for nodes that are missing: it forgets them, and takes a new token and key."""
        names = {key: kubeadm.node_name(self.spec, key) for key in self.spec.node_keys()}
        missing = {key: name for key, name in names.items() if name not in self.existing}
        if not missing:
            return
        self._first.api_answers(leader, "/etc/kubernetes/admin.conf")
        with self._up.step(f"{', '.join(missing.values())}: missing, forgotten by the cluster"):
            for key, name in missing.items():
                if key.startswith("control-plane") and self.spec.etcd == "stacked":
                    forget_member(leader, self.addresses.node(key))
                leader.run(["kubectl", "delete", "node", name, "--ignore-not-found"], timeout=60)
        with self._up.step("token and certificate key renewed"):
            leader.run(["kubeadm", "token", "create", self._keys.token, "--ttl", kubeadm.TOKEN_TTL])
            if self.spec.control_planes > 1:
                # Without a configuration kubeadm would ask the internet for the newest version, for 10 s.
                config = kubeadm.init_config(self.spec, self.addresses, self._up.machine(), self._keys)
                leader.run(["kubeadm", "init", "phase", "upload-certs", "--upload-certs", "--config", "/dev/stdin"],
                           stdin=config, timeout=60)  # fmt: skip

    def _controllers_work(self, leader: Node, start: Start) -> None:
        """Wait for what gives joining kubelets their certificates.

        One that joins before waits for it, backs off meanwhile, and is Ready 10 to 20 s later.
        """
        with why(start.init), self._up.step("controllers work"):
            self._first.controllers_work(leader, start.api)

    def _ready(self, api: Kube) -> None:
        wanted = [kubeadm.node_name(self.spec, key) for key in self.spec.node_keys()]
        able, whole = checks.nodes_able(wanted), checks.cluster_ready(wanted)
        soon = time.monotonic() + _SOON * min(self._up.slow(), PATIENCE)

        def look() -> Verdict:
            # What comes last: pods of CoreDNS wait for flannel, and nodes for its lease. Each is a single question; the
            # rest is three more, while no core is idle. Where it does not come soon, what else is missing may be why.
            if time.monotonic() < soon:
                dns = checks.available(api.coredns(), "CoreDNS", 1)
                if not dns[0]:
                    return dns
                nodes = able(api.nodes())
                if not nodes[0]:
                    return nodes
            return whole(api.cluster())

        with self._up.step("all nodes Ready, flannel running, CoreDNS available"):
            self._up.wait(look, lambda verdict: verdict, within=_READY, every=0.1, what="a cluster that is ready",
                          transient=(kube.ApiUnavailable,))  # fmt: skip
