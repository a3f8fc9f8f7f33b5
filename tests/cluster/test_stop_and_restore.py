"""A real cluster that is stopped, started, paused, kept and put back: it must be the same one, and work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from threading import Thread

import pytest
from verdicts import demand

from kubedrill import checkpoints, checks, cluster, kube, lifecycle, paths, status
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.kube import Kube
from kubedrill.providers.docker_checkpoint import DockerCheckpoints
from kubedrill.providers.docker_names import CLUSTER, HELPS, disk
from kubedrill.scenario import Scenario, registry, runner, workload
from kubedrill.scenario.pool import Pool
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
DRILLS = {drill.name: drill for drill in registry.drills(paths.repository() / "scenarios")}
DRILL, HELLO = DRILLS["cold-restart"], DRILLS["hello"]
SPEC = {"controlPlanes": 1, "workers": 2}


@pytest.fixture(scope="module", autouse=True)
def pods(lab: Cluster) -> None:
    """Two pods of a drill's workload, which run before and after whatever happens."""
    plane = lab.node("control-plane-1")
    plane.run(["kubectl", "apply", "-f", "-"], stdin=workload.manifest(workload.deployment("hello", 2)))
    two_pods(lab, 0)


def two_pods(lab: Cluster, since: float) -> set[str]:
    """Wait until the two run, by containers that were started since then; gives their uids."""
    api = Kube(lab.admin_conf())

    def check(found: tuple[kube.PodSnapshot, ...]) -> tuple[bool, str]:
        ok, why = checks.pods_running(found, 2)
        return checks.started_since(found, since) if ok else (ok, why)

    found = until(lambda: api.pods(workload.NAMESPACE), check, within=60, what="two pods",
                  transient=(kube.ApiUnavailable,))  # fmt: skip
    return {pod.uid for pod in found}


def put(lab: Cluster, name: str, word: str) -> None:
    """Make a ConfigMap."""
    command = ["kubectl", "create", "configmap", name, f"--from-literal=word={word}"]
    lab.node("control-plane-1").run(command)


def word_of(lab: Cluster, name: str) -> str:
    """What is in a ConfigMap; empty where there is none."""
    command = ["kubectl", "get", "configmap", name, "--ignore-not-found", "-o", "jsonpath={.data.word}"]
    return lab.node("control-plane-1").run(command).stdout


def test_stop_and_up_again(lab: Cluster, place: Lab, console: Console) -> None:
    put(lab, "stopped", "kept")
    uids, addresses = two_pods(lab, 0), [node.address for node in lab.nodes]
    lifecycle.stop(lab, console)
    found = status.of(lab)
    assert {node.state for node in found.nodes} == {"stopped"}
    assert not found.healthy
    assert "invoke start" in found.api
    began = time.time()
    there = cluster.up(place, lab.spec, console)
    assert (there.api_port, [node.address for node in there.nodes]) == (lab.api_port, addresses)
    assert word_of(there, "stopped") == "kept"
    assert two_pods(there, began) == uids
    assert status.of(there).healthy


def test_pause_and_resume(lab: Cluster, console: Console) -> None:
    uids = two_pods(lab, 0)
    lifecycle.pause(lab, console)
    assert {node.state for node in status.of(lab).nodes} == {"paused"}
    with pytest.raises(KubedrillError, match="paused"):
        lab.node("worker-1").run(["true"])
    lifecycle.whole_after_pause(lab, console)
    assert two_pods(lab, 0) == uids


def test_a_checkpoint_put_back(lab: Cluster, place: Lab, console: Console) -> None:
    """Also where what came after it was a disaster, and twice."""
    put(lab, "before", "kept")
    checkpoints.take(place.provider, lab, "clean", console)
    uids = two_pods(lab, 0)
    for _ in range(2):
        put(lab, "after", "lost")
        lab.node("control-plane-1").run(["kubectl", "delete", "configmap", "before"])
        lab.node("control-plane-1").run(["rm", "-rf", "/etc/kubernetes/pki"])
        lab.node("worker-1").remove()
        left = left_by_a_killed_run(place, lab)
        began = time.time()
        restored = checkpoints.restore(place.provider, lab.spec.name, "clean", console)
        assert not left(), "what copied disks for a killed run had them"
        assert (word_of(restored, "before"), word_of(restored, "after")) == ("kept", "")
        assert two_pods(restored, began) == uids
        assert status.of(restored).healthy
    # What is new works too, on each node: images, the network, names.
    new = "---\n".join(_pod(f"new-{number}", f"{lab.spec.name}-worker-{number}") for number in (1, 2))
    lab.node("control-plane-1").run(["kubectl", "apply", "-f", "-"], stdin=new)
    api = Kube(restored.admin_conf())
    until(lambda: api.pods("default"), lambda found: checks.pods_running(found, 2), within=60, what="new pods")


