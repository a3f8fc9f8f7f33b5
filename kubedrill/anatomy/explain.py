"""What flags and fields mean, from explanations.toml; and the fields of a configuration by their names."""

from __future__ import annotations

import functools
import json
import tomllib
from importlib import resources
from typing import Any


@functools.cache
def _texts() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads((resources.files(__package__) / "explanations.toml").read_text())


def flag(component: str, name: str) -> str:
    """What a flag of a component does and why it matters; empty where nothing is written about it."""
    own = _texts().get(component, {}).get("flags", {})
    return own.get(name) or _texts()["common"]["flags"].get(name, "")


def fields(component: str) -> dict[str, str]:
    """{field: what it decides} of a component's configuration, with a dot between levels."""
    return _texts().get(component, {}).get("fields", {})


def value(content: Any, field: str) -> str | None:
    """The value of a field in a configuration, as text; None where it has no such field.

    Args:
        content: the configuration.
        field: its name, with a dot between levels; a level's own name may hold dots (containerd's plugins do).
    """
    if not isinstance(content, dict):
        return None
    if field in content:
        found = content[field]
        return found if isinstance(found, str) else json.dumps(found)
    for key, inner in content.items():
        if field.startswith(f"{key}.") and (found := value(inner, field[len(key) + 1 :])) is not None:
            return found
    return None
