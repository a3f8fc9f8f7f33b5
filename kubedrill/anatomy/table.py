"""Components for people: a line each, or everything about one. Words only; the console prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from kubedrill.anatomy import explain
from kubedrill.anatomy.model import Component, Gate

COLUMNS = ("component", "started by", "state", "version", "on/off", "gates set")
_WORDS = {"running": "running", "down": "DOWN", "absent": "not here", "unknown": "not known"}
_SHOWN = 6  # gates by name; more are counted


@dataclass(frozen=True)
class Block:
    """A heading, with a table or lines below it."""

    heading: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


def blocks(components: Sequence[Component], *, detailed: bool, explained: bool) -> Iterator[Block]:
    """What is printed of components.

    Args:
        components: in the order of their nodes.
        detailed: everything about each, not a line.
        explained: with what flags and fields do.
    """
    if not detailed:
        yield from overview(components)
        return
    for one in components:
        yield from details(one, explained=explained)


def as_data(one: Component, *, explained: bool) -> dict[str, Any]:
    """A component as JSON takes it: the fields of the dataclass, and an explanation of each flag where asked for."""
    found = asdict(one)
    for flag in found["flags"] if explained else ():
        flag["explanation"] = explain.flag(one.name, flag["name"])
    return found


def overview(components: Sequence[Component]) -> Iterator[Block]:
    """A block a node, with a line for each of its components."""
    for node, found in groupby(components, key=lambda one: one.node):
        each = list(found)
        if all(one.state == "unknown" for one in each):
            names = ", ".join(one.name for one in each)
            yield Block(node, lines=(f"{each[0].why}: nothing is known of {names}",))
        else:
            # Reasons are too long for a column; below, they leave the table as it is.
            reasons = tuple(f"  {one.name}: {one.why}" for one in each if one.healthy is False)
            yield Block(node, COLUMNS, tuple(_line(one) for one in each), reasons)


def details(one: Component, *, explained: bool) -> Iterator[Block]:
    """Everything about a component.

    Args:
        one: the component.
        explained: whether flags and fields come with what they do.
    """
    where = f"{one.name} on {one.node}: {_state(one)}"
    facts = [
        ("started by", f"{one.started}{f' ({one.started.told_by})' if one.started.told_by else ''}"),
        ("version", f"{one.version} ({one.version_from})" if one.version else ""),
        ("process", f"{one.pid}" if one.pid else ""),
        ("pod", one.pod),
        ("image", one.image),
        ("gates", _gates(one)),
    ]
    yield Block(where, ("", ""), tuple((f"  {name}", text) for name, text in facts if text))
    if one.checks:
        checks = tuple((f"  {c.name}", c.source, f"{'' if c.ok else 'FAILS: '}{c.answer}") for c in one.checks)
        yield Block("", ("  health", "asked", "answer"), checks)
    if one.files:
        files = tuple((f"  {file.purpose}", file.path, _there(file.exists, file.place)) for file in one.files)
        yield Block("", ("  file", "path", "there"), files)
    flags = [(f"--{flag.name}", flag.value, explain.flag(one.name, flag.name)) for flag in one.flags]
    yield from _values_of("flag", one.flags_from, flags, explained=explained)
    shown = [gate for gate in one.gates if gate.differs or gate.set_by]
    if shown:
        gates = tuple((f"  {g.name}", g.stage or "GA", *_is_and_default(g), g.set_by or "nothing named") for g in shown)
        yield Block("", ("  gate", "stage", "is", "default", "set by"), gates)
    yield from _sources(one, explained=explained)


def _line(one: Component) -> tuple[str, ...]:
    on = sum(gate.on for gate in one.gates)
    # Several pods of CoreDNS may be on a node; the end of a pod's name tells them apart.
    name = f"{one.name} {one.pod.rpartition('-')[2]}" if one.name == "coredns" and one.pod else one.name
    gates = f"{on}/{len(one.gates) - on}" if one.gates else ("not told" if one.gates_from else "-")
    state = "NOT WELL" if one.state == "running" and not one.healthy else _WORDS[one.state]
    return name, _started(one), state, one.version or "-", gates, _set(one)


def _started(one: Component) -> str:
    # The name of a static pod is the component's and the node's: nothing new.
    if one.started.kind == "static pod":
        return "static pod"
    return str(one.started).removeprefix("systemd ")


def _state(one: Component) -> str:
    if one.state == "running":
        return "running" if one.healthy else f"running, not healthy: {one.why}"
    return f"{_WORDS[one.state]}: {one.why}"


def _set(one: Component) -> str:
    named = [f"{'+' if gate.on else '-'}{gate.name}" for gate in one.gates if gate.set_by or gate.differs]
    if len(named) > _SHOWN:
        return f"{', '.join(named[:_SHOWN])} and {len(named) - _SHOWN} more"
    return ", ".join(named)


def _gates(one: Component) -> str:
    if not one.gates:
        return f"not told: {one.gates_from}" if one.gates_from else ""
    on = sum(gate.on for gate in one.gates)
    differing = sum(gate.differs for gate in one.gates)
    named = sum(bool(gate.set_by) for gate in one.gates)
    told = sum(gate.default is not None for gate in one.gates)
    default = f", {differing} of {told} differ from the default that the program names" if told else ""
    return f"{on} on, {len(one.gates) - on} off; {named} set{default} ({one.gates_from})"


def _is_and_default(gate: Gate) -> tuple[str, str]:
    return str(gate.on).lower(), "not told" if gate.default is None else str(gate.default).lower()


def _there(exists: bool | None, place: str) -> str:
    if exists is None:
        return f"nobody could look ({place})"
    return {"node": "yes", "container": "yes, mounted into its container", "API": "yes, in the API"}[place] if exists \
        else "no"  # fmt: skip


def _values_of(what: str, place: str, values: Sequence[tuple[str, str, str]], *, explained: bool) -> Iterator[Block]:
    """Names and values: as a table, or, with what they do below each, as lines."""
    if not values:
        return
    if not explained:
        yield Block("", (f"  {what}", f"value ({place})"), tuple((f"  {name}", value) for name, value, _ in values))
        return
    lines = [f"\n  {what}s ({place})"]
    for name, value, text in values:
        lines.append(f"    {name}{'=' if what == 'flag' else ': '}{value}")
        lines += [f"        {text}"] if text else []
    yield Block("", lines=tuple(lines))


def _sources(one: Component, *, explained: bool) -> Iterator[Block]:
    told = tuple(
        (f"  {source.name}", source.source or "-", _amount(source.content) if source.answered else "NOT THERE",
         source.note) for source in one.sources
    )  # fmt: skip
    if told:
        yield Block("", ("  effective", "read from", "holds", "note"), told)
    for source in one.sources:
        if isinstance(source.content, str):
            yield Block(f"  {source.name}", lines=tuple(f"    {line}" for line in source.content.splitlines()))
            continue
        if source.name not in ("configz", "config dump"):
            continue
        values = [(name, explain.value(source.content, name), text) for name, text in explain.fields(one.name).items()]
        known = [(name, value, text) for name, value, text in values if value is not None]
        yield from _values_of("field", f"{source.name}; all: --json", known, explained=explained)


def _amount(content: object) -> str:
    if isinstance(content, str):
        return f"{len(content.splitlines())} lines"
    return f"{len(content)} entries" if isinstance(content, dict | list) else ""
