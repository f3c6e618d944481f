"""Over a source: what is out of the ordinary, when, how far, told in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount
from agentgauge.analytics.analysis.findings import LEAST_KNOWN
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.observations import LEAST_OBSERVATIONS, Stretch, chance_of, read_weighed
from agentgauge.analytics.related import Anomaly, told_once
from agentgauge.analytics.signals import Worse
from agentgauge.analytics.sizes import is_felt, size_of
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentgauge.analytics.analysis.anomaly import Judgement
    from agentgauge.analytics.analysis.baseline import Array
    from agentgauge.analytics.analysis.findings import Finding
    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.signals import Measure, Signal

__all__ = ["ALPHA", "Anomaly", "JudgedSignal", "Survey", "Unjudged", "find_anomalies", "judge_signals", "survey"]

ALPHA = 0.05
_DAY_SECONDS = 86400
_SHORT_OF_A_FINDING = 0.99
_COPY = 0.99  # a correlation
_LEAST_SHARE = 1e-3
_FARTHEST = 1e9  # standard deviations
_OF_CALLS = frozenset({"spike", "level_shift", "drift"})


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSignal:
    """A signal and what is known of it.

    The grid of the signal may have longer steps than were asked for: those of ratios and quantiles are merged until they hold
    enough calls.

    Attributes:
        signal: What.
        judgement: What was found of it.
        calls: Of how many calls it is made in all; None of a rate or a level.
    """

    signal: Signal
    judgement: Judgement
    calls: float | None = None

    @property
    def is_judged(self) -> bool:
        """Whether its past is long enough to tell anything by."""
        return not math.isnan(self.judgement.now)


@dataclass(frozen=True, slots=True, eq=False)
class Unjudged:
    """A signal of which nothing can be said, and what would change that.

    Attributes:
        signal: What.
        known: How many steps have a value.
        calls: Of how many calls it is made in all; None of a rate or a level.
        enough_seconds: From how long a window on it could be judged, if it goes on as in this one.
    """

    signal: Signal
    known: int
    calls: float | None
    enough_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What was out of the ordinary in a window, and of what that could not be told.

    Attributes:
        anomalies: What is felt first and of that what is for the worse, levels before moments and these before sways, the
            greatest first.
        judged: How many signals were judged.
        unjudged: Those that were not, those that want least first: fewer than 64 values are known of them, or they are made of
            so few calls that no 64 steps hold 5 each.
    """

    anomalies: tuple[Anomaly, ...]
    judged: int
    unjudged: tuple[Unjudged, ...]


def find_anomalies(
    source: Source, grid: Grid, *, measures: Sequence[Measure] = MEASURES, alpha: float = ALPHA, is_joint: bool = True
) -> list[Anomaly]:
    """Find what was out of the ordinary in a window, held against the rest of that window.

    Signals of which fewer than 64 values are known are not judged, nor are ratios and durations of fewer than 320 calls; a season
    of a day is known from four days on. Within less, what goes up and down with the day is taken for a slow sway, and only what
    is faster is found.

    Args:
        source: From where.
        grid: The window. What should be found should fill less than a third of it.
        measures: What to look at.
        alpha: How probable it is that chance alone makes anything of one kind out of all these signals.
        is_joint: Whether to look for series that do not go together, too (Isolation Forest; about a second).

    Returns:
        What is felt first and of that what is for the worse, levels before moments and these before sways, the greatest first;
        what touches in time and is about the same is told once.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: The extra ``analysis`` is not installed.
    """
    return list(survey(source, grid, measures=measures, alpha=alpha, is_joint=is_joint).anomalies)


def survey(
    source: Source, grid: Grid, *, measures: Sequence[Measure] = MEASURES, alpha: float = ALPHA, is_joint: bool = True
) -> Survey:
    """Do as ``find_anomalies()``, and tell of which signals nothing can be said, too.

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: The extra ``analysis`` is not installed.
    """
    judged = judge_signals(source, grid, measures=measures, alpha=alpha)
    anomalies = [_anomaly(one.signal, finding) for one in judged for finding in one.judgement.findings]
    if is_joint:
        anomalies += _together([one for one in judged if one.signal.grid == grid], grid, anomalies)
    unjudged = sorted((_unjudged(one, grid) for one in judged if not one.is_judged), key=lambda one: one.enough_seconds)
    return Survey(tuple(told_once(anomalies)), len(judged) - len(unjudged), tuple(unjudged))


