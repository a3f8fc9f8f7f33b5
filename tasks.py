"""The commands of kubedrill: each parses, calls one function and prints. No logic here, and no import that is slow."""

from __future__ import annotations

from invoke import task
from invoke.context import Context

# invoke takes each task that it finds in this module.
from kubedrill.operation_tasks import (  # noqa: F401
    add_node,
    checkpoint,
    load,
    pause,
    registry,
    remove_node,
    restore,
    resume,
    start,
    stop,
    upgrade,
)
from kubedrill.tasking import NAME, DrillNames, MayNameLesson, MayNameNode, MustName, console, friendly


@task(help={"provider": "vagrant: what VMs need, too (Vagrant, libvirt, QEMU)"})
@friendly
def setup(c: Context, provider: str = "docker") -> None:
    """Install and start what this machine lacks (Debian, Ubuntu as root; elsewhere it prints the commands)."""
    from kubedrill import machine_commands

    machine_commands.setup(console(), provider)


@task(
    help={
        "control_planes": "of the cluster to measure this machine by: 1, 3 or 5",
        "workers": "of the cluster to measure this machine by",
        "kubernetes": "minor version, such as 1.37",
        "json": "print the findings as JSON",
    }
)
@friendly
def doctor(
    c: Context, control_planes: str | None = None, workers: str | None = None, kubernetes: str | None = None,
    json: bool = False,
) -> int:  # fmt: skip
    """Say what this machine can do, and what follows; exit status 0 when `up` can work."""
    from kubedrill import machine_commands

    return machine_commands.doctor(console(), control_planes, workers, kubernetes, as_json=json)


@task(
    help={
        "kubernetes": "minor version, such as 1.37 (default: the newest)",
        "source": "auto, modules (all from Go modules) or packages (official packages and images)",
        "box": "what VMs are made of, too: a Vagrant box, and the image store as a disk",
    }
)
@friendly
def build(c: Context, kubernetes: str | None = None, source: str = "auto", box: bool = False) -> None:
    """Build what nodes are made of: rootfs, components, image store, node image; nothing twice."""
    from kubedrill import machine_commands

    machine_commands.build(console(), kubernetes, source, box=box)


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
@friendly
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
    commands.up(console(show_commands), config, flags, source=source, keep=keep)


@task(help={"name": "which cluster (default: all)", "json": "print JSON"})
@friendly
def status(c: Context, name: str | None = None, json: bool = False) -> int:
    """Show clusters and their nodes; exit status 1 when anything is not as it should be."""
    from kubedrill import commands

    return commands.status(console(), name, as_json=json)


@task(
    name="exec",
    help={"node": "lab-worker-1, or worker-1", "command": "one argument: quote it", "name": NAME},
    klass=MustName,
)
@friendly
def exec_(c: Context, node: str, command: str, name: str = "lab") -> int:
    """Run a command in a node: invoke exec worker-1 "crictl ps"."""
    from kubedrill import commands

    return commands.execute(console(), name, node, command)


@task(help={"node": "lab-worker-1, or worker-1", "name": NAME}, klass=MustName)
@friendly
def shell(c: Context, node: str, name: str = "lab") -> int:
    """Open a shell in a node."""
    from kubedrill import commands

    return commands.open_shell(console(), name, node)


@task(help={"name": NAME, "merge": "put it into your kubeconfig again, and make it the current context"})
@friendly
def kubeconfig(c: Context, name: str = "lab", merge: bool = False) -> None:
    """Print a kubeconfig of the cluster alone."""
    from kubedrill import commands

    commands.kubeconfig(console(), name, merge=merge)


@task(help={"name": NAME, "out": "folder to write to (default: logs/NAME-TIME below the state folder)"})
@friendly
def logs(c: Context, name: str = "lab", out: str | None = None) -> None:
    """Collect journals, pod logs, manifests and kubeadm's output of every node, also of one that is dead."""
    from kubedrill import commands

    commands.logs(console(), name, out)


