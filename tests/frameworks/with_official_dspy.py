"""OpenTelemetry's instrumentation of DSPy beside ours and the listener that hears it: no model or tool call counts twice."""

from __future__ import annotations

import json
from contextlib import ExitStack

import dspy
import pytest
from opentelemetry.instrumentation.genai.dspy import DSPyInstrumentor

from agentgauge.instrumentors import dspy as ours
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.kit import Kit
from tests.instrumentors.dspy_programs import Engine

COUNT = "gen_ai_client_operation_duration_seconds_count"
STEPS = [
    {"next_thought": "Look.", "next_tool_name": "look_up", "next_tool_args": {"query": "six"}},
    {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}},
    {"reasoning": "So it is.", "answer": "42"},
]


def look_up(query: str) -> str:
    """Look something up."""
    return f"a page about {query}"


@pytest.fixture(params=["theirs first", "ours first"])
def both(request, heard, fresh):
    with ExitStack() as undo:

        def instrument_ours() -> None:
            undo.enter_context(kit_undo := ExitStack())
            ours.instrument(Kit("dspy", fresh.recorder, Content(), kit_undo))

        def instrument_theirs() -> None:
            DSPyInstrumentor().instrument()
            undo.callback(DSPyInstrumentor().uninstrument)  # in reverse: what lies beneath another's wrapper cannot be taken out

        for instrument in sorted(
            (instrument_ours, instrument_theirs), key=lambda each: each.__name__, reverse="theirs" in request.param
        ):
            instrument()
        yield


def react() -> Engine:
    engine = Engine(
        [{name: value if isinstance(value, str) else json.dumps(value) for name, value in step.items()} for step in STEPS]
    )
    with dspy.context(lm=dspy.LM("openai/offline", engine=engine, cache=False, num_retries=0)):
        assert dspy.ReAct("question -> answer", tools=[look_up])(question="?").answer == "42"
    return engine


@pytest.mark.usefixtures("both")
def test_model_calls_tokens_and_tools_are_counted_once(heard, total):
    engine = react()
    assert engine.served == 3
    assert any(span.instrumentation_scope.name.startswith("opentelemetry.instrumentation") for span in heard.get_finished_spans())
    assert total(COUNT) == 3
    assert total("agent_tokens_total", gen_ai_token_type="input") == engine.input_tokens
    assert total("agent_tokens_total", gen_ai_token_type="output") == engine.output_tokens
    assert total("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="look_up") == 1
    assert total("agentgauge_calls_suppressed_total", kind="tool") == 1


def test_alone_they_are_heard(heard, total):
    DSPyInstrumentor().instrument()
    engine = react()
    DSPyInstrumentor().uninstrument()
    assert total(COUNT) == engine.served == 3
    assert total("agent_tokens_total", gen_ai_token_type="input") == engine.input_tokens
