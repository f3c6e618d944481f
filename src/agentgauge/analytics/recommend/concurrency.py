"""More at once where work waits and there is room; fewer where rate limits come with load."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import duration
from agentgauge.analytics.frames import Fold
from agentgauge.analytics.intervals import Interval, newcombe, wilson
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import daily, effective, length, named, selector, window
from agentgauge.analytics.recommend.facts import steps as steps_of
from agentgauge.analytics.signals import level
from agentgauge.analytics.totals import grown_in, totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.frames import Grid, Source

__all__ = ["lower_concurrency", "raise_concurrency"]

_BY = ("gen_ai_agent_name", "queue")
_WAITS, _LM = "agent_queue_wait_seconds", "gen_ai_client_operation_duration_seconds_count"
_LEAST_WAITS = 30
_LEAST_SECONDS = 1.0
_MOST_CPU = 0.7
_MOST_LIMITED = 0.01
_LEAST_LIMITED = 10
_LEAST_STEPS = 20
_LIMITED = 'error_type=~"(?i).*(ratelimit|toomanyrequests).*|429"'


def _limited(labels: Mapping[str, str]) -> bool:
    error = labels.get("error_type", "").lower()
    return "ratelimit" in error or "toomanyrequests" in error or error == "429"


def _cpu(source: Source, grid: Grid) -> list[float]:
    found = level("system_cpu_utilization_ratio", Fold.MEAN, is_sum=False)(source, grid, ()).get((), ())
    return sorted(value for value in found if not math.isnan(value))


def raise_concurrency(source: Source, grid: Grid) -> list[Advice]:
    """Advise more work at once where items wait over a second, the host surely has room and no rate limit is near."""
    cpu = _cpu(source, grid)
    if len(cpu) < _LEAST_STEPS:
        return []
    busy = cpu[math.ceil(0.95 * len(cpu)) - 1]
    calls, limited = (
        math.fsum(totals(source, grid, _LM, ()).values()),
        math.fsum(totals(source, grid, _LM, (), _limited).values()),
    )
    if busy >= _MOST_CPU or (calls and wilson(limited, calls).high >= _MOST_LIMITED):
        return []
    waits = totals(source, grid, f"{_WAITS}_count", _BY)
    found = []
    for key, grown in grown_in(f"{_WAITS}_sum", lambda _: True, source, grid, _BY).items():
        count, seconds = waits.get(key, 0.0), math.fsum(value for value in grown if value > 0)
        per_day, interval = daily(grown, grid)
        if count < _LEAST_WAITS or seconds / count < _LEAST_SECONDS or interval.low <= 0:
            continue
        labels, over = named(_BY, key), window(grid)
        chosen = selector(labels)
        found.append(
            Advice(
                rule="raise_concurrency",
                labels=labels,
                sentence=f"{count:,.0f} items waited {duration(seconds / count)} on average in the queue {key[1]} of {key[0]},"
                f" while the host's CPU was below {busy:.0%} for 95 % of the time and {limited:,.0f} of {calls:,.0f} LM calls met"
                " a rate limit: work on more of them at once.",
                evidence=(
                    Evidence("mean wait", seconds / count, "seconds", round(count)),
                    Evidence("95th percentile of the host's CPU utilization", busy, "ratio", len(cpu)),
                    Evidence("LM calls that met a rate limit", limited, "", round(calls)),
                ),
                gain=Gain(per_day, "seconds_per_day", interval),
                query=f"sum(increase({_WAITS}_sum{chosen}{over})) / sum(increase({_WAITS}_count{chosen}{over}))",
                confidence=Confidence.MEDIUM if calls else Confidence.LOW,
                limits="The gain is all of the wait, which more workers cut only in part. Limits that no series shows (a"
                " database, a quota) may be near.",
            )
        )
    return found


def lower_concurrency(source: Source, grid: Grid) -> list[Advice]:
    """Advise less at once where rate limits are surely more frequent in the busier half of the times than in the other."""
    running = level("agent_tasks_in_progress", Fold.MEAN)(source, grid, ()).get(())
    if running is None:
        return []
    by = ("gen_ai_provider_name", "gen_ai_request_model")
    refused = grown_in(_LM, _limited, source, grid, by)
    found = []
    for key, calls in grown_in(_LM, lambda _: True, source, grid, by).items():
        bad = refused.get(key)
        if bad is None or math.fsum(value for value in bad if value > 0) < _LEAST_LIMITED:
            continue
        steps = [
            (load, many, max(0.0, few) if not math.isnan(few) else 0.0)
            for load, many, few in zip(running, calls, bad, strict=True)
            if not math.isnan(load) and many > 0
        ]
        if len(steps) < _LEAST_STEPS:
            continue
        middle = sorted(load for load, _, _ in steps)[len(steps) // 2]
        quiet, busy = _part([each for each in steps if each[0] < middle]), _part([each for each in steps if each[0] >= middle])
        if not quiet[1] or not busy[1]:
            continue
        gap = newcombe(_independent(steps, middle, is_busy=False), _independent(steps, middle, is_busy=True))
        if gap.low <= _MOST_LIMITED:
            continue
        labels = named(by, key)
        days = grid.count * grid.step_seconds / 86400
        found.append(
            Advice(
                rule="lower_concurrency",
                labels=labels,
                sentence=f"With {middle:.3g} or more tasks in progress {busy[0] / busy[1]:.1%} of {busy[1]:,.0f} calls of"
                f" {', '.join(labels.values())} met a rate limit, with fewer {quiet[0] / quiet[1]:.1%} of {quiet[1]:,.0f}:"
                " keep below that many at once.",
                evidence=(
                    Evidence("rate limited with many in progress", busy[0] / busy[1], "ratio", round(busy[1]), wilson(*busy)),
                    Evidence("rate limited with few in progress", quiet[0] / quiet[1], "ratio", round(quiet[1]), wilson(*quiet)),
                    Evidence("difference", busy[0] / busy[1] - quiet[0] / quiet[1], "ratio", round(busy[1] + quiet[1]), gap),
                ),
                gain=Gain(
                    (busy[0] / busy[1] - quiet[0] / quiet[1]) * busy[1] / days,
                    "calls_per_day",
                    Interval(gap.low * busy[1] / days, gap.high * busy[1] / days),
                ),
                query=f"{_while_busy(labels, middle, grid, _LIMITED)} / {_while_busy(labels, middle, grid)}",
                confidence=Confidence.MEDIUM,
                limits="Load and refusals together are no proof that one causes the other: a limit by the minute may be shared"
                " with others.",
            )
        )
    return found


def _part(steps: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    calls = math.fsum(many for _, many, _ in steps)
    return min(calls, math.fsum(few for _, _, few in steps)), calls


def _independent(steps: Sequence[tuple[float, float, float]], middle: float, *, is_busy: bool) -> tuple[float, float]:
    """Return how many refusals and calls of the busier steps, or of the others, count as independent."""
    own = [each for each in steps if (each[0] >= middle) == is_busy]
    return effective([few for _, _, few in own], [many for _, many, _ in own])


def _while_busy(labels: Mapping[str, str], middle: float, grid: Grid, more: str = "") -> str:
    step, inside = length(grid.step_seconds), length(grid.step_seconds - 0.001)  # a mean without the step's beginning
    busy = f"sum(avg_over_time(agent_tasks_in_progress[{inside}])) >= {middle!r}"
    return f"sum_over_time((sum(increase({_LM}{selector(labels, more)}[{step}])) and on () {busy}){steps_of(grid)})"
