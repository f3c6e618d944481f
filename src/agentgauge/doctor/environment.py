"""Checks of the environment that doctor runs in: what is installed, and how it is set up."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, entry_points, requires
from typing import TYPE_CHECKING

from agentgauge.config import Config, is_disabled
from agentgauge.doctor.finding import Finding, Status, counted, listed
from agentgauge.errors import ConfigurationError
from agentgauge.instrumentors.roster import FRAMEWORKS
from agentgauge.prices import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.instrumentors.roster import Framework

__all__ = ["ENVIRONMENT_CHECKS", "Environment", "survey"]

_OPENLLMETRY = (
    "openai|openai-agents|anthropic|bedrock|cohere|crewai|google-generativeai|groq|haystack|langchain|llamaindex|mcp|mistralai|"
    "ollama|replicate|sagemaker|together|transformers|vertexai|watsonx"
)
_OTHERS = re.compile(
    r"opentelemetry-instrumentation-.*genai.*|openinference-instrumentation-.+|traceloop-sdk|openlit|logfire|langfuse|agentops|"
    rf"opentelemetry-instrumentation-(?:{_OPENLLMETRY})"
)
_PROVIDER_SETTERS = ("logfire", "langfuse", "openlit", "traceloop-sdk", "agentops", "arize-phoenix-otel", "opentelemetry-distro")
_LOADED_BY_ENTRY_POINT = ("opentelemetry_distro", "opentelemetry_configurator")
_MINIMUM = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)")
_WORKERS = re.compile(r"(?:--workers|--processes|-w)[ =]?(\d+)")


@dataclass(frozen=True)
class Environment:
    """What is known of the environment.

    Attributes:
        variables: The environment's variables.
        versions: What is installed: versions by names in lower case with dashes.
    """

    variables: Mapping[str, str]
    versions: Mapping[str, str]

    def named(self, names: list[str]) -> str:
        """List packages with their versions."""
        return listed(f"{name} {self.versions[name]}" for name in sorted(names))

    def told(self, *variables: str) -> str:
        """Quote those of ``variables`` that are set."""
        return ", ".join(f"{name}={self.variables[name]}" for name in variables if self.variables.get(name))


def survey() -> Environment:
    """Look at this environment."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        metadata = distribution.metadata  # parsed anew whenever it is asked for
        if metadata["Name"] and metadata["Version"]:  # else an uninstallation left only a folder
            versions.setdefault(_normal(metadata["Name"]), metadata["Version"])
    return Environment(os.environ, versions)


def core_versions(environment: Environment) -> Finding:
    """Compare the packages that agentgauge needs with the versions that it needs."""
    check = "core-versions"
    try:
        wanted = [match for line in requires("agentgauge") or () if ";" not in line and (match := _MINIMUM.match(line))]
    except PackageNotFoundError:
        return Finding(
            check, Status.UNKNOWN, "Which versions agentgauge needs is not told", "agentgauge is no installed distribution here"
        )
    seen, bad = [], []
    for match in wanted:
        name, minimum = _normal(match[1]), match[2]
        version = environment.versions.get(name)
        seen.append(f"{name} {version or 'missing'} (>={minimum})")
        if version is None or _numbers(version) < _numbers(minimum):
            bad.append(f"{name}>={minimum}")
    if bad:
        fix = "pip install -U " + " ".join(f"'{each}'" for each in bad)
        return Finding(check, Status.FAIL, "A package that agentgauge needs is missing or too old", listed(seen), fix)
    return Finding(check, Status.OK, "The packages that agentgauge needs are recent enough", listed(seen))


def framework_versions(environment: Environment) -> Finding:
    """Compare installed frameworks with the oldest versions that can be instrumented."""
    check = "frameworks"
    seen: list[str] = []
    problems: list[str] = []
    for framework in _frameworks():
        version = environment.versions.get(_normal(framework.distribution))
        if version is not None:
            seen.append(f"{framework.distribution} {version} (>={framework.minimum_version})")
            problems += filter(None, [framework.problem()])
    if problems:
        return Finding(check, Status.FAIL, "A framework is too old to be instrumented", listed(seen), "; ".join(problems))
    if not seen:
        names = ", ".join(framework.name for framework in _frameworks())
        title = "No framework that is instrumented by itself is installed"
        return Finding(check, Status.OK, title, f"none of {names}: decorators and agentgauge.track measure plain Python")
    return Finding(check, Status.OK, "The installed frameworks can be instrumented", listed(seen))


