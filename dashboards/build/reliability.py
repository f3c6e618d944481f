"""The board "Reliability": what keeps agents up, whether it is at work, and whether it helps."""

from __future__ import annotations

from typing import Any

from dashboards.build import breaker_rows, health_rows, recovery_rows
from dashboards.build.board import BREAKER, COMPONENT, Board
from dashboards.build.breaker_rows import NO_BREAKER
from dashboards.build.health_rows import NOT_CHECKED
from dashboards.build.panels import Query, number, series, table_of
from dashboards.build.promql import by_agent, by_breaker, by_component, by_target, in_range, rate, share
from dashboards.build.recovery_rows import ATTEMPTS, ESCALATIONS

__all__ = ["BOARD"]

_STATUS, _STATE = "agent_health_status", "agent_circuit_breaker_state"
_SHED, _CALLS = "agent_tasks_shed_total", "agent_task_duration_seconds_count"
_NOTIFICATIONS = "agentgauge_notifications_total"
_LOST = 'outcome=~"failed|timed_out|dropped"'
_TRIED = 'outcome!~"cancelled|dry_run"'
_TASK, _TASK_LEGEND = "gen_ai_agent_name, agent_task", "{{gen_ai_agent_name}} {{agent_task}}"


def _overview() -> list[Any]:
    numbers = (
        number(
            "Components",
            "How many components do the programs check?",
            "short",
            f"count(group by (job, instance, component) ({by_component(_STATUS)}))",
            no_value="none is checked",
        ),
        number(
            "Components unwell",
            "How many components are not healthy now: in the status warning, critical or down, or unknown?",
            "short",
            _now(by_component, _STATUS, "healthy"),
            no_value=NOT_CHECKED,
            steps={1: "red"},
        ),
        number(
            "Circuit breakers not closed",
            "How many circuit breakers are open, half open or opened by hand now?",
            "short",
            _now(by_breaker, _STATE, "closed"),
            no_value=NO_BREAKER,
            steps={1: "orange"},
        ),
        number(
            "Attempts to recover",
            "How many attempts to recover a component were made in the time range?",
            "short",
            in_range(by_component(ATTEMPTS)),
            no_value="none",
        ),
        number(
            "Attempts that helped",
            "Which share of the attempts of the time range recovered the component, those cancelled or only rehearsed left out?",
            "percentunit",
            f"({_recovered()} or 0 * {_tried()}) / ({_tried()} > 0)",
            no_value="no attempt",
        ),
        number(
            "Escalations",
            "How many failures of the time range did recovery give up on?",
            "short",
            in_range(by_component(ESCALATIONS)),
            no_value="none",
            steps={1: "red"},
        ),
        number(
            "Requests shed",
            "How many requests of the time range were refused before anybody began on them, for whatever reason?",
            "short",
            in_range(by_agent(_SHED)),
            no_value="none",
            steps={1: "orange"},
        ),
        number(
            "Notifications lost",
            "How many notifications of the time range did a program's own handlers not deliver: failed, timed out or dropped?",
            "short",
            f"{in_range(by_target(_NOTIFICATIONS, _LOST))} or 0 * {in_range(by_target(_NOTIFICATIONS))}",
            no_value="none was sent",
            steps={1: "red"},
        ),
    )
    return [panel.span(6) for panel in numbers]


def _now(select: Any, family: str, well: str) -> str:
    """Count those in another state than the good one; 0 where all are in it, and nothing where there are none."""
    other = f'{family}!="{well}"'
    return f"count({select(family, other)} == 1) or 0 * count({select(family)})"


def _recovered() -> str:
    recovered = 'outcome="recovered"'
    return in_range(by_component(ATTEMPTS, recovered))


def _tried() -> str:
    return in_range(by_component(ATTEMPTS, _TRIED))


def _shed_load() -> list[Any]:
    not_ending = 'reason!="shutting_down"'
    shed = rate(by_agent(_SHED, not_ending))
    # a union of both families: what is refused is in no duration
    asked = f"{shed} or {rate(by_agent(_CALLS))}"
    return [
        series(
            "Requests shed by reason",
            "How many requests does each agent refuse before it begins on them, and why?",
            "ops",
            Query(f"sum by ({_TASK}, reason) ({rate(by_agent(_SHED))})", _TASK_LEGEND + " {{reason}}"),
            is_stacked=True,
            no_value="none",
        ),
        series(
            "Shed share of requests",
            "Which share of its requests does each task turn away, those at the end of the program left out?",
            "percentunit",
            Query(f"{share(shed, asked, _TASK)} and sum by ({_TASK}) ({shed})", _TASK_LEGEND),
            limit=0.05,
            no_value="no request, or none can be refused",
        ),
        table_of(
            "Requests shed",
            "Which tasks turned how many requests away in the time range, and why?",
            "short",
            f"{in_range(by_agent(_SHED), _TASK + ', reason')} > 0",
            ("gen_ai_agent_name", "agent_task", "reason"),
            no_value="none",
        ),
    ]


def _notifications() -> list[Any]:
    sent, lost = (rate(by_target(_NOTIFICATIONS, matchers)) for matchers in ('outcome!="suppressed"', _LOST))
    of_handler = "{{instance}} {{handler}}"
    return [
        series(
            "Notifications by outcome",
            "What becomes of what the programs tell their own handlers? Suppressed ones were repeats.",
            "ops",
            Query(f"sum by (instance, handler, outcome) ({rate(by_target(_NOTIFICATIONS))})", of_handler + " {{outcome}}"),
            is_stacked=True,
            width=12,
            no_value="none was sent",
        ),
        series(
            "Lost share of notifications",
            "Which share of what a program tells each of its handlers is lost: failed, timed out or dropped?",
            "percentunit",
            Query(share(lost, sent, "instance, handler"), of_handler),
            width=12,
            no_value="none was sent",
        ),
    ]


BOARD = Board(
    "reliability",
    "Reliability",
    "What keeps agents up - health checks, circuit breakers, recoveries, refused load, notifications - and whether it helps.",
    (
        ("Overview", _overview),
        ("Health", health_rows.health),
        ("Circuit breakers", breaker_rows.breakers),
        ("Recovery", recovery_rows.recovery),
        ("Shed load", _shed_load),
        ("Notifications", _notifications),
    ),
    (COMPONENT, BREAKER),
)
