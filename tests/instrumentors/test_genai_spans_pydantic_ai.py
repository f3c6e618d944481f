"""Metrics from the spans that pydantic-ai makes itself: programs of it, on models that count what they serve."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage

from agentgauge import task, tool
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument, unsampled_reason
from agentgauge.instrumentors.kit import Kit
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.tracing import span_frames
from agentgauge.testing import reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

CHAT = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "function", "gen_ai_request_model": "fake"}
ANSWERED = {**CHAT, "gen_ai_response_model": "fake"}


class Served:
    """A model that first calls the tools that it is told to, then answers, and knows what it has served."""

    def __init__(self, *tools: str) -> None:
        self.tools = tools
        self.calls = self.input_tokens = self.output_tokens = 0
        self.model = FunctionModel(self.answer, model_name="fake")

    async def answer(self, messages: list, _info: object) -> ModelResponse:
        self.calls += 1
        usage = RequestUsage(input_tokens=10 * self.calls, output_tokens=self.calls)
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        is_first = not any(isinstance(part, ToolReturnPart) for part in messages[-1].parts) and self.calls == 1
        calls = [ToolCallPart(name, {}) for name in self.tools] if is_first else []
        return ModelResponse(parts=calls or [TextPart("done")], usage=usage, model_name="fake")


def kit_of(fresh: Isolation, undo: ExitStack, name: str = "genai-spans") -> Kit:
    return Kit(name, fresh.recorder, Content(), undo)


@pytest.fixture(autouse=True)
def instrumented(fresh: Isolation) -> Iterator[None]:
    """Let pydantic-ai make its spans, and listen to them."""
    Agent.instrument_all()
    with reraise_internal_errors(), ExitStack() as undo:
        instrument(kit_of(fresh, undo))
        yield
        assert not span_frames, "a frame of a span that has ended was left behind"
    Agent.instrument_all(instrument=False)


@pytest.fixture
def loop() -> Iterator[None]:
    """Give ``run_sync`` a loop that somebody closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def runs(fresh: Isolation, agent: str, outcome: str = "success") -> float | None:
    return fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name=agent, agent_task="invoke_agent", outcome=outcome)


def tokens(fresh: Isolation, agent: str, token_type: str) -> float | None:
    labels = {"gen_ai_agent_name": agent, "gen_ai_request_model": "fake", "gen_ai_token_type": token_type}
    return fresh.value("agent_tokens_total", **labels)


def tool_calls(fresh: Isolation, agent: str, name: str, **labels: str) -> float | None:
    labels = {"gen_ai_tool_name": name, **labels, **({"gen_ai_agent_name": agent} if agent else {})}
    return fresh.value("gen_ai_execute_tool_duration_seconds_count", **labels)


@pytest.mark.usefixtures("spans", "loop")
def test_a_run_counts_its_agent_models_tools_and_tokens_once(fresh: Isolation) -> None:
    served = Served("lookup", "lookup", "clock")
    agent = Agent(served.model, name="weather")
    agent.tool_plain(lambda: "sunny", name="lookup")
    agent.tool_plain(lambda: "noon", name="clock")

    assert agent.run_sync("how is it?").output == "done"

    assert served.calls == 2
    assert runs(fresh, "weather") == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="weather") == 1
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **ANSWERED) == served.calls
    assert tokens(fresh, "weather", "input") == served.input_tokens
    assert tokens(fresh, "weather", "output") == served.output_tokens
    for token_type, count in (("input", served.input_tokens), ("output", served.output_tokens)):
        assert fresh.value("gen_ai_client_token_usage_sum", **ANSWERED, gen_ai_token_type=token_type) == count
    assert tool_calls(fresh, "weather", "lookup") == 2
    assert tool_calls(fresh, "weather", "clock") == 1
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="weather") == 2
    assert fresh.value("gen_ai_invoke_agent_tool_calls_sum", gen_ai_agent_name="weather") == 3
    assert fresh.value("agent_repeated_tool_calls_total", gen_ai_agent_name="weather", gen_ai_tool_name="lookup") == 1
    assert fresh.value("agentgauge_instrumentor_calls_total", instrumentor="genai-spans") == 6
    assert fresh.value("agentgauge_events_recorded_total") == fresh.value("agentgauge_events_exported_total") == 6


