"""What doctor says of LM calls without a price."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import agentgauge
from agentgauge.doctor import program
from agentgauge.prices import Price
from tests.doctor.conftest import ask_model


def test_lm_calls_that_all_have_a_price_are_fine(visit, fresh):
    ask_model(fresh.recorder, input_tokens=10, cost_usd=0.25)
    finding = visit()["price-coverage"]
    assert finding["status"] == "ok"
    assert finding["evidence"] == "agent_lm_unpriced_calls_total = 0 of 1 LM calls, 0.25 USD in all"


def test_models_without_a_price_are_warned_of_by_name(visit, fresh):
    ask_model(fresh.recorder, "m-1", input_tokens=10, cost_usd=0.25)
    ask_model(fresh.recorder, "m-unheard-of", input_tokens=10)
    finding = visit()["price-coverage"]
    assert finding["status"] == "warn"
    assert finding["evidence"] == "agent_lm_unpriced_calls_total = 1 of 2 LM calls"
    assert finding["fix"].endswith("acme/m-unheard-of")


def test_where_the_price_table_is_installed_the_fix_is_a_price_of_the_users_own(visit, fresh):
    ask_model(fresh.recorder, "m-unheard-of", input_tokens=10, output_tokens=10)
    fix = visit()["price-coverage"]["fix"]
    assert fix.startswith(f"genai-prices {version('genai-prices')} does not know them")
    assert "pip install" not in fix
    assert "start(prices={'MODEL': Price(" in fix
    assert "AGENTGAUGE_PRICES_FILE" in fix


def test_where_the_price_table_is_missing_the_fix_installs_it(visit, fresh, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(program, "version", missing)
    ask_model(fresh.recorder, "m-unheard-of", input_tokens=10, output_tokens=10)
    assert visit()["price-coverage"]["fix"].startswith("pip install 'agentgauge[prices]', or give your own: start(prices=")


def test_the_price_that_the_fix_asks_for_gives_the_model_a_price(serve, doctor, fresh, tmp_path):
    (tmp_path / "prices.json").write_text('{"acme/m-unheard-of": {"input_usd_per_million": 1, "output_usd_per_million": 2}}')
    for prices in (
        {"prices": {"acme/m-unheard-of": Price(input_usd_per_million=1, output_usd_per_million=2)}},
        {"prices_file": str(tmp_path / "prices.json")},
    ):
        url = serve(**prices).url
        ask_model(fresh.recorder, "m-unheard-of", input_tokens=10, output_tokens=10)
        assert doctor("--url", url).status("price-coverage") == "ok"
        agentgauge.stop()


def test_a_program_of_which_no_call_has_a_price_fails(visit, fresh):
    ask_model(fresh.recorder, "m-unheard-of", input_tokens=10)
    examined = visit()
    assert examined["price-coverage"]["status"] == "fail"
    assert examined.code == 1
