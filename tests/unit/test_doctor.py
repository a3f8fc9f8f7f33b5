"""What is made of the facts about a machine, and when `up` is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubedrill import doctor, host, machine_commands, room
from kubedrill.console import Console
from kubedrill.errors import MissingPrerequisite
from kubedrill.gotoolchain import Choice, Toolchain
from kubedrill.kernel import FEATURES, Feature
from kubedrill.spec import ClusterSpec, load_mapping

GOOD = doctor.Facts(
    engine={"ServerVersion": "27.1", "OperatingSystem": "Debian", "Driver": "overlay2", "CgroupVersion": "2",
            "KernelVersion": "6.1"},
    kernel="6.1", cgroup=2, missing_capabilities=(), inotify=host.Inotify(1024, 524288),
    memory=host.Memory(16000, 12000), disk=100_000,
    features=tuple(Feature(name, "present", "by the configuration") for name in FEATURES),
    kvm=host.Kvm(True, "it ran"), no_vms="", go=Choice("enough", Toolchain("/go", (1, 26, 8))), go_required=(1, 26, 6),
    mmdebstrap=True, go_proxy="", apt=True, official=(), root=True,
)  # fmt: skip


def spec(**given: Any) -> ClusterSpec:
    return load_mapping(given, source="the test")


def without(*names: str) -> tuple[Feature, ...]:
    return tuple(Feature(name, "absent" if name in names else "present", "") for name in FEATURES)


@pytest.mark.parametrize(
    ("given", "built", "expected"),
    [
        ({"controlPlanes": 1, "workers": 2}, True, (700 + 500 + 300, 900)),
        ({"controlPlanes": 1, "workers": 0}, False, (1000, 6300)),
        ({"controlPlanes": 3, "workers": 2}, True, (2100 + 500 + 64 + 300, 1800)),
    ],
)
def test_needs(given: dict[str, Any], built: bool, expected: tuple[int, int]) -> None:
    assert doctor.needs(spec(**given), built=built) == expected


def test_a_good_machine_has_nothing_to_complain_of() -> None:
    findings = doctor.judge(spec(), GOOD)
    assert {finding.verdict for finding in findings} == {"ok"}
    assert doctor.exit_code(findings) == 0
    assert len({finding.name for finding in findings}) == len(findings) == 14


NO_GO = Choice("nothing")


@pytest.mark.parametrize(
    ("change", "built", "name", "verdict"),
    [
        ({"engine": None}, False, "engine", "fail"),
        ({"engine": {"Driver": "vfs"}}, False, "engine", "warn"),
        ({"engine": {"SecurityOptions": ["name=rootless"]}}, False, "engine", "warn"),
        ({"engine": {"KernelVersion": "6.12.5-linuxkit"}}, False, "engine", "warn"),
        ({"engine": {"KernelVersion": "6.1", "OperatingSystem": "Docker Desktop"}}, False, "engine", "warn"),
        ({"engine": {"KernelVersion": "6.1"}}, False, "engine", "ok"),
        ({"missing_capabilities": None}, False, "capabilities", "ok"),
        ({"missing_capabilities": ("SYS_RESOURCE",)}, False, "capabilities", "ok"),
        ({"missing_capabilities": ("SYS_ADMIN",)}, False, "capabilities", "fail"),
        ({"inotify": host.Inotify(128, 524288)}, False, "inotify", "warn"),
        ({"inotify": host.Inotify(128, 524288), "root": False}, False, "inotify", "fail"),
        ({"memory": host.Memory(16000, 1000)}, False, "memory", "fail"),
        ({"disk": 5000}, False, "disk", "fail"),
        ({"disk": 5000}, True, "disk", "ok"),
        ({"features": without("netem", "ipvs")}, False, "kernel", "warn"),
        ({"features": without("vxlan")}, False, "kernel", "fail"),
        ({"kvm": host.Kvm(False, "no")}, False, "KVM", "warn"),
        ({"no_vms": "this machine's distribution has no package vagrant"}, False, "VMs", "warn"),
        ({"go": NO_GO}, False, "Go", "fail"),
        ({"go": NO_GO}, True, "Go", "warn"),
        ({"go": Choice("fetches", Toolchain("/go", (1, 22, 0)))}, False, "Go", "ok"),
        ({"mmdebstrap": False}, False, "mmdebstrap", "fail"),
        ({"mmdebstrap": False}, True, "mmdebstrap", "warn"),
        ({"go_proxy": "no such host"}, False, "Go modules", "warn"),
        ({"apt": False}, False, "apt", "warn"),
        ({"official": ("pkgs.k8s.io",)}, False, "Kubernetes sites", "warn"),
    ],
)
def test_one_thing_amiss(change: dict[str, Any], built: bool, name: str, verdict: str) -> None:
    findings = doctor.judge(spec(), replace(GOOD, **change), built=built)
    assert [finding.verdict for finding in findings if finding.name == name] == [verdict]
    assert {finding.verdict for finding in findings if finding.name != name} == {"ok"}
    assert doctor.exit_code(findings) == (verdict == "fail")
    assert all(finding.follows for finding in findings if finding.verdict != "ok")


def test_a_cluster_without_vxlan_needs_no_vxlan() -> None:
    findings = doctor.judge(spec(flannelBackend="host-gw"), replace(GOOD, features=without("vxlan")))
    assert doctor.exit_code(findings) == 0


def test_sources_that_were_not_tried_have_no_row() -> None:
    facts = replace(GOOD, go_proxy=None, apt=None, official=None)
    names = [finding.name for finding in doctor.judge(spec(), facts)]
    assert not {"Go modules", "apt", "Kubernetes sites"} & set(names)


def proc_with(root: Path, instances: int, watches: int = 524288) -> Path:
    folder = root / "sys/fs/inotify"
    folder.mkdir(parents=True)
    (folder / "max_user_instances").write_text(f"{instances}\n")
    (folder / "max_user_watches").write_text(f"{watches}\n")
    return root


def check(proc: Path, *, memory: int = 8000, disk: int = 50_000, root: bool = False, **given: Any) -> None:
    room.preflight(
        spec(**given), proc=proc, root=root, memory=lambda: host.Memory(16000, memory), free_disk=lambda _: disk
    )


def test_preflight_passes_where_there_is_room(tmp_path: Path) -> None:
    check(proc_with(tmp_path, 512))


def test_preflight_says_how_much_is_needed_and_how_much_there_is(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite) as raised:
        check(proc_with(tmp_path, 512), memory=900, disk=100)
    assert raised.value.evidence == (
        "memory: 1500 MiB are needed, 900 MiB are available",
        "disk: 6900 MiB are needed, 100 MiB are free",
    )


def test_preflight_gives_the_command_that_raises_inotify_limits(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite) as raised:
        check(proc_with(tmp_path, 128))
    assert "needed: 192 instances and 24576 watches" in raised.value.evidence
    command = "sudo sysctl -w fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288"
    assert raised.value.todo == (command,)


def test_preflight_raises_inotify_limits_as_root(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, 128, 8192)
    check(proc, root=True)
    assert host.inotify_limits(proc=proc) == host.Inotify(1024, 524288)


def test_preflight_raises_them_as_far_as_many_nodes_need(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, 1024)
    check(proc, root=True, workers=20)
    assert host.inotify_limits(proc=proc).instances == 21 * 64


def test_where_the_engine_is_silent_the_table_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The first thing that somebody runs whose machine has nothing yet."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    assert machine_commands.doctor(Console(), None, None, None, as_json=False) == 1
    assert "run: invoke setup" in capsys.readouterr().out


def test_what_is_added_needs_room_for_itself_alone(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, 1024)

    def one_more(memory: int) -> None:
        room.preflight(spec(workers=3), beside=spec(workers=2), built=True, proc=proc, root=False,
                       memory=lambda: host.Memory(16000, memory), free_disk=lambda _: room.NODE_DISK_MIB)  # fmt: skip

    with pytest.raises(MissingPrerequisite) as refused:
        one_more(200)
    assert list(refused.value.evidence) == [f"memory: {room.WORKER_MIB} MiB more are needed, 200 MiB are available"]
    one_more(room.WORKER_MIB)


def test_hollow_nodes_take_memory_too() -> None:
    small, large = (room.needs(spec(hollow=count))[0] for count in (0, 2000))
    assert large - small == 1000
    assert room.describe(spec(hollow=2000)) == "a cluster of 1+2 nodes and 2000 hollow ones"
