"""What hollow nodes consist of: their objects, the life that kwok plays for them, its rights and its unit. Pure.

A hollow node is a Node object without a computer: kwok (sigs.k8s.io/kwok) renews its lease, and says of pods bound to
it that they run. API server, etcd, scheduler and controllers are as busy with it as with a real one; nothing else is
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from kubedrill.kube import HOLLOW as LABEL
from kubedrill.network import to_yaml

# kwok plays the kubelet of a node that has it; without it the node falls silent, as one whose computer died.
PLAYED = "kubedrill.io/hollow-kubelet"
# Keeps pods away that are not meant for them: such a pod would be said to run, and would not.
TAINT = {"key": LABEL, "value": "true", "effect": "NoSchedule"}
USER = "kubedrill-hollow"
DIRECTORY = "/etc/kubedrill-hollow"
UNIT = "kubedrill-hollow.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
_LEASES = "kube-node-lease"
# A thousand nodes renew a hundred leases a second; kwok's own four at once fall behind when an answer takes 40 ms. The
# others are kwok's own, which it forgets when some are given (pkg/apis/config/v1alpha1/zz_generated.defaults.go).
_OPTIONS = {
    "nodeLeaseParallelism": 16, "nodePlayStageParallelism": 4, "podPlayStageParallelism": 4,
    "podsOnNodeSyncParallelism": 1, "enablePodsOnNodeSyncListPager": True, "cidr": "10.0.0.0/24",
}  # fmt: skip


def name(number: int) -> str:
    """The name of the n-th hollow node, from 1."""
    return f"hollow-{number}"


def nodes(numbers: Iterable[int]) -> str:
    """Node objects, for `kubectl create -f -`.

    They have no label kubernetes.io/os: kube-proxy and flannel, which select by it, get no pods there.

    Args:
        numbers: which.
    """
    items = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name(number),
                "labels": {LABEL: "true", PLAYED: "runs", "kubernetes.io/hostname": name(number)},
            },
            "spec": {"taints": [TAINT]},
        }
        for number in numbers
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def stages(version: str) -> str:
    """What kwok makes of nodes and pods: a node becomes ready, a pod runs at once, and ends at once when told to.

    The controller manager takes Ready from the pods of a node whose lease came late. A kubelet says it again, so kwok
    does too.

    https://kwok.sigs.k8s.io/docs/user/stages-configuration/

    Args:
        version: of the kubelet that a node is said to have.
    """
    return to_yaml([
        {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": _OPTIONS},
        _stage("node-ready", "Node", _unless('.status.conditions.[] | select( .type == "Ready" ) | .status', "True"), {
            "statusTemplate": _NODE.replace("VERSION", version),
        }),
        _stage("pod-runs", "Pod", [
            {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
            {"key": ".status.podIP", "operator": "DoesNotExist"},
        ], {"statusTemplate": _POD}),
        _stage("pod-is-ready-again", "Pod", [
            {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
            {"key": ".status.podIP", "operator": "Exists"},
            *_unless('.status.conditions.[] | select( .type == "Ready" ) | .status', "True"),
        ], {"statusTemplate": _READY}),
        _stage("pod-ends", "Pod", [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}], {
            "finalizers": {"empty": True}, "delete": True,
        }),
    ])  # fmt: skip


def rights() -> str:
    """What kwok may do, for a user of its own: no more than it does."""
    rules = [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status", "pods/status"], "verbs": ["patch", "update"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch", "update", "delete"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
    ]
    leases = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
               "verbs": ["get", "list", "watch", "create", "patch", "update"]}]  # fmt: skip
    group = "rbac.authorization.k8s.io"
    subject = [{"kind": "User", "name": USER, "apiGroup": group}]
    return to_yaml([
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": USER}, "rules": rules},
        {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": USER},
         "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": USER}, "subjects": subject},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": USER, "namespace": _LEASES},
         "rules": leases},
        {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": USER, "namespace": _LEASES},
         "roleRef": {"apiGroup": group, "kind": "Role", "name": USER}, "subjects": subject},
    ])  # fmt: skip


def unit(path: str) -> str:
    """The unit that runs kwok, which is at a path. Its leases last as long as a kubelet's: 40 s, renewed each 10 s."""
    return f"""[Unit]
Description=The kubelets of hollow nodes (kwok)
After=network-online.target

[Service]
ExecStart={path} --kubeconfig={DIRECTORY}/kubeconfig --config={DIRECTORY}/stages.yaml \\
    --manage-all-nodes=false --manage-nodes-with-label-selector={PLAYED}=runs \\
    --node-lease-duration-seconds=40 --node-name={USER} --v=WARN
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
"""


def _unless(key: str, value: str) -> list[dict[str, object]]:
    return [{"key": key, "operator": "NotIn", "values": [value]}]


def _stage(name: str, kind: str, expressions: list[dict[str, object]], then: dict[str, object]) -> dict[str, object]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": expressions},
            "next": then,
        },
    }


def _conditions(found: Iterable[tuple[str, str, str]]) -> str:
    return "conditions:\n" + "".join(
        f'- {{type: {kind}, status: "{status}", reason: {reason}, lastTransitionTime: {{{{ $now | Quote }}}}}}\n'
        for kind, status, reason in found
    )


# A small machine: 4 cores, 8 GiB, 110 pods (the kubelet's own default).
_SIZE = '{cpu: "4", memory: 8Gi, pods: "110"}'
_NODE = (
    "{{ $now := Now }}\n"
    + _conditions([
        ("Ready", "True", "KubeletReady"),
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
    ])
    + f"allocatable: {_SIZE}\ncapacity: {_SIZE}\n"
    + "addresses:\n- {type: Hostname, address: {{ NodeName | Quote }}}\n"
    + "nodeInfo: {kubeletVersion: VERSION, kubeProxyVersion: none, containerRuntimeVersion: none,\n"
    + '  kernelVersion: none, osImage: none, operatingSystem: hollow, architecture: none,\n'
    + '  machineID: "", systemUUID: "", bootID: ""}\n'
)  # fmt: skip
_READY = "{{ $now := Now }}\n" + _conditions([
    ("Initialized", "True", "Hollow"), ("ContainersReady", "True", "Hollow"), ("Ready", "True", "Hollow"),
])  # fmt: skip
_POD = (
    _READY
    + """containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, restartCount: 0,
   state: {running: {startedAt: {{ $now | Quote }}}}}
{{ end }}
{{ range PodIPsWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace }}
podIP: {{ . | Quote }}
podIPs: [{ip: {{ . | Quote }}}]
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""
)
