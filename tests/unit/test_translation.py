"""README.zh-CN.md keeps in step with README.md: headings, commands, names in tables, figures and dates."""

from __future__ import annotations

import pytest
import readmes

from kubedrill import paths

ORIGINAL = paths.repository() / "README.md"
TRANSLATION = paths.repository() / "README.zh-CN.md"

ENGLISH = """# Title

Run `invoke up`, then see.

## Tasks

    invoke up --keep    # a comment

| task | what |
|---|---|
| `up [--keep]` | does `x` in 13.3 s (2026-11-27) |
| `down [a \\| b]`, `stop` | undoes with `--y` |
"""
CHINESE = """# 标题

运行 `invoke up`，然后看。

## 任务

    invoke up --keep    # 注释

| 任务 | 作用 |
|---|---|
| `up [--keep]` | 做 `x`，13.3 秒（2026-11-27） |
| `down [a \\| b]`, `stop` | 用 `--y` 撤销 |
"""


def test_the_translation_is_in_step() -> None:
    problems = readmes.missing(ORIGINAL.read_text(), TRANSLATION.read_text())
    if problems:
        pytest.fail("\n".join(["README.zh-CN.md is not in step with README.md:", *problems]), pytrace=False)


def test_it_is_compared_with_something() -> None:
    found = readmes.sections(ORIGINAL.read_text())
    assert len(found) > 8
    assert sum(len(one.rows) for one in found) > 30
    assert sum(len(one.cells) for one in found) > 30
    assert sum(len(one.code) for one in found) > 40
    assert sum(len(one.commands) for one in found) > 10


def test_a_translation_in_step() -> None:
    assert readmes.missing(ENGLISH, CHINESE) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## 任务\n", "", "heading 2: '## Tasks' is translated by 'nothing'"),
        ("## 任务\n", "### 任务\n", "heading 2: '## Tasks' is translated by '### 任务'"),
        ("`invoke up`", "`invoke down`", "lacks the command `invoke up`"),
        ("invoke up --keep    #", "invoke up    #", "lacks the line of code 'invoke up --keep'"),
        ("| `up [--keep]`", "| `up`", "lacks the row of a table '`up [--keep]`'"),
        ("| `up [--keep]` | 做 `x`，13.3 秒（2026-11-27） |\n", "", "lacks the row of a table '`up [--keep]`'"),
        ("| `down", "| `more` | 多 |\n| `down", "only the translation has the row of a table '`more`'"),
        ("13.3", "13.4", "lacks the figure '13.3'"),
        ("（2026-11-27）", "", "lacks the figure '2026-11-27'"),
        ("做 `x`", "做 664 次 `x`", "only the translation has the figure '664'"),
        ("`--y`", "`--z`", "lacks a table's code '`--y`'"),
        ("`--y`", "`--y` 和 `--y`", "only the translation has a table's code '`--y`'"),
        (", `stop`", "", "lacks the row of a table '`down [a \\\\| b]`, `stop`'"),
    ],
)
def test_what_is_out_of_step_is_named(old: str, new: str, said: str) -> None:
    assert old in CHINESE
    problems = readmes.missing(ENGLISH, CHINESE.replace(old, new))
    assert said in "\n".join(problems)


def test_it_says_where() -> None:
    (problem,) = readmes.missing(ENGLISH, CHINESE.replace("`invoke up`", "`up`"))
    assert problem.startswith("section 'Title' (line 1; translated '标题', line 1)")
