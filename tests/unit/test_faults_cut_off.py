"""A run that is killed or interrupted while it injects or heals: nothing stays broken."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import faulty_world
import pytest
from fake_node import Call, FakeNode
from faulty_world import BOTH, Killed, World, broken_while

from kubedrill.faults import KillNode, PauseNode, heal, inject
from kubedrill.shell import Result

world, no_heal = faulty_world.world, faulty_world.no_heal  # fixtures


class TestKilled:
    """kill -9 at every point; then `invoke heal`."""

    @pytest.mark.parametrize("point", range(7))
    def test_while_it_injects(self, world: World, point: int, no_heal: None) -> None:
        world.dies_at(point)
        with pytest.raises(Killed), inject(BOTH, world.cluster, world.journal):
            raise Killed
        world.mended()
        heal(world.cluster, world.later())
        assert not world.broken
        assert world.journal.is_empty()

    @pytest.mark.parametrize("point", range(5))
    def test_while_it_heals(self, world: World, point: int) -> None:
        with pytest.raises(Killed):
            broken_while(world, BOTH, lambda: world.dies_at(point), Killed())
        world.mended()
        if point < 4:
            assert not world.journal.is_empty(), "not forgotten before it was verified"
        heal(world.cluster, world.later())
        assert not world.broken
        assert world.journal.is_empty()

    def test_with_several_faults(self, world: World, no_heal: None) -> None:
        for fault in (BOTH, KillNode("worker-1"), PauseNode("control-plane-1")):
            broken_while(world, fault, lambda: None)
        told: list[str] = []
        assert heal(world.cluster, world.later(), told.append) == [
            "healed: pause the node control-plane-1", "healed: kill the node worker-1",
            "healed: drop what worker-1, worker-2 should forward",
        ]  # fmt: skip
        assert told[0] == "healing: pause the node control-plane-1"
        assert not world.broken
        assert [node.state() for node in world.cluster.nodes] == ["running"] * 6
        assert heal(world.cluster, world.journal) == []


class TestSignals:
    """Each handler is this test's own: pytest's would end the whole run."""

    @pytest.fixture
    def handled(self) -> Iterator[list[int]]:
        came: list[int] = []
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def interrupt(number: int, _: object) -> None:
            came.append(number)
            raise KeyboardInterrupt

        for number in before:
            signal.signal(number, interrupt)
        yield came
        for number, handler in before.items():
            signal.signal(number, handler)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_one_while_it_heals_waits(self, world: World, handled: list[int], number: signal.Signals) -> None:
        def press(_node: FakeNode, call: Call) -> Result | None:
            if "while iptables" in call.line:
                assert handled == []
                signal.raise_signal(number)
            return None

        with pytest.raises(KeyboardInterrupt), inject(BOTH, world.cluster, world.journal):
            world.before = press
        assert handled == [number]
        assert not world.broken
        assert world.journal.is_empty()

    def test_twice(self, world: World, handled: list[int]) -> None:
        def press() -> None:
            world.before = lambda _, call: signal.raise_signal(signal.SIGINT) if "while" in call.line else None
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            broken_while(world, BOTH, press)
        assert not world.broken
        assert world.journal.is_empty()
        assert len(handled) == 2

    def test_the_handlers_are_put_back(self, world: World, handled: list[int]) -> None:
        before = signal.getsignal(signal.SIGINT)
        with inject(BOTH, world.cluster, world.journal):
            assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGINT) is before
