"""LM calls that ended and are not counted yet: whoever drains counts them, many at once, so that no LM call waits for it."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from agentgauge import catalogue
from agentgauge.recording.points import clean_label
from agentgauge.recording.spendings import Spending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentgauge.catalogue import Family
    from agentgauge.recording.answer import Answer
    from agentgauge.recording.points import Labels
    from agentgauge.recording.series import LmName
    from agentgauge.recording.spendings import Spendings

__all__ = ["Answers", "Ended"]

_CLIENT_LABELS = (catalogue.OPERATION, catalogue.PROVIDER, catalogue.REQUEST_MODEL, catalogue.RESPONSE_MODEL)
_KINDS = tuple((catalogue.TOKEN_TYPE, token_type) for token_type in catalogue.TOKEN_TYPES)
_SIDES = 2  # input and output, which come first


class Ended(NamedTuple):
    """An LM call that ended: what was asked and answered, whose it was, in whose runs, and how long the first chunk took."""

    lm: LmName
    answer: Answer
    agent: str
    agents: tuple[str, ...]
    first_chunk_seconds: float | None


class _Labels:
    """The labels of the series to which calls of one model by one agent go."""

    __slots__ = ("agents", "client", "client_sides", "model", "own", "own_kinds", "subtree_sides")

    def __init__(self, lm: LmName, agent: str, agents: tuple[str, ...]) -> None:
        self.agents = agents
        self.client = _told(zip(_CLIENT_LABELS, lm, strict=True))
        self.model = lm.model_labels()
        self.own = _told(((catalogue.AGENT, agent), (catalogue.REQUEST_MODEL, lm.request_model)))
        self.own_kinds = [(*self.own, kind) for kind in _KINDS]
        self.client_sides = [(*self.client, kind) for kind in _KINDS[:_SIDES]]
        self.subtree_sides = [[((catalogue.AGENT, each), kind) for each in agents] for kind in _KINDS[:_SIDES]]


class Answers(deque[Ended]):
    """Those that wait."""

    def take(self, most: int, spendings: Spendings, count: Callable[[Family, Labels, list[float]], None]) -> None:
        """Count some of those that wait, and hand on what they spent; for whoever holds the drain.

        Args:
            most: How many.
            spendings: Where what they used waits for its price.
            count: Takes a family, the labels of a series, and all values for it.
        """
        values: defaultdict[tuple[Family, Labels], list[float]] = defaultdict(list)
        known: dict[tuple[LmName, str, tuple[str, ...]], _Labels] = {}
        try:
            for _ in range(min(len(self), most)):
                self._take_one(values, known, spendings)
        except IndexError:  # a handler forked, and this is its child
            return
        finally:  # a signal handler may raise in the middle
            for (family, series), together in values.items():
                count(family, series, together)

    def _take_one(
        self,
        values: defaultdict[tuple[Family, Labels], list[float]],
        known: dict[tuple[LmName, str, tuple[str, ...]], _Labels],
        spendings: Spendings,
    ) -> None:
        lm, answer, agent, agents, first_chunk_seconds = self.popleft()
        key = lm, agent, agents
        labels = known.get(key)
        if labels is None:
            labels = known[key] = _Labels(lm, agent, agents)
        if answer.is_cache_hit:  # nothing else: a model made and ended that answer when it was new
            values[catalogue.LM_CACHE_HITS, labels.own].append(1)
            return
        if first_chunk_seconds is not None:
            values[catalogue.TIME_TO_FIRST_CHUNK, labels.client].append(first_chunk_seconds)
        for reason in answer.finish_reasons:
            finish = (*labels.model, ("gen_ai_response_finish_reason", clean_label(reason)))
            values[catalogue.LM_FINISHES, finish].append(1)
        for index in range(len(_KINDS)):
            tokens = answer[index]
            if tokens is None:
                continue
            values[catalogue.TOKENS, labels.own_kinds[index]].append(tokens)  # type: ignore[arg-type]  # the first are numbers
            if index < _SIDES:
                values[catalogue.CLIENT_TOKEN_USAGE, labels.client_sides[index]].append(tokens)  # type: ignore[arg-type]
                for subtree in labels.subtree_sides[index]:
                    values[catalogue.SUBTREE_TOKENS, subtree].append(tokens)  # type: ignore[arg-type]
        if answer.tokens or answer.cost_usd is not None:
            spendings.add(Spending(answer, lm.provider, lm.request_model, labels.model, labels.own, agents))


def _told(labels: Iterable[tuple[str, str]]) -> Labels:
    """Return those labels that have a value: an empty one means an absent label."""
    return tuple((name, value) for name, value in labels if value)
