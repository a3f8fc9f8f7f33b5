"""A version whose image nobody can pull: what users feel (nothing), how it is found, how it is mended; then a cache."""

from __future__ import annotations

import base64
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedrill import checks, load, registries
from kubedrill.faults import VisitingImage, VisitingRegistry
from kubedrill.faults.images import listed
from kubedrill.images import oci, push
from kubedrill.images.store import HELLO
from kubedrill.providers.base import Node
from kubedrill.registries import Registry
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
# Of a registry that a registry of the lab plays (RFC 6761 keeps .test for such), and another one is the cache of.
SOURCE = "kubedrill.test"
PULLED = f"{SOURCE}/hello:3"
UPSTREAM, CACHE = ("upstream", 5010), ("cache", 5011)


@dataclass(frozen=True)
class Pod:
    """A pod of the Deployment; `waits` is why its container does not run, '' where it does."""

    name: str
    node: str
    image: str
    waits: str
    ready: bool


@scenario(workers=2, builds=[push.COMPONENT])
def images(lab: Lab) -> None:
    """Roll out a version whose image no node can pull; the old one must go on serving until the image is loaded.

    Then one that no node has, and all get from a registry in the lab, which gets it from another one.
    """
    run(lab)


def run(lab: Lab, *, loaded: bool = True, pointed: bool = True) -> None:
    """The drill; in its negative controls nobody loads the image, or no node is pointed at the lab's registry."""
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
    _pulled_through(lab, nodes, pointed=pointed)
    lab.hold(3)

    lab.verify()
    lab.require_no_failure("service")
    lab.require_no_failure("pod-service")
    left = [f"{image} on {node.name}" for node in nodes for image in (NEW, PULLED) if _has(node, image)]
    lab.require("no node has the images any more", not left, ", ".join(left) or "none")


def _pulled_through(lab: Lab, nodes: Sequence[Node], *, pointed: bool) -> None:
    """Two registries: one that has the image, and one that has nothing, and gets from it what it is asked for."""
    place = registries.host(lab.cluster.nodes)
    upstream = Registry(UPSTREAM[0], place.address, UPSTREAM[1])
    cache = Registry(CACHE[0], place.address, CACHE[1], upstream.url)
    asking = tuple(names(nodes))
    with lab.fault(VisitingRegistry(place.name, (upstream.name, cache.name), asking, SOURCE),
                   VisitingImage(asking, PULLED)):  # fmt: skip
        for one in (upstream, cache):
            lab.command(f"systemctl start {one.unit}     (on {place.name}, port {one.port})")
            registries.serve(place, one, lab.say)
        with tempfile.TemporaryDirectory(prefix="kubedrill-") as folder:
            push.push(_made(lab, _pods(lab)[0], PULLED, Path(folder)), upstream.url, "hello", "3", lab.say)
        if pointed:
            lab.command(f"cat {registries.CERTS}/{SOURCE}/hosts.toml: {cache.url}     (on every node)")
            registries.point(nodes, SOURCE, None, cache)
        having = [*(node.name for node in nodes if _has(node, PULLED)), *push.catalog(cache.url, lab.say)]
        lab.require("the image is upstream alone: in no node, and not in the cache",
                    not having and push.catalog(upstream.url, lab.say) == ["hello"],
                    ", ".join(having) or "none")  # fmt: skip
        lab.command(f"kubectl set image deployment/hello hello={PULLED}")
        began = lab.from_now()
        _set(lab, PULLED)
        lab.expect("the version that no node had is rolled out", lambda: _pods(lab), _all_ready(PULLED, 2), within=60,
                   predicted=2 * (1 + START))  # fmt: skip
        lab.fact("pulled through the lab's registry and rolled out", f"after {lab.now() - began:.1f} s")
        kept = push.catalog(cache.url, lab.say)
        lab.require("the cache has the image now", kept == ["hello"], ", ".join(kept) or "nothing")
        without = next(node for node in nodes if not _has(node, PULLED))
        lab.command(f"systemctl stop {upstream.unit}     (on {place.name})")
        place.run(["systemctl", "stop", upstream.unit])
        lab.command(f"crictl pull {PULLED}     (on {without.name})")
        pulled = without.run(["crictl", "pull", PULLED], check=False, timeout=90)
        lab.require(f"{without.name} gets it from the cache, with nothing behind it",
                    pulled.status == 0 and _has(without, PULLED), " ".join(pulled.output.split())[-160:])  # fmt: skip
        lab.command("kubectl rollout undo deployment/hello")
        lab.from_now()
        _set(lab, HELLO)
        lab.expect("the old version is back once more", lambda: _pods(lab), _all_ready(HELLO, 2), within=90,
                   predicted=2 * START + 4)  # fmt: skip


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
    with tempfile.TemporaryDirectory(prefix="kubedrill-") as folder:
        load.archive(_made(lab, pod, NEW, Path(folder)), lab.cluster.nodes)


def _made(lab: Lab, pod: Pod, image: str, folder: Path) -> Path:
    """An archive of an image of the program that runs in a pod, other than all images that are there."""
    node = lab.node(pod.node)
    find = (
        f"id=$(crictl ps --quiet --label io.kubernetes.pod.name={pod.name} --name hello) && "
        "pid=$(crictl inspect --output go-template --template '{{.info.pid}}' $id) && base64 -w 0 /proc/$pid/exe"
    )
    program = base64.b64decode(node.run(["sh", "-c", find], show=False, timeout=60).stdout)
    binary, label, archive = folder / "hello", folder / "label", folder / "hello.tar"
    binary.write_bytes(program)
    label.write_text(f"{image}\n")
    oci.archive(oci.Image(image, {PROGRAM: binary, "/label": label}, [PROGRAM]), platform.machine(), archive)
    return archive


def _set(lab: Lab, image: str) -> None:
    lab.kubectl("set", "image", "--namespace", workload.NAMESPACE, "deployment/hello", f"hello={image}")


def _has(node: Node, image: str = NEW) -> bool:
    return bool(node.run(listed(image).split(), show=False).stdout.strip())


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
