"""Commands on this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kubedrill import shell
from kubedrill.errors import CommandFailed, MissingPrerequisite
from kubedrill.wait import until

NO_PROGRAM = "kubedrill-no-such-program"


def test_a_command_leaves_its_status_and_both_streams() -> None:
    result = shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert result == shell.Result(3, "out\n", "err\n")
    assert result.output == "out\nerr\n"


def test_a_status_other_than_0_raises_with_what_can_be_pasted() -> None:
    with pytest.raises(CommandFailed) as caught:
        shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    error = caught.value
    assert (error.status, error.output, error.where) == (3, "out\nerr\n", "this machine")
    assert error.command == "sh -c 'echo out; echo err >&2; exit 3'"
    assert error.evidence == (f"$ {error.command}", "out", "err")


def test_a_command_that_a_signal_ended_has_failed() -> None:
    with pytest.raises(CommandFailed) as caught:
        shell.run(["sh", "-c", "kill -9 $$"])
    assert caught.value.status == -signal.SIGKILL


@pytest.mark.parametrize("check", [True, False])
def test_running_out_of_time_raises_with_the_output_so_far(check: bool) -> None:
    with pytest.raises(CommandFailed) as caught:
        shell.run(["sh", "-c", "echo begun; exec sleep 60"], timeout=0.3, check=check)
    assert caught.value.status is None
    assert "ran out of time" in caught.value.what
    assert caught.value.output == "begun\n"


def test_a_missing_program_is_a_missing_prerequisite() -> None:
    with pytest.raises(MissingPrerequisite, match=NO_PROGRAM) as caught:
        shell.run([NO_PROGRAM, "--flag"])
    assert caught.value.evidence == (f"$ {NO_PROGRAM} --flag",)
    assert caught.value.todo


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        shell.run(["true"], cwd=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        shell.run(["true"], log=tmp_path / "nowhere" / "log")


def test_env_is_added_to_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEDRILL_A", "a")
    monkeypatch.setenv("KUBEDRILL_B", "b")
    result = shell.run(["sh", "-c", 'echo "$KUBEDRILL_A $KUBEDRILL_B"'], env={"KUBEDRILL_B": "new"})
    assert result.stdout == "a new\n"
    assert os.environ["KUBEDRILL_B"] == "b"


def test_cwd_is_where_it_runs(tmp_path: Path) -> None:
    assert shell.run(["pwd", "-P"], cwd=tmp_path).stdout == f"{tmp_path.resolve()}\n"


@pytest.mark.parametrize("with_log", [False, True])
@pytest.mark.parametrize(("stdin", "read"), [("some text\n", "some text\n"), ("", ""), (None, "")])
def test_stdin_is_the_text_given_and_never_the_terminal(
    stdin: str | None, read: str, with_log: bool, tmp_path: Path
) -> None:
    log = tmp_path / "log" if with_log else None
    assert shell.run(["cat"], stdin=stdin, log=log, timeout=20).stdout == read


def test_output_that_is_no_utf8_is_no_error(tmp_path: Path) -> None:
    argv = ["printf", r"a\377b"]
    assert shell.run(argv).stdout == "a\ufffdb"
    assert shell.run(argv, log=tmp_path / "log").stdout == "a\ufffdb"


def test_no_shell_is_involved() -> None:
    assert shell.run(["echo", "$HOME", ";", "*"]).stdout == "$HOME ; *\n"


def test_a_log_gets_both_streams_and_is_written_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from before\n")
    result = shell.run(["sh", "-c", "echo out; echo err >&2"], log=log)
    assert result == shell.Result(0, "out\nerr\n", "")
    assert log.read_text() == "out\nerr\n"


@pytest.mark.parametrize(("script", "status"), [("echo begun; exec sleep 60", None), ("echo begun; exit 4", 4)])
def test_a_failure_with_a_log_still_shows_the_output(script: str, status: int | None, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        shell.run(["sh", "-c", script], log=tmp_path / "log", timeout=5 if status else 0.3)
    assert caught.value.status == status
    assert caught.value.output == "begun\n"


NASTY = ["", " ", "a b", "it's", '"quoted"', "$HOME", "`id`", "$(id)", "a;b", "*", "\\", "new\nline", "!x", "--", "é"]


@pytest.mark.parametrize("cwd", [None, "it's a folder; $HOME"])
@pytest.mark.parametrize("env", [None, {"KUBEDRILL_A": "it's $HOME; `id`", "KUBEDRILL_B": ""}])
def test_pasteable_round_trips_through_sh(cwd: str | None, env: dict[str, str] | None, tmp_path: Path) -> None:
    folder = tmp_path / cwd if cwd else None
    if folder:
        folder.mkdir()
    script = r'printf "%s\0" "$@" "$KUBEDRILL_A" "$KUBEDRILL_B" "$PWD"'
    line = shell.pasteable(["sh", "-c", script, "sh", *NASTY], env, folder)
    printed = shell.run(["sh", "-c", line]).stdout.split("\0")
    expected_env = [env["KUBEDRILL_A"], env["KUBEDRILL_B"]] if env else ["", ""]
    assert printed == [*NASTY, *expected_env, str((folder or Path.cwd()).resolve()), ""]


def test_pasteable_is_what_a_person_would_type() -> None:
    assert shell.pasteable(["kubectl", "get", "nodes"]) == "kubectl get nodes"
    line = shell.pasteable(["go", "build", "./..."], {"GOFLAGS": "-mod=mod"}, Path("/src/x"))
    assert line == "cd /src/x && GOFLAGS=-mod=mod go build ./..."


@pytest.mark.parametrize("status", [0, 7])
def test_interactive_gives_the_status(status: int) -> None:
    assert shell.interactive(["sh", "-c", f"exit {status}"]) == status
    assert shell.attended(["sh", "-c", f"exit {status}"]) == shell.Ending(status)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_one_that_the_user_ends_is_told_apart_from_one_that_ends_like_it(told: signal.Signals) -> None:
    """Ctrl-C reaches both processes; SIGTERM this one alone, which passes it on as Ctrl-C."""
    caught = f"$((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' /proc/{os.getpid()}/status) & 0x4000))"
    too = "kill -INT $$; " if told == signal.SIGINT else ""
    script = f"""trap 'exit 2' INT
        until [ {caught} != 0 ]; do :; done     # until it is ready for SIGTERM
        kill -{int(told)} {os.getpid()}; {too}while :; do :; done"""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # As in what a script puts into the background; a command that inherits that could not be ended.
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert shell.attended(["bash", "-c", script]) == shell.Ending(2, interrupted=True)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ignored)
    assert shell.attended(["sh", "-c", "exit 2"]) == shell.Ending(2)


def test_a_daemon_runs_on_in_a_session_of_its_own_and_appends_to_its_log(tmp_path: Path) -> None:
    log, fifo = tmp_path / "log", tmp_path / "fifo"
    log.write_text("from before\n")
    os.mkfifo(fifo)
    poll = shell.start_daemon(["sh", "-c", f"echo $$; echo err >&2; read line < {fifo}; exit 5"], log)
    lines = until(
        lambda: log.read_text().splitlines(), lambda lines: (len(lines) == 3, "few lines"), within=20, what="its log"
    )
    assert (lines[0], lines[2]) == ("from before", "err")
    assert os.getsid(int(lines[1])) == int(lines[1])
    assert poll() is None
    fifo.write_text("end\n")
    assert until(poll, lambda status: (status is not None, "it runs"), within=20, what="its end", every=0.01) == 5


def test_a_missing_daemon_is_a_missing_prerequisite(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match=NO_PROGRAM):
        shell.start_daemon([NO_PROGRAM], tmp_path / "log")
