"""A cluster that grows and shrinks, a node at a time: workers, and control planes from one to five.

Nodes are numbered without gaps, so the last of its role goes first. Each step may be done again after a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from kubedrill import cluster as clusters
from kubedrill import entrance, host, kept, kubeadm, kubeconfig, lifecycle, loadbalancer, room
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Reporter
from kubedrill.errors import CommandFailed, InvalidSpec
from kubedrill.etcd_members import forget_member
from kubedrill.marks import need_restored
from kubedrill.providers.base import File, Node, Provider
from kubedrill.providers.places import VMS
from kubedrill.spec import MAX_WORKERS, ClusterSpec
from kubedrill.there import joined
from kubedrill.wait import until

MAX_CONTROL_PLANES = 5
# Kept with the cluster: on which port its API was published before it had a balancer, and the balancer's own.
FIRST_PORT, BALANCER_PORT = "first-api-port", "balancer-api-port"
# Of VMs the address, too: nothing of them is published here.
FIRST_HOST = "first-api-host"
# Seconds.
_DRAIN = 120
_ENDS = 90
_RELOADED = 10
# The key of a spec that counts the nodes of a role.
_COUNTS = {"control-plane": "control_planes", "worker": "workers"}
# Under which key the API's host is kept with a cluster; without it it is this machine.
HOST = "api-host"


def add(place: Lab, cluster: Cluster, console: Reporter, *, control_plane: bool = False) -> Cluster:
    """One more node: a token and a certificate key of its own, joined, Ready; the balancer knows it.

    Args:
        place: the lab.
        cluster: a cluster that runs.
        console: told of each step.
        control_plane: a control plane instead of a worker. The second one of a cluster brings a balancer, and the API's
            address inside the cluster moves there; outside it gets another port of 127.0.0.1.

    Returns:
        The cluster with it.

    Raises:
        InvalidSpec: there are as many as there can be, or its settings leave no room for one more.
        KubedrillError: of the step that failed; adding it again goes on from there.
    """
    spec = cluster.spec
    clusters.need_one_version(cluster)
    lifecycle.need_running(cluster)
    merge = spec.name in kubeconfig.entries(kubeconfig.path())
    if len(joined(cluster.nodes)) < spec.computers():
        console.say(f"{spec.name} has not all the nodes yet that it was to have: that is finished, and nothing added")
        if any(node.role == "load-balancer" for node in cluster.nodes):
            _balance(cluster, spec, place.provider)
        return clusters.finish(place, spec, console, source="auto", keep=True, merge=merge)
    there, most = (spec.control_planes, MAX_CONTROL_PLANES) if control_plane else (spec.workers, MAX_WORKERS)
    if there >= most:
        whose = "control planes" if control_plane else "workers"
        raise InvalidSpec(f"{spec.name} has {there} {whose}, the most that there can be",
                          todo=[f"remove some first: invoke remove-node NODE --name {spec.name}"])  # fmt: skip
    grown = _grown(spec, "control-plane" if control_plane else "worker")
    room.preflight(grown, built=True, beside=spec)
    if control_plane and spec.control_planes == 1:
        _with_balancer(place, cluster, grown, console)
    kept.record(place.provider, grown)
    if grown.control_planes > 1:
        _balance(clusters.attach(place.provider, spec.name), grown, place.provider)
    return clusters.finish(place, grown, console, source="auto", keep=True, merge=merge)


def remove(
    provider: Provider, cluster: Cluster, name: str, console: Reporter, *, drained: bool = True,
    unbalanced: Callable[[], None] = lambda: None,
) -> Cluster:  # fmt: skip
    """One node less: drained, out of the balancer and of etcd, out of the cluster, gone.

    Args:
        provider: where its nodes come from.
        cluster: a cluster whose other nodes run.
        name: the last node of its role; one that is dead cannot be drained, and is not. Where a removal was cut off,
            nothing may be there of it any more.
        console: told of each step.
        drained: whether its pods are moved away first; False is what a drill shows the harm of.
        unbalanced: called where the balancer goes, too: when nobody needs it any more, and it is still there.

    Returns:
        The cluster without it.

    Raises:
        NotFound: there is no such node.
        InvalidSpec: it is not the last of its role, or the only control plane, or the balancer.
        KubedrillError: of the step that failed; removing it again goes on from there.
    """
    spec = cluster.spec
    need_restored(spec.name, cluster.restoring)
    key = name.removeprefix(f"{spec.name}-")
    if key not in spec.node_keys():
        key = cluster.node(name).name.removeprefix(f"{spec.name}-")
    last = _removable(spec, key)
    name, plane = kubeadm.node_name(spec, key), key.startswith("control-plane")
    ports = _first_ports(provider, spec.name) if plane and last.control_planes == 1 else {}
    clusters.need_one_version(cluster)
    kept.change(provider, spec.name, kept.metadata(provider, spec.name))  # says so where it cannot be changed at all
    first = cluster.node("control-plane-1")
    others = [node for node in cluster.nodes if node.name != name]
    lifecycle.need_running(cluster, others)
    leaving = [node for node in cluster.nodes if node.name == name]
    alive = [node for node in leaving if node.state() == "running"]
    if alive and drained and _registered(first, name):
        with console.step(f"{name}: drained"):
            first.run(["kubectl", "drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
                       f"--timeout={_DRAIN}s"], timeout=_DRAIN + 30)  # fmt: skip
    if plane:
        if ports:
            _without_balancer(provider, cluster, others, console)
        if any(node.role == "load-balancer" for node in others):
            _balance(cluster, last, provider)  # also one that goes soon: kubeconfigs of users still name it
        for node in alive:
            _end_api_server(first, node, console)
        if spec.etcd == "stacked":
            with console.step(f"{name}: no member of etcd any more"):
                forget_member(first, clusters.addresses(provider, spec.name).node(key))
    with console.step(f"{name}: gone"):
        first.run(["kubectl", "delete", "node", name, "--ignore-not-found"], timeout=60)
        for node in leaving:
            node.remove()
        # Its kubelet cannot say that they ended any more, and the cluster would wait for that for a minute.
        first.run(["kubectl", "delete", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}",
                   "--force", "--grace-period=0"], timeout=60)  # fmt: skip
    if ports:
        entrance.wait_until_left(first, console)
        unbalanced()
        for node in others:
            if node.role == "load-balancer":
                node.remove()
    metadata = {**_without_ports(kept.metadata(provider, spec.name), ports), "spec": last.to_json()}
    if ports:
        clusters.republish(replace(cluster, nodes=(first,), api_port=int(metadata["api-port"]),
                                   api_host=metadata.get(HOST, cluster.api_host)))  # fmt: skip
    # Last: until then whoever does it again finds all that it needs to know.
    kept.change(provider, spec.name, metadata)
    left = clusters.attach(provider, spec.name)
    lifecycle.wait_until_whole(left, console, [], 0)
    return left


def _registered(first: Node, name: str) -> bool:
    """Whether the API knows a node: one whose join was cut off has nothing that could be drained."""
    return bool(first.run(["kubectl", "get", "node", name, "--ignore-not-found", "-o", "name"]).stdout.strip())


def _end_api_server(first: Node, node: Node, console: Reporter) -> None:
    """Let a control plane's API server end in order.

    The first thing that it does then is to take itself out of the addresses of the Service `kubernetes`, where pods go;
    of one that just dies they would learn 15 s later. Its end, up to 30 s later, is not waited for.
    """
    slices = ["kubectl", "--namespace", "default", "get", "endpointslice", "kubernetes", "-o",
              "jsonpath={.endpoints[*].addresses[*]}"]  # fmt: skip
    with console.step(f"{node.name}: no API server any more"):
        node.run(["rm", "-f", "/etc/kubernetes/manifests/kube-apiserver.yaml"])
        until(
            lambda: first.run(slices).stdout.split(), lambda found: (node.address not in found, " ".join(found)),
            within=_ENDS, every=0.5, what=f"pods no longer sent to {node.name}", transient=(CommandFailed,),
        )  # fmt: skip


def _removable(spec: ClusterSpec, key: str) -> ClusterSpec:
    """The cluster without a node, and without what was set for that one alone.

    Raises:
        InvalidSpec: there would be none without that one.
    """
    role, _, number = key.rpartition("-")
    count = getattr(spec, _COUNTS[role]) if role in _COUNTS else 0
    if role == "control-plane" and count == 1:
        raise InvalidSpec(f"{key} is the only control plane", todo=[f"remove all: invoke down --name {spec.name}"])
    if role == "etcd":
        raise InvalidSpec(f"{key} is one of the computers of an external etcd, which stay as many as they are",
                          todo=[f"remove all: invoke down --name {spec.name}"])  # fmt: skip
    if not count:
        raise InvalidSpec(f"{key} goes with the last control plane but one", todo=["remove control planes instead"])
    if role == "worker" and count == 1:
        raise InvalidSpec(
            f"{key} is the last worker: control planes take no pods, so CoreDNS would have no place",
            todo=[f"add another first: invoke add-node --name {spec.name}"],
        )
    if number != str(count):
        raise InvalidSpec(
            f"{key} is not the last of its role: nodes are numbered without gaps",
            todo=[f"invoke remove-node {role}-{count} --name {spec.name}"],
        )
    nodes = {one: settings for one, settings in spec.nodes.items() if one != key}
    return _valid(spec.model_copy(update={_COUNTS[role]: count - 1, "nodes": nodes}))


def _grown(spec: ClusterSpec, role: str) -> ClusterSpec:
    """The cluster with one more node of a role.

    Raises:
        InvalidSpec: its settings leave no room for one; nothing was changed.
    """
    try:
        return _valid(spec.model_copy(update={_COUNTS[role]: getattr(spec, _COUNTS[role]) + 1}))
    except InvalidSpec as error:
        raise InvalidSpec(
            f"{spec.name} was made with settings that leave no room for one more {role}; nothing was changed",
            evidence=error.evidence,
            todo=["they stay as they are: make a cluster with other settings: invoke up --config FILE --name OTHER"],
        ) from error


def _valid(spec: ClusterSpec) -> ClusterSpec:
    """A spec as whoever comes next reads it from what is kept: one that it refused would end all work on the cluster.

    Raises:
        InvalidSpec: it would be refused.
    """
    return ClusterSpec.from_json(spec.to_json())


def _with_balancer(place: Lab, cluster: Cluster, grown: ClusterSpec, console: Reporter) -> None:
    """A balancer in front of the only control plane, and the API's address moved to it."""
    provider, name = place.provider, grown.name
    addresses = clusters.addresses(provider, name)
    before = kept.metadata(provider, name)
    ports = {FIRST_PORT: before["api-port"], BALANCER_PORT: str(host.free_port())}
    moved: dict[str, str] = {}
    if grown.provider == VMS:
        ports |= {BALANCER_PORT: before["api-port"], FIRST_HOST: before[HOST]}
        moved = {HOST: addresses.endpoint(grown)}
    known = {**ports, **before}  # where it was begun before, those of then
    kept.change(provider, name, known)
    there = {node.name: node for node in cluster.nodes if node.role == "load-balancer"}
    ahead = Cluster(grown, cluster.nodes, int(known[BALANCER_PORT]), moved.get(HOST, cluster.api_host))
    balancer = clusters.bring_up(place, ahead, clusters.what_of(place, grown, console), console, there).balancer()
    # The second control plane is not there yet.
    _configure(balancer, {kubeadm.node_name(grown, "control-plane-1"): addresses.node("control-plane-1")})
    planes = [node for node in cluster.nodes if node.role == "control-plane"]
    workers = [node for node in cluster.nodes if node.role == "worker"]
    entrance.move(planes, workers, addresses.endpoint(cluster.spec), addresses.endpoint(grown), console)
    kept.change(provider, name, {**known, **moved, "api-port": known[BALANCER_PORT]})


