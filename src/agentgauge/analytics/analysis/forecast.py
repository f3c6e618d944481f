"""What comes next, with intervals that were measured, and how well that went before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from operator import add
from typing import TYPE_CHECKING

from agentgauge.analytics.analysis.backtest import LITTLE, Naive, back_test, margins
from agentgauge.analytics.analysis.fitting import fitted
from agentgauge.analytics.analysis.period import find_period
from agentgauge.analytics.analysis.scale import shrinking
from agentgauge.errors import ConfigurationError
from agentgauge.requirements import require_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentgauge.analytics.analysis.backtest import Backtest, Model

__all__ = ["NOTHING", "Forecast", "Method", "forecast"]

_NAN = math.nan
_LEAST_POINTS = 10
_TRAINED, _MOST_TRAINED = 0.6, 0.8
_WON = 0.97  # by less than 3 % a model beats the naive forecast by luck
_GREATEST_EXPONENT = 700.0
_FARTHEST = 10.0  # an interval of the logarithm that reaches farther beyond what was ever seen tells nothing


class Method(StrEnum):
    """How a forecast was made."""

    HOLT_WINTERS = "holt_winters"
    HOLT_WINTERS_LOG = "holt_winters_log"
    HOLT = "holt"
    HOLT_LOG = "holt_log"
    SEASONAL_NAIVE = "seasonal_naive"
    NAIVE = "naive"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes next; one of each for each step.

    Attributes:
        method: How it was made; ``NONE`` where there are too few values, and then all tuples are empty.
        period: The steps of a season; 1 without one.
        values: The expected values.
        low: The lower ends of the intervals.
        high: The upper ends.
        level: Of these, such as 0.9; NaN without any.
        mase: Mean absolute error of the back-test, over that of the (seasonal) naive forecast in sample: below 1 is better.
        against_naive: Mean absolute error over that of the naive forecast at the very same origins and horizons.
        coverage: The share of later values within intervals that were made before them, in the back-test; NaN where too few.
        origins: From how many moments the back-test forecast.
    """

    method: Method
    period: int
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float
    mase: float
    against_naive: float
    coverage: float
    origins: int

    @property
    def is_held(self) -> bool:
        """Whether intervals held about what they claim; where not, these are so wide that they would have, no more."""
        return not self.coverage < self.level - LITTLE


NOTHING = Forecast(Method.NONE, 1, (), (), (), _NAN, _NAN, _NAN, _NAN, 0)
"""No forecast: too little is known."""


