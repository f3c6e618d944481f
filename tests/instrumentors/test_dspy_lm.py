"""DSPy's language models: calls, tokens, cost, caches, retries, streams and failures, against what was served."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import dspy
import pytest
from dspy import lm15
from dspy_programs import Engine, Question, counts, drawn, instrumented, lm_of, tokens

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.dspy_answers import answer_of

MODEL = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "offline"}
ANSWERED = ("lm", "chat", "openai", "offline", "offline-2026")


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Give DSPy a cache of the test's own."""
    from dspy.clients.cache import Cache

    cache = Cache(
        enable_disk_cache=False,
        enable_memory_cache=True,
        disk_cache_dir=str(tmp_path),
        disk_size_limit_bytes=None,
        memory_max_entries=100,
    )
    monkeypatch.setattr(dspy, "cache", cache)


@pytest.mark.parametrize("is_async", [False, True])
def test_tokens_finish_reason_and_response_model_are_those_that_were_served(measured, spans, is_async):
    usage = lm15.Usage(input_tokens=11, output_tokens=7, cache_read_tokens=5, cache_write_tokens=3, reasoning_tokens=2)
    engine = Engine(usage=usage, finish_reason="length")
    lm = lm_of(engine, temperature=0.5, max_tokens=99)
    for _ in range(3):
        if is_async:
            asyncio.run(lm.acall("hello"))
        else:
            lm("hello")

    assert counts(measured) == {ANSWERED: 3}
    assert tokens(measured, gen_ai_request_model="offline") == {
        "input": 33,
        "output": 21,
        "cache_read": 15,
        "cache_write": 9,
        "reasoning": 6,
    }
    assert measured.value("agent_lm_finish_reasons_total", gen_ai_response_finish_reason="length", **MODEL) == 3
    span = spans.get_finished_spans()[0]
    assert span.name == "chat offline"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "offline",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.model": "offline-2026",
        "gen_ai.response.id": "answer-1",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_write.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }
    assert {name: span.attributes.get(name) for name in expected} == expected
    assert "gen_ai.input.messages" not in span.attributes


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.usefixtures("own_cache")
def test_a_cache_hit_is_counted_as_one_and_spends_nothing(measured, is_async):
    engine = Engine()
    lm = lm_of(engine, cache=True)
    for _ in range(3):
        if is_async:
            asyncio.run(lm.acall("hello"))
        else:
            lm("hello")

    assert engine.served == 1
    assert counts(measured) == {ANSWERED: 3}
    assert measured.value("agent_lm_cache_hits_total", gen_ai_request_model="offline") == 2
    assert tokens(measured, gen_ai_request_model="offline")["input"] == engine.input_tokens == 10
    assert measured.value("agent_lm_finish_reasons_total", gen_ai_response_finish_reason="stop", **MODEL) == 1
    usage = {"gen_ai_operation_name": "chat", "gen_ai_response_model": "offline-2026", "gen_ai_token_type": "output", **MODEL}
    assert measured.value("gen_ai_client_token_usage_count", **usage) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_the_cost_that_dspy_knows_is_counted_for_the_agent_and_not_for_cache_hits(measured, monkeypatch, own_cache, is_async):
    from dspy.clients import costs

    monkeypatch.setattr(costs, "estimate_cost", lambda *args, **kwargs: (0.25, {}))
    engine = Engine()

    class Program(dspy.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self):
            return self.inner()

    class Inner(dspy.Module):
        def forward(self):
            for _ in range(2):
                if is_async:
                    asyncio.run(lm.acall("hello"))
                else:
                    lm("hello")

    lm = lm_of(engine, cache=True)
    Program()()

    assert engine.served == 1
    assert measured.value("agent_cost_usd_total", gen_ai_agent_name="Inner", gen_ai_request_model="offline") == 0.25
    assert measured.value("agent_lm_unpriced_calls_total", **MODEL) is None