def _unjudged(one: JudgedSignal, grid: Grid) -> Unjudged:
    known = sum(math.isfinite(value) for value in one.signal.values)
    share = known / LEAST_KNOWN if known or one.calls is None else one.calls / LEAST_OBSERVATIONS / LEAST_KNOWN
    # a step more than enough: a rate has no first
    enough = grid.count * grid.step_seconds / max(share, _LEAST_SHARE) + one.signal.grid.step_seconds
    return Unjudged(one.signal, known, one.calls, enough)


def judge_signals(
    source: Source, grid: Grid, *, measures: Sequence[Measure] = MEASURES, alpha: float = ALPHA
) -> list[JudgedSignal]:
    """Judge each signal of a window by itself; what chance may do is shared among them (Bonferroni).

    Raises:
        SourceError: The source cannot be asked.
        ConfigurationError: The extra ``analysis`` is not installed.
    """
    for library in ("numpy", "scipy.stats"):
        load_extra(library, "analysis", "find_anomalies()")
    numpy, anomaly = load("numpy"), load("agentgauge.analytics.analysis.anomaly")
    read = [weighed for measure in measures for weighed in read_weighed(measure, source, grid)]
    share = alpha / max(1, len(read))
    judged = []
    for weighed in read:
        signal, step = weighed.signal, weighed.signal.grid.step_seconds
        judgement = anomaly.judge(
            numpy.frombuffer(signal.values),
            period=round(_DAY_SECONDS / step) if _DAY_SECONDS % step == 0 else None,
            alpha=share,
            is_traffic=_is_traffic(signal.measure),
        )
        judged.append(JudgedSignal(signal, _beyond_chance(signal, source, judgement, share), weighed.calls))
    return judged


def _beyond_chance(signal: Signal, source: Source, judgement: Judgement, alpha: float) -> Judgement:
    """Leave out what so few calls do by themselves, however far it is from the rest; what nobody feels is no score of the end."""
    kept = tuple(
        one
        for one in judgement.findings
        if one.shape not in _OF_CALLS
        or chance_of(signal, source, Stretch(one.first, one.last, one.expected, one.observed)) <= alpha / signal.grid.count
    )
    if len(kept) == len(judgement.findings) and all(_size(signal, one) for one in kept):
        return judgement
    at_end = max((one.score for one in kept if one.last >= signal.grid.count - 2 and _size(signal, one)), default=0.0)
    return replace(judgement, findings=kept, now=max(at_end, min(judgement.now, _SHORT_OF_A_FINDING)))


def _size(signal: Signal, finding: Finding) -> float:
    """Return how great a finding is in practice, 0 where nobody feels it."""
    before, after, unit = finding.expected, finding.observed, signal.measure.unit
    if finding.shape == "missing":
        return 1.0
    if finding.shape == "variance":  # of what it sways about, not of the sway
        usual = median([value for value in signal.values if math.isfinite(value)])
        before, after = usual, usual + after - before
    return size_of(before, after, unit) if is_felt(before, after, unit) else 0.0


def _is_traffic(measure: Measure) -> bool:
    return measure.unit == "per_second" and measure.worse is Worse.EITHER


def _anomaly(signal: Signal, finding: Finding) -> Anomaly:
    grid = signal.grid
    start, end = grid.start + (finding.first - 1) * grid.step_seconds, grid.start + finding.last * grid.step_seconds
    return Anomaly(
        signal,
        start,
        end,
        finding.shape.value,
        finding.score,
        finding.expected,
        finding.observed,
        _is_worse(signal.measure, finding),
        _sentence(signal, finding, start, end),
        _size(signal, finding),
    )


def _is_worse(measure: Measure, finding: Finding) -> bool | None:
    if finding.shape == "missing":
        return True
    if measure.worse is Worse.EITHER:
        return None
    if finding.shape == "variance":
        return True
    return (finding.observed > finding.expected) == (measure.worse is Worse.UP)