def forecast(
    values: Sequence[float],
    *,
    horizon: int,
    period: int | None = None,
    level: float = 0.9,
    most: float | None = None,
    is_light: bool = False,
) -> Forecast:
    """Forecast by Holt-Winters where a back-test says that it beats the naive forecast, and by that where it does not.

    The weights are learned of the first 60 % of the values, of 600 of these or three seasons at the most. In the rest each model
    forecasts from many moments what came after; the one with the least mean absolute error is taken, and its errors there make
    the interval. Models: the last value, that of a season ago, a damped slope (Holt), that and a season (Holt-Winters), and both
    of the logarithm where all values are above 0, unless the interval then reaches beyond ten times what was ever seen.

    Args:
        values: At equal distances in time; NaN and infinity are gaps, which models pass with what they expect.
        horizon: How many steps ahead.
        period: The steps of a season; 1 for none; unless given, looked for (not in the light way). Two of them must lie
            within the first 80 %, of which the weights are then learned; else it is left aside.
        level: Of the interval.
        most: What no value can exceed, such as 1 for a ratio. Where no value is below 0, no forecast is.
        is_light: Take the weights from a short list, rather than let statsmodels learn them, and look at fewer moments: some
            milliseconds, and no extra that must be installed.

    Returns:
        Nothing to go by (``NONE``) where fewer than 10 values are known. MASE and ``against_naive`` are NaN where the naive
        forecast makes no error.

    Raises:
        ConfigurationError: A setting makes no sense, or statsmodels is not installed.

    Sources: R. J. Hyndman & A. B. Koehler, "Another look at measures of forecast accuracy", International Journal of Forecasting
        22, 2006 (MASE). V. Vovk et al., "Algorithmic Learning in a Random World", 2005 (intervals from errors).
    """
    _require(horizon, period, level)
    seen = [float(value) if math.isfinite(value) else _NAN for value in values]
    begin = next((index for index, value in enumerate(seen) if not math.isnan(value)), len(seen))
    seen = seen[begin:]
    known = [value for value in seen if not math.isnan(value)]
    if len(known) < _LEAST_POINTS:
        return NOTHING
    shrunk = shrinking(max(map(abs, known)))
    seen, known = [value * shrunk for value in seen], [value * shrunk for value in known]
    if period is None:
        period = 1 if is_light else find_period(seen)
    if 2 * period > len(seen) * _MOST_TRAINED:
        period = 1
    train = max(_LEAST_POINTS // 2, math.ceil(len(seen) * _TRAINED), 2 * period)
    tried = _tried(seen, train, horizon, period, is_logarithmic=min(known) > 0, is_light=is_light)
    naive = min((test.absolute for method, test in tried if method in _NAIVE), default=_NAN)
    for method, test in sorted(tried, key=_loss):
        reach = margins(test, level, horizon)
        back = _BACK.get(method, _same)
        if method not in _BACK or back(max(map(add, test.ahead, reach.high))) <= _FARTHEST * max(known):
            break
    least = 0.0 if min(known) >= 0 else -math.inf
    greatest = math.inf if most is None else most * shrunk

    def bounded(amounts: Iterable[float]) -> tuple[float, ...]:
        return tuple(min(max(back(amount), least), greatest) / shrunk for amount in amounts)

    scale = _naive_error(seen[:train], period)
    return Forecast(
        method,
        period if method in _SEASONAL else 1,
        bounded(test.ahead),
        bounded(middle - margin for middle, margin in zip(test.ahead, reach.low, strict=True)),
        bounded(middle + margin for middle, margin in zip(test.ahead, reach.high, strict=True)),
        level,
        test.absolute / scale if scale else _NAN,
        test.absolute / naive if naive else _NAN,
        reach.coverage,
        len({origin for of in test.errors for origin, _ in of}),
    )


def _loss(tried: tuple[Method, Backtest]) -> float:
    method, test = tried
    if math.isnan(test.absolute):
        return math.inf
    return test.absolute * (_WON if method in _NAIVE else 1.0)


def _require(horizon: int, period: int | None, level: float) -> None:
    require_count("horizon", horizon, "24")
    if period is not None:
        require_count("period", period, "24")
    if not 0 < level < 1:
        raise ConfigurationError(f"level={level!r}: give a share between 0 and 1, such as 0.9")


def _same(value: float) -> float:
    return value


def _unlogged(value: float) -> float:
    return math.exp(min(value, _GREATEST_EXPONENT))


def _tried(
    seen: list[float], train: int, horizon: int, period: int, *, is_logarithmic: bool, is_light: bool
) -> list[tuple[Method, Backtest]]:
    logged = [math.log(value) if value > 0 else _NAN for value in seen] if is_logarithmic else []
    models: list[tuple[Method, list[float], Model]] = [(Method.NAIVE, seen, Naive(1))]
    for values, plain, seasonal in ((seen, Method.HOLT, Method.HOLT_WINTERS), (logged, Method.HOLT_LOG, Method.HOLT_WINTERS_LOG)):
        if values:
            models.append((plain, values, fitted(values[:train], 1, is_light=is_light)))
        if values and period > 1:
            models.append((seasonal, values, fitted(values[:train], period, is_light=is_light)))
    if period > 1:
        models.append((Method.SEASONAL_NAIVE, seen, Naive(period)))
    most_steps, most_origins = (8, 60) if is_light else (24, 250)
    return [
        (
            method,
            back_test(
                model,
                values,
                train=train,
                horizon=horizon,
                most_steps=most_steps,
                most_origins=most_origins,
                back=_BACK.get(method, _same),
            ),
        )
        for method, values, model in models
    ]


def _naive_error(trained: list[float], period: int) -> float:
    """Return the mean absolute error of the (seasonal) naive forecast in sample."""
    sizes = [abs(two - one) for one, two in zip(trained, trained[period:], strict=False)]
    known = [size for size in sizes if not math.isnan(size)]
    return sum(known) / len(known) if known else 0.0


_NAIVE = frozenset({Method.NAIVE, Method.SEASONAL_NAIVE})
_SEASONAL = frozenset({Method.SEASONAL_NAIVE, Method.HOLT_WINTERS, Method.HOLT_WINTERS_LOG})
_BACK = {Method.HOLT_LOG: _unlogged, Method.HOLT_WINTERS_LOG: _unlogged}
