"""Which builds can go: those whose content address is neither wanted nor in use; and where they are found."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from kubedrill import machine_commands, pruning
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.images import build as building
from kubedrill.images import rootfs
from kubedrill.providers.docker_engine import Engine
from kubedrill.pruning import Build, Files, Images, Stores

OLD, NEW, USED = "0" * 15 + "1", "0" * 15 + "2", "0" * 15 + "3"
GO = "go version go1.26.8 linux/amd64"
SUITE = rootfs.Suite("debian", "bookworm", "deb x", "a test")


class FakeEngine:
    """An engine with images, volumes and containers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tags: list[Sequence[str] | None] = []
        self.stores: list[str] = []
        self.checkpoints: list[dict[str, str]] = []
        self.running: list[dict[str, Any]] = []
        self.removed: list[str] = []

    def images(self) -> list[dict[str, Any]]:
        """All of them; each takes 3 MiB."""
        return [{"RepoTags": tags, "Size": 3 * pruning.MIB} for tags in self.tags]

    def volumes(self, label: str) -> list[dict[str, Any]]:
        """The stores, or what checkpoints consist of."""
        if label == "kubedrill.checkpoint":
            return [{"Name": f"a copy {number}", "Labels": labels} for number, labels in enumerate(self.checkpoints)]
        assert label == "kubedrill.store"
        return [{"Name": name} for name in self.stores]

    def volume_folder(self, _name: str) -> Path:
        """Where it is."""
        return self.folder

    def containers(self) -> list[dict[str, Any]]:
        """All of them."""
        return self.running

    def remove_image(self, tag: str) -> None:
        """Note it."""
        self.removed.append(tag)

    def remove_volume(self, name: str) -> None:
        """Note it, or refuse."""
        if name.startswith("kubedrill-store-busy"):
            raise KubedrillError("Docker's engine refused", evidence=["volume is in use"])
        self.removed.append(name)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path)


def real(engine: FakeEngine) -> Engine:
    return cast(Engine, engine)


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            (f"kubedrill/node:{OLD}", {OLD}),
            (f"kubedrill-store-v1.37.2-{OLD}.img", {OLD}),
            (f"{OLD}.tar {NEW}", {OLD, NEW}),
            ("sha256:" + "a" * 64, set()),
            ("lab-worker-1", set()),
            ("", set()),
        ],
    )  # fmt: skip
    def test_they_have_sixteen_digits(self, text: str, found: set[str]) -> None:
        assert pruning.addresses(text) == found

    def test_what_has_none_stays(self) -> None:
        builds = [Build("file", name, 1) for name in ("README", f"a-{OLD}", f"b-{NEW}")]
        assert pruning.superseded(builds, {NEW}) == [builds[1]]

    def test_checkpoints_use_what_their_nodes_were_made_of(self, engine: FakeEngine, tmp_path: Path) -> None:
        binds = [f"kubedrill-store-v1.36.5-{OLD}:/var/lib/kubedrill/stores/v1.36.5:ro"]
        index = json.dumps({"nodes": {"lab-worker-1": {"host": {"Binds": binds}}}})
        engine.checkpoints = [{"kubedrill.checkpoint": "a"}, {"kubedrill.checkpoint.index": index}]
        assert pruning.in_use(real(engine), tmp_path) == {OLD}

    def test_containers_and_vms_use_what_they_are_made_of(self, engine: FakeEngine, tmp_path: Path) -> None:
        mounts = [{"Name": f"kubedrill-store-v1.37.2-{OLD}"}, {"Source": "/lib"}]
        engine.running = [{"Image": f"kubedrill/node:{USED}", "Mounts": mounts}]
        (tmp_path / "lab").mkdir()
        (tmp_path / "lab" / "spec.json").write_text(f'{{"box": "kubedrill-{NEW}"}}')
        assert pruning.in_use(real(engine), tmp_path) == {USED, OLD, NEW}
        assert pruning.in_use(real(FakeEngine(tmp_path)), tmp_path / "none") == set()


