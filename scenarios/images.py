"""A new version whose image nobody can pull: what users feel of it (nothing), how it is found, how it is mended."""

from __future__ import annotations

import base64
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedrill import checks, load
from kubedrill.faults import VisitingImage
from kubedrill.faults.images import listed
from kubedrill.images import oci
from kubedrill.images.store import HELLO
from kubedrill.providers.base import Node
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

# Of a registry that does not exist (RFC 6762 keeps .local out of the DNS).
NEW = "kubedrill.local/hello:2"
PROGRAM = "/usr/local/bin/hello"
WAITING = ("ErrImagePull", "ImagePullBackOff")
# The name of the registry is asked for at once; that it is unknown takes as long as the resolver takes.
PULL = 3
# While it backs off (10 s, then twice as long each time, at most 300 s) a kubelet looks at a pod each 10 to 15 s, and
# looks for the image before it thinks of pulling: loading it shortens the wait to that.
LOOK = 15
START = 2


@dataclass(frozen=True)
class Pod:
    """A pod of the Deployment; `waits` is why its container does not run, '' where it does."""

    name: str
    node: str
    image: str
    waits: str
    ready: bool


@scenario(workers=2)
def images(lab: Lab) -> None:
    """Roll out a version whose image no node can pull; the old one must go on serving until the image is loaded."""
    run(lab)


def run(lab: Lab, *, loaded: bool = True) -> None:
    """The drill; in its negative control nobody loads the image."""
    lab.apply(workload.deployment("hello", 2), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60)
    nodes = [*lab.control_planes(), *lab.workers()]
    lab.baseline(5)

    with lab.fault(VisitingImage(tuple(names(nodes)), NEW)):
        lab.command(f"kubectl set image deployment/hello hello={NEW}")
        began = lab.from_now()
        _set(lab, NEW)
        stuck = lab.expect(
            "the pod of the new version waits for its image", lambda: _pods(lab),
            _one(lambda pod: pod.image == NEW and pod.waits in WAITING), within=60, predicted=PULL,
        )  # fmt: skip
        pod = next(one for one in stuck if one.waits in WAITING)
        _diagnosed(lab, pod)
        lab.expect("the kubelet backs off", lambda: _pods(lab), _one(lambda one: one.waits == "ImagePullBackOff"),
                   within=60, predicted=LOOK)  # fmt: skip
        serving = [one for one in _pods(lab) if one.ready]
        old = [one.image for one in serving]
        lab.require("the old version serves with all its pods", old == [HELLO] * 2, ", ".join(old) or "none")
        status = lab.kubectl("rollout", "status", "--namespace", workload.NAMESPACE, "deployment/hello",
                             "--timeout=3s", check=False)  # fmt: skip
        lab.command("kubectl rollout status deployment/hello --timeout=3s")
        lab.require("the rollout says that it does not get on", status.status != 0,
                    status.output.strip().splitlines()[0][:160])  # fmt: skip
        if loaded:
            lab.say("mended without a registry: the image is made here, and brought into every node")
            lab.command(f"invoke load hello-2.tar --name {lab.cluster.spec.name}")
            _load(lab, next(one for one in serving))
        lab.from_now()
        lab.expect("the new version is rolled out", lambda: _pods(lab), _all_ready(NEW, 2), within=90,
                   predicted=LOOK + 2 * START)  # fmt: skip
        lab.fact("from the new version to its last pod", f"{lab.now() - began:.1f} s")
        lab.command(f"crictl images | grep {NEW.rpartition(':')[0]}     (on {pod.node})")
        having = [node.name for node in nodes if _has(node)]
        lab.require("every node has the image", having == names(nodes), ", ".join(having) or "none")
        lab.command("kubectl rollout undo deployment/hello")
        lab.from_now()
        _set(lab, HELLO)
        lab.expect("the old version is back", lambda: _pods(lab), _all_ready(HELLO, 2), within=90,
                   predicted=2 * START + 4)  # fmt: skip
    lab.hold(3)

    lab.verify()
    lab.require_no_failure("service")
    lab.require_no_failure("pod-service")
    left = [node.name for node in nodes if _has(node)]
    lab.require("no node has the image any more", not left, ", ".join(left) or "none")


