"""Porcupine, the checker of linearizability that others wrote (github.com/anishathalye/porcupine), on this computer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kubedrill import linearizability, shell
from kubedrill.availability import Restored
from kubedrill.errors import KubedrillError
from kubedrill.images import components
from kubedrill.linearizability import Judgement, Operation

COMPONENT = "porcupine"
PROGRAM = "linearizable"
# Porcupine's own page of the operations that have no order.
PICTURE = "linearizability.html"
# To decide it can take for ever (the question is NP-complete); what drills leave behind takes about a second.
TIMEOUT = 60.0


def ensure(say: Callable[[str], None]) -> Path:
    """The program, built unless it is there.

    Args:
        say: told of what is built.

    Raises:
        MissingPrerequisite: there is no Go toolchain to build it with.
        BuildFailed: it could not be built.
    """
    return components.build(COMPONENT, components.go_version(), say) / PROGRAM


def check(
    operations: Sequence[Operation], restored: Restored | None, folder: Path, say: Callable[[str], None],
    *, timeout: float = TIMEOUT,
) -> Judgement:  # fmt: skip
    """Ask it whether one order explains all that was answered.

    Args:
        operations: what was asked and answered.
        restored: where the store was put back to a snapshot on the way.
        folder: gets a page with the operations that have no order, where there are such.
        say: told of what is built.
        timeout: seconds that it may take.

    Raises:
        KubedrillError: it cannot be had, or did not understand what it was given.
    """
    program = ensure(say)
    given = linearizability.complete(operations, restored)
    (folder / PICTURE).unlink(missing_ok=True)
    result = shell.run(
        [str(program), "-picture", str(folder / PICTURE)], stdin=linearizability.document(given, timeout), check=False,
        timeout=2 * timeout + 30,
    )  # fmt: skip
    if result.status != 0:
        raise KubedrillError(
            "the checker of linearizability did not understand the history",
            evidence=result.output.splitlines()[-3:],
            todo=[f"judge it by hand: {program} -h"],
        )
    judged = linearizability.judgement(json.loads(result.stdout), given, timeout)
    if judged.result != "not linearizable":
        return judged
    return replace(judged, measured=f"{judged.measured} (drawn in {PICTURE})")
