"""What LM calls cost: by the user's own table, by what the framework told, or by genai-prices, in this order.

genai-prices takes a quarter of a second to load, so that happens when the first call is priced, which the drain does: no host's
call waits for it. Prices are those of the package that is installed; nothing is fetched.
"""

from __future__ import annotations

import functools
import json
import math
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.fork_gate import load
from agentgauge.recording.answer import Answer
from agentgauge.recording.providers import provider_name
from agentgauge.targets import Price

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from agentgauge.recording.spendings import Spending

__all__ = ["Price", "Prices", "read_table"]

_MILLION = 1_000_000
_MOST_REMEMBERED = 1_000
_EXAMPLE = '{"gpt-4o": {"input_usd_per_million": 2.5, "output_usd_per_million": 10}}'

_PROVIDERS = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gen_ai": "google",
    "x_ai": "x-ai",
}
"""OpenTelemetry's and LiteLLM's names of providers that genai-prices does not know: it knows the others by a part of them."""

_OWN_MACHINES = frozenset(
    {
        "hosted_vllm",
        "llama_cpp",
        "llamacpp",
        "llamafile",
        "lm_studio",
        "lmstudio",
        "ollama",
        "ollama_chat",
        "sglang",
        "tgi",
        "vllm",
    }
)
"""Providers that are programs: what a model costs there is not what it costs where it is sold."""


class Prices:
    """What is known of prices; ``price`` is what the recorder asks for each LM call, in whatever thread drains."""

    def __init__(self, table: Mapping[str, Price] | None = None, of_file: Mapping[str, Price] | None = None) -> None:
        """Take the user's own prices, by ``model`` or ``provider/model``, whatever the case.

        Args:
            table: Those that the program gives.
            of_file: Those of a file; ``table`` wins over them.

        Raises:
            ConfigurationError: One of them has two prices for a name.
        """
        self._table = {**_by_name("prices_file", of_file or {}), **_by_name("prices", table or {})}
        self._sold = _SoldPrices()
        self._known = functools.lru_cache(maxsize=_MOST_REMEMBERED)(self._look_up)

    def price(self, spending: Spending) -> float | None:
        """Return what a call cost in US dollars, None where that is not known."""
        answer = spending.answer
        if answer.is_cache_hit:
            return 0.0
        provider, models, own = self._known(spending.provider, answer.response_model or "", spending.request_model)
        if own is not None and _is_told(own, answer):
            return _cost(own, answer)
        told = answer.cost_usd
        if told is not None and 0 <= told < math.inf:
            return told
        return None if own is not None else self._sold.cost(provider, models, answer)

    def _look_up(self, provider: str, response_model: str, request_model: str) -> tuple[str, tuple[str, ...], Price | None]:
        """Return provider and models as prices are looked for, and the user's own price."""
        provider = provider_name(provider)
        # What answered first: an alias or a deployment is what was asked for, and a bill names what it stood for.
        models = tuple(filter(None, dict.fromkeys(name.strip().lower() for name in (response_model, request_model))))
        own = next((self._table[name] for name in _names(provider, models) if name in self._table), None)
        return provider, models, own


def read_table(path: str | os.PathLike[str]) -> dict[str, Price]:
    """Read a table of prices: ``{"gpt-4o": {"input_usd_per_million": 2.5, "output_usd_per_million": 10}}``.

    Args:
        path: A file of JSON in UTF-8: an object of models, or of ``provider/model``, and the attributes of their ``Price``.

    Raises:
        ConfigurationError: The file cannot be read, holds anything else, or two prices for a name.
    """
    where = f"prices_file={str(path)!r}"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow to load
            table = json.load(file, object_pairs_hook=_object)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where} cannot be read: {error}; give a file of JSON such as {_EXAMPLE}") from error
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} holds no object: write {_EXAMPLE}")
    prices = {}
    for model, attributes in table.items():
        if not model.strip() or not isinstance(attributes, dict):
            raise ConfigurationError(f"{where}: {model!r}: {attributes!r} is no model with its prices: write {_EXAMPLE}")
        try:
            prices[model] = Price(**attributes)
        except (ConfigurationError, TypeError) as error:
            fault = str(error).replace("Price.__init__()", "it")
            raise ConfigurationError(f"{where}: {model!r}: {fault}; write {_EXAMPLE}") from None
    _by_name(where, prices)
    return prices


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON; of two values for one name, ``json`` keeps the last without a word."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"{name!r} is there twice")
        made[name] = value
    return made


def _by_name(where: str, table: Mapping[str, Price]) -> dict[str, Price]:
    """Return prices by names as they are looked for."""
    names: dict[str, str] = {}
    for name in table:
        other = names.setdefault(name.strip().lower(), name)
        if other != name:
            raise ConfigurationError(f"{where}: {other!r} and {name!r} are the same model, whatever the case: keep one price")
    prices = {key: table[name] for key, name in names.items()}
    for key, price in list(prices.items()):  # "gemini/gemini-2.5-pro", as it is asked for, is a model of "gcp.gemini"
        provider, slash, model = key.partition("/")
        if slash:
            prices.setdefault(f"{provider_name(provider)}/{model}", price)
    return prices


def _names(provider: str, models: tuple[str, ...]) -> Iterator[str]:
    """Yield what a table may call the models, the most exact first."""
    for model in models:
        if provider:
            yield f"{provider}/{model}"
        yield model


def _tokens(answer: Answer) -> tuple[int, int, int, int]:
    """Return all input, and of it what was read from and written to the provider's cache; and the output."""
    read, written = max(0, answer.cache_read_tokens or 0), max(0, answer.cache_write_tokens or 0)
    # Some frameworks leave out of the input what was cached, against the conventions: it was paid for all the same.
    return max(answer.input_tokens or 0, read + written), read, written, max(0, answer.output_tokens or 0)


