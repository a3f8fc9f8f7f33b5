"""Drills: what they are, how they are declared, and how they are run and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kubedrill.spec import ClusterSpec, load

if TYPE_CHECKING:
    from kubedrill.scenario.lab import Lab

# Of these a drill needs at least so many; of all other settings, what it says.
COUNTS = ("controlPlanes", "workers", "hollow")
# What is said first of a drill for which no cluster could be made, or the one that was named is not healthy.
NO_CLUSTER = "no cluster could be had"
# And of one that uses a program which could not be built.
NOT_BUILT = "what it uses could not be built"


@dataclass(frozen=True)
class Scenario:
    """A drill: a function, and the cluster that it needs.

    Args:
        name: its name on the command line: 'ha-failover'.
        title: the first line of the function's docstring.
        text: the rest of it.
        body: the function.
        needs: keys of a cluster's configuration; counts are minima.
        slow: whether it runs only where slow drills are asked for.
        builds: folders of images/components whose programs it uses; they are there before it begins.
    """

    name: str
    title: str
    text: str
    body: Callable[[Lab], None]
    needs: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False
    builds: tuple[str, ...] = ()

    def spec(self, name: str) -> ClusterSpec:
        """The cluster to bring up for it.

        Raises:
            InvalidSpec: the drill asks for what cannot be.
        """
        return load(None, {**self.needs, "name": name})

    def misfits(self, spec: ClusterSpec) -> list[str]:
        """Why a cluster does not fit: fewer nodes than needed, or another setting."""
        wanted = self.spec(spec.name).model_dump(by_alias=True)
        given = self.needs.keys() | set(COUNTS)
        there = spec.model_dump(by_alias=True)
        reasons = []
        for key in sorted(given):
            if key in COUNTS:
                if there[key] < wanted[key]:
                    reasons.append(f"{key}: {there[key]}, at least {wanted[key]} needed")
            elif not _contains(there[key], wanted[key]):
                reasons.append(f"{key}: {there[key]}, needed {wanted[key]}")
        return reasons

    def conflicts(self, settings: Mapping[str, Any]) -> list[str]:
        """Why it cannot run on clusters of these settings: it needs more nodes, or another setting."""
        reasons = []
        for key in sorted(settings.keys() & self.needs.keys()):
            given, needed = settings[key], self.needs[key]
            if key in COUNTS:
                if needed > given:
                    reasons.append(f"needs {key} {needed} or more")
            elif not isinstance(needed, Mapping) and needed != given:
                reasons.append(f"needs {key} {needed}")
        return reasons

    def within(self, settings: Mapping[str, Any]) -> Scenario:
        """The same drill, which needs these settings, too; of counts the larger, of the others first its own."""
        counts = {key: max(settings[key], self.needs.get(key, 0)) for key in COUNTS if key in settings}
        return replace(self, needs={**settings, **self.needs, **counts})


def scenario(
    *, control_planes: int = 1, workers: int = 2, slow: bool = False, builds: Sequence[str] = (), **settings: Any
) -> Callable[[Callable[[Lab], None]], Scenario]:
    """Declare a drill.

    Args:
        control_planes: how many it needs at least.
        workers: how many it needs at least.
        slow: whether it takes so long that it must be asked for.
        builds: folders of images/components whose programs it uses: built before it, none of its time.
        settings: further keys of a cluster's configuration, as in its file (extraArgs, proxyMode).
    """

    def declare(body: Callable[[Lab], None]) -> Scenario:
        title, _, text = (body.__doc__ or "").strip().partition("\n")
        needs = {"controlPlanes": control_planes, "workers": workers, **settings}
        return Scenario(body.__name__.replace("_", "-"), title, text.strip(), body, needs, slow, tuple(builds))

    return declare


def _contains(there: Any, wanted: Any) -> bool:
    """Whether a setting holds what is wanted; of mappings, each wanted key."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return all(key in there and _contains(there[key], value) for key, value in wanted.items())
    return bool(there == wanted)
