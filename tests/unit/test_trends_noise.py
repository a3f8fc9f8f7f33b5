"""Which changes of figures are beyond the noise, and how often that is said of none."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from trend_records import SCATTERED, USUAL, record, values

from kubedrill.trends import chance, noise
from kubedrill.trends.noise import Counted
from kubedrill.trends.records import Record


class TestNoise:
    """The rule: more than chance, a tenth, half a second; ten earlier runs that passed."""

    @pytest.mark.parametrize(
        ("seconds", "beyond"),
        [
            ([*[10] * 9, 20], False),  # nine earlier ones are too few
            ([*[10] * 10, 20], True),
            ([*[10] * 10, 5], True),
            ([*[10] * 10, 11], False),  # a tenth, not more
            ([*[10] * 10, 11.1], True),
            ([*[1] * 10, 1.5], False),  # half a second, not more
            ([*[1] * 10, 1.51], True),
            ([*SCATTERED, 11.6], False),  # with ten runs one in twenty is 2.6 spreads away
            ([*SCATTERED, 11.8], True),
            ([*SCATTERED, 90, 10], False),  # one bad night is not the newest
            ([*SCATTERED, 90, 13], True),  # nor does it hide a change
            ([*SCATTERED, 90, 10, 89, 9.9, 91], False),  # but two of them are nothing new
            ([*SCATTERED, 90, 90, 90, 91], True),  # what stays so is a change, and stays one
            ([0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2.1], False),  # what one night in five brings
            ([0] * 11, False),
        ],
    )
    def test_it(self, seconds: Sequence[float], beyond: bool) -> None:
        assert bool(noise.changes(values(*seconds))) is beyond

    def test_a_figure_that_is_measured_no_more_is_not_named_again(self) -> None:
        one = values(*USUAL, 20)
        assert len(noise.changes(one)) == 1
        assert noise.changes([*one, record(11, 5, figures={"another": 5})]) == []

    @pytest.mark.parametrize(("day", "named"), [(18, 1), (19, 0)])
    def test_nor_that_of_a_drill_that_is_not_run_any_more(self, day: int, named: int) -> None:
        later = record(day - 1, 5, name="hello")
        assert len(noise.changes([*values(*USUAL, 20), later])) == named
        assert len(noise.changes([*values(*USUAL, 20), replace(later, machine="another")])) == 1

    def test_what_is_said(self) -> None:
        (change,) = noise.changes(values(*SCATTERED, 20))
        assert str(change) == (
            "ha-failover on 3+2 docker iptables, Kubernetes 1.37: took: 20.0 s, slower than 10.0 s "
            "(median of 10 earlier runs, spread 0.6 s)"
        )
        (faster,) = noise.changes(values(*SCATTERED, 5))
        assert "faster than 10.0 s" in str(faster)

    @pytest.mark.parametrize(
        "changed",
        [{"machine": "4 cores"}, {"name": "dns"}, {"cluster": "1+2 docker iptables"}, {"kubernetes": "v1.36.5"}],
    )
    def test_only_what_is_alike_is_compared(self, changed: dict[str, Any]) -> None:
        assert not noise.changes([*values(*USUAL), record(10, 20, **changed)])

    def test_a_patch_version_is_the_same_minor(self) -> None:
        assert noise.changes([*values(*USUAL), record(10, 20, kubernetes="v1.37.3")])

    def test_inconclusive_runs_count_nowhere_and_failed_ones_not_as_usual(self) -> None:
        usual = values(*USUAL)
        assert not noise.changes([*usual, record(10, 20, verdict="inconclusive")])
        assert not noise.changes([*usual[:9], record(9, 10, verdict="failed"), record(10, 20)])
        assert noise.changes([*usual, record(10, 20, verdict="failed")])

    def test_runs_that_the_host_disturbed_count_nowhere(self) -> None:
        usual = values(*USUAL, stolen=0.05)
        assert noise.changes([*usual, record(10, 20, stolen=0.05)])
        assert not noise.changes([*usual, record(10, 20, stolen=0.051)])
        assert noise.counted([*usual, record(10, 20, stolen=0.051)]).disturbed == 1
        assert not noise.changes([*usual[:9], record(9, 10, stolen=0.2), record(10, 20)])
        assert noise.counted([*usual[:9], record(9, 10, stolen=0.2), record(10, 20)]).disturbed == 0

    @pytest.mark.parametrize(
        ("newest", "counted"),
        [
            (values(*USUAL, 10), Counted(1, 0, 0)),
            (values(*USUAL), Counted(1, 0, 1)),
            ([*values(*USUAL[:9], 10, verdict="failed"), record(10, 10)], Counted(1, 0, 1)),
            ([*values(*USUAL), record(10, 10, stolen=0.2)], Counted(1, 1, 0)),
            ([record(0, 10, stolen=0.2)], Counted(1, 1, 0)),  # once, though it has too few as well
            ([*values(*USUAL, 10), record(10, 10, name="dns")], Counted(2, 0, 1)),
            ([], Counted(0, 0, 0)),
        ],
    )
    def test_how_many_are_not_judged(self, newest: Sequence[Record], counted: Counted) -> None:
        assert noise.counted(newest) == counted
        judged = sum(noise.chance_of(one) is not None for one in noise.going_on(noise.series(newest)))
        assert judged == counted.judged

    def test_only_the_last_thirty_are_usual(self) -> None:
        old = [record(0, 20, at=f"2026-09-{day:02}T00:00:00") for day in range(1, 31)]
        new = [record(0, 10, at=f"2026-10-{day:02}T00:00:00") for day in range(1, 31)]
        assert noise.changes([*old, *new, record(0, 20)])
        assert not noise.changes([*old, record(0, 20)])

    def test_the_largest_first(self) -> None:
        found = noise.changes([*values(*USUAL, 15), *values(*USUAL, 40, name="dns")])
        assert [one.key.name for one in found] == ["dns", "ha-failover"]


class TestChance:
    """How often something is named where nothing has changed, and whether what has changed is."""

    def pages(self, count: int, runs: int, scatter: float, changed: float = 1.0) -> int:
        """On how many of so many pages of 20 figures something is named; the first of them may have changed."""
        chances = random.Random(f"{runs} {scatter} {changed}")
        named = 0
        for _ in range(count):
            nights = [{f"figure {one}": chances.gauss(20, 20 * scatter) for one in range(20)} for _ in range(runs + 1)]
            nights[-1]["figure 0"] *= changed
            found = [record(number, 0, figures=figures) for number, figures in enumerate(nights)]
            names = [one.key.figure for one in noise.changes(found)]
            named += bool(names) if changed == 1 else "figure 0" in names
        return named

    @pytest.mark.parametrize(("runs", "scatter"), [(10, 0.05), (10, 0.1), (10, 0.2), (25, 0.1), (25, 0.2)])
    def test_a_page_on_which_nothing_changed_names_something_once_in_twenty(self, runs: int, scatter: float) -> None:
        assert self.pages(150, runs, scatter) <= 0.08 * 150

    def test_a_third_more_than_usual_is_named(self) -> None:
        assert self.pages(40, 25, 0.05, changed=1.3) >= 0.9 * 40

    @pytest.mark.parametrize("runs", [10, 15, 30])
    def test_a_chance_is_one(self, runs: int) -> None:
        """Of values that are no different, one in twenty has a chance of at most one in twenty, and so on."""
        chances = random.Random(runs)
        found = []
        for _ in range(2000):
            *earlier, newest = (chances.gauss(10, 1) for _ in range(runs + 1))
            found.append(chance.of_value(newest, earlier, 1e-9))
        for wanted, least in ((0.05, 0.03), (0.01, 0.004)):
            assert least <= sum(one <= wanted for one in found) / len(found) <= 1.3 * wanted

    @pytest.mark.parametrize(
        ("t", "degrees", "beyond"),
        [(12.706, 1, 0.05), (2.571, 5, 0.05), (9.082, 6, 1e-4), (2.845, 20, 0.01), (3.850, 20, 1e-3), (0, 7, 1)],
    )
    def test_the_tails_of_t(self, t: float, degrees: int, beyond: float) -> None:
        assert chance.tail(t, degrees) == pytest.approx(beyond, rel=0.002)

    @pytest.mark.parametrize(
        ("chances", "limit"),
        [
            ([], -1), ([0.04], 0.04), ([0.06], -1), ([0.04, 0.5], -1), ([0.02, 0.5], 0.02),
            # Where half of all figures changed, each of them needs to be less unlikely.
            ([0.02, 0.5, 0.02, 0.02, 0.9, 0.8], 0.02), ([0.02, 0.5, 0.7, 0.8, 0.9, 0.8], -1),
        ],
    )  # fmt: skip
    def test_the_more_figures_the_less_likely_it_must_be(self, chances: list[float], limit: float) -> None:
        assert chance.largest_that_counts(chances) == limit

    def test_a_spread_that_bad_nights_do_not_move(self) -> None:
        chances = random.Random(1)
        usual = [chances.gauss(100, 5) for _ in range(30)]
        assert chance.spread_of(usual) == pytest.approx(statistics.stdev(usual), rel=0.2)
        assert chance.spread_of([*usual[:24], *[900.0] * 6]) < 12
        assert chance.spread_of([3.0]) == 0
        assert chance.spread_of([0] * 9 + [1]) == pytest.approx(statistics.stdev([0] * 9 + [1]))
