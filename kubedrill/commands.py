"""What each invoke task does, from words to words: the layer between tasks.py and the modules that do the work.

Imported in functions is what `up` does not need.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kubedrill import cluster, shell, spec
from kubedrill import kubeconfig as user_config
from kubedrill import logs as collecting
from kubedrill.console import Console, fail, raw
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.hints import hinted
from kubedrill.providers.base import Node
from kubedrill.spec import ClusterSpec


def up(console: Console, config: str | None, flags: Mapping[str, str | None], *, source: str, keep: bool) -> None:
    """Bring a cluster up, and say how to go on."""
    asked = spec.load(Path(config) if config else None, typed(flags))
    there = cluster.up(cluster.lab(console), asked, console, source=source, keep=keep)
    console.say(f"{asked.name} is up: Kubernetes {asked.version()}, {len(there.nodes)} nodes, API at {there.server}")
    name = "" if asked.name == ClusterSpec().name else f" --name {asked.name}"
    console.line(f"kubectl get nodes            # the context {user_config.PREFIX}{asked.name} is current")
    console.line(f'invoke exec{name} {asked.name}-control-plane-1 "kubectl get pods -A"')
    console.line(f"invoke down{name}")


def status(console: Console, name: str | None, *, as_json: bool) -> int:
    """Print clusters and nodes; the status is 0 when all is as it should be."""
    from kubedrill import status as state

    place = cluster.lab(console)
    place.provider.check()
    found, broken = [], False
    for each in [name] if name else place.provider.clusters():
        try:
            found.append(state.of(cluster.attach(place.provider, each)))
        except KubedrillError as error:
            if name:
                raise
            fail(error)
            broken = True
    if as_json:
        raw(hinted(json.dumps([asdict(one) for one in found], indent=1)) + "\n")
    elif not found and not broken:
        console.line("no cluster; make one with: invoke up")
    for one in found if not as_json else []:
        console.line(f"{one.name}: Kubernetes {one.kubernetes}, API {one.server}: {one.api}")
        rows = [(node.name, node.role, node.state, node.address, node.kubernetes) for node in one.nodes]
        console.table(("node", "role", "computer", "address", "kubernetes"), rows)
        if one.hollow:
            console.line(one.of_hollow)
    return 0 if not broken and all(one.healthy for one in found) else 1


def execute(console: Console, name: str, node: str, command: str) -> int:
    """Run a command line in a node; the status is its own."""
    place = cluster.lab(console)
    result = _running(place, name, node).run(["bash", "-c", command], check=False)
    raw(result.stdout)
    sys.stderr.write(result.stderr)
    return result.status


def open_shell(console: Console, name: str, node: str) -> int:
    """Give the terminal to a shell in a node; the status is the shell's."""
    place = cluster.lab(console)
    return shell.interactive(_running(place, name, node).shell_argv(["bash", "--login"]))


def _running(place: cluster.Lab, name: str, node: str) -> Node:
    from kubedrill import lifecycle

    there = cluster.attach(place.provider, name)
    found = there.node(node)
    lifecycle.need_running(there, [found])
    return found


def kubeconfig(console: Console, name: str, *, merge: bool) -> None:
    """Print the cluster's kubeconfig, or merge it into the user's."""
    place = cluster.lab(console)
    there = cluster.attach(place.provider, name)
    if merge:
        user_config.merge_into(user_config.path(), name, there.admin_conf(), there.server)
        console.say(f"{user_config.path()}: {user_config.PREFIX}{name} is the current context")
    else:
        raw(there.admin_conf())


def logs(console: Console, name: str, out: str | None) -> None:
    """Collect the logs of all nodes."""
    place = cluster.lab(console)
    folder = Path(out) if out else cluster.log_folder(name)
    problems = collecting.collect(cluster.attach(place.provider, name).nodes, folder)
    for problem in problems:
        console.say(f"missing: {problem}")
    console.say(f"the logs are in {folder}")


def down(console: Console, name: str | None) -> None:
    """Remove a cluster, or (without a name) all, and what killed runs left."""
    place = cluster.lab(console)
    place.provider.check()
    if name is None:
        # First: one that copies disks for a killed run has them, and the engine would not remove them.
        place.engine.remove_builders()
        _all_down(console, place)
        console.say("nothing of kubedrill's clusters is left")
    elif cluster.down(place.provider, name, console):
        console.say(f"{name} is gone")
    else:
        others = ", ".join(place.provider.clusters()) or "none"
        raise NotFound(f"there is no cluster '{name}'", evidence=[f"clusters: {others}"], todo=["see: invoke status"])


def _all_down(console: Console, place: cluster.Lab) -> None:
    """Remove each cluster, and go on where one cannot be.

    Raises:
        KubedrillError: some are left; says which, and why.
    """
    left: list[str] = []
    for name in cluster.everything(place.provider):
        try:
            cluster.down(place.provider, name, console)
        except KubedrillError as error:
            left.append(f"{name}: {'; '.join([error.what, *error.evidence])}")
    if left:
        raise KubedrillError("not all clusters could be removed; the others are gone", evidence=left,
                             todo=["once nobody works on them, again: invoke down --all"])  # fmt: skip


def typed(flags: Mapping[str, str | None]) -> dict[str, Any]:
    """Flags as the spec takes them: counts as numbers.

    Raises:
        InvalidSpec: a count is no number.
    """
    typed: dict[str, Any] = {}
    problems = []
    for key, value in flags.items():
        typed[key] = value
        if value is not None and key in ("control_planes", "workers", "hollow"):
            try:
                typed[key] = int(value)
            except ValueError:
                problems.append(f"--{key.replace('_', '-')}: '{value}' is no number")
    if problems:
        raise InvalidSpec("this cluster cannot be made (the flags)", evidence=problems)
    return typed
