"""The handle of a cluster: up, attach, status, down. Imported in functions is what a bring-up needs late, or never."""

from __future__ import annotations

import contextlib
import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from kubedrill import (
    cputime,
    host,
    ingredients,
    journal_folders,
    kubeconfig,
    libvirtd,
    logs,
    network,
    paths,
    room,
    there,
    versions,
)
from kubedrill.bringup import BringUp
from kubedrill.capabilities import engine_missing_capabilities
from kubedrill.console import Reporter
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.images import build
from kubedrill.kube import Kube
from kubedrill.locks import in_turn
from kubedrill.locks import only_one as only_one
from kubedrill.marks import RESTORING, SOURCE, UPGRADING
from kubedrill.node_specs import Made
from kubedrill.providers.base import Keeper, NetworkSpec, Node, Provider
from kubedrill.providers.docker import DockerProvider
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.places import KIND, VMS, Places
from kubedrill.providers.vagrant import DRIVER, VagrantProvider
from kubedrill.spec import ClusterSpec, valid_name


@dataclass(frozen=True)
class Lab:
    """This machine as a place for clusters: an engine, and what it can do."""

    engine: Engine
    provider: Provider
    missing: frozenset[str]


@dataclass(frozen=True)
class Cluster:
    """A cluster that is there, in whatever state.

    Args:
        spec: what it was made to be.
        nodes: its nodes, running or not.
        api_port: port on which its API is reached from this machine.
        api_host: where: 127.0.0.1, or the address of its entrance where nodes are VMs.
        slow: how many times slower than real hardware its nodes are.
        upgrading: the Kubernetes minor that an upgrade which is not complete goes to; '' where there is none.
        restoring: the checkpoint that it is half put back to; '' where it is not.
        source: where what its nodes were made of came from; '' where that was not kept.
    """

    spec: ClusterSpec
    nodes: tuple[Node, ...]
    api_port: int
    api_host: str = "127.0.0.1"
    slow: float = 1.0
    upgrading: str = ""
    restoring: str = ""
    source: str = ""

    @property
    def made(self) -> tuple[str, ...]:
        """What its figures depend on and its spec does not say."""
        from kubedrill.trends import records

        of_packages = self.source == build.PACKAGES
        return (*([records.EMULATED] if self.slow > 1 else []), *([records.PACKAGES] if of_packages else []))

    @property
    def server(self) -> str:
        """The URL of its API, as this machine reaches it."""
        return f"https://{self.api_host}:{self.api_port}"

    def node(self, name: str) -> Node:
        """A node by its host name, or by what is left of it without the cluster's name.

        Raises:
            NotFound: there is none.
        """
        for node in self.nodes:
            if name in (node.name, node.name.removeprefix(f"{self.spec.name}-")):
                return node
        raise NotFound(
            f"the cluster {self.spec.name} has no node '{name}'",
            evidence=[f"nodes: {', '.join(node.name for node in self.nodes)}"],
            todo=[f"see: invoke status --name {self.spec.name}"],
        )

    def running(self) -> tuple[Node, ...]:
        """The nodes that run."""
        return tuple(node for node in self.nodes if node.state() == "running")

    def admin_conf(self) -> str:
        """A kubeconfig that works on this machine.

        Raises:
            NotFound: no control plane has one.
        """
        for node in self.nodes:
            if node.role == "control-plane":
                with contextlib.suppress(NotFound):
                    text = logs.text_of(node.read_tree("/etc/kubernetes/admin.conf"))
                    return kubeconfig.standalone(self.spec.name, text, self.server)
        raise NotFound(f"no control plane of {self.spec.name} has a kubeconfig",
                       todo=[f"run: invoke up --name {self.spec.name}"])  # fmt: skip


def lab(console: Reporter) -> Lab:
    """The lab on this machine's engine.

    Args:
        console: told of each command that runs in a node.
    """
    missing = frozenset(engine_missing_capabilities() or ())
    engine = Engine()
    places = Places(DockerProvider(engine, missing, console.command), VagrantProvider(console.command))
    return Lab(engine, places, missing)