def _together(judged: list[JudgedSignal], grid: Grid, alone: list[Anomaly]) -> list[Anomaly]:
    """Find when signals do not go together, outside of what was found of single ones."""
    numpy, isolation = load("numpy"), load("agentgauge.analytics.analysis.isolation")
    fits = [(one.signal, one.judgement.baseline) for one in judged if one.judgement.baseline is not None]
    known = [(signal, fitted) for signal, fitted in fits if fitted.scale.max() > 0]
    if not known:
        return []
    series = [_finite(signal) for signal, _ in known]
    with numpy.errstate(over="ignore"):
        away = [(values - fitted.expected) / fitted.scale for values, (_, fitted) in zip(series, known, strict=True)]
    table = numpy.clip(numpy.column_stack(away), -_FARTHEST, _FARTHEST)
    own = _of_their_own(table)
    known = [known[index] for index in own]
    found = []
    for together in isolation.isolate(table[:, own]):
        start, end = grid.start + (together.first - 1) * grid.step_seconds, grid.start + together.last * grid.step_seconds
        if any(anomaly.start < end + grid.step_seconds and start - grid.step_seconds < anomaly.end for anomaly in alone):
            continue
        signal, fitted = known[together.series[0]]
        stretch = slice(together.first, together.last + 1)
        expected = float(numpy.mean(fitted.expected[stretch]))
        values = _finite(signal)[stretch]
        observed = float(numpy.mean(values[numpy.isfinite(values)])) if numpy.isfinite(values).any() else float("nan")
        if not is_felt(expected, observed, signal.measure.unit):
            continue
        names = "; ".join(known[index][0].title for index in together.series)
        sentence = f"{_between(start, end)}, signals did not go together as they do else, first of all: {names}."
        found.append(Anomaly(signal, start, end, "together", together.score, expected, observed, None, sentence))
    return found


def _finite(signal: Signal) -> Array:
    numpy = load("numpy")
    values: Array = numpy.array(signal.values)
    values[~numpy.isfinite(values)] = numpy.nan
    return values


def _of_their_own(table: Array) -> list[int]:
    """Return the columns that are no copies of an earlier one: tokens and cost of the same calls are one series, not three."""
    numpy = load("numpy")
    unit = numpy.nan_to_num(table)
    unit = unit - unit.mean(axis=0)
    unit /= numpy.maximum(numpy.linalg.norm(unit, axis=0), 1e-12)
    alike = numpy.abs(unit.T @ unit)
    own: list[int] = []
    for index in range(table.shape[1]):
        if not any(alike[index, earlier] > _COPY for earlier in own):
            own.append(index)
    return own


# --- in words -------------------------------------------------------------------------------------------------------------


def _sentence(signal: Signal, finding: Finding, start: float, end: float) -> str:
    title = signal.title[:1].upper() + signal.title[1:]
    times = finding.observed / finding.expected if finding.expected else 0.0
    was, expected = amount(finding.observed, signal.measure.unit), amount(finding.expected, signal.measure.unit)
    when = _between(start, end)
    goes_on = finding.last == signal.grid.count - 1
    way = "rose" if finding.observed > finding.expected else "fell"
    return {
        "spike": f"{title} {way} to {was} for a moment, where {expected} was expected, {when}.",
        "level_shift": f"{title} {way} to {was}, where {expected} was expected, {when}"
        f"{', and is still there' if goes_on else ''}.",
        "drift": f"{title} {way} little by little to {was}, where {expected} was expected, {when}"
        f"{', and goes on' if goes_on else ''}.",
        "variance": f"{title} swayed {times:.1f} times as much as it does else, {when}.",
        "missing": f"{title}: nothing came {when}, where {expected} was expected{'; nothing comes still' if goes_on else ''}.",
    }[finding.shape.value]


def _between(start: float, end: float) -> str:
    begin, until = (datetime.fromtimestamp(at, UTC) for at in (start, end))
    return f"from {begin:%Y-%m-%d %H:%M:%S} to {until:{'%H:%M:%S' if begin.date() == until.date() else '%Y-%m-%d %H:%M:%S'}} UTC"
