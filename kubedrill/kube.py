"""The API of a cluster, turned at once into frozen snapshots. The only module that imports kubernetes, and late."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kubedrill.errors import KubedrillError

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


class ApiUnavailable(KubedrillError):
    """The API did not answer, or not in a way that tells anything."""


@dataclass(frozen=True)
class NodeSnapshot:
    """A Node object as it was at one moment."""

    name: str
    ready: bool
    why: str
    control_plane: bool
    unschedulable: bool
    taints: tuple[str, ...]
    address: str
    version: str


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


class Kube:
    """A client of one cluster's API.

    Args:
        kubeconfig: a kubeconfig as text; its current context is used.
        timeout: seconds that a single request may take.
    """

    def __init__(self, kubeconfig: str, *, timeout: float = 5) -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        # `until` is what retries here. Its pool of connections reads it once, when it is made.
        configuration.retries = False
        config.load_kube_config_from_dict(yaml.safe_load(kubeconfig), client_configuration=configuration)
        connection = client.ApiClient(configuration)
        self._raw = connection
        self._core = client.CoreV1Api(connection)
        self._apps = client.AppsV1Api(connection)
        self._coordination = client.CoordinationV1Api(connection)
        self._timeout = timeout

    def cluster(self) -> ClusterSnapshot:
        """Nodes, CoreDNS and flannel.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        from kubedrill.network import FLANNEL_NAMESPACE

        with _translated():
            deployments = self._apps.list_namespaced_deployment("kube-system", _request_timeout=self._timeout).items
            daemon_sets = self._apps.list_namespaced_daemon_set(FLANNEL_NAMESPACE, _request_timeout=self._timeout).items
        coredns = next((item for item in deployments if item.metadata.name == "coredns"), None)
        return ClusterSnapshot(
            nodes=self.nodes(),
            coredns=coredns
            and WorkloadSnapshot("coredns", coredns.spec.replicas or 0, coredns.status.available_replicas or 0),
            flannel=next((_daemon_set(item) for item in daemon_sets), None),
        )

    def readyz(self) -> str:
        """The API server's own word on whether it is ready: 'ok'.

        Raises:
            ApiUnavailable: it does not answer, or says that it is not.
        """
        # Under the generated methods, which know no such path, and whose raw call changes from version to version.
        with _translated():
            answer = self._raw.rest_client.pool_manager.request(
                "GET", f"{self._raw.configuration.host}/readyz", timeout=self._timeout, retries=False
            )
        if answer.status != 200:
            raise ApiUnavailable(f"/readyz answered {answer.status}", evidence=[answer.data.decode()[-300:]])
        return str(answer.data.decode())

    def has_config_map(self, namespace: str, name: str) -> bool:
        """Whether there is a ConfigMap of that name.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        with _translated():
            items = self._core.list_namespaced_config_map(
                namespace, field_selector=f"metadata.name={name}", _request_timeout=self._timeout
            ).items
        return bool(items)

    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """All nodes that are computers, in the order of their names.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        with _translated():
            items = self._core.list_node(label_selector=f"!{HOLLOW}", _request_timeout=self._timeout).items
        return tuple(sorted((_node(item) for item in items), key=lambda node: node.name))

    def hollow(self) -> Mapping[str, bool]:
        """The nodes without a computer (hollow.py), and whether each is Ready.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        with _translated():
            # All at once they take a while to be written and read.
            items = self._core.list_node(label_selector=HOLLOW, _request_timeout=10 * self._timeout).items
        return {item.metadata.name: _node(item).ready for item in items}

    def heartbeats(self) -> Mapping[str, float]:
        """When the kubelet of each node last said that it lives, in seconds since 1970.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        with _translated():
            leases = self._coordination.list_namespaced_lease("kube-node-lease", _request_timeout=self._timeout).items
        return {lease.metadata.name: lease.spec.renew_time.timestamp() for lease in leases if lease.spec.renew_time}

    def events(self) -> tuple[EventSnapshot, ...]:
        """All Events of the cluster.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        with _translated():
            items = self._core.list_event_for_all_namespaces(_request_timeout=self._timeout).items
        return tuple(_event(item) for item in items)

    def pods(self, namespace: str | None = None, selector: str = "") -> tuple[PodSnapshot, ...]:
        """Pods of a namespace, or of all.

        Args:
            namespace: None for all.
            selector: labels, as kubectl's -l takes them.

        Raises:
            ApiUnavailable: the API does not answer.
        """
        limit = self._timeout
        with _translated():
            if namespace is None:
                listed = self._core.list_pod_for_all_namespaces(label_selector=selector, _request_timeout=limit)
            else:
                listed = self._core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=limit)
        items = listed.items
        return tuple(sorted((_pod(item) for item in items), key=lambda pod: (pod.namespace, pod.name)))


def preload() -> None:
    """Import the client ahead of its use; it takes about a second."""
    import kubernetes  # noqa: F401


def unanswered(said: str) -> bool:
    """Whether kubectl's words tell that the API did not answer, or had no answer yet, rather than refused.

    Args:
        said: its output.
    """
    return any(words in said for words in _NO_ANSWER)


def translated() -> contextlib.AbstractContextManager[None]:
    """The client's errors as ApiUnavailable, for whoever reads through it (kubewatch.py)."""
    return _translated()


