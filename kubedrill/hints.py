"""How hints name tasks: as `invoke up` in a checkout, as `kubedrill up` where that program was called."""

from __future__ import annotations

import re

# A word in small letters after `invoke` is a task.
_TASK = re.compile(r"\binvoke (?=[a-z])")
_program = "invoke"


def called(program: str) -> None:
    """From now on hints name tasks as this program calls them."""
    global _program
    _program = program


def hinted(text: str) -> str:
    """A text whose hints name the program that was called."""
    return _TASK.sub(f"{_program} ", text)
