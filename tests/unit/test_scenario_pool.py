"""The clusters of a session of drills: which one is used, when one is brought up, and what is taken down."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubedrill.cluster import Cluster
from kubedrill.errors import KubedrillError, MissingPrerequisite, NotFound
from kubedrill.faults.actions import ShrinkBack
from kubedrill.journal import Journal
from kubedrill.locks import only_one
from kubedrill.scenario import Scenario, pool
from kubedrill.scenario.pool import Pool
from kubedrill.spec import ClusterSpec, load, valid_name

TUNED = {"controllerManager": {"node-monitor-grace-period": "20s"}}
# Not names of this module: nothing may ever take them for drills to be run.
DRILLS = SimpleNamespace(
    small=Scenario("small", "", "", lambda lab: None, {"controlPlanes": 1, "workers": 2}),
    large=Scenario("large", "", "", lambda lab: None, {"controlPlanes": 3, "workers": 2}),
    special=Scenario("special", "", "", lambda lab: None, {"controlPlanes": 1, "workers": 2, "extraArgs": TUNED}),
)


class Machine:
    """A machine with clusters that are only names and settings."""

    def __init__(self) -> None:
        self.specs: dict[str, ClusterSpec] = {}
        self.sick: set[str] = set()
        self.foreign: set[str] = set()
        self.ups: list[tuple[str, bool]] = []
        self.downs: list[str] = []
        self.labs = 0
        self.cannot = ""

    def has(self, name: str, **settings: Any) -> None:
        """A cluster is there."""
        self.specs[name] = load(None, {"name": name, **settings})

    # --- what stands for kubedrill.cluster and kubedrill.status

    def lab(self, console: object) -> Any:
        """This machine."""
        self.labs += 1
        return SimpleNamespace(provider=self)

    def clusters(self) -> list[str]:
        """Their names."""
        return sorted({*self.specs, *self.foreign})

    def attach(self, provider: object, name: str) -> Cluster:
        """One of them."""
        assert provider is self
        if name in self.foreign:
            raise KubedrillError(f"the cluster '{name}' was not made by `invoke up`")
        if name not in self.specs:
            raise NotFound(f"there is no cluster '{name}'")
        return Cluster(self.specs[name], (), 6443)

    def up(self, place: Any, spec: ClusterSpec, console: object, *, merge: bool) -> Cluster:
        """A new one."""
        assert place.provider is self
        self.ups.append((spec.name, merge))
        if self.cannot:
            raise KubedrillError(self.cannot)
        self.specs[valid_name(spec.name)] = spec
        return Cluster(spec, (), 6443)

    def down(self, provider: object, name: str, console: object) -> bool:
        """Remove it."""
        assert provider is self
        self.downs.append(name)
        return self.specs.pop(name, None) is not None

    def of(self, found: Cluster) -> Any:
        """Whether it is healthy."""
        return SimpleNamespace(healthy=found.spec.name not in self.sick, summary="answers")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """An empty machine."""
    made = Machine()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(pool, "clusters", made)
    monkeypatch.setattr(pool, "status", made)
    return made


class TestWhich:
    def test_a_healthy_one_that_fits_is_used(self, machine: Machine) -> None:
        machine.has("lab")
        assert Pool().cluster(DRILLS.small).spec.name == "lab"
        assert machine.ups == []

    @pytest.mark.parametrize(
        ("drill", "there", "sick"),
        [
            (DRILLS.large, {}, False), (DRILLS.small, {"workers": 1}, False), (DRILLS.special, {}, False),
            (DRILLS.small, {}, True),
        ],
    )  # fmt: skip
    def test_one_is_brought_up_where_none_can_be_used(
        self, machine: Machine, drill: Scenario, there: dict[str, Any], sick: bool
    ) -> None:
        machine.has("lab", **there)
        machine.sick = {"lab"} if sick else set()
        found = Pool().cluster(drill)
        assert found.spec.name.startswith("drill-")
        assert drill.misfits(found.spec) == []
        assert machine.ups == [(found.spec.name, False)]

    def test_the_first_that_can_be_used_wins(self, machine: Machine) -> None:
        machine.foreign = {"a-foreign-one"}
        machine.has("b-small")
        for name in ("c-sick", "d-large", "e-large"):
            machine.has(name, control_planes=3)
        machine.sick = {"c-sick"}
        assert Pool().cluster(DRILLS.large).spec.name == "d-large"

    def test_one_that_somebody_works_on_is_left_alone(self, machine: Machine) -> None:
        machine.has("a-lab")
        machine.has("b-lab")
        with only_one("a-lab"):
            assert Pool().cluster(DRILLS.small).spec.name == "b-lab"
        assert Pool().cluster(DRILLS.small).spec.name == "a-lab"

    def test_one_that_carries_what_a_killed_drill_left_is_left_alone(self, machine: Machine) -> None:
        machine.has("a-lab")
        machine.has("b-lab")
        notes = Journal.of("a-lab")
        entry = notes.entry("0badcafe", "grow the cluster beyond 1+1", "", (), (), ShrinkBack(1, 1))
        notes.write(entry)
        assert Pool().cluster(DRILLS.small).spec.name == "b-lab"
        with pytest.raises(MissingPrerequisite, match="invoke heal --name a-lab"):
            Pool(name="a-lab").cluster(DRILLS.small)
        notes.remove(entry)
        assert Pool().cluster(DRILLS.small).spec.name == "a-lab"

    def test_that_of_a_session_that_runs_is_left_alone_as_it_takes_it_down(self, machine: Machine) -> None:
        machine.has(f"drill-{os.getppid()}-1")
        clusters = Pool()
        mine = clusters.cluster(DRILLS.small).spec.name
        assert mine == f"drill-{os.getpid()}-1"
        assert clusters.cluster(DRILLS.small).spec.name == mine

    def test_that_of_a_session_that_ended_is_used(self, machine: Machine) -> None:
        gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
        machine.has(f"drill-{gone}-1")
        assert Pool().cluster(DRILLS.small).spec.name == f"drill-{gone}-1"

    def test_on_an_empty_machine(self, machine: Machine) -> None:
        assert Pool().cluster(DRILLS.large).spec.control_planes == 3

    def test_the_machine_is_looked_at_when_a_cluster_is_asked_for(self, machine: Machine) -> None:
        clusters = Pool()
        assert machine.labs == 0
        clusters.cluster(DRILLS.small)
        clusters.cluster(DRILLS.small)
        assert machine.labs == 1

    def test_one_that_was_kept_is_put_into_the_kubeconfig(self, machine: Machine) -> None:
        Pool(keep=True).cluster(DRILLS.small)
        assert [merge for _, merge in machine.ups] == [True]


class TestNamed:
    def test_one_that_somebody_works_on_is_refused(self, machine: Machine) -> None:
        machine.has("mine")
        with only_one("mine"), pytest.raises(MissingPrerequisite) as told:
            Pool(name="mine").cluster(DRILLS.small)
        assert list(told.value.evidence) == ["another kubedrill is at work on it"]

    def test_no_other_is_used(self, machine: Machine) -> None:
        machine.has("a-lab")
        machine.has("mine")
        assert Pool(name="mine").cluster(DRILLS.small).spec.name == "mine"

    @pytest.mark.parametrize(
        ("drill", "sick", "why"),
        [(DRILLS.large, False, "controlPlanes: 1, at least 3 needed"), (DRILLS.small, True, "it is not healthy")],
    )
    def test_one_that_cannot_be_used_is_an_error(
        self, machine: Machine, drill: Scenario, sick: bool, why: str
    ) -> None:  # fmt: skip
        machine.has("a-large-one", control_planes=3)
        machine.has("mine")
        machine.sick = {"mine"} if sick else set()
        with pytest.raises(MissingPrerequisite, match=why):
            Pool(name="mine").cluster(drill)
        assert machine.ups == []

    def test_there_must_be_one(self, machine: Machine) -> None:
        with pytest.raises(NotFound, match="there is no cluster 'mine'"):
            Pool(name="mine").cluster(DRILLS.small)
        machine.foreign = {"mine"}
        with pytest.raises(KubedrillError, match="not made by"):
            Pool(name="mine").cluster(DRILLS.small)


class TestSession:
    def test_one_that_was_brought_up_is_used_again(self, machine: Machine) -> None:
        clusters = Pool()
        large = clusters.cluster(DRILLS.large)
        assert clusters.cluster(DRILLS.large).spec == large.spec
        assert clusters.cluster(DRILLS.small).spec == large.spec
        assert len(machine.ups) == 1

    def test_it_is_preferred_to_those_of_the_user(self, machine: Machine) -> None:
        machine.has("a-small-one")
        clusters = Pool()
        large = clusters.cluster(DRILLS.large)
        assert clusters.cluster(DRILLS.small).spec == large.spec

    def test_one_that_a_drill_left_sick_is_not_used_again(self, machine: Machine) -> None:
        clusters = Pool()
        first = clusters.cluster(DRILLS.small).spec.name
        machine.sick = {first}
        second = clusters.cluster(DRILLS.small).spec.name
        assert [name for name, _ in machine.ups] == [first, second]
        assert first != second

    def test_fresh_takes_none_that_was_there_and_brings_up_one_for_all(self, machine: Machine) -> None:
        machine.has("lab")
        clusters = Pool(fresh=True)
        first = clusters.cluster(DRILLS.small).spec.name
        assert first != "lab"
        assert clusters.cluster(DRILLS.small).spec.name == first
        assert clusters.cluster(DRILLS.large).spec.name not in (first, "lab")
        assert len(machine.ups) == 2

    def test_close_takes_down_what_was_brought_up_and_nothing_else(self, machine: Machine) -> None:
        machine.has("lab")
        clusters = Pool()
        clusters.cluster(DRILLS.small)
        made = [clusters.cluster(DRILLS.large).spec.name, clusters.cluster(DRILLS.special).spec.name]
        clusters.close()
        assert machine.downs == made
        assert machine.clusters() == ["lab"]

    def test_keep(self, machine: Machine) -> None:
        clusters = Pool(keep=True)
        name = clusters.cluster(DRILLS.small).spec.name
        clusters.close()
        assert machine.clusters() == [name]

    def test_close_of_a_pool_that_was_never_used(self, machine: Machine) -> None:
        Pool().close()
        assert (machine.labs, machine.downs) == (0, [])

    def test_what_a_failed_bring_up_left_is_taken_down_too(self, machine: Machine) -> None:
        machine.cannot = "no room"
        clusters = Pool()
        with pytest.raises(KubedrillError, match="no room"):
            clusters.cluster(DRILLS.small)
        clusters.close()
        assert machine.downs == [name for name, _ in machine.ups]
