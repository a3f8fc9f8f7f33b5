"""kubedrill as its users run it: each command in a process of its own, with a kubeconfig that is not the user's.

An interpreter that starts and imports is part of what a user waits for, and of what a peer's command takes, too.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubedrill import cluster as clusters
from kubedrill import paths, shell
from kubedrill.bench.figures import Reading, timed
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.locks import in_turn
from kubedrill.providers.base import Node, Provider

# The name of the cluster that is measured.
NAME = "bench"
# Seconds. A limit, not an expectation.
_WITHIN = 3600


@dataclass(frozen=True)
class Fresh:
    """Runs commands of kubedrill, and removes the cluster that they bring up.

    Args:
        place: the lab.
        console: told of what is removed after a failure.
        kubeconfig: the file that the commands take for the user's.
    """

    place: Lab
    console: Console
    kubeconfig: Path

    def run(self, *words: str) -> None:
        """Run a command to its end.

        Args:
            words: the task and its arguments.

        Raises:
            KubedrillError: its status was not 0; with all that it printed.
            CommandFailed: the time ran out.
        """
        env = {"KUBECONFIG": str(self.kubeconfig)}
        # In a checkout, `python -m` finds the package in the folder that it runs in.
        done = shell.run(argv(*words), env=env, cwd=paths.repository(), check=False, timeout=_WITHIN)
        if done.status != 0:
            raise KubedrillError(
                f"`kubedrill {' '.join(words)}` failed (exit status {done.status})",
                evidence=done.output.splitlines(),
                todo=["run it by itself, and do what it says"],
            )

    def up(self, control_planes: int, workers: int, *flags: str) -> None:
        """Bring the cluster up, as `kubedrill up`; nothing of it is left where that fails.

        Raises:
            KubedrillError: there is one of that name already, which is left as it is; or `up` failed.
        """
        need_no_other(self.place.provider)
        sizes = ("--control-planes", str(control_planes), "--workers", str(workers))
        try:
            self.run("up", "--name", NAME, *sizes, *flags)
        except BaseException:
            self.remove()
            raise

    def down(self) -> None:
        """Take the cluster down, as `kubedrill down`.

        Raises:
            KubedrillError: `down` failed.
        """
        self.run("down", "--name", NAME)

    def remove(self) -> None:
        """Remove whatever there is of the cluster."""
        clusters.down(self.place.provider, NAME, self.console)

    def nodes(self) -> list[Node]:
        """The cluster's nodes."""
        return list(self.place.provider.nodes(NAME))

    @contextlib.contextmanager
    def cluster(self, control_planes: int, workers: int, *flags: str) -> Iterator[Reading]:
        """A cluster, and how long its bring-up took; at the end nothing of it is left, whatever happens.

        Args:
            control_planes: how many.
            workers: how many.
            flags: more of `up`'s.

        Raises:
            KubedrillError: as `up`.
        """
        took = timed(lambda: self.up(control_planes, workers, *flags))
        try:
            yield took
        finally:
            self.remove()


@contextlib.contextmanager
def alone(place: Lab, console: Console) -> Iterator[Fresh]:
    """Commands of kubedrill, for one bench at a time.

    Raises:
        Busy: another bench is at work.
        KubedrillError: there is a cluster of the name that it needs.
    """
    place.provider.check()
    with in_turn("bench"), tempfile.TemporaryDirectory(prefix="kubedrill-bench-") as folder:
        need_no_other(place.provider)
        yield Fresh(place, console, Path(folder) / "kubeconfig")


def argv(*words: str) -> list[str]:
    """A command line of kubedrill, for this very interpreter."""
    return [sys.executable, "-m", "kubedrill", *words]


def need_no_other(provider: Provider) -> None:
    """See that no cluster has the name of the one that is measured: it would be finished, measured and removed.

    Raises:
        KubedrillError: one has.
    """
    if NAME in provider.clusters():
        raise KubedrillError(
            f"there is a cluster '{NAME}' already: bench brings up, and takes down, one of that name",
            evidence=["a bench that was killed left it, or it is yours; it was left as it is"],
            todo=[f"see: invoke status --name {NAME}", f"if it is not needed: invoke down --name {NAME}"],
        )
