"""OpenTelemetry's own instrumentation of OpenAI's client, which agentgauge hears: its spans become the same series."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

ANSWER = {
    "id": "answer-1",
    "object": "chat.completion",
    "created": 1,
    "model": "small-2026",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42"}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
}
COUNT = "gen_ai_client_operation_duration_seconds_count"


@pytest.fixture
def client(heard):
    def answer(request: httpx2.Request) -> httpx2.Response:
        is_bad = json.loads(request.content)["model"] == "broken"
        return httpx2.Response(500, json={"error": {"message": "on purpose"}}) if is_bad else httpx2.Response(200, json=ANSWER)

    OpenAIInstrumentor().instrument()
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as connection:
        yield openai.OpenAI(api_key="none", http_client=connection, max_retries=0)
    OpenAIInstrumentor().uninstrument()


def ask(client, model: str) -> str:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "?"}]).choices[0].message.content


def test_calls_and_their_tokens_are_counted(client, heard, total):
    assert [ask(client, "small") for _ in range(3)] == ["42"] * 3
    assert len(heard.get_finished_spans()) == 3
    assert total(COUNT, gen_ai_operation_name="chat", gen_ai_request_model="small", gen_ai_response_model="small-2026") == 3
    assert total("agent_tokens_total", gen_ai_token_type="input") == 300
    assert total("agent_tokens_total", gen_ai_token_type="output") == 60


def test_a_call_that_fails_bears_its_error(client, total):
    with pytest.raises(openai.InternalServerError):
        ask(client, "broken")
    failed = total(COUNT, gen_ai_request_model="broken", error_type="openai.InternalServerError")
    assert failed == total(COUNT, gen_ai_request_model="broken") == 1
