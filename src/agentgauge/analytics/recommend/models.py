"""A cheaper model among those that an agent uses already, where the series show no difference in quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import amount
from agentgauge.analytics.intervals import newcombe, wilson
from agentgauge.analytics.outcomes import is_failed, is_judged
from agentgauge.analytics.recommend.advice import Advice, Confidence, Evidence, Gain
from agentgauge.analytics.recommend.facts import daily, effective, selector, window
from agentgauge.analytics.totals import grown_in, totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.frames import Grid, Source
    from agentgauge.analytics.intervals import Interval

__all__ = ["cheaper_model"]

_AGENT, _MODEL, _TYPE = "gen_ai_agent_name", "gen_ai_request_model", "gen_ai_token_type"
_COST, _CALLS = "agent_cost_usd_total", "gen_ai_client_operation_duration_seconds_count"
_ENDS = "agent_lm_finish_reasons_total"
_LEAST_CALLS = 200
_MARGIN = 0.02
_CHEAPER = 0.8  # of the price of a token, at the most
_MOST_TIMES = 10.0  # no provider asks more for a token that comes out, in units of one that goes in
_CUT = frozenset({"length", "content_filter", "max_tokens"})


@dataclass(frozen=True, slots=True)
class _Use:
    """What an agent used a model for: US dollars over the window, and tokens that went in and came out."""

    usd: float
    tokens_in: float
    tokens_out: float

    @property
    def price(self) -> float:
        """US dollars for a token, of whichever kind."""
        tokens = self.tokens_in + self.tokens_out
        return self.usd / tokens if tokens > 0 else 0.0

    def price_for(self, other: _Use) -> float:
        """Return what a token would cost at most, were they mixed as the other's are.

        Series have one price for both kinds, and a token that comes out costs 1 to 10 times one that goes in. What the mix makes
        of the price rises or falls steadily between the two.
        """
        return max(self.price * other.weight(times) / self.weight(times) for times in (1.0, _MOST_TIMES))

    def weight(self, times: float) -> float:
        """Return how many tokens that went in cost as much as one of this mix, where one that came out costs so many times."""
        return (self.tokens_in + times * self.tokens_out) / (self.tokens_in + self.tokens_out)


@dataclass(frozen=True, slots=True)
class _Record:
    """How a model did, for all agents: what it was asked for, and in each step what it did, without cancelled calls."""

    operations: frozenset[str]
    calls: Sequence[float]
    failed: Sequence[float]
    ends: Sequence[float]
    cut: Sequence[float]

    @property
    def shares(self) -> list[tuple[Sequence[float], Sequence[float]]]:
        """What must be no worse: failures, and cut answers where ends are told."""
        return [(self.failed, self.calls), (self.cut, self.ends)]


def cheaper_model(source: Source, grid: Grid) -> list[Advice]:
    """Advise the cheaper of two models of an agent that do the same, where failures of the two are equivalent.

    Equivalent is, by a one-sided test at 5 % (Schuirmann, 1987): the 90 % interval of the difference ends below 2 hundredths, of
    failed calls and of answers that were cut short.
    """
    costs = grown_in(_COST, lambda _: True, source, grid, (_AGENT, _MODEL))
    tokens = totals(source, grid, "agent_tokens_total", (_AGENT, _MODEL, _TYPE))
    uses = {
        key: _Use(_total(grown), tokens.get((*key, "input"), 0.0), tokens.get((*key, "output"), 0.0))
        for key, grown in costs.items()
    }
    records = _records(source, grid)
    found = []
    for (agent, dear), use in uses.items():
        others = [
            (other.price_for(use), cheap)
            for (whose, cheap), other in uses.items()
            if whose == agent and cheap != dear and other.price > 0 and use.price > 0
        ]
        for price, cheap in sorted(others):
            gap = _equivalent(records.get(dear), records.get(cheap))
            if price < _CHEAPER * use.price and gap is not None:
                gain = daily([value * (1 - price / use.price) for value in costs[agent, dear]], grid)
                found.append(_advice(agent, (dear, cheap), (use.price, price), records, gap, gain, grid))
                break
    return found


def _records(source: Source, grid: Grid) -> dict[str, _Record]:
    by = (_MODEL,)
    operations: dict[str, set[str]] = {}
    for (model, operation), many in totals(source, grid, _CALLS, (_MODEL, "gen_ai_operation_name")).items():
        if many > 0:
            operations.setdefault(model, set()).add(operation)
    calls, failed = (grown_in(_CALLS, where, source, grid, by) for where in (is_judged, is_failed))
    ends, cut = grown_in(_ENDS, lambda _: True, source, grid, by), grown_in(_ENDS, _cut, source, grid, by)
    nothing = [0.0] * grid.count
    return {
        model: _Record(
            frozenset(does),
            *(each.get((model,), nothing) for each in (calls, failed, ends, cut)),
        )
        for model, does in operations.items()
    }


def _equivalent(dear: _Record | None, cheap: _Record | None) -> Interval | None:
    """Return where the difference of failures lies at 90 %, where it and that of cut answers is surely small; None else."""
    if dear is None or cheap is None or not dear.operations <= cheap.operations:  # who only embeds writes no answers
        return None
    if min(_total(dear.calls), _total(cheap.calls)) < _LEAST_CALLS:
        return None
    gaps = [
        newcombe(effective(*old), effective(*new), 0.9)
        for old, new in zip(dear.shares, cheap.shares, strict=True)
        if min(_total(old[1]), _total(new[1])) >= _LEAST_CALLS
    ]
    return gaps[0] if all(gap.high < _MARGIN for gap in gaps) else None


def _advice(
    agent: str,
    models: tuple[str, str],
    prices: tuple[float, float],
    records: Mapping[str, _Record],
    gap: Interval,
    gain: tuple[float, Interval],
    grid: Grid,
) -> Advice:
    dear, cheap = models
    calls = tuple(_total(records[model].calls) for model in models)
    failed = tuple(_total(records[model].failed) for model in models)
    shares = (failed[0] / calls[0], failed[1] / calls[1])
    chosen = selector({_AGENT: agent, _MODEL: dear})
    priced = selector({_AGENT: agent, _MODEL: dear}, f'{_TYPE}=~"input|output"')
    return Advice(
        rule="cheaper_model",
        labels={_AGENT: agent, _MODEL: dear},
        sentence=f"{agent or 'Calls without an agent'} used {dear} at {amount(1e6 * prices[0], 'usd')} a million tokens, and"
        f" {cheap}, which for the same would cost {amount(1e6 * prices[1], 'usd')} at the most; calls of {cheap} failed no more"
        f" often ({shares[1]:.1%} of {calls[1]:,.0f}, against {shares[0]:.1%} of {calls[0]:,.0f}): try {cheap} for all.",
        evidence=(
            Evidence(f"price of a token of {dear}", prices[0], "usd", round(calls[0])),
            Evidence(f"price of a token of {cheap}, at most", prices[1], "usd", round(calls[1])),
            Evidence(f"failed calls of {dear}", shares[0], "ratio", round(calls[0]), wilson(failed[0], calls[0])),
            Evidence(f"failed calls of {cheap}", shares[1], "ratio", round(calls[1]), wilson(failed[1], calls[1])),
            Evidence("difference of failed calls, at 90 %", shares[1] - shares[0], "ratio", round(sum(calls)), gap),
        ),
        gain=Gain(gain[0], "usd_per_day", gain[1]),
        query=f"sum(increase({_COST}{chosen}{window(grid)})) / sum(increase(agent_tokens_total{priced}{window(grid)}))",
        confidence=Confidence.LOW,
        limits="Failures are those of each model for all agents, and whether an answer was right is in no series: run your"
        " evaluation with the cheaper model first. The gain takes as many tokens as before, and that one that comes out costs 1"
        f" to {_MOST_TIMES:g} times one that goes in, whichever is worse.",
    )


def _total(grown: Sequence[float]) -> float:
    return math.fsum(value for value in grown if value > 0)


def _cut(labels: Mapping[str, str]) -> bool:
    return labels.get("gen_ai_response_finish_reason") in _CUT
