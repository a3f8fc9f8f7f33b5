"""Who plays a role right now: resolved when asked, with where it was read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from kubedrill import loadbalancer
from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Target
from kubedrill.faults.perform import Computers, on_a_control_plane, running_members

_CSV = "http://127.0.0.1:8404/;csv"


class NoTarget(KubedrillError):
    """Nobody plays that role right now, or nobody could be asked."""


def etcd_leader(cluster: Computers) -> Target:
    """The node whose etcd member leads, as any member that answers tells.

    Raises:
        NoTarget: etcd has no leader, or none of its members answers.
    """
    said: list[str] = []
    for node in running_members(cluster):
        # A member that is dead costs the whole of its limit, which is 5 s without one.
        limit = "--dial-timeout=1s --command-timeout=2s"
        command = ["sh", "-c", f"{ETCDCTL} endpoint status --cluster {limit} -w json"]
        try:
            # Its status is 1 as soon as one member does not answer; what the others say is printed all the same.
            result = node.run(command, check=False, timeout=30, show=False)
        except (CommandFailed, NotFound) as error:
            said.append(f"{node.name}: {error.what}")
            continue
        address = leader_address(result.stdout)
        found = [other for other in cluster.nodes if address and other.address == address]
        if found:
            return Target(found[0].name, "etcd leader", f"etcdctl endpoint status on {node.name}")
        said.append(f"{node.name}: {' '.join(result.output.split())[-200:]}")
    raise NoTarget("etcd names no leader", evidence=said)


def leader_address(status: str) -> str:
    """The address of the leader in `etcdctl endpoint status --cluster -w json`; empty where it does not tell."""
    try:
        members: list[Any] = json.loads(status or "[]") or []
    except ValueError:
        return ""
    addresses = {one["Status"]["header"]["member_id"]: urlsplit(one["Endpoint"]).hostname for one in members}
    # Whoever lost touch may name a leader of old: the newest term is right.
    newest = max(members, key=lambda one: int(one["Status"].get("raftTerm", 0)), default=None)
    return (addresses.get(newest["Status"].get("leader")) or "") if newest else ""


def lease_holder(cluster: Computers, lease: str) -> Target:
    """The node whose instance holds a lease of kube-system.

    Args:
        cluster: the cluster.
        lease: kube-scheduler or kube-controller-manager.

    Raises:
        NoTarget: nobody holds it, or the API does not answer.
    """
    path = "jsonpath={.spec.holderIdentity}"
    holder = _kubectl(cluster, "get", "lease", "--namespace", "kube-system", lease, "-o", path).strip()
    node = holder.rpartition("_")[0]  # NODE_uuid (client-go's leader election)
    return _known(cluster, node, f"holder of the lease {lease}", f"the lease says {holder or 'nothing'}")


def node_of_pod(cluster: Computers, selector: str, namespace: str = "default") -> Target:
    """The node of a pod: of the first, by name, of those that are ready.

    Args:
        cluster: the cluster.
        selector: labels, as kubectl's -l takes them.
        namespace: where the pod is.

    Raises:
        NoTarget: no such pod is ready, or the API does not answer.
    """
    text = _kubectl(cluster, "get", "pods", "--namespace", namespace, "--selector", selector, "-o", "json")
    ready = sorted(
        (pod["metadata"]["name"], pod["spec"].get("nodeName", ""))
        for pod in json.loads(text)["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
    )
    if not ready:
        raise NoTarget(f"no pod with {selector} is ready in {namespace}")
    name, node = ready[0]
    return _known(cluster, node, f"node of a pod with {selector}", f"the pod {namespace}/{name}")


def behind_balancer(cluster: Computers) -> tuple[Target, ...]:
    """The control planes that the balancer sends to, in the order of its configuration.

    Raises:
        NoTarget: there is no balancer, it does not run, or it sends to nobody.
    """
    balancer = next((node for node in cluster.nodes if node.role == "load-balancer"), None)
    if balancer is None:
        raise NoTarget("this cluster has no balancer: it has one control plane")
    try:
        csv = balancer.run(["curl", "--silent", "--max-time", "5", _CSV], timeout=10, show=False).stdout
    except (CommandFailed, NotFound) as error:
        raise NoTarget("the balancer does not tell whom it sends to", evidence=[str(error)]) from error
    found = backends(csv)
    # Where all that are up are spared, all are sent to.
    up = [name for name, status in found.items() if status == "UP"] or [
        name for name, status in found.items() if status == "SPARED"
    ]
    if not up:
        raise NoTarget("the balancer sends to nobody", evidence=[str(found)])
    return tuple(_known(cluster, name, "behind the balancer", "HAProxy says UP") for name in up)


def backends(csv: str) -> dict[str, str]:
    """HAProxy's own statistics as {control plane: first word of its status}; SPARED where it gets nobody new.

    Of the columns of the CSV the 18th is the status, the 19th the weight.
    https://docs.haproxy.org/2.6/management.html#9.1
    """
    rows = [line.split(",") for line in csv.splitlines()]
    servers = [row for row in rows if len(row) > 18 and row[0] == "control-planes" and row[1] != "BACKEND"]
    first = [row for row in servers if not row[1].endswith(loadbalancer.ANYWAY)]
    words = {row[1]: ((row[17].split() or [""])[0], row[18]) for row in first}
    return {name: "SPARED" if (word, weight) == ("UP", "0") else word for name, (word, weight) in words.items()}


def _kubectl(cluster: Computers, *arguments: str) -> str:
    command = Command(ANY_CONTROL_PLANE, ("kubectl", "--request-timeout=10s", *arguments), timeout=30)
    try:
        return on_a_control_plane(cluster, command).stdout
    except KubedrillError as error:
        raise NoTarget("the API does not tell", evidence=[str(error)]) from error


def _known(cluster: Computers, node: str, role: str, why: str) -> Target:
    try:
        return Target(cluster.node(node).name, role, why)
    except NotFound as error:
        raise NoTarget(f"{role}: none of this cluster's nodes", evidence=[why, *error.evidence]) from error
