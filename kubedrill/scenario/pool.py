"""The clusters of a session of drills: one that fits and is healthy is used, else one is brought up."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kubedrill import checkpoints, status
from kubedrill import cluster as clusters
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.errors import Busy, KubedrillError, MissingPrerequisite
from kubedrill.journal import Journal
from kubedrill.locks import only_one
from kubedrill.scenario import Scenario

_OURS = "drill"


class Pool:
    """Clusters for drills.

    Args:
        name: use the cluster of this name and no other; '' for any that fits.
        fresh: bring a new one up for the first drill that needs it, even where one fits.
        keep: leave what was brought up.
        show_commands: whether every command in a node is printed.
        checkpoint: put the named cluster back to this one before each drill; '' to take it as it is.
    """

    def __init__(
        self, *, name: str = "", fresh: bool = False, keep: bool = False, show_commands: bool = False,
        checkpoint: str = "",
    ) -> None:  # fmt: skip
        self.console = Console(show_commands=show_commands)
        self._name, self._fresh, self._keep, self._checkpoint = name, fresh, keep, checkpoint
        self._place: Lab | None = None
        self._made: list[str] = []

    def cluster(self, drill: Scenario) -> Cluster:
        """A healthy cluster that fits a drill.

        Raises:
            MissingPrerequisite: the cluster that was named does not fit, or is not healthy.
            KubedrillError: none can be brought up, or it cannot be put back to the checkpoint.
        """
        if self._place is None:
            self._place = clusters.lab(self.console)
        if self._checkpoint:
            self._put_back(self._place)
        for name in self._candidates(self._place):
            found = self._attach(self._place, name)
            against = self._against(drill, found) if found else ["it was not made by `invoke up`"]
            if found and not against:
                self.console.say(f"drill {drill.name} runs on the cluster {name}")
                return found
            if self._name:
                raise MissingPrerequisite(
                    f"the cluster '{name}' cannot be used for {drill.name}", evidence=against,
                    todo=["leave --name out to have one brought up", "see `invoke status`"],
                )  # fmt: skip
        name = f"{_OURS}-{os.getpid()}-{len(self._made) + 1}"
        self._made.append(name)
        return clusters.up(self._place, drill.spec(name), self.console, merge=self._keep)

    def close(self) -> None:
        """Take down what was brought up, unless it is to be kept."""
        if self._place is None or self._keep:
            return
        for name in self._made:
            try:
                clusters.down(self._place.provider, name, self.console)
            except KubedrillError as error:
                self.console.say(f"{name} could not be taken down: {error}")

    def _candidates(self, place: Lab) -> list[str]:
        if self._name:
            return [self._name]
        if self._fresh:
            return list(self._made)
        there = [name for name in place.provider.clusters() if not _of_another(name)]
        return sorted(there, key=lambda name: name not in self._made)

    def _put_back(self, place: Lab) -> None:
        """The named cluster as it was at the checkpoint, whatever the drill before left of it.

        Before it is asked whether it fits: it may have grown since.

        Raises:
            KubedrillError: it cannot be; or somebody is at work on it.
        """
        checkpoints.need(place.provider, self._name, self._checkpoint)  # before a name that may be none is locked
        with only_one(self._name):
            Journal.of(self._name).claim()
            checkpoints.restore(place.provider, self._name, self._checkpoint, self.console)

    def _attach(self, place: Lab, name: str) -> Cluster | None:
        try:
            return clusters.attach(place.provider, name)
        except KubedrillError:
            if self._name:
                raise
            return None

    def _against(self, drill: Scenario, found: Cluster) -> list[str]:
        against = drill.misfits(found.spec)
        if against:
            return against
        try:
            with only_one(found.spec.name):
                if not Journal.of(found.spec.name).is_empty():
                    return [f"it carries what a killed drill left: run `invoke heal --name {found.spec.name}`"]
                seen = status.of(found)
        except Busy:
            return ["another kubedrill is at work on it"]
        return [] if seen.healthy else [f"it is not healthy: {seen.summary}"]


def _of_another(name: str) -> bool:
    """Whether a session that still runs brought that cluster up for itself, and will take it down."""
    made = re.fullmatch(rf"{_OURS}-(\d+)-\d+", name)
    return made is not None and int(made[1]) != os.getpid() and Path("/proc", made[1]).exists()