@pytest.mark.usefixtures("spans")
async def test_an_agent_that_asks_another_one_hands_over_and_has_its_tokens_in_its_subtree(fresh: Isolation) -> None:
    expert_served, boss_served = Served(), Served("ask")
    expert = Agent(expert_served.model, name="expert")
    boss = Agent(boss_served.model, name="boss")

    @boss.tool_plain
    async def ask() -> str:
        return (await expert.run("well?")).output

    await expert.run("alone")
    await boss.run("go")

    assert runs(fresh, "boss") == 1
    assert runs(fresh, "expert") == 2
    assert fresh.value("agent_handoffs_total", source="boss", target="expert", outcome="success") == 1
    assert tokens(fresh, "boss", "input") == boss_served.input_tokens
    assert tokens(fresh, "expert", "input") == expert_served.input_tokens == 30
    subtree = fresh.value("agent_subtree_tokens_total", gen_ai_agent_name="boss", gen_ai_token_type="input")
    assert subtree == boss_served.input_tokens + 20  # of the expert's second run


@pytest.mark.usefixtures("spans")
async def test_a_stream_counts_its_tokens_and_the_time_to_its_first_chunk(fresh: Isolation) -> None:
    async def stream(messages: list, _info: object) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        if len(messages) == 1:
            yield {0: DeltaToolCall("lookup", "{}")}
        else:
            yield "all "
            yield "done"

    agent = Agent(FunctionModel(stream_function=stream, model_name="fake"), name="weather")
    agent.tool_plain(lambda: "sunny", name="lookup")

    async with agent.run_stream("how is it?") as result:
        assert await result.get_output() == "all done"
        usage = result.usage

    assert runs(fresh, "weather") == 1
    assert tool_calls(fresh, "weather", "lookup") == 1
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **ANSWERED) == 2
    assert fresh.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **ANSWERED) == 2
    assert tokens(fresh, "weather", "input") == usage.input_tokens > 0
    assert tokens(fresh, "weather", "output") == usage.output_tokens > 0


@pytest.mark.usefixtures("spans")
async def test_a_run_is_in_progress_until_it_is_cancelled_and_then_no_error(fresh: Isolation) -> None:
    is_asked = asyncio.Event()

    async def hang(_messages: list, _info: object) -> ModelResponse:
        is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.create_task(Agent(FunctionModel(hang, model_name="fake"), name="slow").run("go"))
    await is_asked.wait()
    in_progress = fresh.value("agent_tasks_in_progress", gen_ai_agent_name="slow", agent_task="invoke_agent")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert in_progress == 1
    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="slow", agent_task="invoke_agent") == 0
    assert runs(fresh, "slow", "cancelled") == 1
    assert runs(fresh, "slow", "error") == runs(fresh, "slow") == 0
    labels = {**CHAT, "error_type": "asyncio.exceptions.CancelledError"}
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **labels) == 1


@pytest.mark.usefixtures("spans", "loop")
def test_what_fails_counts_as_an_error_of_its_type_and_passes_unchanged(fresh: Isolation) -> None:
    fault = ValueError("no such city")

    def fail(_messages: list, _info: object) -> ModelResponse:
        raise fault

    with pytest.raises(ValueError, match="no such city") as caught:
        Agent(FunctionModel(fail, model_name="fake"), name="weather").run_sync("go")

    assert caught.value is fault
    assert runs(fresh, "weather", "error") == 1
    assert (
        fresh.value("agent_task_errors_total", gen_ai_agent_name="weather", agent_task="invoke_agent", error_type="ValueError")
        == 1
    )
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **CHAT, error_type="ValueError") == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="weather", error_type="ValueError") == 1


@pytest.mark.usefixtures("spans", "loop")
def test_a_tool_that_asks_for_another_try_fails_and_its_run_does_not(fresh: Isolation) -> None:
    served = Served("lookup")
    agent = Agent(served.model, name="weather")

    @agent.tool_plain
    def lookup() -> str:
        raise ModelRetry("which city?")

    assert agent.run_sync("go").output == "done"

    assert tool_calls(fresh, "weather", "lookup") == 0
    assert tool_calls(fresh, "weather", "lookup", error_type="pydantic_ai.exceptions.ToolRetryError") == 1
    assert runs(fresh, "weather") == 1


# --- one owner for every call ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("spans", "loop")
def test_an_lm_call_that_another_layer_has_begun_is_counted_by_it_alone(fresh: Isolation) -> None:
    served = Served()
    with ExitStack() as undo:
        call = kit_of(fresh, undo, "outer-hook").begin_lm(LmName("chat", "function", "fake"))
        Agent(served.model, name="weather").run_sync("go")
        call.note_answer(Answer(input_tokens=10, output_tokens=1, response_model="fake"))
        call.end()

    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **ANSWERED) == served.calls == 1
    assert fresh.value("gen_ai_client_token_usage_sum", **ANSWERED, gen_ai_token_type="input") == 10
    suppressed = {"instrumentor": "genai-spans", "owner": "outer-hook"}
    assert fresh.value("agentgauge_calls_suppressed_total", **suppressed, kind="lm") == 1
    assert fresh.value("agentgauge_calls_suppressed_total", **suppressed, kind="agent") == 1