@pytest.mark.parametrize("is_async", [False, True])
def test_attempts_after_the_first_are_retries_and_one_call(measured, monkeypatch, is_async):
    monkeypatch.setattr("dspy.clients.execution._delay", lambda error, attempt: 0)
    engine = Engine([lm15.RateLimitError("slow down"), lm15.ServerError("oops"), "well"])
    lm = lm_of(engine, num_retries=3)
    answer = asyncio.run(lm.acall("hello")) if is_async else lm("hello")

    assert answer == ["well"]
    assert counts(measured) == {ANSWERED: 1}
    assert measured.value("agent_lm_retries_total", **MODEL) == 2
    assert tokens(measured, gen_ai_request_model="offline")["output"] == 4


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_fails_bears_the_type_of_its_error(measured, is_async):
    engine = Engine([lm15.RateLimitError("slow down")])
    lm = lm_of(engine)
    with pytest.raises(dspy.LMRateLimitError) as caught:
        asyncio.run(lm.acall("hello")) if is_async else lm("hello")

    error = f"{type(caught.value).__module__}.{type(caught.value).__qualname__}"
    assert counts(measured) == {("lm", "chat", "openai", "offline", error): 1}
    assert measured.value("agent_lm_retries_total", **MODEL) is None
    assert tokens(measured, gen_ai_request_model="offline") == {}


@pytest.mark.parametrize("is_async", [False, True])
def test_tokens_of_a_call_that_failed_after_the_provider_answered_are_counted(measured, is_async):
    engine = Engine()
    engine.script = ["one", lm15.ServerError("the second candidate fails")]
    lm = lm_of(engine)
    with pytest.raises(dspy.LMError):
        asyncio.run(lm.acall("hello", n=2)) if is_async else lm("hello", n=2)

    assert engine.served == 1
    assert tokens(measured, gen_ai_request_model="offline") == {"input": 10, "output": 4, "cache_read": 3, "reasoning": 2}


def test_tokens_are_counted_where_keeping_the_history_fails(measured, monkeypatch):
    lm = lm_of(Engine())

    def refuse(entry):
        raise OSError("disk full")

    monkeypatch.setattr(lm, "update_history", refuse, raising=False)
    with pytest.raises(OSError, match="disk full"):
        lm("hello")

    assert counts(measured) == {(*ANSWERED, "OSError"): 1}
    assert tokens(measured, gen_ai_request_model="offline")["input"] == 10


def test_several_candidates_are_one_call_with_all_their_tokens_and_finish_reasons(measured):
    engine = Engine()
    assert len(lm_of(engine)("hello", n=3)) == 3

    assert engine.served == 3
    assert counts(measured) == {ANSWERED: 1}
    assert tokens(measured, gen_ai_request_model="offline")["input"] == engine.input_tokens == 30
    assert measured.value("agent_lm_finish_reasons_total", gen_ai_response_finish_reason="stop", **MODEL) == 3


def test_candidates_of_which_one_tells_no_usage_are_counted_as_far_as_known_and_not_priced(measured):
    engine = Engine()
    think = engine.think
    told = engine.usage

    def forgetful(request):
        engine.usage = told if engine.served != 1 else lm15.Usage()
        return think(request)

    engine.think = forgetful
    priced = measured.recorder.spendings.price
    measured.recorder.spendings.price = lambda spending: 1.0
    try:
        assert len(lm_of(engine)("hello", n=3)) == 3
        lm_of(engine)("hello")

        assert tokens(measured, gen_ai_request_model="offline")["input"] == 30  # two of the three, and the one
        assert measured.value("agent_lm_unpriced_calls_total", **MODEL) == 1
        assert measured.value("agent_cost_usd_total", gen_ai_request_model="offline") == 1.0
    finally:
        measured.recorder.spendings.price = priced


