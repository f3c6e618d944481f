"""The row about the components that programs check: how each is, since when nobody looked, and what its checks found."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Column, Query, comparison, latency, series, states
from dashboards.build.promql import by_component, quantile, rate, share

__all__ = ["NOT_CHECKED", "health"]

NOT_CHECKED = "no component is checked"

_STATUS = "agent_health_status"
_CHECKS = "agent_health_checks_total"
_DURATION = "agent_health_check_duration_seconds_bucket"
_OF = ("job", "instance", "component", "component_type")
_BY = ", ".join(_OF)
_LEGEND = "{{instance}} {{component}}"
_UNWELL = 'status!="healthy"'


def health() -> list[Any]:
    """How each component is, and what its checks found."""
    last, interval = (by_component(f"agent_health_{what}") for what in ("last_check_timestamp_seconds", "check_interval_seconds"))
    return [
        _table(f"time() - max by ({_BY}) ({last})"),
        states(
            "Status of components",
            "Which status had each component, and when?",
            Query(f"max by (instance, component, {_STATUS}) ({by_component(_STATUS)}) > 0", f"{_LEGEND} {{{{{_STATUS}}}}}"),
            width=24,
            no_value=NOT_CHECKED,
        ),
        series(
            "Checks by what they found",
            "How often are components checked, and what do checks find, before failure and success thresholds?",
            "ops",
            Query(f"sum by (status) ({rate(by_component(_CHECKS))})", "{{status}}"),
            is_stacked=True,
            no_value=NOT_CHECKED,
        ),
        series(
            "Unwell share of checks",
            "Which share of each component's checks does not find it healthy?",
            "percentunit",
            Query(share(rate(by_component(_CHECKS, _UNWELL)), rate(by_component(_CHECKS)), "instance, component"), _LEGEND),
            no_value=NOT_CHECKED,
        ),
        latency(
            "Duration of checks",
            "How long do the checks of each component take, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, by_component(_DURATION), "instance, component"), _LEGEND + " p50"),
            Query(quantile(0.95, by_component(_DURATION), "instance, component"), _LEGEND + " p95"),
            no_value=NOT_CHECKED,
        ),
        series(
            "Time since the last check",
            "Does anybody still look? Past three intervals and half a minute a status is not to be relied on.",
            "s",
            Query(f"time() - {last}", _LEGEND),
            Query(f"3 * {interval} + 30", _LEGEND + " limit"),
            no_value="nothing was checked yet",
        ),
        series(
            "Changes of status",
            "Which components change their status, and to which?",
            "ops",
            Query(
                f"sum by (instance, component, status) ({rate(by_component('agent_health_transitions_total'))})",
                _LEGEND + " {{status}}",
            ),
            no_value="none has changed",
        ),
        series(
            "Flapping components",
            "Which components go to and fro between statuses (1)?",
            "short",
            Query(by_component("agent_health_flapping"), _LEGEND),
            no_value=NOT_CHECKED,
        ),
    ]


def _table(since_last_check: str) -> Any:
    found = f"increase({by_component(_CHECKS)}[$__range])"
    unwell = f"increase({by_component(_CHECKS, _UNWELL)}[$__range])"
    durations = f"increase({by_component(_DURATION)}[$__range])"
    changes = f"increase({by_component('agent_health_transitions_total')}[$__range])"
    return comparison(
        "Components",
        "How is each component now, what did its checks of the time range find, and since when did nobody look?",
        (*_OF, _STATUS),
        (
            Column("Unwell", "percentunit", _with_status(share(unwell, found, _BY))),
            Column("Changes", "short", _with_status(f"sum by ({_BY}) ({changes})")),
            Column("Since the last check", "s", _with_status(since_last_check)),
            Column("Duration (p95)", "s", _with_status(f"histogram_quantile(0.95, sum by ({_BY}, le) ({durations})) >= 0")),
            Column("Flapping", "short", _with_status(f"max by ({_BY}) ({by_component('agent_health_flapping')})")),
        ),
        no_value=NOT_CHECKED,
    )


def _with_status(expression: str) -> str:
    """Give each element the status that its component has now, as a label."""
    now = f"max by ({_BY}, {_STATUS}) ({by_component(_STATUS)}) == 1"
    return f"({expression}) * on ({_BY}) group_left ({_STATUS}) ({now})"
