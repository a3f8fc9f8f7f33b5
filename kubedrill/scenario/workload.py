"""What drills run in a cluster: `hello`, spread over nodes, a Service in front of it, and a disruption budget."""

from __future__ import annotations

import copy
import math
from typing import Any

from kubedrill.images.store import HELLO
from kubedrill.network import to_yaml

NAMESPACE = "drill"
NODE_PORT = 30080
PORT = 8080
# Without a request a pod is the last to get CPU on a node; a drill measures the cluster, not a crowded core.
REQUESTS = {"cpu": "50m"}


def deployment(
    name: str, replicas: int, *, tolerate: int | None = None, spread: bool = True, linger: str = "2s", grace: int = 15,
    everywhere: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A Deployment of `hello`.

    Args:
        name: its name, and the value of its label `app`.
        replicas: how many pods.
        tolerate: seconds that its pods stay bound to a node that is NotReady; None for Kubernetes' default of 300.
        spread: whether its pods must be on different nodes, as far as there are enough.
        linger: how long a pod that is told to end goes on serving, so that its endpoint is gone before it is.
        grace: seconds until a pod that does not end is killed.
        everywhere: whether control planes take its pods, too.
    """
    labels = {"app": name}
    env: list[dict[str, Any]] = [
        {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for variable, path in (
            ("POD_NAME", "metadata.name"),
            ("POD_IP", "status.podIP"),
            ("NODE_NAME", "spec.nodeName"),
        )
    ]
    env.append({"name": "HELLO_LINGER", "value": linger})
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": grace,
        "containers": [
            {
                "name": "hello",
                "image": HELLO,
                "imagePullPolicy": "IfNotPresent",
                "env": env,
                "ports": [{"containerPort": PORT}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
                "resources": {"requests": REQUESTS},
            }
        ],
    }
    if tolerate is not None:
        pod["tolerations"] = [
            {
                "key": f"node.kubernetes.io/{why}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": tolerate,
            }
            for why in ("not-ready", "unreachable")
        ]
    if everywhere:
        taint = {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}
        pod["tolerations"] = [*pod.get("tolerations", []), taint]
    if spread:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                # Honour taints: a node that takes no pods must not count as an empty one.
                "nodeTaintsPolicy": "Honor",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": labels},
            }
        ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def patient(made: dict[str, Any], slow: float) -> dict[str, Any]:
    """A Deployment for nodes that are slow: its pods are asked less often whether they are ready, and may take longer.

    Args:
        made: the Deployment; anything else is left as it is.
        slow: how many times slower than real hardware nodes are.
    """
    if slow == 1 or made["kind"] != "Deployment":
        return made
    changed = copy.deepcopy(made)
    for container in changed["spec"]["template"]["spec"]["containers"]:
        probe = container.get("readinessProbe")
        if probe is not None:
            probe["periodSeconds"] = math.ceil(probe.get("periodSeconds", 10) * slow / 2)
            probe["timeoutSeconds"] = math.ceil(probe.get("timeoutSeconds", 1) * slow)
    return changed


def service(name: str, node_port: int | None = None) -> dict[str, Any]:
    """A Service in front of the Deployment of that name; with a node port it is reached from outside, too."""
    port: dict[str, Any] = {"port": 80, "targetPort": PORT}
    if node_port:
        port["nodePort"] = node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": "NodePort" if node_port else "ClusterIP", "selector": {"app": name}, "ports": [port]},
    }


def budget(name: str, at_least: int) -> dict[str, Any]:
    """A PodDisruptionBudget for the Deployment of that name: so many pods must stay available."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"minAvailable": at_least, "selector": {"matchLabels": {"app": name}}},
    }


def namespace() -> dict[str, Any]:
    """The namespace of all that drills make."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def manifest(*objects: dict[str, Any]) -> str:
    """The namespace and objects, as kubectl apply takes them."""
    return to_yaml([namespace(), *objects])
