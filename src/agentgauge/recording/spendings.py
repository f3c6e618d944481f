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
    """What one LM call used.

    Attributes:
        answer: The tokens, and the cost where the framework knows it.
        provider: Who provided the model, such as ``openai``; empty where it is not known.
        request_model: The model that was asked for.
        model_labels: The labels of these two, as far as they are known.
        cost_labels: Those of ``agent_cost_usd_total``: whose call it was, and the model.
        agents: The agents whose runs it is in, each once.
    """

    answer: Answer
    provider: str
    request_model: str
    model_labels: Labels
    cost_labels: Labels
    agents: tuple[str, ...]


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
        joined: dict[tuple[Any, ...], Answer] = {}
        for _ in range(len(self)):
            try:
                answer, *rest = self.popleft()
            except IndexError:  # another thread drains
                break
            untold = answer.cost_usd is None, answer.input_tokens is None, answer.output_tokens is None
            key = (answer.response_model, untold, *rest)
            joined[key] = answer if key not in joined else joined[key].plus(answer)
        self.extend(Spending(answer, *key[2:]) for key, answer in joined.items())

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
                cost = self.price(spending)
            if cost is None:
                costs[catalogue.LM_UNPRICED, spending.model_labels] += 1
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
