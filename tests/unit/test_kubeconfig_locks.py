"""The user's kubeconfig while several write it: nothing is lost, locks are kept, and the killed block nobody."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kubeconfigs
import pytest
import yaml
from kubeconfigs import ADMIN, FOREIGN, SERVER, files, names, read

from kubedrill import kubeconfig, kubeconfig_lock
from kubedrill.errors import Busy, KubedrillError
from kubedrill.wait import until

own_state, impatient, config = kubeconfigs.own_state, kubeconfigs.impatient, kubeconfigs.config  # fixtures


# --- several at once


def in_processes(count: int, work: Callable[[int], None]) -> list[int | None]:
    """Run `work` in that many processes that begin together; their exit statuses."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(count)

    def body(number: int) -> None:
        gate.wait()
        work(number)

    processes = [context.Process(target=body, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_eight_processes_at_once_lose_nothing(config: Path) -> None:
    config.write_text(FOREIGN)
    statuses = in_processes(8, lambda number: kubeconfig.merge_into(config, f"c{number}", ADMIN, SERVER))
    assert statuses == [0] * 8
    assert sorted(kubeconfig.entries(config)) == [f"c{number}" for number in range(8)]
    for key in ("clusters", "contexts", "users"):
        found = names(config.read_text(), key)
        assert found[: len(read(FOREIGN)[key])] == names(FOREIGN, key)
        assert len(found) == len(set(found)) == len(read(FOREIGN)[key]) + 8
    assert files(config.parent) == ["config"]


def test_eight_threads_at_once_lose_nothing(config: Path) -> None:
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait(30)
        kubeconfig.merge_into(config, f"c{number}", ADMIN, SERVER)
        if number % 2:
            kubeconfig.remove_from(config, f"c{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(kubeconfig.entries(config)) == ["c0", "c2", "c4", "c6"]
    assert files(config.parent) == ["config"]


def kubectl_set_context(config: Path, name: str) -> bool:
    """What `kubectl config set-context` does to files (client-go, loader.go); False where it would fail."""
    lock = config.with_name("config.lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except FileExistsError:
        return False
    loaded = yaml.safe_load(config.read_text())
    loaded["contexts"].append({"name": name, "context": {}})
    config.write_text(yaml.safe_dump(loaded))
    lock.unlink()
    return True


def test_a_kubectl_at_the_same_time_loses_nothing(config: Path) -> None:
    config.write_text("clusters: []\ncontexts: []\nusers: []\n")
    gate = threading.Barrier(2)

    def kubectl() -> None:
        gate.wait(30)
        for number in range(20):
            until(
                lambda name=f"k{number}": kubectl_set_context(config, name),  # type: ignore[misc]
                lambda done: (done, "locked"),
                within=30,
                what="kubectl",
                every=0.001,
            )

    def kubedrill() -> None:
        gate.wait(30)
        for number in range(20):
            kubeconfig.merge_into(config, f"c{number}", ADMIN, SERVER)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(kubectl), pool.submit(kubedrill)]:
            future.result()
    expected = {f"k{number}" for number in range(20)} | {f"kubedrill-c{number}" for number in range(20)}
    assert set(names(config.read_text(), "contexts")) == expected


# --- locks


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mark", ["", "somebody 1\n", "kubedrill elsewhere 999999999\n", "kubedrill 999999999\n"])
def test_a_foreign_lock_is_waited_for_and_never_removed(mark: str, config: Path) -> None:
    config.write_text(FOREIGN)
    lock = config.with_name("config.lock")
    lock.write_text(mark)
    lock.chmod(0)
    os.utime(lock, (lock.stat().st_atime, lock.stat().st_mtime - 90))
    with pytest.raises(Busy) as caught:
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert str(lock) in caught.value.evidence[0]
    assert "9" in caught.value.evidence[0].split("exists, it is ")[1]
    assert f"rm {lock}" in caught.value.todo[0]
    assert lock.exists()
    assert config.read_text() == FOREIGN
    assert files(config.parent) == ["config", "config.lock"]


def test_a_lock_that_is_let_go_in_time_is_no_error(config: Path) -> None:
    lock = config.with_name("config.lock")
    lock.touch()
    with ThreadPoolExecutor(1) as pool:
        merging = pool.submit(kubeconfig.merge_into, config, "lab", ADMIN, SERVER)
        with pytest.raises(TimeoutError):
            merging.result(timeout=0.2)
        assert not config.exists()
        lock.unlink()
        merging.result(timeout=10)
    assert kubeconfig.entries(config) == ["lab"]


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_living_kubedrill_is_kept(config: Path) -> None:
    lock = config.with_name("config.lock")
    lock.write_text(f"kubedrill {platform.node()} {os.getppid()}\n")
    with pytest.raises(Busy, match=str(os.getppid())):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert lock.exists()


@pytest.mark.usefixtures("impatient")
def test_another_kubedrill_that_takes_too_long_is_busy(config: Path) -> None:
    with (
        kubeconfig_lock.held(config),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Busy, match="another kubedrill"),
    ):
        pool.submit(kubeconfig.merge_into, config, "lab", ADMIN, SERVER).result()
    assert not config.exists()
    assert files(config.parent) == []


def test_the_lock_says_whose_it_is_while_it_is_held(config: Path) -> None:
    lock = config.with_name("config.lock")
    with kubeconfig_lock.held(config):
        assert lock.read_text() == f"kubedrill {platform.node()} {os.getpid()}\n"
        assert files(config.parent) == ["config.lock"]
        assert not kubectl_set_context(config, "refused")
    assert files(config.parent) == []


def test_a_lock_that_became_anothers_is_not_removed(config: Path) -> None:
    lock = config.with_name("config.lock")
    with kubeconfig_lock.held(config):
        lock.unlink()
        lock.touch()
    assert lock.exists()


def test_without_hard_links_the_lock_is_still_exclusive(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert kubeconfig.entries(config) == ["lab"]
    assert files(config.parent) == ["config"]
    monkeypatch.setattr(kubeconfig_lock, "PATIENCE", 0.1)
    config.with_name("config.lock").touch()
    with pytest.raises(Busy):
        kubeconfig.merge_into(config, "lab2", ADMIN, SERVER)


def test_a_lock_that_cannot_be_made_is_one_clear_error(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(KubedrillError, match="No space left"):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert files(config.parent) == []


def die_with_the_lock(config: Path) -> None:
    with kubeconfig_lock.held(config):
        os.kill(os.getpid(), signal.SIGKILL)


def die_before_the_rename(config: Path) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = die  # type: ignore[assignment]  # of this process, which ends here
    kubeconfig.merge_into(config, "dead", ADMIN, SERVER)


@pytest.mark.parametrize("die", [die_with_the_lock, die_before_the_rename])
def test_a_killed_kubedrill_blocks_and_damages_nothing(die: Callable[[Path], None], config: Path) -> None:
    config.write_text(FOREIGN)
    assert in_processes(1, lambda _: die(config)) == [-signal.SIGKILL]
    assert config.with_name("config.lock").exists()
    assert config.read_text() == FOREIGN
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert config.read_text() == kubeconfig.merge(FOREIGN, "lab", ADMIN, SERVER)
    assert not config.with_name("config.lock").exists()


def test_the_lock_of_a_zombie_is_taken_over(config: Path) -> None:
    """A killed process whose parent has not asked for its status yet still has its number."""
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        config.with_name("config.lock").write_text(f"kubedrill {platform.node()} {child}\n")
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
        assert files(config.parent) == ["config"]
    finally:
        os.waitpid(child, 0)


def test_the_lock_of_an_earlier_process_of_our_number_is_taken_over(config: Path) -> None:
    config.with_name("config.lock").write_text(f"kubedrill {platform.node()} {os.getpid()}\n")
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert files(config.parent) == ["config"]


def test_old_temporary_files_of_killed_processes_are_removed(config: Path) -> None:
    old, young, others = (config.with_name(name) for name in (".config.kubedrill-a", ".config.kubedrill-b", ".x"))
    for path in (old, young, others):
        path.write_text("token")
    for path in (old, others):
        os.utime(path, (1.0, 1.0))
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert files(config.parent) == [young.name, others.name, "config"]