def _first_ports(provider: Provider, name: str) -> Mapping[str, str]:
    """Where the API of a cluster that came to its balancer later is reached without one.

    Raises:
        InvalidSpec: it has had the balancer from the beginning.
    """
    metadata = kept.metadata(provider, name)
    if FIRST_PORT not in metadata:
        raise InvalidSpec(
            f"{name} was made with several control planes: its API is published at the balancer alone",
            todo=["two control planes are the least that it can have"],
        )
    at = {HOST: metadata[FIRST_HOST]} if FIRST_HOST in metadata else {}
    return {"api-port": metadata[FIRST_PORT], **at}


def _without_ports(metadata: Mapping[str, str], ports: Mapping[str, str]) -> dict[str, str]:
    """What is kept with a cluster once its balancer is gone; as it is where that stays."""
    forgotten = (FIRST_PORT, FIRST_HOST, BALANCER_PORT) if ports else ()
    return {**{key: value for key, value in metadata.items() if key not in forgotten}, **ports}


def _without_balancer(provider: Provider, cluster: Cluster, others: Sequence[Node], console: Reporter) -> None:
    """The API's address moved to the control plane that stays; the balancer serves until it is removed."""
    addresses = clusters.addresses(provider, cluster.spec.name)
    stays = [node for node in others if node.role == "control-plane"]
    workers = [node for node in others if node.role == "worker"]
    alone = cluster.spec.model_copy(update={"control_planes": 1})
    entrance.move(stays, workers, addresses.endpoint(cluster.spec), addresses.endpoint(alone), console)


