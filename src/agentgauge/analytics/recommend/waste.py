"""Tokens that failed runs used up, and tool calls that were made before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import counted, duration
from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.outermost import outermost_tasks
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import daily, named, scaled, selector, window
from agentgauge.analytics.totals import grown_in, totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.analytics.frames import Grid, Source

__all__ = ["repeated_tool_calls", "wasted_tokens"]

_AGENT, _TOOL = "gen_ai_agent_name", "gen_ai_tool_name"
_TASKS = "agent_task_duration_seconds_count"
_ENDED = {"cancelled": "were cancelled", "abandoned": "were abandoned"}
_LEAST_FAILED = 10
_LEAST_WASTE = 0.01
_LEAST_REPEATED = 30
_LEAST_SHARE = 0.05


def _used(labels: Mapping[str, str]) -> bool:
    return labels.get("gen_ai_token_type") in {"input", "output"}


def wasted_tokens(source: Source, grid: Grid) -> list[Advice]:
    """Advise to look at an agent's failed runs where they used more than 1 % of its tokens, in at least 10 runs."""
    by = (_AGENT, "outcome")
    wasted = grown_in("agent_wasted_tokens_total", lambda _: True, source, grid, by)
    used = totals(source, grid, "agent_tokens_total", (_AGENT,), _used)
    cost = totals(source, grid, "agent_cost_usd_total", (_AGENT,))
    runs = _runs(source, grid)
    found = []
    for key, grown in wasted.items():
        total = math.fsum(value for value in grown if value > 0)
        failed, noun = runs.get(key, (0.0, ""))
        tokens = used.get(key[:1], 0.0)
        if failed < _LEAST_FAILED or not tokens or total < _LEAST_WASTE * tokens:
            continue
        per_day = daily(grown, grid)
        price = cost.get(key[:1], 0.0) / tokens
        amount = scaled(per_day, price) if price else per_day
        gain = Gain(amount[0], "usd_per_day" if price else "tokens_per_day", amount[1])
        labels, ended = named(by, key), _ENDED.get(key[1], f"ended in {key[1]}")
        used_by = selector({_AGENT: key[0]}, 'gen_ai_token_type=~"input|output"')
        found.append(
            Advice(
                rule="wasted_tokens",
                labels=labels,
                sentence=f"{counted(round(failed), noun)} of {key[0] or 'no agent'} that {ended} used {total:,.0f} of"
                f" its {tokens:,.0f} tokens ({total / tokens:.1%}): find out why they end so, or end them sooner.",
                evidence=(
                    Evidence("share of its tokens that were wasted", total / tokens, "ratio", round(failed)),
                    Evidence("wasted tokens", total, "tokens", round(failed)),
                ),
                gain=gain,
                query=f"sum(increase(agent_wasted_tokens_total{selector(labels)}{window(grid)}))"
                f" / sum(increase(agent_tokens_total{used_by}{window(grid)}))",
                confidence=Confidence.MEDIUM if gain.interval and gain.interval.low > 0 else Confidence.LOW,
                limits="The gain is that of no such run at all, at the agent's mean price of a token; wasted tokens are those of"
                " runs inside a failed one, too, which may be other agents'.",
            )
        )
    return found


def _runs(source: Source, grid: Grid) -> dict[tuple[str, ...], tuple[float, str]]:
    """Return how many runs of each agent ended in each outcome; its tasks, where which are its runs is not known."""
    outermost = outermost_tasks(source, grid)
    found: dict[tuple[str, ...], tuple[float, str]] = {}
    for (agent, task, outcome), many in totals(source, grid, _TASKS, (_AGENT, "agent_task", "outcome")).items():
        if task in outermost.get(agent, {task}):
            before, _ = found.get((agent, outcome), (0.0, ""))
            found[agent, outcome] = before + many, "run" if agent in outermost else "task"
    return found


def repeated_tool_calls(source: Source, grid: Grid) -> list[Advice]:
    """Advise to keep a tool's answers within a run where surely more than 5 % of its calls repeat one of the same run."""
    by = (_AGENT, _TOOL)
    repeated = grown_in("agent_repeated_tool_calls_total", lambda _: True, source, grid, by)
    calls = totals(source, grid, "gen_ai_execute_tool_duration_seconds_count", by)
    seconds = totals(source, grid, "gen_ai_execute_tool_duration_seconds_sum", by)
    found = []
    for key, grown in repeated.items():
        total, count = math.fsum(value for value in grown if value > 0), calls.get(key, 0.0)
        if total < _LEAST_REPEATED or count < total:
            continue
        share = wilson(total, count)
        if share.low <= _LEAST_SHARE:
            continue
        mean = seconds.get(key, 0.0) / count
        gain = scaled(daily(grown, grid), mean)
        labels = named(by, key)
        chosen, over = selector(labels), window(grid)
        found.append(
            Advice(
                rule="repeated_tool_calls",
                labels=labels,
                sentence=f"{total:,.0f} of {count:,.0f} calls of {key[1]} by {key[0] or 'no agent'} ({total / count:.0%}) had the"
                f" arguments of one before in the same run, at {duration(mean)} each: keep its answers for the length of a run.",
                evidence=(
                    Evidence("share of its calls that were repeated", total / count, "ratio", round(count), share),
                    Evidence("repeated calls", total, "", round(count)),
                    Evidence("mean duration of a call", mean, "seconds", round(count)),
                ),
                gain=Gain(gain[0], "seconds_per_day", gain[1]),
                query=f"sum(increase(agent_repeated_tool_calls_total{chosen}{over}))"
                f" / sum(increase(gen_ai_execute_tool_duration_seconds_count{chosen}{over}))",
                confidence=Confidence.HIGH if gain[1].low > 0 else Confidence.MEDIUM,
                limits="The same arguments need not have the same answer: a clock or a poll is no waste.",
            )
        )
    return found
