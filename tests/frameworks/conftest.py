"""Fixtures of the modules that run only where their framework is: ``with_*.py``, which ``make test`` does not collect."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import instrument
from agentgauge.instrumentors.kit import Kit
from agentgauge.testing import reraise_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentgauge.testing import Isolation


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """Set one provider for all tests: frameworks keep the tracer that they found first."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def heard(fresh: Isolation, exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """Listen to everybody's spans; they are those of the test alone."""
    exporter.clear()
    with reraise_internal_errors(), ExitStack() as undo:
        instrument(Kit("genai-spans", fresh.recorder, Content(), undo))
        yield exporter


@pytest.fixture
def total(fresh: Isolation) -> Callable[..., float]:
    """Give a function that sums up a family's samples that bear these labels."""

    def summed(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for family in fresh.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    return summed
