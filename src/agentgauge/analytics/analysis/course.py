"""What tells a course better: a line, or levels that change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.analysis.changes import Change
    from agentgauge.analytics.analysis.trend import Trend

__all__ = ["MOST_STEPS", "is_stepped", "left_by_line", "left_by_steps"]

MOST_STEPS = 3
"""More of them are a course that wanders, or a season."""
_BETTER = 0.95


def is_stepped(left_of_steps: float, left_of_line: float) -> bool:
    """Tell whether levels leave clearly less than a line does."""
    return left_of_steps < _BETTER * left_of_line


def left_by_line(times: Sequence[float], values: Sequence[float], line: Trend) -> float:
    """Return how far known values lie from a line, added up."""
    seen = [(at, value) for at, value in zip(times, values, strict=True) if math.isfinite(value)]
    begin = seen[0][0]
    return sum(abs(value - line.first - line.slope * (at - begin)) for at, value in seen)


def left_by_steps(values: Sequence[float], changes: Sequence[Change]) -> float:
    """Return how far known values lie from the level of their time, added up."""
    bounds = [0, *(change.index for change in changes), len(values)]
    levels = [changes[0].before, *(change.after for change in changes)]
    return sum(
        abs(value - level)
        for level, begin, end in zip(levels, bounds, bounds[1:], strict=False)
        for value in values[begin:end]
        if math.isfinite(value)
    )
