"""The board "Objectives and anomalies": what was promised, how fast it is being broken, and what is unlike the day before."""

from __future__ import annotations

from typing import Any

from dashboards.build.board import Board
from dashboards.build.panels import Column, Query, comparison, link_to, number, series, table_of
from dashboards.build.promql import BAD, GOOD, JUDGED, by_agent, by_target, in_range, rate, share
from dashboards.build.task_rows import NO_OBJECTIVE

__all__ = ["BOARD"]

_AGENT, _LEGEND = "gen_ai_agent_name", "{{gen_ai_agent_name}}"
_CALLS = "agent_task_duration_seconds_count"
_TO_AGENT = {_AGENT: link_to("agentgauge-agents", "Look at this agent", agent=_AGENT)}
# As the rules do: what a task is promised holds in all instances of its job, and may be something else in another job.
_TASK = "job, gen_ai_agent_name, agent_task"
_TASK_LEGEND = "{{job}} {{gen_ai_agent_name}} {{agent_task}}"


def _objective(metric: str) -> str:
    return f"max by ({_TASK}) ({by_agent(metric)})"


_ALLOWED = f"(1 - {_objective('agent_objective_success_ratio')})"
_LATENCY_SHARE = 0.05  # an objective for latency allows as many slower calls


def _bad(window: str) -> str:
    """The failed share of each task's calls in a window, 0 where none failed; nothing without calls, where NaN would stand."""
    judged = f"sum by ({_TASK}) (increase({by_agent(_CALLS, JUDGED)}[{window}]))"
    return f"((sum by ({_TASK}) (increase({by_agent(_CALLS, BAD)}[{window}])) or 0 * {judged}) / ({judged} > 0))"


def _slow(window: str) -> str:
    """The share of each task's successful calls in a window that took longer than its objective."""
    good = f"sum by ({_TASK}) (increase({by_agent(_CALLS, GOOD)}[{window}]))"
    missed = f"sum by ({_TASK}) (increase({by_agent('agent_objective_latency_missed_total')}[{window}]))"
    return f"({missed} / ({good} > 0))"


def _overview() -> list[Any]:
    breached = by_target("agentgauge_threshold_breached")
    broken = f"{_bad('$__range')} > {_ALLOWED}"
    slower = f"{_slow('$__range')} > {_LATENCY_SHARE}"
    promised = f"count({_ALLOWED})"
    return [
        number(
            "Objectives",
            "Of how many tasks is the success promised?",
            "short",
            promised,
            no_value=NO_OBJECTIVE,
            width=6,
        ),
        number(
            "Broken: success",
            "How many tasks failed more often in the time range than their objective allows?",
            "short",
            f"count({broken}) or 0 * {promised}",
            no_value=NO_OBJECTIVE,
            steps={1: "red"},
            width=6,
        ),
        number(
            "Broken: duration",
            "How many tasks took longer in the time range than their objective allows?",
            "short",
            f"count({slower}) or 0 * count({_objective('agent_objective_latency_seconds')})",
            no_value=NO_OBJECTIVE,
            steps={1: "red"},
            width=6,
        ),
        number(
            "Limits breached",
            "How many limits on readings are breached now, hold time and hysteresis considered?",
            "short",
            f"sum({breached})",
            no_value="nobody watches",
            steps={1: "orange"},
            width=6,
        ),
    ]


def _kept() -> list[Any]:
    missed, good = by_agent("agent_objective_latency_missed_total"), by_agent(_CALLS, GOOD)
    slower = share(rate(missed), rate(good), _TASK)
    left = f"1 - {_bad('$__range')} / {_ALLOWED}"
    return [
        comparison(
            "Objectives",
            "Which tasks keep what was promised in the time range, and how much of the errors that they may make is left?",
            ("job", _AGENT, "agent_task"),
            (
                Column("Errors left", "percentunit", left),
                Column("Failed", "percentunit", _bad("$__range")),
                Column("Promised success", "percentunit", _objective("agent_objective_success_ratio")),
                Column("Slower than promised", "percentunit", _slow("$__range")),
                Column("Promised duration", "s", _objective("agent_objective_latency_seconds")),
                Column("Calls", "short", in_range(by_agent(_CALLS, JUDGED), _TASK) + " > 0"),
            ),
            no_value="no task",
            links=_TO_AGENT,
        ),
        series(
            "Calls slower than promised",
            "Which share of each task's successful calls takes longer than its objective? It promises 5 % at most.",
            "percentunit",
            Query(slower, _TASK_LEGEND),
            limit=_LATENCY_SHARE,
            width=12,
            no_value=NO_OBJECTIVE,
        ),
        series(
            "Errors left of 30 d",
            "How much of the errors that each task may make in 30 d is left, if its calls of the last 30 d are counted?",
            "percentunit",
            Query(f"1 - {_bad('30d')} / {_ALLOWED}", _TASK_LEGEND),
            width=12,
            no_value=NO_OBJECTIVE,
        ),
    ]


