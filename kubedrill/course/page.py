"""Lessons as text for a terminal: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from kubedrill.course import Lesson

_WORDS = {
    "en": {"question": "Question", "answer": "Answer", "run": "Run", "see": "See", "minutes": "about {} min",
           "how": "one lesson: invoke course NAME; in Chinese: invoke course --language zh"},
    "zh": {"question": "问题", "answer": "答案", "run": "运行", "see": "观察", "minutes": "约 {} 分钟",
           "how": "查看一课：invoke course 名称；英文：invoke course --language en"},
}  # fmt: skip


def contents(lessons: Sequence[Lesson], language: str) -> Iterator[str]:
    """The list of lessons, part by part."""
    words = _WORDS[language]
    width = max(len(lesson.name) for lesson in lessons)
    for part, group in groupby(lessons, key=lambda lesson: lesson.part[language]):
        yield part
        for lesson in group:
            minutes = words["minutes"].format(f"{lesson.minutes:g}")
            yield f"  {lesson.name:<{width}}  {lesson.title[language]} ({minutes})"
    yield words["how"]


def page(lesson: Lesson, language: str) -> Iterator[str]:
    """One lesson."""
    words = _WORDS[language]
    yield f"{lesson.part[language]}: {lesson.title[language]} ({words['minutes'].format(f'{lesson.minutes:g}')})"
    yield f"{words['question']}: {lesson.question[language]}"
    for command in lesson.commands:
        yield ""
        yield f"{words['run']}: {command.run}"
        yield f"{words['see']}: {command.see[language]}"
    yield ""
    yield f"{words['answer']}: {lesson.answer[language]}"
