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
    ended = shell.start_daemon(_up("1"), log)
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


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_up_that_is_interrupted_cleans_up(
    place: Lab, console: Console, user_config: Path, sent: signal.Signals, status: int
) -> None:
    """Ctrl-C, or a CI server's cancel: the nodes are removed at once, and the exit status says why."""
    log = user_config.with_name(f"interrupted-{status}.log")
    # Where the tests run in the background, a child would inherit that SIGINT is ignored.
    ended = shell.start_daemon(["env", "--default-signal=INT", *_up("0")], log)
    try:
        until(
            lambda: log.read_text(), lambda text: ("control-plane-1: started" in text, text[-300:]), within=120,
            what="the first node of a cluster",
        )  # fmt: skip
        os.kill(ended.pid, sent)
        code = until(ended, lambda code: (code is not None, "still there"), within=60, what="its end")
        assert code == status
        assert "were removed" in log.read_text()
        assert NAME not in place.provider.clusters()
    finally:
        cluster.down(place.provider, NAME, console)


def _up(workers: str) -> list[str]:
    root = f"--search-root={paths.repository()}"
    return [sys.executable, "-m", "invoke", root, "up", "--name", NAME, "--workers", workers]
