"""What each way to observe DSPy records, by looking: small programs run under it, and what shows afterwards is searched.

Each program is one that people want to see something of; where that shows, in spans or in metrics, is the answer.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dspy
from dspy import lm15
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dspy_program import INPUT_TOKENS, instant_lm
from dspy_ways import Callback, Outlet, ways_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dspy_ways import Way

__all__ = ["LOOKED_FOR", "records"]

_OWN_MODEL = "own/model-of-mine"


class Answerer(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """A module of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict("question -> answer")

    def forward(self, question: str) -> Any:
        return self.predict(question=question)


class _OwnLM(dspy.BaseLM):  # type: ignore[misc]  # dspy ships no types
    """A language model that is no ``dspy.LM``."""

    def forward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        del prompt, messages
        message = SimpleNamespace(content="[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]", tool_calls=None)
        choice = SimpleNamespace(message=message, finish_reason="stop", index=0)
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": 1, "total_tokens": INPUT_TOKENS + 1}
        return SimpleNamespace(choices=[choice], usage=usage, model=_OWN_MODEL)


def _module() -> None:
    dspy.configure(lm=instant_lm())
    Answerer()(question="What is six times seven?")


def _tool() -> None:
    _react(lambda query: f"a page about {query}")


def _failing_tool() -> None:
    def fail(query: str) -> str:
        raise KeyError(query)

    _react(fail)


def _react(search: Callable[[str], str]) -> None:
    def look_up(query: str) -> str:
        return search(query)

    def answer(prompt: str) -> str:
        if "next_tool_name" not in prompt:
            fields = {"reasoning": "So it is.", "answer": "42"}
        elif "observation_0" in prompt:
            fields = {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": "{}"}
        else:
            fields = {"next_thought": "Look.", "next_tool_name": "look_up", "next_tool_args": '{"query": "six"}'}
        return "\n\n".join([*(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()), "[[ ## completed ## ]]"])

    dspy.configure(lm=instant_lm(answer))
    dspy.ReAct("question -> answer", tools=[look_up])(question="What is six times seven?")


def _failing_lm() -> None:
    def fail(_: str) -> str:
        raise lm15.ServerError("it fails on purpose")

    dspy.configure(lm=instant_lm(fail))
    dspy.Predict("question -> answer")(question="What is six times seven?")


def _nonsense() -> None:
    dspy.configure(lm=instant_lm(lambda _: "nonsense"))
    dspy.Predict("question -> answer")(question="What is six times seven?")


def _own_lm() -> None:
    dspy.configure(lm=_OwnLM(_OWN_MODEL))
    dspy.Predict("question -> answer")(question="What is six times seven?")


LOOKED_FOR: dict[str, tuple[Callable[[], None], Callable[[str], bool]]] = {
    "own modules": (_module, lambda text: "answerer" in text),
    "tokens": (_module, lambda text: str(INPUT_TOKENS) in text and "token" in text),
    "cost": (_module, lambda text: "cost" in text),
    "tools": (_tool, lambda text: "look_up" in text and "tool" in text),
    "tools that ReAct sees fail": (_failing_tool, lambda text: "look_up" in text and "keyerror" in text),
    "LM errors": (_failing_lm, lambda text: "gpt-4o-mini" in text and "servererror" in text.replace("_", "")),
    "answers that do not parse": (_nonsense, lambda text: "parse" in text),
    "LMs of one's own": (_own_lm, lambda text: "model-of-mine" in text),
}
"""What is looked for: the program, and what tells that a span or a series in lower case is of it."""


def records(package: str) -> dict[str, dict[str, str]]:
    """Return for each way where each thing that is looked for shows: in ``spans``, in ``metrics``, in ``both``, or nowhere."""
    exporters: dict[int, InMemorySpanExporter] = {}

    def outlet() -> Outlet:
        exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        exporters[id(provider)] = exporter
        return Outlet(provider, lambda: len(exporter.get_finished_spans()))

    return {
        name: {sought: _where(way, exporters.get(id(way.provider)), *how) for sought, how in LOOKED_FOR.items()}
        for name, way in ways_of(package, outlet).items()
        if not isinstance(way, Callback)
    }


def _where(way: Way, exporter: InMemorySpanExporter | None, program: Callable[[], None], is_it: Callable[[str], bool]) -> str:
    way.enter()
    try:
        before = {(metric, str(labels)): value for metric, labels, value in way.readings()}
        if exporter is not None:
            exporter.clear()
        try:
            program()
        except Exception as error:  # noqa: BLE001 - some fail on purpose
            del error
        metrics = [
            f"{metric} {labels} {value - before.get((metric, str(labels)), 0):g}".lower()
            for metric, labels, value in way.readings()
            if value != before.get((metric, str(labels)), 0)
        ]
        spans = [
            f"{span.name} {dict(span.attributes or {})} {span.status.description or ''}".lower()
            for span in (exporter.get_finished_spans() if exporter is not None else ())
        ]
    finally:
        way.leave()
    found = any(map(is_it, spans)), any(map(is_it, metrics))
    return {(True, True): "both", (True, False): "spans", (False, True): "metrics", (False, False): ""}[found]
