"""The tracer provider, without which frameworks that show by their GenAI spans alone show nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentgauge import catalogue
from agentgauge.config import Config
from agentgauge.doctor.finding import Finding, Status, counted, number
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.doctor.environment import Environment
    from agentgauge.doctor.page import Program

__all__ = ["SPANS", "tracer_provider"]

SPANS = "genai-spans"
_BY_SPANS = re.compile(
    r"pydantic-ai(?:-slim)?|google-adk|autogen-(?:core|agentchat|ext)|mcp|opentelemetry-instrumentation-genai-.+"
)
_FIX = (
    "Where the program uses them, set a provider at its beginning; it needs no exporter: from opentelemetry import trace; from "
    "opentelemetry.sdk.trace import TracerProvider; trace.set_tracer_provider(TracerProvider()). Or start it by "
    "opentelemetry-instrument. Pydantic AI wants Agent.instrument_all(), too. Decorators and frameworks with hooks (DSPy, "
    "LangChain, LangGraph, the OpenAI Agents SDK) need none: name those alone in AGENTGAUGE_INSTRUMENTORS (none for none), and "
    "nothing is missed here."
)


def tracer_provider(environment: Environment, program: Program) -> Finding:
    """Tell whether the program has set a tracer provider, where something that is installed or asked for shows by spans alone."""
    check = "tracer-provider"
    page = program.page
    calls = page.by_label(catalogue.INSTRUMENTOR_CALLS, catalogue.INSTRUMENTOR)
    seen = _seen(program, calls)
    if _has_provider(program, calls):
        return Finding(check, Status.OK, "The program has set a tracer provider", seen)
    if not page.samples(catalogue.BUILD_INFO):
        return Finding(check, Status.UNKNOWN, "Whether it has set a tracer provider is not shown", seen)
    named = _named(environment)
    is_asked_for = named is not None and SPANS in named
    if named is not None and not is_asked_for:
        told = environment.told("AGENTGAUGE_INSTRUMENTORS")
        return Finding(check, Status.OK, "No tracer provider is set, and nothing needs one", f"{seen}; {told}")
    installed = sorted(name for name in environment.versions if _BY_SPANS.fullmatch(name))
    if not installed and not is_asked_for:
        evidence = f"{seen}; no package that shows by GenAI spans alone is installed here"
        return Finding(check, Status.OK, "No tracer provider is set, and nothing needs one", evidence)
    evidence = f"{seen}; installed here: {environment.named(installed) or 'none of them'}"
    is_other_at_work = any(count for name, count in calls.items() if name != SPANS)
    if not is_asked_for and (is_other_at_work or installed == ["mcp"]):
        # They may be there for others' sake: the OpenAI Agents SDK, for one, brings mcp along.
        title = "No tracer provider is set: frameworks that show by GenAI spans alone would not be counted"
        return Finding(check, Status.UNKNOWN, title, evidence, _FIX)
    title = "No tracer provider is set: frameworks that show by GenAI spans alone are not counted"
    return Finding(check, Status.WARN, title, evidence, _FIX)


def _seen(program: Program, calls: Mapping[str, float]) -> str:
    share = program.page.total(catalogue.SAMPLED_TRACES)
    is_active = program.page.total(catalogue.INSTRUMENTOR_ACTIVE, instrumentor=SPANS)
    return (
        f"{catalogue.SAMPLED_TRACES.name} = {'absent' if share is None else number(share)}, "
        f"{SPANS}: {'active' if is_active else 'not active'}, {counted(calls.get(SPANS, 0), 'call')}"
    )


def _has_provider(program: Program, calls: Mapping[str, float]) -> bool:
    """Tell whether anything on the page is there by a provider alone; the share is absent for samplers that nobody knows."""
    page = program.page
    return bool(
        page.samples(catalogue.SAMPLED_TRACES)
        or calls.get(SPANS)
        or page.total(catalogue.OVERHEAD, part="spans")
        or (program.openmetrics is not None and program.openmetrics.exemplars())
    )


def _named(environment: Environment) -> tuple[str, ...] | None:
    try:
        return Config.load(environment.variables).instrumentors
    except ConfigurationError:  # the check of the settings says so
        return None