def other_instrumentation(environment: Environment) -> Finding:
    """Look for packages that see the same calls as we do."""
    check = "double-instrumentation"
    others = [name for name in environment.versions if _OTHERS.fullmatch(name)]
    if not others:
        return Finding(
            check,
            Status.OK,
            "Nothing else that instruments the same calls is installed",
            counted(len(environment.versions), "package"),
        )
    return Finding(
        check,
        Status.WARN,
        "Other packages that instrument the same calls are installed",
        environment.named(others),
        "Let one of them make spans and metrics of each framework: name ours with instrumentors=(...), or switch the others off. "
        "agentgauge counts a call once all the same; agentgauge_calls_suppressed_total shows what it left to another layer.",
    )


def provider_conflicts(environment: Environment) -> Finding:
    """Look for more than one package that sets the global tracer provider: the first one wins, the others are ignored."""
    check = "provider-conflicts"
    setters = [name for name in _PROVIDER_SETTERS if name in environment.versions]
    loaded = {group: [point.name for point in entry_points(group=group)] for group in _LOADED_BY_ENTRY_POINT}
    rivals = [f"{group}: {', '.join(sorted(names))}" for group, names in loaded.items() if len(names) > 1]
    if len(setters) > 1 or rivals:
        return Finding(
            check,
            Status.WARN,
            "Several packages want to set the one tracer provider",
            listed(filter(None, [environment.named(setters), *rivals])),
            "OpenTelemetry keeps the first provider that is set and ignores the others: set it once, in the program, and give "
            "each backend a span processor of it.",
        )
    told = environment.told("OTEL_PYTHON_TRACER_PROVIDER")
    evidence = listed(filter(None, [environment.named(setters), told])) or "no package that sets one is installed"
    return Finding(check, Status.OK, "At most one package sets the tracer provider", evidence)


def prometheus_exporter(environment: Environment) -> Finding:
    """Look for OpenTelemetry's own exporter: it writes the gen_ai families of other instrumentation into the same registry."""
    check = "prometheus-exporter"
    name = "opentelemetry-exporter-prometheus"
    told = environment.told("OTEL_METRICS_EXPORTER")
    version = environment.versions.get(name)
    if version is None:
        return Finding(check, Status.OK, "No other exporter writes to the registry", f"{name} is not installed")
    if "prometheus" in told:
        return Finding(
            check,
            Status.FAIL,
            "OpenTelemetry's exporter takes the same port and the same registry",
            f"{name} {version}, {told}",
            "Set OTEL_METRICS_EXPORTER=none: agentgauge exports these metrics, with exemplars.",
        )
    return Finding(
        check,
        Status.WARN,
        "OpenTelemetry's exporter to Prometheus is installed",
        f"{name} {version}",
        "A PrometheusMetricReader writes the gen_ai families of other instrumentation into prometheus_client's registry, beside "
        "ours: leave it out, or start agentgauge with a registry of its own.",
    )


