"""Adds hollow nodes to a running cluster: Node objects, and kwok, which plays their kubelets."""

from __future__ import annotations

from pathlib import Path

from kubedrill import daemons, user_kubeconfig
from kubedrill import hollow_parts as parts
from kubedrill.console import Reporter
from kubedrill.cputime import Stopwatch, Taken
from kubedrill.images import components
from kubedrill.kube import ApiUnavailable, Kube
from kubedrill.node_specs import BALANCER
from kubedrill.providers.base import File, Node
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

# Of images/components.
COMPONENT = "kwok"
# Seconds. A limit, not an expectation: a thousand took 55 s on two busy cores.
_WITHIN = 600
# kubectl sends one request a node; so many at a time show that it goes on.
_AT_ONCE = 500


def add(spec: ClusterSpec, nodes: tuple[Node, ...], api: Kube, console: Reporter) -> Taken:
    """Give a cluster the hollow nodes that its spec asks for, and see them Ready; what is there already stays.

    kwok runs on the balancer, or where there is none on the one control plane: it goes on as long as the API does.

    Args:
        spec: of the cluster.
        nodes: its real nodes, running.
        api: its API.
        console: told of each step.

    Returns:
        What it took, once kwok was built.

    Raises:
        BuildFailed: kwok could not be built.
        CommandFailed: a node refused a command.
        TimedOut: the hollow nodes do not become Ready.
    """
    leader = next(node for node in nodes if node.name == f"{spec.name}-control-plane-1")
    home = next((node for node in nodes if node.name == f"{spec.name}-{BALANCER}"), leader)
    program = components.build(COMPONENT, components.go_version(), console.say) / "kwok"
    watch = Stopwatch()
    with console.step(f"kwok on {home.name}"):
        _install(spec, home, leader, program)
    there = set(api.hollow())
    missing = [number for number in range(1, spec.hollow + 1) if parts.name(number) not in there]
    if missing:
        with console.step(f"{len(missing)} hollow nodes made"):
            for begin in range(0, len(missing), _AT_ONCE):
                objects = parts.nodes(missing[begin : begin + _AT_ONCE])
                leader.run(["kubectl", "create", "-f", "-"], stdin=objects, show=False, timeout=_WITHIN)
    # Also of those that were there: while kwok was away they were not Ready.
    with console.step(f"{spec.hollow} hollow nodes Ready"):
        until(
            api.hollow,
            lambda found: (
                sum(found.values()) >= spec.hollow, f"{sum(found.values())} of {spec.hollow} hollow nodes are Ready"
            ),
            within=_WITHIN, every=1, what="hollow nodes", transient=(ApiUnavailable,),
        )  # fmt: skip
    return watch.taken()


def _install(spec: ClusterSpec, home: Node, leader: Node, program: Path) -> None:
    leader.run(["kubectl", "apply", "-f", "-"], stdin=parts.rights())
    rights = leader.run(["sh", "-c", user_kubeconfig.script(parts.USER)], show=False).stdout
    path = daemons.place(home, program)
    home.write([
        File(f"{parts.DIRECTORY}/kubeconfig", rights, 0o600),
        File(f"{parts.DIRECTORY}/stages.yaml", parts.stages(spec.version())),
        File(parts.UNIT_PATH, parts.unit(path)),
    ])  # fmt: skip
    daemons.start(home, parts.UNIT)
