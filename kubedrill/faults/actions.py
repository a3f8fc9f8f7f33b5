"""What a fault is made of: small records that can be written to disk and carried out by another process later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, cast, get_args

from kubedrill.providers.base import State

Doing = Literal["kill", "stop", "start", "pause", "resume"]
# A command for whichever control plane answers; node names are DNS labels, so none is called that.
ANY_CONTROL_PLANE = "@control-plane"
# The same for whichever node with a member of etcd answers: a control plane, or a computer for etcd alone.
ANY_MEMBER = "@etcd"
# A command for every control plane that runs.
CONTROL_PLANES = "@control-planes"


@dataclass(frozen=True)
class Power:
    """Do something with a computer.

    Args:
        node: its host name.
        do: what; nothing is done where it has been done already.
    """

    node: str
    do: Doing

    def __str__(self) -> str:
        return f"{self.do} {self.node}"


@dataclass(frozen=True)
class Together:
    """Do something with several computers at the same time; only to break things, as an undo has no haste."""

    actions: tuple[Power, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.actions))


@dataclass(frozen=True)
class Command:
    """Run a command in a node.

    Args:
        node: its host name, or ANY_CONTROL_PLANE, ANY_MEMBER or CONTROL_PLANES.
        argv: the program and its arguments.
        stdin: text for its standard input; none where it is empty.
        timeout: seconds it may take.
        until_boot: what it does does not outlive a boot of the node: there is nothing to undo once the node is down.
    """

    node: str
    argv: tuple[str, ...]
    stdin: str = ""
    timeout: float = 60
    until_boot: bool = False

    def __str__(self) -> str:
        return f"{self.node} # {' '.join(self.argv)}"


@dataclass(frozen=True)
class StateIs:
    """A check: a computer is in that state."""

    node: str
    state: State

    def __str__(self) -> str:
        return f"{self.node} is {self.state}"


Action = Power | Command
Check = StateIs | Command


@dataclass(frozen=True)
class PutBack:
    """A way back of a whole cluster: to a checkpoint, which is removed then.

    Args:
        checkpoint: its name.
    """

    checkpoint: str

    def __str__(self) -> str:
        return f"change the cluster as a whole, kept as the checkpoint {self.checkpoint}"


@dataclass(frozen=True)
class ShrinkBack:
    """A way back of a whole cluster: to the size that it had.

    Args:
        control_planes: how many it had.
        workers: how many it had.
    """

    control_planes: int
    workers: int

    def __str__(self) -> str:
        return f"grow the cluster beyond {self.control_planes}+{self.workers}"


# What cannot be done on nodes alone (kubedrill.ways_back does it).
Whole = PutBack | ShrinkBack


@dataclass(frozen=True)
class Plan:
    """All there is to know of a fault before it is injected.

    Args:
        inject: what breaks things, in order.
        undo: what mends them, in order; each may be done twice, and after only a part of `inject`.
        healed: what must hold after the undo (a command holds when its status is 0).
        before: what must hold before: a fault is refused where what it breaks is broken already, since its undo would
            then mend what somebody else broke.
        needs: (node, what must be possible there): names of needs.TRIALS.
        means: by what it is done, where there are several ways.
        left_out: the undo is left to the journal: a negative control.
    """

    inject: tuple[Action | Together, ...]
    undo: tuple[Action, ...]
    healed: tuple[Check, ...]
    before: tuple[Check, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    means: str = ""
    left_out: bool = False


@dataclass(frozen=True)
class Target:
    """A node, and the role it was chosen for.

    Args:
        node: its host name.
        role: what it was at that moment: 'etcd leader'.
        why: where that was read.
    """

    node: str
    role: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.node} ({self.role}{': ' + self.why if self.why else ''})"


Place = str | Target


class Computer(Protocol):
    """What a plan reads of a node: nothing that may change."""

    @property
    def name(self) -> str:
        """Its host name."""
        ...

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        ...


class Map(Protocol):
    """What a plan reads of a cluster; kubedrill.cluster.Cluster is one."""

    def node(self, name: str) -> Computer:
        """A node by its name, or by what is left of it without the cluster's name.

        Raises:
            NotFound: there is none.
        """
        ...


class Fault(Protocol):
    """A way to break a cluster, and to mend it; its str is a sentence without a subject: 'kill the node x'."""

    @property
    def name(self) -> str:
        """What is done, in two or three words."""
        ...

    @property
    def subject(self) -> str:
        """To whom: names of nodes."""
        ...

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Plans that come to the same, the best one first; pure.

        Args:
            cluster: names and addresses.
            mark: eight hexadecimal digits that are this fault's alone.

        Raises:
            NotFound: the cluster has no such node.
        """
        ...


def node_name(cluster: Map, place: Place) -> str:
    """The full host name of a node that is named in short, or by a role.

    Raises:
        NotFound: there is none.
    """
    return cluster.node(place.node if isinstance(place, Target) else place).name


def named(*places: Place) -> str:
    """The names in places, without the roles."""
    return ", ".join(place.node if isinstance(place, Target) else place for place in places)


def to_data(action: Action | Check | Whole) -> dict[str, Any]:
    """An action as JSON takes it."""
    return {"kind": type(action).__name__, **asdict(action)}


def from_data(data: Any) -> Action | Check:
    """The action again.

    Raises:
        ValueError: it is none; says why.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"no action: {data!r}")
    fields = {key: value for key, value in data.items() if key != "kind"}
    if not isinstance(fields.get("node"), str):
        raise ValueError(f"an action without a node: {dict(data)!r}")
    match data.get("kind"):
        case "Power" if set(fields) == {"node", "do"} and fields["do"] in get_args(Doing):
            return Power(fields["node"], cast(Doing, fields["do"]))
        case "StateIs" if set(fields) == {"node", "state"} and fields["state"] in get_args(State):
            return StateIs(fields["node"], cast(State, fields["state"]))
        case "Command" if set(fields) == {"node", "argv", "stdin", "timeout", "until_boot"} and _words(fields["argv"]):
            return Command(
                fields["node"], tuple(fields["argv"]), str(fields["stdin"]), float(fields["timeout"]),
                bool(fields["until_boot"]),
            )  # fmt: skip
    raise ValueError(f"no action: {dict(data)!r}")


def actions_of(data: Any) -> tuple[Action, ...]:
    """A list of actions.

    Raises:
        ValueError: it is none.
    """
    found = [from_data(one) for one in _listed(data)]
    return tuple(_refuse(f"{one} is a check, no action") if isinstance(one, StateIs) else one for one in found)


def checks_of(data: Any) -> tuple[Check, ...]:
    """A list of checks.

    Raises:
        ValueError: it is none.
    """
    found = [from_data(one) for one in _listed(data)]
    return tuple(_refuse(f"{one} is an action, no check") if isinstance(one, Power) else one for one in found)


def whole_of(data: Any) -> Whole | None:
    """A way back of a whole cluster; None where the data are null.

    Raises:
        ValueError: it is none.
    """
    if data is None:
        return None
    match data:
        case {"kind": "PutBack", "checkpoint": str(checkpoint)}:
            return PutBack(checkpoint)
        case {"kind": "ShrinkBack", "control_planes": int(planes), "workers": int(workers)}:
            return ShrinkBack(planes, workers)
    raise ValueError(f"no way back: {data!r}")


def _listed(data: Any) -> Sequence[Any]:
    return data if isinstance(data, list) else _refuse(f"no list: {data!r}")


def _words(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(word, str) for word in value)


def _refuse(why: str) -> Any:
    raise ValueError(why)
