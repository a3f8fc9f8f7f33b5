"""One hierarchy of errors: what happened, the evidence, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

# What to do about that which only clusters of containers can.
OF_CONTAINERS = "make a cluster of containers for it: invoke up --name OTHER"


class KubedrillError(Exception):
    """Something a user can act on.

    Args:
        what: one sentence that says what happened.
        evidence: what was seen: lines of output, values read.
        todo: what to try next, one suggestion each.
    """

    def __init__(self, what: str, *, evidence: Sequence[str] = (), todo: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.evidence = tuple(evidence)
        self.todo = tuple(todo)

    def __str__(self) -> str:
        lines = [self.what]
        lines += [f"    {line}" for line in self.evidence]
        lines += [f"  -> {hint}" for hint in self.todo]
        return "\n".join(lines)


class InvalidSpec(KubedrillError):
    """The cluster asked for cannot be: every reason is in the evidence."""


class CommandFailed(KubedrillError):
    """A command ended with a status other than 0, or ran out of time.

    Args:
        command: a line that can be pasted into a shell to run the command again.
        status: its exit status; None when it was ended for running too long.
        output: what it printed, both streams.
        where: the node, or "this machine".
    """

    def __init__(self, command: str, status: int | None, output: str, where: str, *, todo: Sequence[str] = ()) -> None:
        ending = "ran out of time" if status is None else f"exit status {status}"
        super().__init__(
            f"a command failed on {where} ({ending})",
            evidence=[f"$ {command}", *output.strip().splitlines()[-15:]],
            todo=todo,
        )
        self.command = command
        self.status = status
        self.output = output
        self.where = where


class StepFailed(KubedrillError):
    """A step of bring-up failed; carries the error that made it fail."""


class TimedOut(KubedrillError):
    """A wait ended without what was waited for; the evidence is what was last seen."""


class EngineUnavailable(KubedrillError):
    """No container engine answers, or it belongs to somebody else."""


class MissingPrerequisite(KubedrillError):
    """This machine lacks something; the to-do says how to get it."""


class BuildFailed(KubedrillError):
    """A part of a node could not be built."""


class BrokenKubeconfig(KubedrillError):
    """The user's kubeconfig cannot be read; it was left as it is."""


class Busy(KubedrillError):
    """Another kubedrill is at work on the same thing."""


class NotFound(KubedrillError):
    """No cluster, node or image of that name."""