@task(help={"name": "which cluster (default: all)"})
@friendly
def heal(c: Context, name: str = "") -> None:
    """Undo what a killed run left broken, in one cluster or in all."""
    from kubedrill import drill_commands

    drill_commands.heal(console(), name)


@task(help={"name": NAME, "all": "every cluster there is, and whatever a killed run left"})
@friendly
def down(c: Context, name: str = "lab", all: bool = False) -> None:
    """Remove a cluster: nodes, disks, checkpoints, network, kubeconfig entry."""
    from kubedrill import commands

    commands.down(console(), None if all else name)


@task(help={"dry_run": "only say what would go"})
@friendly
def prune(c: Context, dry_run: bool = False) -> int:
    """Remove builds that neither this checkout nor any cluster asks for: of older revisions, or another toolchain."""
    from kubedrill import machine_commands

    return machine_commands.prune(console(), dry=dry_run)


@task(
    klass=DrillNames,
    iterable=["drill", "setting"],
    help={
        "drill": "a drill's name, as the words before all flags; may be given again",
        "all": "every drill, slow ones with --slow",
        "list": "list the drills and what they need",
        "name": "the cluster to run on (default: any that fits and is healthy, else one is brought up)",
        "from_checkpoint": "put the cluster of --name back to this checkpoint before each drill",
        "fresh": "bring up a new cluster, even where one fits",
        "keep": "leave the cluster that was brought up",
        "slow": "run slow drills, too",
        "setting": "of the cluster, as in its file: kubernetes=1.36, proxyMode=nftables; may be given again",
        "show_commands": "print every command run in a node",
    },
)
@friendly
def scenario(
    c: Context, drill: list[str], setting: list[str], all: bool = False, list: bool = False, name: str = "",
    fresh: bool = False, keep: bool = False, slow: bool = False, show_commands: bool = False,
    from_checkpoint: str = "",
) -> int:  # fmt: skip
    """Run drills: invoke scenario ha-failover; exit status 0 passed, 1 failed, 3 inconclusive."""
    from kubedrill import drill_commands

    if list:
        return drill_commands.list_drills(console())
    flags = {"fresh": fresh, "keep": keep, "slow": slow, "show-commands": show_commands}
    return drill_commands.scenario(
        console(), drill, everything=all, name=name, flags=flags, settings=setting, checkpoint=from_checkpoint
    )


@task(
    help={
        "drill": "of this drill (default: the newest of all)",
        "list": "write and name the index of all runs",
        "again": "judge the run again from its saved samples, and write its report anew",
        "trends": "write and name the page of all figures over time, and what changed beyond the noise",
        "publish": "make the pages of all runs small, for a web server: what they share goes into one file",
    }
)
@friendly
def report(
    c: Context, drill: str = "", list: bool = False, again: bool = False, trends: bool = False, publish: bool = False
) -> None:  # fmt: skip
    """Name the newest report, and open it where there is a browser."""
    from kubedrill import drill_commands
    from kubedrill.trends import command

    if trends:
        command.show(console())
        return
    if publish:
        drill_commands.publish(console())
        return

    drill_commands.report(console(), drill, index=list, again=again)


@task(
    help={
        "unit": "only what needs no engine, in seconds",
        "all": "slow ones, too",
        "vagrant": "only those in VMs, which no other run includes",
        "keyword": "only tests that match, as pytest's -k",
    }
)
@friendly
def test(c: Context, unit: bool = False, all: bool = False, vagrant: bool = False, keyword: str = "") -> int:
    """Run the tests; sets up and builds first what they need."""
    from kubedrill import machine_commands

    return machine_commands.test(console(), unit=unit, everything=all, vagrant=vagrant, keyword=keyword)


