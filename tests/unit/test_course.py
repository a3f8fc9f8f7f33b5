"""The course: every lesson whole in both languages, its commands such as there are, and how it is shown."""

from __future__ import annotations

import re

import pytest

import tasks
from kubedrill import course, paths
from kubedrill.course import page
from kubedrill.errors import InvalidSpec
from kubedrill.scenario import registry

LESSONS = course.lessons()
COMMANDS = [command for lesson in LESSONS for command in lesson.commands]
DRILLS = {drill.name for drill in registry.drills(paths.repository() / "scenarios")}


def test_the_course_covers_its_five_parts_and_every_name_is_one_of_its_own() -> None:
    names = [lesson.name for lesson in LESSONS]
    assert len(names) == len(set(names))
    assert list(dict.fromkeys(lesson.part["en"] for lesson in LESSONS)) == [
        "Install", "Components", "High availability", "Selfhosting", "Use and operation",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.run[:60])
def test_commands_name_tasks_and_drills_that_there_are(command: course.Command) -> None:
    words = command.run.split()
    assert words[0] == "invoke"
    assert hasattr(tasks, words[1]) or words[1] == "exec"
    if words[1] == "scenario":
        assert words[2] in DRILLS
    re.compile(command.expect)


def test_chinese_is_chinese() -> None:
    for lesson in LESSONS:
        said = [lesson.title, lesson.question, lesson.answer, *(command.see for command in lesson.commands)]
        for texts in said:
            assert re.search(r"[\u4e00-\u9fff]", texts["zh"]), texts
            assert not re.search(r"[\u4e00-\u9fff]", texts["en"]), texts


@pytest.mark.parametrize("language", course.LANGUAGES)
def test_a_lesson_shows_question_commands_and_answer(language: str) -> None:
    lesson = course.lesson("up")
    text = "\n".join(page.page(lesson, language))
    for part in (lesson.question[language], lesson.answer[language], *(one.run for one in lesson.commands)):
        assert part in text


def test_the_list_names_every_lesson() -> None:
    text = "\n".join(page.contents(LESSONS, "en"))
    assert all(f"  {lesson.name} " in text for lesson in LESSONS)


def test_a_lesson_that_lacks_a_language_is_no_lesson() -> None:
    text = course.LESSONS.read_text().replace('zh = "安装"', 'zh = ""', 1)
    with pytest.raises(ValueError, match="install: no title in zh"):
        course.lessons(text)


def test_a_wrong_name_is_told_the_nearest() -> None:
    with pytest.raises(InvalidSpec, match="selfhosting"):
        course.lesson("selfhostin")


@pytest.mark.parametrize(
    ("asked", "environment", "spoken"),
    [
        ("zh", {"LANG": "en_US.UTF-8"}, "zh"),
        ("", {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("", {"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ("", {"LANG": "C.UTF-8"}, "en"),
        ("", {"LANG": "zhuang"}, "en"),
        ("", {}, "en"),
    ],
)
def test_the_language(asked: str, environment: dict[str, str], spoken: str) -> None:
    assert course.language(asked, environment) == spoken


def test_a_language_that_there_is_not() -> None:
    with pytest.raises(InvalidSpec, match="'de'"):
        course.language("de")


@pytest.mark.parametrize(
    ("command", "moved"),
    [
        ("invoke up --show-commands", "invoke up --name c --show-commands"),
        ('invoke exec worker-1 "ls"', 'invoke exec --name c worker-1 "ls"'),
        ("invoke down --name ha", "invoke down --name ha"),
        ("invoke scenario hello", "invoke scenario hello"),
        ("invoke doctor", "invoke doctor"),
        ("invoke upside", "invoke upside"),
    ],
)
def test_on_another_cluster(command: str, moved: str) -> None:
    assert course.on_cluster(command, "c") == moved
