"""The plugin that waits for flannel's lease: the script of the node image, run with paths of a test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubedrill import paths, shell

Run = Callable[[str, int], shell.Result]


@pytest.fixture
def plugin(tmp_path: Path) -> Run:
    """Starts the script; the bridge that it becomes repeats what it is told, and kube-proxy answers at once."""
    text = (paths.repository() / "images/files/opt/cni/bin/kubedrill-bridge").read_text()
    for path, instead in {
        "/opt/cni/bin/bridge": tmp_path / "bridge",
        "/run/flannel/subnet.env": tmp_path / "subnet.env",
        "left=600": "left=$TENTHS",
    }.items():
        assert path in text
        text = text.replace(path, str(instead))
    programs = {"kubedrill-bridge": text, "bridge": '#!/bin/sh\necho "$CNI_COMMAND $(cat)"\n', "curl": "#!/bin/sh\n"}
    for name, content in programs.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)

    def run(command: str, tenths: int) -> shell.Result:
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CNI_COMMAND": command, "TENTHS": str(tenths)}
        script = [str(tmp_path / "kubedrill-bridge")]
        return shell.run(script, env=env, stdin="the configuration", check=False, timeout=20)

    return run


def test_with_a_lease_it_is_the_bridge(plugin: Run, tmp_path: Path) -> None:
    (tmp_path / "subnet.env").write_text("FLANNEL_SUBNET=10.244.1.1/24\n")
    assert plugin("ADD", 0).stdout == "ADD the configuration\n"


def test_a_pod_that_is_removed_waits_for_nothing(plugin: Run) -> None:
    assert plugin("DEL", 0).stdout == "DEL the configuration\n"


def test_after_a_boot_it_waits_for_the_lease(plugin: Run, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(plugin, "ADD", 600)
        with pytest.raises(TimeoutError):
            said.result(0.3)
        (tmp_path / "subnet.env").write_text("FLANNEL_SUBNET=10.244.1.1/24\n")
        assert said.result(20).stdout == "ADD the configuration\n"


def test_without_a_lease_it_fails_as_a_plugin_does(plugin: Run) -> None:
    result = plugin("ADD", 1)
    assert result.status == 1
    said = json.loads(result.stdout)
    assert said["code"] == 11  # try again later: https://www.cni.dev/docs/spec/#error
    assert "no lease" in said["msg"]
