"""Which components a node has, and how each is started: read from the node and the API, never assumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kubedrill.anatomy import parse
from kubedrill.anatomy.facts import ApiFacts, NodeFacts, Pod
from kubedrill.anatomy.known import SYSTEM_NAMESPACES, Kind
from kubedrill.anatomy.model import Start, State
from kubedrill.anatomy.parse import Process


@dataclass(frozen=True)
class Found:
    """One component as it was found on a node, or not."""

    kind: Kind
    state: State
    started: Start
    why: str = ""
    process: Process | None = None
    pod: Pod | None = None
    manifest: dict[str, Any] | None = None
    image: str = ""


def on_node(kind: Kind, node: NodeFacts, api: ApiFacts) -> list[Found]:
    """What there is of a component on a node; exactly one entry where nothing runs."""
    if node.silent:
        state: State = "unknown" if kind.expected_on(node.role) else "absent"
        return [Found(kind, state, Start("", ""), node.silent)]
    if kind.unit:
        return [_service(kind, node)]
    pods = _pods(node, api)
    running = _running(kind, node, pods, api)
    seen = {found.pod.uid for found in running if found.pod}
    down = [
        _down(kind, pod, node, api)
        for pod in pods.values()
        if kind.container in pod.containers
        and pod.namespace in SYSTEM_NAMESPACES
        and pod.uid not in seen
        # The runtime remembers pods that are long gone; the API does not.
        and (not api.silent and pod.uid in api.pods(node.name))
    ]
    return running + down or [_missing(kind, node, api)]


def _service(kind: Kind, node: NodeFacts) -> Found:
    properties = parse.unit(node.sections.get(f"unit {kind.unit}", ""))
    process = next((each for each in node.processes if each.program == kind.program and not each.pod), None)
    unit = process.unit if process and process.unit else kind.unit
    path = properties.get("FragmentPath", "") if unit == kind.unit else ""
    started = Start("systemd unit", f"{unit}.service", path, f"systemctl show {unit}")
    if process:
        return Found(kind, "running", started, process=process)
    if properties.get("LoadState") != "loaded":
        return Found(kind, "down", Start("", ""), f"there is no unit {kind.unit}.service")
    words = f"{properties.get('ActiveState', 'unknown')} ({properties.get('SubState', 'unknown')})"
    status = properties.get("ExecMainStatus", "0")
    ended = f", its last exit status was {status}" if status != "0" else ""
    return Found(kind, "down", started, f"its unit is {words}{ended}")


def _pods(node: NodeFacts, api: ApiFacts) -> dict[str, Pod]:
    """{uid: pod}; what the API tells of a pod is more than what the container runtime does, but for static pods.

    A pod of a ReplicaSet that is ending has been replaced already, here or on another node: it is left out.
    """
    known = dict(node.pods)
    for uid, pod in api.pods(node.name).items():
        there = known.get(uid)
        known[uid] = replace(pod, static=True, told_by=there.told_by) if there and there.static else pod
    return {uid: pod for uid, pod in known.items() if not (pod.ending and pod.owner.startswith("ReplicaSet/"))}


def _running(kind: Kind, node: NodeFacts, pods: dict[str, Pod], api: ApiFacts) -> list[Found]:
    found = []
    taken = set()
    for process in node.processes:
        if process.program != kind.program or (process.container and process.container in taken):
            continue
        pod = pods.get(process.pod)
        if pod and pod.namespace not in SYSTEM_NAMESPACES:
            continue
        if process.pod and not pod and not api.silent:
            continue  # the API lists all pods of those namespaces
        taken.add(process.container)
        image = next((each.get("image") or "" for each in node.containers if each["id"] == process.container), "")
        path, manifest = _manifest_of(pod, node) if pod else ("", None)
        if pod:
            started = _start(pod, path, api)
        elif process.unit:
            started = Start("systemd unit", f"{process.unit}.service", "", f"/proc/{process.pid}/cgroup")
        elif process.pod:
            started = Start("pod", process.pod, "", f"/proc/{process.pid}/cgroup; neither runtime nor API tells more")
        else:
            started = Start("process", str(process.pid), "", f"/proc/{process.pid}/cgroup")
        found.append(Found(kind, "running", started, process=process, pod=pod, manifest=manifest, image=image))
    return found


def _start(pod: Pod, path: str, api: ApiFacts) -> Start:
    if pod.static:
        return Start("static pod", pod.name, path, pod.told_by)
    if not pod.owner:
        if api.silent:
            return Start("pod", pod.name, "", f"{pod.told_by}; its owner is known to the API alone: {api.silent}")
        return Start("pod", pod.name, "", pod.told_by)
    owner, _, name = pod.owner.partition("/")
    above = api.workload(owner, name) if owner == "ReplicaSet" else None
    if above and above["owner"] != "/":
        owner, _, name = str(above["owner"]).partition("/")
    return Start(owner, name, "", pod.told_by)


def _down(kind: Kind, pod: Pod, node: NodeFacts, api: ApiFacts) -> Found:
    path, manifest = _manifest_of(pod, node)
    containers = [each for each in node.containers if each.get("pod") == pod.uid and each["name"] == kind.container]
    last = max(containers, key=lambda each: int(each.get("created") or 0), default=None)
    if last is None:
        why = "its container was not started yet" if node.containers else "the container runtime does not answer"
    else:
        state = str(last["state"]).removeprefix("CONTAINER_").lower()
        why = f"no process of it; crictl says its container is {state}, restarts: {last['attempt']}"
    image = str(last.get("image") or "") if last else ""
    return Found(kind, "down", _start(pod, path, api), why, pod=pod, manifest=manifest, image=image)


def _missing(kind: Kind, node: NodeFacts, api: ApiFacts) -> Found:
    """Nothing of it on the node: what says that it should be there, and why it may not be."""
    for path, manifest in node.manifests.items():
        if kind.container in _containers(manifest):
            started = Start("static pod", f"{_name(manifest)}-{node.name}", path, "the manifest")
            return Found(kind, "down", started, "there is a manifest, but nothing runs", manifest=manifest)
    workload = api.with_container(kind.container)
    expected = kind.expected_on(node.role)
    if workload:
        owner, found = workload
        started = Start(owner, str(found["name"]), "", "the API")
        pods = f"{found['ready']} of {found['desired'] or 0} pods of it are ready"
        # A DaemonSet or Deployment has its own idea of where it belongs; kubeadm's are on every node.
        return Found(kind, "down" if expected else "absent", started, f"no pod of it on this node; {pods}")
    if not expected:
        return Found(kind, "absent", Start("", ""), f"runs on {kind.place.replace('some node', 'whichever node')}")
    if kind.place == "every node":
        if api.silent:
            return Found(kind, "down", Start("", ""), f"does not run; how it is started is not known: {api.silent}")
        return Found(kind, "absent", Start("", ""), "the cluster has no DaemonSet with such a container")
    return Found(kind, "down", Start("", ""), "no process, no manifest, no DaemonSet")


def _manifest_of(pod: Pod, node: NodeFacts) -> tuple[str, dict[str, Any] | None]:
    for path, manifest in node.manifests.items():
        if pod.static and pod.name == f"{_name(manifest)}-{node.name}":
            return path, manifest
    return "", None


def _name(manifest: dict[str, Any]) -> str:
    return str((manifest.get("metadata") or {}).get("name", ""))


def _containers(manifest: dict[str, Any]) -> list[str]:
    return [str(each.get("name")) for each in (manifest.get("spec") or {}).get("containers") or []]
