"""``agentgauge forecast``: what comes next, and how many replicas that needs."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, counted, duration
from agentgauge.analytics.analysis.forecast import Method
from agentgauge.analytics.commands.command import Command
from agentgauge.analytics.commands.shared import MEASURE, add_measure, announced, chosen_measures, unit_of, whom
from agentgauge.analytics.commands.times import as_duration
from agentgauge.analytics.forecasts import MOST_STEPS, longest_steps, make_forecasts, plan_capacity
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.outermost import outermost_tasks
from agentgauge.analytics.report.document import Chart, Column, Section, Series, Table, Unit
from agentgauge.analytics.report.numbers import shown
from agentgauge.analytics.signals import read
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator, Mapping, Sequence

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.forecasts import FoundForecast, PlannedCapacity
    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.report.document import Cell

__all__ = ["COMMAND"]

_MOST_CHARTS = 6
_NAN = math.nan
_RATE = next(measure for measure in MEASURES if measure.name == "task_rate")
_HORIZONS = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 10800.0, 21600.0)
_METHODS = {
    "holt_winters": "trend and season",
    "holt_winters_log": "trend and season of logarithms",
    "holt": "trend",
    "holt_log": "trend of logarithms",
    "seasonal_naive": "the season before",
    "naive": "the last value",
}
_COLUMNS = (
    MEASURE,
    Column("of", "of"),
    Column("unit", "unit"),
    Column("at", "at", Unit.TIME),
    Column("expected", "expected", Unit.NUMBER, "unit"),
    Column("low", "low", Unit.NUMBER, "unit"),
    Column("high", "high", Unit.NUMBER, "unit"),
    Column("level", "interval", Unit.RATIO),
    Column("coverage", "such held", Unit.RATIO),
    Column("method", "method", words=lambda name: _METHODS.get(name, name)),
    Column("mase", "error, in usual steps", Unit.NUMBER),
)
_CAPACITY_COLUMNS = (
    Column("of", "of"),
    Column("is_outermost", "outermost"),
    Column("tasks_per_second", "expected at most", Unit.PER_SECOND),
    Column("busiest_at", "at", Unit.TIME),
    Column("duration_seconds", "duration", Unit.SECONDS),
    Column("concurrency", "concurrency", Unit.NUMBER),
    Column("replicas", "replicas", Unit.COUNT),
    Column("utilization", "utilization", Unit.RATIO),
    Column("reason", "because"),
)


def _sections(question: Question) -> tuple[Section, ...]:
    concurrency = getattr(question.options, "concurrency", None)
    if concurrency is not None and concurrency < 1:
        raise ConfigurationError(f"--concurrency {concurrency}: give how many tasks one replica works on at once, such as 4")
    horizon, note = _horizon(question)
    measures = announced(question, f"forecasting {duration(horizon)}", chosen_measures(question))
    found = make_forecasts(question.source, question.grid, horizon_seconds=horizon, measures=measures)
    sections = [_forecast(question, found, horizon, note)]
    if concurrency is not None:
        sections.append(_capacity(question, found, horizon, concurrency))
    return tuple(sections)


def _horizon(question: Question) -> tuple[float, tuple[str, ...]]:
    """Return how far to look ahead, in seconds, and what is to say of it.

    Raises:
        ConfigurationError: It was asked for farther than the window carries; the message says how far that is.
    """
    step, seen = question.grid.step_seconds, question.grid.count * question.grid.step_seconds
    carried = longest_steps(question.grid.count) * step
    longest = min(carried, MOST_STEPS * step)
    text = getattr(question.options, "horizon", None)
    if text is None:
        chosen = max((one for one in _HORIZONS if step <= one <= longest), default=step)
        if chosen == _HORIZONS[-1]:
            return chosen, ()
        farther = f": --horizon {_typed(longest)} is the farthest" if _seconds(_typed(longest)) > chosen else ""
        return chosen, (f"It looks {duration(chosen)} ahead. {duration(seen)} were seen, and carry a third as far{farther}.",)
    asked = as_duration("--horizon", text)
    if asked > carried:
        raise ConfigurationError(
            f"--horizon {text!r} is farther than {duration(seen)} carry, a third as far: give --horizon {_typed(carried)} or "
            f"less, or {duration(3 * asked)} of history (an earlier --since, or let the program run longer)"
        )
    if asked > longest:
        raise ConfigurationError(
            f"--horizon {text!r} is {math.ceil(asked / step):,} steps of {duration(step)}: give a longer --step, or "
            f"--horizon {_typed(longest)} or less"
        )
    return asked, ()


def _typed(seconds: float) -> str:
    """Return a duration as people type it, rounded down to two whole units or more."""
    size, name = next(((size, name) for size, name in ((86400, "d"), (3600, "h"), (60, "m")) if seconds >= 2 * size), (1, "s"))
    return f"{int(seconds // size)}{name}" if seconds >= 1 else f"{int(seconds * 1000)}ms"


def _seconds(typed: str) -> float:
    return as_duration("--horizon", typed)


def _forecast(question: Question, found: list[FoundForecast], horizon: float, note: tuple[str, ...]) -> Section:
    made = [one for one in found if one.forecast.method is not Method.NONE]
    if not made:
        name, ahead = question.source.name, duration(horizon)
        what = f"knows too little of it to look {ahead} ahead" if found else "has no value in this window"
        longer = "Give an earlier --since, or let the program run longer."
        sentence = f"There is nothing to forecast: {name} {what}. {longer}"
        return Section("forecast", "Forecast", (sentence,), is_answer=False)
    moving = [one for one in made if one.leaves]
    swaying = [one for one in made if not one.leaves and not one.is_still]
    is_named = bool(getattr(question.options, "measure", None))
    if is_named:
        told = tuple(one.sentence for one in found)
    else:
        others = counted(len(made) - len(moving), "signal")
        told = (*(one.sentence for one in moving), f"No change is to be seen of {others} of {len(made)} (--all shows them).")
    shown_first = (*moving, *swaying, *(one for one in made if one.is_still and not one.leaves))
    rows = tuple(_row(one) for one in (*moving, *swaying))
    drawn = shown_first if is_named or question.options.command == "forecast" else moving
    return Section(
        "forecast",
        "Forecast",
        (*note, *told),
        tables=(Table("forecasts", f"In {duration(horizon)}", _COLUMNS, rows, 20 if is_named else min(20, len(moving))),)
        if rows
        else (),
        charts=tuple(_chart(number, one) for number, one in enumerate(drawn[:_MOST_CHARTS], 1)),
    )


def _row(found: FoundForecast) -> tuple[Cell, ...]:
    measure, one = found.signal.measure, found.forecast
    return (
        measure.name,
        whom(found.signal.labels),
        measure.unit,
        found.grid.end,
        one.values[-1],
        one.low[-1],
        one.high[-1],
        one.level if one.is_held else None,
        None if math.isnan(one.coverage) else one.coverage,
        one.method.value,
        one.mase,
    )


def _chart(number: int, found: FoundForecast) -> Chart:
    seen, ahead = tuple(found.signal.values), found.forecast.values
    times = (*found.signal.grid.times, *found.grid.times)
    unknown_ahead, unknown_before = (_NAN,) * len(ahead), (_NAN,) * len(seen)
    return Chart(
        f"forecast_{number}",
        found.signal.title,
        unit_of(found.signal.measure),
        times,
        (
            Series("observed", (*seen, *unknown_ahead)),
            Series(
                f"expected, {shown(found.forecast.level, Unit.RATIO)} interval"
                if found.forecast.is_held
                else "expected, not surely",
                (*unknown_before, *ahead),
                (*unknown_before, *found.forecast.low),
                (*unknown_before, *found.forecast.high),
            ),
        ),
    )


def _capacity(question: Question, found: list[FoundForecast], horizon: float, concurrency: int) -> Section:
    question.step("planning capacity")
    rates = [one for one in found if one.signal.measure.name == _RATE.name]
    plans = plan_capacity(
        question.source,
        question.grid,
        horizon_seconds=horizon,
        concurrency_per_replica=concurrency,
        forecasts=rates or make_forecasts(question.source, question.grid, horizon_seconds=horizon, measures=(_RATE,)),
    )
    outermost = outermost_tasks(question.source, question.grid)
    judged = [(one, _is_outermost(one, outermost)) for one in plans]
    rows = tuple(
        (
            whom(one.labels),
            is_run,
            one.rate,
            one.busiest_at,
            one.duration_seconds,
            one.plan.concurrency,
            one.plan.replicas,
            one.plan.utilization,
            one.plan.reason,
        )
        for one, is_run in judged
    )
    if not rows:
        sentence = "There is too little to plan from: no task's rate and duration are known for long enough."
        return Section("capacity", "Capacity", (sentence,), is_answer=False)
    told = (one.sentence for one, is_run in judged if is_run is not False)
    return Section(
        "capacity",
        "Capacity",
        (*told, *_nested(judged), *_queues(question.source, question.grid, horizon)),
        tables=(Table("capacity", "", _CAPACITY_COLUMNS, rows),),
    )


def _is_outermost(plan: PlannedCapacity, outermost: Mapping[str, frozenset[str]]) -> bool | None:
    """Tell whether a task is a run of its agent, and not inside another; None where that is not known."""
    tasks = outermost.get(plan.labels.get("gen_ai_agent_name", ""))
    return None if tasks is None else plan.labels.get("agent_task", "") in tasks


def _nested(judged: Sequence[tuple[PlannedCapacity, bool | None]]) -> Iterator[str]:
    """Say whose replicas are not to be added."""
    inner = [whom(one.labels) for one, is_run in judged if is_run is False]
    if inner:
        yield f"These run inside the above and are part of their load: {'; '.join(inner)}."
    unknown = dict.fromkeys(one.labels.get("gen_ai_agent_name", "") for one, is_run in judged if is_run is None)
    if unknown:
        yield f"Which tasks of {', '.join(unknown)} run inside others is not known: take the greatest of an agent's, not all."


def _queues(source: Source, grid: Grid, horizon: float) -> Iterator[str]:
    """Say what waits: the rates are of what was worked off, and not of what came."""
    depth = next(measure for measure in MEASURES if measure.name == "queue_depth")
    for signal in read(depth, source, grid):
        known = [value for value in signal.values if math.isfinite(value)]
        waiting = median(known[-max(1, len(known) // 4) :]) if known else 0.0
        if waiting >= 1:
            yield (
                f"In the queue {whom(signal.labels)} {amount(waiting)} wait of late: the rates above are of what was worked off,"
                f" and not of what came. To work these off, too, within {duration(horizon)} takes "
                f"{amount(waiting / horizon, 'per_second')} more."
            )


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--horizon", metavar="DURATION", help="how far to look ahead (6h, or as far as the window carries)")
    parser.add_argument(
        "--concurrency", type=int, metavar="TASKS", help="how many tasks one replica works on at once: adds the replicas needed"
    )
    add_measure(parser)


COMMAND = Command(
    "Forecast",
    ("--source history.db --since 7d --horizon 6h", "--source history.db --concurrency 4 --measure task_rate"),
    _sections,
    _add_options,
)