def _node(item: Any) -> NodeSnapshot:
    ready = next((found for found in item.status.conditions or [] if found.type == "Ready"), None)
    addresses = {found.type: found.address for found in item.status.addresses or []}
    return NodeSnapshot(
        name=item.metadata.name,
        ready=ready is not None and ready.status == "True",
        why=(ready.message or ready.reason or "") if ready else "the kubelet has not reported yet",
        control_plane=_CONTROL_PLANE in (item.metadata.labels or {}),
        unschedulable=bool(item.spec.unschedulable),
        taints=tuple(
            f"{taint.key}{'=' + taint.value if taint.value else ''}:{taint.effect}" for taint in item.spec.taints or []
        ),
        address=addresses.get("InternalIP", ""),
        version=item.status.node_info.kubelet_version if item.status.node_info else "",
    )


def _pod(item: Any) -> PodSnapshot:
    statuses = item.status.container_statuses or []
    running = [status.state.running for status in statuses if status.state]
    return PodSnapshot(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        node=item.spec.node_name or "",
        ip=item.status.pod_ip or "",
        phase=item.status.phase or "",
        ready=any(found.type == "Ready" and found.status == "True" for found in item.status.conditions or []),
        restarts=sum(status.restart_count for status in statuses),
        deleting=item.metadata.deletion_timestamp is not None,
        labels=dict(item.metadata.labels or {}),
        uid=item.metadata.uid or "",
        owner=next((f"{owner.kind}/{owner.name}" for owner in item.metadata.owner_references or []), ""),
        annotations=dict(item.metadata.annotations or {}),
        started=min((found.started_at.timestamp() for found in running if found and found.started_at), default=0.0),
    )


def _event(item: Any) -> EventSnapshot:
    moment = item.last_timestamp or item.event_time or item.first_timestamp or item.metadata.creation_timestamp
    subject = f"{item.involved_object.kind} {item.involved_object.name}"
    return EventSnapshot(moment.timestamp(), subject, item.reason or "", (item.message or "").strip())


def _daemon_set(item: Any) -> WorkloadSnapshot:
    status = item.status
    return WorkloadSnapshot(item.metadata.name, status.desired_number_scheduled or 0, status.number_ready or 0)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    import urllib3.exceptions
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise ApiUnavailable(
            f"the API answered {error.status} {error.reason}", evidence=[str(error.body)[:300]]
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ApiUnavailable("the API does not answer", evidence=[str(error)[:300]]) from error