def _is_told(price: Price, answer: Answer) -> bool:
    """Tell whether all that costs something was counted: of an embedding, whose output has no price, the input suffices."""
    is_input_free = not (price.input_usd_per_million or price.cache_read_usd_per_million or price.cache_write_usd_per_million)
    return (answer.input_tokens is not None or is_input_free) and (
        answer.output_tokens is not None or not price.output_usd_per_million
    )


def _cost(price: Price, answer: Answer) -> float:
    tokens, read, written, output = _tokens(answer)
    plain = price.input_usd_per_million
    read_price = plain if price.cache_read_usd_per_million is None else price.cache_read_usd_per_million
    write_price = plain if price.cache_write_usd_per_million is None else price.cache_write_usd_per_million
    of_input = (tokens - read - written) * plain + read * read_price + written * write_price
    return (of_input + output * price.output_usd_per_million) / _MILLION


class _SoldPrices:
    """What models cost where they are sold, by genai-prices; nothing is known where it is not installed."""

    def __init__(self) -> None:
        self._is_tried = False
        self._library: Any = None
        self._snapshot: Any = None
        self._found: dict[tuple[str, tuple[str, ...]], tuple[Any, Any] | Price | None] = {}

    def cost(self, provider: str, models: tuple[str, ...], answer: Answer) -> float | None:
        """Return the cost in US dollars, None where the models are not known, or not by their tokens."""
        if not self._is_tried:
            self._load()
        if self._library is None:
            return None
        snapshot = self._library.data_snapshot.get_snapshot()
        if snapshot is not self._snapshot:  # the first, or the program has its prices updated by genai-prices itself
            self._snapshot = snapshot
            self._found.clear()
        sought = provider, models
        if sought in self._found:
            found = self._found[sought]
        else:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found = {}
            entry = _find(snapshot, provider, models)
            found = self._found[sought] = None if entry is None else self._rates(*entry) or entry
        if isinstance(found, Price):
            return _cost(found, answer) if _is_told(found, answer) else None
        is_told = answer.input_tokens is not None and answer.output_tokens is not None
        return self._calculated(*found, answer) if found is not None and is_told else None

    def _load(self) -> None:
        try:
            self._library = load("genai_prices")
        except ModuleNotFoundError as missing:
            if missing.name != "genai_prices":  # it is there, but broken
                report_internal_error("prices", missing)
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with it, calls go on unpriced
            report_internal_error("prices", fault)
        self._is_tried = True

    def _rates(self, provider: Any, model: Any) -> Price | None:
        """Return what a million tokens cost, by genai-prices' own calculation; None where that depends on the time or the amount.

        That calculation takes 60 µs, the same by the rates 1.
        """
        prices = model.prices
        if type(prices) is not self._library.types.ModelPrice:  # but a list, by time of day or date
            return None
        given = {name: value for name, value in vars(prices).items() if value is not None and not name.startswith("_")}
        if "requests_kcount" in given or not all(isinstance(value, Decimal) for value in given.values()):  # by amount
            return None
        kinds = (Answer(input_tokens=_MILLION), Answer(output_tokens=_MILLION))
        parts = (Answer(_MILLION, cache_read_tokens=_MILLION), Answer(_MILLION, cache_write_tokens=_MILLION))
        costs = [self._calculated(provider, model, answer) for answer in (*kinds, *parts)]
        if None in costs:
            return None
        sent, said, read, written = costs
        return Price(
            input_usd_per_million=sent,  # type: ignore[arg-type]  # none is None
            output_usd_per_million=said,  # type: ignore[arg-type]
            cache_read_usd_per_million=read,
            cache_write_usd_per_million=written,
        )

    def _calculated(self, provider: Any, model: Any, answer: Answer) -> float | None:
        tokens, read, written, output = _tokens(answer)
        usage = self._library.Usage(input_tokens=tokens, output_tokens=output, cache_read_tokens=read, cache_write_tokens=written)
        calculated = model.calc_price(usage, provider)
        price = calculated.model_price
        if calculated.total_price == 0 and price.input_mtok is None and price.output_mtok is None:
            return 0.0 if model.id.endswith(":free") else None  # sold by the hour or the page, or nobody has written it down
        return float(calculated.total_price)


def _find(snapshot: Any, provider: str, models: tuple[str, ...]) -> tuple[Any, Any] | None:
    """Return the provider and the model of the first of the models that is known there."""
    for model, provider_id in _ways(snapshot, provider, models):
        try:
            found: tuple[Any, Any] = snapshot.find_provider_model(model, None, provider_id, None)
        except LookupError:
            continue
        return found
    return None


def _ways(snapshot: Any, provider: str, models: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Yield by which names of model and provider to look, the surest first."""
    if provider in _OWN_MACHINES:
        return
    provider_id = _seller(provider)
    is_known = False
    if provider_id:  # else the model tells whose it is; so it does behind a gateway, or a name that genai-prices does not know
        with suppress(LookupError):
            snapshot.find_provider(None, provider_id, None)
            is_known = True
    for model in models:
        prefix, slash, rest = model.partition("/")  # as LiteLLM writes it: "openai/gpt-4o"; yet some models are called so
        if slash and prefix in _OWN_MACHINES:
            return
        yield model, provider_id if is_known else None
        if slash and (not is_known or prefix == provider_id or provider_name(prefix) == provider):
            yield rest, _seller(prefix)


def _seller(provider: str) -> str:
    """Return what genai-prices calls a provider, or knows by a part of it."""
    name = provider_name(provider)
    return _PROVIDERS.get(name, name)
