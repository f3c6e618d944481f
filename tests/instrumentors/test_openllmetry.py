"""OpenLLMetry's OpenAI instrumentation beside ours, with the real client and a server of the test's own: a call counts once."""

from __future__ import annotations

import json
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dspy
import openai
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.roster import Instrumentation
from agentgauge.testing import reraise_internal_errors

LIBRARY = "opentelemetry.instrumentation.openai.v1"
MODEL = "gpt-4o-mini"
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


class _Provider(BaseHTTPRequestHandler):
    """Answers as OpenAI does, and counts what it served."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.served += 1
        about = {"id": "chatcmpl-1", "created": 1, "model": f"{MODEL}-2024-07-18"}
        if asked.get("stream"):
            chunks = [
                {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "yes"}, "finish_reason": None}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": USAGE},
            ]
            lines = [json.dumps({**about, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
            body, kind = "".join(f"data: {line}\n\n" for line in (*lines, "[DONE]")), "text/event-stream"
        else:
            message = {"role": "assistant", "content": "yes"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body, kind = (
                json.dumps({**about, "object": "chat.completion", "choices": [choice], "usage": USAGE}),
                "application/json",
            )
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def provider():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as server:
        server.served = 0
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=[True, False], ids=["openllmetry first", "openllmetry later"])
def instrumented(fresh, spans, request):
    """Instrument with both, in this order."""
    theirs = OpenAIInstrumentor()
    ours = Instrumentation(fresh.recorder, Content(), ("dspy", "genai-spans"))

    def instrument_theirs():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            theirs.instrument(tracer_provider=trace.get_tracer_provider())

    with reraise_internal_errors():
        steps = [instrument_theirs, ours.start] if request.param else [ours.start, instrument_theirs]
        for step in steps:
            step()
        fresh.recorder.spendings.price, before = (lambda spending: spending.answer.tokens / 100), fresh.recorder.spendings.price
        try:
            yield fresh
        finally:
            fresh.recorder.spendings.price = before
            ours.stop()
            theirs.uninstrument()


def url(server):
    return f"http://127.0.0.1:{server.server_port}/v1"


class Relay(dspy.BaseLM):
    """A model of the user's own that asks by OpenAI's client."""

    def __init__(self, server):
        super().__init__(f"openai/{MODEL}")
        self.server = server

    def forward(self, prompt=None, messages=None, **_):
        with openai.OpenAI(api_key="none", base_url=url(self.server), max_retries=0) as client:
            return client.chat.completions.create(model=MODEL, messages=messages or [{"role": "user", "content": prompt}])


def total(fresh, name, **labels):
    return sum(
        sample.value
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def check_books(fresh, calls, suppressed):
    """See that all that was served is counted once, and what both saw is told."""
    assert total(fresh, "gen_ai_client_operation_duration_seconds_count") == calls
    assert total(fresh, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 10 * calls
    assert total(fresh, "agent_tokens_total", gen_ai_token_type="input") == 10 * calls
    assert total(fresh, "agent_tokens_total", gen_ai_token_type="output") == 4 * calls
    assert total(fresh, "agent_lm_finish_reasons_total", gen_ai_response_finish_reason="stop") == calls
    assert total(fresh, "agent_cost_usd_total") == pytest.approx(0.14 * calls)
    assert total(fresh, "agent_lm_unpriced_calls_total") == 0
    labels = {"instrumentor": "genai-spans", "owner": "dspy", "kind": "lm"}
    assert total(fresh, "agentgauge_calls_suppressed_total") == suppressed
    assert total(fresh, "agentgauge_calls_suppressed_total", **labels) == suppressed


def heard(spans):
    return sum(span.instrumentation_scope.name == LIBRARY for span in spans.get_finished_spans())


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_what_dspy_s_hook_counts_is_not_counted_by_the_client_s_span_too(instrumented, spans, provider):
    with dspy.context(lm=Relay(provider), adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
        lm = dspy.settings.lm
        assert lm("hello") == lm("again") == ["yes"]

    assert provider.served == heard(spans) == 2
    check_books(instrumented, calls=2, suppressed=2)


def test_dspy_s_own_way_through_litellm_is_counted_once(instrumented, spans, provider, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    lm = dspy.LM(f"openai/{MODEL}", engine="litellm", api_key="none", api_base=url(provider), cache=False, num_retries=0)
    assert lm("hello") == ["yes"]

    assert provider.served == heard(spans) == 1
    check_books(instrumented, calls=1, suppressed=1)


def test_a_call_that_only_the_client_s_span_tells_of_is_counted_from_it(instrumented, spans, provider):
    with openai.OpenAI(api_key="none", base_url=url(provider), max_retries=0) as client:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])

    assert provider.served == heard(spans) == 1
    check_books(instrumented, calls=1, suppressed=0)
    labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": MODEL, "gen_ai_response_model": f"{MODEL}-2024-07-18"}
    assert total(instrumented, "gen_ai_client_operation_duration_seconds_count", gen_ai_operation_name="chat", **labels) == 1


def test_a_streamed_answer_of_the_client_is_counted_when_it_has_been_read(instrumented, spans, provider):
    with openai.OpenAI(api_key="none", base_url=url(provider), max_retries=0) as client:
        chunks = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert text == "yes"
    assert provider.served == heard(spans) == 1
    check_books(instrumented, calls=1, suppressed=0)


async def test_an_asynchronous_call_of_the_client_is_counted_once(instrumented, spans, provider):
    async with openai.AsyncOpenAI(api_key="none", base_url=url(provider), max_retries=0) as client:
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])

    assert provider.served == heard(spans) == 1
    check_books(instrumented, calls=1, suppressed=0)