@task(
    iterable=["compare"],
    help={
        "runs": "how often each figure is taken (default: 3)",
        "only": "one group: tasks, single, small, large, ten, scale, nodes, restart, drill; or one of those that are "
        "long, and else left out: many (1+20), hollow (1+1 with 100 and with 1000 hollow nodes)",
        "json": "write the figures, and the machine that they were taken on, to this file as well, after each group",
        "compare": "a file of --json to compare with; given twice, the two are compared and nothing is measured",
        "peer": "kind: bring up its clusters in turn with ours, of the same binaries, and print ratios (1+2 and 3+2)",
    },
)
@friendly
def bench(c: Context, compare: list[str], runs: int = 3, only: str = "", json: str = "", peer: str = "") -> int:
    """Measure bring-up, down, memory, disk and builds; each figure several times; compare two revisions."""
    from kubedrill.bench import command

    return command.bench(console(), runs=runs, only=only, json_file=json, against=compare, beside=peer)


@task(
    help={
        "json": "print jobs, builds and what cannot run as JSON, for CI",
        "run": "run it here, one job after another; ends with a table",
        "shard": "K/N: only every job of part K of N, which take about equally long",
        "job": "only this job, by its name",
        "plan": "with --run: the jobs of this file, which --json printed, perhaps elsewhere",
    }
)
@friendly
def matrix(
    c: Context, json: bool = False, run: bool = False, shard: str = "", job: str = "", plan: str = ""
) -> int:  # fmt: skip
    """Show what the nightly run covers, or run it: exit status 0 passed, 1 failed, 3 inconclusive."""
    from kubedrill.errors import InvalidSpec
    from kubedrill.matrix import command

    if (plan and not run) or (json and run):
        what = "--json prints the plan, --run ends with a table" if run else "--plan says which jobs --run runs"
        raise InvalidSpec(what, todo=["invoke matrix --json >FILE, and: invoke matrix --run --plan FILE"])
    if run:
        return command.run(console(), shard=shard, job=job, plan=plan)
    return command.show(console(), shard=shard, job=job, as_json=json)


@task(
    help={
        "name": NAME,
        "port": "of 127.0.0.1 (default: any that is free)",
        "open": "open it where there is a browser; --no-open does not",
    }
)
@friendly
def dashboard(c: Context, name: str = "lab", port: str = "0", open: bool = True) -> None:
    """Show a cluster live in a browser: nodes, pods, etcd, leases, events, the running drill; Ctrl-C ends it."""
    from kubedrill import insights

    insights.dashboard(console(), name, port, browser=open)


@task(
    klass=MayNameNode,
    help={
        "node": "lab-worker-1, or worker-1 (default: all nodes, a line for each component)",
        "component": "one component, with all details: kubelet, etcd, coredns ...",
        "explain": "what each flag and field does, and why it matters",
        "json": "print everything as JSON (its fields: kubedrill/anatomy/model.py)",
        "name": NAME,
    },
)
@friendly
def components(
    c: Context, name: str = "lab", node: str | None = None, component: str = "", explain: bool = False,
    json: bool = False,
) -> int:  # fmt: skip
    """Show each component: how it is started, its files, what is effective; exit status 1 unless all are healthy."""
    from kubedrill import insights

    return insights.components(console(), name, node, component, as_json=json, explained=explain)


@task(
    klass=MayNameLesson,
    help={
        "lesson": "its name (default: the list of all)",
        "language": "en or zh (default: the environment's, else en)",
    },
)
@friendly
def course(c: Context, lesson: str | None = None, language: str = "") -> None:
    """The course: what to run, what to see, and the question that it answers."""
    from kubedrill import insights

    insights.course(console(), lesson, language)


@task(help={"name": NAME, "remove": "take it away again"})
@friendly
def addons(c: Context, name: str = "lab", remove: bool = False) -> None:
    """Put CoreDNS, kube-proxy and metrics-server under an add-on manager, on all control planes."""
    from kubedrill import insights

    insights.addons(console(), name, remove=remove)
