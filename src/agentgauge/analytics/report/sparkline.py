"""Charts where there is only text: a line of blocks, and the figures that sum a chart up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.report.document import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.report.document import Chart

__all__ = ["COURSE", "sparkline", "summary"]

COURSE = "course"
"""The column of a summary that is drawn."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-~=+*#"


def sparkline(values: Sequence[float], width: int, *, is_ascii: bool = False) -> str:
    """Draw values in a line of at most that many characters; blank where nothing is known.

    Each character is the mean of what falls into it, between the least and the greatest of all.
    """
    ramp = _ASCII if is_ascii else _BLOCKS
    means = _means(values, max(1, width))
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    least = min(known) / 2  # the difference of two floats may be infinite, that of their halves is not
    span = max(known) / 2 - least
    return "".join(
        " " if mean is None else ramp[0 if span <= 0 else min(len(ramp) - 1, int((mean / 2 - least) / span * len(ramp)))]
        for mean in means
    )


def _means(values: Sequence[float], width: int) -> list[float | None]:
    count = min(width, len(values))
    means: list[float | None] = []
    for index in range(count):
        part = values[index * len(values) // count : (index + 1) * len(values) // count]
        known = [value for value in part if math.isfinite(value)]
        means.append(_mean(known) if known else None)
    return means


def _mean(known: Sequence[float]) -> float:
    try:
        return math.fsum(known) / len(known)
    except OverflowError:  # the sum is no float, though the mean is
        return math.fsum(value / len(known) for value in known)


def summary(chart: Chart, *, spark_width: int = 0, is_ascii: bool = False) -> Table:
    """Return what a chart shows as a table: each line's first, last, least and greatest value, and maybe a sparkline."""
    columns = [
        Column("series", "series"),
        *(Column(name, name, chart.unit) for name in ("first", "last", "min", "mean", "max")),
    ]
    if spark_width:
        columns.append(Column(COURSE, COURSE))
    rows: list[tuple[str | float | None, ...]] = []
    for one in chart.series:
        known = [value for value in one.values if math.isfinite(value)]
        figures = (known[0], known[-1], min(known), _mean(known), max(known)) if known else (None,) * 5
        course = (sparkline(one.values, spark_width, is_ascii=is_ascii),) if spark_width else ()
        rows.append((one.name, *figures, *course))
    return Table(chart.name, chart.title, tuple(columns), tuple(rows))
