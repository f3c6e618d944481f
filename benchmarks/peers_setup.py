"""How each peer is set up: as its documentation says, offline, with every call sampled and an exporter that only counts.

What the peers' packages are called is known to their own environments only, so they are imported by name.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from peers_table import Peer
from subjects import work

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["PEERS", "SetUp", "set_up"]

_METRICS = "calls by result, duration"
_ENDS_TOO_EARLY = "not measured, since its span of a coroutine function ends before the body runs"

PEERS = (
    Peer("autometrics", "@autometrics", "none", is_span=False, records=_METRICS),
    Peer("autometrics", "@autometrics(track_concurrency=True)", "none", is_span=False, records=f"{_METRICS}, calls in flight"),
    Peer("openlit", "@openlit.trace", "always", not_for={"async": _ENDS_TOO_EARLY}),
    Peer("traceloop-sdk", "@task", "off", also=("httpx",)),
    Peer("traceloop-sdk", "@task", "on", also=("httpx",)),
    Peer("agentops", "@task", "always"),
    Peer("logfire", "@logfire.instrument", "off"),
    Peer("logfire", "@logfire.instrument", "on"),
    Peer("openinference-instrumentation", "@tracer.chain", "off"),
    Peer("openinference-instrumentation", "@tracer.chain", "on"),
    Peer("langfuse", "@observe", "off"),
    Peer("langfuse", "@observe", "on"),
)

_DISCARD = "http://127.0.0.1:9"  # nothing listens there, and nothing connects


@dataclass(frozen=True)
class SetUp:
    """A peer that is ready.

    Attributes:
        decorate: Its decorator.
        counted: Returns how many calls it has recorded so far, where that shows elsewhere than at the exporter.
    """

    decorate: Callable[[Any], Any]
    counted: Callable[[], int] | None = None


def set_up(peer: Peer, exporter: SpanExporter) -> SetUp:
    """Set a peer up so that its spans go to the exporter; its tracer provider is the global one afterwards."""
    return _SETUPS[peer.package](peer, exporter)


def _autometrics(peer: Peer, exporter: SpanExporter) -> SetUp:
    del exporter
    autometrics: Any = importlib.import_module("autometrics")
    autometrics.init(tracker="prometheus", service_name="bench")
    family = autometrics.get_tracker().prom_counter

    def counted() -> int:
        return int(
            sum(
                sample.value
                for metric in family.collect()
                for sample in metric.samples
                if sample.name == "function_calls_total" and sample.labels["function"].startswith(work.__name__)
            )
        )

    is_in_flight = "track_concurrency" in peer.decorator
    return SetUp(autometrics.autometrics(track_concurrency=True) if is_in_flight else autometrics.autometrics, counted)


def _openlit(peer: Peer, exporter: SpanExporter) -> SetUp:
    del peer
    _provide(exporter)
    prices = Path("no_prices.json")  # else it fetches them
    prices.write_text("{}", encoding="utf-8")
    openlit: Any = importlib.import_module("openlit")
    openlit.init(application_name="bench", pricing_json=str(prices), disable_metrics=True, disable_events=True)
    return SetUp(openlit.trace)


def _traceloop(peer: Peer, exporter: SpanExporter) -> SetUp:
    os.environ["TRACELOOP_TRACE_CONTENT"] = "true" if peer.content == "on" else "false"
    os.environ.update(TRACELOOP_TELEMETRY="false", TRACELOOP_METRICS_ENABLED="false")
    sdk: Any = importlib.import_module("traceloop.sdk")
    sdk.Traceloop.init(app_name="bench", exporter=exporter, telemetry_enabled=False, instruments=set())
    return SetUp(importlib.import_module("traceloop.sdk.decorators").task(name="work"))


def _agentops(peer: Peer, exporter: SpanExporter) -> SetUp:
    del peer
    core: Any = importlib.import_module("agentops.sdk.core")
    processors: Any = importlib.import_module("agentops.sdk.processors")
    metrics: Any = importlib.import_module("opentelemetry.sdk.metrics.export")
    # It has no setting for an exporter of one's own, and asks its service for a token before anything else.
    core.AuthenticatedOTLPExporter = lambda **_: exporter
    core.OTLPMetricExporter = lambda **_: metrics.ConsoleMetricExporter(out=Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the process
    processors.upload_logfile = lambda _: None
    core.tracer.initialize(exporter_endpoint=_DISCARD, metrics_endpoint=_DISCARD)
    return SetUp(importlib.import_module("agentops.sdk.decorators").task(name="work"))


def _logfire(peer: Peer, exporter: SpanExporter) -> SetUp:
    logfire: Any = importlib.import_module("logfire")
    logfire.configure(
        send_to_logfire=False, console=False, metrics=False, additional_span_processors=[BatchSpanProcessor(exporter)]
    )
    is_on = peer.content == "on"
    return SetUp(logfire.instrument(extract_args=is_on, record_return=is_on))


def _openinference(peer: Peer, exporter: SpanExporter) -> SetUp:
    instrumentation: Any = importlib.import_module("openinference.instrumentation")
    is_off = peer.content == "off"
    provider = instrumentation.TracerProvider(config=instrumentation.TraceConfig(hide_inputs=is_off, hide_outputs=is_off))
    _provide(exporter, provider)
    return SetUp(provider.get_tracer("bench").chain(name="work"))


def _langfuse(peer: Peer, exporter: SpanExporter) -> SetUp:
    langfuse: Any = importlib.import_module("langfuse")
    provider = TracerProvider()
    trace_api.set_tracer_provider(provider)
    langfuse.Langfuse(
        public_key="pk-lf-bench",
        secret_key="sk-lf-bench",  # noqa: S106 - of no service
        base_url=_DISCARD,
        span_exporter=exporter,
        tracer_provider=provider,
        flush_interval=3600,
    )
    is_on = peer.content == "on"
    return SetUp(langfuse.observe(name="work", capture_input=is_on, capture_output=is_on))


def _provide(exporter: SpanExporter, provider: Any = None) -> None:
    provider = provider or TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace_api.set_tracer_provider(provider)


_SETUPS: dict[str, Callable[[Peer, SpanExporter], SetUp]] = {
    "autometrics": _autometrics,
    "openlit": _openlit,
    "traceloop-sdk": _traceloop,
    "agentops": _agentops,
    "logfire": _logfire,
    "openinference-instrumentation": _openinference,
    "langfuse": _langfuse,
}
