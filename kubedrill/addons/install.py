"""Put add-ons under a manager, for good, and take it away again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from kubedrill.addons import metrics_server, render
from kubedrill.cluster import Cluster
from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Plan
from kubedrill.faults.addons import ManageAddOns
from kubedrill.faults.perform import mend, on_a_control_plane, perform, verify
from kubedrill.network import to_yaml
from kubedrill.shell import Result
from kubedrill.wait import until

Say = Callable[[str], None]


def change(cluster: Cluster, *, managed: bool = True) -> ManageAddOns:
    """The add-ons of a cluster under a manager, as a change that can be undone.

    Args:
        cluster: a running one.
        managed: as of ManageAddOns.

    Raises:
        KubedrillError: the API does not answer, or what kubeadm made is not there.
    """
    found = survey(cluster)
    files = {name: render.manifest(items) for name, items in found.items()}
    files[metrics_server.FILE] = render.manifest(metrics_server.objects())
    everything = [render.as_found(item) for items in found.values() for item in items]
    control_planes = tuple(node.name for node in cluster.nodes if node.role == "control-plane")
    return ManageAddOns(control_planes, tuple(files.items()), to_yaml(everything), managed)


def install(cluster: Cluster, say: Say) -> None:
    """Put CoreDNS, kube-proxy and metrics-server under a manager on all control planes; again is harmless.

    Args:
        cluster: a running one.
        say: told of each step.

    Raises:
        KubedrillError: a control plane does not run, or `kubectl top` does not answer in time.
    """
    done = change(cluster)
    for action in _plan(cluster, done).inject:
        perform(cluster, action)
    say(f"{render.DIRECTORY} holds {', '.join(name for name, _ in done.files)} on {done.subject}")
    until(
        lambda: ask(cluster, "top", "nodes", check=False),
        lambda result: (result.status == 0, result.output.strip()[-200:]),
        within=180, what="kubectl top nodes", every=1, transient=(CommandFailed,),
    )  # fmt: skip
    say("kubectl top answers")


def remove(cluster: Cluster, say: Say) -> None:
    """Take the manager and what it made away; CoreDNS and kube-proxy stay, with what users changed in them.

    Args:
        cluster: a running one.
        say: told what was done.

    Raises:
        KubedrillError: a control plane does not run, or something could not be taken away in time.
    """
    plan = _plan(cluster, change(cluster))
    for action in plan.undo:
        mend(cluster, action)
    for check in plan.healed:
        verify(cluster, check)
    say(f"the add-on manager and metrics-server are gone from {cluster.spec.name}; CoreDNS and kube-proxy stay")


def survey(cluster: Cluster) -> Mapping[str, list[dict[str, Any]]]:
    """What is taken over, by file: as it is, or (where somebody deleted it) as a manager's directory has it.

    Raises:
        KubedrillError: the API does not answer, or something is neither here nor there.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for file, wanted in render.ADOPTED.items():
        kept = _kept(cluster, file)
        found[file] = [_object(cluster, kind, name) or _of(kept, kind, name) for kind, name in wanted]
    return found


def ask(cluster: Cluster, *arguments: str, check: bool = True) -> Result:
    """kubectl on a control plane on which it works.

    Raises:
        CommandFailed: its status was not 0 on any of them (with check).
    """
    command = Command(ANY_CONTROL_PLANE, ("kubectl", "--request-timeout=20s", *arguments))
    try:
        return on_a_control_plane(cluster, command)
    except CommandFailed as error:
        if check or error.status is None:
            raise
        return Result(error.status, error.output, "")


def _plan(cluster: Cluster, done: ManageAddOns) -> Plan:
    return done.ways(cluster, "")[0]


def _object(cluster: Cluster, kind: str, name: str) -> dict[str, Any] | None:
    text = ask(cluster, "get", kind, name, "--namespace", "kube-system", "--ignore-not-found", "-o", "json").stdout
    item: dict[str, Any] | None = json.loads(text) if text.strip() else None
    return item


def _kept(cluster: Cluster, file: str) -> list[dict[str, Any]]:
    """The objects of a file of the manager's directory; none where there is no manager."""
    node = next(node for node in cluster.nodes if node.role == "control-plane")
    try:
        text = node.run(["cat", f"{render.DIRECTORY}/{file}"], check=False, show=False)
    except NotFound:
        return []
    return [item for item in yaml.safe_load_all(text.stdout) if item] if text.status == 0 else []


def _of(kept: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    for item in kept:
        if item["kind"].lower() == kind and item["metadata"]["name"] == name:
            return item
    raise KubedrillError(
        f"there is no {kind} {name}, which kubeadm makes",
        todo=["make it again: kubeadm init phase addon all", "or run: invoke heal"],
    )