def _balance(cluster: Cluster, spec: ClusterSpec, provider: Provider) -> None:
    """Let the balancer know who is there, or will be."""
    addresses = clusters.addresses(provider, spec.name)
    keys = [key for key in spec.node_keys() if key.startswith("control-plane")]
    planes = {kubeadm.node_name(spec, key): addresses.node(key) for key in keys}
    balancer, absent = cluster.node("load-balancer"), planes.keys() - joined(cluster.nodes).keys()
    before = loadbalancer.process(balancer.run(loadbalancer.ask()).stdout)
    _configure(balancer, planes, absent)
    for name in absent:
        _admit(balancer, name, before)
    if absent:  # for the next time that it starts
        balancer.write([File(loadbalancer.CONFIG_PATH, loadbalancer.haproxy_config(planes))])


def _admit(balancer: Node, name: str, before: str) -> None:
    """Let a control plane be sent to once it runs, by the process that the reload starts; the one before ends."""
    until(
        lambda: balancer.run(loadbalancer.admit(name)),
        lambda said: (not before or loadbalancer.process(said.stdout) not in ("", before), said.output[-200:]),
        within=_RELOADED, every=0.02, what=f"the balancer to begin again, with {name}",
    )  # fmt: skip


def _configure(balancer: Node, planes: Mapping[str, str], closed: Collection[str] = ()) -> None:
    balancer.write([File(loadbalancer.CONFIG_PATH, loadbalancer.haproxy_config(planes, closed))])
    # Connections that are open stay with the process before, until they end.
    balancer.run(["systemctl", "reload-or-restart", "haproxy"], timeout=60)
