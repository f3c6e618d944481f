"""The row about recoveries: what was tried, whether it helped, how long that took, and what was given up."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, latency, series, table_of
from dashboards.build.promql import by_component, by_target, in_range, quantile, rate

__all__ = ["ATTEMPTS", "ESCALATIONS", "recovery"]

ATTEMPTS, ESCALATIONS = "agent_recovery_attempts_total", "agent_recovery_escalations_total"

_LEGEND = "{{instance}} {{component}}"
_NO_ATTEMPT = "no attempt"


def recovery() -> list[Any]:
    """What was tried, whether it helped, and what was given up."""
    times = by_component("agent_recovery_time_to_recover_seconds_bucket")
    tried = ("component", "action", "outcome")
    return [
        table_of(
            "Attempts by action",
            "Which actions were tried on which component in the time range, and what came of them?",
            "short",
            f"{in_range(by_component(ATTEMPTS), ', '.join(tried))} > 0",
            tried,
            width=12,
            no_value=_NO_ATTEMPT,
        ),
        table_of(
            "Escalations",
            "Which components did recovery give up on in the time range, and why?",
            "short",
            f"{in_range(by_component(ESCALATIONS), 'component, reason')} > 0",
            ("component", "reason"),
            width=12,
            no_value="none",
        ),
        series(
            "Attempts by outcome",
            "How often is something recovered, and what comes of it?",
            "ops",
            Query(f"sum by (outcome) ({rate(by_component(ATTEMPTS))})", "{{outcome}}"),
            is_stacked=True,
            no_value=_NO_ATTEMPT,
        ),
        latency(
            "Time to recover",
            "From the failure to the check that found it well again, how long does a recovery take, in the middle and among the"
            " slowest 5 %?",
            Query(quantile(0.5, times, "component"), "{{component}} p50"),
            Query(quantile(0.95, times, "component"), "{{component}} p95"),
            no_value="nothing was recovered",
        ),
        series(
            "Attempts left",
            "How many attempts does each component's budget still allow? At 0 recovery gives up.",
            "short",
            Query(by_component("agent_recovery_attempts_left"), _LEGEND),
            no_value=_NO_ATTEMPT,
        ),
        series(
            "Recoveries in progress",
            "Which components are being recovered (1)?",
            "short",
            Query(by_component("agent_recovery_in_progress"), _LEGEND),
            no_value="no recovery is set up",
        ),
        series(
            "Recoveries that do not last",
            "Which components fail again and again soon after they were recovered (1)?",
            "short",
            Query(by_component("agent_recovery_flapping"), _LEGEND),
            no_value="no recovery is set up",
        ),
        series(
            "Alerts that ask for a recovery",
            "How many alerts come to the webhook of recovery, and what becomes of them?",
            "ops",
            Query(f"sum by (instance, result) ({rate(by_target('agent_recovery_requests_total'))})", "{{instance}} {{result}}"),
            no_value="none has come",
        ),
    ]
