"""Every command of every lesson, run as a learner would, in their order; each prints what the lesson says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from verdicts import demand

from kubedrill import cluster, course, history, paths, shell
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.course import Command
from kubedrill.errors import KubedrillError
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
# A learner's own clusters may be called lab and ha.
NAMES = {"lab": f"course-{os.getpid()}", "ha": f"course-ha-{os.getpid()}"}
COMMANDS = [
    pytest.param(command, id=f"{lesson.name}: {command.run[:60]}")
    for lesson in course.lessons()
    for command in lesson.commands
]


@pytest.fixture(scope="module", autouse=True)
def own_clusters(place: Lab, console: Console, user_config: Path) -> Iterator[None]:
    yield
    for name in NAMES.values():
        cluster.down(place.provider, name, console)


def as_typed(command: Command) -> list[str]:
    line = course.on_cluster(command.run, NAMES["lab"])
    line = re.sub(r"--name ha\b", f"--name {NAMES['ha']}", line)
    _, *words = shlex.split(line)
    # A shell that starts the tests in the background has them ignore Ctrl-C, and they pass that on.
    return ["env", "--default-signal=INT", sys.executable, "-m", "invoke", "-r", str(paths.repository()), *words]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_does_what_the_lesson_says(command: Command, tmp_path: Path) -> None:
    if not command.ends:
        _until_interrupted(command, tmp_path / "log")
        return
    result = shell.run(as_typed(command), cwd=paths.repository(), check=False, timeout=1200, env={"COLUMNS": "200"})
    if drilled := re.search(r"^report: (.+)/index.html$", result.output, re.MULTILINE):
        demand(history.load(Path(drilled[1])), "passed")
    assert result.status == command.status, result.output[-3000:]
    assert re.search(command.expect, result.output), result.output[-3000:]


def _until_interrupted(command: Command, log: Path) -> None:
    started = shell.start_daemon(as_typed(command), log)
    try:
        until(
            log.read_text,
            lambda text: (bool(re.search(command.expect, text)), text[-500:]),
            within=60,
            what=command.run,
        )
    finally:
        os.kill(started.pid, signal.SIGINT)
        until(started.poll, lambda status: (status is not None, "it runs on"), within=30, what="its end after Ctrl-C",
              transient=(KubedrillError,))  # fmt: skip