@pytest.mark.usefixtures("spans", "loop")
def test_a_hook_inside_a_model_call_of_a_span_is_suppressed_and_inside_its_tool_belongs_to_its_agent(fresh: Isolation) -> None:
    served = Served("summarize")
    with ExitStack() as undo:
        kit = kit_of(fresh, undo, "inner-hook")

        async def answer(messages: list, info: object) -> ModelResponse:
            call = kit.begin_lm(LmName("chat", "function", "fake"))
            call.note_answer(Answer(input_tokens=10_000))
            response = await served.answer(messages, info)
            call.end()
            return response

        agent = Agent(FunctionModel(answer, model_name="fake"), name="writer")

        @agent.tool_plain
        def summarize() -> str:
            call = kit.begin_lm(LmName("chat", "hooked", "small"))
            call.note_answer(Answer(input_tokens=7, output_tokens=2))
            call.end()
            return "short"

        agent.run_sync("go")

    assert tokens(fresh, "writer", "input") == served.input_tokens == 30
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **ANSWERED) == 2
    assert fresh.value("agentgauge_calls_suppressed_total", instrumentor="inner-hook", owner="genai-spans", kind="lm") == 2
    small = {"gen_ai_agent_name": "writer", "gen_ai_request_model": "small", "gen_ai_token_type": "input"}
    assert fresh.value("agent_tokens_total", **small) == 7
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="writer") == 3


@pytest.mark.usefixtures("spans", "loop")
def test_a_tool_that_a_hook_reports_too_is_counted_once(fresh: Isolation) -> None:
    served = Served("lookup")
    agent = Agent(served.model, name="weather")
    with ExitStack() as undo:
        kit = kit_of(fresh, undo, "inner-hook")

        @agent.tool_plain
        def lookup() -> str:
            kit.begin(SeriesKind.TOOL, "lookup").end()
            return "sunny"

        agent.run_sync("go")

    assert tool_calls(fresh, "weather", "lookup") == 1
    assert fresh.value("agentgauge_calls_suppressed_total", instrumentor="inner-hook", owner="genai-spans", kind="tool") == 1


@pytest.mark.usefixtures("spans")
async def test_a_tool_that_the_user_has_decorated_is_counted_by_the_decorator_alone_and_in_its_run(fresh: Isolation) -> None:
    agent = Agent(Served("lookup").model, name="weather")

    @agent.tool_plain
    @tool
    async def lookup() -> str:
        return "sunny"

    await agent.run("go")

    assert tool_calls(fresh, "", "lookup") == 1
    assert tool_calls(fresh, "weather", "lookup") is None
    assert fresh.value("gen_ai_invoke_agent_tool_calls_sum", gen_ai_agent_name="weather") == 1
    assert fresh.value("agentgauge_calls_suppressed_total", instrumentor="genai-spans", owner="decorator", kind="tool") == 1


@pytest.mark.usefixtures("spans")
async def test_a_run_inside_our_own_decorated_functions_inside_a_tool_is_still_handed_over_by_the_agent(fresh: Isolation) -> None:
    inner = Agent(Served().model, name="inner")

    @task
    async def step() -> str:
        return (await inner.run("go")).output

    @tool
    async def helper() -> str:
        return await step()

    outer = Agent(Served("ask").model, name="outer")
    outer.tool_plain(helper, name="ask")
    await outer.run("go")

    assert fresh.value("agent_handoffs_total", source="outer", target="inner", outcome="success") == 1


# --- what a sampler drops -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("loop")
def test_a_program_whose_sampler_drops_all_shows_nothing_and_can_learn_why(
    fresh: Isolation, set_provider: Callable[..., InMemorySpanExporter]
) -> None:
    set_provider(TraceIdRatioBased(0.0))
    served = Served("lookup")
    agent = Agent(served.model, name="weather")
    agent.tool_plain(lambda: "sunny", name="lookup")

    agent.run_sync("how is it?")

    assert served.calls == 2
    assert runs(fresh, "weather") is None
    assert fresh.value("agentgauge_events_recorded_total") == 0
    told = unsampled_reason(trace.get_tracer_provider())
    assert told == "the sampler TraceIdRatioBased{0.0} drops every trace that begins here"
