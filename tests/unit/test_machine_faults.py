"""Faults that only a machine of its own can have."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_node import Call, FakeNode
from faulty_world import NO, World

from kubedrill import shell
from kubedrill.faults import Fault, FaultRefused, FillDisk, KernelPanic, PowerCut, SkewClock, inject, machines, needs
from kubedrill.faults.actions import Command, Power
from kubedrill.shell import Result

ALL = [SkewClock("worker-1", 3600), FillDisk("worker-1"), PowerCut("worker-1"), KernelPanic("worker-1")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
class TestEach:
    def test_it_is_injected_and_undone(self, world: World, fault: Fault) -> None:
        (plan,) = fault.ways(world.cluster, "c0ffee00")
        with inject(fault, world.cluster, world.journal) as entry:
            assert entry.fault == str(fault)
            assert not world.journal.is_empty()
        assert world.journal.is_empty()
        assert world.provider.node("lab-worker-1").state() == "running"
        assert plan.undo, "something undoes it"
        assert plan.healed, "and is looked at"

    def test_a_container_refuses_it_with_the_reason(self, world: World, fault: Fault) -> None:
        def container(_node: FakeNode, call: Call) -> Result | None:
            if "systemd-detect-virt" in call.line:
                return Result(1, "docker\nis no machine of its own\n", "")
            return None

        world.before = container
        with pytest.raises(FaultRefused) as caught, inject(fault, world.cluster, world.journal):
            pytest.fail("injected")
        assert "is no machine of its own" in str(caught.value)
        assert world.happened() == []

    def test_its_words_name_the_node(self, world: World, fault: Fault) -> None:
        assert "worker-1" in str(fault)
        assert fault.subject == "worker-1"


def test_a_clock_jumps_and_is_set_by_the_hardware_clock(world: World) -> None:
    with inject(SkewClock("worker-1", -120), world.cluster, world.journal) as entry:
        assert "120 s back" in entry.fault
    lines = [line for line in world.lines() if "date --utc --set" in line]
    assert "+ -120))" in lines[0]
    assert "rtc0/since_epoch" in lines[1]


@pytest.mark.parametrize(("skew", "right"), [(0, True), (4, True), (-4, True), (60, False), (-86400, False)])
def test_whether_a_clock_is_right(tmp_path: Path, skew: int, right: bool) -> None:
    clock = int(shell.run(["date", "+%s"]).stdout) - skew
    (tmp_path / "since_epoch").write_text(f"{clock}\n")
    script = machines.RIGHT.replace("/sys/class/rtc/rtc0", str(tmp_path))
    assert (shell.run(["sh", "-c", script], check=False).status == 0) == right


def test_a_disk_is_filled_to_the_last_piece(tmp_path: Path) -> None:
    """The script, with a fallocate that has 1 GiB, 64 MiB and 8 KiB to give."""
    tool = tmp_path / "fallocate"
    total = 1073741824 + 67108864 + 8192
    tool.write_text(f'#!/bin/sh\n[ $(($2 + $4)) -le {total} ] && echo "$2 $4" >>{tmp_path}/given\n')
    tool.chmod(0o755)
    script = machines._FILL.format(file="/nowhere/x")
    done = shell.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert done.status == 0
    given = [tuple(map(int, line.split())) for line in (tmp_path / "given").read_text().splitlines()]
    assert given == [(0, 1073741824), (1073741824, 67108864), (1140850688, 4096), (1140854784, 4096)]
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert shell.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False).status != 0


@pytest.mark.parametrize("folder", ["var", "/var; rm -rf /", "", "/"])
def test_a_folder_that_is_none(folder: str) -> None:
    with pytest.raises(ValueError, match="folder"):
        FillDisk("worker-1", folder)


def test_a_full_disk_is_not_filled_again(world: World) -> None:
    world.before = lambda _node, call: NO if "stat --file-system" in call.line else None
    with (
        pytest.raises(FaultRefused, match="broken already"),
        inject(FillDisk("worker-1"), world.cluster, world.journal),
    ):
        pytest.fail("injected")


def test_a_panic_ends_by_the_reset_button(world: World) -> None:
    (plan,) = KernelPanic("worker-1").ways(world.cluster, "c0ffee00")
    assert plan.undo == (Power("lab-worker-1", "kill"), Power("lab-worker-1", "start"))
    (crash,) = plan.inject
    assert isinstance(crash, Command)
    # The command must have ended before the kernel has.
    assert crash.argv[-1].endswith("&")


def test_a_power_cut_leaves_the_clock_and_its_undo_starts(world: World) -> None:
    with inject(PowerCut("worker-1"), world.cluster, world.journal):
        assert world.provider.node("lab-worker-1").state() == "stopped"
    assert [event[0] for event in world.happened()] == ["kill", "start"]


def test_the_trial_holds_where_there_is_no_container(tmp_path: Path) -> None:
    tool = tmp_path / "systemd-detect-virt"
    for said, status in (("none", 1), ("docker", 0)):
        tool.write_text(f"#!/bin/sh\necho {said}\nexit {status}\n")
        tool.chmod(0o755)
        result = shell.run(
            ["sh", "-c", needs.TRIALS["own_machine"]], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False
        )
        assert (result.status == 0) == (status == 1)
        assert ("is no machine of its own" in result.stdout) == (status == 0)
