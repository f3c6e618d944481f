"""What a real Prometheus answers to what a dashboard asks, and what is wrong with that."""

from __future__ import annotations

import math
import urllib.error
from typing import TYPE_CHECKING, Any

from backfilled import ask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expressions import Expression


# In some series, never in all: outside an agent, where an alert is about all instances, where a model does not tell its name.
_MAY_BE_UNKNOWN = {"gen_ai_agent_name", "instance", "gen_ai_response_model"}


def answer_problems(url: str, expressions: Iterable[Expression], start: float, end: float, step: float) -> list[str]:
    """Find expressions without data, with data that are no numbers, or without the labels that the legend names.

    Args:
        url: Where Prometheus answers.
        expressions: What is asked, a panel's own moments at ``end``.
        start: The first moment, as a Unix time.
        end: The last moment, as a Unix time.
        step: The distance of two moments, in seconds.
    """
    problems = []
    for expression in expressions:
        try:
            found = answer(url, expression, start, end, step)
        except urllib.error.HTTPError as error:
            problems.append(f"{expression.title}: {error.read().decode()} for {expression.expr}")
            continue
        values = [float(value) for series in found for _, value in series.get("values", [series.get("value")])]
        if not values or not all(map(math.isfinite, values)):
            problems.append(f"{expression.title}: {values[:5]} for {expression.expr}")
        seen = set().union(*(series["metric"] for series in found))
        problems += [
            f"{expression.title}: no {missing} in {series['metric']}"
            for series in found
            if (missing := expression.legend_labels - set(series["metric"]) - (_MAY_BE_UNKNOWN & seen))
        ]
    return problems


def answer(url: str, expression: Expression, start: float, end: float, step: float) -> list[dict[str, Any]]:
    """Ask as Grafana does: for one moment where the panel wants that, else for a range."""
    if expression.is_instant:
        return ask(url, "query", query=expression.expr, time=end)
    return ask(url, "query_range", query=expression.expr, start=start, end=end, step=step)
