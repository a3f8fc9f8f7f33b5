"""What two translations of one README have in common, and what one of them lacks of it. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_FIGURE = re.compile(r"\d{4}-\d\d-\d\d|\d+(?:\.\d+)+|\d{3,}")


@dataclass
class Section:
    """A heading and what follows it.

    Args:
        level: how many '#'.
        title: the heading.
        line: where it is.
        code: lines of its indented blocks, without comments.
        rows: the first cell of each row of its tables, as the names in it.
        cells: the code in all other cells of its tables.
        commands: what its text calls: `invoke up`.
        figures: what it counts and when: numbers with a point or of three digits, and dates. Small ones may be words.
    """

    level: int
    title: str
    line: int
    code: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


def sections(text: str) -> list[Section]:
    """The sections of a README."""
    found: list[Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.match(r"(#+) (.*)", line)
        if heading:
            found.append(Section(len(heading[1]), heading[2], number))
        if not found:
            continue
        found[-1].figures += _FIGURE.findall(line)
        if heading:
            continue
        if line.startswith("    "):
            found[-1].code.append(re.sub(r"(^|\s+)# .*", "", line).rstrip())
        elif line.startswith("|"):
            first, *others = (re.findall(r"`[^`]+`", cell) for cell in line.replace("\\|", "\0").split("|")[1:])
            if first:
                found[-1].rows.append(", ".join(first).replace("\0", "\\|"))
            found[-1].cells += [name.replace("\0", "\\|") for cell in others for name in cell]
        else:
            found[-1].commands += re.findall(r"`((?:invoke|kubedrill|pytest|kubectl|kubeadm)\b[^`]*)`", line)
    return found


def missing(original: str, translation: str) -> list[str]:
    """What the translation lacks, and what it has that the original lacks; a line each, with where to look."""
    ours, theirs = sections(original), sections(translation)
    problems = []
    if [one.level for one in ours] != [one.level for one in theirs]:
        problems += _headings(ours, theirs)
    for one, other in zip(ours, theirs, strict=False):
        where = f"section '{one.title}' (line {one.line}; translated '{other.title}', line {other.line})"
        problems += [f"{where}: {said}" for said in _lines(one.code, other.code, "the line of code")]
        problems += [f"{where}: {said}" for said in _lines(one.rows, other.rows, "the row of a table")]
        # In order of the alphabet: in another language it may stand elsewhere in its sentence.
        problems += [f"{where}: {said}" for said in _lines(sorted(one.cells), sorted(other.cells), "a table's code")]
        lacks = sorted(set(one.commands) - set(other.commands))
        extra = sorted(set(other.commands) - set(one.commands))
        problems += [f"{where}: {said}" for said in _lines(sorted(one.figures), sorted(other.figures), "the figure")]
        problems += [f"{where}: the translation lacks the command `{name}`" for name in lacks]
        problems += [f"{where}: only the translation has the command `{name}`" for name in extra]
    return problems


def _headings(ours: Sequence[Section], theirs: Sequence[Section]) -> list[str]:
    said = []
    for number in range(max(len(ours), len(theirs))):
        mine = f"{'#' * ours[number].level} {ours[number].title}" if number < len(ours) else "nothing"
        yours = f"{'#' * theirs[number].level} {theirs[number].title}" if number < len(theirs) else "nothing"
        said.append(f"heading {number + 1}: '{mine}' is translated by '{yours}'")
    return ["the headings differ in number or level; side by side:", *said]


def _lines(ours: Sequence[str], theirs: Sequence[str], what: str) -> list[str]:
    said = []
    for line in difflib.ndiff(ours, theirs):
        if line.startswith("- "):
            said.append(f"the translation lacks {what} {line[2:].strip()!r}")
        elif line.startswith("+ "):
            said.append(f"only the translation has {what} {line[2:].strip()!r}")
    return said
