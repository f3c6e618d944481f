"""Over a source: what comes next, and what that needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount, counted, duration, moment, percent
from agentgauge.analytics.analysis.capacity import capacity
from agentgauge.analytics.analysis.forecast import NOTHING, Method, forecast
from agentgauge.analytics.bounds import bounds_of, bucket, bucket_words
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import read
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentgauge.analytics.analysis.capacity import CapacityPlan
    from agentgauge.analytics.analysis.forecast import Forecast
    from agentgauge.analytics.frames import Source
    from agentgauge.analytics.signals import Measure, Signal

__all__ = ["MOST_STEPS", "FoundForecast", "PlannedCapacity", "longest_steps", "make_forecasts", "plan_capacity"]

_RATE = "task_rate"
_DAY = 86400.0
_SEASONS = 2.5
_ROUNDING = 1e-9
_LEAST_RECENT = 10
_SOON = 0.05  # of the window
_REACH = 1 / 3  # of what was seen: less than the part in which a forecast is tested
_FELT = 0.1
_MORE = 1.2  # what is sampled now and then sways

MOST_STEPS = 2000
"""The longest horizon, in steps of the grid."""


@dataclass(frozen=True, slots=True)
class FoundForecast:
    """What comes next of a signal.

    Attributes:
        signal: What was seen.
        forecast: What comes next.
        grid: The times of the forecast.
        sentence: In plain words.
    """

    signal: Signal
    forecast: Forecast
    grid: Grid
    sentence: str

    @property
    def is_still(self) -> bool:
        """Whether it never changed, and is not expected to."""
        return len({*self.forecast.low, *self.forecast.high}) == 1

    @property
    def leaves(self) -> bool:
        """Whether the interval at its end lies beyond all that was seen of late, and a tenth or more from it."""
        if not self.forecast.values:
            return False
        known = [value for value in self.signal.values if math.isfinite(value)]
        recent = known[-max(_LEAST_RECENT, self.grid.count) :]
        last, low, high = self.forecast.values[-1], self.forecast.low[-1], self.forecast.high[-1]
        now = median(recent)
        return (high < min(recent) or low > max(recent)) and abs(last - now) >= _FELT * abs(now)


@dataclass(frozen=True, slots=True)
class PlannedCapacity:
    """What an agent's task needs within the horizon.

    Attributes:
        labels: The agent and its task.
        rate: Tasks a second, expected at most within the horizon: the highest upper end of the forecast's interval.
        busiest_at: When that is, Unix time in seconds.
        duration_seconds: Of one, the mean that was seen.
        plan: What that needs.
        forecast: Of the rate.
        sentence: In plain words.
    """

    labels: Mapping[str, str]
    rate: float
    busiest_at: float
    duration_seconds: float
    plan: CapacityPlan
    forecast: Forecast
    sentence: str


def make_forecasts(
    source: Source,
    grid: Grid,
    *,
    horizon_seconds: float,
    measures: Iterable[Measure] = MEASURES,
    period_seconds: float | None = None,
    level: float = 0.9,
) -> list[FoundForecast]:
    """Forecast each signal from the end of a window on.

    Args:
        source: The history, or a Prometheus.
        grid: The window that is learned from: at least three times the horizon, and two and a half seasons.
        horizon_seconds: How far to look ahead.
        measures: Of what.
        period_seconds: The length of a season, such as 86,400; unless given, looked for in each signal.
        level: Of the intervals.

    Returns:
        One for each signal; those of which too little is known, fewer than ten values or less than three times the horizon,
        have the method ``NONE``.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: A setting makes no sense, or the extra ``analysis`` is not installed.
    """
    steps = _steps(horizon_seconds, grid)
    period = None if period_seconds is None else _period(period_seconds, grid)
    ahead = Grid(grid.end + grid.step_seconds, grid.step_seconds, steps)
    found = []
    for measure in measures:
        bounds = bounds_of(measure, source, grid)
        for signal in read(measure, source, grid):
            made = NOTHING
            if longest_steps(_seen_steps(signal)) >= steps:
                made = forecast(signal.values, horizon=steps, period=period, level=level, most=_most(signal))
            own = bounds.get(tuple(signal.labels.get(name, "") for name in measure.by), ())
            found.append(FoundForecast(signal, made, ahead, _sentence(signal, made, horizon_seconds, own)))
    return found


def longest_steps(seen: int) -> int:
    """Return how many steps a forecast of so many seen reaches ahead at the most: a third, and one at least."""
    return max(1, math.floor(seen * _REACH + _ROUNDING))


def _seen_steps(signal: Signal) -> int:
    """Return how many steps lie between the first known value and the end; all where it came soon, as a first rate must."""
    count = len(signal.values)
    first = next((index for index, value in enumerate(signal.values) if not math.isnan(value)), count)
    return count if first <= max(2, _SOON * count) < count else count - first


def _steps(horizon_seconds: float, grid: Grid) -> int:
    if not 0 < horizon_seconds < math.inf:
        raise ConfigurationError(f"horizon_seconds={horizon_seconds!r}: give seconds above 0, such as 3600")
    steps = math.ceil(horizon_seconds / grid.step_seconds - _ROUNDING)
    if steps > MOST_STEPS:
        raise ConfigurationError(
            f"horizon_seconds={horizon_seconds:g} is {steps} steps of {grid.step_seconds:g} s: give a grid of longer steps, "
            f"so that it is at most {MOST_STEPS}"
        )
    return max(1, steps)


def _period(period_seconds: float, grid: Grid) -> int:
    if not 0 < period_seconds < math.inf:
        raise ConfigurationError(f"period_seconds={period_seconds!r}: give seconds above 0, such as 86400")
    return max(1, round(period_seconds / grid.step_seconds))


def _most(signal: Signal) -> float | None:
    is_share = signal.measure.unit == "ratio" and not any(value > 1 for value in signal.values)
    return 1.0 if is_share else None


def _sentence(signal: Signal, made: Forecast, horizon_seconds: float, bounds: Sequence[float] = ()) -> str:
    if made.method is Method.NONE:
        return f"{signal.title}: too little is known to forecast it so far"
    unit = signal.measure.unit
    last, low, high = made.values[-1], made.low[-1], made.high[-1]
    expected = f"about {amount(last, unit)}"
    if bounds:  # a value between two bounds of a bucket is a guess
        expected = bucket_words(bucket(last, bounds), unit)
        low, high = bucket(low, bounds).low, bucket(high, bounds).high
    ends = f"{amount(low, unit)} or more" if math.isinf(high) else f"{amount(low, unit)} to {amount(high, unit)}"
    claim = f"{made.level * 100:.3g} %"
    if made.is_held:
        interval = f"{claim} interval {ends}"
        held = "" if math.isnan(made.coverage) else f", and {percent(made.coverage)} % of what came lay within such intervals"
    else:
        interval = f"{ends}, with little certainty"
        held = f"; {percent(made.coverage)} % of what came lay within intervals that were to hold {claim}, so this one is wider"
    how = {Method.NAIVE: "the last value", Method.SEASONAL_NAIVE: "the value of a season before"}.get(made.method, "")
    if how:
        how = f"; back-tested, nothing did better than {how}"
    elif not math.isnan(made.against_naive):
        how = f"; back-tested, its error is {made.against_naive:.2f} of the naive forecast's"
    return f"{signal.title} will be {expected} in {duration(horizon_seconds)} ({interval}){how}{held}"


def plan_capacity(
    source: Source,
    grid: Grid,
    *,
    horizon_seconds: float,
    concurrency_per_replica: int,
    target_utilization: float = 0.7,
    headroom: float = 0.0,
    min_replicas: int = 1,
    max_replicas: int = 1000,
    current_replicas: Mapping[str, int] | None = None,
    scale_down_margin: float = 0.1,
    period_seconds: float | None = None,
    level: float = 0.9,
    forecasts: Sequence[FoundForecast] | None = None,
) -> list[PlannedCapacity]:
    """Plan the replicas of each agent's tasks for the load that is expected at most within the horizon.

    That load is the highest upper end of the interval of the rate's forecast times the mean duration of the last quarter of the
    window. Where more tasks were in progress than that explains (failed ones last, too, and some are stuck), they count. Unless
    forecasts are given, they are made in the light way, which needs no extra, and some milliseconds for an agent: it may run each
    minute in the program that it is about.

    Args:
        source: The history, or a Prometheus.
        grid: The window that is learned from.
        horizon_seconds: How long it takes until a replica that is asked for works, and as long as the next is not asked for.
        concurrency_per_replica: How many tasks a replica does at once.
        target_utilization: See ``capacity()``, and so for the next four.
        headroom: By what share more is planned for.
        min_replicas: Never fewer.
        max_replicas: Never more.
        current_replicas: How many run now, by the name of the agent.
        scale_down_margin: Fewer only where they would carry this share more.
        period_seconds: The length of a season; unless given, a day where the window holds two and a half, else none.
        level: Of the interval: what is planned for is exceeded with a probability of half of what is left to 1, at a time.
        forecasts: What ``make_forecasts()`` made of the task rates, over the same grid and horizon: one truth.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: A setting makes no sense.
    """
    ahead = _light(source, grid, horizon_seconds, period_seconds, level) if forecasts is None else forecasts
    running = current_replicas or {}
    durations = _by_labels(source, grid, "task_duration_mean")
    busy = _by_labels(source, grid, "tasks_in_progress")
    found = []
    for one in ahead:
        signal, made = one.signal, one.forecast
        if signal.measure.name != _RATE or made.method is Method.NONE:
            continue
        key = tuple(signal.labels.items())
        lasts, timed = _duration(signal, durations.get(key), busy.get(key))
        rate = max(made.high)
        if math.isnan(lasts) or math.isinf(rate):
            continue
        busiest_at = one.grid.times[made.high.index(rate)]
        plan = capacity(
            rate,
            lasts,
            concurrency_per_replica=concurrency_per_replica,
            target_utilization=target_utilization,
            headroom=headroom,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            current_replicas=running.get(signal.labels.get("gen_ai_agent_name", "")),
            scale_down_margin=scale_down_margin,
        )
        sentence = _plan_sentence(one, rate, busiest_at, (lasts, timed), plan, horizon_seconds)
        found.append(PlannedCapacity(signal.labels, rate, busiest_at, lasts, plan, made, sentence))
    return found


def _light(source: Source, grid: Grid, horizon_seconds: float, period_seconds: float | None, level: float) -> list[FoundForecast]:
    """Forecast the task rates without any extra."""
    steps = _steps(horizon_seconds, grid)
    if period_seconds is None:
        period = round(_DAY / grid.step_seconds) if grid.count * grid.step_seconds >= _SEASONS * _DAY else 1
    else:
        period = _period(period_seconds, grid)
    ahead = Grid(grid.end + grid.step_seconds, grid.step_seconds, steps)
    return [
        FoundForecast(signal, made, ahead, _sentence(signal, made, horizon_seconds))
        for signal in _by_labels(source, grid, _RATE).values()
        for made in [forecast(signal.values, horizon=steps, period=max(period, 1), level=level, is_light=True)]
    ]


def _by_labels(source: Source, grid: Grid, name: str) -> dict[tuple[tuple[str, str], ...], Signal]:
    measure = next(measure for measure in MEASURES if measure.name == name)
    return {tuple(signal.labels.items()): signal for signal in read(measure, source, grid)}


def _duration(rates: Signal, durations: Signal | None, busy: Signal | None) -> tuple[float, float]:
    """Return how long a task keeps a place busy, of late, and how long those lasted that succeeded; NaN where nothing says so."""
    recent = -max(_LEAST_RECENT, len(rates.values) // 4)
    timed = _weighted(rates.values[recent:], durations.values[recent:] if durations else ())
    if math.isnan(timed):
        timed = _weighted(rates.values, durations.values if durations else ())
    pairs = [
        (places, rate)
        for places, rate in zip(busy.values[recent:] if busy else (), rates.values[recent:], strict=False)
        if places == places and rate == rate  # noqa: PLR0124 - NaN
    ]
    done = sum(rate for _, rate in pairs)
    held = sum(places for places, _ in pairs) / done if done > 0 else math.nan
    if math.isnan(timed):
        return held, timed
    return (held if held > _MORE * timed else timed), timed


def _weighted(rates: Sequence[float], durations: Sequence[float]) -> float:
    """Return the mean duration of tasks, of the means of steps and how many there were in each."""
    pairs = [
        (rate, lasts)
        for rate, lasts in zip(rates, durations, strict=False)
        if rate > 0 and lasts == lasts  # noqa: PLR0124 - NaN
    ]
    return sum(rate * lasts for rate, lasts in pairs) / sum(rate for rate, _ in pairs) if pairs else math.nan


def _plan_sentence(
    one: FoundForecast,
    rate: float,
    busiest_at: float,
    duration_seconds: tuple[float, float],
    plan: CapacityPlan,
    horizon_seconds: float,
) -> str:
    why = {
        "load": "",
        "minimum": ", the fewest allowed",
        "maximum": f", the most allowed of the {plan.wanted_replicas} that it needs",
        "held": f", though {plan.wanted_replicas} would do just now",
    }[plan.reason]
    whom = ", ".join(one.signal.labels.values())
    lasts, timed = duration_seconds
    longer = (
        f"; those that succeed last {amount(timed, 'seconds')}, but more were in progress than that explains"
        if lasts > timed
        else ""
    )
    return (
        f"{whom} needs {counted(plan.replicas, 'replica')}{why}: at most {amount(rate, 'per_second')} are expected within "
        f"{duration(horizon_seconds)} (at {moment(busiest_at)}), and each keeps a place for {amount(lasts, 'seconds')}, so that "
        f"{amount(plan.load)} places are busy{longer}"
    )
