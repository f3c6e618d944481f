"""Google's ADK, measured by its own spans."""

from __future__ import annotations

import pytest
from google.adk.agents import Agent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types


class Script(BaseLlm):
    """Asks for the tool, then answers; each answer says that it used 100 tokens and made 20."""

    async def generate_content_async(self, llm_request, stream=False):
        is_asked = llm_request.contents[-1].parts[-1].function_response is None
        call = types.FunctionCall(name="look_up", args={"query": "six"})
        part = types.Part(function_call=call) if is_asked else types.Part(text="42")
        usage = types.GenerateContentResponseUsageMetadata(
            prompt_token_count=100, candidates_token_count=20, total_token_count=120
        )
        yield LlmResponse(content=types.Content(role="model", parts=[part]), usage_metadata=usage)


async def run(tool) -> None:
    runner = InMemoryRunner(agent=Agent(name="adviser", model=Script(model="fake"), tools=[tool]), app_name="app")
    session = await runner.session_service.create_session(app_name="app", user_id="somebody")
    question = types.Content(role="user", parts=[types.Part(text="What is six times seven?")])
    async for _ in runner.run_async(user_id="somebody", session_id=session.id, new_message=question):
        pass
    await runner.close()


@pytest.mark.usefixtures("heard")
async def test_a_run_its_two_model_calls_their_tokens_and_its_tool_are_counted_once_each(total):
    def look_up(query: str) -> str:
        """Look something up."""
        return f"a page about {query}"

    await run(look_up)
    assert total("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="adviser") == 1
    assert total("gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="fake") == 2
    assert total("agent_tokens_total", gen_ai_token_type="input") == 200
    assert total("agent_tokens_total", gen_ai_token_type="output") == 40
    assert total("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="look_up") == 1


@pytest.mark.usefixtures("heard")
async def test_a_tool_that_fails_is_an_error_of_the_tool_and_of_the_run(total):
    def look_up(query: str) -> str:
        """Look something up."""
        raise KeyError(query)

    with pytest.raises(KeyError):
        await run(look_up)
    assert total("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="look_up", error_type="KeyError") == 1
    assert total("gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="fake") == 1
