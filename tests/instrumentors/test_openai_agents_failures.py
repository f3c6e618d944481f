"""The OpenAI Agents SDK: what fails, is cancelled or trips a guardrail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import agents
import pytest
from agents import (
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    RunConfig,
    Runner,
    input_guardrail,
)

from tests.instrumentors.openai_agents_programs import (
    ADDER,
    DEFAULT_WORKFLOW,
    INPUT_TOKENS,
    LM,
    LM_CALL,
    OUTPUT_TOKENS,
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
    divide,
    explode,
    run_to_end,
    say,
)

if TYPE_CHECKING:
    from agentgauge.testing import Isolation


pytestmark = pytest.mark.usefixtures("offline")


@pytest.mark.parametrize("config", [RunConfig(), UNTRACED])
async def test_a_tool_whose_exception_the_sdk_hands_to_the_model_failed_all_the_same(sdk: Isolation, config: RunConfig) -> None:
    one, _ = agent(ask("divide", first=1, second=0), say("sorry"), tools=[divide])
    assert (await Runner.run(one, "x", run_config=config)).final_output == "sorry"
    assert sdk.value(TOOL, **ADDER, gen_ai_tool_name="divide", error_type="ZeroDivisionError") == 1
    assert sdk.value(RUN, **ADDER) == 1


async def test_a_tool_that_fails_the_run_wastes_what_the_run_used(sdk: Isolation) -> None:
    one, _ = agent(ask("explode"), tools=[explode])
    with pytest.raises(agents.UserError, match="nothing there"):
        await Runner.run(one, "x")
    assert sdk.value(TOOL, **ADDER, gen_ai_tool_name="explode", error_type="LookupError") == 1
    assert sdk.value(RUN, **ADDER, error_type="agents.exceptions.UserError") == 1
    assert sdk.value(WORKFLOW, **DEFAULT_WORKFLOW, error_type="agents.exceptions.UserError") == 1
    assert sdk.value("agent_wasted_tokens_total", **ADDER, outcome="error") == INPUT_TOKENS + OUTPUT_TOKENS


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("config", [RunConfig(), UNTRACED])
async def test_a_failing_model_fails_the_call_the_run_and_the_workflow(
    sdk: Isolation, is_streamed: bool, config: RunConfig
) -> None:
    one, model = agent(ConnectionError("no route"))
    with pytest.raises(ConnectionError, match="no route"):
        await run_to_end(one, is_streamed, run_config=config)
    assert model.served == 1
    assert sdk.value(LM_CALL, **LM, error_type="ConnectionError") == 1
    assert sdk.value(RUN, **ADDER, error_type="ConnectionError") == 1
    assert sdk.value(WORKFLOW, **DEFAULT_WORKFLOW, error_type="ConnectionError") == 1


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_too_many_turns_fail_the_run_and_the_workflow(sdk: Isolation, is_streamed: bool) -> None:
    one, _ = agent(*(ask("add", first=1, second=2) for _ in range(3)))
    with pytest.raises(MaxTurnsExceeded):
        await run_to_end(one, is_streamed, max_turns=2)
    error = {"error_type": "SpanError" if is_streamed else "agents.exceptions.MaxTurnsExceeded"}  # a stream raises it later
    assert sdk.value(RUN, **ADDER, **error) == 1
    assert sdk.value(WORKFLOW, **DEFAULT_WORKFLOW, **error) == 1
    assert sdk.value(TASK, **ADDER, **SUCCESS, agent_task="turn") == 2


async def test_a_run_that_the_program_recovers_from_does_not_fail_its_workflow(sdk: Isolation) -> None:
    with agents.trace("careful"):
        with pytest.raises(ConnectionError):
            await Runner.run(agent(ConnectionError())[0], "x")
        await Runner.run(agent()[0], "x")
    assert sdk.value(WORKFLOW, gen_ai_workflow_name="careful") == 1
    assert (sdk.value(RUN, **ADDER), sdk.value(RUN, **ADDER, error_type="ConnectionError")) == (1, 1)


async def test_a_run_inside_an_exception_handler_is_not_charged_with_that_exception(sdk: Isolation) -> None:
    try:
        raise KeyError("before")
    except KeyError:
        await Runner.run(adder()[0], "x")
    check_adder(sdk)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_cancelled_run_is_cancelled_at_every_level(sdk: Isolation, is_streamed: bool) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    one, model = agent()
    model.before = wait

    running = asyncio.create_task(run_to_end(one, is_streamed))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for _ in range(20):  # the SDK's own tasks clean up behind a stream
        await asyncio.sleep(0)
    error = {"error_type": "asyncio.exceptions.CancelledError"}
    assert sdk.value(LM_CALL, **LM, **error) == 1
    assert sdk.value(RUN, **ADDER, **error) == 1
    assert sdk.value(WORKFLOW, **DEFAULT_WORKFLOW, **error) == 1
    assert sdk.value(TASK, **ADDER, agent_task="turn", outcome="cancelled") == 1


async def test_a_streamed_run_that_the_program_cancels_leaves_nothing_open(sdk: Isolation) -> None:
    one, _ = adder()
    result = Runner.run_streamed(one, "x")
    async for event in result.stream_events():
        if event.type == "run_item_stream_event":
            result.cancel()
    for _ in range(20):  # the SDK's own tasks clean up behind a stream
        await asyncio.sleep(0)
    assert sdk.value(LM_CALL, **STREAMED) == 1
    assert sdk.value("agent_tasks_in_progress", **ADDER, agent_task="run") == 0
    assert (
        sum(sdk.value(RUN, **ADDER, **labels) or 0 for labels in ({}, {"error_type": "asyncio.exceptions.CancelledError"})) == 1
    )


async def test_a_guardrail_is_a_task_and_one_that_trips_fails_the_run(sdk: Isolation) -> None:
    @input_guardrail
    def polite(_: object, __: object, text: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered="please" not in text)

    await Runner.run(agent(input_guardrails=[polite])[0], "please")
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(agent(input_guardrails=[polite])[0], "now")
    assert sdk.value(TASK, **ADDER, **SUCCESS, agent_task="polite") == 2
    assert sdk.value(RUN, **ADDER, error_type="agents.exceptions.InputGuardrailTripwireTriggered") == 1
