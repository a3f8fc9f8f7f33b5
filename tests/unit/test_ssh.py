"""Commands over one ssh connection that is kept."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from kubedrill import shell
from kubedrill.errors import CommandFailed
from kubedrill.providers.ssh import Ssh, Unreachable
from kubedrill.shell import Result

ODD = ["", " ", "it's", '"quoted"', "$HOME `id`", "a\nb", "; exit 7", "é✓"]


class Client:
    """Stands for the ssh program: a master makes the socket, `-O check` looks for it, all else runs here in a shell."""

    def __init__(self) -> None:
        self.answers, self.calls = True, list[list[str]]()
        self.breaks: int | None = None

    def socket(self) -> Path:
        """Where the client was told to listen."""
        return Path(next(word for word in self.calls[-1] if "ControlPath" in word).partition("=")[2])

    def run(self, argv: list[str], *, stdin: str | None = None, **_: Any) -> Result:
        self.calls.append(argv)
        assert argv[:3] == ["ssh", "-F", "none"]
        if "-N" in argv:
            if self.answers:
                self.socket().touch()
            return Result(0, "", "") if self.answers else Result(255, "", "ssh: connect to host: No route to host\n")
        if "check" in argv:
            return Result(0 if self.socket().exists() and self.answers else 255, "", "")
        if "exit" in argv:
            self.socket().unlink(missing_ok=True)
            return Result(0, "", "")
        if self.breaks is not None:
            return Result(self.breaks, "", "Connection reset\n")
        # Only echo of arguments: nothing of this machine is touched.
        assert shlex.split(argv[-1])[:2] == ["exec", "printf"] or "env" in argv[-1]
        return shell.run(["sh", "-c", argv[-1]], stdin=stdin, check=False)

    def masters(self) -> int:
        return sum("-N" in call for call in self.calls)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "key").touch()
    return Client()


def way(client: Client, tmp_path: Path, **more: Any) -> Ssh:
    return Ssh("172.28.7.11", [tmp_path / "key", tmp_path / "no-key"], tmp_path / "known", run=client.run, **more)


def test_odd_characters_reach_the_program(client: Client, tmp_path: Path) -> None:
    result = way(client, tmp_path).command(["printf", "<%s>", *ODD])
    assert result.stdout == "".join(f"<{word}>" for word in ODD)


def test_one_connection_serves_many_commands(client: Client, tmp_path: Path) -> None:
    ssh = way(client, tmp_path)
    for _ in range(3):
        ssh.command(["printf", "x"])
    assert client.masters() == 1
    ssh.forget()
    ssh.command(["printf", "x"])
    assert client.masters() == 2


def test_a_socket_whose_connection_is_dead_is_replaced(client: Client, tmp_path: Path) -> None:
    ssh = way(client, tmp_path)
    ssh.command(["printf", "x"])
    client.answers = False
    with pytest.raises(Unreachable, match=r"172\.28\.7\.11 does not answer"):
        ssh.command(["printf", "x"])
    client.answers = True
    assert ssh.command(["printf", "x"]).stdout == "x"


def test_a_status_of_255_may_be_the_commands_own(client: Client, tmp_path: Path) -> None:
    client.breaks = 255
    assert way(client, tmp_path).command(["printf", "x"]).status == 255


def test_or_say_that_the_connection_broke(client: Client, tmp_path: Path) -> None:
    ssh = way(client, tmp_path)
    ssh.command(["printf", "x"])

    def breaks(argv: list[str], **settings: Any) -> Result:
        if argv[-1].startswith("exec"):
            client.answers = False
            return Result(255, "", "Connection reset by peer\n")
        return client.run(argv, **settings)

    ssh.run = breaks
    with pytest.raises(Unreachable) as caught:
        ssh.command(["printf", "x"])
    assert "Connection reset by peer" in str(caught.value)


def test_a_master_that_does_not_come_back_is_unreachable(client: Client, tmp_path: Path) -> None:
    ssh = way(client, tmp_path)

    def hangs(argv: list[str], **_: Any) -> Result:
        raise CommandFailed("ssh", None, "", "this machine")

    ssh.run = hangs
    with pytest.raises(Unreachable):
        ssh.command(["printf", "x"])


def test_only_keys_that_are_there_are_tried(client: Client, tmp_path: Path) -> None:
    way(client, tmp_path).command(["printf", "x"])
    words = client.calls[0]
    assert f"-i{tmp_path / 'key'}" in words
    assert f"-i{tmp_path / 'no-key'}" not in words
    assert "-oIdentitiesOnly=yes" in words
    assert f"-oUserKnownHostsFile={tmp_path / 'known'}" in words


def test_the_environment_is_set_for_the_command(client: Client, tmp_path: Path) -> None:
    result = way(client, tmp_path).command(["env"], {"KUBECONFIG": "/etc/a b", "X": "it's"})
    assert {"KUBECONFIG=/etc/a b", "X=it's"} <= set(result.stdout.splitlines())


def test_bytes_go_through_files(client: Client, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"\x00\xff" * 5000)
    seen: list[tuple[list[str], Path | None, Path | None]] = []

    def pipe(argv: list[str], *, source: Path | None = None, sink: Path | None = None, **_: Any) -> Result:
        seen.append((argv, source, sink))
        return Result(0, "", "")

    ssh = way(client, tmp_path, pipe=pipe)
    ssh.copy_in(tmp_path / "source", ["cat"])
    ssh.copy_out(["cat", "/x y"], tmp_path / "sink")
    assert [(source, sink) for _, source, sink in seen] == [(tmp_path / "source", None), (None, tmp_path / "sink")]
    assert seen[1][0][-1] == "exec cat '/x y'"


def test_a_folder_of_somebody_else_is_not_used(client: Client, tmp_path: Path) -> None:
    (tmp_path / f"kubedrill-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(Exception, match="somebody else"):
        way(client, tmp_path).command(["printf", "x"])


def test_pipe_runs_between_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00\xffa")
    result = shell.pipe(["sh", "-c", "cat; echo why >&2; exit 3"], source=tmp_path / "in", sink=tmp_path / "out")
    assert (result.status, result.stderr) == (3, "why\n")
    assert (tmp_path / "out").read_bytes() == b"\x00\xffa"
    with pytest.raises(CommandFailed, match="out of time"):
        shell.pipe(["sleep", "30"], timeout=0.1)
