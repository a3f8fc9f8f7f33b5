"""Faults that outlast a boot: the power of many computers, the engine under them, units that do not come back."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill.faults.actions import Command, Map, Place, Plan, Power, StateIs, Together, named, node_name
from kubedrill.faults.computers import safe_name


@dataclass(frozen=True)
class PowerOff:
    """Several computers that are switched off. The undo starts them.

    Args:
        groups: who; each group at once, and one after the other.
        orderly: services are stopped one by one; without it the power is cut.
    """

    groups: tuple[tuple[Place, ...], ...]
    orderly: bool = True

    @property
    def name(self) -> str:
        """What is done."""
        return "power off" if self.orderly else "power cut"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(*(place for group in self.groups for place in group))

    def __str__(self) -> str:
        return f"shut {self.subject} down" if self.orderly else f"cut the power of {self.subject}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Stop or kill, group after group; the undo starts them the other way round."""
        groups = [[node_name(cluster, place) for place in group] for group in self.groups]
        nodes = [name for group in groups for name in group]
        return (
            Plan(
                before=tuple(StateIs(name, "running") for name in nodes),
                inject=tuple(
                    Together(tuple(Power(name, "stop" if self.orderly else "kill") for name in group))
                    for group in groups
                ),
                undo=tuple(Power(name, "start") for name in reversed(nodes)),
                healed=tuple(check for name in nodes for check in (StateIs(name, "running"), Command(name, ("true",)))),
            ),
        )


@dataclass(frozen=True)
class EngineOff:
    """The container engine ends, and with it all nodes that it runs.

    Whoever breaks this stops the engine and starts it again: no node can do that. What is on disk meanwhile is that the
    nodes are to run. An engine that starts brings back those that ran, so the undo starts only what did not come back.
    While the engine is off nothing can be undone: then it takes `invoke setup`, and `invoke heal` after that.

    Args:
        nodes: all that the engine runs.
    """

    nodes: tuple[Place, ...]

    @property
    def name(self) -> str:
        """What is done."""
        return "engine off"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(*self.nodes)

    def __str__(self) -> str:
        return f"stop the engine under {self.subject}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Nothing is done to a node; the undo starts those that do not run."""
        nodes = [node_name(cluster, place) for place in self.nodes]
        running = tuple(StateIs(name, "running") for name in nodes)
        return (
            Plan(
                before=running,
                inject=(),
                undo=tuple(Power(name, "start") for name in nodes),
                healed=(*running, *(Command(name, ("true",)) for name in nodes)),
            ),
        )


@dataclass(frozen=True)
class DisableUnit:
    """A systemd unit that runs now, but is not started at the next boot. The undo enables and starts it.

    Args:
        node: where.
        unit: its name without '.service'.
    """

    node: Place
    unit: str

    def __post_init__(self) -> None:
        safe_name(self.unit, "unit")

    @property
    def name(self) -> str:
        """What is done."""
        return f"disable {self.unit}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"disable {self.unit} on {self.node}: it is not started at the next boot"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """systemctl disable; the undo enables it, and starts it where a boot came between."""
        node = node_name(cluster, self.node)
        enabled = Command(node, ("systemctl", "is-enabled", self.unit))
        return (
            Plan(
                before=(StateIs(node, "running"), enabled),
                inject=(Command(node, ("systemctl", "--quiet", "disable", self.unit)),),
                undo=(Command(node, ("systemctl", "--quiet", "enable", "--now", self.unit)),),
                healed=(enabled, Command(node, ("systemctl", "is-active", self.unit))),
            ),
        )
