"""The API of a cluster, turned at once into frozen snapshots. The only module that imports kubernetes, and late."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kubedrill import objects
from kubedrill.errors import KubedrillError
from kubedrill.objects import Object

# Hooks of the API server that first ask their own server a second after its start (pkg/registry/rbac and scheduling):
# its own roles, which take another half a second, and its own priority classes.
ROLES, PRIORITIES = "poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes"
# The label of nodes without a computer.
HOLLOW = "kubedrill.io/hollow"
# kubectl's and the API server's words for no answer: no connection, one that broke, etcd without a leader or too busy.
_NO_ANSWER = (
    "Unable to connect to the server", "connection refused", "connection reset", "unexpected EOF",
    "TLS handshake timeout", "i/o timeout", "etcdserver: request timed out", "etcdserver: leader changed",
    "context deadline exceeded", "unable to return a response in the time allotted",
    "Timeout: request did not complete",
)  # fmt: skip
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces"
_LED = ("kube-controller-manager", "kube-scheduler")


class ApiUnavailable(KubedrillError):
    """The API did not answer, or not in a way that tells anything."""


@dataclass(frozen=True)
class NodeSnapshot:
    """A Node object as it was at one moment; routed: whether its pod network has been set up."""

    name: str
    ready: bool
    why: str
    control_plane: bool
    unschedulable: bool
    taints: tuple[str, ...]
    address: str
    version: str
    routed: bool = True


@dataclass(frozen=True)
class PodSnapshot:
    """A Pod object as it was at one moment; owner: 'DaemonSet/NAME', 'Node/NAME' for a static pod's mirror.

    `started` is when the first of its containers that run was started, in seconds since 1970; 0 where none runs.
    """

    namespace: str
    name: str
    node: str
    ip: str
    phase: str
    ready: bool
    restarts: int
    deleting: bool
    labels: Mapping[str, str]
    uid: str = ""
    owner: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0


@dataclass(frozen=True)
class WorkloadSnapshot:
    """How many pods a Deployment or DaemonSet should have, and how many serve."""

    name: str
    desired: int
    available: int


@dataclass(frozen=True)
class EventSnapshot:
    """An Event: `at` is when it was last seen, in seconds since 1970."""

    at: float
    subject: str
    reason: str
    message: str


@dataclass(frozen=True)
class ClusterSnapshot:
    """What `up` waits for, as it was at one moment."""

    nodes: tuple[NodeSnapshot, ...]
    coredns: WorkloadSnapshot | None
    flannel: WorkloadSnapshot | None
    kube_proxy: WorkloadSnapshot | None = None


class Kube:
    """A client of one cluster's API.

    Args:
        kubeconfig: a kubeconfig as text; its current context is used.
        timeout: seconds that a single request may take.
    """

    def __init__(self, kubeconfig: str, *, timeout: float = 5) -> None:
        self._client, self._timeout = connection(kubeconfig), timeout

    def cluster(self) -> ClusterSnapshot:
        """Nodes, CoreDNS, flannel and kube-proxy.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        from kubedrill.network import FLANNEL_NAMESPACE

        daemon_sets = self._list(f"/apis/apps/v1/namespaces/{FLANNEL_NAMESPACE}/daemonsets")
        proxies = self._list(
            "/apis/apps/v1/namespaces/kube-system/daemonsets", fieldSelector="metadata.name=kube-proxy"
        )
        return ClusterSnapshot(
            nodes=self.nodes(),
            coredns=self.coredns(),
            flannel=next((_daemon_set(item) for item in daemon_sets), None),
            kube_proxy=next((_daemon_set(item) for item in proxies), None),
        )

    def coredns(self) -> WorkloadSnapshot | None:
        """CoreDNS; None where there is none.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        found = self._list("/apis/apps/v1/namespaces/kube-system/deployments", fieldSelector="metadata.name=coredns")
        return next((_deployment(item) for item in found), None)

    def readyz(self, *without: str) -> str:
        """The API server's own word on whether it is ready: 'ok'.

        Args:
            without: checks that it leaves out. Whoever belongs to system:masters needs no ROLES, and only pods need
                PRIORITIES.

        Raises:
            ApiUnavailable: it does not answer, or says that it is not.
        """
        left_out = "&".join(f"exclude={check}" for check in without)
        return self._get(f"/readyz?{left_out}" if left_out else "/readyz").decode()

    def has_config_map(self, namespace: str, name: str) -> bool:
        """Whether there is a ConfigMap of that name.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        return bool(self._list(f"/api/v1/namespaces/{namespace}/configmaps", fieldSelector=f"metadata.name={name}"))

    def has_namespace(self, name: str) -> bool:
        """Whether there is a namespace of that name.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        return bool(self._list("/api/v1/namespaces", fieldSelector=f"metadata.name={name}"))

    def make_priority_class(self, made: Mapping[str, Any]) -> None:
        """Make a PriorityClass, unless there is one of that name.

        Args:
            made: it, without its kind.

        Raises:
            ApiUnavailable: the API does not answer, or does not take it.
        """
        path, kind = "/apis/scheduling.k8s.io/v1/priorityclasses", {"apiVersion": "scheduling.k8s.io/v1"}
        with translated():
            answer = self._client.rest_client.pool_manager.request(
                "POST", f"{self._client.configuration.host}{path}", timeout=self._timeout, retries=False,
                body=json.dumps({**kind, "kind": "PriorityClass", **made}),
                headers={"Content-Type": "application/json", "User-Agent": "kubedrill"},
            )  # fmt: skip
        if answer.status not in (201, 409):
            raise _refused(path, answer)

    def has_cluster_role(self, name: str) -> bool:
        """Whether there is a ClusterRole of that name.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        return bool(
            self._list("/apis/rbac.authorization.k8s.io/v1/clusterroles", fieldSelector=f"metadata.name={name}")
        )

    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """All nodes that are computers, in the order of their names.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        items = self._list("/api/v1/nodes", labelSelector=f"!{HOLLOW}")
        return tuple(sorted((_node(item) for item in items), key=lambda node: node.name))

    def hollow(self) -> Mapping[str, bool]:
        """The nodes without a computer (hollow.py), and whether each is Ready.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        # All at once they take a while to be written and read.
        items = self._list("/api/v1/nodes", patience=10, labelSelector=HOLLOW)
        return {item["metadata"]["name"]: _node(item).ready for item in items}

    def heartbeats(self) -> Mapping[str, float]:
        """When the kubelet of each node last said that it lives, in seconds since 1970.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        leases = self._list(f"{_LEASES}/kube-node-lease/leases")
        renewed = {lease["metadata"]["name"]: lease["spec"].get("renewTime") for lease in leases}
        return {name: objects.moment(when) for name, when in renewed.items() if when}

    def leaders(self) -> Mapping[str, float]:
        """When the leader of each component of which one leads last said that it does, in seconds since 1970.

        Controller manager and scheduler, unless they elect none; 0 where nobody leads.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        leases = {lease["metadata"]["name"]: lease["spec"] for lease in self._list(f"{_LEASES}/kube-system/leases")}
        # One that ends in order renews its lease as nobody's.
        return {
            name: objects.moment(leases[name].get("renewTime")) if leases[name].get("holderIdentity") else 0.0
            for name in _LED if name in leases
        }  # fmt: skip

    def events(self) -> tuple[EventSnapshot, ...]:
        """All Events of the cluster.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        return tuple(_event(item) for item in self._list("/api/v1/events"))

    def pods(self, namespace: str | None = None, selector: str = "") -> tuple[PodSnapshot, ...]:
        """Pods of a namespace, or of all.

        Args:
            namespace: None for all.
            selector: labels, as kubectl's -l takes them.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        path = "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"
        items = self._list(path, labelSelector=selector)
        return tuple(sorted((_pod(item) for item in items), key=lambda pod: (pod.namespace, pod.name)))

    def _list(self, path: str, *, patience: float = 1, **query: str) -> list[dict[str, Any]]:
        """All objects of a kind, as the API writes them; for `patience` times the usual timeout."""
        said = self._get(path, patience, {key: value for key, value in query.items() if value})
        try:
            items: list[dict[str, Any]] = json.loads(said)["items"] or []
        except (ValueError, KeyError, TypeError) as error:
            raise ApiUnavailable(f"{path} is no list", evidence=[said[-300:].decode(errors="replace")]) from error
        return items

    def _get(self, path: str, patience: float = 1, query: Mapping[str, str] | None = None) -> bytes:
        """What the API answers to a GET.

        The client's connections, but not its generated methods: those know no /readyz, take half a second of a core to
        be imported, and make a model of each object, which costs many times the CPU of reading it as JSON. A cluster
        that starts has no core to spare. Nodes' kubeconfigs hold certificates, and those are in the connections.
        """
        with translated():
            answer = self._client.rest_client.pool_manager.request(
                "GET", f"{self._client.configuration.host}{path}", fields=query or None,
                timeout=self._timeout * patience, retries=False,
            )  # fmt: skip
        if answer.status != 200:
            raise _refused(path, answer)
        return bytes(answer.data)


