"""metrics-server as an add-on: what `kubectl top` and autoscalers ask (https://github.com/kubernetes-sigs/metrics-server)."""

from __future__ import annotations

from typing import Any

from kubedrill.images.store import metrics_server

NAME = "metrics-server"
API_SERVICE = "v1beta1.metrics.k8s.io"
FILE = "metrics-server.yaml"
RESOLUTION = 10
_PORT = 10250
_RBAC = "rbac.authorization.k8s.io"
_SUBJECTS = [{"kind": "ServiceAccount", "name": NAME, "namespace": "kube-system"}]


def objects() -> list[dict[str, Any]]:
    """All of it, in the order in which it can be applied."""
    readers = {f"{_RBAC}/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named()},
        _role(
            "system:aggregated-metrics-reader", [_rule("metrics.k8s.io", ["nodes", "pods"], "get list watch")], readers
        ),
        _role(
            "system:metrics-server",
            [_rule("", ["nodes/metrics"], "get"), _rule("", ["nodes", "pods"], "get list watch")],
        ),
        _binding("ClusterRoleBinding", "system:metrics-server", "ClusterRole", "system:metrics-server"),
        # It asks the API server whether whoever asks it may.
        _binding("ClusterRoleBinding", "metrics-server:system:auth-delegator", "ClusterRole", "system:auth-delegator"),
        _binding("RoleBinding", "metrics-server-auth-reader", "Role", "extension-apiserver-authentication-reader"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _named(),
            "spec": {
                "selector": {"k8s-app": NAME},
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": "https"}],
            },
        },
        _deployment(),
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API_SERVICE, "labels": {"k8s-app": NAME}},
            "spec": {
                "group": "metrics.k8s.io",
                "groupPriorityMinimum": 100,
                # Its certificate is one that it signs itself at each start.
                "insecureSkipTLSVerify": True,
                "service": {"name": NAME, "namespace": "kube-system"},
                "version": "v1beta1",
                "versionPriority": 100,
            },
        },
    ]


def _deployment() -> dict[str, Any]:
    def probe(path: str, period: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "https", "scheme": "HTTPS"}, "periodSeconds": period}

    container = {
        "name": NAME,
        "image": metrics_server(),
        "imagePullPolicy": "IfNotPresent",
        "args": [
            f"--secure-port={_PORT}", "--cert-dir=/tmp", "--kubelet-preferred-address-types=InternalIP",
            # A kubelet signs its serving certificate itself, unless serverTLSBootstrap is set and somebody approves:
            # whoever is in the nodes' network could pose as one. In a laboratory that is nobody.
            "--kubelet-insecure-tls", f"--metric-resolution={RESOLUTION}s",
            # It refuses to start unless this (default: 10 s) is less than the resolution.
            f"--kubelet-request-timeout={RESOLUTION // 2}s",
        ],
        "ports": [{"name": "https", "containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": probe("/readyz", 2),
        "livenessProbe": {**probe("/livez", 10), "initialDelaySeconds": 20},
        "resources": {"requests": {"cpu": "50m", "memory": "50Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }  # fmt: skip
    pod = {
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _named(),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"k8s-app": NAME}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "template": {"metadata": {"labels": {"k8s-app": NAME}}, "spec": pod},
        },
    }


def _named() -> dict[str, Any]:
    return {"name": NAME, "namespace": "kube-system", "labels": {"k8s-app": NAME}}


def _rule(group: str, resources: list[str], verbs: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs.split()}


def _role(name: str, rules: list[dict[str, Any]], labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"k8s-app": NAME, **(labels or {})}}
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def _binding(kind: str, name: str, role_kind: str, role: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {"k8s-app": NAME}}
    if kind == "RoleBinding":
        metadata["namespace"] = "kube-system"
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": role_kind, "name": role},
        "subjects": _SUBJECTS,
    }
