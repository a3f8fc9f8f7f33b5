"""A control plane that runs on itself: the static pods of kubeadm as DaemonSets. Pure; what kubeadm dropped in 1.21.

Two processes of a component share their port (--permit-port-sharing, SO_REUSEPORT) for as long as one takes over from
the other, so that the API is never away: at the pivot, at each rollout, and when a checkpoint steps aside. What the
checkpoint is: images/files/usr/local/sbin/kubedrill-selfhosted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# etcd stays a static pod, as with kubeadm's own selfhosting: what holds the cluster's state cannot be in it.
PORTS: Mapping[str, int] = {"kube-scheduler": 10259, "kube-controller-manager": 10257, "kube-apiserver": 6443}
# The API server last: as long as it is a static pod, a mistake with the others can be mended by kubectl.
COMPONENTS: Sequence[str] = tuple(PORTS)
LABEL = "kubedrill.local/selfhosted"
GATE = "kubedrill.local/serves"
SHARE = "--permit-port-sharing=true"
# An API server that is to end waits up to 60 s for clients that watch, and is killed after the 30 s that its pod has;
# told to end their watches, it is gone in about a second (both measured with v1.37.2).
EXTRA: Mapping[str, Sequence[str]] = {"kube-apiserver": ("--shutdown-watch-termination-grace-period=3s",)}
MANIFESTS = "/etc/kubernetes/manifests"
HOME = "/etc/kubernetes/selfhosted"
TIMER = "kubedrill-selfhosted.timer"


def flags(component: str) -> tuple[str, ...]:
    """What a component's manifest gets before the pivot."""
    return (SHARE, *EXTRA.get(component, ()))


def daemon_set_name(component: str) -> str:
    """The name of a component's DaemonSet."""
    return f"self-hosted-{component}"


def node_label(component: str) -> str:
    """The label of the nodes on which a component's DaemonSet runs: one node gets it after the other."""
    return f"{LABEL}-{component}"


def daemon_set(manifest: str) -> dict[str, Any]:
    """A DaemonSet of the pod that a static manifest describes, for control planes that have its node label.

    Args:
        manifest: of kube-apiserver, kube-controller-manager or kube-scheduler, with the flag that shares its port.

    Raises:
        ValueError: it does not share its port: its second process could not start.
    """
    pod = yaml.safe_load(manifest)
    component = pod["metadata"]["name"]
    spec = copy.deepcopy(pod["spec"])
    container = spec["containers"][0]
    if SHARE not in container["command"]:
        raise ValueError(f"the manifest of {component} lacks {SHARE}")
    # A port of the host would keep the scheduler from placing a second pod beside the first.
    container.pop("ports", None)
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        if kind in container:
            container[kind] = _probe(kind, container[kind], component)
    # The same template serves every node: what was this node's own address is asked of the kubelet.
    container["command"] = [_everywhere(word) for word in container["command"]]
    container["env"] = [{"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]
    # The admission of priorities works it out from the class.
    spec.pop("priority", None)
    spec["nodeSelector"] = {"node-role.kubernetes.io/control-plane": "", node_label(component): ""}
    spec["tolerations"] = [{"operator": "Exists"}]
    # They come with certificates and kubeconfigs of the node; a token would need what they themselves provide.
    spec["automountServiceAccountToken"] = False
    # Both processes answer a probe on a shared port: the checkpoint's script tells which one it was.
    spec["readinessGates"] = [{"conditionType": GATE}]
    labels = {LABEL: component, "tier": "control-plane"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": daemon_set_name(component), "namespace": "kube-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {LABEL: component}},
            # The new pod serves before the old one goes, also on the only control plane.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _probe(kind: str, probe: Mapping[str, Any], component: str) -> dict[str, Any]:
    request = {**probe["httpGet"], "port": PORTS[component]}
    if component == "kube-apiserver":
        # The pod's own address, which is the node's.
        del request["host"]
    # kubeadm's first look at a starting process comes after 10 s; each second is as patient, and knows earlier.
    eager = {"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 240} if kind == "startupProbe" else {}
    return {**probe, **eager, "httpGet": request}


def _everywhere(word: str) -> str:
    return "--advertise-address=$(HOST_IP)" if word.startswith("--advertise-address=") else word