def _refused(path: str, answer: Any) -> ApiUnavailable:
    return ApiUnavailable(
        f"{path} answered {answer.status}", evidence=[answer.data.decode(errors="replace")[-300:]]
    )  # fmt: skip


def preload() -> None:
    """Import the client ahead of its use; it takes a fifth of a second of a core."""
    import kubernetes  # noqa: F401


def unanswered(said: str) -> bool:
    """Whether kubectl's words tell that the API did not answer, or had no answer yet, rather than refused.

    Args:
        said: its output.
    """
    return any(words in said for words in _NO_ANSWER)


def connection(kubeconfig: str) -> Any:
    """The client's connection to an API, which asks once: `until` is what retries here.

    Args:
        kubeconfig: a kubeconfig as text; its current context is used.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    # The pool of connections reads it once, when it is made.
    configuration.retries = False
    config.load_kube_config_from_dict(yaml.safe_load(kubeconfig), client_configuration=configuration)
    # A cluster is on this computer; the client would ask HTTPS_PROXY even for 127.0.0.1, which kubectl does not.
    configuration.proxy = None
    return client.ApiClient(configuration)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """The connection's errors as ApiUnavailable."""
    import urllib3.exceptions

    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiUnavailable("the API does not answer", evidence=[str(error)[:300]]) from error


