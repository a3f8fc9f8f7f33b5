"""The first control plane: `kubeadm init` in parts, and flannel as soon as there is an API to apply it to."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from kubedrill import crashes, init_phases, kube, kubeadm, kubeconfig, loadbalancer, network
from kubedrill.errors import KubedrillError, TimedOut
from kubedrill.kube import Kube
from kubedrill.marks import JOINED
from kubedrill.providers.base import File, Node
from kubedrill.undertaking import API, Undertaking
from kubedrill.wait import Verdict

T = TypeVar("T")

# Seconds after which what does not come is looked at more closely, again and again.
_CLOSER = 10


@dataclass(frozen=True)
class Start:
    """A cluster that begins: `kubeadm init`, which may be at its last phases, the API that answers, and its CA."""

    init: Future[None]
    api: Kube
    ca: str


@contextlib.contextmanager
def why(init: Future[None]) -> Iterator[None]:
    """Where something fails since `kubeadm init` has failed, the reason is told that init gives."""
    try:
        yield
    except KubedrillError:
        if init.done():
            init.result()
        raise


@contextlib.contextmanager
def _logs_tell(node: Node, *parts: str) -> Iterator[None]:
    """Where something does not come in time, say in which logs of static pods the reason is."""
    try:
        yield
    except TimedOut as error:
        logs = " and ".join(f"{node.name}/pods/kube-system_{part}-*" for part in parts)
        said: list[str] = []
        with contextlib.suppress(KubedrillError):  # it may be gone
            for one in crashes.seen(node):
                said += [f"{one.part}, started again {one.times} times, said: {line}" for line in one.words]
        raise TimedOut(
            error.what, evidence=[*error.evidence, *said], todo=[f"read why in the logs that are kept: {logs}"]
        ) from error


@contextlib.contextmanager
def _kept(node: Node) -> Iterator[list[File]]:
    """Files that are written in the node where something fails, and else by whoever fills the list."""
    files: list[File] = []
    try:
        yield files
    except KubedrillError:
        with contextlib.suppress(KubedrillError):
            node.write(files)
        raise


@dataclass(frozen=True)
class FirstPlane:
    """What makes a node the first control plane of a cluster.

    Args:
        up: the run of `up` that it is part of.
        flannel_image: flannel's image.
        api_host: where the API is reached from this machine.
        api_port: its port there.
    """

    up: Undertaking
    flannel_image: str
    api_host: str
    api_port: int

    def begin(self, leader: Node, begun: threading.Event, balancer: Node | None) -> Start:
        """Run `kubeadm init`, and wait until its API server answers and flannel is applied.

        Args:
            leader: the node.
            begun: set once its kubelet runs, where it is not slow.
            balancer: through which the API is reached; None where it is not.

        Raises:
            KubedrillError: why it failed, or why flannel could not be applied meanwhile.
        """
        answers: Future[tuple[Kube, str]] = Future()
        # Not in the pool of `up`: many nodes that boot would come before it there.
        own = ThreadPoolExecutor(max_workers=3, thread_name_prefix="init")
        init = own.submit(self._init, leader, answers, own, begun, balancer)

        def ended(done: Future[None]) -> None:
            own.shutdown(wait=False)
            # What waits for the API need not wait any longer then.
            if error := done.exception():
                self.up.failed.set()
                if not answers.done():
                    answers.set_exception(error)

        init.add_done_callback(ended)
        with why(init):
            api, ca = answers.result()
            self._flannel(leader)
            return Start(init, api, ca)

    def api_answers(self, leader: Node, path: str, *without: str) -> tuple[Kube, str]:
        """The API of a kubeconfig in a node, once it answers, and the CA by which it is known.

        Args:
            leader: the node.
            path: of the kubeconfig.
            without: checks of its readiness that are not waited for.

        Raises:
            KubedrillError: it does not answer in time, or another step has failed.
        """
        api, ca = self._api(leader, path)
        self.is_ready(leader, api, *without)
        return api, ca

    def _api(self, leader: Node, path: str) -> tuple[Kube, str]:
        text = self.up.wait(
            lambda: leader.run(["cat", path], check=False, show=False),
            lambda result: (result.status == 0, f"{path} is not there yet"),
            within=API, every=0.2, what=f"kubeadm on {leader.name}",
        ).stdout  # fmt: skip
        name = self.up.spec.name
        api = Kube(kubeconfig.standalone(name, text, f"https://{self.api_host}:{self.api_port}"))
        return api, kubeconfig.authority(name, text)

    def is_ready(self, leader: Node, api: Kube, *without: str, every: float = 0.1) -> None:
        """Wait until the API calls itself ready.

        Args:
            leader: the node.
            api: its API.
            without: checks of its readiness that are not waited for.
            every: seconds between two questions.

        Raises:
            KubedrillError: it does not in time, or another step has failed.
        """
        with _logs_tell(leader, "kube-apiserver", "etcd"):
            self._wait(
                leader, lambda: api.readyz(*without), lambda answer: (answer == "ok", answer), every=every,
                what=f"the API of {leader.name}", transient=(kube.ApiUnavailable,),
            )  # fmt: skip

    def _init(
        self, node: Node, answers: Future[tuple[Kube, str]], pool: Executor, begun: threading.Event,
        balancer: Node | None,
    ) -> None:  # fmt: skip
        slow = self.up.slow()
        config = kubeadm.init_config(self.up.spec, self.up.addresses, self.up.machine(), self.up.keys)
        patches = [File(f"{kubeadm.PATCHES}/{name}", text) for name, text in kubeadm.patches(slow).items()]
        node.write([File(kubeadm.INIT_CONFIG, config, 0o600), *patches])
        self.up.console.wrote(node.name, kubeadm.INIT_CONFIG, config)
        if slow > 1:
            self._one_after_another(node, answers)
        else:
            self._at_once(node, answers, pool, begun, balancer)

    def _one_after_another(self, node: Node, answers: Future[tuple[Kube, str]]) -> None:
        with self.up.step(f"{node.name}: kubeadm init, etcd and the API server alone"):
            self.up.run_kubeadm(node, init_phases.BEGIN, part="-begin")
            answers.set_result(self.api_answers(node, init_phases.RIGHTS))
        with self.up.step(f"{node.name}: kubeadm init"):
            dns = not init_phases.dns_later(self.up.spec)
            upload = ["--upload-certs"] if self.up.spec.control_planes > 1 else []
            self.up.run_kubeadm(node, [*init_phases.afterwards(dns=dns), *upload], done=[File(JOINED, "")])

    def _at_once(
        self, node: Node, answers: Future[tuple[Kube, str]], pool: Executor, begun: threading.Event,
        balancer: Node | None,
    ) -> None:  # fmt: skip
        def run(argv: list[str], part: str) -> None:
            self.up.run_kubeadm(node, argv, name="kubeadm-init", part=part, kept=printed)

        with self.up.step(f"{node.name}: kubeadm init"), _kept(node) as printed:
            run(init_phases.BEGIN, "-begin")
            begun.set()
            if balancer is not None:
                balancer.run(loadbalancer.trust(node.name))
            run(init_phases.HOLD, "-controllers")
            self._has_started(node)
            run(init_phases.FINALIZE, "-kubelet")
            api, ca = self._api(node, init_phases.RIGHTS)
            self._has_namespace(node, api)
            controllers = pool.submit(self._let_controllers_go, node, api)
            self.is_ready(node, api, kube.ROLES, kube.PRIORITIES)
            answers.set_result((api, ca))
            other_planes = self.up.spec.control_planes > 1
            early = init_phases.meanwhile(other_planes=other_planes, dns=not init_phases.dns_later(self.up.spec))
            meanwhile = pool.submit(run, early, "-meanwhile")
            controllers.result()
            meanwhile.result()
            self.controllers_work(node, api)
            if balancer is not None:
                balancer.run(loadbalancer.check(node.name))
            last = init_phases.at_last(other_planes=other_planes)
            self.up.run_kubeadm(node, last, done=[*printed, File(JOINED, "")])

    def controllers_work(self, leader: Node, api: Kube) -> None:
        """Wait until the controller manager does its work; the CA that it publishes for pods is the sign.

        Args:
            leader: the node.
            api: its API.

        Raises:
            KubedrillError: it does not in time, or another step has failed.
        """
        with _logs_tell(leader, "kube-controller-manager"):
            self._wait(
                leader, lambda: api.has_config_map("default", "kube-root-ca.crt"),
                lambda found: (found, "the CA for pods is not published yet"), every=0.1,
                what=f"the controller manager on {leader.name}", transient=(kube.ApiUnavailable,),
            )  # fmt: skip

    def _wait(
        self, node: Node, read: Callable[[], T], check: Callable[[T], Verdict], *, every: float, what: str,
        transient: tuple[type[Exception], ...] = (),
    ) -> T:  # fmt: skip
        """Wait for what the node's own pods do, but no longer once one of them cannot do it.

        Where nodes are slow a pod may end and come all the same; see init_phases. Those of a cluster that is there
        already have ended with each restart of it.
        """
        fresh, reads = self.up.slow() == 1 and not self.up.joined(node), itertools.count(1)

        def read_on() -> T:
            if fresh and next(reads) % max(1, round(_CLOSER / every)) == 0:
                crashes.need_none(node)
            return read()

        return self.up.wait(read_on, check, within=API, every=every, what=what, transient=transient)

    def _has_started(self, node: Node) -> None:
        """Wait until the first static pods run."""
        pods = 1 if self.up.spec.etcd == "external" else 2
        with _logs_tell(node, "kube-apiserver", "etcd"):
            self._wait(
                node, lambda: node.run(init_phases.STARTED, show=False, check=False),
                lambda found: (len(found.stdout.split()) == pods, f"of {pods} there run: {found.output or 'none'}"),
                every=0.4, what=f"etcd and the API server on {node.name}",
            )  # fmt: skip

    def _has_namespace(self, node: Node, api: Kube) -> None:
        """Wait until the API server has the namespace of its own roles, which it makes as soon as it serves.

        Where nobody has changed what it makes, it is given its priority classes meanwhile.
        """
        usual = init_phases.makes_usual_roles(self.up.spec)
        classes = list(init_phases.PRIORITY_CLASSES) if usual else []

        def come() -> bool:
            while classes:
                api.make_priority_class(classes[0])
                del classes[0]
            return api.has_namespace("kube-system")

        with _logs_tell(node, "kube-apiserver", "etcd"):
            self._wait(
                node, come, lambda yes: (yes, "no namespace kube-system yet"),
                every=0.05, what=f"the API of {node.name}", transient=(kube.ApiUnavailable,),
            )  # fmt: skip

    def _let_controllers_go(self, node: Node, api: Kube) -> None:
        """Start the controllers, once they have their rights, and the API server will not make them wait for itself."""
        if init_phases.makes_usual_roles(self.up.spec):
            early = node.run([*init_phases.BOOTSTRAP, "true"], check=False)
            if early.status == 0:
                # By the time that a pod takes to start, it has looked through its roles, too, and calls itself well.
                self.is_ready(node, api, kube.ROLES, every=0.05)
                node.run(init_phases.LET_GO)
                return
            if early.status != init_phases.NO_LIST and not self.up.failed.is_set():
                said = " ".join(early.output.split())
                self.up.console.say(f"{node.name}: roles are left to its API server, a second later ({said[-200:]})")
        with _logs_tell(node, "kube-apiserver", "etcd"):
            self.up.wait(
                lambda: api.has_cluster_role(init_phases.HALFWAY), lambda yes: (yes, "not yet"), within=API, every=0.1,
                what=f"the roles of the API server on {node.name}", transient=(kube.ApiUnavailable,),
            )  # fmt: skip
        node.run(init_phases.LET_GO)

    def _flannel(self, leader: Node) -> None:
        """Apply flannel; nothing forces it to wait for the end of init."""
        manifest = network.flannel_manifest(self.up.spec, self.flannel_image, self.up.addresses.endpoint(self.up.spec))
        # The manifest is our own. To check its fields, kubectl would have the API server describe all that it knows,
        # which takes that a third of a second of a core when cores are scarcest.
        with self.up.step("flannel applied"):
            leader.run(
                ["kubectl", "--kubeconfig", init_phases.RIGHTS, "apply", "--validate=false", "-f", "-"], stdin=manifest
            )
