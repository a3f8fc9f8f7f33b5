"""Pods that a kubelet starts from a file, without asking anybody; and what a DaemonSet does otherwise."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubedrill import checks
from kubedrill.errors import CommandFailed
from kubedrill.faults import Cordon, RemoveStaticPod, StaticPod, Taint
from kubedrill.faults.pods import write_manifest
from kubedrill.kube import ApiUnavailable, PodSnapshot
from kubedrill.network import to_yaml
from kubedrill.providers.base import Node
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict

# The kubelet is told of changes in its folder (inotify), and lists it each 20 s besides (fileCheckFrequency:
# https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/). A folder that was not there yet is only
# listed: on workers kubeadm makes none.
LISTED, NOTICED, START = 20, 1, 2
# A static pod waits until the one of the same name that it follows has ended; the kubelet looks after 10 to 15 s
# (backOffPeriod and half as much jitter, allowPodStart in pkg/kubelet/pod_workers.go).
FOLLOWS = (10, 15)
# A kubelet looks at each of its pods again 60 to 90 s after it last did (syncFrequency 1 min, half as much jitter).
RESYNC = (60, 90)
# The lease of the controller manager, which its next instance must wait for.
LEASE = 15
FOLDER = "/etc/kubernetes/manifests"
NAME = "by-file"
MIRROR = "kubernetes.io/config.mirror"
HASH = "kubernetes.io/config.hash"


@dataclass(frozen=True)
class Container:
    """A container as its node knows it."""

    id: str
    pod_uid: str
    created: int


@scenario(control_planes=1, workers=1)
def static_pods(lab: Lab) -> None:
    """Make, change and remove a static pod; kubectl cannot delete it, and it needs neither API nor scheduler."""
    run(lab)


def run(lab: Lab, *, static: bool = True) -> None:
    """The drill; its negative control takes a plain pod of the same name instead of a static one."""
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    worker = lab.workers()[0]
    lab.say(f"the kubelet of {worker.name} starts what lies in {FOLDER}: staticPodPath in its configuration")
    # A drain takes pods without a controller away, and the pod that asks is one.
    lab.baseline(5, inside=lab.control_planes()[-1].name)
    known = worker.run(["test", "-d", FOLDER], check=False).status == 0
    with lab.fault(StaticPod(worker.name, NAME, manifest(NAME), workload.NAMESPACE)) if static else lab.fault():
        if not static:
            lab.apply(_plain(f"{NAME}-{worker.name}", worker.name))
        pod = _appears(lab, worker, known)
        if not static:
            _deleted_by_kubectl(lab, worker, pod)
        _changed(lab, worker)
        _without_the_scheduler(lab, worker)
        _drained(lab, worker)
        _malformed(lab, worker)
        _without_the_api(lab, worker)
        _against_a_daemon_set(lab, worker)
        lab.command(f"rm {FOLDER}/{NAME}.yaml     (on {worker.name})")
    lab.say("the undo of the fault removed the file, and waited until container and mirror pod were gone")
    _removed(lab, worker)
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    lab.verify()
    left = worker.run(["sh", "-c", f"ls -A {FOLDER}"], check=False).stdout.split()
    lab.require("the folder of manifests is as it was found", not left, ", ".join(left) or "empty or not there")


def manifest(name: str, linger: str = "0s") -> str:
    """The manifest of a static pod of hello, in the namespace of drills."""
    return to_yaml([_pod(name, linger)])


def _pod(name: str, linger: str = "0s") -> dict[str, Any]:
    spec = workload.deployment(name, 1, spread=False, linger=linger, grace=2)["spec"]["template"]["spec"]
    labels = {"app": NAME}
    metadata = {"name": name, "namespace": workload.NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _plain(name: str, node: str) -> dict[str, Any]:
    pod = _pod(name)
    return {**pod, "spec": {**pod["spec"], "nodeName": node}}


def _appears(lab: Lab, worker: Node, known: bool) -> PodSnapshot:
    lab.command(f"cp {NAME}.yaml {FOLDER}/     (on {worker.name})")
    lab.say(
        f"prediction: the kubelet is told of the file at once, and the pod is ready {NOTICED + START} s later" if known
        else f"prediction: {FOLDER} was not there before, so nothing tells the kubelet; it looks each {LISTED} s"
    )  # fmt: skip
    lab.command(f"kubectl get pods --namespace {workload.NAMESPACE} -o wide")
    pod = lab.expect(
        f"the mirror pod {NAME}-{worker.name} is Ready", lambda: lab.pods(NAME), _ready,
        within=LISTED + 30, predicted=(NOTICED if known else LISTED / 2) + START,
    )[0]  # fmt: skip
    lab.require("its name is that of the file's pod and of its node", pod.name == f"{NAME}-{worker.name}", pod.name)
    lab.require("it says that it is a mirror, and the kubelet's node owns it",
                MIRROR in pod.annotations and pod.owner == f"Node/{worker.name}",
                f"{MIRROR}={pod.annotations.get(MIRROR, '')}, owner {pod.owner or 'none'}")  # fmt: skip
    return pod


def _deleted_by_kubectl(lab: Lab, worker: Node, pod: PodSnapshot) -> None:
    """Deleting takes the mirror away; the kubelet has a file that says the pod should run, and makes a new mirror."""
    before = _container(lab, worker, pod.name)
    line = ("delete", "pod", "--namespace", workload.NAMESPACE, pod.name, "--wait=false")
    lab.say(
        f"prediction: the deletion only marks the mirror pod; the kubelet sees the mark when it syncs the static pod, "
        f"{RESYNC[0]} to {RESYNC[1]} s after it last did"
    )
    lab.command(f"kubectl {' '.join(line)}")
    lab.from_now()
    lab.kubectl(*line)
    again = lab.expect(
        "kubectl says deleted, and the mirror pod is back", lambda: lab.pods(NAME),
        lambda pods: _another(pods, pod.uid), within=RESYNC[1] + 15, predicted=sum(RESYNC) / 4,
    )[0]  # fmt: skip
    lab.command(f"crictl ps --name hello     (on {worker.name})")
    after = _container(lab, worker, again.name)
    lab.require("its container did not notice: kubectl cannot delete a static pod", before == after,
                f"{before.id[:12]} before, {after.id[:12]} after, the same start")  # fmt: skip


def _changed(lab: Lab, worker: Node) -> None:
    """Another file is another pod: its uid is made from the file's content and the node's name."""
    before, old = _ready_now(lab), _container(lab, worker, f"{NAME}-{worker.name}")
    lab.command(f"sed -i s/0s/1s/ {FOLDER}/{NAME}.yaml     (on {worker.name}; there is no rollout of a static pod)")
    lab.say(
        f"prediction: the kubelet ends the old pod at once, and looks {FOLLOWS[0]} to {FOLLOWS[1]} s later whether the "
        "new one of the same name may start"
    )
    lab.from_now()
    _put(worker, NAME, manifest(NAME, linger="1s"))
    after = lab.expect(
        "the kubelet has replaced the pod", lambda: lab.pods(NAME),
        lambda pods: _hashed(pods, before.annotations.get(HASH, "")), within=60,
        predicted=sum(FOLLOWS) / 2 + START,
    )[0]  # fmt: skip
    new = _container(lab, worker, after.name)
    lab.require(
        "a changed file gives a new pod: another uid, another hash, another container",
        new.pod_uid != old.pod_uid and new.id != old.id,
        f"{HASH} {before.annotations.get(HASH, '')[:8]} before, {after.annotations.get(HASH, '')[:8]} after",
    )


def _without_the_scheduler(lab: Lab, worker: Node) -> None:
    spec = json.loads(_get(lab, f"pod/{NAME}-{worker.name}"))["spec"]
    tolerations = [f"{one.get('key', 'everything')}:{one.get('effect', 'every effect')}"
                   for one in spec.get("tolerations", [])]  # fmt: skip
    lab.require("no scheduler placed it: spec.nodeName was set when it was made, and it tolerates every NoExecute",
                spec["nodeName"] == worker.name and "everything:NoExecute" in tolerations,
                f"nodeName {spec['nodeName']}, tolerations {', '.join(tolerations)}")  # fmt: skip


def _drained(lab: Lab, worker: Node) -> None:
    before = _container(lab, worker, f"{NAME}-{worker.name}")
    with lab.fault(Cordon(worker.name)):
        line = ("drain", worker.name, "--force", "--delete-emptydir-data", "--timeout=60s")
        lab.command(f"kubectl {' '.join(line)}")
        refused = lab.kubectl(*line, check=False).output
        said = next((text for text in refused.splitlines() if "DaemonSet" in text), refused.strip()[-120:])
        lab.require("a drain stops at pods of DaemonSets, and says so", "DaemonSet" in said, said.strip()[:160])
        lab.command(f"kubectl {' '.join(line)} --ignore-daemonsets")
        drained = lab.kubectl(*line, "--ignore-daemonsets")
        pods = lab.read(lambda: lab.api.pods(workload.NAMESPACE))
        left = [pod.name for pod in pods if pod.node == worker.name and not pod.deleting]
        silent = NAME not in drained.output
        lab.require("it passes over the static pod without a word", silent and left == [f"{NAME}-{worker.name}"],
                    f"left on the node: {', '.join(left)}; named by drain: {'no' if silent else 'yes'}")  # fmt: skip
    lab.require(
        "the static pod ran through it", before == _container(lab, worker, f"{NAME}-{worker.name}"), before.id[:12]
    )


def _malformed(lab: Lab, worker: Node) -> None:
    """Nobody but the kubelet reads the file, so nobody else can complain."""
    lab.command(f"echo 'kind: Pod: broken' > {FOLDER}/malformed.yaml     (on {worker.name})")
    with lab.fault(StaticPod(worker.name, "malformed", "apiVersion: v1\nkind: Pod: broken\n", workload.NAMESPACE)):
        lab.command(f"journalctl -u kubelet | grep malformed     (on {worker.name})")
        line = lab.expect(
            "the kubelet's journal tells the error", lambda: _journal(worker, "malformed.yaml"),
            lambda found: (bool(found), found or "nothing yet"), within=LISTED + 10, predicted=NOTICED,
        )  # fmt: skip
        lab.require("the error names the file and the reason", "yaml" in line, line[-200:])
        ready, why = checks.nodes_ready(lab.read(lab.api.nodes), [worker.name])
        pods = lab.read(lambda: lab.api.pods(workload.NAMESPACE))
        unseen = not [pod for pod in pods if pod.name.startswith("malformed")]
        lab.require("the node stays Ready, and the API knows nothing of it", ready and unseen, why)


def _without_the_api(lab: Lab, worker: Node) -> None:
    """A kubelet whose API server does not run starts what is in its folder all the same: so a control plane begins."""
    name = "without-api"
    mirror = f"{name}-{worker.name}"
    with contextlib.ExitStack() as until_the_end:
        with lab.fault(*(RemoveStaticPod(node.name, "kube-apiserver") for node in lab.control_planes())):
            lab.expect("the API does not answer", lambda: _answers(lab), lambda said: (not said, said), within=40,
                       predicted=3)  # fmt: skip
            until_the_end.enter_context(lab.fault(StaticPod(worker.name, name, manifest(name), workload.NAMESPACE)))
            lab.command(f"crictl ps     (on {worker.name}; kubectl has nobody to ask)")
            lab.expect(
                "a static pod runs although no API server does", lambda: _containers(worker, mirror),
                lambda found: (bool(found), f"{len(found)} containers"), within=40, predicted=NOTICED + START,
            )  # fmt: skip
            lab.require("and still no API server answers", not _answers(lab), _answers(lab) or "connection refused")
        lab.expect(
            f"the API is back, and at the kubelet's next look ({RESYNC[0]} to {RESYNC[1]} s after the last) it has the "
            "mirror pod", lambda: _named(lab.pods(NAME), mirror), _ready, within=RESYNC[1] + 40,
            predicted=sum(RESYNC) / 2 - 10,
        )  # fmt: skip


def _answers(lab: Lab) -> str:
    try:
        return lab.api.readyz()
    except ApiUnavailable:
        return ""


def _against_a_daemon_set(lab: Lab, worker: Node) -> None:
    """What looks alike, a pod on each node, and is not: a DaemonSet's pods are the controller manager's to make."""
    lab.apply(_daemon_set("by-controller", worker.name))
    first = lab.expect("the DaemonSet's pod is Ready", lambda: lab.pods("by-controller"), _ready, within=60)[0]
    lab.command(f"kubectl delete pod --namespace {workload.NAMESPACE} {first.name}")
    lab.from_now()
    lab.kubectl("delete", "pod", "--namespace", workload.NAMESPACE, first.name, "--wait=false")
    second = lab.expect(
        "the controller manager has made another pod", lambda: lab.pods("by-controller"),
        lambda pods: _another(pods, first.uid), within=40, predicted=START,
    )[0]  # fmt: skip
    lab.require("it is another pod, with another name", first.name != second.name, f"{first.name}, {second.name}")
    lab.command(f"kubectl rollout restart --namespace {workload.NAMESPACE} daemonset/by-controller")
    lab.kubectl("rollout", "restart", "--namespace", workload.NAMESPACE, "daemonset/by-controller")
    status = lab.kubectl(
        "rollout", "status", "--namespace", workload.NAMESPACE, "daemonset/by-controller", "--timeout=60s"
    )
    lab.require("a DaemonSet is rolled out by kubectl", "successfully rolled out" in status.stdout,
                status.stdout.strip().splitlines()[-1])  # fmt: skip
    _under_a_taint(lab, worker)
    _without_the_controller_manager(lab, worker)


def _under_a_taint(lab: Lab, worker: Node) -> None:
    third = lab.expect("the DaemonSet's pod is Ready", lambda: lab.pods("by-controller"), _ready, within=60)[0]
    before = _ready_now(lab)
    with lab.fault(Taint(worker.name, "drill=yes:NoSchedule")):
        lab.kubectl("delete", "pod", "--namespace", workload.NAMESPACE, third.name)
        lab.from_now()
        _put(worker, NAME, manifest(NAME, linger="2s"))
        lab.expect(
            "under a taint of NoSchedule a new static pod starts", lambda: lab.pods(NAME),
            lambda pods: _hashed(pods, before.annotations.get(HASH, "")), within=60,
            predicted=sum(FOLLOWS) / 2 + START,
        )  # fmt: skip
        lab.hold(3)
        there = lab.read(lambda: lab.pods("by-controller"))
        lab.require("under it the DaemonSet, which does not tolerate it, makes no pod",
                    not there, _where(there))  # fmt: skip
    lab.expect(
        "without the taint the DaemonSet makes its pod", lambda: lab.pods("by-controller"), _ready, within=40,
        predicted=START,
    )  # fmt: skip


def _without_the_controller_manager(lab: Lab, worker: Node) -> None:
    planes = lab.control_planes()
    with lab.fault(*(RemoveStaticPod(node.name, "kube-controller-manager") for node in planes)):
        lab.expect(
            "no controller manager runs", lambda: [node.name for node in planes if _runs_controllers(node)],
            lambda left: (not left, ", ".join(left) or "none"), within=40, predicted=2,
        )  # fmt: skip
        daemon = lab.read(lambda: lab.pods("by-controller"))[0]
        line = ("delete", "pod", "--namespace", workload.NAMESPACE, daemon.name)
        lab.command(f"kubectl {' '.join(line)}")
        lab.kubectl(*line)
        _deleted_by_kubectl(lab, worker, _ready_now(lab))
        there = lab.read(lambda: lab.pods("by-controller"))
        lab.require("without a controller manager a DaemonSet's pod is not replaced, while a static pod's mirror is",
                    not there, f"DaemonSet: {_where(there)}")  # fmt: skip
    lab.expect(
        "with the controller manager the DaemonSet has its pod again", lambda: lab.pods("by-controller"), _ready,
        within=90, predicted=LEASE + START + 2,
    )  # fmt: skip


def _runs_controllers(node: Node) -> bool:
    return node.run(["pgrep", "-f", "^kube-controller-manager "], check=False, show=False).status == 0


def _removed(lab: Lab, worker: Node) -> None:
    """Once more, by hand, to see how long it takes: the file is made and removed."""
    name = "leaving"
    with lab.fault(StaticPod(worker.name, name, manifest(name), workload.NAMESPACE)):
        mirror = f"{name}-{worker.name}"
        lab.expect("another static pod is Ready", lambda: _named(lab.pods(NAME), mirror), _ready, within=LISTED + 30)
        lab.command(f"rm {FOLDER}/{name}.yaml     (on {worker.name})")
        lab.from_now()
        worker.run(["rm", f"{FOLDER}/{name}.yaml"])
        lab.expect("the file is removed: container and mirror pod are gone",
                   lambda: (_containers(worker, mirror), _named(lab.pods(NAME), mirror)),
                   lambda left: (not any(left), f"{len(left[0])} containers, {len(left[1])} mirror pods"),
                   within=LISTED + 20, predicted=NOTICED + START)  # fmt: skip


def _daemon_set(name: str, node: str) -> dict[str, Any]:
    """A DaemonSet for one node, with the same pod."""
    made = workload.deployment(name, 1, spread=False, linger="0s", grace=2)
    made["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    spec = {key: value for key, value in made["spec"].items() if key != "replicas"}
    return {**made, "kind": "DaemonSet", "spec": spec}


def _put(worker: Node, name: str, text: str) -> None:
    command = write_manifest(worker.name, name, text)
    worker.run(list(command.argv), stdin=command.stdin)


def _get(lab: Lab, what: str) -> str:
    return lab.kubectl("get", "--namespace", workload.NAMESPACE, what, "-o", "json").stdout


def _ready_now(lab: Lab) -> PodSnapshot:
    return lab.expect("the static pod is Ready", lambda: lab.pods(NAME), _ready, within=30)[0]


def _container(lab: Lab, worker: Node, pod: str) -> Container:
    found = lab.read(lambda: _containers(worker, pod))
    return found[-1] if found else Container("none", "", 0)


def _containers(worker: Node, pod: str) -> list[Container]:
    """The running containers of a pod, as the runtime of its node knows them, the newest last."""
    line = ["crictl", "ps", "--label", f"io.kubernetes.pod.name={pod}", "-o", "json"]
    told = worker.run(line, show=False).stdout
    if not told.strip():  # seen once on a busy machine: the engine kept the output to itself
        raise CommandFailed(shlex.join(line), 0, told, worker.name)
    found = [
        Container(one["id"], one["labels"]["io.kubernetes.pod.uid"], int(one["createdAt"]))
        for one in json.loads(told)["containers"] or []
    ]
    return sorted(found, key=lambda one: one.created)


def _journal(worker: Node, file: str) -> str:
    """The newest line of the kubelet that tells an error about a file."""
    lines = worker.run(["journalctl", "--unit=kubelet", "--no-pager", "--lines=400"], show=False).stdout.splitlines()
    return next((line.strip() for line in reversed(lines) if file in line and "err" in line), "")


def _named(pods: Sequence[PodSnapshot], name: str) -> list[PodSnapshot]:
    return [pod for pod in pods if pod.name == name]


def _ready(pods: Sequence[PodSnapshot]) -> Verdict:
    return bool(pods) and all(pod.ready and not pod.deleting for pod in pods), _where(pods)


def _another(pods: Sequence[PodSnapshot], uid: str) -> Verdict:
    """Exactly one pod, ready, which is not the one of before."""
    return len(pods) == 1 and pods[0].uid != uid and _ready(pods)[0], _where(pods)


def _hashed(pods: Sequence[PodSnapshot], before: str) -> Verdict:
    """Exactly one pod, ready, of another file than the one of before."""
    other = len(pods) == 1 and pods[0].annotations.get(HASH, "") != before
    return other and _ready(pods)[0], _where(pods)


def _where(pods: Sequence[PodSnapshot]) -> str:
    return ", ".join(f"{one.name} {'ending' if one.deleting else 'ready' if one.ready else one.phase}"
                     for one in pods) or "no pod"  # fmt: skip
