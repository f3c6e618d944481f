"""Other instrumentations of the same framework beside ours, and the listener that hears their spans: every call counts once."""

from __future__ import annotations

import json
import sys
import warnings

import dspy
import pytest
from dspy import lm15
from dspy.clients.cache import Cache
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from openinference.instrumentation.dspy import DSPyInstrumentor as OpenInference
from opentelemetry import trace
from opentelemetry.instrumentation.genai.dspy import DSPyInstrumentor as Official

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.dspy_frames import is_of_dspy
from agentgauge.instrumentors.genai_spans import _framework_of
from agentgauge.instrumentors.roster import Instrumentation
from agentgauge.testing import reraise_internal_errors
from tests.instrumentors.dspy_programs import Engine
from tests.instrumentors.dspy_programs import instrumented as instrumented_dspy
from tests.instrumentors.langchain_programs import instrumented as instrumented_langchain
from tests.instrumentors.langchain_programs import model as langchain_model

STEPS = [
    {"next_thought": "Look.", "next_tool_name": "look_up", "next_tool_args": {"query": "six"}},
    {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": {}},
    {"reasoning": "So it is.", "answer": "42"},
]
RIVALS = {"official": Official, "openinference": OpenInference}


def look_up(query: str) -> str:
    """Look something up."""
    return f"a page about {query}"


class Scout(dspy.Module):
    def __init__(self):
        super().__init__()
        self.react = dspy.ReAct("question -> answer", tools=[look_up])

    def forward(self, question):
        return self.react(question=question)


def explore() -> Engine:
    texts = [{name: value if isinstance(value, str) else json.dumps(value) for name, value in step.items()} for step in STEPS]
    engine = Engine(texts)
    with dspy.context(lm=dspy.LM("openai/offline", engine=engine, cache=False, num_retries=0)):
        assert Scout()(question="?").answer == "42"
    return engine


def classes():
    """All classes of DSPy that are loaded."""
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "dspy"]
    return {value for module in modules for value in vars(module).values() if isinstance(value, type) and is_of_dspy(value)}


@pytest.fixture
def beside(fresh, spans, request):
    """Instrument with others, before or after ours, and with ours and the listener."""
    ours = Instrumentation(fresh.recorder, Content(), ("dspy", "genai-spans"))
    names, is_first = request.param
    theirs = [RIVALS[name]() for name in names]
    own = {owner: dict(vars(owner)) for owner in classes()}

    def instrument_theirs():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            for each in theirs:
                each.instrument(tracer_provider=trace.get_tracer_provider())

    with reraise_internal_errors():
        if is_first:
            instrument_theirs()
        ours.start()
        if not is_first:
            instrument_theirs()
        yield fresh
        if is_first:
            ours.stop()
        for each in reversed(theirs):
            each.uninstrument()
        ours.stop()
    for owner, before in own.items():  # what they leave behind would hide ours from the next test
        for name, value in list(vars(owner).items()):
            if name not in before:
                delattr(owner, name)
            elif value is not before[name] and not name.startswith("_abc"):
                setattr(owner, name, before[name])


def total(fresh, name, **labels):
    return sum(
        sample.value
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize(
    "beside",
    [((), True), (("official",), True), (("official",), False), (("openinference",), True), (("openinference",), False)],
    indirect=True,
    ids=["alone", "official first", "official later", "openinference first", "openinference later"],
)
def test_every_call_token_and_run_is_counted_once(beside, spans):
    engine = explore()

    assert engine.served == 3
    assert total(beside, "gen_ai_client_operation_duration_seconds_count") == 3
    assert total(beside, "agent_tokens_total", gen_ai_token_type="input") == engine.input_tokens
    assert total(beside, "agent_tokens_total", gen_ai_token_type="output") == engine.output_tokens
    assert total(beside, "gen_ai_execute_tool_duration_seconds_count") == 1
    assert total(beside, "gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="Scout") == 1
    assert total(beside, "gen_ai_invoke_agent_duration_seconds_count") == 1
    assert total(beside, "gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="ReAct") == 1
    heard = {span.instrumentation_scope.name for span in spans.get_finished_spans()}
    suppressed = total(beside, "agentgauge_calls_suppressed_total", instrumentor="genai-spans", owner="dspy")
    assert (suppressed > 0) is (len(heard) > 1)  # theirs were seen, and left to ours


def by_dspy(fresh, tmp_path, monkeypatch):
    cache = Cache(
        enable_disk_cache=False,
        enable_memory_cache=True,
        disk_cache_dir=str(tmp_path),
        disk_size_limit_bytes=None,
        memory_max_entries=9,
    )
    monkeypatch.setattr(dspy, "cache", cache)
    lm = dspy.LM("fake/fake-1", engine=Engine(usage=lm15.Usage(input_tokens=10, output_tokens=5)), num_retries=0)
    with instrumented_dspy():
        for _ in range(3):
            lm("hello")


def by_langchain(fresh, tmp_path, monkeypatch):
    set_llm_cache(InMemoryCache())
    try:
        with instrumented_langchain(fresh):
            lm = langchain_model()
            for _ in range(3):
                lm.invoke("hello")
    finally:
        set_llm_cache(None)


@pytest.mark.parametrize("ask", [by_dspy, by_langchain])
def test_answers_from_a_cache_are_counted_alike_by_every_framework(fresh, spans, tmp_path, monkeypatch, ask):
    ask(fresh, tmp_path, monkeypatch)

    assert total(fresh, "gen_ai_client_operation_duration_seconds_count") == 3
    assert total(fresh, "agent_lm_cache_hits_total", gen_ai_request_model="fake-1") == 2
    assert total(fresh, "agent_lm_finish_reasons_total", gen_ai_response_finish_reason="stop") == 1
    assert total(fresh, "agent_lm_finish_reasons_total") == 1
    assert total(fresh, "agent_tokens_total", gen_ai_token_type="input") == 10
    assert total(fresh, "gen_ai_client_token_usage_count", gen_ai_token_type="output") == 1
    assert total(fresh, "agent_lm_unpriced_calls_total") == 1
    fresh_one, *hits = (span.attributes for span in spans.get_finished_spans())
    assert fresh_one["gen_ai.response.finish_reasons"] == ("stop",)
    for hit in hits:
        told = {name for name in hit if name.startswith(("gen_ai.response", "gen_ai.usage", "agentgauge."))}
        assert told == {"gen_ai.response.model", "agentgauge.cache_hit"}


@pytest.mark.parametrize(
    ("library", "framework"),
    [
        ("opentelemetry.instrumentation.genai.dspy", "dspy"),
        ("openinference.instrumentation.dspy", "dspy"),
        ("opentelemetry.instrumentation.langchain", "langchain"),
        ("openinference.instrumentation.openai_agents", "openai-agents"),
        ("opentelemetry.instrumentation.openai", None),
        ("dspy", None),
        ("", None),
    ],
)
def test_what_a_library_instruments_is_told_by_its_name(library, framework):
    assert _framework_of(library) == framework
