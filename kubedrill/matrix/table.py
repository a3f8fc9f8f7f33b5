"""Reads matrix.toml, and says all that is wrong with it at once."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kubedrill.errors import InvalidSpec
from kubedrill.spec import nearest

Cell = Mapping[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Exception_(_Strict):
    """What does not run, and why."""

    where: dict[str, Any] = Field(default_factory=dict)
    drills: tuple[str, ...] = Field(default=(), strict=False)
    spare: tuple[str, ...] = Field(default=(), strict=False)
    spare_needed: bool = Field(default=False, alias="spare-needed")
    why: Annotated[str, Field(min_length=10)]

    def holds(self, drill: str, needs: Mapping[str, Any], cell: Cell) -> bool:
        """Whether it speaks of a drill, which needs some settings, on a cluster."""
        if drill in self.spare or (self.drills and drill not in self.drills):
            return False
        if self.spare_needed and any(needs.get(key) == value for key, value in self.where.items()):
            return False
        return matches(self.where, cell)


class Slower(_Strict):
    """Where all takes longer."""

    where: dict[str, Any]
    times: float = Field(gt=0, strict=False)


class Minutes(_Strict):
    """Estimates, in minutes."""

    job: float = Field(gt=0, strict=False)
    margin: float = Field(default=1, ge=1, strict=False)
    setup: float = Field(ge=0, strict=False)
    drill: float = Field(gt=0, strict=False)
    up: dict[str, Annotated[float, Field(gt=0, strict=False)]]
    hollow: float = Field(default=0, ge=0, strict=False)
    drills: dict[str, Annotated[float, Field(gt=0, strict=False)]] = Field(default_factory=dict)


class Table(_Strict):
    """matrix.toml."""

    axes: dict[str, Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]]
    exceptions: tuple[Exception_, ...] = Field(default=(), alias="except", strict=False)
    minutes: Minutes
    builds: dict[str, str] = Field(default_factory=dict)
    slower: tuple[Slower, ...] = Field(default=(), strict=False)

    def cells(self) -> list[Cell]:
        """Each combination of the axes: the settings of a cluster."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    def times(self, cell: Cell) -> float:
        """How many times as long as estimated all may take on a cluster."""
        longer = self.minutes.margin
        for one in self.slower:
            longer *= one.times if matches(one.where, cell) else 1
        return longer


def matches(where: Mapping[str, Any], cell: Cell) -> bool:
    """Whether a cluster has all of these settings."""
    return all(cell.get(key) == value for key, value in where.items())


def load(text: str | None = None, *, drills: Collection[str]) -> Table:
    """The matrix.

    Args:
        text: TOML, instead of matrix.toml.
        drills: the names of all drills that there are.

    Raises:
        InvalidSpec: with every reason at once: a key or a drill that there is not, a value that no axis has.
    """
    content = (resources.files(__package__) / "matrix.toml").read_text() if text is None else text
    try:
        table = Table.model_validate(tomllib.loads(content))
        problems = list(_problems(table, sorted(drills)))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        problems = _explained(error)
    if problems:
        raise InvalidSpec("the matrix cannot be read", evidence=problems, todo=["correct kubedrill/matrix/matrix.toml"])
    return table


def _problems(table: Table, drills: Sequence[str]) -> Iterator[str]:
    for what, where in [("except", one.where) for one in table.exceptions] + [
        ("slower", one.where) for one in table.slower
    ]:
        for key, value in where.items():
            if key not in table.axes:
                yield f"{what}: there is no axis '{key}'{nearest(key, list(table.axes))}"
            elif value not in table.axes[key]:
                yield f"{what}: {key} is never {value!r}: {', '.join(map(repr, table.axes[key]))}"
    named = [(name, "except") for one in table.exceptions for name in (*one.drills, *one.spare)]
    for name, what in [
        *named,
        *((name, "minutes.drills") for name in table.minutes.drills),
        *((name, "builds") for name in table.builds),
    ]:
        if name not in drills:
            yield f"{what}: there is no drill '{name}'{nearest(name, list(drills))}"
    for count in table.axes.get("controlPlanes", ()):
        if str(count) not in table.minutes.up:
            yield f"minutes.up: how long do {count} control planes take?"


def _explained(error: tomllib.TOMLDecodeError | ValidationError) -> list[str]:
    if isinstance(error, tomllib.TOMLDecodeError):
        return [str(error)]
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
