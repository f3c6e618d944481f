"""Recommend: what could be done better, from what the series of a window show; without evidence there is no advice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import duration
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.concurrency import lower_concurrency, raise_concurrency
from agentgauge.analytics.recommend.models import cheaper_model
from agentgauge.analytics.recommend.prompts import repeated_prompts
from agentgauge.analytics.recommend.retries import useless_retries
from agentgauge.analytics.recommend.timeouts import timeouts
from agentgauge.analytics.recommend.tools import unused_tools
from agentgauge.analytics.recommend.waste import repeated_tool_calls, wasted_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.analytics.frames import Grid, Source

__all__ = ["RULES", "Advice", "Confidence", "Evidence", "Gain", "recommend"]

RULES: tuple[Callable[[Source, Grid], list[Advice]], ...] = (
    cheaper_model,
    repeated_prompts,
    wasted_tokens,
    repeated_tool_calls,
    timeouts,
    raise_concurrency,
    lower_concurrency,
    useless_retries,
    unused_tools,
)
"""Every rule."""

_DAY = 86400.0
_UNITS = ("usd_per_day", "seconds_per_day", "calls_per_day", "tokens_per_day")


def recommend(source: Source, grid: Grid) -> list[Advice]:
    """Return what could be done better, that with the greatest expected gain first: dollars, then seconds, calls, tokens.

    Args:
        source: Where the series are.
        grid: The window; a week is a good one. Of less than a day no gain a day is more than of low confidence, and the advice
            says of how long it is made.

    Raises:
        SourceError: The source cannot be asked.
    """
    found = [_doubted(advice, grid) for rule in RULES for advice in rule(source, grid)]
    return sorted(found, key=lambda advice: (_UNITS.index(advice.gain.unit), -(advice.gain.value or 0.0), advice.rule))


def _doubted(advice: Advice, grid: Grid) -> Advice:
    """Say where a day is made of less than one."""
    seconds = grid.count * grid.step_seconds
    if seconds >= _DAY or advice.gain.value is None or not advice.gain.unit.endswith("_per_day"):
        return advice
    told = f"The gain a day is that of {duration(seconds)}, as though the whole day were like them: look at a day or more."
    return replace(advice, confidence=Confidence.LOW, limits=f"{told} {advice.limits}".strip())
