"""Settings of a cluster as words of a command line: proxyMode=nftables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubedrill.errors import InvalidSpec
from kubedrill.spec import ClusterSpec, load, nearest


def parse(pairs: Sequence[str]) -> dict[str, Any]:
    """Keys and values of a configuration from words such as 'controlPlanes=3'.

    Digits are a number where one is asked for; a version is none.

    Raises:
        InvalidSpec: a word has no '=', there is no such key, or it cannot have that value.
    """
    fields = {field.alias or name: field for name, field in ClusterSpec.model_fields.items() if name != "name"}
    found: dict[str, Any] = {}
    problems = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            problems.append(f"'{pair}': write KEY=VALUE")
        elif key not in fields:
            problems.append(f"unknown key '{key}'{nearest(key, list(fields))}")
        else:
            found[key] = int(value) if value.isdecimal() and fields[key].annotation is int else value
    if problems:
        raise InvalidSpec("these are no settings of a cluster", evidence=problems)
    load(None, dict(found))
    return found


def words(settings: Mapping[str, Any]) -> list[str]:
    """What `parse` reads again."""
    return [f"{key}={value}" for key, value in settings.items()]
