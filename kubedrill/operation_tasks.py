"""The commands that operate a cluster that is there; tasks.py has them all. Each parses and calls one function."""

from __future__ import annotations

from invoke.context import Context
from invoke.tasks import task

from kubedrill.tasking import NAME, MayNameCheckpoint, MustName, console, friendly


@task(
    help={
        "image": "an image of the local engine, or an OCI or Docker archive (a tar)",
        "name": NAME,
        "registry": "bring it to the lab's registry instead: nodes pull it when they want it",
    },
    klass=MustName,
)
@friendly
def load(c: Context, image: str, name: str = "lab", registry: bool = False) -> None:
    """Bring an image into every node, at once."""
    from kubedrill import operations

    operations.load(console(), name, image, registry=registry)


@task(
    help={
        "name": NAME,
        "of": "be a pull-through cache of this registry, as images name it: docker.io",
        "upstream": "where that one is asked (default: https:// and its name)",
    }
)
@friendly
def registry(c: Context, name: str = "lab", of: str = "", upstream: str = "") -> None:
    """Run a registry in the lab that all nodes ask first: for images brought to it, or a cache of another one."""
    from kubedrill import operations

    operations.run_registry(console(), name, of, upstream)


@task(help={"name": NAME})
@friendly
def stop(c: Context, name: str = "lab") -> None:
    """Shut a cluster down in order: workers, control planes, balancer; disks and addresses stay."""
    from kubedrill import operations

    operations.stop(console(), name)


@task(help={"name": NAME})
@friendly
def start(c: Context, name: str = "lab") -> None:
    """Bring a stopped cluster back: the same one, with all that was in it."""
    from kubedrill import operations

    operations.start(console(), name)


@task(help={"name": NAME})
@friendly
def pause(c: Context, name: str = "lab") -> None:
    """Freeze a cluster where it is: it keeps its memory and uses no CPU."""
    from kubedrill import operations

    operations.pause(console(), name)


@task(help={"name": NAME})
@friendly
def resume(c: Context, name: str = "lab") -> None:
    """Let a paused cluster go on."""
    from kubedrill import operations

    operations.resume(console(), name)


@task(
    klass=MayNameCheckpoint,
    help={
        "checkpoint": "its name, for a new one",
        "list": "list those of the cluster",
        "remove": "remove this one",
        "name": NAME,
    },
)
@friendly
def checkpoint(
    c: Context, checkpoint: str | None = None, list: bool = False, remove: str = "", name: str = "lab"
) -> None:
    """Keep a whole cluster as it is now (it stops for that, and is started again)."""
    from kubedrill import operations

    operations.checkpoint(console(), checkpoint, name, listing=list, remove=remove)


@task(help={"checkpoint": "a name of `invoke checkpoint --list`", "name": NAME}, klass=MustName)
@friendly
def restore(c: Context, checkpoint: str, name: str = "lab") -> None:
    """Put a whole cluster back to a checkpoint: all that happened since is gone."""
    from kubedrill import operations

    operations.restore(console(), checkpoint, name)


@task(help={"control_plane": "a control plane instead of a worker; the second one brings a balancer", "name": NAME})
@friendly
def add_node(c: Context, control_plane: bool = False, name: str = "lab") -> None:
    """Add a node to a running cluster: joined with a token of its own, Ready, known to the balancer."""
    from kubedrill import operations

    operations.add_node(console(), name, control_plane=control_plane)


@task(help={"node": "the last of its role: lab-worker-2, or worker-2", "name": NAME}, klass=MustName)
@friendly
def remove_node(c: Context, node: str, name: str = "lab") -> None:
    """Remove a node from a running cluster: drained, out of etcd and the balancer, gone."""
    from kubedrill import operations

    operations.remove_node(console(), node, name)


@task(
    help={
        "to": "the next Kubernetes minor, such as 1.37",
        "name": NAME,
        "show_commands": "print every command run in a node, as a person would type it there",
    },
    klass=MustName,
)
@friendly
def upgrade(c: Context, to: str, name: str = "lab", show_commands: bool = False) -> None:
    """Bring a running cluster to the next Kubernetes version, node after node; again after an interruption."""
    from kubedrill import operations

    operations.upgrade(console(show_commands), to, name)
