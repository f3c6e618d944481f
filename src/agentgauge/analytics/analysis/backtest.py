"""Forecasts that were made of the past from the past before it, and what their errors say about the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LITTLE", "Backtest", "Margins", "Model", "Naive", "back_test", "checked_steps", "margins"]

_NORMAL = NormalDist()
_LEAST_JUDGED = 20

LITTLE = 0.1
"""By how much less than it claims an interval may hold, and still be called by its level."""


class Model(Protocol):
    """What goes through values and says what it expects next."""

    def add(self, value: float) -> float:
        """Take in the next value, NaN where it is missing, and return what was expected."""

    def ahead(self, steps: Sequence[int]) -> list[float]:
        """Return what is expected so many steps after the last value."""


class Naive:
    """Expects what was last seen, or what was seen a season ago: what a forecast must beat."""

    def __init__(self, period: int) -> None:
        self._seen = [math.nan] * period
        self._at = 0

    def add(self, value: float) -> float:
        """Take in the next value."""
        place = self._at % len(self._seen)
        expected = self._seen[place]
        self._at += 1
        if not math.isnan(value):
            self._seen[place] = value
        return expected

    def ahead(self, steps: Sequence[int]) -> list[float]:
        """Return what was seen at the same place of the last season."""
        return [self._seen[(self._at - 1 + step) % len(self._seen)] for step in steps]


@dataclass(frozen=True, slots=True)
class Backtest:
    """How a model did.

    Attributes:
        steps: How far ahead was looked.
        errors: For each of these: origin and error, seen less expected, on the scale of the model.
        absolute: The mean absolute error over all of them, on the scale of the values.
        span: From how many values on the errors are of: the length of the part that was not trained on.
        ahead: What is expected after the last value, for each step of the horizon, on the scale of the model.
    """

    steps: tuple[int, ...]
    errors: tuple[tuple[tuple[int, float], ...], ...]
    absolute: float
    span: int
    ahead: tuple[float, ...]


def checked_steps(horizon: int, most: int) -> tuple[int, ...]:
    """Return the steps of a horizon that are looked at: all, or so many of them at equal distances."""
    if horizon <= most:
        return tuple(range(1, horizon + 1))
    return tuple(sorted({round(1 + (horizon - 1) * index / (most - 1)) for index in range(most)}))


def back_test(
    model: Model,
    values: Sequence[float],
    *,
    train: int,
    horizon: int,
    most_steps: int,
    most_origins: int,
    back: Callable[[float], float],
) -> Backtest:
    """Let a model go through values and forecast from many moments on the way (a rolling origin).

    Args:
        model: Its weights, if any, were learned of the first ``train`` values only.
        values: On the scale of the model.
        train: Before so many values it forecasts nothing.
        horizon: How far.
        most_steps: How many distances are looked at.
        most_origins: From how many moments.
        back: From the scale of the model to that of the values.

    Source: L. J. Tashman, "Out-of-sample tests of forecasting accuracy", International Journal of Forecasting 16, 2000.
    """
    count = len(values)
    steps = checked_steps(horizon, most_steps)
    stride = max(1, math.ceil((count - train) / most_origins))
    errors: list[list[tuple[int, float]]] = [[] for _ in steps]
    sizes = []
    for origin, value in enumerate(values):
        model.add(value)
        if origin < train - 1 or (origin - train + 1) % stride or origin == count - 1:
            continue
        reachable = [step for step in steps if origin + step < count]
        for place, (step, expected) in enumerate(zip(reachable, model.ahead(reachable), strict=True)):
            error = values[origin + step] - expected
            if math.isnan(error):
                continue
            errors[place].append((origin, error))
            sizes.append(abs(back(values[origin + step]) - back(expected)))
    ahead = tuple(model.ahead(range(1, horizon + 1)))
    return Backtest(steps, tuple(tuple(of) for of in errors), fmean(sizes) if sizes else math.nan, count - train, ahead)


@dataclass(frozen=True, slots=True)
class Margins:
    """How far an interval reaches from what is expected, for each step of the horizon.

    Attributes:
        low: Below it.
        high: Above it.
        coverage: The share of the later half of the back-test that lay within intervals made of its earlier half; NaN where there
            is too little.
    """

    low: list[float]
    high: list[float]
    coverage: float


def margins(test: Backtest, level: float, horizon: int) -> Margins:
    """Return how far below and above the expected value the interval reaches, for each step of the horizon.

    Errors are divided by what is usual at their distance and put together; their quantiles are those of the interval, made wider
    as Student's t is than the normal distribution by how few errors there are that do not depend on one another. Where intervals
    of the earlier half did not hold what they claim in the later one, they are made so wide that they would have.
    """
    low, high = _margins(test.steps, test.errors, test.span, level, horizon)
    middle = _middle(test)
    coverage = _coverage(test, middle, level, horizon)
    if coverage < level - LITTLE:
        reached = sorted(
            abs(error) / margin if (margin := high[step - 1] if error > 0 else low[step - 1]) > 0 else float(error != 0)
            for step, of in zip(test.steps, test.errors, strict=True)
            for origin, error in of
            if origin > middle
        )
        wider = max(1.0, _quantile(reached, level))
        low, high = [wider * margin for margin in low], [wider * margin for margin in high]
    return Margins(low, high, coverage)


def _middle(test: Backtest) -> float:
    origins = [origin for of in test.errors for origin, _ in of]
    return (min(origins) + max(origins)) / 2 if origins else math.nan


def _coverage(test: Backtest, middle: float, level: float, horizon: int) -> float:
    """Return the share of the later half that lies within intervals made before it; NaN where there is too little."""
    known = tuple(
        tuple((origin, error) for origin, error in of if origin + step <= middle)
        for step, of in zip(test.steps, test.errors, strict=True)
    )
    low, high = _margins(test.steps, known, round(test.span / 2), level, horizon)
    judged = [
        -low[step - 1] <= error <= high[step - 1]
        for step, of in zip(test.steps, test.errors, strict=True)
        for origin, error in of
        if origin > middle
    ]
    return sum(judged) / len(judged) if len(judged) >= _LEAST_JUDGED and any(known) else math.nan


def _margins(
    steps: tuple[int, ...], errors: tuple[tuple[tuple[int, float], ...], ...], span: int, level: float, horizon: int
) -> tuple[list[float], list[float]]:
    usable = [(step, [error for _, error in of]) for step, of in zip(steps, errors, strict=True) if len(of) > 1]
    if not usable:
        return [math.inf] * horizon, [math.inf] * horizon
    usual = _rising([math.sqrt(fmean([error * error for error in of])) for _, of in usable])
    pool = sorted(error / size for (_, of), size in zip(usable, usual, strict=True) for error in of if size > 0)
    if not pool:
        return [0.0] * horizon, [0.0] * horizon
    # where more than the level erred to one side, the other one has what erred least there: it does not end at the expected
    least_below, least_above = (
        max((one for one in pool if one < 0), default=0.0),
        min((one for one in pool if one > 0), default=0.0),
    )
    below = -min(least_below, _quantile(pool, (1 - level) / 2))
    above = max(least_above, _quantile(pool, (1 + level) / 2))
    few = [_widened(_independent(of, span, step), level) for step, of in usable]
    low, high = [], []
    place = 0
    for step in range(1, horizon + 1):
        while place + 1 < len(usable) and usable[place][0] < step:
            place += 1
        last = usable[place][0]
        size = usual[place] * few[place] * (math.sqrt(step / last) if step > last else 1.0)
        low.append(below * size)
        high.append(above * size)
    return low, high


def _rising(sizes: list[float]) -> list[float]:
    """Smooth what cannot get less: the mean of the greatest so far and the least from here on."""
    greatest, least = list(sizes), list(sizes)
    for index in range(1, len(sizes)):
        greatest[index] = max(greatest[index - 1], sizes[index])
        least[-index - 1] = min(least[-index], sizes[-index - 1])
    return [(one + two) / 2 for one, two in zip(greatest, least, strict=True)]


def _quantile(ordered: list[float], share: float) -> float:
    """Return the order statistic that a further value exceeds with this probability (split conformal)."""
    rank = share * (len(ordered) + 1)
    rank = math.ceil(rank) if share > 0.5 else math.floor(rank)  # noqa: PLR2004 - the upper half
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def _independent(errors: list[float], span: int, step: int) -> float:
    """Return how many errors would say as much, were they independent."""
    count = len(errors)
    middle = fmean(errors)
    power = sum((error - middle) ** 2 for error in errors)
    if power == 0:
        return float(count)
    memory = sum((one - middle) * (two - middle) for one, two in zip(errors, errors[1:], strict=False)) / power  # noqa: RUF007
    memory = min(max(memory, 0.0), 0.99)
    return max(min(count * (1 - memory) / (1 + memory), count), min(span / step, count), 1.0)


def _widened(independent: float, level: float) -> float:
    """Return Student's quantile over the normal one, with room for the uncertainty of the expected value itself."""
    z = _NORMAL.inv_cdf((1 + level) / 2)
    freedom = max(independent - 1, 1.0)
    student = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return student / z * math.sqrt(1 + 1 / max(independent, 1.0))
