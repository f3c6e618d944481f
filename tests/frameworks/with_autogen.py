"""AutoGen, measured by its own spans, which tell nothing of its model calls."""

from __future__ import annotations

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient


async def run(tool) -> str:
    call = CreateResult(
        finish_reason="function_calls",
        content=[FunctionCall(id="1", name="look_up", arguments='{"query": "six"}')],
        usage=RequestUsage(prompt_tokens=1, completion_tokens=1),
        cached=False,
    )
    abilities = {"function_calling": True, "vision": False, "json_output": False, "family": "x", "structured_output": False}
    client = ReplayChatCompletionClient([call, "42"], model_info=abilities)
    agent = AssistantAgent("adviser", client, tools=[tool], reflect_on_tool_use=True)
    return (await agent.run(task="What is six times seven?")).messages[-1].content


@pytest.mark.usefixtures("heard")
async def test_a_run_and_its_tool_are_counted_once_each(total):
    async def look_up(query: str) -> str:
        """Look something up."""
        return f"a page about {query}"

    assert await run(look_up) == "42"
    assert total("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="adviser") == 1
    assert total("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="look_up") == 1
    assert total("gen_ai_client_operation_duration_seconds_count") == 0
