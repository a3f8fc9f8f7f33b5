"""What tasks share: errors for people, names that may be left out. No import here that is slow."""

from __future__ import annotations

import atexit
import functools
import gc
import itertools
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from invoke.parser.argument import Argument
from invoke.tasks import Task

if TYPE_CHECKING:
    from kubedrill.console import Console

NAME = "which cluster (default: lab)"
# Most of what a task makes are modules, which are no garbage: to look for that among them every 700 objects took a
# twelfth of the time that its imports take.
gc.set_threshold(20_000)
# Nor is there any when the process ends, which would take 0.05 to 0.15 s to find out.
atexit.register(gc.freeze)


def friendly(body: Callable[..., int | None]) -> Callable[..., None]:
    """Errors for people, and exit statuses: 0 done, 1 failed, 130 interrupted, 143 told to end (both clean up)."""

    @functools.wraps(body)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from kubedrill.console import fail
        from kubedrill.errors import KubedrillError

        def told_to_end(*_: object) -> None:
            # Once is enough: told again, as `timeout` does, it would leave what it removes because of the first time.
            # Not SIG_IGN, which programs that it runs meanwhile would inherit.
            signal.signal(signal.SIGTERM, lambda *_: None)
            raise SystemExit(128 + signal.SIGTERM)

        signal.signal(signal.SIGTERM, told_to_end)
        try:
            status = body(*args, **kwargs)
        except KubedrillError as error:
            fail(error)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)
        if status:
            sys.exit(status)

    return wrapped


def _number(key: str) -> int:
    return int(key.rpartition("_")[2]) if key.rpartition("_")[2].isdigit() else 0


def _words(typed: Sequence[str]) -> list[str]:
    """Those before all flags."""
    return list(itertools.takewhile(lambda word: not word.startswith("-"), typed))


def _typed(name: str) -> list[str]:
    """The words after a task's name on the command line."""
    return sys.argv[sys.argv.index(name) + 1 :] if name in sys.argv else []


class DrillNames(Task):  # type: ignore[type-arg]
    """A task that takes any number of names; invoke itself knows only a fixed number of positional arguments."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """One positional argument for each word that follows the task's name."""
        names = _words(_typed(self.name))
        more = [Argument(f"drill_{number}", positional=True) for number in range(len(names))]
        return [*more, *super().get_arguments(ignore_unknown_help)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Gather the names."""
        more = [kwargs.pop(key) for key in sorted(kwargs, key=_number) if key.startswith("drill_")]
        kwargs["drill"] = [*kwargs.get("drill", []), *more]
        return super().__call__(*args, **kwargs)


class MayName(Task):  # type: ignore[type-arg]
    """A task whose word may be given or left out; invoke itself knows only words that must be there."""

    word = ""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The word is positional where there is a word that is neither a flag nor a flag's value."""
        arguments = super().get_arguments(ignore_unknown_help)
        valued = {
            f"{'-' if len(name) == 1 else '--'}{name}" for one in arguments if one.takes_value for name in one.names
        }
        words = [self.name, *_typed(self.name)]
        found = any(before not in valued and not word.startswith("-") for before, word in itertools.pairwise(words))
        for argument in arguments:
            argument.positional = argument.name == self.word and found
        return arguments


class MustName(Task):  # type: ignore[type-arg]
    """A task with words that must be there. Asked for help, invoke itself would take `--help` for the first of them."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Where help is asked for, only words before all flags are words."""
        arguments = super().get_arguments(ignore_unknown_help)
        typed = _typed(self.name.replace("_", "-"))
        if "--help" in typed:
            for argument in [one for one in arguments if one.positional][len(_words(typed)) :]:
                argument.positional = False
        return arguments


class MayNameNode(MayName):
    """A task for one node, or for all."""

    word = "node"


class MayNameLesson(MayName):
    """A task for one lesson, or for all."""

    word = "lesson"


class MayNameCheckpoint(MayName):
    """A task for one checkpoint, or for the list of them."""

    word = "checkpoint"


def console(show_commands: bool = False) -> Console:
    """What tells the user."""
    from kubedrill.console import Console

    return Console(show_commands=show_commands)