def _burn() -> list[Any]:
    panels = [
        series(
            f"Burn rate: {short} and {long}",
            f"How many times faster than allowed does each task fail, in the last {short} and {long}? Both above {factor:g}"
            f" {answer}.",
            "short",
            *(
                Query(f"{_bad(window)} / {_ALLOWED}", f"{_TASK_LEGEND} {window_text}")
                for window, window_text in ((short.replace(" ", "").replace("min", "m"), short), (long.replace(" ", ""), long))
            ),
            limit=factor,
            width=12,
            no_value=NO_OBJECTIVE,
        )
        for short, long, factor, answer in (
            ("5 min", "1 h", 14.4, "uses up 2 % of a month's errors in an hour"),
            ("30 min", "6 h", 6, "uses up 5 % of a month's errors in 6 hours"),
            ("2 h", "1 d", 3, "uses up 10 % of a month's errors in a day"),
            ("6 h", "3 d", 1, "uses up a month's errors before the month ends"),
        )
    ]
    latency = series(
        "Burn rate of duration: 1 h and 6 h",
        "How many times more calls than allowed take longer than promised, in the last 1 h and 6 h?",
        "short",
        Query(f"{_slow('1h')} / {_LATENCY_SHARE}", _TASK_LEGEND + " 1 h"),
        Query(f"{_slow('6h')} / {_LATENCY_SHARE}", _TASK_LEGEND + " 6 h"),
        limit=6,
        width=24,
        no_value=NO_OBJECTIVE,
    )
    return [*panels, latency]


def _anomalies() -> list[Any]:
    rules = "Needs the shipped rules in this Prometheus, and for the band six hours of history."
    last = by_agent("agent_task_last_success_timestamp_seconds")
    now, before = (f"sum by ({_AGENT}) (increase({by_agent(_CALLS)}[1h]{offset}))" for offset in ("", " offset 1d"))
    return [
        _band(
            "Duration of runs and its band",
            f"Do runs take far longer than in the day before: above the average and three standard deviations? {rules}",
            "s",
            "job_agent:gen_ai_invoke_agent_duration_seconds:mean5m",
        ),
        _band(
            "Failed share and its band",
            f"Do calls fail far more often than in the day before: above the average and three standard deviations? {rules}",
            "percentunit",
            "job_agent:agent_task_failures:ratio_rate5m",
        ),
        _band(
            "Spending in five minutes and its band",
            f"Is far more or less spent than in the day before: beyond the average and three standard deviations? {rules}",
            "currencyUSD",
            "job_agent:agent_cost_usd:increase5m",
            is_two_sided=True,
        ),
        series(
            "Traffic beside the day before",
            "How many calls did each agent end in the last 1 h, and how many in the same 1 h of the day before (1 d)?",
            "short",
            Query(now, _LEGEND + " now"),
            Query(before, _LEGEND + " the day before"),
            width=12,
            no_value="no call",
        ),
        table_of(
            "Time since the last success",
            "Which task has not succeeded for the longest time?",
            "s",
            f"time() - max by ({_TASK}) ({last})",
            ("job", _AGENT, "agent_task"),
            width=12,
            no_value="no success yet",
            links=_TO_AGENT,
        ),
    ]


def _band(title: str, question: str, unit: str, record: str, *, is_two_sided: bool = False) -> Any:
    chosen = '{job=~"$job",gen_ai_agent_name=~"$agent|"}'
    average, deviation = f"{record}_avg1d{chosen}", f"{record}_stddev1d{chosen}"
    legend = "{{job}} {{gen_ai_agent_name}}"
    lower = [Query(f"clamp_min({average} - 3 * {deviation}, 0)", legend + " lower limit")] if is_two_sided else []
    return series(
        title,
        question,
        unit,
        Query(record + chosen, legend),
        Query(f"{average} + 3 * {deviation}", legend + " upper limit"),
        *lower,
        no_value="no call, or the rules are not loaded",
    )


def _limits() -> list[Any]:
    columns = "metric, severity, operator"
    return [
        table_of(
            "Limits on readings",
            "Which limits do the shipped rules and the program obey, each in its reading's unit?",
            "short",
            f"max by ({columns}) ({by_target('agentgauge_threshold')})",
            ("metric", "operator", "severity"),
            width=12,
            no_value="no limit is set",
        ),
        series(
            "Limits breached",
            "Which limits were breached (1), hold time and hysteresis considered, and when?",
            "short",
            Query(
                f"max by (instance, {columns}) ({by_target('agentgauge_threshold_breached')})",
                "{{instance}} {{metric}} {{operator}} {{severity}}",
            ),
            width=12,
            no_value="nobody watches",
        ),
    ]


BOARD = Board(
    "slo",
    "Objectives and anomalies",
    "What was promised, how fast it is being broken, and what is unlike the day before.",
    (
        ("Overview", _overview),
        ("Objectives", _kept),
        ("Burn rates", _burn),
        ("Anomalies", _anomalies),
        ("Limits", _limits),
    ),
)
