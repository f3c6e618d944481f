"""Incidents: times in which an error budget was spent too fast, and what the bad calls in them had in common.

Source: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs": a burn rate is the share of bad calls divided by the
share that the objective allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.outcomes import is_bad, is_failed
from agentgauge.analytics.slo.report import Cause, Incident, Promise

if TYPE_CHECKING:
    from datetime import tzinfo

    from agentgauge.analytics.frames import Grid
    from agentgauge.analytics.slo.counts import Counted
    from agentgauge.analytics.totals import Totals

__all__ = ["Limits", "Spans", "find_incidents"]

_AGENT, _TASK = "gen_ai_agent_name", "agent_task"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an incident is.

    Attributes:
        burn_rate: How fast the budget must be spent over it.
        least_bad: How many bad calls it must have.
        apart_seconds: For how long no call may be bad before it is over.
    """

    burn_rate: float
    least_bad: int
    apart_seconds: float


class Spans:
    """What grew between two steps, by one label, read once for all incidents."""

    def __init__(self, grown: Totals) -> None:
        by = ("job", _AGENT, _TASK)
        self._errors = grown.steps("agent_task_errors_total", (*by, "error_type"))
        self._outcomes = grown.steps("agent_task_duration_seconds_count", (*by, "outcome"), is_bad)
        self._models = grown.steps(
            "gen_ai_client_operation_duration_seconds_count",
            ("job", "gen_ai_request_model"),
            is_failed,
        )
        self._tools = grown.steps(
            "gen_ai_execute_tool_duration_seconds_count",
            ("job", _AGENT, "gen_ai_tool_name"),
            is_failed,
        )

    def causes(self, key: tuple[str, ...], first: int, last: int) -> tuple[Cause, ...]:
        """Return what dominated among the failures of a task between two steps, the surest first."""
        job, agent, _ = key
        found = []
        for label, series, of in (
            ("error_type", self._errors, key),
            ("outcome", self._outcomes, key),
            ("gen_ai_tool_name", self._tools, (job, agent)),
            ("gen_ai_request_model", self._models, (job,)),
        ):
            inside = {
                own[-1]: math.fsum(value for value in values[first : last + 1] if value > 0)
                for own, values in series.items()
                if own[:-1] == of
            }
            total = math.fsum(inside.values())
            if total < 1:
                continue
            value, count = max(inside.items(), key=lambda item: item[1])
            share = count / total
            found.append(Cause(label, value, round(count), share, _SENTENCES[label].format(value, share, round(total))))
        return tuple(found)


_SENTENCES = {
    "error_type": "{1:.0%} of {2} errors were {0}",
    "outcome": "{1:.0%} of {2} bad calls ended in {0}",
    "gen_ai_tool_name": "the agent's tool {0} had {1:.0%} of its {2} failed tool calls meanwhile",
    "gen_ai_request_model": "the model {0} had {1:.0%} of the {2} failed LM calls of all agents meanwhile",
}


def find_incidents(one: Counted, grid: Grid, limits: Limits, spans: Spans, timezone: tzinfo = UTC) -> tuple[Incident, ...]:
    """Return the incidents of an objective, the earliest first.

    Steps with bad calls that are no further apart than the limit are one run; it is an incident where it has enough bad
    calls, the
    budget was spent fast enough over it, and the share of bad calls is surely above what the objective allows (Wilson, 95 %).
    """
    allowed = 1 - one.objective
    apart = max(1, round(limits.apart_seconds / grid.step_seconds))
    total = math.fsum(one.calls)
    found = []
    for first, last in _runs(one, allowed * limits.burn_rate, apart):
        calls, bad = math.fsum(one.calls[first : last + 1]), math.fsum(one.bad[first : last + 1])
        if bad < limits.least_bad or bad / calls < allowed * limits.burn_rate or wilson(bad, calls).low <= allowed:
            continue
        start, end = grid.times[first] - grid.step_seconds, grid.times[last]
        found.append(
            Incident(
                start=datetime.fromtimestamp(start, timezone),
                end=datetime.fromtimestamp(end, timezone),
                is_open=not math.fsum(one.calls[last + 1 :]) and grid.count - 1 - last <= apart,
                duration_seconds=end - start,
                calls=round(calls),
                bad=round(bad),
                worst_ratio=max(one.bad[index] / one.calls[index] for index in range(first, last + 1) if one.calls[index] > 0),
                burn_rate=bad / calls / allowed,
                budget_ratio=bad / (allowed * total),
                causes=spans.causes(one.key, first, last) if one.promise is Promise.SUCCESS else (),
            )
        )
    return tuple(found)


def _runs(one: Counted, least_ratio: float, apart: int) -> list[tuple[int, int]]:
    """Return first and last step of each run of steps that are worse than allowed; what is near each other is one run."""
    pairs = zip(one.bad, one.calls, strict=True)
    worse = [index for index, (bad, calls) in enumerate(pairs) if bad > 0 and bad >= least_ratio * calls]
    runs: list[tuple[int, int]] = []
    for index in worse:
        if runs and index - runs[-1][1] <= apart:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
