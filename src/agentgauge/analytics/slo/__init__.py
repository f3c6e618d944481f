"""SLO and SLA reports: whether objectives were kept, what is left of the error budget, and what went wrong.

Source: Google, The Site Reliability Workbook, chapters 2 and 5.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.slo.agreement import AgreementRow, agreement
from agentgauge.analytics.slo.counts import BY, counted, tasks_known
from agentgauge.analytics.slo.incidents import Limits, Spans, find_incidents
from agentgauge.analytics.slo.periods import Period, periods
from agentgauge.analytics.slo.report import Attained, Budget, Cause, Incident, Kept, Promise, SloReport, SloResult
from agentgauge.analytics.totals import Totals
from agentgauge.errors import ConfigurationError
from agentgauge.requirements import require_count, require_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.slo.counts import Counted
    from agentgauge.targets import Objective

__all__ = [
    "AgreementRow",
    "Attained",
    "Budget",
    "Cause",
    "Incident",
    "Kept",
    "Period",
    "Promise",
    "SloReport",
    "SloResult",
    "agreement",
    "slo_report",
]


def slo_report(
    source: Source,
    grid: Grid,
    *,
    objectives: Mapping[tuple[str, str], Objective] | None = None,
    period: Period = "day",
    timezone: tzinfo = UTC,
    incident_burn_rate: float = 6.0,
    incident_least_bad: int = 3,
    incident_apart_seconds: float = 300.0,
    burn_seconds: float = 3600.0,
) -> SloReport:
    """Report which objectives were kept, over all instances of a job.

    Args:
        source: Where the series are.
        grid: The window.
        objectives: By agent and task; they replace those that the series have, for the tasks they name. A latency is
            judged where it is the one that the program itself declares, since that alone is counted, and left out else. What
            they say of a task of which the window has nothing is ``NO_DATA``: see ``SloReport.tasks``.
        period: The periods of the calendar to report by.
        timezone: Whose calendar.
        incident_burn_rate: How fast the budget must be spent for an incident (6 spends that of 30 days in 5).
        incident_least_bad: How many bad calls an incident must have.
        incident_apart_seconds: For how long nothing may burn so fast before an incident is over.
        burn_seconds: Over how long before the window's end the present burn rate is taken.

    Raises:
        ConfigurationError: A setting cannot work.
        SourceError: The source cannot be asked.
    """
    if period not in get_args(Period):
        raise ConfigurationError(f"period={period!r}: give one of {', '.join(get_args(Period))}")
    if not incident_burn_rate > 0:
        raise ConfigurationError(f"incident_burn_rate={incident_burn_rate!r}: give a number above 0, such as 6")
    require_count("incident_least_bad", incident_least_bad, "3")
    require_seconds("incident_apart_seconds", incident_apart_seconds, "300")
    require_seconds("burn_seconds", burn_seconds, "3600")
    limits = Limits(incident_burn_rate, incident_least_bad, incident_apart_seconds)
    start, end = grid.start - grid.step_seconds, grid.end
    extent = source.extent()
    grown = Totals(source, grid, first=extent[0] if extent is not None else -math.inf)
    promised = counted(source, grid, grown, objectives)
    spans = Spans(grown)
    cuts = list(periods(start, end, period, timezone))
    results = []
    for one in promised:
        incidents = find_incidents(one, grid, limits, spans, timezone)
        parts = tuple(_attained(one, grid, cut, incidents, timezone) for cut in cuts)
        ended = [incident.duration_seconds for incident in incidents if not incident.is_open]
        down = math.fsum(incident.duration_seconds for incident in incidents)
        results.append(
            SloResult(
                labels={name: value for name, value in zip(BY, one.key, strict=True) if value},
                promise=one.promise,
                objective=one.objective,
                latency_seconds=one.latency_seconds,
                whole=_attained(one, grid, (start, end), incidents, timezone),
                periods=parts,
                budget=_budget(one, grid, burn_seconds),
                incidents=incidents,
                mttr_seconds=math.fsum(ended) / len(ended) if ended else math.nan,
                mtbf_seconds=(end - start - down) / len(incidents) if incidents else math.nan,
            )
        )
    named = {one.key[1:] for one in promised}
    known = tasks_known(grown)
    return SloReport(
        source=source.name,
        start=datetime.fromtimestamp(start, timezone),
        end=datetime.fromtimestamp(end, timezone),
        period=period,
        results=tuple(results),
        without_objective=tuple(sorted(task for task, has_run in known.items() if has_run and task not in named)),
        tasks=tuple(sorted(known)),
    )


def _attained(one: Counted, grid: Grid, cut: tuple[float, float], incidents: Sequence[Incident], timezone: tzinfo) -> Attained:
    """Add up the steps that end in a period; one that begins before it counts where it ends."""
    start, end = grid.start - grid.step_seconds, grid.end
    inside = [index for index, at in enumerate(grid.times) if cut[0] < at <= cut[1]]
    calls, bad = math.fsum(one.calls[index] for index in inside), math.fsum(one.bad[index] for index in inside)
    ratio = 1 - bad / calls if calls > 0 else math.nan
    allowed = (1 - one.objective) * calls * (1 + 1e-9)  # as a count: 1 - bad / calls may miss an objective by a rounding error
    held = Kept.KEPT if bad <= allowed else Kept.MISSED
    kept = held if calls > 0 else Kept.NO_DATA
    return Attained(
        start=datetime.fromtimestamp(max(cut[0], start), timezone),
        end=datetime.fromtimestamp(min(cut[1], end), timezone),
        is_whole=start <= cut[0] and cut[1] <= end,
        kept=kept,
        ratio=ratio,
        interval=wilson(calls - bad, calls) if calls > 0 else None,
        calls=round(calls),
        bad=round(bad),
        down_seconds=math.fsum(
            max(0.0, min(incident.end.timestamp(), cut[1]) - max(incident.start.timestamp(), cut[0])) for incident in incidents
        ),
    )


def _budget(one: Counted, grid: Grid, burn_seconds: float) -> Budget:
    calls, bad, share = math.fsum(one.calls), math.fsum(one.bad), 1 - one.objective
    steps = min(grid.count, max(1, round(burn_seconds / grid.step_seconds)))
    late, late_bad = math.fsum(one.calls[-steps:]), math.fsum(one.bad[-steps:])
    spent = bad / (share * calls) if calls > 0 else math.nan
    return Budget(
        allowed=share * calls,
        spent=bad,
        spent_ratio=spent,
        remaining_ratio=1 - spent,
        burn_rate=late_bad / late / share if late > 0 else math.nan,
        burn_seconds=steps * grid.step_seconds,
    )
