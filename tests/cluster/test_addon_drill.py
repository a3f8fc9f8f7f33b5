"""The drill addon-manager, its negative control, a kill -9 in the middle of it, and `invoke addons`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from verdicts import demand
from workload import kubectl

from kubedrill import paths, shell
from kubedrill.addons import install, metrics_server, render
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.journal import Journal
from kubedrill.kube import Kube
from kubedrill.scenario import Scenario, registry, runner
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"controlPlanes": 1, "workers": 1}
DRILL = {drill.name: drill for drill in registry.drills(paths.repository() / "scenarios")}["addon-manager"]
run: Callable[..., None] = DRILL.body.__globals__["run"]


def found(lab: Cluster) -> str:
    """CoreDNS and kube-proxy, without what the server fills in."""
    return install.change(lab).found


def left(lab: Cluster) -> list[str]:
    """What is left of the manager: files, processes, objects."""
    node = lab.node("control-plane-1")
    files = node.run(["ls", render.STATIC_POD, render.DIRECTORY, render.KUBECONFIG], check=False).stdout.split()
    processes = node.run(["pgrep", "-x", render.NAME], check=False).stdout.split()
    kinds = "apiservice,deployment,daemonset,service,configmap,serviceaccount,role,rolebinding,clusterrole"
    objects = kubectl(lab, "get", f"{kinds},clusterrolebinding", "-A", "-l", render.MODE, "-o", "name").stdout.split()
    names = [metrics_server.API_SERVICE, render.USER]
    named = kubectl(lab, "get", "apiservice,clusterrolebinding", "-o", "name").stdout
    return [*files, *processes, *objects, *(name for name in names if name in named)]


def proxies(api: Kube) -> set[str]:
    """The pods of kube-proxy: none may be made anew."""
    return {pod.name for pod in api.pods("kube-system", "k8s-app=kube-proxy")}


def test_the_drill_passes_and_leaves_the_cluster_as_it_was(lab: Cluster, api: Kube, console: Console) -> None:
    before, pods = found(lab), proxies(api)
    done, _ = runner.run(DRILL, lab, console)
    demand(done, "passed")
    assert float(done.facts["CoreDNS put back after"].split()[0]) < 30
    assert found(lab) == before
    assert left(lab) == []
    assert proxies(api) == pods


def test_without_a_manager_it_fails_and_is_undone_all_the_same(lab: Cluster, api: Kube, console: Console) -> None:
    before, pods = found(lab), proxies(api)
    control = Scenario("addon-control", f"{DRILL.title} (none)", "", lambda lab: run(lab, managed=False), DRILL.needs)
    done, _ = runner.run(control, lab, console)
    demand(done, "failed")
    assert "the Deployment of CoreDNS is put back" in done.reason
    assert found(lab) == before
    assert left(lab) == []
    assert proxies(api) == pods


def test_kill_9_in_the_middle_and_then_heal(lab: Cluster, api: Kube, tmp_path: Path) -> None:
    before, log = found(lab), tmp_path / "drill.log"
    node = lab.node("control-plane-1")
    invoke = [sys.executable, "-m", "invoke", f"--search-root={paths.repository()}"]
    # What `invoke scenario` runs: itself it would only be the parent of what is to be killed.
    flags = ["--drill=addon-manager", f"--drill-cluster={lab.spec.name}", f"--rootdir={paths.repository()}"]
    drill = [sys.executable, "-m", "pytest", "--capture=no", "-q", str(paths.repository() / "scenarios"), *flags]
    running = shell.start_daemon(drill, log)
    try:
        until(log.read_text, lambda text: ("delete the Deployment of CoreDNS" in text, text[-500:]), within=240,
              what="the middle of the drill", every=0.05)  # fmt: skip
    finally:
        os.kill(running.pid, signal.SIGKILL)
    until(running, lambda status: (status is not None, "still there"), within=10, what="its end", every=0.05)
    # The worst that it can leave: neither a manager that puts CoreDNS back, nor CoreDNS.
    node.run(["rm", render.STATIC_POD])
    until(lambda: node.run(["pgrep", "-x", render.NAME], check=False).status, lambda status: (status == 1, str(status)),
          within=60, what="the manager's end")  # fmt: skip
    kubectl(lab, "--namespace", "kube-system", "delete", "deployment", "coredns", "--ignore-not-found")
    assert not Journal.of(lab.spec.name).is_empty()
    assert "healed: keep add-ons by a manager" in shell.run([*invoke, "heal", "--name", lab.spec.name]).stdout
    assert Journal.of(lab.spec.name).is_empty()
    assert found(lab) == before
    assert left(lab) == []
    coredns = api.cluster().coredns
    assert coredns is not None
    assert coredns.available == coredns.desired == 2
    kubectl(lab, "delete", "namespace", "drill", "kubedrill", "--ignore-not-found")


def test_invoke_addons(lab: Cluster, api: Kube) -> None:
    before, pods = found(lab), proxies(api)
    task = [sys.executable, "-m", "invoke", f"--search-root={paths.repository()}", "addons", "--name", lab.spec.name]
    for _ in range(2):  # the second changes nothing
        shell.run(task)
        assert lab.node("worker-1").name in kubectl(lab, "top", "nodes").stdout
        assert kubectl(lab, "top", "pods", "--all-namespaces").stdout.count("kube-system") > 3
    assert len(kubectl(lab, "get", "pods", "-n", "kube-system", "-l", f"component={render.NAME}").stdout.split()) > 5
    # A user's own setting outlives the manager.
    patch = json.dumps({"data": {"mine": "stays"}})
    kubectl(lab, "--namespace", "kube-system", "patch", "configmap", "coredns", "--patch", patch)
    shell.run([*task, "--remove"])
    assert left(lab) == []
    assert '"mine": "stays"' in kubectl(lab, "get", "configmap", "coredns", "-n", "kube-system", "-o", "json").stdout
    kubectl(lab, "--namespace", "kube-system", "patch", "configmap", "coredns", "--patch", '{"data":{"mine":null}}')
    assert found(lab) == before
    assert proxies(api) == pods
