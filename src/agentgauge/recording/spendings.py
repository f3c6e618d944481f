"""LM calls that used tokens and are not priced yet: whoever drains prices them, so that no LM call waits for a price table."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from agentgauge import catalogue
from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.catalogue import Family
    from agentgauge.recording.answer import Answer
    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder

__all__ = ["Spending", "Spendings"]

_MOST_WAITING = 10_000


class Spending(NamedTuple):
    """What one LM call used, or several that wait as one.

    Attributes:
        answer: The tokens, and the cost where the framework knows it.
        provider: Who provided the model, such as ``openai``; empty where it is not known.
        request_model: The model that was asked for.
        model_labels: The labels of these two, as far as they are known.
        cost_labels: Those of ``agent_cost_usd_total``: whose call it was, and the model.
        agents: The agents whose runs it is in, each once.
        calls: How many calls it is.
    """

    answer: Answer
    provider: str
    request_model: str
    model_labels: Labels
    cost_labels: Labels
    agents: tuple[str, ...]
    calls: int = 1


class Spendings(deque[Spending]):
    """Those that wait.

    Attributes:
        price: Returns what a call cost in US dollars, None where that is not known; ``start()`` exchanges it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.price: Callable[[Spending], float | None] = cost_as_told

    def add(self, spending: Spending) -> None:
        """Let one wait; where nobody drains for long, those of one model and agent wait as one."""
        self.append(spending)
        if len(self) > _MOST_WAITING:
            self._join()

    def _join(self) -> None:
        joined: dict[tuple[Any, ...], Spending] = {}
        for _ in range(len(self)):
            try:
                spending = self.popleft()
            except IndexError:  # another thread drains
                break
            answer, *rest, calls = spending
            untold = answer.cost_usd is None, answer.input_tokens is None, answer.output_tokens is None
            key = (answer.response_model, answer.is_partial, untold, *rest)
            known = joined.get(key)
            if known is None:
                joined[key] = spending
            else:
                joined[key] = known._replace(answer=known.answer.plus(answer), calls=known.calls + calls)
        self.extend(joined.values())

    def settle(self, recorder: Recorder) -> None:
        """Price all that wait, and count what they cost."""
        costs: defaultdict[tuple[Family, Labels], float] = defaultdict(float)
        for _ in range(len(self)):
            try:
                spending = self.popleft()
            except IndexError:  # another thread drains too, or a handler forked and this is its child
                break
            cost = None
            with contain_internal_errors("price"):
                cost = cost_as_told(spending) if spending.answer.is_partial else self.price(spending)
            if cost is None:
                costs[catalogue.LM_UNPRICED, spending.model_labels] += spending.calls
                continue
            costs[catalogue.COST, spending.cost_labels] += cost
            for agent in spending.agents:
                costs[catalogue.SUBTREE_COST, ((catalogue.AGENT, agent),)] += cost
        for (family, labels), value in costs.items():
            recorder.observe(family, labels, value)


def cost_as_told(spending: Spending) -> float | None:
    """Return the cost that the framework told, where that is one."""
    cost = spending.answer.cost_usd
    return cost if cost is not None and 0 <= cost < math.inf else None
