"""Numbers, moments and data as text for people. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NOTHING = "–"
VERDICTS = {
    "passed": "Passed: everything that the drill requires was measured and met.",
    "failed": "Failed: something that the drill requires was not met.",
    "inconclusive": "Inconclusive: the run says nothing about the cluster, neither good nor bad.",
}


def seconds(value: float | None) -> str:
    """A time in seconds, as exact as it is worth reading: '0.24 s', '83.2 s', '4 min 10 s'."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0 s"
    if abs(value) < 9.995:
        return f"{value:.2f} s"
    if abs(value) < 119.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def moment(value: float) -> str:
    """A moment of the run, seconds since its start, always with one decimal: '143.2 s'."""
    return f"{value:.1f} s" if math.isfinite(value) else NOTHING


def milliseconds(value: float | None) -> str:
    """A latency given in seconds: '3.2 ms', '412 ms'."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value * 1000:.1f} ms" if value < 0.0995 else f"{value * 1000:,.0f} ms"


def percent(share: float) -> str:
    """A share from 0 to 1: '1.3 %'."""
    return f"{share * 100:.1f} %" if math.isfinite(share) else NOTHING


def count(number: int, one: str, many: str = "") -> str:
    """A number and its noun: '1 sample', '2 samples'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def parsed(started: str) -> datetime | None:
    """When a run started; None where that is no ISO 8601 time. Without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(started)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def calendar(started: str) -> str:
    """A start for people: '2026-11-24 19:56:16 UTC'; as it is where it is no ISO 8601 time."""
    when = parsed(started)
    return f"{when:%Y-%m-%d %H:%M:%S} {when.tzname()}" if when else started


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters of a text, with an ellipsis where some are missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def plain(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Pairs of texts; what is no text is written as JSON."""
    return tuple(
        (str(key), value if isinstance(value, str) else json.dumps(value, default=str)) for key, value in values.items()
    )
