"""A call of a language model: what it used, what it cost, and whose it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgauge import catalogue
from agentgauge.errors import contain_internal_errors
from agentgauge.recording.operation import Operation
from agentgauge.recording.points import clean_label
from agentgauge.recording.recorder import TARGET
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.spendings import Spending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.points import Labels
    from agentgauge.recording.recorder import Recorder

__all__ = ["Answer", "LmCall"]

_CLIENT_LABELS = (catalogue.OPERATION, catalogue.PROVIDER, catalogue.REQUEST_MODEL, catalogue.RESPONSE_MODEL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a model's answer; None and empty where it is not told (OpenTelemetry GenAI semantic conventions).

    Attributes:
        input_tokens: Tokens of the prompt, those read from and written to the provider's cache included.
        output_tokens: Tokens of the answer, those of its reasoning included.
        cache_read_tokens: How many of the input came from the provider's cache.
        cache_write_tokens: How many of the input were written to it.
        reasoning_tokens: How many of the output were reasoning.
        response_model: The model that answered, by the provider's word.
        response_id: The provider's id of the answer.
        finish_reasons: Why each choice ended, such as ``stop``.
        cost_usd: What it cost, where the framework knows that.
        is_cache_hit: Whether a cache of the program's own answered: then nothing was spent.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    response_model: str | None = None
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    cost_usd: float | None = None
    is_cache_hit: bool = False


class LmCall(Operation):
    """One call of a language model, of an embedding model or the like; see ``Operation``."""

    __slots__ = ("_answer", "_first_chunk_seconds", "_lm")

    def __init__(self, recorder: Recorder, lm: LmName, *, instrumentor: str, **options: Any) -> None:
        """Begin it.

        Args:
            recorder: Where it is recorded.
            lm: What is asked of which model.
            instrumentor: Who reports it.
            options: Those of ``Operation``.
        """
        self._lm = LmName(*(clean_label(part) for part in lm))
        self._answer: Answer | None = None
        self._first_chunk_seconds: float | None = None
        super().__init__(recorder, SeriesKind.LM, self._lm, instrumentor=instrumentor, **options)

    def note_first_chunk(self, seconds: float | None = None) -> None:
        """Note that the first chunk of a stream came, now or so many seconds after the beginning; later ones are passed over."""
        if self._first_chunk_seconds is None and not self.is_suppressed:
            self._first_chunk_seconds = self.seconds_since_start() if seconds is None else seconds

    def note_retry(self, times: int = 1) -> None:
        """Count attempts after the first."""
        if not self.is_suppressed:
            labels = _told(((catalogue.PROVIDER, self._lm.provider), (catalogue.REQUEST_MODEL, self._lm.request_model)))
            self._recorder.observe(catalogue.LM_RETRIES, labels, times)

    def note_answer(self, answer: Answer) -> None:
        """Note what the model answered; the last one counts, when the call ends."""
        self._answer = answer

    def end(self, error: BaseException | None = None, failure: Failure | None = None, *, end: float | None = None) -> None:
        """End it; what was answered is counted, also where the call failed after it."""
        if self.is_suppressed:
            return
        with contain_internal_errors("lm_end"):
            self._count(self._answer or Answer())
        super().end(error, failure, end=end)

    def _count(self, answer: Answer) -> None:
        recorder, lm = self._recorder, self._lm
        if answer.response_model and self._record is not None:
            lm = lm._replace(response_model=clean_label(answer.response_model))
            target = recorder.target(SeriesKind.LM, "", lm, is_entry=False)
            if target is not None:
                self._record[TARGET] = target
        agent = "" if self.frame is None else str(self.frame)
        agents = tuple(dict.fromkeys(map(str, self.frame.runs_around()))) if self.frame is not None else ()
        tokens = 0 if answer.is_cache_hit else (answer.input_tokens or 0) + (answer.output_tokens or 0)
        if self.frame is not None:
            self.frame.note_lm_call(tokens)
        client = _told(zip(_CLIENT_LABELS, lm, strict=True))
        if self._first_chunk_seconds is not None:
            recorder.observe(catalogue.TIME_TO_FIRST_CHUNK, client, self._first_chunk_seconds)
        model = _told(((catalogue.PROVIDER, lm.provider), (catalogue.REQUEST_MODEL, lm.request_model)))
        own = _told(((catalogue.AGENT, agent), (catalogue.REQUEST_MODEL, lm.request_model)))
        if answer.is_cache_hit:
            recorder.observe(catalogue.LM_CACHE_HITS, own, 1)
        else:
            self._count_tokens(answer, client, own, agents)
            if tokens or answer.cost_usd is not None:
                recorder.spendings.append(Spending(answer, lm.provider, lm.request_model, model, own, agents))
        for reason in answer.finish_reasons:
            finish = ("gen_ai_response_finish_reason", clean_label(reason))
            recorder.observe(catalogue.LM_FINISHES, (*model, finish), 1)
        self.set_attributes(self._answer_attributes(answer) if self.is_recording else None)

    def _count_tokens(self, answer: Answer, client: Labels, own: Labels, agents: tuple[str, ...]) -> None:
        recorder = self._recorder
        by_type = (
            answer.input_tokens,
            answer.output_tokens,
            answer.cache_read_tokens,
            answer.cache_write_tokens,
            answer.reasoning_tokens,
        )
        for token_type, count in zip(catalogue.TOKEN_TYPES, by_type, strict=True):
            if count is None:
                continue
            kind = (catalogue.TOKEN_TYPE, token_type)
            recorder.observe(catalogue.TOKENS, (*own, kind), count)
            if token_type in ("input", "output"):
                recorder.observe(catalogue.CLIENT_TOKEN_USAGE, (*client, kind), count)
                for agent in agents:
                    recorder.observe(catalogue.SUBTREE_TOKENS, ((catalogue.AGENT, agent), kind), count)

    def _answer_attributes(self, answer: Answer) -> Mapping[str, Any]:
        return {
            "gen_ai.response.model": answer.response_model,
            "gen_ai.response.id": answer.response_id,
            "gen_ai.response.finish_reasons": answer.finish_reasons or None,
            "gen_ai.usage.input_tokens": answer.input_tokens,
            "gen_ai.usage.output_tokens": answer.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": answer.cache_read_tokens,
            "gen_ai.usage.cache_write.input_tokens": answer.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": answer.reasoning_tokens,
            "gen_ai.response.time_to_first_chunk": self._first_chunk_seconds,
            "agentgauge.cache_hit": answer.is_cache_hit or None,
        }


def _told(labels: Iterable[tuple[str, str]]) -> Labels:
    """Return those labels that have a value: an empty one means an absent label."""
    return tuple((name, value) for name, value in labels if value)
