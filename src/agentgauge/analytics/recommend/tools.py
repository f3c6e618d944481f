"""Tools that are offered and no longer called."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import end, named, selector, window
from agentgauge.analytics.totals import totals

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Grid, Source

__all__ = ["unused_tools"]

_BY = ("gen_ai_agent_name", "gen_ai_tool_name")
_CALLS = "gen_ai_execute_tool_duration_seconds_count"
_MOST_SHARE = 0.01
_LEAST_SECONDS = 86400.0


def unused_tools(source: Source, grid: Grid) -> list[Advice]:
    """Advise to withdraw a tool that was called before, and for a day or more surely in less than 1 % of its agent's runs."""
    if grid.count * grid.step_seconds < _LEAST_SECONDS:
        return []
    runs = totals(source, grid, "gen_ai_invoke_agent_duration_seconds_count", _BY[:1])
    before: dict[tuple[str, ...], float] = {}
    for frame in source.frames(_CALLS, grid):
        key = tuple(frame.labels.get(name, "") for name in _BY)
        before[key] = before.get(key, 0.0) + max((value for value in frame.values if not math.isnan(value)), default=0.0)
    found = []
    for key, called in totals(source, grid, _CALLS, _BY).items():
        many = runs.get(key[:1], 0.0)
        if called or not before.get(key) or not many or wilson(0, many).high > _MOST_SHARE:
            continue
        chosen = selector(named(_BY, key))
        found.append(
            Advice(
                rule="unused_tools",
                labels=named(_BY, key),
                sentence=f"{key[0] or 'An agent without a name'} called its tool {key[1]} in none of {many:,.0f} runs, though it"
                " had before: if it is still offered, withdraw it, or say better in its description when it is of use.",
                evidence=(
                    Evidence("calls in the window", 0.0, "", round(many), wilson(0, many)),
                    Evidence("calls before the window", before[key], "", round(before[key])),
                ),
                gain=Gain(None, "tokens_per_day"),
                query=f"sum(increase({_CALLS}{chosen}{window(grid)})) == 0 and sum({_CALLS}{chosen} @ {end(grid)}) > 0",
                confidence=Confidence.LOW,
                limits="Series show calls, not what is offered: a tool that was never called has none, and what its description"
                " costs in each prompt is in none either. A tool for emergencies is meant to be unused.",
            )
        )
    return found