@pytest.mark.parametrize("is_async", [False, True])
def test_a_streamed_program_tells_the_time_to_its_first_chunk(fresh, spans, is_async):
    engine = Engine([{"answer": "one two three"}])
    lm = lm_of(engine)
    listener = dspy.streaming.StreamListener(signature_field_name="answer")
    think = engine.think
    engine.think = lambda request: (fresh.clock.advance(0.5), think(request))[1]

    async def consume():
        program = dspy.Predict(Question)
        stream = dspy.streamify(program, stream_listeners=[listener], is_async_program=is_async)
        return [value async for value in stream(question="why")]

    with instrumented(), dspy.context(lm=lm):
        values = asyncio.run(consume())

    assert "".join(value.chunk for value in values[:-1]).strip() == values[-1].answer == "one two three"
    labels = {"gen_ai_operation_name": "chat", "gen_ai_response_model": "offline-2026", **MODEL}
    assert fresh.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **labels) == 1
    assert fresh.value("gen_ai_client_operation_time_to_first_chunk_seconds_sum", **labels) == 0.5
    assert tokens(fresh, gen_ai_request_model="offline")["output"] == 4
    assert drawn(spans) == ["execute_task Predict", "  chat offline"]


def test_a_call_that_is_not_streamed_has_no_first_chunk(measured):
    lm_of(Engine())("hello")

    labels = {"gen_ai_operation_name": "chat", "gen_ai_response_model": "offline-2026", **MODEL}
    assert measured.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **labels) is None


async def test_a_cancelled_call_is_cancelled_and_leaves_nothing_behind(measured):
    engine = Engine()
    lm = lm_of(engine)
    lm._async_engine_spec.gate, lm._async_engine_spec.is_waiting = asyncio.Event(), asyncio.Event()
    calling = asyncio.ensure_future(lm.acall("hello"))
    await lm._async_engine_spec.is_waiting.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling

    assert counts(measured) == {("lm", "chat", "openai", "offline", "asyncio.exceptions.CancelledError"): 1}
    assert tokens(measured, gen_ai_request_model="offline") == {}


# --- content --------------------------------------------------------------------------------------------------------------


def test_prompts_and_answers_are_on_the_span_only_where_content_is_captured_and_redacted(fresh, spans):
    def redact(text, name):
        return text.replace("secret", "***")

    lm = lm_of(Engine(["the secret answer"]))
    with instrumented(Content(is_captured=True, redact=redact)):
        lm("a secret question")

    attributes = spans.get_finished_spans()[0].attributes
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "a *** question"}]}
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "the *** answer"}], "finish_reason": "stop"}
    ]


def test_a_typed_request_is_measured_and_its_messages_captured(fresh, spans):
    lm = lm_of(Engine(["fine"]))
    request = lm15.Request(model="openai/offline", system="be kind", messages=(lm15.Message.user("how are you"),))
    with instrumented(Content(is_captured=True)):
        response = lm(request)

    assert response.text == "fine"
    assert json.loads(spans.get_finished_spans()[0].attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "be kind"}]},
        {"role": "user", "parts": [{"type": "text", "content": "how are you"}]},
    ]


def test_an_engine_without_asynchronous_counterpart_fails_as_before(measured):
    lm = dspy.LM("openai/x", engine=Engine(), cache=False)
    with pytest.raises(dspy.LMUnsupportedFeatureError, match="no async counterpart"):
        asyncio.run(lm.acall("hello"))

    assert counts(measured) == {("lm", "chat", "openai", "x", "dspy.utils.exceptions.LMUnsupportedFeatureError"): 1}


def attempt(usage=(10, 1), cost=None, responses=()):
    """Make what DSPy knows of an attempt."""
    told = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=False))
    return SimpleNamespace(usage=told, cost=cost, responses=responses, raw=None, cache_hit=False, response_model="m", outputs=[])


@pytest.mark.parametrize(
    ("results", "inner", "is_partial"),
    [
        ([attempt()], [], False),
        ([attempt(), attempt()], [], False),
        ([attempt(), attempt(())], [], True),
        ([attempt(()), attempt()], [], True),
        ([attempt((10,)), attempt()], [], True),
        ([attempt(()), attempt(())], [], False),  # nothing is known: there is nothing to price
        ([attempt(())], [attempt(), attempt()], False),  # a router is no attempt of its own
        ([attempt(())], [attempt(), attempt(())], True),
        ([], [attempt(), attempt(())], True),
        ([attempt()], [attempt(())], False),  # its own word counts, and that is whole
    ],
)
def test_an_answer_is_partial_where_some_of_its_attempts_tell_their_usage_and_others_do_not(results, inner, is_partial):
    assert answer_of(results, inner).is_partial is is_partial
