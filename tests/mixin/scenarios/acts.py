"""What programs of several scenarios do, as instrumentors report it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import openai

from agentgauge import track
from agentgauge.recording.default import default_recorder
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import LmName, SeriesKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge import Objective
    from agentgauge.testing import FakeClock

_REQUEST = httpx.Request("POST", "https://models.example/v1/chat/completions")
UNREACHABLE = openai.APIConnectionError(request=_REQUEST)
LIMITED = openai.RateLimitError("slow down", response=httpx.Response(429, request=_REQUEST), body=None)


def ask(
    model: str,
    error: BaseException | None = None,
    *,
    times: int = 1,
    provider: str = "openai",
    first_chunk_seconds: float | None = None,
    answer: Answer | None = None,
) -> None:
    """Ask a model so many times; it answers, or the call ends with the error."""
    for _ in range(times):
        call = LmCall(default_recorder(), LmName("chat", provider, model), instrumentor="dspy")
        if first_chunk_seconds is not None:
            call.note_first_chunk(first_chunk_seconds)
        if answer is not None:
            call.note_answer(answer)
        call.end(error)


@contextmanager
def within(kind: SeriesKind, name: str, error: BaseException | None = None, **options: Any) -> Iterator[None]:
    """Be within a run, task, tool or workflow, which ends with the error."""
    operation = Operation(default_recorder(), kind, name, instrumentor="dspy", **options)
    try:
        yield
    finally:
        operation.end(error)


def perform(
    agent: str,
    name: str,
    error: BaseException | None = None,
    *,
    times: int = 1,
    seconds: float = 0.0,
    objective: Objective | None = None,
    clock: FakeClock | None = None,
) -> None:
    """Let an agent do a task so many times, which ends with the error, and takes its time where there is a clock."""
    for _ in range(times):
        with suppress(BaseException), track(agent, name, objective=objective):
            if clock is not None:
                clock.advance(seconds)
            if error is not None:
                raise error


def begin(agent: str, name: str) -> Operation:
    """Let an agent begin a task beside everything else, and return it: ``end()`` ends it."""
    return Operation(default_recorder(), SeriesKind.RUN, name, instrumentor="dspy", agent=agent, is_beside=True)
