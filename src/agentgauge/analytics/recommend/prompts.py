"""Prompts that a program sends again and again although no cache answers them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.intervals import wilson
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import daily, effective, named, scaled, selector, window
from agentgauge.analytics.totals import grown_in, totals

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Grid, Source

__all__ = ["repeated_prompts"]

_JOB, _AGENT, _MODEL = "job", "gen_ai_agent_name", "gen_ai_request_model"
_REPEATED, _CALLS = "agent_lm_repeated_prompts_total", "gen_ai_client_operation_duration_seconds_count"
_LEAST_REPEATED = 30
_LEAST_SHARE = 0.05


def repeated_prompts(source: Source, grid: Grid) -> list[Advice]:
    """Advise a cache where 30 calls of a model, and surely over 5 %, asked what the same process had asked it before."""
    by = (_JOB, _MODEL)
    repeated, calls = (grown_in(metric, lambda _: True, source, grid, by) for metric in (_REPEATED, _CALLS))
    hits, costs = (totals(source, grid, metric, by) for metric in ("agent_lm_cache_hits_total", "agent_cost_usd_total"))
    agents: dict[tuple[str, ...], dict[str, float]] = {}
    for (job, model, agent), many in totals(source, grid, _REPEATED, (*by, _AGENT)).items():
        agents.setdefault((job, model), {})[agent] = many
    found = []
    for key, grown in repeated.items():
        again, asked = (math.fsum(value for value in each if value > 0) for each in (grown, calls.get(key, ())))
        if again < _LEAST_REPEATED or asked < again:
            continue
        share = wilson(*effective(grown, calls[key]))
        if share.low <= _LEAST_SHARE:
            continue
        cost, paid = costs.get(key, 0.0), asked - hits.get(key, 0.0)
        mean = cost / paid if cost > 0 and paid > 0 else None
        gain = daily(grown, grid) if mean is None else scaled(daily(grown, grid), mean)
        labels, most = named(by, key), max(agents[key], key=agents[key].__getitem__)
        chosen, over = selector(labels), window(grid)
        found.append(
            Advice(
                rule="repeated_prompts",
                labels=labels,
                sentence=f"{again:,.0f} of {asked:,.0f} calls of {key[1] or 'a model'} ({again / asked:.0%}) sent what the same"
                f" process had sent it before, {agents[key][most]:,.0f} of them by {most or 'no agent'}, and no cache answered:"
                " cache repeated prompts.",
                evidence=(
                    Evidence("share of its calls that repeated a prompt", again / asked, "ratio", round(asked), share),
                    Evidence("calls that repeated a prompt", again, "", round(asked)),
                    *([] if mean is None else [Evidence("mean cost of a call", mean, "usd_per_call", round(paid))]),
                ),
                gain=Gain(gain[0], "calls_per_day" if mean is None else "usd_per_day", gain[1]),
                query=f"sum(increase({_REPEATED}{chosen}{over})) / sum(increase({_CALLS}{chosen}{over}))",
                confidence=Confidence.MEDIUM if gain[1].low > 0 else Confidence.LOW,
                limits="A cache answers all of them alike: where the temperature is above 0, or a prompt is to have another"
                " answer each time, it is wrong. The gain is that of a cache that forgets nothing while a process lives, at the"
                " mean cost of a call.",
            )
        )
    return found