def attach(provider: Provider, name: str) -> Cluster:
    """The cluster of that name.

    Raises:
        NotFound: there is none.
        KubedrillError: what is there was not made by `up`.
    """
    found = provider.network(name)
    if found is None:
        others = provider.clusters()
        meant = difflib.get_close_matches(name, others, n=1)
        raise NotFound(
            f"there is no cluster '{name}'", evidence=[f"clusters: {', '.join(others) or 'none'}"],
            todo=[*(f"did you mean: --name {one}" for one in meant), f"or make one: invoke up --name {name}"],
        )  # fmt: skip
    if not {"spec", "api-port"} <= set(found.metadata):
        raise KubedrillError(
            f"the cluster '{name}' was not made by `invoke up`",
            evidence=[f"its network carries only: {', '.join(found.metadata) or 'nothing'}"],
            todo=[f"invoke down --name {name} removes it"],
        )
    return Cluster(
        ClusterSpec.from_json(found.metadata["spec"]),
        tuple(provider.nodes(name)),
        int(found.metadata["api-port"]),
        found.metadata.get("api-host", "127.0.0.1"),
        provider.slowness(name),
        found.metadata.get(UPGRADING, ""),
        found.metadata.get(RESTORING, ""),
        found.metadata.get(SOURCE, ""),
    )


def up(
    place: Lab, spec: ClusterSpec, console: Reporter, *, source: str = "auto", keep: bool = False, merge: bool = True
) -> Cluster:
    """A running cluster: all nodes Ready, flannel running, CoreDNS available.

    Args:
        place: the lab.
        spec: the cluster asked for.
        console: told of each step.
        source: where what nodes are made of comes from: auto, modules or packages.
        keep: leave nodes of a failed bring-up for a look at them.
        merge: put the cluster into the user's kubeconfig and make it the current context.

    Raises:
        InvalidSpec: a cluster of that name is there, and differs.
        Busy: another `up` or `down` of that name is at work.
        KubedrillError: of the step that failed.
    """
    place.provider.check()
    if spec.provider == VMS and spec.vm.driver != "virtualbox":
        libvirtd.check()
    with only_one(spec.name):
        return finish(place, spec, console, source=source, keep=keep, merge=merge)


def finish(place: Lab, spec: ClusterSpec, console: Reporter, *, source: str, keep: bool, merge: bool) -> Cluster:
    """What `up` does, for whoever holds the cluster's name already (`only_one`)."""
    fresh, existing = there.found(place.provider, spec, console)
    if not existing:
        room.preflight(spec, built=build.is_built(place.engine, spec.kubernetes))
    if merge:
        # A broken file is an error now, not after the work.
        kubeconfig.entries(kubeconfig.path())
    made = what_of(place, spec, console, source=source)
    watch = cputime.Stopwatch()
    try:
        if fresh:
            _make_network(place.provider, spec, made.source)
        cluster = attach(place.provider, spec.name)
        complete = len(existing) == spec.computers()
        if not complete:
            need_one_version(cluster)
        if complete and len(cluster.running()) < len(existing):
            from kubedrill import lifecycle

            # One that was stopped: what the API remembers of its nodes must not pass for the truth.
            lifecycle.whole(cluster, console)
        bring_up(place, cluster, made, console, existing).run(_publisher(cluster, merge))
    except BaseException as error:
        _clean_up(place.provider, spec.name, console, error, keep=keep or bool(existing))
        raise
    taken = watch.taken()
    from kubedrill.trends import records

    cluster = attach(place.provider, spec.name)
    if not existing:
        records.append(records.of_bring_up(spec, taken, host.machine(), made=cluster.made))
    else:
        from kubedrill import registries

        new = [node for node in cluster.nodes if node.name not in existing]
        registries.point_like(cluster.node("control-plane-1"), new)
    if spec.hollow:
        from kubedrill import hollow

        taken = hollow.add(spec, cluster.nodes, Kube(cluster.admin_conf()), console)
        if not existing:
            records.append(records.of_bring_up(spec, taken, host.machine(), made=cluster.made, name=records.HOLLOW))
    return cluster


def need_one_version(cluster: Cluster) -> None:
    """See that no upgrade is half done: a node that joins could be of neither version.

    Raises:
        KubedrillError: one is; says how to go on.
    """
    if cluster.upgrading:
        name = cluster.spec.name
        raise KubedrillError(
            f"{name} is on its way from Kubernetes {cluster.spec.kubernetes} to {cluster.upgrading}",
            todo=[f"go on with it: invoke upgrade --to {cluster.upgrading} --name {name}"],
        )


def what_of(place: Lab, spec: ClusterSpec, console: Reporter, *, source: str = "auto") -> Made:
    """What the nodes of a cluster are made of, built where it is not there yet."""
    built = build.ensure(place.engine, spec.kubernetes, place.missing, console.say, source=source)
    if spec.provider == VMS:
        return ingredients.of_vms(place.engine, built, console, spec.vm.driver)
    return ingredients.of_containers(built, place.missing)


