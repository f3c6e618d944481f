"""Ratios of calls: how often chance alone moves one so far, when it is made of so few."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.explain.both import read_both
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.signals import Ratio, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.analytics.explain.moves import Move
    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.signals import Signal

__all__ = ["chance_of_calls"]


def chance_of_calls(signal: Signal, move: Move, source: Source, before: Grid, window: Grid) -> float:
    """Return how often calls that are like those before make a ratio move so far, at one of the places of a window.

    Four steps with one error of fourteen calls each look like a jump from 0 to 7 %; that they are four errors no comparison of
    steps can see. Of all errors, before and since, each is as likely to fall on any of the calls: a binomial test of two rates
    (Przyborowski & Wilenski, 1940) of the rarer of errors and successes, times the stretches that there were.

    Args:
        signal: That moved, over before and window.
        move: How it did.
        source: Where its calls are counted.
        before: The time before.
        window: What is looked at.

    Returns:
        At most 1; 0 of what is no ratio of calls.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: The extra ``analysis`` is not installed.
    """
    values = signal.measure.values
    if not isinstance(values, Ratio) or values.part != values.of:
        return 0.0
    calls = _counted(signal, values.of, values.where_of, source, before, window)
    errors = _counted(signal, values.part, values.where_part, source, before, window)
    (calls_before, calls_since), (errors_before, errors_since) = _split(calls, move), _split(errors, move)
    is_more = errors_since * calls_before > errors_before * calls_since
    if 2 * (errors_before + errors_since) > calls_before + calls_since:
        errors_before, errors_since, is_more = calls_before - errors_before, calls_since - errors_since, not is_more
    stats: Any = load_extra("scipy.stats", "analysis", "explain()")
    spread = stats.binom(round(errors_before + errors_since), calls_since / (calls_before + calls_since))
    one = float(spread.sf(round(errors_since) - 1) if is_more else spread.cdf(round(errors_since)))
    return min(1.0, 2 * one * max(1.0, window.count / (move.until - move.onset + 1)) ** 2)


def _counted(
    signal: Signal, metric: str, where: Callable[[Mapping[str, str]], bool], source: Source, before: Grid, window: Grid
) -> list[float]:
    """Return what was counted in each step; 0 where nothing was."""
    measure = replace(signal.measure, values=rate(metric, where))
    found = read_both(measure, source, before, window, per_instance=False)
    values = next((one.values for one in found if one.labels == signal.labels), ())
    return [max(0.0, value * window.step_seconds) for value in values]  # max() leaves out NaN


def _split(counts: list[float], move: Move) -> tuple[float, float]:
    return sum(counts[: move.onset]), sum(counts[move.onset : move.until + 1])
