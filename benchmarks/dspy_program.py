"""DSPy programs for benchmarks, with a language model that answers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
from dspy import lm15

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["INPUT_TOKENS", "MODEL", "OUTPUT_TOKENS", "instant_lm", "predictor"]

MODEL = "openai/gpt-4o-mini"  # one whose price everybody knows
INPUT_TOKENS, OUTPUT_TOKENS = 1234, 567  # numbers that nothing else is
_ANSWER = "[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]"


class _Engine:
    """Answers every prompt with what ``answer`` makes of it, or raises what that raises."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self._answer = answer
        self._usage = lm15.Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)

    def complete(self, request: lm15.Request) -> lm15.Response:
        text = self._answer("\n".join(part.text for part in request.messages[-1].parts))
        return lm15.Response(id="1", model=MODEL, message=lm15.Message.assistant(text), finish_reason="stop", usage=self._usage)

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamEvent]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held open."""


def instant_lm(answer: Callable[[str], str] = lambda _: _ANSWER) -> Any:
    """Make a ``dspy.LM`` that keeps no cache, never retries, and answers what ``answer`` makes of the last message."""
    return dspy.LM(MODEL, engine=_Engine(answer), cache=False, num_retries=0)


def predictor() -> Callable[[int], None]:
    """Return what calls a ``dspy.Predict`` so many times."""
    dspy.configure(lm=instant_lm())
    predict = dspy.Predict("question -> answer")

    def run(calls: int) -> None:
        for _ in range(calls):
            predict(question="What is six times seven?")

    return run
