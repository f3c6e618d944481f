"""One provider has one name, whichever framework reports the call, and its models are priced under it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import dspy
import genai_prices
import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from opentelemetry import trace

from agentgauge import ConfigurationError
from agentgauge.instrumentors import langchain
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import SpanListener
from agentgauge.instrumentors.kit import Kit
from agentgauge.prices import Price, Prices
from agentgauge.recording.answer import Answer
from agentgauge.recording.lm_call import clean_lm_name
from agentgauge.recording.spendings import Spending
from agentgauge.testing import reraise_internal_errors
from tests.instrumentors.dspy_programs import Engine, instrumented, lm_of

ONLY_INPUT = Answer(1_000_000, 0)
USED = {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14}


class Chat(FakeMessagesListChatModel):
    asked: tuple[str, str] = ("", "")

    def _get_ls_params(self, *_: Any, **__: Any) -> Any:
        return {"ls_provider": self.asked[0], "ls_model_name": self.asked[1], "ls_model_type": "chat"}


def ask_by_dspy(_recorder, provider, model):
    with instrumented():
        lm_of(Engine(), model=f"{provider}/{model}")("hello")


def ask_by_langchain(recorder, provider, model):
    with ExitStack() as undo:
        langchain.instrument(Kit("langchain", recorder, Content(), undo))
        Chat(asked=(provider, model), responses=[AIMessage("yes", usage_metadata=USED)]).invoke("hello")


def tell_by_span(recorder, provider, model):
    listener = SpanListener(recorder, "genai-spans")
    listener.open()
    try:
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.system": provider, "gen_ai.request.model": model}
        used = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 4}
        trace.get_tracer("theirs").start_span("chat", attributes={**attributes, **used}).end()
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("name", "model", "by_dspy", "by_langchain", "by_span"),
    [
        ("openai", "gpt-4o", "openai", "openai", "openai"),
        ("gcp.gemini", "gemini-2.5-flash", "gemini", "google_genai", "gemini"),
        ("gcp.vertex_ai", "gemini-2.5-flash", "vertex_ai", "google_vertexai", "vertex_ai"),
        ("azure.ai.openai", "gpt-4o", "azure", "azure", "az.ai.openai"),
        ("azure.ai.inference", "gpt-4o", "azure_ai", "azure_ai", "az.ai.inference"),
        ("mistral_ai", "mistral-large-latest", "mistral", "mistralai", "mistral_ai"),
        ("x_ai", "grok-3", "xai", "xai", "xai"),
    ],
)
def test_a_provider_has_one_name_and_its_model_one_price(fresh, spans, name, model, by_dspy, by_langchain, by_span):
    fresh.recorder.spendings.price, before = Prices().price, fresh.recorder.spendings.price
    try:
        with reraise_internal_errors():
            ask_by_dspy(fresh.recorder, by_dspy, model)
            ask_by_langchain(fresh.recorder, by_langchain, model)
            tell_by_span(fresh.recorder, by_span, model)
        samples = [sample for family in fresh.registry.collect() for sample in family.samples]
    finally:
        fresh.recorder.spendings.price = before

    calls = [sample for sample in samples if sample.name == "gen_ai_client_operation_duration_seconds_count" and sample.value]
    assert sum(sample.value for sample in calls) == 3
    assert {sample.labels["gen_ai_provider_name"] for sample in calls} == {name}
    assert {sample.labels["gen_ai_request_model"] for sample in calls} == {model}
    assert not [sample for sample in samples if sample.name == "agent_lm_unpriced_calls_total" and sample.value]
    spent = sum(sample.value for sample in samples if sample.name == "agent_cost_usd_total")
    assert spent > 0
    told = [
        span.attributes["gen_ai.provider.name"]
        for span in spans.get_finished_spans()
        if span.attributes.get("gen_ai.provider.name")
    ]
    assert told == [name, name]  # of our own; those of others stay as they are


def spending(provider, model, answer=ONLY_INPUT):
    name = clean_lm_name("chat", provider, model)
    return Spending(answer, name.provider, name.request_model, model_labels=(), cost_labels=(), agents=())


@pytest.mark.parametrize(
    ("told", "model", "seller"),
    [
        ("gemini", "gemini-2.5-flash", "google"),
        ("vertex_ai", "gemini-2.5-flash", "google"),
        ("google", "gemini-2.5-flash", "google"),
        ("azure", "gpt-4o", "azure"),
        ("azure_ai", "gpt-4o", "azure"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", "aws"),
        ("mistral", "mistral-large-latest", "mistral"),
        ("cohere_chat", "command-r-plus", "cohere"),
        ("groq", "openai/gpt-oss-120b", "groq"),
        ("deepseek", "deepseek-chat", "deepseek"),
        ("perplexity", "sonar-pro", "perplexity"),
        ("xai", "grok-3", "x-ai"),
        ("gemini", "gemini/gemini-2.5-flash", "google"),
        ("azure", "azure/gpt-4o", "azure"),
        ("xai", "xai/grok-3", "x-ai"),
    ],
)
def test_models_are_found_at_their_seller_under_the_conventions_names(told, model, seller):
    answer = Answer(1_000, 500)
    usage = genai_prices.Usage(input_tokens=1_000, output_tokens=500)
    bare = model.removeprefix(f"{told}/")
    expected = genai_prices.calc_price(usage, bare, provider_id=seller).total_price

    assert Prices().price(spending(told, model, answer)) == pytest.approx(float(expected))


@pytest.mark.parametrize("key", ["gemini/flash", "gcp.gemini/flash", "google_genai/flash", "Gemini/Flash", "flash"])
def test_a_table_may_name_a_provider_as_the_program_does_or_as_the_series_do(key):
    assert Prices({key: Price(input_usd_per_million=2, output_usd_per_million=0)}).price(spending("gemini", "flash")) == 2


def test_of_two_names_for_a_provider_the_one_of_the_series_wins_and_the_program_s_table_over_the_file_s():
    one, other = (Price(input_usd_per_million=usd, output_usd_per_million=0) for usd in (1, 2))

    assert Prices({"gemini/flash": one, "gcp.gemini/flash": other}).price(spending("gemini", "flash")) == 2
    assert Prices({"gemini/flash": one}, {"gcp.gemini/flash": other}).price(spending("gemini", "flash")) == 1
    assert Prices({"gemini/flash": one}).price(spending("vertex_ai", "flash")) is None
    with pytest.raises(ConfigurationError, match="the same model"):
        Prices({"gemini/flash": one, "Gemini/flash": other})


def test_dspy_still_asks_the_provider_by_its_own_name(fresh):
    engine = Engine()
    with instrumented():
        lm = lm_of(engine, model="gemini/gemini-2.5-flash")
        lm("hello")

    assert lm.model == "gemini/gemini-2.5-flash"
    assert isinstance(lm, dspy.LM)
    assert engine.served == 1