def multiprocess_directory(environment: Environment) -> Finding:
    """Look for the multi-process mode of prometheus_client, which does not see our series."""
    check = "multiprocess-directory"
    told = environment.told("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
    if told:
        return Finding(
            check,
            Status.WARN,
            "prometheus_client runs in its multi-process mode",
            told,
            "A page made by its MultiProcessCollector lacks agentgauge's series: scrape each process, or unset the variable.",
        )
    return Finding(check, Status.OK, "prometheus_client runs in its normal mode", "PROMETHEUS_MULTIPROC_DIR is not set")


def workers(environment: Environment) -> Finding:
    """Look for servers that fork workers: one of them serves the port, the others are not seen."""
    check = "workers"
    counts = {
        name: int(text)
        for name in ("WEB_CONCURRENCY", "UVICORN_WORKERS")
        if (text := environment.variables.get(name, "")).isdecimal()
    }
    for name in ("GUNICORN_CMD_ARGS",):
        if match := _WORKERS.search(environment.variables.get(name, "")):
            counts[name] = int(match[1])
    told = environment.told(*counts)
    if max(counts.values(), default=1) > 1:
        return Finding(
            check,
            Status.WARN,
            "A server is told to fork several workers",
            told,
            "One worker serves /metrics, the calls of the others are not on its page: run one worker a container, or give each a "
            "port of its own.",
        )
    return Finding(check, Status.OK, "No server is told to fork several workers", told or "no variable says so")


def settings(environment: Environment) -> Finding:
    """Read the settings as ``start()`` would."""
    check = "settings"
    named = sorted(name for name in environment.variables if name.startswith(("AGENTGAUGE_", "OTEL_")))
    evidence = listed(named) or "no AGENTGAUGE_ or OTEL_ variable is set"  # no values: tokens and headers are among them
    try:
        config = Config.load(environment.variables)
        if config.prices_file is not None:
            read_table(config.prices_file)
        named_frameworks = config.instrumentors or ()
        unknown = [name for name in named_frameworks if name not in FRAMEWORKS]
        problems = [f"instrumentors: {name!r} is unknown; give any of {', '.join(FRAMEWORKS)}" for name in unknown]
        problems += [problem for name in named_frameworks if name in FRAMEWORKS and (problem := FRAMEWORKS[name].problem())]
    except ConfigurationError as error:
        problems = [str(error)]
    if problems:
        return Finding(check, Status.FAIL, "agentgauge.start() refuses these settings", evidence, "; ".join(problems))
    if is_disabled():
        return Finding(
            check,
            Status.WARN,
            "agentgauge is switched off",
            environment.told("AGENTGAUGE_DISABLED"),
            "Every decorator is a pass-through and nothing is served: unset AGENTGAUGE_DISABLED.",
        )
    return Finding(check, Status.OK, "The settings can work", evidence)


def sampling(environment: Environment) -> Finding:
    """Tell what a sampler hides from metrics that are made of spans."""
    check = "sampling"
    told = environment.told("OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
    missed = (
        "Frameworks that agentgauge sees only by their GenAI spans (instrumentor genai-spans: pydantic-ai, Google ADK, AutoGen, "
        "MCP and others) are counted only where their spans are sampled: sample all and let the collector drop, or decorate "
        "their calls. Decorated calls and frameworks with hooks of their own are counted whole."
    )
    if environment.variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Finding(check, Status.WARN, "Spans are switched off: no traces, no exemplars", told, missed)
    sampler = environment.variables.get("OTEL_TRACES_SAMPLER", "")
    ratio = _ratio(environment.variables.get("OTEL_TRACES_SAMPLER_ARG", ""))
    if sampler.endswith("always_off") or (sampler.endswith("traceidratio") and ratio < 1):
        share = "none" if sampler.endswith("always_off") else f"{ratio:.0%}"
        return Finding(check, Status.WARN, f"Of the traces that begin here, {share} are sampled", told, missed)
    return Finding(check, Status.OK, "No variable asks for fewer than all traces", told or "OTEL_TRACES_SAMPLER is not set")


def price_table(environment: Environment) -> Finding:
    """Look for the price table."""
    check = "price-table"
    version = environment.versions.get("genai-prices")
    if version is not None:
        return Finding(check, Status.OK, "Prices of models are known", f"genai-prices {version}")
    return Finding(
        check,
        Status.WARN,
        "No price table is installed",
        "genai-prices is missing: only costs that a framework states are counted",
        "pip install 'agentgauge[prices]'",
    )


ENVIRONMENT_CHECKS: tuple[Callable[[Environment], Finding], ...] = (
    core_versions,
    framework_versions,
    settings,
    other_instrumentation,
    provider_conflicts,
    prometheus_exporter,
    multiprocess_directory,
    workers,
    sampling,
    price_table,
)


def _frameworks() -> list[Framework]:
    return [framework for framework in FRAMEWORKS.values() if framework.distribution != "opentelemetry-sdk"]  # a core dependency


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def _ratio(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
