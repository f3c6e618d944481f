"""The OpenAI Agents SDK: each call is counted once, whoever else sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import agents
import pytest
from agents import (
    Agent,
    Runner,
    function_tool,
)
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel

import agentgauge
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.series import LmName
from tests.instrumentors.openai_agents_programs import (
    ADDER,
    CHAT_COMPLETION,
    INPUT_TOKENS,
    LM,
    LM_CALL,
    OUTPUT_TOKENS,
    RESPONSE,
    RUN,
    STREAMED,
    SUCCESS,
    TASK,
    TOOL,
    WORKFLOW,
    ListModel,
    adder,
    agent,
    ask,
    check_adder,
    check_tokens,
    client_that_answers,
    run_to_end,
    say,
)

if TYPE_CHECKING:
    from agentgauge.testing import Isolation


pytestmark = pytest.mark.usefixtures("offline")


async def test_a_tool_that_the_user_decorated_is_counted_once(sdk: Isolation) -> None:
    @agentgauge.tool
    def search(query: str) -> str:
        """Search."""
        return query

    one, _ = agent(ask("search", query="x"), say(), tools=[function_tool(search)])
    await Runner.run(one, "x")
    assert sdk.value(TOOL, **ADDER, gen_ai_tool_name="search") == 1
    assert sdk.value("gen_ai_invoke_agent_tool_calls_sum", **ADDER) == 1
    assert sdk.value("agentgauge_calls_suppressed_total", instrumentor="openai-agents", owner="decorator", kind="tool") == 1


async def test_a_decorated_agent_of_the_same_name_is_the_one_that_counts(sdk: Isolation) -> None:
    with agentgauge.track("adder", "answer"):
        await Runner.run(adder()[0], "x")
    assert sdk.value(RUN, **ADDER) == 1
    assert sdk.value(TASK, **ADDER, **SUCCESS, agent_task="answer") == 1
    check_tokens(sdk, 2)


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        (OpenAIChatCompletionsModel, CHAT_COMPLETION, {}),
        (OpenAIResponsesModel, RESPONSE, {"gen_ai_response_model": "gpt-mini-dated"}),
    ],
)
async def test_the_sdks_own_models_are_counted_once_though_they_open_spans(
    sdk: Isolation, kind: Any, answer: Any, told: dict[str, str]
) -> None:
    async with client_that_answers(answer) as client:
        one = Agent(name="adder", model=kind(model="gpt-mini", openai_client=client))
        assert (await Runner.run(one, "hello")).final_output == "done"
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-mini", **told}
    assert sdk.value(LM_CALL, **labels) == 1
    assert sdk.value("gen_ai_client_token_usage_sum", **labels, gen_ai_token_type="input") == INPUT_TOKENS
    assert sdk.value("gen_ai_client_token_usage_sum", **labels, gen_ai_token_type="output") == OUTPUT_TOKENS
    calls = sdk.value("agentgauge_instrumentor_calls_total", instrumentor="openai-agents")
    assert calls == 4  # the workflow, the agent, its turn and the model


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_providers_own_instrumentation_does_not_count_a_call_again(sdk: Isolation, is_streamed: bool) -> None:
    async def call_provider() -> None:
        call = LmCall(sdk.recorder, LmName("chat", "fake", "fake/one"), instrumentor="provider")
        call.note_answer(Answer(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS))
        call.end()

    one, model = adder()
    model.before = call_provider
    await run_to_end(one, is_streamed)
    check_adder(sdk, lm=STREAMED if is_streamed else LM)
    suppressed = {"instrumentor": "provider", "owner": "openai-agents", "kind": "lm"}
    assert sdk.value("agentgauge_calls_suppressed_total", **suppressed) == 2


async def test_a_model_that_asks_its_base_class_makes_one_call(sdk: Isolation) -> None:
    class Careful(ListModel):
        async def get_response(self, *args: Any, **kwargs: Any) -> Any:
            return await super().get_response(*args, **kwargs)

    await Runner.run(Agent(name="plain", model=ListModel()), "x")
    await Runner.run(Agent(name="adder", model=Careful()), "x")
    assert sdk.value(LM_CALL, **LM) == 2
    check_tokens(sdk, 1)
    assert sdk.value("agentgauge_instrumentor_calls_total", instrumentor="openai-agents") == 8
    suppressed = {"instrumentor": "openai-agents", "owner": "openai-agents", "kind": "lm"}
    assert sdk.value("agentgauge_calls_suppressed_total", **suppressed) is None


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_model_that_opens_a_span_of_its_own_is_counted_once(sdk: Isolation, is_streamed: bool) -> None:
    one, model = adder()
    model.has_span = True
    assert await run_to_end(one, is_streamed) == "3"
    check_adder(sdk, lm=STREAMED if is_streamed else LM)


async def test_a_generation_span_of_the_programs_own_is_an_lm_call(sdk: Isolation) -> None:
    with agents.trace("by hand"), agents.generation_span(model="m") as span:
        span.span_data.usage = {"input_tokens": 7, "output_tokens": 2}
    assert sdk.value(WORKFLOW, gen_ai_workflow_name="by hand") == 1
    assert sdk.value(LM_CALL, gen_ai_operation_name="chat", gen_ai_request_model="m") == 1
    assert sdk.value("agent_tokens_total", gen_ai_request_model="m", gen_ai_token_type="input") == 7
