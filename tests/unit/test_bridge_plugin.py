"""Who writes the CNI configuration, and the plugin that waits for flannel's lease: scripts of the node image."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kubedrill import paths, shell

Run = Callable[..., shell.Result]
LEASE = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"


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
    programs = {
        "kubedrill-bridge": text,
        "bridge": '#!/bin/sh\necho "$CNI_COMMAND $(cat)"\nexit "${ENDS:-0}"\n',
        "curl": "#!/bin/sh\n",
    }
    for name, content in programs.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)

    def run(command: str, tenths: int, told: str = "the configuration") -> shell.Result:
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CNI_COMMAND": command, "TENTHS": str(tenths)}
        script = [str(tmp_path / "kubedrill-bridge")]
        return shell.run(script, env=env, stdin=told, check=False, timeout=20)

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


@pytest.fixture
def write(tmp_path: Path) -> Callable[[], dict[str, Any] | None]:
    """Runs the script that writes the configuration; gives what is there afterwards."""
    text = (paths.repository() / "images/files/usr/local/sbin/kubedrill-cni").read_text()
    for path, instead in {"/etc/cni/net.d": tmp_path / "net.d", "/run/flannel": tmp_path}.items():
        assert path in text
        text = text.replace(path, str(instead))
    script, there = tmp_path / "kubedrill-cni", tmp_path / "net.d/10-flannel.conflist"
    script.write_text(text)

    def run() -> dict[str, Any] | None:
        shell.run(["sh", str(script)], timeout=20)
        assert [path.name for path in there.parent.iterdir()] == [there.name], "nothing else that a runtime would read"
        return json.loads(there.read_text())  # type: ignore[no-any-return]

    return run


def as_told(configuration: dict[str, Any]) -> str:
    """One plugin's part, as the runtime gives it: compact, with what the list says of all of them."""
    first = configuration["plugins"][0]
    told = {**first, "name": configuration["name"], "cniVersion": configuration["cniVersion"], "prevResult": {"mtu": 0}}
    return json.dumps(told, separators=(",", ":"), sort_keys=True)


class TestConfiguration:
    def test_before_the_lease_the_plugin_puts_it_in(
        self, write: Callable[[], dict[str, Any]], plugin: Run, tmp_path: Path
    ) -> None:
        """What it becomes is what is written with a lease."""
        early = as_told(write())
        (tmp_path / "subnet.env").write_text(LEASE)
        command, _, became = plugin("ADD", 0, early).stdout.partition(" ")
        assert command == "ADD"
        assert json.loads(became) == json.loads(as_told(write()))
        assert "10.244.1.0/24" in became
        assert json.loads(became)["mtu"] == 1450

    def test_a_pod_that_never_got_anything_is_removed(self, write: Callable[[], dict[str, Any]], plugin: Run) -> None:
        result = plugin("DEL", 0, as_told(write()))
        assert (result.status, result.stdout) == (0, "")

    def test_what_is_taken_back_later_is_found(
        self, write: Callable[[], dict[str, Any]], plugin: Run, tmp_path: Path
    ) -> None:
        early = as_told(write())
        (tmp_path / "subnet.env").write_text(LEASE)
        assert "10.244.1.0/24" in plugin("DEL", 0, early).stdout

    def test_after_a_boot_that_of_the_lease_before_stays(
        self, write: Callable[[], dict[str, Any]], tmp_path: Path
    ) -> None:
        (tmp_path / "subnet.env").write_text(LEASE)
        with_lease = write()
        (tmp_path / "subnet.env").unlink()
        assert write() == with_lease

    def test_another_lease_is_taken(self, write: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
        (tmp_path / "subnet.env").write_text(LEASE)
        write()
        (tmp_path / "subnet.env").write_text(LEASE.replace("10.244.1.1", "10.244.7.1"))
        assert write()["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.7.0/24"}]]


def test_a_bridge_that_fails_fails(plugin: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDS", "7")
    (tmp_path / "subnet.env").write_text(LEASE)
    assert plugin("ADD", 0).status == 7
