"""What an LM call costs: whose word counts, what is not known, and who waits for the price table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import threading
from decimal import Decimal
from types import SimpleNamespace

import genai_prices
import pytest
from prometheus_client import REGISTRY

import agentgauge.prices as prices_module
from agentgauge import ConfigurationError, agent, start, stop, task
from agentgauge.errors import contained_errors
from agentgauge.instrumentors.dspy_answers import answer_of
from agentgauge.prices import Price, Prices, read_table
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.series import LmName
from agentgauge.recording.spendings import Spending, cost_as_told
from agentgauge.testing import reraise_internal_errors


@pytest.fixture(autouse=True)
def _loud():
    with reraise_internal_errors():
        yield
        stop()


ONE = '{"input_usd_per_million": 1, "output_usd_per_million": 1}'
OWN = Price(input_usd_per_million=2.0, output_usd_per_million=8.0)
CACHED = Price(
    input_usd_per_million=2.0, output_usd_per_million=8.0, cache_read_usd_per_million=0.5, cache_write_usd_per_million=3.0
)


def spending(answer, provider="openai", model="gpt-4o"):
    return Spending(answer, provider, model, model_labels=(), cost_labels=(), agents=())


def call_model(fresh, answer, provider="openai", model="gpt-4o"):
    call = LmCall(fresh.recorder, LmName("chat", provider, model), instrumentor="tests")
    call.note_answer(answer)
    call.end()


def theirs(model, provider=None, **tokens):
    return float(genai_prices.calc_price(genai_prices.Usage(**tokens), model, provider_id=provider).total_price)


# --- whose word counts ----------------------------------------------------------------------------------------------------


def test_the_user_s_own_price_wins_over_what_the_framework_told_and_that_over_genai_prices():
    answer = Answer(1_000_000, 100_000)
    told = Answer(1_000_000, 100_000, cost_usd=0.25)

    assert Prices({"gpt-4o": OWN}).price(spending(told)) == pytest.approx(2.8)
    assert Prices().price(spending(told)) == 0.25
    assert Prices().price(spending(answer)) == pytest.approx(theirs("gpt-4o", input_tokens=1_000_000, output_tokens=100_000))


def test_a_price_of_one_provider_is_for_that_provider_and_wins_over_the_model_s():
    prices = Prices({"gpt-4o": OWN, "azure.ai.openai/gpt-4o": Price(input_usd_per_million=5, output_usd_per_million=0)})
    answer = Answer(1_000_000, 0)

    assert prices.price(spending(answer, "azure.ai.openai")) == 5
    assert prices.price(spending(answer, "openai")) == 2
    assert prices.price(spending(answer, "")) == 2


def test_the_model_that_answered_is_looked_for_before_the_one_that_was_asked_for():
    dated = Price(input_usd_per_million=1, output_usd_per_million=0)
    prices = Prices({"my-deployment": OWN, "gpt-4o-2024-08-06": dated})

    assert prices.price(spending(Answer(1_000_000, 0, response_model="gpt-4o-2024-08-06"), model="my-deployment")) == 1
    assert prices.price(spending(Answer(1_000_000, 0, response_model="gpt-4o-2025-01-01"), model="my-deployment")) == 2


def test_names_are_found_whatever_their_case():
    assert Prices({" OpenAI/GPT-4o ": OWN}).price(spending(Answer(1_000_000, 0), "OPENAI", "gpt-4O")) == 2


@pytest.mark.parametrize("told", [float("nan"), float("inf"), -1.0])
def test_a_told_cost_that_is_no_amount_is_passed_over(told):
    answer = Answer(1_000_000, 0, cost_usd=told)

    assert Prices().price(spending(answer)) == pytest.approx(theirs("gpt-4o", input_tokens=1_000_000))
    assert Prices().price(spending(answer, "nobody", "nothing")) is None


def test_a_cost_that_was_told_to_be_nothing_is_nothing():
    assert Prices().price(spending(Answer(10, 10, cost_usd=0.0))) == 0.0


# --- cached tokens --------------------------------------------------------------------------------------------------------


def test_tokens_of_the_provider_s_cache_are_parts_of_the_input_with_prices_of_their_own():
    answer = Answer(1_000_000, 0, cache_read_tokens=400_000, cache_write_tokens=100_000)

    assert Prices({"gpt-4o": CACHED}).price(spending(answer)) == pytest.approx(0.5 * 2 + 0.4 * 0.5 + 0.1 * 3)
    assert Prices({"gpt-4o": OWN}).price(spending(answer)) == pytest.approx(2.0)


@pytest.mark.parametrize("cached", [(0, 0), (400, 0), (400, 100), (900, 100)])
def test_a_table_with_the_prices_of_genai_prices_costs_what_genai_prices_says(cached):
    read, written = cached
    known = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), "claude-3-5-sonnet-20241022", provider_id="anthropic")
    rates = known.model_price
    own = Price(
        input_usd_per_million=float(rates.input_mtok),
        output_usd_per_million=float(rates.output_mtok),
        cache_read_usd_per_million=float(rates.cache_read_mtok),
        cache_write_usd_per_million=float(rates.cache_write_mtok),
    )
    used = spending(
        Answer(1_000, 77, cache_read_tokens=read, cache_write_tokens=written), "anthropic", "claude-3-5-sonnet-20241022"
    )
    expected = theirs(
        "claude-3-5-sonnet-20241022",
        "anthropic",
        input_tokens=1_000,
        output_tokens=77,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )

    assert expected > 0
    assert Prices().price(used) == pytest.approx(expected)
    assert Prices({"claude-3-5-sonnet-20241022": own}).price(used) == pytest.approx(expected)


def test_cached_tokens_that_a_framework_left_out_of_the_input_are_paid_for_all_the_same():
    answer = Answer(10, 0, cache_read_tokens=1_000_000)

    assert Prices({"gpt-4o": CACHED}).price(spending(answer)) == pytest.approx(0.5)
    assert Prices().price(spending(answer)) == pytest.approx(
        theirs("gpt-4o", input_tokens=1_000_000, cache_read_tokens=1_000_000)
    )


def test_a_cache_hit_of_the_program_s_own_costs_nothing(fresh):
    start(is_server_enabled=False, collectors=(), instrumentors=(), prices={"gpt-4o": OWN})
    call_model(fresh, Answer(1_000_000, 10, is_cache_hit=True))
    call_model(fresh, Answer(1_000_000, 0))

    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt-4o") == 2
    assert Prices({"gpt-4o": OWN}).price(spending(Answer(1_000_000, is_cache_hit=True))) == 0.0


# --- names of providers and models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "seller"),
    [
        ("openai", "gpt-4o-2024-08-06", "openai"),
        ("azure.ai.openai", "gpt-4o", "azure"),
        ("azure.ai.inference", "gpt-4o", "azure"),
        ("az.ai.openai", "gpt-4o", "azure"),
        ("gcp.vertex_ai", "gemini-2.5-pro", "google"),
        ("gcp.gemini", "gemini-2.5-pro", "google"),
        ("gcp.gen_ai", "gemini-2.5-pro", "google"),
        ("google_genai", "gemini-2.5-pro", "google"),
        ("aws.bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", "aws"),
        ("x_ai", "grok-3", "x-ai"),
        ("mistral_ai", "mistral-large-latest", "mistral"),
        ("groq", "openai/gpt-oss-120b", "groq"),
        ("openai", "openai/gpt-4o", "openai"),
        ("", "openai/gpt-4o", "openai"),
        ("", "gpt-4o", "openai"),
        ("our-own-gateway", "gpt-4o", "openai"),
        ("litellm", "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", "aws"),
        ("openrouter", "openai/gpt-4o", "openrouter"),
    ],
)
def test_the_names_that_frameworks_give_to_providers_are_understood(provider, model, seller):
    found = prices_module._find(genai_prices.data_snapshot.get_snapshot(), provider, (model,))

    assert found is not None
    assert found[0].id == seller
    assert Prices().price(spending(Answer(1_000, 1_000), provider, model)) > 0


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "my-finetune"),
        ("openai", ""),
        ("", ""),
        ("nobody", "nothing"),
        ("ollama", "gpt-4o"),
        ("", "ollama/gpt-4o"),
        ("litellm", "vllm/gemini-1.5-flash"),
        ("hosted_vllm", "deepseek-chat"),
        ("azure.ai.openai", "my-deployment"),
        ("openai", "gpt-live-1"),  # sold by the hour
        ("cerebras", "qwen-3-coder-480b"),  # listed without a price
    ],
)
def test_what_is_not_known_is_not_guessed(provider, model):
    assert Prices().price(spending(Answer(1_000, 1_000), provider, model)) is None


def test_a_model_that_is_sold_for_nothing_costs_nothing():
    assert Prices().price(spending(Answer(1_000, 1_000), "openrouter", "agentica-org/deepcoder-14b-preview:free")) == 0.0


def test_an_embedding_costs_its_input():
    cost = Prices().price(spending(Answer(1_000_000), "openai", "text-embedding-3-small"))

    assert cost == pytest.approx(theirs("text-embedding-3-small", "openai", input_tokens=1_000_000))
    embedding = Price(input_usd_per_million=2, output_usd_per_million=0)
    assert Prices({"mine": embedding}).price(spending(Answer(1_000_000), "", "mine")) == 2


# --- what was counted by half ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [Answer(1_000_000), Answer(None, 1_000_000), Answer(cache_read_tokens=5, output_tokens=1)])
def test_a_call_of_which_one_half_was_not_counted_is_unpriced_unless_the_framework_told_its_cost(half):
    told = half._replace(cost_usd=0.25)
    by_amount = genai_prices.data_snapshot.get_snapshot().find_provider_model("gemini-2.5-pro", None, "google", None)[1]
    assert not all(isinstance(rate, Decimal | None) for rate in vars(by_amount.prices).values())

    for prices in (Prices(), Prices({"gpt-4o": CACHED})):
        assert prices.price(spending(half)) is None
        assert prices.price(spending(told)) == 0.25
        assert prices.price(spending(half, "google", "gemini-2.5-pro")) is None


def test_half_a_count_suffices_where_the_other_half_has_no_price():
    said = Price(input_usd_per_million=0, output_usd_per_million=8)
    stored = Price(input_usd_per_million=0, output_usd_per_million=8, cache_write_usd_per_million=1)

    assert Prices({"gpt-4o": said}).price(spending(Answer(None, 1_000_000))) == 8
    assert Prices({"gpt-4o": said}).price(spending(Answer(1_000_000))) is None
    assert Prices({"gpt-4o": stored}).price(spending(Answer(None, 1_000_000))) is None


def test_a_call_that_was_counted_by_half_is_counted_as_unpriced(fresh):
    start(is_server_enabled=False, collectors=(), instrumentors=(), prices={"gpt-4o": OWN})
    call_model(fresh, Answer(1_000_000))

    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_request_model="gpt-4o", gen_ai_provider_name="openai") == 1
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt-4o") is None


def attempt(cost, usage=(10, 1)):
    """Make what DSPy knows of an attempt."""
    told = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=False))
    return SimpleNamespace(usage=told, cost=cost, responses=(), raw=None, cache_hit=False, response_model="gpt-4o", outputs=[])


def test_attempts_in_dspy_have_a_cost_where_each_of_them_tells_its_own():
    assert answer_of([attempt(0.01), attempt(0.02)]).cost_usd == pytest.approx(0.03)
    some = answer_of([attempt(0.01), attempt(None)])
    assert (some.input_tokens, some.output_tokens, some.cost_usd) == (20, 2, None)
    assert Prices({"gpt-4o": OWN}).price(spending(some)) == pytest.approx((20 * 2 + 2 * 8) / 1_000_000)
    # A model that asked two others, and told nothing of its own.
    assert answer_of([attempt(None, ())], [attempt(0.01), attempt(0.02)]).cost_usd == pytest.approx(0.03)
    assert answer_of([attempt(None, ())], [attempt(0.01), attempt(None)]).cost_usd is None
    assert answer_of([], [attempt(0.5)]).cost_usd == 0.5
    assert answer_of([attempt(0.25)]).cost_usd == 0.25


# --- what is remembered ---------------------------------------------------------------------------------------------------


def test_a_model_is_searched_for_once_whether_it_is_known_or_not(monkeypatch):
    searched = []
    find = prices_module._find
    monkeypatch.setattr(prices_module, "_find", lambda *asked: searched.append(asked[1:]) or find(*asked))
    prices = Prices()

    for _ in range(3):
        prices.price(spending(Answer(10, 1)))
        prices.price(spending(Answer(10, 1), "nobody", "nothing"))

    assert searched == [("openai", ("gpt-4o",)), ("nobody", ("nothing",))]


def test_what_is_remembered_is_bounded_whatever_the_program_calls_its_models(monkeypatch):
    monkeypatch.setattr(prices_module, "_MOST_REMEMBERED", 5)
    prices = Prices()

    for number in range(23):
        assert prices.price(spending(Answer(10, 1), "nobody", f"model-{number}")) is None
    assert prices.price(spending(Answer(10, 1))) == pytest.approx(theirs("gpt-4o", input_tokens=10, output_tokens=1))
    assert 1 <= len(prices._sold._found) <= 5


def test_prices_that_the_program_has_genai_prices_update_are_used_from_then_on():
    snapshot = genai_prices.data_snapshot
    bundled = snapshot.get_snapshot()
    prices = Prices()
    assert prices.price(spending(Answer(1_000, 0))) > 0

    snapshot.set_custom_snapshot(snapshot.DataSnapshot(providers=[], from_auto_update=False))
    try:
        assert prices.price(spending(Answer(1_000, 0))) is None
    finally:
        snapshot.set_custom_snapshot(None)
    assert snapshot.get_snapshot() is bundled
    assert prices.price(spending(Answer(1_000, 0))) > 0


# --- in the running program -----------------------------------------------------------------------------------------------


def test_costs_are_counted_for_the_agent_from_start_to_stop_and_the_told_ones_alone_after(fresh):
    @agent("writer")
    @task("write")
    def write(answer):
        call_model(fresh, answer)

    def cost():
        return fresh.value("agent_cost_usd_total", gen_ai_agent_name="writer", gen_ai_request_model="gpt-4o")

    def unpriced():
        return fresh.value("agent_lm_unpriced_calls_total", gen_ai_provider_name="openai", gen_ai_request_model="gpt-4o")

    start(is_server_enabled=False, collectors=(), instrumentors=(), prices={"openai/gpt-4o": OWN})
    write(Answer(1_000_000, 0))
    assert (cost(), unpriced()) == (2, None)
    assert fresh.value("agent_subtree_cost_usd_total", gen_ai_agent_name="writer") == 2
    write(Answer(500_000, 0))
    stop()
    assert (cost(), unpriced()) == (3, None)

    assert fresh.recorder.spendings.price is cost_as_told
    write(Answer(1_000_000, 0))
    write(Answer(1_000_000, 0, cost_usd=0.5))
    assert (cost(), unpriced()) == (3.5, 1)


def test_a_call_that_ends_while_stop_is_at_work_has_the_price_of_the_table(fresh, monkeypatch):
    unregister = REGISTRY.unregister
    ended = []

    def call_and_unregister(collector):  # when the thread that drains has ended
        call_model(fresh, Answer(1_000_000, 0))
        ended.append(collector)
        unregister(collector)

    monkeypatch.setattr(REGISTRY, "unregister", call_and_unregister)
    start(is_server_enabled=False, collectors=(), instrumentors=(), prices={"gpt-4o": OWN})
    open_call = LmCall(fresh.recorder, LmName("chat", "openai", "gpt-4o"), instrumentor="tests", is_beside=True)
    stop()
    assert len(ended) >= 1
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt-4o") == 2 * len(ended)
    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_request_model="gpt-4o", gen_ai_provider_name="openai") is None

    open_call.note_answer(Answer(1_000_000, 0))
    open_call.end()
    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_request_model="gpt-4o", gen_ai_provider_name="openai") == 1


def test_an_unknown_model_is_counted_at_each_call_and_costs_nothing(fresh):
    start(is_server_enabled=False, collectors=(), instrumentors=())
    for _ in range(3):
        call_model(fresh, Answer(1_000, 10), "nobody", "nothing")

    labels = {"gen_ai_request_model": "nothing"}
    assert fresh.value("agent_lm_unpriced_calls_total", gen_ai_provider_name="nobody", **labels) == 3
    assert fresh.value("agent_cost_usd_total", **labels) is None


def test_the_drain_loads_the_price_table_and_no_call_of_the_host_s_does(fresh, monkeypatch):
    threads = []
    load = prices_module.load
    monkeypatch.setattr(prices_module, "load", lambda name: threads.append(threading.current_thread().name) or load(name))
    # Nothing drains in this hour but the thread of this test's own.
    start(is_server_enabled=False, collectors=(), instrumentors=(), drain_interval_seconds=3600)

    for _ in range(5_000):  # past the length at which a caller helps to drain
        call_model(fresh, Answer(1_000, 10))
    assert threads == []
    drain = threading.Thread(target=fresh.recorder.drain, name="drain")
    drain.start()
    drain.join()

    assert threads == ["drain"]
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt-4o") == pytest.approx(
        5_000 * theirs("gpt-4o", input_tokens=1_000, output_tokens=10)
    )


def test_a_table_that_knows_every_model_never_loads_genai_prices(monkeypatch):
    monkeypatch.setattr(prices_module, "load", pytest.fail)
    prices = Prices({"gpt-4o": OWN})

    assert prices.price(spending(Answer(1_000_000, 0))) == 2
    assert prices.price(spending(Answer(10, cost_usd=1.0), model="other")) == 1


def test_the_program_starts_without_loading_genai_prices():
    program = """
        import sys
        import agentgauge
        agentgauge.start(is_server_enabled=False, collectors=())
        print("genai_prices" in sys.modules)
        agentgauge.stop()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]


