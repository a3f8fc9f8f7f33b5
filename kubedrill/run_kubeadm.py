"""Run kubeadm in a node, and keep what it printed there."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill.console import Reporter
from kubedrill.errors import CommandFailed
from kubedrill.providers.base import File, Node
from kubedrill.shell import Result, pasteable


def run_kubeadm(
    node: Node, argv: Sequence[str], console: Reporter, *, timeout: float, part: str = "", then: str = "",
    done: Sequence[File] = (),
) -> Result:  # fmt: skip
    """Run kubeadm in a node; what it printed is in /var/log/kubedrill of the node, without secrets.

    Args:
        node: where.
        argv: the command.
        console: knows the secrets.
        timeout: seconds.
        part: goes into the name of the file, where one run is one of several.
        then: what to do next, where it fails.
        done: written where it succeeded, at once with what it printed: each write costs the engine a process.

    Raises:
        CommandFailed: with all that it printed.
    """
    result = node.run(argv, check=False, timeout=timeout)
    log = f"/var/log/kubedrill/{argv[0]}-{argv[1]}{part}.log"
    printed = console.redacted(result.output)
    node.write([File(log, printed), *(done if result.status == 0 else ())])
    if result.status != 0:
        raise CommandFailed(
            pasteable(node.shell_argv(argv)), result.status, printed, node.name,
            todo=[f"all of its output is in {log} of the node", *([then] if then else [])],
        )  # fmt: skip
    return result
