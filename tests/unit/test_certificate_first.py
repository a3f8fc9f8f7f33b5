"""What a worker's kubelet does before its first start: a script of the node image, and the word it may wait for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubedrill import join_phases, paths, shell
from kubedrill.errors import TimedOut
from kubedrill.wait import until

Run = Callable[[], shell.Result]
FLAGS = ["--bootstrap-kubeconfig=b", "--config=c"]
FETCHES = "--bootstrap-kubeconfig=b --config=c --rotate-certificates=false --container-runtime-endpoint=none:\n"


def put(folder: Path, name: str) -> None:
    """An empty file, by its path in a node."""
    (folder / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    (folder / name.lstrip("/")).touch()


@pytest.fixture
def script(tmp_path: Path) -> Run:
    """Starts it, in a node that is a folder; its kubelet repeats its arguments."""
    text = (paths.repository() / "images/files/usr/local/sbin/kubedrill-certificate").read_text()
    for path in (join_phases.CERTIFICATE_FIRST, join_phases.HELD, "/etc/kubernetes/kubelet.conf", "/usr/bin/kubelet",
                 "/run/kubedrill-turn"):  # fmt: skip
        assert text.count(f" {path} ") + text.count(f" {path}\n") == 1, path
        text = text.replace(path, f"{tmp_path}{path}")
    for name, content in {"script": text, "usr/bin/kubelet": '#!/bin/sh\necho "$@"\n'}.items():
        put(tmp_path, name)
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/kubedrill-turn")
    return lambda: shell.run([str(tmp_path / "script"), *FLAGS], env=dict(os.environ), timeout=20)


def word(folder: Path) -> None:
    """Says that it may go on, as `up` does."""
    shell.run([text.replace(" /", f" {folder}/").replace(">/", f">{folder}/") for text in join_phases.TURN], timeout=20)


def test_it_does_nothing_where_it_is_not_asked_to(script: Run) -> None:
    assert script().stdout == ""


def test_it_fetches_the_certificate(script: Run, tmp_path: Path) -> None:
    put(tmp_path, join_phases.CERTIFICATE_FIRST)
    assert script().stdout == FETCHES


def test_a_kubelet_that_has_its_kubeconfig_starts_as_ever(script: Run, tmp_path: Path) -> None:
    put(tmp_path, join_phases.CERTIFICATE_FIRST)
    put(tmp_path, "/etc/kubernetes/kubelet.conf")
    assert script().stdout == ""


def test_it_waits_where_it_is_held(script: Run, tmp_path: Path) -> None:
    put(tmp_path, join_phases.CERTIFICATE_FIRST)
    put(tmp_path, join_phases.HELD)
    turn = tmp_path / "run/kubedrill-turn"

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(script)
        with pytest.raises(TimedOut):
            until(running.done, lambda ended: (ended, "it waits"), within=0.3, every=0.05, what="its end")
        word(tmp_path)
        assert running.result(timeout=10).stdout == FETCHES
    assert not turn.exists()
    assert not (tmp_path / join_phases.HELD.lstrip("/")).exists()


def test_a_word_that_comes_before_is_heard_too(script: Run, tmp_path: Path) -> None:
    put(tmp_path, join_phases.CERTIFICATE_FIRST)
    put(tmp_path, join_phases.HELD)
    word(tmp_path)
    assert script().stdout == FETCHES


def test_the_pipe_is_there_from_boot_on_and_the_unit_calls_the_script() -> None:
    files = paths.repository() / "images/files/etc"
    assert "p /run/kubedrill-turn 0600" in (files / "tmpfiles.d/kubedrill.conf").read_text().splitlines()
    unit = (files / "systemd/system/kubelet.service").read_text().splitlines()
    [before] = [line for line in unit if line.startswith("ExecStartPre=")]
    assert before.startswith("ExecStartPre=-/usr/local/sbin/kubedrill-certificate "), "where it fails, all is as ever"
    [start] = [line for line in unit if line.startswith("ExecStart=")]
    assert set(before.split()[1:]) < set(start.split()), "with the flags that say who it is and whom it asks"