def test_a_restore_that_was_cut_off_is_said_and_done_again(
    lab: Cluster, place: Lab, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    checkpoints.take(place.provider, lab, "cut", console)
    with monkeypatch.context() as patch:
        patch.setattr(DockerCheckpoints, "_copy", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.restore(place.provider, lab.spec.name, "cut", console)
    half = cluster.attach(place.provider, lab.spec.name)
    assert (half.nodes, half.restoring) == ((), "cut")
    assert f"invoke restore cut --name {lab.spec.name}" in status.of(half).api
    for task in (lambda: lifecycle.whole(half, console), lambda: cluster.up(place, lab.spec, console, merge=False)):
        with pytest.raises(KubedrillError, match="invoke restore cut"):
            task()
    restored = checkpoints.restore(place.provider, lab.spec.name, "cut", console)
    assert restored.restoring == ""
    assert status.of(restored).healthy


def test_a_drill_begins_from_a_checkpoint(lab: Cluster, console: Console) -> None:
    """That of the test before."""
    put(lab, "left", "by a drill before")
    found = Pool(name=lab.spec.name, checkpoint="clean").cluster(HELLO)
    assert (word_of(found, "before"), word_of(found, "left")) == ("kept", "")
    run, _ = runner.run(HELLO, found, console)
    demand(run, "passed")


def test_the_drill_passes(lab: Cluster, console: Console) -> None:
    run, _ = runner.run(DRILL, lab, console)
    demand(run, "passed")
    assert [one.ok for one in run.requirements if "the API is back within" in one.text] == [True, True]


def test_the_drill_fails_where_the_kubelet_is_not_started_at_boot(lab: Cluster, console: Console) -> None:
    body = DRILL.body.__globals__["run"]
    control = Scenario("cold-restart-control", f"{DRILL.title} (control)", "", lambda lab: body(lab, enabled=False),
                       DRILL.needs)  # fmt: skip
    run, _ = runner.run(control, lab, console)
    demand(run, "failed")
    assert "the API answers" in run.reason
    assert status.of(lab).healthy, "healed"


def test_after_down_nothing_of_a_checkpoint_is_left(place: Lab, console: Console, lab: Cluster) -> None:
    assert place.engine.images(f"{CLUSTER}={lab.spec.name}"), "what the nodes that were put back are made of"
    left = left_by_a_killed_run(place, lab)
    cluster.down(place.provider, lab.spec.name, console)
    assert not left()
    label = f"{CLUSTER}={lab.spec.name}"
    for found in (place.engine.containers, place.engine.volumes, place.engine.images, place.engine.networks):
        assert list(found(label)) == []
    assert lab.spec.name not in place.provider.clusters()


def left_by_a_killed_run(place: Lab, lab: Cluster) -> Callable[[], Sequence[object]]:
    """A container that has a node's disk, as one that copies disks when its run is killed; gives what is left of it."""
    name = lab.node("control-plane-1").name
    image, label = place.engine.inspect_container(name)["Image"], f"{HELPS}={lab.spec.name}"
    host = {"binds": [f"{disk(name)}:/from:ro"]}

    def copy() -> None:
        # It is removed under the one who waits for its end.
        with contextlib.suppress(KubedrillError):
            place.engine.run_once(image, ["sleep", "600"], host=host, labels={HELPS: lab.spec.name})

    Thread(target=copy, daemon=True).start()
    until(lambda: [one["State"] for one in place.engine.containers(label)],
          lambda states: (states == ["running"], str(states)), within=30, what="a helper")  # fmt: skip
    return lambda: place.engine.containers(label)


def _pod(name: str, node: str) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {node}\n  containers:\n"
        f"  - {{name: hello, image: '{workload.HELLO}', imagePullPolicy: IfNotPresent}}\n"
    )