def _node(item: Object) -> NodeSnapshot:
    spec, addresses = item["spec"], item.get("status", {}).get("addresses") or []
    return NodeSnapshot(
        name=item["metadata"]["name"],
        ready=objects.is_ready(item),
        why=objects.why_unready(item),
        control_plane=_CONTROL_PLANE in item["metadata"].get("labels", {}),
        unschedulable=spec.get("unschedulable", False),
        taints=objects.taints(item),
        address=next((found["address"] for found in addresses if found["type"] == "InternalIP"), ""),
        version=objects.kubelet_version(item),
        routed=objects.is_routed(item),
    )


def _pod(item: Object) -> PodSnapshot:
    metadata, status = item["metadata"], item.get("status", {})
    running = [(found.get("state") or {}).get("running") or {} for found in objects.containers(item)]
    return PodSnapshot(
        namespace=metadata["namespace"],
        name=metadata["name"],
        node=item["spec"].get("nodeName", ""),
        ip=status.get("podIP", ""),
        phase=status.get("phase", ""),
        ready=objects.is_ready(item),
        restarts=objects.restarts(item),
        deleting="deletionTimestamp" in metadata,
        labels=metadata.get("labels", {}),
        uid=metadata.get("uid", ""),
        owner=next((f"{owner['kind']}/{owner['name']}" for owner in metadata.get("ownerReferences", [])), ""),
        annotations=metadata.get("annotations", {}),
        started=min((objects.moment(found["startedAt"]) for found in running if found.get("startedAt")), default=0.0),
    )


def _event(item: Object) -> EventSnapshot:
    about = item["involvedObject"]
    return EventSnapshot(
        at=objects.last_seen(item),
        subject=f"{about.get('kind', '')} {about.get('name', '')}",
        reason=item.get("reason") or "",
        message=(item.get("message") or "").strip(),
    )


def _deployment(item: Object) -> WorkloadSnapshot:
    available = item.get("status", {}).get("availableReplicas", 0)
    return WorkloadSnapshot(item["metadata"]["name"], item["spec"].get("replicas", 0), available)


def _daemon_set(item: Object) -> WorkloadSnapshot:
    status = item.get("status", {})
    desired, serving = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    return WorkloadSnapshot(item["metadata"]["name"], desired, serving)
