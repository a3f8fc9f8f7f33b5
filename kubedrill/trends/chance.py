"""How likely it is by chance that a value differs from earlier ones, and which of many such differences count. Pure.

All of it holds of values that scatter normally; the spread is one that a few bad nights do not move.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

# Where nothing has changed, a page of any number of figures names one this often; of what is named, as much is false.
FALSE = 0.05
# Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, 1993: Qn in units of a standard deviation.
_NORMAL = 2.2219
_FEW = (0.0, 0.0, 0.399, 0.994, 0.512, 0.844, 0.611, 0.857, 0.669, 0.872)


def spread_of(values: Sequence[float]) -> float:
    """The standard deviation of values, from the nearer quarter of the distances between any two of them (Qn).

    Nearly half of them can be far off without moving it. The median absolute deviation bears as much, but of 30 values
    it knows only as much as the standard deviation does of 12. Where so many are alike that it would be 0, it is the
    plain standard deviation.
    """
    count = len(values)
    if count < 2:
        return 0.0
    distances = sorted(abs(one - other) for one, other in itertools.combinations(values, 2))
    half = count // 2 + 1
    finite = _FEW[count] if count < len(_FEW) else count / (count + (1.4 if count % 2 else 3.8))
    return _NORMAL * finite * distances[half * (half - 1) // 2 - 1] or statistics.stdev(values)


def of_value(value: float, earlier: Sequence[float], least: float) -> float:
    """The chance that a further value is as far from the median of earlier ones, to either side.

    Args:
        value: it.
        earlier: at least 10.
        least: a spread, more than 0: that no series has less, however alike the few values are that were seen.
    """
    count, spread = len(earlier), max(spread_of(earlier), least)
    away = abs(value - statistics.median(earlier))
    # The median itself is off, too: its variance is pi / 2n that of a value. What follows has a t distribution nearly;
    # its degrees were found by two million simulated series each of 10 to 30 values, for chances down to 1 in 100,000.
    return tail(away / (spread * math.sqrt(1 + math.pi / 2 / count)), int(0.7 * count - 1))


def tail(t: float, degrees: int) -> float:
    """How much of Student's t distribution is beyond -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle, odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for number in range(degrees // 2):
        total += term
        factor = 2 * number + 1 + odd
        term *= math.cos(angle) ** 2 * factor / (factor + 1)
    inside = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + inside) if odd else inside))


def largest_that_counts(chances: Sequence[float]) -> float:
    """Of many figures, the chance up to which a difference is more than chance (Benjamini and Hochberg); -1 for none.

    Of a hundred figures, by chance one is as far off as one in a hundred is: the more, the less likely it must be.
    """
    ranked = enumerate(sorted(chances), 1)
    return max((chance for rank, chance in ranked if chance <= FALSE * rank / len(chances)), default=-1.0)
