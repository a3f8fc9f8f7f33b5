"""A cluster of fakes in which faults leave what real ones leave."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill.cluster import Cluster
from kubedrill.faults import DropForward, Fault, inject, injection, perform
from kubedrill.journal import Journal, Owner
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

OK = Result(0, "", "")
NO = Result(1, "", "no")
DEAD = Owner(2**22 + 1, 1, "another boot")
BOTH = DropForward(("worker-1", "worker-2"))


class Killed(BaseException):
    """What stands for kill -9: nothing runs after it."""


class World:
    """A cluster in which firewalls, units and cordons are kept in memory."""

    def __init__(self, folder: Path) -> None:
        self.provider = FakeProvider(script=self.answer)
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        kinds: list[tuple[Role, int, int]] = [
            ("load-balancer", 1, 2), *(("control-plane", n, 10 + n) for n in (1, 2, 3)),
            *(("worker", n, 100 + n) for n in (1, 2)),
        ]  # fmt: skip
        for role, number, last in kinds:
            name = "lab-load-balancer" if role == "load-balancer" else f"lab-{role}-{number}"
            self.provider.create_node("lab", NodeSpec(name, role, f"172.28.0.{last}", "an image"))
        self.cluster = Cluster(ClusterSpec(control_planes=3, workers=2), tuple(self.provider.nodes("lab")), 1)
        self.journal = Journal(folder / "journal", Owner.me())
        self.broken: set[tuple[str, str]] = set()
        self.before: Callable[[FakeNode, Call], Result | None] = lambda _node, _call: None
        self.provider.events.clear()

    def answer(self, node: FakeNode, call: Call) -> Result | None:
        """Answer a command."""
        said = self.before(node, call)
        if said is not None:
            return said
        match call.argv:
            case ("iptables", "-w", "-I", *rule):
                self.broken.add((node.name, " ".join(rule)))
            case ("sh", "-c", line) if line.startswith("while iptables"):
                self.broken = {one for one in self.broken if one[0] != node.name}
            case ("sh", "-c", line) if line.startswith("rules=$(iptables"):
                return NO if any(one[0] == node.name for one in self.broken) else OK
            case ("systemctl", "stop", unit):
                self.broken.add((node.name, unit))
            case ("systemctl", "start", unit):
                self.broken.discard((node.name, unit))
            case ("systemctl", "is-active", unit):
                return NO if (node.name, unit) in self.broken else OK
        return OK

    def fails(self, pattern: str, node_name: str = "") -> None:
        """Commands that match fail from now on."""
        self.before = lambda node, call: NO if re.search(pattern, call.line) and node.name.endswith(node_name) else None

    def lines(self) -> list[str]:
        """The commands that were run: 'node: line'."""
        return [f"{event[1].removeprefix('lab-')}: {event[2]}" for event in self.provider.events if event[0] == "run"]

    def happened(self) -> list[tuple[str, ...]]:
        """What happened to computers."""
        return [event for event in self.provider.events if event[0] not in ("run", "ran", "write")]

    def dies_at(self, count: int) -> None:
        """Die at the command of that number, from 0."""
        left = [count]

        def die(_node: FakeNode, _call: Call) -> Result | None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return None

        self.before = die

    def mended(self) -> None:
        """Commands succeed again."""
        self.before = lambda _node, _call: None

    def later(self) -> Journal:
        """The journal as another process, after the end of this one, finds it."""
        for path in self.journal.folder.glob("*.json"):
            data = json.loads(path.read_text())
            data["owner"] = {"pid": DEAD.pid, "started": DEAD.started, "boot": DEAD.boot}
            path.write_text(json.dumps(data))
        return self.journal


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which nobody waits long for what does not come."""
    hurried = {"within": 0.05, "every": 0.005}
    monkeypatch.setattr(perform, "until", lambda *args, **named: until(*args, **{**named, **hurried}))
    return World(tmp_path)


@pytest.fixture
def no_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process dies before it heals anything."""
    monkeypatch.setattr(injection, "_heal_own", lambda *_: None)


def broken_while(world: World, fault: Fault, work: Callable[[], object], end: BaseException | None = None) -> None:
    """Inject, do some work, end the block, heal."""
    with inject(fault, world.cluster, world.journal):
        work()
        if end is not None:
            raise end
