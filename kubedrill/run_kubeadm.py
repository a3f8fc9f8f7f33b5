"""Run kubeadm in a node, and keep what it printed there."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill.console import Reporter
from kubedrill.errors import CommandFailed, KubedrillError, TimedOut
from kubedrill.providers.base import File, Node
from kubedrill.shell import Result, pasteable
from kubedrill.wait import until

# Prints those that run; that there are none is no failure.
_RUNNING = ["sh", "-c", "pgrep -a -x kubeadm || test $? -eq 1"]


def run_kubeadm(
    node: Node, argv: Sequence[str], console: Reporter, *, timeout: float, name: str = "", part: str = "",
    then: str = "", done: Sequence[File] = (), kept: list[File] | None = None,
) -> Result:  # fmt: skip
    """Run kubeadm in a node; what it printed is in /var/log/kubedrill of the node, without secrets.

    Args:
        node: where.
        argv: the command.
        console: knows the secrets.
        timeout: seconds.
        name: of the file, without part and ending; the first two words of the command without it.
        part: goes into the name of the file, where one run is one of several.
        then: what to do next, where it fails.
        done: written where it succeeded, at once with what it printed.
        kept: where it succeeded, what it printed is added to these instead, for whoever calls to write later.

    Raises:
        CommandFailed: with all that it printed.
    """
    result = node.run(argv, check=False, timeout=timeout)
    log = f"/var/log/kubedrill/{name or '-'.join(argv[:2])}{part}.log"
    printed = console.redacted(result.output)
    if result.status == 0 and kept is not None:
        kept.append(File(log, printed))
    else:
        node.write([File(log, printed), *(done if result.status == 0 else ())])
    if result.status != 0:
        raise CommandFailed(
            pasteable(node.shell_argv(argv)), result.status, printed, node.name,
            todo=[f"all of its output is in {log} of the node", *([then] if then else [])],
        )  # fmt: skip
    return result


def until_none_runs(node: Node, console: Reporter, *, whose: str, within: float, then: str) -> None:
    """Wait for the end of a kubeadm that was left in a node by a run that was cut off.

    What runs in a node goes on where the one who began it dies, until its own limit of time ends it. A second kubeadm
    beside it would change the same files. It is not ended here: half-way it leaves more to be mended than at its end.

    Args:
        node: where; it runs.
        console: told of the wait, where there is one.
        whose: the name of its cluster.
        within: seconds to wait at most.
        then: what to do next, once none runs any more.

    Raises:
        KubedrillError: it still runs.
    """

    def running() -> str:
        return node.run(_RUNNING, timeout=60, show=False).stdout.strip()

    if not (found := running()):
        return
    console.say(f"{node.name}: kubeadm still runs there, of a run that was cut off: {found.splitlines()[0]}")
    try:
        with console.step(f"{node.name}: its end"):
            until(running, lambda found: (not found, found), within=within, every=1, what=f"its end in {node.name}")
    except TimedOut as error:
        raise KubedrillError(
            f"a kubeadm that was begun before still runs in {node.name}; nothing was changed", evidence=error.evidence,
            todo=[f"wait until it ends, or end it: invoke exec {node.name} 'pkill -x kubeadm' --name {whose}", then],
        ) from error  # fmt: skip
