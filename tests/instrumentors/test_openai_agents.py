"""The OpenAI Agents SDK: workflows, agents, turns, models, tools and handoffs, counted against what the fake model served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import agents
import pytest
from agents import (
    RunConfig,
    Runner,
    function_tool,
)

import agentgauge
from tests.instrumentors.openai_agents_programs import (
    ADDER,
    DEFAULT_WORKFLOW,
    INPUT_TOKENS,
    LM,
    LM_CALL,
    RUN,
    STREAMED,
    SUCCESS,
    TASK,
    TOOL,
    UNTRACED,
    WORKFLOW,
    adder,
    agent,
    ask,
    check_adder,
    check_tokens,
    parents,
    run_to_end,
    say,
)

if TYPE_CHECKING:
    from agents.tracing import provider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation


pytestmark = pytest.mark.usefixtures("offline")


async def test_a_run_is_a_workflow_with_its_agent_turns_models_and_tools(sdk: Isolation) -> None:
    one, model = adder()
    assert (await Runner.run(one, "1 + 2")).final_output == "3"
    assert model.served == 2
    check_adder(sdk)


def test_a_synchronous_run_is_counted_as_an_asynchronous_one_is(sdk: Isolation) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        assert Runner.run_sync(adder()[0], "1 + 2").final_output == "3"
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    check_adder(sdk)


async def test_a_streamed_run_is_counted_and_its_first_chunks_are_timed(sdk: Isolation) -> None:
    one, model = adder()
    model.before = lambda: asyncio.sleep(0, sdk.clock.advance(3))
    result = Runner.run_streamed(one, "1 + 2")
    assert [event async for event in result.stream_events()]
    assert result.final_output == "3"
    check_adder(sdk, lm=STREAMED)
    assert sdk.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **STREAMED) == 2
    assert sdk.value("gen_ai_client_operation_time_to_first_chunk_seconds_sum", **STREAMED) == 0
    assert sdk.value("gen_ai_client_operation_duration_seconds_sum", **STREAMED) == 6


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("is_disabled_everywhere", [False, True])
async def test_with_tracing_disabled_everything_is_counted_all_the_same(
    sdk: Isolation, offline: provider.DefaultTraceProvider, is_disabled_everywhere: bool, is_streamed: bool
) -> None:
    one, model = adder()
    model.has_span = True
    offline.set_disabled(is_disabled_everywhere)
    await run_to_end(one, is_streamed, run_config=None if is_disabled_everywhere else UNTRACED)
    check_adder(sdk, lm=STREAMED if is_streamed else LM)


async def test_runs_in_one_trace_are_one_workflow_and_runs_at_once_are_each_their_own(sdk: Isolation) -> None:
    with agents.trace("both"):
        await Runner.run(agent(name="first")[0], "x")
        await Runner.run(agent(name="second")[0], "x")
    await asyncio.gather(*(Runner.run(agent(name="third")[0], "x") for _ in range(3)))
    assert (sdk.value(WORKFLOW, gen_ai_workflow_name="both"), sdk.value(WORKFLOW, **DEFAULT_WORKFLOW)) == (1, 3)
    assert [sdk.value(RUN, gen_ai_agent_name=name) for name in ("first", "second", "third")] == [1, 1, 3]
    assert sdk.value(LM_CALL, **LM) == 5


async def test_repeated_tool_calls_are_told_from_others_by_their_arguments(sdk: Isolation) -> None:
    one, _ = agent(ask("add", first=1, second=2), ask("add", first=2, second=2), ask("add", second=2, first=1), say())
    await Runner.run(one, "x", run_config=RunConfig(trace_include_sensitive_data=False))
    assert sdk.value(TOOL, **ADDER, gen_ai_tool_name="add") == 3
    assert sdk.value("agent_repeated_tool_calls_total", **ADDER, gen_ai_tool_name="add") == 1


@pytest.mark.parametrize("config", [RunConfig(), UNTRACED])
async def test_a_handoff_is_counted_by_who_gave_to_whom(sdk: Isolation, config: RunConfig) -> None:
    writer, _ = agent(say("text"), name="writer", tools=[])
    planner, _ = agent(ask("transfer_to_writer"), name="planner", tools=[], handoffs=[writer])
    assert (await Runner.run(planner, "x", run_config=config)).final_output == "text"
    assert sdk.value("agent_handoffs_total", source="planner", target="writer", **SUCCESS) == 1
    assert [sdk.value(RUN, gen_ai_agent_name=name) for name in ("planner", "writer")] == [1, 1]
    assert sdk.value(WORKFLOW, **DEFAULT_WORKFLOW) == 1


async def test_a_handoff_that_fails_is_counted_as_one(sdk: Isolation) -> None:
    def refuse(_: object) -> None:
        raise PermissionError("no")

    writer, _ = agent(name="writer")
    planner, _ = agent(ask("transfer_to_writer"), name="planner", handoffs=[agents.handoff(writer, on_handoff=refuse)])
    with pytest.raises(PermissionError):
        await Runner.run(planner, "x")
    assert sdk.value("agent_handoffs_total", source="planner", target="", outcome="error") == 1
    assert sdk.value(RUN, gen_ai_agent_name="planner", error_type="PermissionError") == 1


async def test_an_agent_that_is_a_tool_of_another_is_delegated_to(sdk: Isolation) -> None:
    one, _ = adder()
    tool = one.as_tool(tool_name="ask_adder", tool_description="adds")
    boss, _ = agent(ask("ask_adder", input="1 + 2"), say("it is 3"), name="boss", tools=[tool])
    await Runner.run(boss, "x")
    assert sdk.value(WORKFLOW, **DEFAULT_WORKFLOW) == 1
    assert sdk.value(LM_CALL, **LM) == 4
    assert (sdk.value(RUN, gen_ai_agent_name="boss"), sdk.value(RUN, **ADDER)) == (1, 1)
    assert sdk.value(TOOL, **ADDER, gen_ai_tool_name="add") == 1
    assert sdk.value(TOOL, gen_ai_agent_name="boss", gen_ai_tool_name="ask_adder") == 1
    check_tokens(sdk, 2)
    check_tokens(sdk, 2, "boss")
    assert sdk.value("agent_handoffs_total", source="boss", target="adder", **SUCCESS) == 1
    subtree = sdk.value("agent_subtree_tokens_total", gen_ai_agent_name="boss", gen_ai_token_type="input")
    assert subtree == 4 * INPUT_TOKENS


@pytest.mark.parametrize("config", [RunConfig(), UNTRACED])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_run_is_one_trace_and_what_the_user_decorated_finds_its_place(
    sdk: Isolation, spans: InMemorySpanExporter, config: RunConfig, is_streamed: bool
) -> None:
    @agentgauge.task
    def look_up() -> str:
        return "found"

    @function_tool
    def search() -> str:
        """Search."""
        return look_up()

    @agentgauge.task
    async def route() -> None:
        await asyncio.sleep(0)

    one, model = agent(ask("search"), say(), tools=[search])
    model.before = route
    await run_to_end(one, is_streamed, run_config=config)
    assert parents(spans) == {
        "": ["invoke_workflow Agent workflow"],
        "invoke_workflow Agent workflow": ["invoke_agent adder"],
        "invoke_agent adder": ["execute_task turn", "execute_task turn"],
        "execute_task turn": ["chat fake/one", "execute_tool search", "chat fake/one"],
        "chat fake/one": ["execute_task route", "execute_task route"],
        "execute_tool search": ["execute_task look_up"],
    }
    assert sdk.value(TASK, **ADDER, **SUCCESS, agent_task="look_up") == 1
