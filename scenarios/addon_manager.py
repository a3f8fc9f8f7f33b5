"""Add-ons under a manager: what its manifests say is put back, and what is the users' stays theirs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import yaml

from kubedrill import checks
from kubedrill.addons import install, metrics_server, render
from kubedrill.faults import ManageAddOns, targets
from kubedrill.kube import WorkloadSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.judge import Unmet
from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict

# A check each 5 s, and a second for its calls of kubectl: on average half of that.
PUT_BACK = render.PERIOD + 1
# Ten times that is no longer slow, but not at all.
AT_MOST = 10 * PUT_BACK
# metrics-server starts, and needs two samples of each kubelet.
TOP = 10 + 2 * metrics_server.RESOLUTION
COMMENT = "# written by kubedrill's drill\n"
UNLABELLED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: unlabelled, namespace: kube-system}\n"


@scenario(control_planes=1, workers=1)
def addon_manager(lab: Lab) -> None:
    """Put add-ons under a manager and change them by hand: what the manifests say comes back, users' settings stay."""
    run(lab)


def run(lab: Lab, *, managed: bool = True) -> None:
    """The drill; its negative control applies the same manifests once, and no manager keeps them."""
    lab.apply(workload.deployment("hello", 2, spread=False), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60)
    change = install.change(lab.cluster, managed=managed)
    lab.baseline(5)

    with lab.fault(change, role="the add-ons"), _the_log(lab):
        for what in ("nodes", "pods"):
            lab.expect(
                f"kubectl top {what} answers", partial(_top, lab, what), lambda said: (bool(said), said or "nothing"),
                within=120, predicted=TOP,
            )  # fmt: skip
        lab.fact("kubectl top nodes", _top(lab, "nodes"))
        _coredns_is_deleted(lab)
        _fields_are_put_back(lab)
        _settings_are_the_users(lab, change)
        _files_come_and_go(lab)
        _the_manager_itself(lab)
    lab.expect("CoreDNS and kube-proxy are as they were found", partial(_found, lab), _same(change),
               within=60, predicted=1)  # fmt: skip
    lab.require("no object carries the manager's label", *_unlabelled(lab))
    lab.hold(3)
    lab.verify()
    lab.require_downtime("pod-dns", 15)
    lab.require_downtime("service", 2)


def _coredns_is_deleted(lab: Lab) -> None:
    before = _get(lab, "deployment", "coredns")
    lab.change("delete the Deployment of CoreDNS")
    lab.kubectl("--namespace", "kube-system", "delete", "deployment", "coredns")
    began = lab.now()
    lab.expect(
        "the Deployment of CoreDNS is put back", partial(_get, lab, "deployment", "coredns"),
        lambda found: (_uid(found) not in ("", _uid(before)), f"uid {_uid(found) or 'none'}"),
        within=AT_MOST, predicted=PUT_BACK,
    )  # fmt: skip
    there = lab.now()
    lab.expect("CoreDNS serves again", lambda: lab.api.cluster().coredns, _serves, within=60, predicted=PUT_BACK + 4)
    lab.fact("CoreDNS put back after", f"{there - began:.1f} s")
    lab.fact("CoreDNS serves again after", f"{lab.now() - began:.1f} s")


