"""The commands of kubedrill: each parses, calls one function and prints. No logic here, and no import that is slow."""

from __future__ import annotations

import functools
import itertools
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke import task
from invoke.context import Context
from invoke.parser import Argument
from invoke.tasks import Task

if TYPE_CHECKING:
    from kubedrill.console import Console

NAME = "which cluster (default: lab)"


def _friendly(body: Callable[..., int | None]) -> Callable[..., None]:
    """Errors for people, and exit statuses: 0 done, 1 failed, 130 interrupted, 143 told to end (both clean up)."""

    @functools.wraps(body)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from kubedrill.console import fail
        from kubedrill.errors import KubedrillError

        def told_to_end(*_: object) -> None:
            raise SystemExit(128 + signal.SIGTERM)

        signal.signal(signal.SIGTERM, told_to_end)
        try:
            status = body(*args, **kwargs)
        except KubedrillError as error:
            fail(error)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)
        if status:
            sys.exit(status)

    return wrapped


def _number(key: str) -> int:
    return int(key.rpartition("_")[2]) if key.rpartition("_")[2].isdigit() else 0


class _Drills(Task):  # type: ignore[type-arg]
    """A task that takes any number of names; invoke itself knows only a fixed number of positional arguments."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """One positional argument for each word that follows the task's name."""
        words = sys.argv[sys.argv.index(self.name) + 1 :] if self.name in sys.argv else []
        names = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
        more = [Argument(f"drill_{number}", positional=True) for number in range(len(names))]
        return [*more, *super().get_arguments(ignore_unknown_help)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Gather the names."""
        more = [kwargs.pop(key) for key in sorted(kwargs, key=_number) if key.startswith("drill_")]
        kwargs["drill"] = [*kwargs.get("drill", []), *more]
        return super().__call__(*args, **kwargs)


class _MayName(Task):  # type: ignore[type-arg]
    """A task whose word may be given or left out; invoke itself knows only words that must be there."""

    word = ""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The word is positional where there is a word that is neither a flag nor a flag's value."""
        arguments = super().get_arguments(ignore_unknown_help)
        valued = {
            f"{'-' if len(name) == 1 else '--'}{name}" for one in arguments if one.takes_value for name in one.names
        }
        words = sys.argv[sys.argv.index(self.name) :] if self.name in sys.argv else []
        found = any(before not in valued and not word.startswith("-") for before, word in itertools.pairwise(words))
        for argument in arguments:
            argument.positional = argument.name == self.word and found
        return arguments


class _MayNameNode(_MayName):
    """A task for one node, or for all."""

    word = "node"


class _MayNameLesson(_MayName):
    """A task for one lesson, or for all."""

    word = "lesson"


class _MayNameCheckpoint(_MayName):
    """A task for one checkpoint, or for the list of them."""

    word = "checkpoint"


def _console(show_commands: bool = False) -> Console:
    from kubedrill.console import Console

    return Console(show_commands=show_commands)


@task(help={"provider": "vagrant: what VMs need, too (Vagrant, libvirt, QEMU)"})
@_friendly
def setup(c: Context, provider: str = "docker") -> None:
    """Install and start what this machine lacks (Debian, Ubuntu as root; elsewhere it prints the commands)."""
    from kubedrill import commands

    commands.setup(_console(), provider)


@task(
    help={
        "control_planes": "of the cluster to measure this machine by: 1, 3 or 5",
        "workers": "of the cluster to measure this machine by",
        "kubernetes": "minor version, such as 1.37",
        "json": "print the findings as JSON",
    }
)
@_friendly
def doctor(
    c: Context, control_planes: str | None = None, workers: str | None = None, kubernetes: str | None = None,
    json: bool = False,
) -> int:  # fmt: skip
    """Say what this machine can do, and what follows; exit status 0 when `up` can work."""
    from kubedrill import commands

    return commands.doctor(_console(), control_planes, workers, kubernetes, as_json=json)


@task(
    help={
        "kubernetes": "minor version, such as 1.37 (default: the newest)",
        "source": "auto, modules (all from Go modules) or packages (official packages and images)",
        "box": "what VMs are made of, too: a Vagrant box, and the image store as a disk",
    }
)
@_friendly
def build(c: Context, kubernetes: str | None = None, source: str = "auto", box: bool = False) -> None:
    """Build what nodes are made of: rootfs, components, image store, node image; nothing twice."""
    from kubedrill import commands

    commands.build(_console(), kubernetes, source, box=box)


@task(
    help={
        "name": "name of the cluster (default: lab)",
        "control_planes": "1, 3 or 5 (default: 1); more than one get a balancer",
        "workers": "0 to 99 (default: 2)",
        "hollow": "0 to 3000 nodes without a computer, played by kwok (default: 0)",
        "kubernetes": "minor version, such as 1.37 (default: the newest)",
        "provider": "what nodes are: docker (containers, the default) or vagrant (VMs)",
        "etcd": "stacked (on control planes, the default) or external (on three computers of its own)",
        "config": "YAML file with the same and more settings; flags win over it",
        "source": "auto, modules or packages: where what nodes are made of comes from",
        "keep": "leave the nodes of a failed bring-up as they are",
        "show_commands": "print every command run in a node, as a person would type it there",
    }
)
@_friendly
def up(
    c: Context, name: str | None = None, control_planes: str | None = None, workers: str | None = None,
    kubernetes: str | None = None, provider: str | None = None, config: str | None = None, source: str = "auto",
    keep: bool = False, show_commands: bool = False, hollow: str | None = None, etcd: str | None = None,
) -> None:  # fmt: skip
    """Bring up a cluster: all nodes Ready, CoreDNS available, kubeconfig merged. Builds first if needed."""
    from kubedrill import commands

    flags = {
        "name": name, "control_planes": control_planes, "workers": workers, "hollow": hollow,
        "kubernetes": kubernetes, "provider": provider, "etcd": etcd,
    }  # fmt: skip
    commands.up(_console(show_commands), config, flags, source=source, keep=keep)


@task(help={"name": "which cluster (default: all)", "json": "print JSON"})
@_friendly
def status(c: Context, name: str | None = None, json: bool = False) -> int:
    """Show clusters and their nodes; exit status 1 when anything is not as it should be."""
    from kubedrill import commands

    return commands.status(_console(), name, as_json=json)


@task(name="exec", help={"node": "lab-worker-1, or worker-1", "command": "one argument: quote it", "name": NAME})
@_friendly
def exec_(c: Context, node: str, command: str, name: str = "lab") -> int:
    """Run a command in a node: invoke exec worker-1 "crictl ps"."""
    from kubedrill import commands

    return commands.execute(_console(), name, node, command)


@task(help={"node": "lab-worker-1, or worker-1", "name": NAME})
@_friendly
def shell(c: Context, node: str, name: str = "lab") -> int:
    """Open a shell in a node."""
    from kubedrill import commands

    return commands.open_shell(_console(), name, node)


@task(help={"name": NAME, "merge": "put it into your kubeconfig again, and make it the current context"})
@_friendly
def kubeconfig(c: Context, name: str = "lab", merge: bool = False) -> None:
    """Print a kubeconfig of the cluster alone."""
    from kubedrill import commands

    commands.kubeconfig(_console(), name, merge=merge)


@task(help={"name": NAME, "out": "folder to write to (default: logs/NAME-TIME below the state folder)"})
@_friendly
def logs(c: Context, name: str = "lab", out: str | None = None) -> None:
    """Collect journals, pod logs, manifests and kubeadm's output of every node, also of one that is dead."""
    from kubedrill import commands

    commands.logs(_console(), name, out)


@task(
    help={
        "image": "an image of the local engine, or an OCI or Docker archive (a tar)",
        "name": NAME,
        "registry": "bring it to the lab's registry instead: nodes pull it when they want it",
    }
)
@_friendly
def load(c: Context, image: str, name: str = "lab", registry: bool = False) -> None:
    """Bring an image into every node, at once."""
    from kubedrill import commands

    commands.load(_console(), name, image, registry=registry)


@task(
    help={
        "name": NAME,
        "of": "be a pull-through cache of this registry, as images name it: docker.io",
        "upstream": "where that one is asked (default: https:// and its name)",
    }
)
@_friendly
def registry(c: Context, name: str = "lab", of: str = "", upstream: str = "") -> None:
    """Run a registry in the lab that all nodes ask first: for images brought to it, or a cache of another one."""
    from kubedrill import commands

    commands.run_registry(_console(), name, of, upstream)


@task(help={"name": "which cluster (default: all)"})
@_friendly
def heal(c: Context, name: str = "") -> None:
    """Undo what a killed run left broken, in one cluster or in all."""
    from kubedrill import commands

    commands.heal(_console(), name)


@task(help={"name": NAME})
@_friendly
def stop(c: Context, name: str = "lab") -> None:
    """Shut a cluster down in order: workers, control planes, balancer; disks and addresses stay."""
    from kubedrill import operations

    operations.stop(_console(), name)


@task(help={"name": NAME})
@_friendly
def start(c: Context, name: str = "lab") -> None:
    """Bring a stopped cluster back: the same one, with all that was in it."""
    from kubedrill import operations

    operations.start(_console(), name)


@task(help={"name": NAME})
@_friendly
def pause(c: Context, name: str = "lab") -> None:
    """Freeze a cluster where it is: it keeps its memory and uses no CPU."""
    from kubedrill import operations

    operations.pause(_console(), name)


@task(help={"name": NAME})
@_friendly
def resume(c: Context, name: str = "lab") -> None:
    """Let a paused cluster go on."""
    from kubedrill import operations

    operations.resume(_console(), name)


@task(
    klass=_MayNameCheckpoint,
    help={
        "checkpoint": "its name, for a new one",
        "list": "list those of the cluster",
        "remove": "remove this one",
        "name": NAME,
    },
)
@_friendly
def checkpoint(
    c: Context, checkpoint: str | None = None, list: bool = False, remove: str = "", name: str = "lab"
) -> None:
    """Keep a whole cluster as it is now (it stops for that, and is started again)."""
    from kubedrill import operations

    operations.checkpoint(_console(), checkpoint, name, listing=list, remove=remove)


@task(help={"checkpoint": "a name of `invoke checkpoint --list`", "name": NAME})
@_friendly
def restore(c: Context, checkpoint: str, name: str = "lab") -> None:
    """Put a whole cluster back to a checkpoint: all that happened since is gone."""
    from kubedrill import operations

    operations.restore(_console(), checkpoint, name)


@task(help={"control_plane": "a control plane instead of a worker; the second one brings a balancer", "name": NAME})
@_friendly
def add_node(c: Context, control_plane: bool = False, name: str = "lab") -> None:
    """Add a node to a running cluster: joined with a token of its own, Ready, known to the balancer."""
    from kubedrill import operations

    operations.add_node(_console(), name, control_plane=control_plane)


@task(help={"node": "the last of its role: lab-worker-2, or worker-2", "name": NAME})
@_friendly
def remove_node(c: Context, node: str, name: str = "lab") -> None:
    """Remove a node from a running cluster: drained, out of etcd and the balancer, gone."""
    from kubedrill import operations

    operations.remove_node(_console(), node, name)


@task(
    help={
        "to": "the next Kubernetes minor, such as 1.37",
        "name": NAME,
        "show_commands": "print every command run in a node, as a person would type it there",
    }
)
@_friendly
def upgrade(c: Context, to: str, name: str = "lab", show_commands: bool = False) -> None:
    """Bring a running cluster to the next Kubernetes version, node after node; again after an interruption."""
    from kubedrill import operations

    operations.upgrade(_console(show_commands), to, name)


@task(help={"name": NAME, "all": "every cluster there is, and whatever a killed run left"})
@_friendly
def down(c: Context, name: str = "lab", all: bool = False) -> None:
    """Remove a cluster: nodes, disks, checkpoints, network, kubeconfig entry."""
    from kubedrill import commands

    commands.down(_console(), None if all else name)


@task(
    klass=_Drills,
    iterable=["drill", "setting"],
    help={
        "drill": "a drill's name, as the words before all flags; may be given again",
        "all": "every drill, slow ones with --slow",
        "list": "list the drills and what they need",
        "name": "the cluster to run on (default: any that fits and is healthy, else one is brought up)",
        "fresh": "bring up a new cluster, even where one fits",
        "keep": "leave the cluster that was brought up",
        "slow": "run slow drills, too",
        "setting": "of the cluster, as in its file: kubernetes=1.36, proxyMode=nftables; may be given again",
        "show_commands": "print every command run in a node",
    },
)
@_friendly
def scenario(
    c: Context, drill: list[str], setting: list[str], all: bool = False, list: bool = False, name: str = "",
    fresh: bool = False, keep: bool = False, slow: bool = False, show_commands: bool = False,
) -> int:  # fmt: skip
    """Run drills: invoke scenario ha-failover; exit status 0 passed, 1 failed, 3 inconclusive."""
    from kubedrill import commands

    if list:
        return commands.list_drills(_console())
    flags = {"fresh": fresh, "keep": keep, "slow": slow, "show-commands": show_commands}
    return commands.scenario(_console(), drill, everything=all, name=name, flags=flags, settings=setting)


@task(
    help={
        "drill": "of this drill (default: the newest of all)",
        "list": "write and name the index of all runs",
        "again": "judge the run again from its saved samples, and write its report anew",
        "trends": "write and name the page of all figures over time, and what changed beyond the noise",
    }
)
@_friendly
def report(
    c: Context, drill: str = "", list: bool = False, again: bool = False, trends: bool = False
) -> None:  # fmt: skip
    """Name the newest report, and open it where there is a browser."""
    from kubedrill import commands
    from kubedrill.trends import command

    if trends:
        command.show(_console())
        return

    commands.report(_console(), drill, index=list, again=again)


@task(
    help={
        "unit": "only what needs no engine, in seconds",
        "all": "slow ones, too",
        "vagrant": "only those in VMs, which no other run includes",
        "keyword": "only tests that match, as pytest's -k",
    }
)
@_friendly
def test(c: Context, unit: bool = False, all: bool = False, vagrant: bool = False, keyword: str = "") -> int:
    """Run the tests; sets up and builds first what they need."""
    from kubedrill import commands

    return commands.test(_console(), unit=unit, everything=all, vagrant=vagrant, keyword=keyword)


@task(
    iterable=["compare"],
    help={
        "runs": "how often each figure is taken (default: 3)",
        "only": "one group: tasks, single, small, large, ten, scale, restart",
        "json": "write the figures, and the machine that they were taken on, to this file as well",
        "compare": "a file of --json to compare with; given twice, the two are compared and nothing is measured",
        "peer": "kind: bring up its clusters in turn with ours, of the same binaries, and print ratios (1+2 and 3+2)",
    },
)
@_friendly
def bench(c: Context, compare: list[str], runs: int = 3, only: str = "", json: str = "", peer: str = "") -> None:
    """Measure bring-up, down, memory, disk and builds; each figure several times; compare two revisions."""
    from kubedrill.bench import command

    command.bench(_console(), runs=runs, only=only, json_file=json, against=compare, beside=peer)


@task(
    help={
        "json": "print jobs, builds and what cannot run as JSON, for CI",
        "run": "run it here, one job after another; ends with a table",
        "shard": "K/N: only every job of part K of N, which take about equally long",
        "job": "only this job, by its name",
    }
)
@_friendly
def matrix(c: Context, json: bool = False, run: bool = False, shard: str = "", job: str = "") -> int:
    """Show what the nightly run covers, or run it: exit status 0 passed, 1 failed, 3 inconclusive."""
    from kubedrill.matrix import command

    if run:
        return command.run(_console(), shard=shard, job=job)
    return command.show(_console(), shard=shard, job=job, as_json=json)


@task(
    help={
        "name": NAME,
        "port": "of 127.0.0.1 (default: any that is free)",
        "open": "open it where there is a browser; --no-open does not",
    }
)
@_friendly
def dashboard(c: Context, name: str = "lab", port: str = "0", open: bool = True) -> None:
    """Show a cluster live in a browser: nodes, pods, etcd, leases, events, the running drill; Ctrl-C ends it."""
    from kubedrill import insights

    insights.dashboard(_console(), name, port, browser=open)


@task(
    klass=_MayNameNode,
    help={
        "node": "lab-worker-1, or worker-1 (default: all nodes, a line for each component)",
        "component": "one component, with all details: kubelet, etcd, coredns ...",
        "explain": "what each flag and field does, and why it matters",
        "json": "print everything as JSON (its fields: kubedrill/anatomy/model.py)",
        "name": NAME,
    },
)
@_friendly
def components(
    c: Context, name: str = "lab", node: str | None = None, component: str = "", explain: bool = False,
    json: bool = False,
) -> int:  # fmt: skip
    """Show each component: how it is started, its files, what is effective; exit status 1 unless all are healthy."""
    from kubedrill import insights

    return insights.components(_console(), name, node, component, as_json=json, explained=explain)


@task(
    klass=_MayNameLesson,
    help={
        "lesson": "its name (default: the list of all)",
        "language": "en or zh (default: the environment's, else en)",
    },
)
@_friendly
def course(c: Context, lesson: str | None = None, language: str = "") -> None:
    """The course: what to run, what to see, and the question that it answers."""
    from kubedrill import insights

    insights.course(_console(), lesson, language)


@task(help={"name": NAME, "remove": "take it away again"})
@_friendly
def addons(c: Context, name: str = "lab", remove: bool = False) -> None:
    """Put CoreDNS, kube-proxy and metrics-server under an add-on manager, on all control planes."""
    from kubedrill import insights

    insights.addons(_console(), name, remove=remove)
