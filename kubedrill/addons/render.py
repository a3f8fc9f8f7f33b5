"""Manifests for the add-on manager, from objects as the API gives them: pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from kubedrill.images.store import ADDON_MANAGER
from kubedrill.network import to_yaml

NAME = "addon-manager"
DIRECTORY = "/etc/kubernetes/addons"
KUBECONFIG = "/etc/kubernetes/addon-manager.conf"
STATIC_POD = f"/etc/kubernetes/manifests/{NAME}.yaml"
# A user and a group of its own, so that the audit log and managedFields tell it from people, and so that deleting one
# binding takes its rights away: a certificate cannot be revoked, and admin.conf's group is the administrators'.
USER = "kubedrill:addon-manager"
GROUP = "kubedrill:addon-managers"
HEALTHZ_PORT = 10270
PERIOD = 5

MODE = "addonmanager.kubernetes.io/mode"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What is taken over, by file: (kind, name) as kubectl takes them; namespaced ones are in kube-system.
ADOPTED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "coredns.yaml": (
        ("serviceaccount", "coredns"), ("clusterrole", "system:coredns"), ("clusterrolebinding", "system:coredns"),
        ("configmap", "coredns"), ("service", "kube-dns"), ("deployment", "coredns"),
    ),
    "kube-proxy.yaml": (
        ("serviceaccount", "kube-proxy"), ("clusterrolebinding", "kubeadm:node-proxier"), ("role", "kube-proxy"),
        ("rolebinding", "kube-proxy"), ("configmap", "kube-proxy"), ("daemonset", "kube-proxy"),
    ),
}  # fmt: skip

_FROM_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
_FROM_CONTROLLERS = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")


def mode(kind: str) -> str:
    """How an object is kept, as Kubernetes' own add-ons do it: configuration is the user's, the rest the manifest's."""
    return "EnsureExists" if kind == "ConfigMap" else "Reconcile"


def as_found(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object as it is without the add-on manager: what is needed to make it again.

    Args:
        item: as the API gives it. What the server and controllers fill in is left out; where the manager keeps it, its
            label and kubectl apply's note, too.
    """
    found = copy.deepcopy(dict(item))
    found.pop("status", None)
    metadata = found["metadata"]
    kept_by_manager = MODE in (metadata.get("labels") or {})
    for name in _FROM_THE_SERVER:
        metadata.pop(name, None)
    _drop(metadata, "labels", MODE)
    _drop(metadata, "annotations", *_FROM_CONTROLLERS, *([LAST_APPLIED] if kept_by_manager else []))
    template = found.get("spec", {}).get("template", {}).get("metadata", {})
    if template.get("creationTimestamp", "") is None:
        del template["creationTimestamp"]
    return found


def labelled(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object as the add-on manager's directory has it."""
    made = as_found(item)
    _drop(made["metadata"], "annotations", LAST_APPLIED)
    made["metadata"].setdefault("labels", {})[MODE] = mode(made["kind"])
    return made


def manifest(items: Iterable[Mapping[str, Any]]) -> str:
    """A file of the directory."""
    return to_yaml(labelled(item) for item in items)


def binding() -> dict[str, Any]:
    """What the manager may do: all, as it makes roles, and whoever makes a role must have what is in it."""
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "apiGroup": rbac, "name": GROUP}],
    }


def static_pod(period: float = PERIOD) -> str:
    """The add-on manager's manifest for the kubelet; the same on every control plane.

    Args:
        period: seconds between two checks.
    """
    container = {
        "name": NAME,
        "image": ADDON_MANAGER,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            f"--directory={DIRECTORY}", f"--kubeconfig={KUBECONFIG}", "--node=$(NODE_NAME)", f"--period={period:g}s",
            f"--healthz=127.0.0.1:{HEALTHZ_PORT}",
        ],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "livenessProbe": {
            "httpGet": {"host": "127.0.0.1", "path": "/healthz", "port": HEALTHZ_PORT, "scheme": "HTTP"},
            "initialDelaySeconds": 10,
            "timeoutSeconds": 15,
        },
        "resources": {"requests": {"cpu": "25m", "memory": "50Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "addons", "mountPath": DIRECTORY, "readOnly": True},
            {"name": "kubeconfig", "mountPath": KUBECONFIG, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }  # fmt: skip
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": NAME,
            "namespace": "kube-system",
            "labels": {"component": NAME, "tier": "control-plane"},
        },
        "spec": {
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 10,
            "containers": [container],
            "volumes": [
                {"name": "addons", "hostPath": {"path": DIRECTORY, "type": "Directory"}},
                {"name": "kubeconfig", "hostPath": {"path": KUBECONFIG, "type": "File"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
    return to_yaml([pod])


def _drop(metadata: dict[str, Any], part: str, *names: str) -> None:
    values = metadata.get(part) or {}
    for name in names:
        values.pop(name, None)
    if not values:
        metadata.pop(part, None)