def bring_up(place: Lab, cluster: Cluster, made: Made, console: Reporter, existing: dict[str, Node]) -> BringUp:
    """The steps that make a cluster what its spec says.

    Args:
        place: the lab.
        cluster: the cluster, as far as it is there.
        made: what its nodes are made of.
        console: told of each step.
        existing: the nodes that have joined already, by host name.
    """
    return BringUp(
        spec=cluster.spec,
        addresses=addresses(place.provider, cluster.spec.name),
        provider=place.provider,
        made=made,
        api_port=cluster.api_port,
        api_host=cluster.api_host,
        console=console,
        existing=existing,
    )


def down(provider: Provider, name: str, console: Reporter) -> bool:
    """Remove a cluster and its kubeconfig entry; says what was removed.

    Returns:
        Whether anything was there.

    Raises:
        Busy: an `up` of that name is at work.
    """
    try:
        valid_name(name)
    except ValueError as error:
        raise InvalidSpec(str(error)) from None
    with only_one(name):
        kept = [one.name for one in provider.saved(name)] if isinstance(provider, Keeper) else []
        if kept:
            console.say(f"with {name} go its checkpoints: {', '.join(kept)}")
        removed = provider.remove_cluster(name)
        kubeconfig.remove_from(kubeconfig.path(), name)
        journal_folders.forget(name)
    for thing in removed:
        console.say(f"removed {thing}")
    return bool(removed)


def everything(provider: Provider) -> list[str]:
    """The names of all clusters that nodes, networks, disks, the kubeconfig or the journal of faults know of."""
    return sorted({*provider.clusters(), *kubeconfig.entries(kubeconfig.path()), *journal_folders.clusters()})


def _make_network(provider: Provider, spec: ClusterSpec, source: str) -> None:
    # The choice of a subnet, and the network that takes it: two at once would choose the same one.
    with in_turn("networks"):
        taken = [
            *(IPv4Network(subnet) for subnet in provider.used_subnets()),
            IPv4Network(spec.pod_subnet),
            IPv4Network(spec.service_subnet),
        ]
        subnet = network.free_subnet(taken, host.host_networks())
        metadata = {
            "spec": spec.to_json(),
            "api-port": str(host.free_port()),
            "version": versions.kubernetes_version(spec.kubernetes),
            SOURCE: source,
        }
        if spec.provider == VMS:
            entrance = network.Addresses(subnet).endpoint(spec)
            metadata |= {KIND: VMS, DRIVER: spec.vm.driver, "api-port": str(network.API_PORT), "api-host": entrance}
        provider.create_network(spec.name, NetworkSpec(str(subnet), metadata))


def addresses(provider: Provider, name: str) -> network.Addresses:
    """Who has which address in a cluster.

    Raises:
        KubedrillError: its network is gone.
    """
    found = provider.network(name)
    if found is None:
        raise KubedrillError(f"the network of {name} is gone", todo=[f"run: invoke down --name {name}"])
    return network.Addresses(IPv4Network(found.subnet))


def _publisher(cluster: Cluster, merge: bool) -> Callable[[str], str]:
    def publish(admin: str) -> str:
        if merge:
            kubeconfig.merge_into(kubeconfig.path(), cluster.spec.name, admin, cluster.server)
        return kubeconfig.standalone(cluster.spec.name, admin, cluster.server)

    return publish


def republish(cluster: Cluster) -> None:
    """Let the user's kubeconfig, where it has this cluster, know where its API is reached now.

    A balancer that came or went moves it. What the file says counts, not what was known before: whoever goes on with
    what was cut off no longer knows that.

    Raises:
        KubedrillError: the file cannot be read or written.
    """
    name = cluster.spec.name
    if kubeconfig.server(kubeconfig.path(), name) not in ("", cluster.server):
        kubeconfig.merge_into(kubeconfig.path(), name, cluster.admin_conf(), cluster.server)


def _clean_up(provider: Provider, name: str, console: Reporter, error: BaseException, *, keep: bool) -> None:
    """After a failure: keep the logs, remove the nodes. The error that led here must reach the user in any case."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        console.say("interrupted")
    else:
        folder = log_folder(name)
        try:
            nodes = provider.nodes(name)
            logs.collect(nodes, folder)
            if nodes:
                console.say(f"the logs of all nodes are in {folder}")
        except (KubedrillError, OSError) as problem:
            console.say(f"logs could not be kept: {problem}")
    if keep:
        console.say(f"the nodes are left as they are; remove them with: invoke down --name {name}")
        return
    try:
        provider.remove_cluster(name)
        kubeconfig.remove_from(kubeconfig.path(), name)
        console.say(f"the nodes of {name} were removed (--keep leaves them)")
    except KubedrillError as problem:
        console.say(f"could not remove all of {name}: {problem}")


def log_folder(name: str) -> Path:
    """A new folder for the logs of a cluster."""
    return paths.state() / "logs" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