def test_without_genai_prices_the_own_table_and_told_costs_remain(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    prices = Prices({"mine": OWN})

    # None in sys.modules makes a ModuleNotFoundError; that it is missing is no fault, or it would be raised here.
    assert prices.price(spending(Answer(1_000_000, 0))) is None
    assert prices.price(spending(Answer(1_000_000, 0), model="mine")) == 2
    assert prices.price(spending(Answer(1_000_000, cost_usd=0.1))) == 0.1


def test_a_broken_genai_prices_is_one_fault_and_tried_once(fresh, monkeypatch):
    tries = []

    def fail(name):
        tries.append(name)
        raise ImportError("cannot import name 'x' from 'pydantic'")

    monkeypatch.setattr(prices_module, "load", fail)
    monkeypatch.setattr(contained_errors, "is_reraising", False)
    prices = Prices()

    assert [prices.price(spending(Answer(1_000_000, 0))) for _ in range(3)] == [None, None, None]
    assert tries == ["genai_prices"]
    assert fresh.value("agentgauge_internal_errors_total", hook="prices") == 1


def test_pricing_fetches_nothing(monkeypatch):
    def refuse(*_arguments, **_options):
        pytest.fail("a connection")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    before = set(threading.enumerate())
    assert Prices().price(spending(Answer(1_000, 0))) > 0
    assert set(threading.enumerate()) <= before


# --- settings -------------------------------------------------------------------------------------------------------------


def test_a_file_of_prices_is_read_and_the_argument_wins_over_it(fresh, tmp_path, monkeypatch):
    path = tmp_path / "prices.json"
    path.write_text(
        json.dumps(
            {
                "gpt-4o": {"input_usd_per_million": 100, "output_usd_per_million": 100},
                "local": {"input_usd_per_million": 0.5, "output_usd_per_million": 0, "cache_read_usd_per_million": None},
            }
        )
    )
    monkeypatch.setenv("AGENTGAUGE_PRICES_FILE", str(path))
    start(is_server_enabled=False, collectors=(), instrumentors=(), prices={"GPT-4o": OWN})

    call_model(fresh, Answer(1_000_000, 0))
    call_model(fresh, Answer(1_000_000, 0), "vllm", "local")

    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt-4o") == 2
    assert fresh.value("agent_cost_usd_total", gen_ai_request_model="local") == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"cannot be read: .*; give a file of JSON such as"),
        ("\ud800", r"cannot be read: "),
        ("[" * 100_000, r"cannot be read: "),
        ("[]", r"holds no object: write"),
        (f'{{"M": {ONE}, "n": {ONE}, " m": {ONE}}}', r"'M' and ' m' are the same model, whatever the case: keep one price"),
        (f'{{"m": {ONE}, "m": {ONE}}}', r"cannot be read: 'm' is there twice"),
        ('{"m": {"input_usd_per_million": 1, "input_usd_per_million": 2, "output_usd_per_million": 1}}', r"is there twice"),
        ('{"gpt-4o": 5}', r"'gpt-4o': 5 is no model with its prices"),
        ('{" ": {}}', r"' ': \{\} is no model with its prices"),
        ('{"gpt-4o": {}}', r"'gpt-4o': it missing 2 required keyword-only arguments: 'input_usd_per_million'"),
        (
            '{"gpt-4o": {"input_usd_per_million": 1, "output_usd_per_million": 1, "cache": 1}}',
            r"'gpt-4o': it got an unexpected keyword argument 'cache'",
        ),
        (
            '{"gpt-4o": {"input_usd_per_million": -1, "output_usd_per_million": 1}}',
            r"'gpt-4o': Price\(input_usd_per_million=-1\): give US dollars",
        ),
        (
            '{"gpt-4o": {"input_usd_per_million": NaN, "output_usd_per_million": 1}}',
            r"'gpt-4o': Price\(input_usd_per_million=nan\)",
        ),
    ],
)
def test_a_file_that_cannot_work_is_refused_before_anything_starts(text, message, tmp_path):
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    threads = set(threading.enumerate())

    with pytest.raises(ConfigurationError, match=rf"^prices_file='{re.escape(str(path))}'.*{message}"):
        start(port=0, prices_file=str(path))
    assert set(threading.enumerate()) <= threads
    with pytest.raises(ConfigurationError, match=message):
        read_table(path)


