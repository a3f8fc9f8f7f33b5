"""What VMs need of this machine: packages, libvirtd, the image store's disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubedrill import host, libvirtd, paths, vm_setup
from kubedrill.errors import CommandFailed, EngineUnavailable, KubedrillError, MissingPrerequisite
from kubedrill.images import store_disk
from kubedrill.images.store import Store
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

STORE = Store("kubedrill-store-v1.37.2-abc", "v1.37.2", "3.7.3", "v1.15.0", "flannel:x", "pause:x", ())


class Machine:
    """Answers commands by their beginning, and keeps them."""

    def __init__(self, **answers: Result) -> None:
        self.lines: list[str] = []
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}

    def run(self, argv: list[str], *, check: bool = True, **_: Any) -> Result:
        self.lines.append(" ".join(argv))
        found = next((answer for word, answer in self.answers.items() if word in argv), Result(0, "running", ""))
        if check and found.status:
            raise CommandFailed(" ".join(argv), found.status, found.output, "this machine")
        return found


def test_what_is_lacking_is_told_by_programs_and_files() -> None:
    assert vm_setup.lacking(lambda _: "/usr/bin/x", lambda _: True) == ()
    names = [item.package for item in vm_setup.lacking(lambda _: "/usr/bin/x", lambda _: False)]
    assert names == ["vagrant-libvirt", "grub-pc-bin"]
    assert len(vm_setup.lacking(lambda _: None, lambda _: False)) == len(vm_setup.PREREQUISITES)


class TestUnavailable:
    """Whether a distribution has no package of what VMs need."""

    POLICY = "{}:\n  Installed: (none)\n  Candidate: {}\n  Version table:\n"

    def told(self, *, vagrant: str, libvirt: str, apt: bool = True) -> str:
        found = {"vagrant": vagrant, "libvirt-clients": libvirt}
        text = "".join(self.POLICY.format(name, candidate) for name, candidate in found.items() if candidate)
        wanted = tuple(item for item in vm_setup.PREREQUISITES if item.package in found)
        return vm_setup.unavailable(missing=lambda: wanted, run=lambda *_, **__: Result(0, text, ""), has_apt=apt)

    @pytest.mark.parametrize("candidate", ["(none)", ""], ids=["of another package alone", "of none"])
    def test_one_that_there_is_not_is_told(self, candidate: str) -> None:
        said = self.told(vagrant=candidate, libvirt="9.0.0-4")
        assert said == "this machine's distribution has no package vagrant"

    @pytest.mark.parametrize(
        ("vagrant", "libvirt", "apt"),
        [("2.3.4+dfsg-1", "9.0.0-4", True), ("", "", True), ("(none)", "(none)", True), ("", "9.0.0-4", False)],
        ids=["all can be installed", "apt has no lists", "nor any version", "no apt"],
    )
    def test_else_it_may_be_tried(self, vagrant: str, libvirt: str, apt: bool) -> None:
        assert self.told(vagrant=vagrant, libvirt=libvirt, apt=apt) == ""

    def test_nothing_is_asked_where_nothing_is_lacking(self) -> None:
        assert vm_setup.unavailable(missing=lambda: (), has_apt=True) == ""


def test_it_is_installed_and_started() -> None:
    machine = Machine()
    wanted = vm_setup.PREREQUISITES[:2]
    said = vm_setup.setup(missing=lambda: wanted, run=machine.run, start=lambda: "started", root=True, has_apt=True)
    assert said == ["installed vagrant, vagrant-libvirt", "started"]
    asked = [re.findall(r"update|policy|install ", line)[0] for line in machine.lines]
    assert asked == ["update", "policy", "install "]


class TestNoPackage:
    """Ubuntu has had no package of Vagrant since 24.04."""

    @pytest.mark.parametrize("root", [True, False])
    def test_it_is_refused_with_the_reason_before_apt_fails(self, root: bool) -> None:
        policy = TestUnavailable.POLICY.format("libvirt-daemon-system", "10.0.0-2ubuntu8")
        machine = Machine(policy=Result(0, policy, ""))
        with pytest.raises(MissingPrerequisite, match="no VMs here") as caught:
            vm_setup.setup(missing=lambda: vm_setup.PREREQUISITES[:3], run=machine.run, root=root, has_apt=True)
        assert caught.value.evidence == ("this machine's distribution has no package vagrant, vagrant-libvirt",)
        assert "https://developer.hashicorp.com/vagrant/install" in caught.value.todo[0]
        assert "vagrant plugin install vagrant-libvirt" in caught.value.todo[1]
        assert not [line for line in machine.lines if " install " in line]
        assert bool([line for line in machine.lines if line.endswith(" update")]) is root

    def test_one_from_its_maker_is_taken(self, tmp_path: Path) -> None:
        """The program is on PATH, and its plugin where `vagrant plugin install` puts it."""
        (tmp_path / "gems/3.3.8/gems/vagrant-libvirt-0.12.2").mkdir(parents=True)
        (pattern,) = [file for file in vm_setup.PREREQUISITES[1].files if str(vm_setup.VAGRANT_HOME) in file]
        mine = pattern.replace(str(vm_setup.VAGRANT_HOME), str(tmp_path))
        assert vm_setup._exists(mine)
        there = (pattern, "/usr/lib/grub/i386-pc/boot.img")
        assert vm_setup.lacking(lambda _: "/usr/bin/x", lambda file: file in there) == ()


def test_nothing_is_installed_twice() -> None:
    machine = Machine()
    said = vm_setup.setup(missing=tuple, run=machine.run, start=lambda: "libvirt answers")
    assert (said[-1], machine.lines) == ("libvirt answers", [])


@pytest.mark.parametrize(("root", "apt"), [(False, True), (True, False)])
def test_who_may_not_is_told_the_command(root: bool, apt: bool) -> None:
    with pytest.raises(MissingPrerequisite) as caught:
        vm_setup.setup(missing=lambda: vm_setup.PREREQUISITES[:1], run=Machine().run, root=root, has_apt=apt)
    assert ("sudo apt-get install" in caught.value.todo[0]) == apt
    assert "vagrant" in caught.value.todo[0]


class TestLibvirtd:
    def test_one_that_answers_is_left_alone(self, tmp_path: Path) -> None:
        machine = Machine()
        assert libvirtd.ensure(machine.run, conf=tmp_path / "qemu.conf") == "libvirt answers"
        assert not (tmp_path / "qemu.conf").exists()
        assert not any("pool-define" in line for line in machine.lines)

    def silent(self, until_started: list[bool]) -> Callable[..., Result]:
        machine = Machine()

        def run(argv: list[str], **settings: Any) -> Result:
            if "uri" in argv and not until_started:
                return Result(1, "", "error: failed to connect")
            return machine.run(argv, **settings)

        return run

    def test_it_is_started_by_hand_where_there_is_no_systemd(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paths, "state", lambda: tmp_path)
        started: list[bool] = []

        def start(argv: list[str], log: Path) -> Callable[[], int | None]:
            assert argv == ["libvirtd"]
            started.append(True)
            return lambda: None

        (tmp_path / "qemu.conf").write_text("#user = 'x'\n")
        run = self.silent(started)
        said = libvirtd.ensure(run, start=start, systemd=False, root=True, conf=tmp_path / "qemu.conf")
        assert said.startswith("started libvirtd")
        text = (tmp_path / "qemu.conf").read_text()
        assert text.startswith("#user = 'x'\n")
        assert 'security_driver = "none"' in text

    def test_one_that_ends_is_told_with_its_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(paths, "state", lambda: tmp_path)

        def start(argv: list[str], log: Path) -> Callable[[], int | None]:
            log.write_text("cannot read qemu.conf\n")
            return lambda: 1

        with pytest.raises(EngineUnavailable, match="ended with status 1") as caught:
            libvirtd.ensure(self.silent([]), start=start, systemd=False, root=True, conf=tmp_path / "qemu.conf")
        assert "cannot read qemu.conf" in caught.value.evidence

    def test_systemd_starts_it_where_it_runs(self, tmp_path: Path) -> None:
        started: list[bool] = []
        silent = self.silent(started)

        def run(argv: list[str], **settings: Any) -> Result:
            if argv[:2] == ["systemctl", "start"]:
                started.append(True)
            return silent(argv, **settings)

        assert "systemctl" in libvirtd.ensure(run, systemd=True, root=True, conf=tmp_path / "qemu.conf")
        assert not (tmp_path / "qemu.conf").exists()

    def test_others_than_root_are_told_what_to_do(self) -> None:
        with pytest.raises(MissingPrerequisite) as caught:
            libvirtd.ensure(self.silent([]), systemd=True, root=False)
        assert any("usermod -aG libvirt" in line for line in caught.value.todo)

    def test_there_is_a_pool_then(self, tmp_path: Path) -> None:
        machine = Machine(pool_info=Result(1, "", "error: failed to get pool 'default'"))
        machine.answers["pool-info"] = Result(1, "", "")
        with pytest.raises(CommandFailed):  # the second look needs an answer
            libvirtd.ensure(machine.run)
        assert any("pool-define-as default dir" in line for line in machine.lines)

    def test_settings_are_written_once(self) -> None:
        once = libvirtd.with_settings("a = 1\n")
        assert libvirtd.with_settings(once) == once
        assert once.startswith("a = 1\n")
        assert libvirtd.with_settings("").startswith("# kubedrill")

    def test_who_asks_for_vms_is_told_what_to_do(self) -> None:
        with pytest.raises(EngineUnavailable, match="libvirt does not answer") as caught:
            libvirtd.check(lambda *_, **__: Result(1, "", ""))
        assert "invoke setup --provider vagrant" in caught.value.todo[0]


class TestStoreDisk:
    @pytest.fixture(autouse=True)
    def _places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "volume").mkdir()
        (tmp_path / "volume" / "sandbox-image").write_text("pause:x")
        monkeypatch.setattr(libvirtd, "IMAGES", tmp_path)
        monkeypatch.setattr(paths, "cache", lambda: tmp_path)
        monkeypatch.setattr(host, "is_root", lambda: True)

    def test_it_is_made_once_and_labelled_by_version(self, tmp_path: Path) -> None:
        refreshed: list[bool] = []
        said: list[str] = []

        def ensure() -> Path:
            return store_disk.ensure(STORE, lambda _: tmp_path / "volume", lambda: refreshed.append(True), said.append)

        disk = ensure()
        assert disk == tmp_path / "kubedrill-store-v1.37.2-abc.img"
        assert b"v1.37.2" in disk.read_bytes()[1024:2048], "the label is in the superblock"
        assert disk.stat().st_mode & 0o222 == 0
        assert ensure() == disk
        assert (len(refreshed), len(said)) == (1, 1)

    def test_a_volume_on_another_machine(self, tmp_path: Path) -> None:
        with pytest.raises(KubedrillError, match="not on this machine"):
            store_disk.ensure(STORE, lambda _: tmp_path / "none", lambda: None, lambda _: None)

    def test_others_than_root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "is_root", lambda: False)
        with pytest.raises(MissingPrerequisite, match="root alone"):
            store_disk.ensure(STORE, lambda _: tmp_path / "volume", lambda: None, lambda _: None)


def test_vms_need_the_memory_that_they_are_given() -> None:
    from kubedrill import room

    small = room.needs(ClusterSpec(provider="vagrant", workers=1), built=True)
    large = room.needs(ClusterSpec(provider="vagrant", workers=1, vm={"workerMemory": 4096}), built=True)
    assert small[0] == 3072 + 1536 + 2 * room.VM_MIB + room.HOST_MIB
    assert large[0] - small[0] == 4096 - 1536
    assert small[0] > room.needs(ClusterSpec(workers=1), built=True)[0]
