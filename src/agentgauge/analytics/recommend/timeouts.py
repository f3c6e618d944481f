"""Time-outs, against how long what succeeds really takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import duration
from agentgauge.analytics.blocks import blocks_of
from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.outcomes import SUCCESS, is_success
from agentgauge.analytics.ranks import read_quantile
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import daily, named, scaled, selector, window
from agentgauge.analytics.totals import grown_in, totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.frames import Grid, Source

__all__ = ["timeouts"]

_BY = ("gen_ai_agent_name", "agent_task")
_TASKS = "agent_task_duration_seconds"
_LEAST_SUCCESSES = 500  # five lie beyond the 99th percentile
_LEAST_TIMEOUTS = 10
_ROOM = 1.5  # times the 99th percentile
_FAR = 3.0


def _timed_out(labels: Mapping[str, str]) -> bool:
    return labels.get("outcome") == "timeout"


def timeouts(source: Source, grid: Grid) -> list[Advice]:
    """Advise a shorter time-out where those that hit it wait more than 3 times the 99th percentile of what succeeds.

    A percentile from buckets lies between two bounds: the shorter time-out is one above which it surely does not lie.
    """
    buckets: dict[tuple[str, ...], dict[float, list[float]]] = {}
    by_bound = grown_in(f"{_TASKS}_bucket", is_success, source, grid, (*_BY, "le"))
    for (*of, le), grown in by_bound.items():
        buckets.setdefault(tuple(of), {})[float(le)] = blocks_of([0.0, *grown])
    late = grown_in(f"{_TASKS}_count", _timed_out, source, grid, _BY)
    seconds = totals(source, grid, f"{_TASKS}_sum", _BY, _timed_out)
    found = []
    for key, grown in late.items():
        own, p99 = buckets.get(key, {}), read_quantile(buckets.get(key, {}), 0.99)
        cut = math.fsum(value for value in grown if value > 0)
        if p99 is None or p99.count < _LEAST_SUCCESSES or cut < _LEAST_TIMEOUTS:
            continue
        good, least = p99.count, max(p99.interval.high, p99.value * _ROOM)
        bound = min((bound for bound in own if least <= bound < math.inf), default=math.inf)
        waited = seconds.get(key, 0.0) / cut
        if waited <= max(bound, _FAR * p99.value):
            continue
        beyond = max(0.0, good - math.fsum(own[bound]))
        gain = scaled(daily(grown, grid), waited - bound)
        labels, lost = named(_BY, key), wilson(beyond, good)
        low, high = p99.interval.low, p99.interval.high
        found.append(
            Advice(
                rule="timeouts",
                labels=labels,
                sentence=f"{cut:,.0f} calls of {', '.join(labels.values())} timed out after {duration(waited)} on average, while"
                f" the 99th percentile of {good:,.0f} that succeeded lies between {duration(low)} and {duration(high)}: a"
                f" time-out of {duration(bound)} would have cut {beyond:,.0f} of those ({beyond / good:.2%}).",
                evidence=(
                    Evidence("99th percentile of what succeeded", p99.value, "seconds", round(good), p99.interval),
                    Evidence("time until a time-out", waited, "seconds", round(cut)),
                    Evidence("share of successes that would be cut", beyond / good, "ratio", round(good), lost),
                ),
                gain=Gain(gain[0], "seconds_per_day", gain[1]),
                query=f"histogram_quantile(0.99, sum by (le) (increase({_TASKS}_bucket"
                f"{selector(labels, SUCCESS)}{window(grid)})))",
                confidence=Confidence.HIGH if gain[1].low > 0 and lost.high < 0.01 else Confidence.MEDIUM,  # noqa: PLR2004
                limits="The gain is time that callers wait for what then fails. What succeeded had no time-out shorter than"
                " these. A percentile from buckets is known to its bucket: what lies between two bounds is a guess.",
            )
        )
    return found
