"""The whole cluster off and on again: shut down in order, then with its power cut, then with the engine under it."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kubedrill import checks, dockerd, lifecycle
from kubedrill.cluster import Cluster
from kubedrill.errors import MissingPrerequisite
from kubedrill.faults import DisableUnit, EngineOff, PowerOff
from kubedrill.providers.docker_engine import Engine
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

CONFIG, KEY = "cold-restart", "word"
# Each for one control plane and for several, whose members of etcd start one after another (lifecycle.start).
# The API must be back so many seconds after the nodes were started, whatever went before.
LIMIT = {False: 15, True: 25}
# Seconds until the API answers and until all is well.
API = {False: 8, True: 20}
WHOLE = {False: 20, True: 35}
# Everything by which a node knows the others and they know it. Which of these there are depends on its role; a balancer
# has none.
CERTIFICATES = (
    "cd / && for file in etc/kubernetes/pki/*.crt etc/kubernetes/pki/etcd/*.crt var/lib/kubelet/pki/*.pem; do "
    'if [ -e "$file" ]; then sha256sum "$file" || exit 1; fi; done'
)
# States of a container that ends with its engine.
ALIVE = ("running", "paused", "restarting")


@scenario(control_planes=1, workers=1)
def cold_restart(lab: Lab) -> None:
    """Shut every node down and start it, then cut the power of all: the same cluster is back, with all its data."""
    run(lab)


@scenario(control_planes=1, workers=1, slow=True)
def cold_restart_engine(lab: Lab) -> None:
    """The same, and then Docker's engine is stopped and started under the nodes; refused where other containers run."""
    run(lab, engine=True)


def run(lab: Lab, *, enabled: bool = True, engine: bool = False) -> None:
    """The drill.

    Args:
        lab: the lab.
        enabled: whether the control planes' kubelets are started at boot; False is the negative control.
        engine: stop and start Docker's engine, too. That takes every container of this machine down for a while, so it
            is refused where any other runs, or where something else than kubedrill started the engine.
    """
    if engine:
        _may_stop_the_engine(lab)
    word = secrets.token_hex(8)
    hello = workload.deployment("hello", 2, spread=False)
    lab.apply(hello, workload.service("hello", workload.NODE_PORT), _config(word))
    pods = lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60)
    before, kept = _identity(lab), _config_map(lab)
    unknown = sorted(what for what, said in before.items() if not said)
    lab.assume_true("addresses and certificates can be read", not unknown, ", ".join(unknown) or f"{len(before)} read")
    lab.baseline(5)
    planes = names(lab.control_planes())
    with contextlib.ExitStack() as stack:
        if not enabled:
            stack.enter_context(lab.fault(*(DisableUnit(name, "kubelet") for name in planes), role="control plane"))
        tiers = [tuple(node.name for node in lab.cluster.nodes if node.role == role) for role in lifecycle.DOWNWARDS]
        _off_and_on(lab, "orderly shutdown", PowerOff(tuple(tier for tier in tiers if tier)))
    _off_and_on(lab, "power cut", PowerOff((tuple(names(lab.cluster.nodes)),), orderly=False))
    if engine:
        _engine_off_and_on(lab)
    lab.hold(3)
    lab.verify()
    now = _identity(lab)
    changed = sorted(what for what in before | now if before.get(what) != now.get(what))
    lab.require("addresses and certificates are the same", not changed,
                f"changed: {', '.join(changed)}" if changed else f"{len(before)} compared")  # fmt: skip
    again = _config_map(lab)
    lab.require("the ConfigMap is the same, with its word", again == kept and word in again, " ".join(again) or "gone")
    same = {pod.uid for pod in pods} & {pod.uid for pod in lab.pods("hello")}
    lab.require("the pods are the same, started again", len(same) == len(pods), f"{len(same)} of {len(pods)}")
    lab.require_writes()


def _off_and_on(lab: Lab, how: str, fault: PowerOff) -> None:
    """Everything off, two seconds of darkness, and on again."""
    began = lab.now()
    with lab.fault(fault, role="all nodes"):
        lab.fact(f"{how}: all off after", f"{lab.now() - began:.1f} s")
        lab.hold(2)
        lab.say("all nodes are started: the balancer, the control planes, the workers (invoke start)")
        with _timed(lab) as (began, since):
            lifecycle.start(lab.cluster, _Told(lab))
            _back(lab, how, began, since)


def _engine_off_and_on(lab: Lab) -> None:
    """The same with the engine under the nodes: it ends them with itself, and starts them when it starts."""
    _may_stop_the_engine(lab)  # a minute has passed since it was first asked
    off, nodes = lab.now(), tuple(names(lab.cluster.nodes))
    with lab.fault(EngineOff(nodes), role="all nodes"), contextlib.ExitStack() as stack:
        stack.callback(dockerd.ensure_engine)  # whatever happens, and before the undo; harmless where it answers
        lab.say("Docker's engine is stopped, and every container with it")
        dockerd.stop_engine()
        lab.fact("engine: off after", f"{lab.now() - off:.1f} s")
        lab.hold(2)
        lab.say("Docker's engine is started (invoke setup): it starts what ran before")
        with _timed(lab) as (began, since):
            dockerd.ensure_engine()
            _back(lab, "engine stopped and started", began, since)


