"""Keeps a hub up to date with a cluster: watches of its API, looks at its computers and servers, and at its drill."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubedrill import cluster
from kubedrill.cluster import Cluster
from kubedrill.dashboard import etcd
from kubedrill.dashboard.follow import Follower
from kubedrill.dashboard.hub import Hub
from kubedrill.dashboard.state import SECTIONS, Computer, State
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.journal import Journal
from kubedrill.kubewatch import Watches
from kubedrill.objects import Object
from kubedrill.probes.access import Access, access
from kubedrill.probes.wire import Unanswered, ask_once
from kubedrill.providers.base import Node, Provider

# Seconds between two looks. Neither computers nor /readyz nor etcd's roles can be watched by any provider's node: these
# are small questions (a look costs under 2 % of a core), and etcd's runs a command in a node.
LOOK = 1.0
ETCD = 4.0
_ANSWER = 2.0


class Feed:
    """Feeds a hub from a cluster until stopped. It only reads.

    Args:
        provider: where nodes come from.
        name: the cluster's name.
        runs: the folder of all runs of drills.
        hub: gets all that is to be shown.
    """

    def __init__(self, provider: Provider, name: str, runs: Path, hub: Hub) -> None:
        self._provider, self._name, self._hub = provider, name, hub
        self._follower = Follower(name, runs, Journal.of(name))
        self._lock = threading.Lock()
        self._state = State()
        self._stop = threading.Event()
        self._cluster: Cluster | None = None
        self._access: Access | None = None
        self._watches: Watches | None = None
        self._removed = 0.0
        self._seen: object = None
        self._asking = ThreadPoolExecutor(6, thread_name_prefix="dashboard-ask")
        self._threads = [
            threading.Thread(target=self._ticking, args=(every, look), name=f"dashboard-{name}", daemon=True)
            for name, every, look in (
                ("cluster", LOOK, self._look), ("etcd", ETCD, self._look_at_etcd), ("drill", LOOK, self._look_at_drill)
            )
        ]  # fmt: skip

    def start(self) -> None:
        """Begin.

        Raises:
            NotFound: there is no such cluster.
            KubedrillError: the engine does not answer.
        """
        cluster.attach(self._provider, self._name)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._hub.close()
        if self._watches is not None:
            self._watches.stop()
        for thread in self._threads:
            thread.join(_ANSWER + 1)
        # A look that hangs (an engine that does not answer) may still want to ask; it is a daemon, and ends with us.
        if not self._threads[0].is_alive():
            self._asking.shutdown()

    # --- the watches' sink

    def listed(self, kind: str, items: Sequence[Object]) -> None:
        """All objects of a kind."""
        self._next(lambda state: state.listed(kind, items), kind)

    def changed(self, kind: str, what: str, item: Object) -> None:
        """One object has changed."""
        self._next(lambda state: state.changed(kind, what, item), kind)

    def lost(self, kind: str, why: str) -> None:
        """The API does not answer a watch."""
        self._next(lambda state: state.silent(kind, why), "control")

    # --- looks

    def _ticking(self, every: float, look: Callable[[], None]) -> None:
        # Not wait.until: nothing is waited for. It is a clock that goes on to the end, as a sampler's is.
        while not self._stop.is_set():
            look()
            self._stop.wait(every)

    def _look(self) -> None:
        try:
            found = cluster.attach(self._provider, self._name)
            computers = tuple(Computer(node.name, node.role, node.address, _state(node)) for node in found.nodes)
        except NotFound:
            self._gone()
            return
        except KubedrillError as error:
            self._about(f"{error.what}: {'; '.join(error.evidence)}"[:200])
            return
        self._removed = 0.0
        if self._cluster is not None and found.server != self._cluster.server:
            self._disconnect()  # its API is reached elsewhere now: a balancer came or went
        self._cluster = found
        self._about()
        self._next(lambda state: state.with_computers(computers), "nodes")
        if self._access is None:
            self._connect(found)
        if self._access is not None:
            self._ask(found, self._access, computers)

    def _connect(self, found: Cluster) -> None:
        try:
            admin = found.admin_conf()
            self._access = access(admin)
        except KubedrillError:
            return  # the first control plane has none yet: another look will find it
        self._watches = Watches(admin, self)
        self._watches.start()

    def _gone(self) -> None:
        """The cluster was removed; should one of its name come again, all begins anew."""
        self._removed = self._removed or time.time()
        self._disconnect()
        self._cluster = None
        self._about()
        self._next(lambda _: State(), *SECTIONS)

    def _disconnect(self) -> None:
        if self._watches is not None:
            self._watches.stop()
        self._access = self._watches = None

    def _about(self, problem: str = "") -> None:
        about = {"name": self._name, "problem": problem, "removed": self._removed, "kubernetes": ""}
        if self._cluster is not None:
            about["kubernetes"] = self._cluster.spec.version()
        self._hub.publish("cluster", about)

    def _ask(self, found: Cluster, way: Access, computers: tuple[Computer, ...]) -> None:
        planes = [node for node in found.nodes if node.role == "control-plane"]
        urls = ["", *(f"https://{node.address}:6443" for node in planes)]
        said = list(self._asking.map(lambda url: _ready(way, url), urls))
        servers = {node.name: answer for node, answer in zip(planes, said[1:], strict=True)}
        self._next(lambda state: state.asked(said[0], servers, time.time()), "control")
        # A connection to a computer that died stays silent, and looks like one on which nothing happens.
        seen = (computers, [answers for answers, _ in said])
        if self._seen not in (None, seen) and self._watches is not None:
            self._watches.reconnect()
        self._seen = seen

    def _look_at_etcd(self) -> None:
        found = self._cluster
        if found is not None:
            members, why = etcd.ask(found.nodes)
            if self._cluster is not None:
                self._next(lambda state: state.with_etcd(members, why), "control")

    def _look_at_drill(self) -> None:
        self._hub.publish("drill", self._follower.look(time.time()))

    def _next(self, step: Callable[[State], State], *sections: str) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._state = step(self._state)
            # A watch that gets through again is no longer lost.
            for section in {*sections, "control"}:
                self._hub.publish(section, SECTIONS[section](self._state))


def _state(node: Node) -> str:
    try:
        return node.state()
    except NotFound:
        return "gone"


def _ready(way: Access, url: str) -> tuple[bool, str]:
    """Whether an API server says that it is ready, and why not."""
    try:
        answer = ask_once(way.endpoint(url), "GET", "/readyz", _ANSWER)
    except Unanswered as error:
        return False, error.what
    if answer.status == 200:
        return True, ""
    failing = [line for line in answer.body.decode(errors="replace").splitlines() if line.startswith("[-]")]
    return False, f"answers {answer.status} {'; '.join(failing)}"[:200]
