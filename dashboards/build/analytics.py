"""The board "Analytics": what programs find in their own history, what they will need, and whether the history is kept."""

from __future__ import annotations

from typing import Any

from dashboards.build.board import Board
from dashboards.build.panels import Query, number, series, table_of
from dashboards.build.promql import by_agent, by_target
from dashboards.build.readings import reading, total_rate

__all__ = ["BOARD"]

_SCORE, _SIGNALS = "agentgauge_anomaly_score", "agentgauge_analysis_signals"
_OF = ("job", "instance", "measure", "gen_ai_agent_name")
_OF_AGENTS = 'gen_ai_agent_name!=""'
_TASK = "gen_ai_agent_name, agent_task"
_TASK_LEGEND = "{{gen_ai_agent_name}} {{agent_task}}"
_JUDGED, _TOO_SHORT = 'state="judged"', 'state="too_short"'
_NOT_ANALYSED = "no program analyses its history"
_NO_HISTORY = "no program keeps a history"
_NOT_PREDICTED = "nothing can be predicted yet"


def _overview() -> list[Any]:
    numbers = (
        number(
            "Anomalies now",
            "How many measures are out of the ordinary now?",
            "short",
            f"count({by_agent(_SCORE)} >= 1) or 0 * count({by_agent(_SCORE)})",
            no_value=_NOT_ANALYSED,
            steps={1: "red"},
        ),
        number(
            "Signals judged",
            "Of how many signals is the past long enough to judge them by? With a sweep each 15 s the first are judged after "
            "33 minutes.",
            "short",
            f"sum({by_target(_SIGNALS, _JUDGED)})",
            no_value=_NOT_ANALYSED,
        ),
        number(
            "Signals not judged yet",
            "Of how many is it not? Each needs 64 steps of half a minute; ratios and durations 5 calls or more in each.",
            "short",
            f"sum({by_target(_SIGNALS, _TOO_SHORT)})",
            no_value=_NOT_ANALYSED,
        ),
        number(
            "Histories in memory alone",
            "How many programs cannot write their history now?",
            "short",
            f"sum({by_target('agentgauge_history_memory_only')})",
            no_value=_NO_HISTORY,
            steps={1: "red"},
        ),
    )
    return [panel.span(6) for panel in numbers]


def _anomalies() -> list[Any]:
    return [
        *_overview(),
        series(
            "Anomaly scores",
            "How far are the ten measures from what their past lets expect that are farthest? In multiples of what chance "
            "passes in one of a thousand looks: from 1 on it is an anomaly.",
            "short",
            Query(f"topk(10, max by (measure) ({by_agent(_SCORE)}))", "{{measure}}"),
            width=16,
            limit=1,
            no_value=_NOT_ANALYSED,
        ),
        table_of(
            "Measures of agents by their score",
            "Which measures of which agent are farthest from what their past lets expect now?",
            "short",
            f"topk(20, max by ({', '.join(_OF)}) ({by_agent(_SCORE, _OF_AGENTS)}))",
            _OF,
            no_value=_NOT_ANALYSED,
        ),
        series(
            "Signals that can be judged",
            "How many signals have a past that is long enough to judge them by, and how many not yet?",
            "short",
            Query(f"sum by (instance, state) ({by_target(_SIGNALS)})", "{{instance}} {{state}}"),
            width=12,
            no_value=_NOT_ANALYSED,
        ),
        series(
            "Time since the last analysis",
            "Is the history still analysed? Past three intervals and a minute its findings are not to be relied on.",
            "s",
            Query(f"time() - {by_target('agentgauge_analysis_last_run_timestamp_seconds')}", "{{instance}}"),
            Query(f"3 * {by_target('agentgauge_analysis_interval_seconds')} + 60", "{{instance}} limit"),
            width=12,
            no_value=_NOT_ANALYSED,
        ),
    ]


def _capacity() -> list[Any]:
    return [
        series(
            "Replicas needed",
            "How many replicas does the load need that is predicted for the hour ahead? The sum of what each instance says.",
            "short",
            Query(f"sum by ({_TASK}) ({by_agent('agent_capacity_replicas')})", _TASK_LEGEND),
            Query(f"count by ({_TASK}) ({by_agent('agent_capacity_replicas')})", _TASK_LEGEND + " running"),
            no_value=_NOT_PREDICTED,
        ),
        series(
            "Predicted tasks a second",
            "How many tasks a second will there be at the busiest moment of the hour ahead, at most?",
            "ops",
            Query(f"sum by ({_TASK}) ({by_agent('agent_capacity_predicted_tasks_per_second')})", _TASK_LEGEND),
            no_value=_NOT_PREDICTED,
        ),
        series(
            "Predicted tasks at once",
            "How many tasks will be in progress at once then?",
            "short",
            Query(f"sum by ({_TASK}) ({by_agent('agent_capacity_predicted_concurrency')})", _TASK_LEGEND),
            no_value=_NOT_PREDICTED,
        ),
    ]


def _history() -> list[Any]:
    return [
        series(
            "Sweeps of the history",
            "Is each sweep written, or kept in memory since the file cannot be written, or dropped?",
            "ops",
            total_rate("agentgauge_history_sweeps_total", "instance, outcome", "{{instance}} {{outcome}}"),
            no_value=_NO_HISTORY,
        ),
        series(
            "History in memory alone",
            "Which programs keep their history in memory alone (1), since its file cannot be written?",
            "short",
            reading("agentgauge_history_memory_only"),
            no_value=_NO_HISTORY,
        ),
        series(
            "Time since the history was written",
            "How much would be lost if the program ended now?",
            "s",
            Query(f"time() - {by_target('agentgauge_history_last_write_timestamp_seconds')}", "{{instance}}"),
            no_value=_NO_HISTORY,
        ),
        series(
            "Size of the history",
            "How much room does the history take?",
            "bytes",
            reading("agentgauge_history_size_bytes"),
            no_value=_NO_HISTORY,
        ),
        series(
            "Series in the history",
            "How many series does a sweep have?",
            "short",
            reading("agentgauge_history_series"),
            no_value=_NO_HISTORY,
        ),
        series(
            "Duration of the analysis",
            "How long does an analysis of the history take?",
            "s",
            reading("agentgauge_analysis_duration_seconds"),
            no_value=_NOT_ANALYSED,
        ),
    ]


BOARD = Board(
    "analytics",
    "Analytics",
    "What programs find in their own history: what is out of the ordinary, and which capacity they need; and whether it is kept.",
    (("Anomalies", _anomalies), ("Capacity", _capacity), ("History", _history)),
)
