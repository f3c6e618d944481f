"""What agents, models and tools did in a window: the first section of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, counted
from agentgauge.analytics.commands.shared import chart_of
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.outcomes import is_bad, is_counted, is_failed, is_judged, is_success
from agentgauge.analytics.report.document import Column, Section, Table, Unit
from agentgauge.analytics.signals import read
from agentgauge.analytics.totals import Totals, whole_grid

if TYPE_CHECKING:
    from typing import TypeAlias

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.ranks import Read
    from agentgauge.analytics.report.document import Cell

    Rows: TypeAlias = tuple[tuple[Cell, ...], ...]

__all__ = ["overview"]

_AGENT, _TASK, _TOOL = "gen_ai_agent_name", "agent_task", "gen_ai_tool_name"
_PROVIDER, _MODEL, _TYPE = "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"
_WORKFLOW = "gen_ai_workflow_name"
_WORKFLOWS, _RUNS = "gen_ai_invoke_workflow_duration_seconds", "gen_ai_invoke_agent_duration_seconds"
_TASKS, _TOOLS, _CALLS = (
    "agent_task_duration_seconds",
    "gen_ai_execute_tool_duration_seconds",
    "gen_ai_client_operation_duration_seconds",
)
_CHARTS = (
    "task_rate",
    "task_error_ratio",
    "task_duration_p95",
    "task_duration_mean",
    "cost_rate",
    "lm_duration_p95",
    "tool_error_ratio",
)
_TASK_COLUMNS = (
    Column("agent", "agent"),
    Column("task", "task"),
    Column("tasks", "tasks", Unit.COUNT),
    Column("errors", "errors", Unit.COUNT),
    Column("cancelled", "cancelled", Unit.COUNT),
    Column("error_ratio", "error ratio", Unit.RATIO),
    Column("p50_seconds", "p50", Unit.SECONDS),
    Column("p95_seconds", "p95", Unit.SECONDS),
    Column("p95_low", "p95 from", Unit.SECONDS),
    Column("p95_high", "to", Unit.SECONDS),
    Column("retries", "retries", Unit.COUNT),
)
_SPENDING_COLUMNS = (
    Column("agent", "agent"),
    Column("model", "model"),
    Column("input_tokens", "input tokens", Unit.COUNT),
    Column("output_tokens", "output tokens", Unit.COUNT),
    Column("cost_usd", "cost", Unit.USD),
)
_MODEL_COLUMNS = (
    Column("provider", "provider"),
    Column("model", "model"),
    Column("calls", "calls", Unit.COUNT),
    Column("errors", "errors", Unit.COUNT),
    Column("cancelled", "cancelled", Unit.COUNT),
    Column("error_ratio", "error ratio", Unit.RATIO),
    Column("p95_seconds", "p95", Unit.SECONDS),
    Column("p95_low", "p95 from", Unit.SECONDS),
    Column("p95_high", "to", Unit.SECONDS),
)
_TOOL_COLUMNS = (Column("tool", "tool"), *_MODEL_COLUMNS[2:])
_RUN_COLUMNS = (Column("runs", "runs", Unit.COUNT), *_MODEL_COLUMNS[3:])
_MOST_WORKFLOWS = 3


def overview(question: Question) -> Section:
    """Say what was done, how well, and what it cost."""
    question.step("adding up")
    grid = whole_grid(question.source, question.grid, since=question.since, until=question.until)
    totals = Totals(question.source, grid, first=question.extent[0], since=question.since)
    tasks, spending = _tasks(totals), _spending(totals)
    models, tools = _calls(totals, _CALLS, (_PROVIDER, _MODEL)), _calls(totals, _TOOLS, (_TOOL,))
    workflows, runs = _calls(totals, _WORKFLOWS, (_WORKFLOW,)), _calls(totals, _RUNS, (_AGENT,))
    is_of_one = getattr(question.options, "agent", None) is not None
    of_all = " of all agents" if is_of_one else ""
    tables = (
        Table("workflows", f"Workflows{of_all}", (Column("workflow", "workflow"), *_RUN_COLUMNS), workflows),
        Table("runs", "Runs of agents", (Column("agent", "agent"), *_RUN_COLUMNS), runs),
        Table("tasks", "Tasks", _TASK_COLUMNS, tasks),
        Table("spending", "Tokens and cost", _SPENDING_COLUMNS, spending),
        Table("models", f"Models{of_all}", _MODEL_COLUMNS, models),
        Table("tools", f"Tools{of_all}", _TOOL_COLUMNS, tools),
    )
    question.step("reading what to draw")
    charts = []
    for measure in MEASURES:
        if measure.name in _CHARTS and question.grid.count > 1:
            signals = read(measure, question.source, question.grid)
            if signals:
                charts.append(
                    chart_of(measure.name, f"{measure.title[0].upper()}{measure.title[1:]} by {_by(measure.by)}", signals)
                )
    return Section(
        "overview",
        "Overview",
        tuple(
            filter(None, ("" if is_of_one else _flow(workflows), _sentence(runs, tasks, spending, () if is_of_one else models)))
        ),
        tables=tuple(one for one in tables if one.rows),
        charts=tuple(charts),
        is_answer=any(one.rows for one in tables),
    )


def _by(labels: tuple[str, ...]) -> str:
    names = {_AGENT: "agent", _TASK: "task", _TOOL: "tool", _PROVIDER: "provider", _MODEL: "model"}
    return ", ".join(names.get(label, label) for label in labels)


def _tasks(totals: Totals) -> Rows:
    by = (_AGENT, _TASK)
    done = totals.by(f"{_TASKS}_count", by)
    judged, bad = totals.by(f"{_TASKS}_count", by, is_counted), totals.by(f"{_TASKS}_count", by, is_bad)
    halves, most = (totals.quantiles(_TASKS, by, q, is_success) for q in (0.5, 0.95))
    retries = totals.by("agent_task_retries_total", by)
    return tuple(
        (
            *key,
            round(done[key]),
            round(bad.get(key, 0.0)),
            round(done[key]) - round(judged.get(key, 0.0)),
            _ratio(bad.get(key, 0.0), judged.get(key, 0.0)),
            *_read(halves.get(key))[:1],
            *_read(most.get(key)),
            round(retries.get(key, 0.0)),
        )
        for key in sorted(done)
        if done[key]
    )


def _spending(totals: Totals) -> Rows:
    tokens = totals.by("agent_tokens_total", (_AGENT, _MODEL, _TYPE))
    cost = totals.by("agent_cost_usd_total", (_AGENT, _MODEL))
    keys = sorted({*cost, *((agent, model) for agent, model, _ in tokens)})
    rows = ((*key, *(round(tokens.get((*key, kind), 0.0)) for kind in ("input", "output")), cost.get(key)) for key in keys)
    return tuple(row for row in rows if any(row[2:]))


def _calls(totals: Totals, histogram: str, by: tuple[str, ...]) -> Rows:
    calls = totals.by(f"{histogram}_count", by)
    judged, bad = totals.by(f"{histogram}_count", by, is_judged), totals.by(f"{histogram}_count", by, is_failed)
    most = totals.quantiles(histogram, by, 0.95)
    return tuple(
        (
            *key,
            round(calls[key]),
            round(bad.get(key, 0.0)),
            round(calls[key]) - round(judged.get(key, 0.0)),
            _ratio(bad.get(key, 0.0), judged.get(key, 0.0)),
            *_read(most.get(key)),
        )
        for key in sorted(calls)
        if calls[key]
    )


def _read(quantile: Read | None) -> tuple[Cell, Cell, Cell]:
    """Return a quantile, and the bounds of the bucket that it lies in: between them it is a guess."""
    return (quantile.value, quantile.bucket.low, quantile.bucket.high) if quantile is not None else (None, None, None)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _flow(workflows: Rows) -> str:
    """Say how often workflows ran: that is what users asked for, and all else is within it."""
    told = [
        f"{name} ran {counted(int(runs or 0), 'time')}{_ended(int(errors or 0), int(cancelled or 0))}"
        for name, runs, errors, cancelled, *_ in sorted(workflows, key=lambda row: -int(row[1] or 0))
    ]
    more = f"; and {counted(len(told) - _MOST_WORKFLOWS, 'workflow')} more" if len(told) > _MOST_WORKFLOWS else ""
    return f"{'Workflows' if len(told) > 1 else 'The workflow'} {'; '.join(told[:_MOST_WORKFLOWS])}{more}." if told else ""


def _ended(errors: int, cancelled: int) -> str:
    told = ", ".join(f"{many:,} {how}" for many, how in ((errors, "with an error"), (cancelled, "cancelled")) if many)
    return f" ({told})" if told else ""


def _sentence(runs: Rows, tasks: Rows, spending: Rows, models: Rows) -> str:
    if not tasks and not models:
        return "No task and no LM call ended in this window."
    done, bad = (sum(int(row[index] or 0) for row in tasks) for index in (2, 3))
    cost = sum(float(row[4] or 0) for row in spending)
    calls = sum(int(row[2] or 0) for row in models)
    agents = {row[0] for row in (*tasks, *runs)}
    ran = sum(int(row[1] or 0) for row in runs)
    often = f"ran {counted(ran, 'time')} and " if ran else ""
    inner = " (those inside others are counted, too)" if len(tasks) > len(agents) else ""
    asked = f", with {counted(calls, 'LM call')}" if calls else ""
    spent = f", at a cost of {amount(cost, Unit.USD)}" if cost else ""
    return f"{counted(len(agents), 'agent')} {often}ended {counted(done, 'task')}{inner}, {bad:,} of them badly{asked}{spent}."
