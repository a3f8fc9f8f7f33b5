"""What the cluster tests run in a cluster: `hello` on every worker, and a shell in its pods."""

from __future__ import annotations

import json
from typing import Any

from kubedrill import checks, kube
from kubedrill.cluster import Cluster
from kubedrill.images.store import HELLO
from kubedrill.kube import Kube, PodSnapshot
from kubedrill.network import to_yaml
from kubedrill.providers.docker import STORES
from kubedrill.shell import Result
from kubedrill.wait import until

LABELS = {"app": "hello"}


def manifest(image: str = HELLO, name: str = "hello", command: tuple[str, ...] = ()) -> str:
    """A DaemonSet and a Service in front of it."""
    labels = {"app": name}
    env = [
        {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for variable, path in (
            ("POD_NAME", "metadata.name"),
            ("POD_IP", "status.podIP"),
            ("NODE_NAME", "spec.nodeName"),
        )
    ]
    container: dict[str, object] = {"name": "hello", "image": image, "imagePullPolicy": "Never", "env": env}
    if command:
        container["command"] = list(command)
    return to_yaml(
        [
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": name},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
            },
        ]
    )


def kubectl(cluster: Cluster, *arguments: str, stdin: str | None = None, check: bool = True) -> Result:
    """kubectl on the first control plane."""
    return cluster.node("control-plane-1").run(["kubectl", *arguments], stdin=stdin, check=check, timeout=60)


def bootstrap_list(cluster: Cluster) -> str:
    """What is made for an API server by the time that it would make it itself; nothing in official packages."""
    path = f"{STORES}/{cluster.spec.version()}/bootstrap-objects"
    return cluster.node("control-plane-1").run(["cat", path], check=False).stdout


def bootstrapped(cluster: Cluster) -> list[dict[str, Any]]:
    """The roles and priority classes of its API server, with who made them."""
    kinds = "clusterroles,clusterrolebindings,roles,rolebindings"
    asked = [[kinds, "--all-namespaces", "--selector=kubernetes.io/bootstrapping=rbac-defaults"], ["priorityclasses"]]
    answers = [kubectl(cluster, "get", "--output=json", "--show-managed-fields", *words).stdout for words in asked]
    return [made for answer in answers for made in json.loads(answer)["items"]]


def in_pod(cluster: Cluster, pod: PodSnapshot, command: str, check: bool = True) -> Result:
    """A command line in a pod."""
    return kubectl(cluster, "exec", "--namespace", pod.namespace, pod.name, "--", "sh", "-c", command, check=check)


def running(api: Kube, count: int, name: str = "hello", within: float = 90) -> tuple[PodSnapshot, ...]:
    """The pods of a DaemonSet, once all of them are ready."""
    return until(
        lambda: api.pods("default", f"app={name}"), lambda pods: checks.pods_running(pods, count), within=within,
        what=f"the pods of {name}", transient=(kube.ApiUnavailable,),
    )  # fmt: skip