def _may_stop_the_engine(lab: Lab) -> None:
    why = why_not(lab.cluster)
    lab.assume_true("Docker's engine may be stopped", not why, why or "it is ours, and no other container runs")


def why_not(cluster: Cluster) -> str:
    """Why Docker's engine may not be stopped under a cluster; empty where it may.

    Raises:
        EngineUnavailable: it does not answer.
    """
    try:
        dockerd.own_engine()
    except MissingPrerequisite as error:
        return "; ".join([error.what, *error.evidence])
    alive = {one["Names"][0].lstrip("/") for one in Engine().containers() if one["State"] in ALIVE}
    others = sorted(alive - set(names(cluster.nodes)))
    return f"other containers run, and would end with it: {', '.join(others)}" if others else ""


def _back(lab: Lab, how: str, began: float, since: float) -> None:
    """Wait until all is as it was, and require that the API was quick.

    Args:
        lab: the lab.
        how: what happened, in words.
        began: the start of the nodes, in seconds of the run.
        since: the same in seconds since 1970.
    """
    several = len(lab.control_planes()) > 1
    lab.expect("the API answers", lab.api.readyz, lambda answer: (answer == "ok", answer), within=60, every=0.1,
               predicted=API[several])  # fmt: skip
    ended = lab.now()
    lab.expect("a write is acknowledged", lambda: lab.monitor.silent_for("api-write"), _below(1), within=60,
               predicted=API[several] + 1)  # fmt: skip
    nodes = names([*lab.control_planes(), *lab.workers()])
    lab.expect(
        "nodes are Ready, flannel and CoreDNS work, and none of it is only remembered",
        lambda: lifecycle.look(lab.api), lambda seen: lifecycle.is_whole(seen, nodes, nodes, since),
        within=120, predicted=WHOLE[several],
    )  # fmt: skip
    lab.expect("hello runs again", lambda: lab.pods("hello"), lambda pods: checks.started_since(pods, since),
               within=60, predicted=WHOLE[several])  # fmt: skip
    lab.expect("hello answers from outside", lambda: lab.monitor.silent_for("service"), _below(1), within=60,
               predicted=WHOLE[several])  # fmt: skip
    lanes = [name for name in lab.monitor.names() if name.startswith("cp-")] or ["api-read"]
    lab.expect("the API of every control plane answers", lambda: max(map(lab.monitor.silent_for, lanes)), _below(1),
               within=60, predicted=WHOLE[several])  # fmt: skip
    lab.require_within(f"{how}: the API is back", began, ended, LIMIT[several])


@contextlib.contextmanager
def _timed(lab: Lab) -> Iterator[tuple[float, float]]:
    """What is expected in this block is timed from here: seconds of the run, and since 1970."""
    yield lab.from_now(), time.time()


def _identity(lab: Lab) -> dict[str, str]:
    """By what nodes know each other: addresses, what is in the files of certificates, what the published API tells."""
    server, known = lab.cluster.server, {node.address for node in lab.cluster.nodes}
    found = {f"address of {node.name} at {server}": node.address for node in lab.read(lab.api.nodes)}
    for node in lab.cluster.nodes:
        told = lab.read(partial(node.run, ["ip", "-o", "-4", "addr", "show"], show=False)).stdout
        # Of all its addresses (flannel has some, too) those that are a node's.
        found[f"address of {node.name}"] = " ".join(sorted(known.intersection(re.findall(r" inet ([\d.]+)/", told))))
        if node.role != "load-balancer":
            read = partial(node.run, ["sh", "-c", CERTIFICATES], show=False)
            found[f"certificates of {node.name}"] = lab.read(read).stdout
    return found


def _config(word: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG, "namespace": workload.NAMESPACE},
        "data": {KEY: word},
    }  # fmt: skip


def _config_map(lab: Lab) -> list[str]:
    """Its uid, and the word in it."""
    path = f"jsonpath={{.metadata.uid}} {{.data.{KEY}}}"
    read = ("get", "configmap", CONFIG, "--namespace", workload.NAMESPACE, "-o", path)
    return lab.read(lambda: lab.kubectl(*read)).stdout.split()


class _Told:
    """Steps as lines of the story."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Tell it when it is done."""
        began = self._lab.now()
        yield
        self._lab.say(f"{what} ({self._lab.now() - began:.1f} s)")


def _below(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet < seconds, f"silent for {quiet:.1f} s")
