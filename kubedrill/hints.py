"""How hints name tasks: as `invoke up` in a checkout, as `kubedrill up` in an installed wheel or where that was called.

Texts say `invoke`; whatever shows one to a person (console, pytest, pages, reports) passes it through `hinted`.
"""

from __future__ import annotations

import os
import re

from kubedrill import paths

NAME = "kubedrill"
# Tells the processes that the program starts (pytest, for one) that it was called.
VARIABLE = "KUBEDRILL_CALLED"
TASKS = (
    "add-node", "addons", "bench", "build", "checkpoint", "components", "course", "dashboard", "doctor", "down", "exec",
    "heal", "kubeconfig", "load", "logs", "matrix", "pause", "prune", "registry", "remove-node", "report", "restore",
    "resume", "scenario", "setup", "shell", "start", "status", "stop", "test", "up", "upgrade",
)  # fmt: skip
# Only what is a task: what a cluster says of itself ("failed to invoke webhook") is shown as it is.
_TASK = re.compile(rf"\binvoke (?=(?:{'|'.join(TASKS)})(?![-\w]))")


def called() -> None:
    """The program `kubedrill` was called: from now on hints name it, in this process and in those that it starts."""
    os.environ[VARIABLE] = "yes"


def hinted(text: str) -> str:
    """A text whose hints name the program that has the tasks."""
    return _TASK.sub(f"{NAME} ", text) if os.environ.get(VARIABLE) or paths.is_installed() else text
