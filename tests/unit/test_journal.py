"""What must be undone, on disk: written whole or not at all, read back exactly, and never read past."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kubedrill import journal_folders, paths
from kubedrill.errors import Busy
from kubedrill.faults.actions import Command, Power, StateIs
from kubedrill.journal import Entry, Journal, Owner

ME = Owner(100, 5000, "boot-1")
UNDO = (
    Command("lab-worker-1", ("nft", "-f", "-"), stdin="table x {\n}\n", timeout=5.5, until_boot=True),
    Power("lab-worker-1", "start"),
)
HEALED = (StateIs("lab-worker-1", "running"), Command("@control-plane", ("true",)))


def entry_of(notes: Journal, fault: str = "kill the node x", mark: str = "aabbccdd") -> Entry:
    return notes.entry(mark, fault, "netem", UNDO, HEALED)


@pytest.fixture
def notes(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal" / "lab", ME)


def process(proc: Path, pid: int, state: str = "S", started: int = 5000, name: str = "python3") -> Path:
    """A process in a procfs of our own."""
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    fields = [state, *["0"] * 18, str(started), *["0"] * 30]
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    boot = proc / "sys/kernel/random"
    boot.mkdir(parents=True, exist_ok=True)
    (boot / "boot_id").write_text("boot-1\n")
    return proc


class TestFiles:
    def test_what_is_written_is_read(self, notes: Journal) -> None:
        entry = entry_of(notes)
        assert not notes.has(entry)
        assert notes.is_empty()
        notes.write(entry)
        assert notes.has(entry)
        assert notes.read() == ((entry,), ())
        assert [path.name for path in notes.folder.iterdir()] == ["0001-aabbccdd.json"]
        notes.remove(entry)
        notes.remove(entry)
        assert notes.is_empty()

    def test_entries_are_numbered_in_their_order(self, notes: Journal) -> None:
        for number in range(12):
            notes.write(entry_of(notes, f"fault {number}", f"{99 - number:08x}"))
        assert [entry.fault for entry in notes.read()[0]] == [f"fault {number}" for number in range(12)]
        notes.remove(notes.read()[0][0])
        assert entry_of(notes).number == 13

    def test_it_is_on_disk_before_it_has_its_name(self, notes: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[str] = []
        real = os.fsync

        def fsync(handle: int) -> None:
            target = Path(f"/proc/self/fd/{handle}").readlink()
            synced.append("folder" if target.is_dir() else f"file, named yet: {not notes.is_empty()}")
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)
        notes.write(entry_of(notes))
        assert synced == ["file, named yet: False", "folder", "folder"]

    def test_a_write_that_fails_leaves_nothing(self, notes: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            notes.write(entry_of(notes))
        assert list(notes.folder.iterdir()) == []

    def test_an_unfinished_file_is_no_entry(self, notes: Journal) -> None:
        notes.folder.mkdir(parents=True)
        (notes.folder / ".0001-aabbccdd-1234").write_text("{")
        assert notes.is_empty()
        assert notes.read() == ((), ())

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda _: "",
            lambda text: text[: len(text) // 2],
            lambda _: "[]",
            lambda _: "{}",
            lambda text: text.replace('"Power"', '"Bomb"'),
            lambda text: text.replace('"start"', '"explode"'),
            lambda text: text.replace('"argv"', '"words"'),
            lambda text: json.dumps({**json.loads(text), "undo": "all"}),
            lambda text: json.dumps({**json.loads(text), "undo": json.loads(text)["healed"]}),
            lambda text: json.dumps({**json.loads(text), "healed": json.loads(text)["undo"]}),
            lambda text: json.dumps({**json.loads(text), "undo": [{"kind": "Power", "do": "start"}]}),
            lambda text: json.dumps({**json.loads(text), "owner": None}),
        ],
    )
    def test_a_broken_file_is_told_and_the_others_are_read(self, notes: Journal, spoil: object) -> None:
        first, second = entry_of(notes), entry_of(notes)
        notes.write(first)
        second = entry_of(notes, "the other")
        notes.write(second)
        path = notes.folder / f"{first.id}.json"
        assert callable(spoil)
        path.write_text(spoil(path.read_text()))
        entries, broken = notes.read()
        assert entries == (second,)
        assert len(broken) == 1
        assert str(path) in broken[0]

    def test_bytes_that_are_no_text(self, notes: Journal) -> None:
        notes.folder.mkdir(parents=True)
        (notes.folder / "0001-x.json").write_bytes(b"\xff\xfe\x00")
        assert len(notes.read()[1]) == 1


class TestOwner:
    def test_me(self) -> None:
        me = Owner.me()
        assert me == Owner.me()
        assert me.is_alive()
        assert me.pid == os.getpid()

    def test_alive(self, tmp_path: Path) -> None:
        assert ME.is_alive(process(tmp_path, 100))

    @pytest.mark.parametrize("name", ["a b", "(a) b", "a) S 1 2", "))) ((("])
    def test_whatever_the_name_of_its_program(self, tmp_path: Path, name: str) -> None:
        assert ME.is_alive(process(tmp_path, 100, name=name))

    def test_gone(self, tmp_path: Path) -> None:
        assert not ME.is_alive(process(tmp_path, 101))

    def test_ended_but_not_waited_for(self, tmp_path: Path) -> None:
        assert not ME.is_alive(process(tmp_path, 100, state="Z"))

    def test_a_later_process_with_its_number(self, tmp_path: Path) -> None:
        assert not ME.is_alive(process(tmp_path, 100, started=5001))

    def test_after_a_reboot(self, tmp_path: Path) -> None:
        assert not Owner(100, 5000, "boot-0").is_alive(process(tmp_path, 100))


class TestClaim:
    def test_what_is_mine_or_of_the_dead(self, tmp_path: Path) -> None:
        mine = Journal(tmp_path, Owner.me())
        dead = Journal(tmp_path, ME)
        mine.write(entry_of(mine, "mine"))
        dead.write(entry_of(dead, "theirs"))
        entries, broken = mine.claim()
        assert [entry.fault for entry in entries] == ["mine", "theirs"]
        assert broken == ()

    def test_what_is_of_the_living(self, tmp_path: Path) -> None:
        theirs = Journal(tmp_path, Owner.me())
        theirs.write(entry_of(theirs, "drop packets"))
        with pytest.raises(Busy, match="drop packets") as caught:
            Journal(tmp_path, ME).claim()
        assert str(os.getpid()) in str(caught.value)


class TestForget:
    def test_the_cluster_is_gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        lab, other = Journal.of("lab"), Journal.of("other")
        assert lab.folder == paths.state() / "journal" / "lab"
        for notes in (lab, other):
            notes.write(entry_of(notes))
        assert journal_folders.forget("lab") is True
        assert lab.is_empty()
        assert not other.is_empty()
        assert journal_folders.forget("lab") is False

    def test_a_name_that_leads_elsewhere(self) -> None:
        with pytest.raises(ValueError, match="no name"):
            journal_folders.forget("../../x")
