"""What an analytics object tells of what it recorded: as a mapping, and as text."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentgauge.analytics.amounts import LEAST_PROBABILITY, amount, duration
from agentgauge.analytics.analysis.changes import change_points
from agentgauge.analytics.analysis.course import MOST_STEPS, is_stepped, left_by_line, left_by_steps
from agentgauge.analytics.analysis.trend import Direction, trend
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.figures import Statistics, summarize
from agentgauge.analytics.moments import iso
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.analysis.changes import Change
    from agentgauge.analytics.analysis.trend import Trend
    from agentgauge.analytics.book import Book
    from agentgauge.analytics.points import Points, Retention

__all__ = ["FORMATS", "Gathered", "as_mapping", "as_text", "checked_facts", "gather"]

FORMATS = ("json", "summary", "detailed")
_FIELDS = {"name", "generated_at", "window", "retention", "metrics", "trends", "refused"}

_NOT_COMPUTED = "not computed: pip install 'agentgauge[analysis]'"


@dataclass(frozen=True, slots=True)
class FoundStep:
    """A level that changed: from when on, and from what to what."""

    at: datetime
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class FoundSlope:
    """Which way a metric goes.

    Attributes:
        direction: ``rising``, ``falling``, ``stepped`` where levels tell it better than a line, ``none`` where neither is to be
            seen, ``constant``, or ``unknown`` where there are too few points.
        per_hour: By how much in an hour; None where there is no line, or that is beyond what a float holds.
        p_value: How likely as much would be by chance; None where that is unknown.
        steps: When the level changed, in order of time; empty unless it stepped.
    """

    direction: str
    per_hour: float | None
    p_value: float | None
    steps: tuple[FoundStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a report is made of.

    Attributes:
        name: Whose numbers they are.
        at: When it was gathered, Unix time in seconds.
        since: Where the window begins; infinite where it is all.
        until: Where it ends.
        statistics: Of each metric, None where it has no points in the window.
        slopes: Of each metric that has points; None where trends are not computed.
        trends_note: Why there are no slopes; empty where there are, or nobody wants them.
        retention: What is kept.
        refused: How many points were not taken, by reason.
        facts: What else there is to say, by what it is.
    """

    name: str
    at: float
    since: float
    until: float
    statistics: Mapping[str, Statistics | None]
    slopes: Mapping[str, FoundSlope] | None
    trends_note: str
    retention: Retention
    refused: Mapping[str, int]
    facts: Mapping[str, Any]


def gather(book: Book, since: float, until: float, *, include_trends: bool, facts: Mapping[str, Any] | None = None) -> Gathered:
    """Gather what a report is made of, of the points from ``since`` on and before ``until``."""
    held = [points.between(since, until) for points in book.all_points()]
    slopes, note = None, ""
    if include_trends:
        try:
            slopes = {points.metric: _slope(points) for points in held if points.times}
        except ConfigurationError:
            note = _NOT_COMPUTED
    return Gathered(
        name=dict(book.labels)["analytics"],
        at=book.now(),
        since=since,
        until=until,
        statistics={points.metric: summarize(points) for points in held},
        slopes=slopes,
        trends_note=note,
        retention=book.retention,
        refused=book.refused(),
        facts=facts or {},
    )


def checked_facts(facts: object, owner: str) -> Mapping[str, Any]:
    """Return the facts that a class of the program's gave.

    Raises:
        ConfigurationError: JSON cannot have them, or a field of the report has such a name.
    """
    what = f"{owner}.report_facts()"
    if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts):
        raise ConfigurationError(f"{what} returned {type(facts).__name__}: return a dict of facts by their names")
    if taken := _FIELDS & facts.keys():
        raise ConfigurationError(f"{what} returned {min(taken)!r}, a field of every report: give the fact another name")
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} returned what JSON cannot have: {error}") from error
    return facts


def _slope(points: Points) -> FoundSlope:
    numpy = load_extra("numpy", "analysis", "trends")
    with numpy.errstate(all="ignore"):  # times may be as near to each other as floats get; what comes of it is looked at below
        found = trend(points.times, points.values)
    if found.direction is Direction.UNKNOWN:
        return FoundSlope(found.direction.value, None, None)
    if found.direction is not Direction.CONSTANT and (changes := _changes(points, found)):
        steps = tuple(FoundStep(datetime.fromtimestamp(points.times[one.index], UTC), one.before, one.after) for one in changes)
        return FoundSlope("stepped", None, _chance(2 * min(one.p_value for one in changes)), steps)
    return FoundSlope(found.direction.value, _known(found.slope * 3600), _chance(found.p_value))


def _changes(points: Points, line: Trend) -> list[Change]:
    """Return when the level changed, if that tells the course better than a line; nothing where it does not."""
    changes = change_points(points.values)
    if not 0 < len(changes) <= MOST_STEPS:
        return []
    by_steps, by_line = left_by_steps(points.values, changes), left_by_line(points.times, points.values, line)
    return changes if is_stepped(by_steps, by_line) else []