def _diagnosed(lab: Lab, pod: Pod) -> None:
    """As a person would: what does the pod say, what its events, what the runtime of its node."""
    lab.command(f"kubectl get pods: {pod.name} is {pod.waits}")
    lab.command(f"kubectl get events --field-selector involvedObject.name={pod.name},reason=Failed")
    event = lab.expect(
        "an event names the image, and why it is not had", lambda: _failed(lab, pod),
        lambda said: (NEW in said and "ailed to" in said, said[-200:] or "no event yet"), within=20,
    )  # fmt: skip
    lab.require("the events say it", NEW in event, " ".join(event.split())[-200:])
    node = lab.node(pod.node)
    lab.command(f"crictl images | grep {NEW.rpartition(':')[0]}; crictl pull {NEW}     (on {pod.node})")
    pulled = node.run(["crictl", "pull", NEW], check=False, timeout=90)
    lab.require("the node's runtime says the same: neither has it the image, nor can it be had",
                pulled.status != 0 and not _has(node), " ".join(pulled.output.split())[-160:])  # fmt: skip


def _load(lab: Lab, pod: Pod) -> None:
    """Make the image of the program that runs, and load it as `invoke load` does."""
    node = lab.node(pod.node)
    find = (
        f"id=$(crictl ps --quiet --label io.kubernetes.pod.name={pod.name} --name hello) && "
        "pid=$(crictl inspect --output go-template --template '{{.info.pid}}' $id) && base64 -w 0 /proc/$pid/exe"
    )
    program = base64.b64decode(node.run(["sh", "-c", find], show=False, timeout=60).stdout)
    with tempfile.TemporaryDirectory(prefix="kubedrill-") as folder:
        binary, archive = Path(folder) / "hello", Path(folder) / "hello-2.tar"
        binary.write_bytes(program)
        oci.archive(oci.Image(NEW, {PROGRAM: binary}, [PROGRAM]), platform.machine(), archive)
        load.archive(archive, lab.cluster.nodes)


def _set(lab: Lab, image: str) -> None:
    lab.kubectl("set", "image", "--namespace", workload.NAMESPACE, "deployment/hello", f"hello={image}")


def _has(node: Node) -> bool:
    return bool(node.run(listed(NEW).split(), show=False).stdout.strip())


def _failed(lab: Lab, pod: Pod) -> str:
    return lab.kubectl(
        "get", "events", "--namespace", workload.NAMESPACE, "--field-selector",
        f"involvedObject.name={pod.name},reason=Failed", "-o", "jsonpath={.items[*].message}",
    ).stdout  # fmt: skip


def _pods(lab: Lab) -> list[Pod]:
    text = lab.kubectl("get", "pods", "--namespace", workload.NAMESPACE, "--selector", "app=hello", "-o", "json").stdout
    return pods_of(text)


def pods_of(text: str) -> list[Pod]:
    """The pods in kubectl's JSON that are not told to end."""
    found = []
    for item in json.loads(text)["items"]:
        if "deletionTimestamp" in item["metadata"]:
            continue
        statuses: Sequence[Any] = item["status"].get("containerStatuses") or [{}]
        state = statuses[0].get("state") or {}
        found.append(
            Pod(
                item["metadata"]["name"],
                item["spec"].get("nodeName", ""),
                item["spec"]["containers"][0]["image"],
                (state.get("waiting") or {}).get("reason", ""),
                bool(statuses[0].get("ready")),
            )
        )
    return found


def _one(wanted: Callable[[Pod], bool]) -> Callable[[list[Pod]], Verdict]:
    return lambda pods: (any(map(wanted, pods)), _told(pods))


def _all_ready(image: str, count: int) -> Callable[[list[Pod]], Verdict]:
    return lambda pods: (
        len(pods) == count and all(pod.ready and pod.image == image for pod in pods),
        _told(pods),
    )


def _told(pods: list[Pod]) -> str:
    return ", ".join(f"{pod.image} {pod.waits or ('ready' if pod.ready else 'not ready')}" for pod in pods) or "none"
