"""What a call of a language model leaves in the series and on its span."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GenAiProviderNameValues, GenAiSystemValues
from opentelemetry.trace import SpanKind, StatusCode

from agentgauge import agent, task
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.providers import _NAMES, _PROVIDERS, provider_name
from agentgauge.recording.series import LmName
from agentgauge.recording.spendings import cost_as_told
from agentgauge.testing import reraise_internal_errors

CLIENT = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt"}


@pytest.fixture(autouse=True)
def _loud():
    with reraise_internal_errors():
        yield


def begin(fresh, model="gpt", **options):
    return LmCall(fresh.recorder, LmName("chat", "openai", model), instrumentor="tests", **options)


def test_tokens_are_counted_by_type_for_the_agent_and_for_the_client(fresh):
    @agent("writer")
    @task
    def write():
        call = begin(fresh)
        call.note_answer(Answer(10, 4, cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=1, response_model="gpt-2"))
        call.end()

    write()
    write()

    def tokens(kind):
        return fresh.value("agent_tokens_total", gen_ai_agent_name="writer", gen_ai_request_model="gpt", gen_ai_token_type=kind)

    assert [tokens(kind) for kind in ("input", "output", "cache_read", "cache_write", "reasoning")] == [20, 8, 6, 4, 2]
    client = {**CLIENT, "gen_ai_response_model": "gpt-2"}
    assert fresh.value("gen_ai_client_token_usage_sum", **client, gen_ai_token_type="input") == 20
    assert fresh.value("gen_ai_client_token_usage_count", **client, gen_ai_token_type="output") == 2
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **client) == 2


def test_what_is_not_told_is_absent_and_not_zero(fresh):
    call = begin(fresh)
    call.note_answer(Answer())
    call.end()

    assert fresh.value("gen_ai_client_token_usage_count", **CLIENT, gen_ai_token_type="input") is None
    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_provider_name="openai", gen_ai_request_model="gpt") is None


def test_a_cache_hit_of_the_programs_own_spends_nothing(fresh):
    call = begin(fresh)
    call.note_answer(Answer(10, 4, cost_usd=1.0, is_cache_hit=True))
    call.end()

    labels = {"gen_ai_request_model": "gpt"}
    assert fresh.value("agent_lm_cache_hits_total", **labels) == 1
    assert fresh.value("agent_tokens_total", **labels, gen_ai_token_type="input") is None
    assert fresh.value("agent_cost_usd_total", **labels) is None
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **CLIENT) == 1


def test_a_cache_hit_tells_who_had_answered_and_nothing_that_was_told_before(fresh, spans):
    call = begin(fresh)
    call.note_first_chunk(0.5)
    answer = Answer(10, 4, 3, 2, 1, "gpt-2", "id-7", ("stop",), cost_usd=0.25)
    call.note_answer(answer._replace(is_cache_hit=True))
    call.end()

    answered = {**CLIENT, "gen_ai_response_model": "gpt-2"}
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **answered) == 1
    assert fresh.value("agent_lm_cache_hits_total", gen_ai_request_model="gpt") == 1
    told = {sample.name for family in fresh.registry.collect() for sample in family.samples if sample.value}
    assert not told & {
        "agent_lm_finish_reasons_total",
        "agent_tokens_total",
        "agent_cost_usd_total",
        "agent_lm_unpriced_calls_total",
        "gen_ai_client_token_usage_count",
        "gen_ai_client_operation_time_to_first_chunk_seconds_count",
    }
    [span] = spans.get_finished_spans()
    assert {name: value for name, value in span.attributes.items() if "response" in name or "usage" in name} == {
        "gen_ai.response.model": "gpt-2"
    }
    assert span.attributes["agentgauge.cache_hit"] is True


def test_calls_that_wait_as_one_are_as_many_unpriced_calls(fresh):
    for _ in range(25_000):
        call = begin(fresh)
        call.note_answer(Answer(10, 4))
        call.end()
    assert len(fresh.recorder.spendings) <= 10_001

    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_provider_name="openai", gen_ai_request_model="gpt") == 25_000


def test_calls_that_wait_as_one_cost_what_they_cost_apart(fresh):
    fresh.recorder.spendings.price = lambda spending: None if spending.answer.is_partial else spending.answer.tokens
    try:
        for number in range(12_000):
            call = begin(fresh)
            call.note_answer(Answer(10, 4, is_partial=number % 4 == 0))
            call.end()
        labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt"}
        assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt") == 9_000 * 14
        assert fresh.value("agent_lm_unpriced_calls_total", **labels) == 3_000
    finally:
        fresh.recorder.spendings.price = cost_as_told


def test_tokens_of_which_a_part_is_untold_are_counted_and_not_priced_but_by_who_was_paid(fresh):
    fresh.recorder.spendings.price = lambda spending: 1.0
    try:
        for cost in (None, 0.25):
            call = begin(fresh)
            call.note_answer(Answer(10, 4, cost_usd=cost, is_partial=True))
            call.end()
        labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt"}
        assert fresh.value("agent_tokens_total", gen_ai_request_model="gpt", gen_ai_token_type="input") == 20
        assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt") == 0.25
        assert fresh.value("agent_lm_unpriced_calls_total", **labels) == 1
    finally:
        fresh.recorder.spendings.price = cost_as_told


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("anthropic", "anthropic"),
        ("gemini", "gcp.gemini"),
        ("google_genai", "gcp.gemini"),
        ("vertex_ai", "gcp.vertex_ai"),
        ("google_vertexai", "gcp.vertex_ai"),
        ("google", "gcp.gen_ai"),
        ("azure", "azure.ai.openai"),
        ("az.ai.openai", "azure.ai.openai"),
        ("azure_ai", "azure.ai.inference"),
        ("bedrock", "aws.bedrock"),
        ("amazon_bedrock", "aws.bedrock"),
        ("mistral", "mistral_ai"),
        ("mistralai", "mistral_ai"),
        ("cohere_chat", "cohere"),
        ("groq", "groq"),
        ("deepseek", "deepseek"),
        ("perplexity", "perplexity"),
        ("xai", "x_ai"),
        ("watsonx", "ibm.watsonx.ai"),
        ("ollama", "ollama"),
        ("gcp.vertex.agent", "gcp.vertex.agent"),
        ("", ""),
    ],
)
def test_a_provider_is_called_as_the_conventions_call_it_whoever_reports(fresh, spans, told, name):
    LmCall(fresh.recorder, LmName("chat", told, "gpt"), instrumentor="tests").end()

    labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "gpt"} | ({"gen_ai_provider_name": name} if name else {})
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **labels) == 1
    assert spans.get_finished_spans()[0].attributes.get("gen_ai.provider.name") == (name or None)


def test_the_names_of_providers_are_the_conventions_own():
    conventions = {value.value for value in GenAiProviderNameValues}

    assert set(_PROVIDERS) == conventions
    assert not set(_NAMES) & conventions
    assert {provider_name(value.value) for value in GenAiSystemValues} <= conventions


def test_a_call_that_fails_after_its_answer_has_spent_its_tokens(fresh):
    call = begin(fresh)
    call.note_answer(Answer(10, 4))
    call.end(ValueError())

    assert fresh.value("gen_ai_client_token_usage_sum", **CLIENT, gen_ai_token_type="input") == 10
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **CLIENT, error_type="ValueError") == 1


def test_the_first_chunk_is_timed_and_later_ones_are_not(fresh):
    call = begin(fresh)
    for _ in range(3):
        fresh.clock.advance(0.5)
        call.note_first_chunk()
    call.end()

    assert fresh.value("gen_ai_client_operation_time_to_first_chunk_seconds_sum", **CLIENT) == 0.5
    assert fresh.value("gen_ai_client_operation_time_to_first_chunk_seconds_count", **CLIENT) == 1


def test_retries_and_finish_reasons_are_counted(fresh):
    call = begin(fresh)
    call.note_retry()
    call.note_retry(2)
    call.note_answer(Answer(finish_reasons=("stop", "length", "stop")))
    call.end()

    labels = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt"}
    assert fresh.value("agent_lm_retries_total", **labels) == 3
    assert fresh.value("agent_lm_finish_reasons_total", **labels, gen_ai_response_finish_reason="stop") == 2


def test_a_call_is_priced_when_somebody_drains_and_not_in_the_call(fresh):
    asked = []
    fresh.recorder.spendings.price = lambda spending: asked.append(spending) or 0.25
    try:
        call = begin(fresh)
        call.note_answer(Answer(10, 4, response_model="gpt-2"))
        call.end()
        assert asked == []
        assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt") == 0.25
        assert [(spending.provider, spending.answer.response_model) for spending in asked] == [("openai", "gpt-2")]
    finally:
        fresh.recorder.spendings.price = cost_as_told


def test_a_call_that_nobody_can_price_is_counted_and_not_guessed(fresh):
    call = begin(fresh)
    call.note_answer(Answer(10, 4))
    call.end()

    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_provider_name="openai", gen_ai_request_model="gpt") == 1
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt") is None


def test_its_span_is_a_clients_with_the_names_of_the_conventions(fresh, spans):
    call = begin(fresh, attributes={"server.address": "localhost"})
    call.note_first_chunk(0.5)
    call.note_answer(Answer(10, 4, 3, 2, 1, "gpt-2", "id-7", ("stop",)))
    call.end()

    [span] = spans.get_finished_spans()
    assert (span.name, span.kind) == ("chat gpt", SpanKind.CLIENT)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "server.address": "localhost",
        "gen_ai.response.model": "gpt-2",
        "gen_ai.response.id": "id-7",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.cache_write.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "gen_ai.response.time_to_first_chunk": 0.5,
    }


def test_a_failed_call_bears_its_error_on_span_and_series_alike(fresh, spans):
    begin(fresh).end(ConnectionError("gone"))

    [span] = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ConnectionError"
    assert fresh.value("gen_ai_client_operation_duration_seconds_count", **CLIENT, error_type="ConnectionError") == 1


def test_an_exemplar_joins_a_call_with_its_span(fresh, spans):
    begin(fresh).end()

    [span] = spans.get_finished_spans()
    families = {family.name: family for family in fresh.registry.collect()}
    exemplars = [sample.exemplar for sample in families["gen_ai_client_operation_duration_seconds"].samples if sample.exemplar]
    assert [exemplar.labels["span_id"] for exemplar in exemplars] == [f"{span.context.span_id:016x}"]