def test_two_prices_for_one_name_are_refused_before_anything_starts():
    threads = set(threading.enumerate())

    with pytest.raises(ConfigurationError, match=r"^prices: 'M' and 'm' are the same model, whatever the case: keep one price$"):
        start(port=0, prices={"M": OWN, "m": CACHED})
    assert set(threading.enumerate()) <= threads


def test_a_second_start_with_other_prices_is_refused():
    start(is_server_enabled=False, collectors=(), instrumentors=(), prices={"gpt-4o": OWN})
    start(prices={"gpt-4o": Price(input_usd_per_million=2, output_usd_per_million=8)})
    with pytest.raises(ConfigurationError, match="start\\(\\) was called before with another prices"):
        start(prices={"gpt-4o": CACHED})


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan"), "2", True])
@pytest.mark.parametrize("part", ["input", "output", "cache_read", "cache_write"])
def test_a_price_that_is_no_amount_is_refused_by_its_name(part, value):
    whole = {"input_usd_per_million": 1, "output_usd_per_million": 1, f"{part}_usd_per_million": value}

    with pytest.raises(ConfigurationError, match=rf"^Price\({part}_usd_per_million=.*give US dollars for a million tokens"):
        Price(**whole)


def test_a_price_needs_its_two_main_parts():
    with pytest.raises(ConfigurationError, match="input_usd_per_million=None"):
        Price(input_usd_per_million=None, output_usd_per_million=1)
    with pytest.raises(TypeError, match="output_usd_per_million"):
        Price(input_usd_per_million=1)
    assert Price(input_usd_per_million=0, output_usd_per_million=0).cache_read_usd_per_million is None
