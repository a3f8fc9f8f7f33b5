"""The course's path as lessons: what to run, what to see, and the question that it answers; in English and Chinese."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedrill.errors import InvalidSpec
from kubedrill.spec import nearest

LANGUAGES = ("en", "zh")
LESSONS = Path(__file__).parent / "lessons.toml"


@dataclass(frozen=True)
class Command:
    """One command of a lesson.

    Args:
        run: the command line, as it is typed in the folder of this repository.
        see: what to look at in what it prints, by language.
        expect: a regular expression that is found in what it prints; the course's test holds it against a real run.
        status: its exit status.
        ends: whether it ends by itself; one that does not is ended with Ctrl-C.
    """

    run: str
    see: Mapping[str, str]
    expect: str
    status: int = 0
    ends: bool = True


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Args:
        name: what it is called on the command line.
        part: of which part of the course, by language.
        title: by language.
        question: that it answers, by language.
        answer: in two or three sentences, by language.
        commands: in their order.
        minutes: how long its commands take on two cores, about.
    """

    name: str
    part: Mapping[str, str]
    title: Mapping[str, str]
    question: Mapping[str, str]
    answer: Mapping[str, str]
    commands: Sequence[Command]
    minutes: float


def lessons(text: str | None = None) -> tuple[Lesson, ...]:
    """All lessons, in their order.

    Args:
        text: TOML, instead of lessons.toml.

    Raises:
        ValueError: a lesson lacks something, or says it in one language only.
    """
    data = tomllib.loads(LESSONS.read_text() if text is None else text)
    return tuple(
        _lesson(lesson, _spoken(part, "title", part["name"])) for part in data["part"] for lesson in part["lesson"]
    )


def lesson(name: str) -> Lesson:
    """A lesson by its name.

    Raises:
        InvalidSpec: there is none; names the nearest.
    """
    all_ = lessons()
    for one in all_:
        if one.name == name:
            return one
    raise InvalidSpec(
        f"there is no lesson '{name}'{nearest(name, [one.name for one in all_])}",
        todo=["see all of them: invoke course"],
    )


def language(asked: str, environment: Mapping[str, str] = os.environ) -> str:
    """The language to speak: the one asked for, else the environment's (LC_ALL, LC_MESSAGES, LANG), else English.

    Raises:
        InvalidSpec: lessons are not in that language.
    """
    if asked:
        if asked not in LANGUAGES:
            raise InvalidSpec(f"the course is not in '{asked}'", evidence=[f"languages: {', '.join(LANGUAGES)}"])
        return asked
    there = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return next((one for one in LANGUAGES if re.match(rf"{one}(_|\.|$)", there)), "en")


def on_cluster(command: str, name: str) -> str:
    """A lesson's command on another cluster than the one called lab (or drill's own): with its --name.

    Drills choose or make their cluster, and some tasks know none; they stay as they are.

    Args:
        command: 'invoke up', 'invoke exec worker-1 "ls"'.
        name: the cluster's name.
    """
    match = re.match(
        r"invoke (up|status|exec|shell|logs|load|down|pause|resume|components|dashboard|addons|kubeconfig|heal)\b",
        command,
    )
    if match is None or "--name" in command:
        return command
    return f"{match.group(0)} --name {name}{command[match.end() :]}"


def _lesson(data: Mapping[str, Any], part: Mapping[str, str]) -> Lesson:
    name = data["name"]
    commands = tuple(
        Command(
            one["run"], _spoken(one, "see", f"{name}: {one['run']}"), one["expect"], one.get("status", 0),
            one.get("ends", True),
        )
        for one in data["command"]
    )  # fmt: skip
    return Lesson(
        name, part, _spoken(data, "title", name), _spoken(data, "question", name), _spoken(data, "answer", name),
        commands, data["minutes"],
    )  # fmt: skip


def _spoken(data: Mapping[str, Any], key: str, where: str) -> Mapping[str, str]:
    said = data.get(key, {})
    lacking = [language for language in LANGUAGES if not said.get(language)]
    if lacking:
        raise ValueError(f"{where}: no {key} in {', '.join(lacking)}")
    return {language: said[language] for language in LANGUAGES}
