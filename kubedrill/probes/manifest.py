"""What the probes need in the cluster."""

from __future__ import annotations

from kubedrill.network import to_yaml

NAMESPACE = "kubedrill"
READ = "probe-read"
# The label that marks the objects of one run's writes.
RUN_LABEL = "kubedrill/run"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


def manifest() -> str:
    """The namespace, and the ConfigMap that reads ask for. Removing the namespace removes all that probes leave."""
    return to_yaml(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": READ, "namespace": NAMESPACE},
                "data": {"purpose": "read by kubedrill's probes, again and again"},
            },
        ]
    )