def _fields_are_put_back(lab: Lab) -> None:
    """Of a Deployment and of a DaemonSet; neither change makes a new pod of kube-proxy."""
    path = ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
    patch = {"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}}
    before = _at(_get(lab, "daemonset", "kube-proxy"), path)
    for kind, name, change, where, wanted in (
        ("deployment", metrics_server.NAME, {"spec": {"replicas": 0}}, ("spec", "replicas"), 1),
        ("daemonset", "kube-proxy", patch, path, before),
    ):
        lab.change(f"patch the {kind} {name}: {json.dumps(change)}")
        lab.kubectl("--namespace", "kube-system", "patch", kind, name, "--patch", json.dumps(change))
        began = lab.now()
        lab.expect(
            f"{'.'.join(where)} of {name} is {wanted} again", partial(_get, lab, kind, name),
            partial(_is, where, wanted), within=AT_MOST, predicted=PUT_BACK,
        )  # fmt: skip
        lab.fact(f"{kind} {name} put back after", f"{lab.now() - began:.1f} s")


def _settings_are_the_users(lab: Lab, change: ManageAddOns) -> None:
    """A ConfigMap is only created where it is missing."""
    path = ("data", "Corefile")
    documents = yaml.safe_load_all(dict(change.files)["coredns.yaml"])
    original = next(_at(one, path) for one in documents if one["kind"] == "ConfigMap")
    mine = COMMENT + original
    lab.change("write a comment into CoreDNS's ConfigMap, and wait for three checks")
    lab.kubectl("--namespace", "kube-system", "patch", "configmap", "coredns", "--patch",
                json.dumps({"data": {"Corefile": mine}}))  # fmt: skip
    lab.hold(3 * PUT_BACK)
    stays, seen = _is(path, mine, _get(lab, "configmap", "coredns"))
    lab.require("a user's change of an EnsureExists object stays", stays, seen)
    lab.change("delete CoreDNS's ConfigMap")
    lab.kubectl("--namespace", "kube-system", "delete", "configmap", "coredns")
    lab.expect("the ConfigMap is created again, as its file has it", partial(_get, lab, "configmap", "coredns"),
               partial(_is, path, original), within=AT_MOST, predicted=PUT_BACK)  # fmt: skip


def _files_come_and_go(lab: Lab) -> None:
    lab.change("add a manifest without the label to the directory, and take metrics-server's away")
    for node in lab.control_planes():
        node.run(["sh", "-c", f"cat >{render.DIRECTORY}/unlabelled.yaml"], stdin=UNLABELLED)
        node.run(["rm", f"{render.DIRECTORY}/{metrics_server.FILE}"])
    for kind, name in (("deployment", metrics_server.NAME), ("apiservice", metrics_server.API_SERVICE)):
        lab.expect(
            f"the {kind} {name} is pruned", partial(_get, lab, kind, name),
            lambda found: (found is None, _uid(found) or "gone"), within=AT_MOST, predicted=PUT_BACK,
        )  # fmt: skip
    lab.expect("kubectl top answers no more", partial(_top, lab, "nodes"), lambda said: (not said, said or "nothing"),
               within=AT_MOST, predicted=PUT_BACK)  # fmt: skip
    refused = _get(lab, "configmap", "unlabelled") is None
    lab.require("what has no label is not applied", refused, "it is not there" if refused else "it is there")


def _the_manager_itself(lab: Lab) -> None:
    """It is a static pod: what can be deleted is only its mirror. Its log tells what it did."""
    holder = lab.target(targets.lease_holder(lab.cluster, "kube-controller-manager"))
    pod = f"{render.NAME}-{holder.node}"
    log = _logs(lab)
    for wanted in (
        "put back: deployment.apps/coredns", f"put back: deployment.apps/{metrics_server.NAME}",
        "put back: daemonset.apps/kube-proxy", "created: ConfigMap kube-system/coredns",
        f"pruned: Deployment kube-system/{metrics_server.NAME}", "refused: ConfigMap kube-system/unlabelled",
    ):  # fmt: skip
        line = next((line for line in log.splitlines() if wanted in line), "")
        lab.require(f"the manager says '{wanted}'", bool(line), line or "no such line")
    before = _uid(_get(lab, "pod", pod))
    lab.change(f"delete the pod {pod}")
    lab.kubectl("--namespace", "kube-system", "delete", "pod", pod, "--wait=false")
    lab.expect(
        "the add-on manager's pod is there again", partial(_get, lab, "pod", pod),
        lambda found: (_uid(found) not in ("", before) and _at(found, ("status", "phase")) == "Running", _uid(found)),
        # The mirror comes with the kubelet's next look at the pod, 60 to 90 s after the last.
        within=120, predicted=45,
    )  # fmt: skip


@contextlib.contextmanager
def _the_log(lab: Lab) -> Iterator[None]:
    """Where the block fails, its end is told: with the static pod, the kubelet removes its log."""
    try:
        yield
    except Unmet:
        for line in _logs(lab).splitlines()[-12:]:
            lab.say(f"the manager's log: {line}")
        raise


def _logs(lab: Lab) -> str:
    """What the managers of all control planes said."""
    folder = f"/var/log/pods/kube-system_{render.NAME}-*/{render.NAME}"
    nodes = lab.control_planes()
    return "".join(node.run(["sh", "-c", f"cat {folder}/*.log"], check=False).stdout for node in nodes)


def _top(lab: Lab, what: str) -> str:
    """What kubectl top says of every node, or of pods of all namespaces; empty where it does not say it yet."""
    result = lab.kubectl("top", what, "--no-headers", *(["--all-namespaces"] if what == "pods" else []), check=False)
    lines = result.stdout.splitlines() if result.status == 0 else []
    known = {line.split()[0] for line in lines if "<unknown>" not in line}
    wanted = {node.name for node in lab.api.nodes()} if what == "nodes" else {"kube-system", "kube-flannel"}
    return "; ".join(" ".join(line.split()) for line in lines) if wanted <= known else ""


def _get(lab: Lab, kind: str, name: str) -> dict[str, Any] | None:
    text = lab.kubectl("--namespace", "kube-system", "get", kind, name, "--ignore-not-found", "-o", "json").stdout
    found: dict[str, Any] | None = json.loads(text) if text.strip() else None
    return found


def _found(lab: Lab) -> str:
    return install.change(lab.cluster).found


def _same(change: ManageAddOns) -> Callable[[str], Verdict]:
    return lambda found: (found == change.found, "the same" if found == change.found else "not the same yet")


def _unlabelled(lab: Lab) -> tuple[bool, str]:
    kinds = "deployments,daemonsets,services,configmaps,clusterroles,apiservices"
    left = lab.kubectl("get", kinds, "--all-namespaces", "--selector", render.MODE, "-o", "name").stdout.split()
    return not left, ", ".join(left) or "none"


def _serves(coredns: WorkloadSnapshot | None) -> Verdict:
    if coredns is None:
        return False, "it is not there"
    return coredns.available == coredns.desired > 0, f"{coredns.available} of {coredns.desired} pods available"


def _uid(found: dict[str, Any] | None) -> str:
    return str(found["metadata"]["uid"]) if found else ""


def _at(found: dict[str, Any] | None, path: tuple[str, ...]) -> Any:
    value: Any = found or {}
    for key in path:
        value = value.get(key) or {} if key != path[-1] else value.get(key)
    return value


def _is(path: tuple[str, ...], wanted: object, found: dict[str, Any] | None) -> Verdict:
    value = _at(found, path)
    return value == wanted, f"{'.'.join(path)} is {str(value).splitlines()[0]}"
