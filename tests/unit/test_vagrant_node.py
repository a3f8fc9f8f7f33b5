"""A VM that is there: its commands, files and states."""

from __future__ import annotations

from pathlib import Path

import pytest
import vm_world
from vm_world import World

from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers import vagrant_node
from kubedrill.providers.base import File, NodeSpec, State
from kubedrill.shell import Result

world = vm_world.world  # a fixture


class TestCommands:
    def test_a_status_is_an_error_with_a_line_to_paste(self, world: World) -> None:
        node = world.node()
        world.answers["false"] = Result(3, "out", "err")
        with pytest.raises(CommandFailed) as caught:
            node.run(["false", "a b"])
        assert caught.value.status == 3
        assert "vagrant ssh lab-worker-1 -c" in caught.value.command
        assert node.run(["false"], check=False).status == 3

    def test_a_limit_is_kept_in_the_vm(self, world: World) -> None:
        world.node().run(["sleep", "9"], timeout=2.5)
        assert world.said[-1] == "timeout --kill-after=5 2.5 sleep 9"

    def test_one_that_is_off_is_not_asked(self, world: World) -> None:
        node = world.node()
        node.kill()
        before = list(world.said)
        for ask in (lambda: node.run(["true"]), lambda: node.write([File("/x", "x")])):
            with pytest.raises(NotFound, match="does not run"):
                ask()
        assert world.said == before

    def test_one_that_runs_but_does_not_answer(self, world: World) -> None:
        node = world.node()
        world.reachable = False
        with pytest.raises(NotFound, match="runs but does not answer"):
            node.run(["true"])

    def test_one_that_is_paused_is_not_asked(self, world: World) -> None:
        node = world.node()
        node.pause()
        with pytest.raises(KubedrillError, match="paused"):
            node.run(["true"])
        with pytest.raises(KubedrillError, match="paused"):
            node.start()
        node.resume()
        assert "rtc0" in world.said[-1], "its clock stood still meanwhile"

    @pytest.mark.parametrize(
        ("result", "expected"),
        [
            (Result(0, "", ""), b"a tar"),
            (Result(1, "", "tar: journal: file changed as we read it\n"), b"a tar"),
            (Result(2, "", "tar: nothing: Cannot stat: No such file or directory\n"), NotFound),
            (Result(2, "", "tar: Write error\n"), CommandFailed),
        ],
    )
    def test_reading_a_tree(self, world: World, result: Result, expected: bytes | type[Exception]) -> None:
        node = world.node()
        world.answers["tar"] = result
        if isinstance(expected, bytes):
            assert node.read_tree("/var/log/pods") == expected
            assert world.said[-1] == "tar --create --file=- --directory /var/log -- pods"
            return
        with pytest.raises(expected):
            node.read_tree("/var/log/pods")

    def test_a_file_that_does_not_arrive_is_an_error(self, world: World, tmp_path: Path) -> None:
        node = world.node()
        (tmp_path / "source").touch()
        node.send(tmp_path / "source", "/var/lib/a b/file")
        assert "mkdir -p '/var/lib/a b' && cat >'/var/lib/a b/file'" in world.said[-1]
        world.answers["copy"] = Result(1, "", "No space left on device")
        with pytest.raises(CommandFailed, match="1"):
            node.send(tmp_path / "source", "/var/lib/file")

    def test_the_terminal_of_a_control_plane_knows_the_kubeconfig(self, world: World) -> None:
        provider = world.cluster()
        leader = provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.31.9.11", world.box))
        assert "KUBECONFIG" in leader.shell_argv(["bash"])


class TestStates:
    def test_down_in_order_and_up_again(self, world: World) -> None:
        node = world.node()
        node.stop()
        node.stop()
        assert node.state() == "stopped"
        assert "systemctl --no-block poweroff" in world.said
        world.networks["kubedrill-lab"] = False
        node.start()
        node.start()
        assert node.state() == "running"
        assert world.networks["kubedrill-lab"], "after a boot of this machine no network is active"

    def test_one_that_cannot_be_told_to_stop_is_switched_off(self, world: World) -> None:
        node = world.node()
        world.reachable = False
        node.stop()
        assert node.state() == "stopped"

    def test_a_start_waits_for_ssh(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        node = world.node()
        node.kill()
        monkeypatch.setattr(vagrant_node, "BOOT_TIMEOUT", 0.05)
        world.reachable = False
        with pytest.raises(KubedrillError, match="the boot of lab-worker-1"):
            node.start()

    def test_a_stopped_node_is_read_from_its_disk(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        node = world.node()
        node.kill()

        class FakeOffline:
            def __init__(self, disk: Path, folder: Path, name: str) -> None:
                self.name = name

            def tree(self, path: str) -> bytes:
                return f"{self.name}:{path}".encode()

            def journal(self, options: list[str]) -> str:
                return f"journal of {self.name}"

        monkeypatch.setattr(vagrant_node, "Offline", FakeOffline)
        assert node.read_tree("/etc") == b"lab-worker-1:/etc"
        assert node.journal() == "journal of lab-worker-1"

    def test_the_journal_of_a_running_node_is_on_its_disk_first(self, world: World) -> None:
        world.node().journal()
        assert "journalctl --sync" in world.said[-1]

    @pytest.mark.parametrize("state", ["running", "paused", "stopped"])
    def test_removal_whatever_the_state(self, world: World, state: State) -> None:
        node = world.node()
        world.vms["kubedrill-lab-worker-1"] = state
        (world.home / "lab" / "lab-worker-1.console").touch()
        node.remove()
        node.remove()
        assert world.vms == {}
        assert not (world.home / "lab" / "lab-worker-1.console").exists()
        with pytest.raises(NotFound):
            node.state()


def test_a_tar_has_what_is_written(world: World) -> None:
    world.node().write([File("/etc/x", "é", 0o640)])
    assert world.written["/etc/x"] == "640 é"
