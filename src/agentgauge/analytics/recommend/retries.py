"""Retries during which nothing succeeded."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import duration
from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.outcomes import ANSWERED, SUCCESS, is_answered, is_success
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import daily, length, named, selector, steps
from agentgauge.analytics.totals import grown_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.analytics.frames import Grid, Source

__all__ = ["useless_retries"]

_LEAST_RETRIES = 30
_LEAST_TIMES = 5  # steps: one outage is no habit
_LEAST_SHARE = 0.8


_KINDS: tuple[tuple[str, str, Callable[[Mapping[str, str]], bool], str, tuple[str, ...]], ...] = (
    (
        "agent_task_retries_total",
        "agent_task_duration_seconds_count",
        is_success,
        SUCCESS,
        ("gen_ai_agent_name", "agent_task"),
    ),
    (
        "agent_lm_retries_total",
        "gen_ai_client_operation_duration_seconds_count",
        is_answered,
        ANSWERED,
        ("gen_ai_provider_name", "gen_ai_request_model"),
    ),
)


def useless_retries(source: Source, grid: Grid) -> list[Advice]:
    """Advise fewer retries where surely more than 80 % of them fell in steps in which nothing of their kind succeeded."""
    found = []
    for metric, of, where, chosen, by in _KINDS:
        good, ended = grown_in(of, where, source, grid, by), grown_in(of, lambda _: True, source, grid, by)
        for key, grown in grown_in(metric, lambda _: True, source, grid, by).items():
            if key not in ended:
                continue
            own = good.get(key, array("d", [0.0]) * grid.count)  # what never succeeded may have no series of successes
            pairs = [(many, well) for many, well in zip(grown, own, strict=True) if many > 0 and not math.isnan(well)]
            total = math.fsum(many for many, _ in pairs)
            vain = math.fsum(many for many, well in pairs if well <= 0)
            times = sum(well <= 0 for _, well in pairs)
            if total < _LEAST_RETRIES or times < _LEAST_TIMES:
                continue
            share = wilson(times, len(pairs))  # by steps: the retries of one step share their fate
            if share.low <= _LEAST_SHARE or vain / total <= _LEAST_SHARE:
                continue
            per_day = daily([many if well <= 0 else 0.0 for many, well in zip(grown, own, strict=True)], grid)
            labels, step = named(by, key), length(grid.step_seconds)
            found.append(
                Advice(
                    rule="useless_retries",
                    labels=labels,
                    sentence=f"{vain:,.0f} of {total:,.0f} retries of {', '.join(labels.values())} fell in {times} times of"
                    f" {duration(grid.step_seconds)} in which nothing succeeded: wait longer between attempts, make fewer, or use"
                    " a circuit breaker.",
                    evidence=(
                        Evidence("retries without any success meanwhile", vain, "", round(total)),
                        Evidence("share of times with retries", times / len(pairs), "ratio", len(pairs), share),
                    ),
                    gain=Gain(per_day[0], "calls_per_day", per_day[1]),
                    query=f"sum_over_time((sum(increase({metric}{selector(labels)}[{step}])) unless"
                    f" sum(increase({of}{selector(labels, chosen)}[{step}])) > 0){steps(grid)})",
                    confidence=Confidence.MEDIUM,
                    limits="Series do not tell which attempt a success was; this sees only times in which there was none at"
                    " all. A"
                    " success just after the step is not seen.",
                )
            )
    return found
