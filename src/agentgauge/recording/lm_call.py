"""A call of a language model: what it used, what it cost, and whose it was."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentgauge import catalogue
from agentgauge.errors import report_internal_error
from agentgauge.recording.answer import Answer
from agentgauge.recording.answers import Ended
from agentgauge.recording.operation import Operation
from agentgauge.recording.points import clean_label
from agentgauge.recording.prompts import prompt_fingerprint
from agentgauge.recording.providers import provider_name
from agentgauge.recording.recorder import TARGET
from agentgauge.recording.series import LM, LmName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.recording.frame import Frame
    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.recorder import Record, Recorder

__all__ = ["Answer", "LmCall", "clean_lm_name", "count_answer"]

_NOTHING_TOLD = Answer()


@lru_cache(maxsize=1024)
def clean_lm_name(operation: str, provider: str, request_model: str, response_model: str = "") -> LmName:
    """Return an ``LmName`` whose parts are fit for labels, and whose provider is called as the conventions call it."""
    return LmName(*map(clean_label, (operation, provider_name(provider), request_model, response_model)))


def count_answer(
    recorder: Recorder,
    lm: LmName,
    record: Record | None,
    frame: Frame | None,
    answer: Answer,
    first_chunk_seconds: float | None,
    prompt: int | None,
) -> None:
    """Count what a call used, which has not ended yet; ``record`` goes to the series of the model that answered.

    ``prompt`` is the fingerprint of what was asked, where that is known and was answered.
    """
    if frame is not None and frame.is_of_parent:
        return
    run = None if frame is None else frame.run
    if answer.response_model:
        lm = clean_lm_name(lm[0], lm[1], lm[2], answer.response_model)
        if record is not None:
            record[TARGET] = recorder.admission.known_target(LM, "", lm, is_entry=False)
    if run is not None:
        run.note_lm_call(answer.tokens)
    agent, agents = "" if frame is None else str(frame), () if run is None else run.agents
    recorder.note_answer(Ended(lm, answer, agent, agents, first_chunk_seconds, prompt))


class LmCall(Operation):
    """One call of a language model, of an embedding model or the like; see ``Operation``."""

    __slots__ = ("_answer", "_first_chunk_seconds", "_lm", "_prompt")

    def __init__(self, recorder: Recorder, lm: LmName, *, instrumentor: str, **options: Any) -> None:
        """Begin it.

        Args:
            recorder: Where it is recorded.
            lm: What is asked of which model.
            instrumentor: Who reports it.
            options: Those of ``Operation``.
        """
        self._lm = clean_lm_name(*lm)
        self._answer: Answer | None = None
        self._first_chunk_seconds: float | None = None
        self._prompt: int | None = None
        super().__init__(recorder, LM, self._lm, instrumentor=instrumentor, **options)

    def note_prompt(self, prompt: Any) -> None:
        """Note what is asked: all that tells one prompt from another, parameters included; it is not kept.

        Args:
            prompt: Plain data; of anything else it is not told whether it was asked before.
        """
        if not self.is_suppressed:
            self._prompt = prompt_fingerprint(prompt)

    def note_first_chunk(self, seconds: float | None = None) -> None:
        """Note that the first chunk of a stream came, now or so many seconds after the beginning; later ones are passed over."""
        if self._first_chunk_seconds is None and not self.is_suppressed:
            self._first_chunk_seconds = self.seconds_since_start() if seconds is None else seconds

    def note_retry(self, times: int = 1) -> None:
        """Count attempts after the first."""
        if not self.is_suppressed:
            self._recorder.observe(catalogue.LM_RETRIES, self._lm.model_labels(), times)

    def note_answer(self, answer: Answer) -> None:
        """Note what the model answered; the last one counts, when the call ends."""
        self._answer = answer.as_counted()

    def end(self, error: BaseException | None = None, failure: Failure | None = None, *, end: float | None = None) -> None:
        """End it; what was answered is counted, also where the call failed after it."""
        if self.is_suppressed:
            return
        try:
            answer = self._answer or _NOTHING_TOLD
            prompt = self._prompt if error is None and failure is None else None
            count_answer(self._recorder, self._lm, self._record, self.frame, answer, self._first_chunk_seconds, prompt)
            if self.is_recording:
                self.set_attributes(self._answer_attributes(answer))
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("lm_end", fault)
        super().end(error, failure, end=end)

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
            "gen_ai.response.time_to_first_chunk": None if answer.is_cache_hit else self._first_chunk_seconds,
            "agentgauge.cache_hit": answer.is_cache_hit or None,
        }
