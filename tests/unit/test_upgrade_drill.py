"""The drill that upgrades: its way back is on disk before anything changes, and never leads to another's checkpoint."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType, SimpleNamespace

import lab_world
import loading
import pytest
from lab_world import World

from kubedrill import checkpoints, ways_back
from kubedrill import cluster as clusters
from kubedrill.errors import KubedrillError
from kubedrill.faults import HealFailed
from kubedrill.faults.actions import PutBack
from kubedrill.providers.base import Saved
from kubedrill.scenario.judge import Untrustworthy

make, world = lab_world.make, lab_world.world  # fixtures


class Told:
    """What the drill did, and what was in the journal then."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.did: list[tuple[str, list[object]]] = []
        self.cannot = ""

    def do(self, what: str) -> None:
        """Note it."""
        self.did.append((what, [entry.whole for entry in self.world.journal.read()[0]]))
        if what == self.cannot:
            raise KubedrillError(f"no {what}")

    def upgrade(self, lab: object, *_: object) -> None:
        """What the drill is about."""
        self.do("upgrade")
        self.world.lab.require("all is well", True, "it is")


@pytest.fixture
def drill() -> ModuleType:
    return loading.drill("upgrade")


@pytest.fixture
def told(world: World, drill: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Told:
    made = Told(world)
    monkeypatch.setattr(clusters, "lab", lambda _: SimpleNamespace(provider=world.provider))
    monkeypatch.setattr(checkpoints, "take", lambda *_: made.do("checkpoint"))
    monkeypatch.setattr(ways_back, "put_back", lambda *_: made.do("put back"))
    monkeypatch.setattr(drill, "_run", made.upgrade)
    monkeypatch.setattr(drill, "logs", SimpleNamespace(collect=lambda *_: []))
    return made


WAY = [PutBack("before-upgrade")]


def test_its_way_back_is_on_disk_before_anything_is_changed(drill: ModuleType, told: Told) -> None:
    drill.run(told.world.lab)
    assert told.did == [("checkpoint", WAY), ("upgrade", WAY), ("put back", WAY)]
    assert told.world.journal.is_empty()


@pytest.mark.parametrize(("cannot", "done"), [("checkpoint", 2), ("upgrade", 3)])
def test_it_goes_back_whatever_fails(drill: ModuleType, told: Told, cannot: str, done: int) -> None:
    told.cannot = cannot
    with pytest.raises(KubedrillError, match=f"no {cannot}"):
        drill.run(told.world.lab)
    assert [what for what, _ in told.did] == [*("checkpoint", "upgrade")[: done - 1], "put back"]
    assert told.world.journal.is_empty()


def test_a_way_back_that_fails_is_left_for_heal(drill: ModuleType, told: Told) -> None:
    told.cannot = "put back"
    with pytest.raises(HealFailed, match="invoke heal"):
        drill.run(told.world.lab)
    assert [entry.whole for entry in told.world.journal.read()[0]] == WAY


def test_a_checkpoint_that_is_there_is_nobody_s_to_remove(
    drill: ModuleType, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "listed", lambda *_: [Saved("before-upgrade", 0.0, (), 0)])
    with pytest.raises(Untrustworthy) as caught:
        drill.run(told.world.lab)
    assert "invoke restore before-upgrade --name lab" in str(caught.value)
    assert "invoke checkpoint --remove before-upgrade --name lab" in str(caught.value)
    assert told.did == []
    assert told.world.journal.is_empty()


def test_vms_have_no_way_back(drill: ModuleType, told: Told) -> None:
    lab = told.world.lab
    lab.cluster = replace(lab.cluster, spec=lab.cluster.spec.model_copy(update={"provider": "vagrant"}))
    with pytest.raises(Untrustworthy, match="VMs have no checkpoints"):
        drill.run(lab)
    assert told.did == []
    assert told.world.journal.is_empty()
