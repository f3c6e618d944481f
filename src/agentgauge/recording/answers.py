"""LM calls that ended and are not counted yet: whoever drains counts them, many at once, so that no LM call waits for it."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from agentgauge import catalogue
from agentgauge.recording.points import clean_label
from agentgauge.recording.prompts import Prompts
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
_ASKED = 3  # the operation, the provider and the model that was asked
_AT_ONCE = 64  # so many at most are lost where a signal handler raises


class Ended(NamedTuple):
    """An LM call that ended: what was asked and answered, whose it was, in whose runs, and how long the first chunk took.

    Where the model answered and its prompt is known, it bears the fingerprint of that.
    """

    lm: LmName
    answer: Answer
    agent: str
    agents: tuple[str, ...]
    first_chunk_seconds: float | None
    prompt: int | None = None


class _Labels:
    """The labels of the series to which calls of one model by one agent go."""

    __slots__ = ("client", "client_sides", "model", "own", "own_kinds", "subtree_sides")

    def __init__(self, lm: LmName, agent: str, agents: tuple[str, ...]) -> None:
        self.client = _told(zip(_CLIENT_LABELS, lm, strict=True))
        self.model = lm.model_labels()
        self.own = _told(((catalogue.AGENT, agent), (catalogue.REQUEST_MODEL, lm.request_model)))
        self.own_kinds = [(*self.own, kind) for kind in _KINDS]
        self.client_sides = [(*self.client, kind) for kind in _KINDS[:_SIDES]]
        self.subtree_sides = [[((catalogue.AGENT, each), kind) for each in agents] for kind in _KINDS[:_SIDES]]


class Answers(deque[Ended]):
    """Those that wait, and which prompts were answered before."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self._prompts = Prompts()

    def clear(self) -> None:
        """Forget them, and all prompts, as a forked child must."""
        super().clear()
        self._prompts.clear()

    def take(self, most: int, spendings: Spendings, count: Callable[[Family, Labels, list[float]], None]) -> None:
        """Count some of those that wait, and hand on what they spent; for whoever holds the drain.

        Args:
            most: How many.
            spendings: Where what they used waits for its price.
            count: Takes a family, the labels of a series, and all values for it.
        """
        together: defaultdict[tuple[LmName, str, tuple[str, ...]], list[Ended]] = defaultdict(list)
        try:
            for _ in range(min(len(self), most)):
                ended = self.popleft()
                together[ended.lm, ended.agent, ended.agents].append(ended)
        except IndexError:  # a handler forked, and this is its child
            together.clear()
        finally:  # a signal handler may raise in the middle
            self._count_all(together, spendings, count)

    def _count_all(
        self,
        together: dict[tuple[LmName, str, tuple[str, ...]], list[Ended]],
        spendings: Spendings,
        count: Callable[[Family, Labels, list[float]], None],
    ) -> None:
        try:
            while together:
                key = next(iter(together))
                labels, those = _Labels(*key), together[key]
                while those:
                    some = those[-_AT_ONCE:]
                    del those[-_AT_ONCE:]
                    _count(labels, some, self._prompts, spendings, count)
                del together[key]
        except BaseException:  # what is not counted yet waits for the next drain
            self.extend(ended for those in together.values() for ended in those)
            raise


def _count(
    labels: _Labels,
    those: list[Ended],
    prompts: Prompts,
    spendings: Spendings,
    count: Callable[[Family, Labels, list[float]], None],
) -> None:
    """Count the calls of one model by one agent."""
    # Of what a cache answered nothing else: a model made and ended that answer when it was new.
    told = [ended for ended in those if not ended.answer.is_cache_hit]
    if len(told) < len(those):
        count(catalogue.LM_CACHE_HITS, labels.own, [len(those) - len(told)])
    asked = [hash((ended.prompt, ended.lm[:_ASKED])) for ended in told if ended.prompt is not None]
    repeated = sum(map(prompts.note, asked))
    if repeated:
        count(catalogue.LM_REPEATED_PROMPTS, labels.own, [repeated])
    firsts = [ended.first_chunk_seconds for ended in told if ended.first_chunk_seconds is not None]
    if firsts:
        count(catalogue.TIME_TO_FIRST_CHUNK, labels.client, firsts)
    answers = [ended.answer for ended in told]
    for reason, times in Counter([reason for answer in answers for reason in answer.finish_reasons]).items():
        count(catalogue.LM_FINISHES, (*labels.model, ("gen_ai_response_finish_reason", clean_label(reason))), [times])
    for index in range(len(_KINDS)):
        tokens: list[Any] = [answer[index] for answer in answers if answer[index] is not None]
        if not tokens:
            continue
        count(catalogue.TOKENS, labels.own_kinds[index], tokens)
        if index < _SIDES:
            count(catalogue.CLIENT_TOKEN_USAGE, labels.client_sides[index], tokens)
            for subtree in labels.subtree_sides[index]:
                count(catalogue.SUBTREE_TOKENS, subtree, tokens)
    lm, _, _, agents, *_ = those[0]
    for answer in answers:
        if answer.input_tokens or answer.output_tokens or answer.cost_usd is not None:
            spendings.add(Spending(answer, lm.provider, lm.request_model, labels.model, labels.own, agents))


def _told(labels: Iterable[tuple[str, str]]) -> Labels:
    """Return those labels that have a value: an empty one means an absent label."""
    return tuple((name, value) for name, value in labels if value)