def _chance(p_value: float) -> float | None:
    return _known(max(min(1.0, p_value), LEAST_PROBABILITY))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def as_mapping(gathered: Gathered) -> dict[str, Any]:
    """Return what was gathered as plain mappings, texts and finite numbers; times are ISO 8601 in UTC."""
    return {
        "name": gathered.name,
        "generated_at": iso(gathered.at),
        "window": {"since": iso(gathered.since), "until": iso(gathered.until)},
        "retention": {
            "period_seconds": gathered.retention.period_seconds,
            "max_data_points": gathered.retention.max_data_points,
        },
        "metrics": {metric: _metric_mapping(gathered, metric) for metric in gathered.statistics},
        **({"trends": gathered.trends_note} if gathered.trends_note else {}),
        "refused": dict(gathered.refused),
        **gathered.facts,
    }


def _metric_mapping(gathered: Gathered, metric: str) -> dict[str, Any]:
    found = gathered.statistics[metric]
    if found is None:
        return {"count": 0}
    told: dict[str, Any] = {
        "count": found.count,
        "first_at": found.first_at.isoformat(),
        "last_at": found.last_at.isoformat(),
        "latest": found.latest,
        "minimum": found.minimum,
        "maximum": found.maximum,
        "mean": found.mean,
        "median": found.median,
        "p95": found.p95,
        "standard_deviation": found.standard_deviation,
    }
    if gathered.slopes is not None and (slope := gathered.slopes.get(metric)) is not None:
        told["trend"] = {"direction": slope.direction, "per_hour": slope.per_hour, "p_value": slope.p_value}
        if slope.steps:
            told["trend"]["steps"] = [
                {"at": step.at.isoformat(), "before": step.before, "after": step.after} for step in slope.steps
            ]
    return told


def as_text(gathered: Gathered, *, is_detailed: bool) -> str:
    """Return what was gathered as lines of text, the last of which ends too."""
    window = f"from {iso(gathered.since) or 'the beginning'} until {iso(gathered.until) or iso(gathered.at) or 'now'}"
    lines = [f"{gathered.name}, {window}"]
    lines += [f"{fact}: {_shown(value)}" for fact, value in gathered.facts.items()]
    for metric, found in gathered.statistics.items():
        lines += _metric_lines(gathered, metric, found, is_detailed=is_detailed)
    if not any(gathered.statistics.values()):
        lines.append("nothing was recorded")
    if gathered.trends_note:
        lines.append(f"trends: {gathered.trends_note}")
    if is_detailed:
        lines.append(_retention_line(gathered.retention))
    lines += [f"refused: {count} ({reason})" for reason, count in gathered.refused.items()]
    return "\n".join(lines) + "\n"


def _metric_lines(gathered: Gathered, metric: str, found: Statistics | None, *, is_detailed: bool) -> list[str]:
    if found is None:
        return [f"{metric}: no points"] if is_detailed else []
    slope = (gathered.slopes or {}).get(metric)
    trend_text = "" if slope is None else _slope_text(slope)
    noun = "point" if found.count == 1 else "points"
    if not is_detailed:
        ending = f", {trend_text}" if trend_text else ""
        return [f"{metric}: {found.latest:.6g} last, mean {found.mean:.6g}, p95 {found.p95:.6g}, {found.count} {noun}{ending}"]
    lines = [
        f"{metric}: {found.count} {noun}",
        f"  from {found.first_at.isoformat()} to {found.last_at.isoformat()}",
        f"  latest {found.latest:.6g}, minimum {found.minimum:.6g}, maximum {found.maximum:.6g}",
        f"  mean {found.mean:.6g}, median {found.median:.6g}, p95 {found.p95:.6g}, deviation {found.standard_deviation:.6g}",
    ]
    return [*lines, f"  {trend_text}"] if trend_text else lines


def _slope_text(slope: FoundSlope) -> str:
    if slope.direction in {"rising", "falling"}:
        by = "" if slope.per_hour is None else f" by {abs(slope.per_hour):.3g} an hour"
        sure = "" if slope.p_value is None else f" (p {amount(slope.p_value, 'probability')})"
        return f"{slope.direction}{by}{sure}"
    if slope.steps:
        moves = [f"from {step.before:.6g} to {step.after:.6g} at {step.at.isoformat()}" for step in slope.steps]
        return f"stepped {', then '.join(moves)}"
    return {"none": "no steady slope", "constant": "constant"}.get(slope.direction, "too few points for a trend")


def _retention_line(retention: Retention) -> str:
    age = "any age" if retention.period_seconds is None else f"at most {duration(retention.period_seconds)} old"
    count = "any number" if retention.max_data_points is None else f"at most {retention.max_data_points} points of each metric"
    return f"kept: {age}, {count}"


def _shown(value: object) -> str:
    if value is None:
        return "unknown"
    return "; ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
