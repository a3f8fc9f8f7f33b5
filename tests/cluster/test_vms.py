"""A control plane in a VM: what only a machine of its own can have, and drills that need it."""

from __future__ import annotations

import time

import pytest
from drilling import DRILLS, control, function
from verdicts import demand

from kubedrill import status
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.faults import FillDisk, KernelPanic, PowerCut, SkewClock, inject
from kubedrill.journal import Journal
from kubedrill.kube import Kube
from kubedrill.providers.base import Node
from kubedrill.scenario import runner
from kubedrill.wait import until

pytestmark = [pytest.mark.vagrant, pytest.mark.cluster, pytest.mark.slow]
SPEC = {"workers": 0, "provider": "vagrant"}
IN_VMS = [name for name, drill in DRILLS.items() if drill.needs.get("provider") == "vagrant"]


@pytest.fixture
def leader(lab: Cluster) -> Node:
    return lab.node("control-plane-1")


def test_it_is_a_machine_of_its_own(lab: Cluster, leader: Node) -> None:
    assert lab.server == f"https://{leader.address}:6443"
    assert leader.run(["systemd-detect-virt", "--container"], check=False).stdout.strip() == "none"
    assert leader.run(["stat", "--file-system", "--format", "%T", "/sys/fs/cgroup"]).stdout.strip() == "cgroup2fs"
    assert Kube(lab.admin_conf(), timeout=10 * lab.slow).readyz() == "ok"


def test_its_clock_is_its_own(lab: Cluster, leader: Node) -> None:
    with inject(SkewClock(leader.name, 7200), lab, Journal.of(lab.spec.name)):
        ahead = int(leader.run(["date", "+%s"]).stdout) - _now()
        assert 7100 < ahead < 7300
    assert abs(int(leader.run(["date", "+%s"]).stdout) - _now()) < 10


def test_its_disk_is_its_own(lab: Cluster, leader: Node) -> None:
    with inject(FillDisk(leader.name), lab, Journal.of(lab.spec.name)):
        assert leader.run(["sh", "-c", "head -c 100000 /dev/zero >/var/lib/more"], check=False).status != 0
    leader.run(["sh", "-c", "head -c 100000 /dev/zero >/var/lib/more && rm /var/lib/more"])


def test_its_power_is_its_own(lab: Cluster, leader: Node) -> None:
    boot = leader.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    with inject(PowerCut(leader.name), lab, Journal.of(lab.spec.name)):
        assert leader.state() == "stopped"
    assert leader.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != boot


def test_its_kernel_is_its_own(lab: Cluster, leader: Node) -> None:
    with inject(KernelPanic(leader.name), lab, Journal.of(lab.spec.name)):
        until(leader.console, lambda text: ("Kernel panic" in text, text[-200:]), within=120, what="the panic")
        assert leader.state() == "running"
    leader.run(["true"])


def test_all_is_well_after_that(lab: Cluster) -> None:
    until(lambda: status.of(lab), lambda found: (found.healthy, found.api), within=900, every=5,
          what="a healthy cluster")  # fmt: skip


@pytest.mark.parametrize("name", IN_VMS)
def test_the_drill_passes(lab: Cluster, console: Console, name: str) -> None:
    run, _ = runner.run(DRILLS[name], lab, console)
    demand(run, "passed")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("clock-skew", "healed"), ("full-disk", "healed"), ("power-cut", "sync"), ("kernel-panic", "healed")],
)
def test_without_its_remedy_it_fails(lab: Cluster, console: Console, name: str, remedy: str) -> None:
    run, _ = runner.run(control(name, lambda vm: function(name)(vm, **{remedy: False})), lab, console)
    demand(run, "failed")


def _now() -> int:
    return int(time.time())
