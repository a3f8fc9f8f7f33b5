"""Bench: what a comparison of few runs and many figures can tell from chance."""

from __future__ import annotations

import random

import pytest

from kubedrill.bench import compare
from kubedrill.bench.figures import Figure


def figures(count: int, *values: float) -> list[Figure]:
    return [Figure(f"figure {number}", "s", values, "") for number in range(count)]


@pytest.mark.parametrize(("runs", "likely"), [(3, 1 / 10), (4, 1 / 35), (5, 1 / 126)])
def test_how_likely_ranges_are_apart_by_chance(runs: int, likely: float) -> None:
    assert compare.chance(runs, runs) == pytest.approx(likely)
    values = random.Random(runs)
    apart = 0
    for _ in range(5000):
        one, other = ([values.random() for _ in range(runs)] for _ in range(2))
        apart += max(one) < min(other) or max(other) < min(one)
    assert apart / 5000 == pytest.approx(likely, rel=0.25)


@pytest.mark.parametrize(("count", "runs"), [(1, 4), (2, 5), (8, 6), (32, 7)])
def test_the_more_figures_the_more_runs_decide(count: int, runs: int) -> None:
    assert compare.runs_that_decide(count) == runs
    for taken, word in ((runs, "less"), (runs - 1, "perhaps less")):
        old, new = figures(count, *range(20, 20 + taken)), figures(count, *range(5, 5 + taken))
        assert {one.word for one in compare.compare(old, new)} == {word}


def test_figures_that_were_taken_too_seldom_are_no_tries() -> None:
    old, new = figures(1, 7, 8, 9, 8), figures(1, 1, 2, 3, 2)
    seldom = [Figure("another", "s", (1, 2), "")] * 9
    (found, *_) = compare.compare([*old, *seldom], [*new, *seldom])
    assert found.word == "less"


def test_of_comparisons_of_the_same_one_in_twenty_says_less_or_more() -> None:
    values = random.Random(7)
    wrong = 0
    for _ in range(1000):
        old, new = ([Figure(f"{one}", "s", tuple(values.gauss(20, 2) for _ in range(6)), "") for one in range(8)]
                    for _ in range(2))  # fmt: skip
        wrong += any(one.word in ("less", "more") for one in compare.compare(old, new))
    assert wrong <= 50


def test_what_perhaps_means_is_said_where_it_stands() -> None:
    old, new = figures(8, 10, 11, 12), figures(8, 5, 6, 7)
    assert compare.explained(compare.compare(old, new)) == [
        "perhaps: with so few runs the ranges of some of 8 figures can be apart by chance; "
        "6 runs on each side decide (--runs)"
    ]
    assert compare.explained(compare.compare(old, old)) == []
