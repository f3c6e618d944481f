from __future__ import annotations

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import peers_setup
from peers_measure import main
from peers_table import Peer


@pytest.fixture
def figures_of(monkeypatch, fresh):
    """Measure a made-up peer in this process: what its decorator does with the tracer and the argument is up to the test."""
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", None)

    def measured(content, record):
        def set_up(peer, exporter):
            provider = TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            trace_api._TRACER_PROVIDER = provider
            return peers_setup.SetUp(lambda function: lambda value: record(provider.get_tracer("peer"), value, function))

        monkeypatch.setitem(peers_setup._SETUPS, "made-up", set_up)
        return main(Peer("made-up", "@made_up", content, not_for={"async": "no"}), calls=20, rounds=2)

    return measured


def spanned(tracer, value, function, **attributes):
    with tracer.start_as_current_span("work", attributes=attributes):
        return function(value)


def test_a_peer_that_records_every_call_gets_figures_beside_ours_and_the_yardsticks(figures_of):
    found = figures_of("off", spanned)
    assert found["failures"] == {}
    assert set(found["nanoseconds"]["sync"]) == {"bare", "prometheus", "ours", "span", "ours, span", "peer"}


def test_a_peer_that_silently_does_nothing_is_an_error(figures_of):
    found = figures_of("off", lambda tracer, value, function: function(value))
    assert found["nanoseconds"] == {}
    assert found["failures"] == {"sync": "RuntimeError: one call was made, 0 were recorded"}


def test_a_peer_that_records_content_when_it_is_off_is_an_error(figures_of):
    found = figures_of("off", lambda tracer, value, function: spanned(tracer, value, function, argument=str(value)))
    assert found["failures"] == {"sync": "RuntimeError: content is off, and its span bears it 1 times"}


def test_a_peer_that_records_no_content_when_it_is_on_is_an_error(figures_of):
    found = figures_of("on", spanned)
    assert found["failures"] == {"sync": "RuntimeError: content is on, and its span bears it 0 times"}


def test_a_peer_that_loses_calls_while_it_is_timed_is_an_error(figures_of):
    found = figures_of("off", lambda tracer, value, function: function(value) if value == 7 else spanned(tracer, value, function))
    assert found["failures"] == {"sync": "RuntimeError: peer: 20 calls were made, 19 are held"}
