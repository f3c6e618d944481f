"""How fine to look: as the samples of a source allow, and its windows need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.steps import sample_interval

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Grid, Source

__all__ = ["LEAST_TIMES", "suited_step"]

LEAST_TIMES = 8
_GOOD_TIMES = 20
_STEPS = (30.0, 15.0, 10.0, 5.0, 2.0, 1.0)


def suited_step(source: Source, window: Grid, before_seconds: float) -> float:
    """Return the step to look at a window with: 30 s, or finer where a short window and its samples call for it.

    Args:
        source: Where the samples are.
        window: What is looked at; a step of 30 s or more is kept.
        before_seconds: How long the time is that it is compared with.

    Raises:
        SourceError: The source cannot be asked.
    """
    if window.step_seconds >= _STEPS[0]:
        return window.step_seconds
    least = max(window.step_seconds, sample_interval(source, window) * 0.9)  # intervals waver
    shorter = min(window.count * window.step_seconds, before_seconds)
    allowed = [step for step in _STEPS if step >= least] or [_STEPS[0]]
    return next((step for step in allowed if math.floor(shorter / step) >= _GOOD_TIMES), allowed[-1])
