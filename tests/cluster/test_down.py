"""After `down` nothing is left, whatever happened before."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from kubedrill import cluster, kubeconfig, paths, shell
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
NAME = f"gone-{os.getpid()}"


def test_down_after_a_kill_in_the_middle_of_up(place: Lab, console: Console, user_config: Path, tmp_path: Path) -> None:
    """kill -9 while kubeadm runs; the next up would begin afresh, and down leaves nothing."""
    log = tmp_path / "up.log"
    command = [
        sys.executable,
        "-m",
        "invoke",
        f"--search-root={paths.repository()}",
        "up",
        "--name",
        NAME,
        "--workers",
        "1",
    ]
    ended = shell.start_daemon(command, log)
    try:
        node = f"{NAME}-control-plane-1"
        until(
            lambda: log.read_text(), lambda text: (f"{node}: started" in text, text[-300:]), within=120,
            what="the first node of a cluster",
        )  # fmt: skip
        os.kill(ended.pid, signal.SIGKILL)
        until(ended, lambda status: (status is not None, "still there"), within=10, what="the end of the killed run")
        assert place.provider.nodes(NAME)
    finally:
        cluster.down(place.provider, NAME, console)
    label = f"kubedrill.cluster={NAME}"
    assert not place.engine.containers(label)
    assert not place.engine.volumes(label)
    assert not place.engine.networks(label)
    assert NAME not in kubeconfig.entries(user_config)


def test_an_interrupted_up_is_begun_anew(place: Lab, console: Console, user_config: Path) -> None:
    """Ctrl-C: the nodes are removed at once, and the exit status says that it was interrupted."""
    log = user_config.with_name("interrupted.log")
    command = [
        sys.executable,
        "-m",
        "invoke",
        f"--search-root={paths.repository()}",
        "up",
        "--name",
        NAME,
        "--workers",
        "0",
    ]
    ended = shell.start_daemon(command, log)
    try:
        until(
            lambda: log.read_text(), lambda text: ("control-plane-1: started" in text, text[-300:]), within=120,
            what="the first node of a cluster",
        )  # fmt: skip
        os.kill(ended.pid, signal.SIGINT)
        status = until(ended, lambda code: (code is not None, "still there"), within=60, what="its end")
        assert status == 130
        assert "were removed" in log.read_text()
        assert NAME not in place.provider.clusters()
    finally:
        cluster.down(place.provider, NAME, console)
