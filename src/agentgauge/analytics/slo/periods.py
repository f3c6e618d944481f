"""Periods of the calendar: days, weeks from Monday on, and months, in somebody's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

__all__ = ["Period", "periods"]

Period = Literal["day", "week", "month"]


def periods(start: float, end: float, period: Period, timezone: tzinfo = UTC) -> Iterator[tuple[float, float]]:
    """Yield the beginnings and ends of the periods that a window touches, in Unix time, the earliest first.

    A day is that of the calendar: 23 or 25 hours long where the clocks are changed.
    """
    begin = datetime.fromtimestamp(start, timezone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "week":
        begin -= timedelta(days=begin.weekday())
    elif period == "month":
        begin = begin.replace(day=1)
    while begin.timestamp() < end:
        if period == "month":
            after = (begin.replace(day=28) + timedelta(days=4)).replace(day=1)
        else:
            after = begin + timedelta(days=7 if period == "week" else 1)
        yield begin.timestamp(), after.timestamp()
        begin = after