class TestShelves:
    def test_images_of_ours_alone(self, engine: FakeEngine) -> None:
        engine.tags = [
            [f"kubedrill/node:{OLD}", f"mine:{OLD}"], None, [f"kubedrill/rootfs:debian-bookworm-{NEW}"], ["debian:12"],
            [f"kubedrill/checkpoint:{OLD}"],
        ]  # fmt: skip
        shelf = Images(real(engine))
        names = [f"kubedrill/node:{OLD}", f"kubedrill/rootfs:debian-bookworm-{NEW}"]
        assert shelf.builds() == [Build("image", name, 3) for name in names]
        shelf.remove(shelf.builds()[0])
        assert engine.removed == names[:1]

    def test_files_that_are_finished(self, tmp_path: Path) -> None:
        for name in (f"etcd-{OLD}", f".etcd-{NEW}"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "etcd").write_bytes(b"x" * 3 * pruning.MIB)
        for name in (f"etcd-{OLD}.lock", f"a-{OLD}.tar"):
            (tmp_path / name).write_text("")
        heard: list[Build] = []
        shelf = Files(tmp_path, "file", removed=heard.append)
        found = {build.name: build for build in shelf.builds()}
        assert set(found) == {f"etcd-{OLD}", f"a-{OLD}.tar"}
        assert 3 <= found[f"etcd-{OLD}"].mebibytes <= 4
        for build in found.values():
            shelf.remove(build)
        assert heard == list(found.values())
        assert sorted(path.name for path in tmp_path.iterdir()) == [f".etcd-{NEW}", f"etcd-{OLD}.lock"]

    def test_what_killed_builds_left(self, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not what may still be at work: its folder is old, what it writes into it is not."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        long_ago = time.time() - 25 * 3600
        for name, age in (
            ("components/.etcd-1a", long_ago),
            ("components/.etcd-2b", time.time()),
            (".store-3c", long_ago),
        ):
            place = tmp_path / "kubedrill" / name
            (place / "bin").mkdir(parents=True)
            (place / "bin" / "etcd").write_bytes(b"x" * 3 * pruning.MIB)
            for path, when in ((place / "bin" / "etcd", age), (place / "bin", long_ago), (place, long_ago)):
                os.utime(path, (when, when))
        places = pruning.shelves(real(engine), vagrant=tmp_path / "none", disks=tmp_path / "none", refresh=lambda: None)
        looked, _ = pruning.prune(places, (), dry=True)
        gone, refused = pruning.prune(places, (), dry=False)
        assert looked == gone
        assert [(one.kind, one.name) for one in gone] == [
            ("left by a killed build", ".etcd-1a"),
            ("left by a killed build", ".store-3c"),
        ]
        assert all(3 <= one.mebibytes <= 4 for one in gone)
        assert not refused
        assert [path.name for path in tmp_path.glob("kubedrill/**/.*")] == [".etcd-2b"]

    def test_a_folder_that_is_moved_meanwhile_is_at_work(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".etcd-1a").mkdir()
        os.utime(tmp_path / ".etcd-1a", (0, 0))
        shelf = pruning.Unfinished(tmp_path, "left")
        assert [one.name for one in shelf.builds()] == [".etcd-1a"]
        monkeypatch.setattr(Path, "rglob", lambda self, _: [self / "gone"])
        assert shelf.builds() == []

    def test_a_folder_that_is_not_there_is_empty(self, tmp_path: Path) -> None:
        assert Files(tmp_path / "none", "file").builds() == []
        assert pruning.Unfinished(tmp_path / "none", "left").builds() == []

    def test_every_place_of_this_machine(
        self, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        cached, disks, boxes = (tmp_path / part for part in ("cache/kubedrill/rootfs", "pool", "vagrant/boxes"))
        for folder in (cached, disks, boxes):
            folder.mkdir(parents=True)
            (folder / f"kubedrill-{OLD}").write_text("")
            (folder / f"kubedrill-{NEW}").write_text("")
        (disks / f"mine-{OLD}.img").write_text("")
        (disks / "kubedrill-lab-worker-1.img").write_text("")
        refreshed: list[int] = []
        places = pruning.shelves(
            real(engine), vagrant=tmp_path / "vagrant", disks=disks, refresh=lambda: refreshed.append(1)
        )
        gone, refused = pruning.prune(places, {NEW}, dry=False)
        assert [(build.kind, build.name) for build in gone] == [
            ("rootfs in the cache", f"kubedrill-{OLD}"),
            ("disk of VMs", f"kubedrill-{OLD}"),
            ("Vagrant's copy of a box", f"kubedrill-{OLD}"),
        ]
        assert (refused, refreshed) == ([], [1])
        assert len(list(disks.iterdir())) == 3


class TestPrune:
    def test_what_is_in_use_after_all_is_told_and_the_rest_goes(self, engine: FakeEngine) -> None:
        engine.stores = [
            f"kubedrill-store-busy-{OLD}",
            f"kubedrill-store-v1.36.5-{OLD}",
            f"kubedrill-store-v1.37.2-{NEW}",
        ]
        shelf = Stores(real(engine))
        gone, refused = pruning.prune([shelf], {NEW}, dry=False)
        assert [build.name for build in gone] == engine.removed == [f"kubedrill-store-v1.36.5-{OLD}"]
        assert len(refused) == 1
        assert "volume is in use" in refused[0]

    def test_a_look_removes_nothing(self, engine: FakeEngine) -> None:
        engine.stores = [f"kubedrill-store-v1.36.5-{OLD}"]
        gone, refused = pruning.prune([Stores(real(engine))], set(), dry=True)
        assert [build.name for build in gone] == engine.stores
        assert (engine.removed, refused) == ([], [])


class TestWanted:
    def test_each_name_has_its_address(self, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
        monkeypatch.setattr(building.rootfs, "choose", lambda: SUITE)
        names = building.wanted(real(engine), GO)
        assert all(len(pruning.addresses(name)) == 1 for name in names)
        text = " ".join(names)
        for part in ("kubedrill/node:", "kubedrill-store-v1.37", "kubedrill-store-v1.36"):
            assert text.count(part) >= 2, "of both sources"

    def test_what_was_just_built_stays(
        self, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(building, "compiler_or_none", lambda: GO)
        monkeypatch.setattr(building.rootfs, "choose", lambda: SUITE)
        monkeypatch.setattr(machine_commands.rootfs, "choose", lambda: SUITE)
        monkeypatch.setattr(machine_commands.cluster, "lab", lambda _console: type("Lab", (), {"engine": engine}))
        monkeypatch.setattr(pruning, "shelves", lambda *_, **__: [Images(real(engine))])
        current = next(name for name in building.wanted(real(engine), GO) if name.startswith("kubedrill/node:"))
        kind = machine_commands.kind.name("1.37", SUITE, GO)
        engine.tags = [[current], [f"kubedrill/node:{OLD}"], [kind]]
        assert machine_commands.prune(Console(), dry=False) == 0
        assert engine.removed == [f"kubedrill/node:{OLD}"]
        assert "3 MiB are free again" in capsys.readouterr().out
        engine.tags = [[current]]
        assert machine_commands.prune(Console(), dry=False) == 0
        assert "nothing is superseded" in capsys.readouterr().out
