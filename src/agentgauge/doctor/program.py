"""Checks of a running program, by what its page shows."""

from __future__ import annotations

import math
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from agentgauge import catalogue
from agentgauge.catalogue import machine
from agentgauge.config import COLLECTOR_NAMES
from agentgauge.doctor.finding import Finding, Status, counted, listed, number
from agentgauge.doctor.provider import SPANS
from agentgauge.doctor.topology import processes
from agentgauge.errors import PROGRAM_HOOKS
from agentgauge.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.doctor.page import Program

__all__ = [
    "OVERHEAD_LIMIT",
    "PROGRAM_CHECKS",
    "dropped_events",
    "exemplars",
    "instrumentors_fired",
    "internal_errors",
    "is_agentgauge",
    "label_growth",
    "one_producer",
    "overhead",
    "price_coverage",
    "readings",
    "scrape_duration",
]

OVERHEAD_LIMIT = 0.05
_OVERHEAD_LIMIT_OF_CORE = 0.01
_SCRAPE_SECONDS = 1.0
_NEAR = 0.8
_MOST_SERIES = 10_000
_OWN_PRICES = (
    "give your own: start(prices={'MODEL': Price(input_usd_per_million=..., output_usd_per_million=...)}), with Price from "
    "agentgauge.prices, or the same as a file of JSON, in prices_file= or AGENTGAUGE_PRICES_FILE: "
    "https://github.com/agentgauge/agentgauge/blob/main/docs/prices.md"
)
_PER_LM = (catalogue.PROVIDER, catalogue.REQUEST_MODEL)


def is_agentgauge(program: Program, _limit: int) -> Finding:
    """Tell whether the page is that of a program with agentgauge, and of which version."""
    check = "answers"
    versions = [sample.labels.get("version", "") for sample in program.page.samples(catalogue.BUILD_INFO)]
    families = len(program.page.families)
    size = f"{families} {'family' if families == 1 else 'families'} at {program.url}"
    if not versions:
        fix = "Call agentgauge.start() in the program, or run it with `agentgauge run`; is it the right --url?"
        return Finding(check, Status.FAIL, "The page has no series of agentgauge", size, fix)
    evidence = f'agentgauge_build_info{{version="{versions[0]}"}}, {size}'
    if versions[0] != __version__:
        fix = "Run doctor in the program's own environment, so that it looks at the same packages."
        return Finding(check, Status.WARN, f"The program runs another version than this one, {__version__}", evidence, fix)
    return Finding(check, Status.OK, "The program answers", evidence)


def instrumentors_fired(program: Program, _limit: int) -> Finding:
    """Tell which frameworks are instrumented, and whether calls came through."""
    check = "instrumentors"
    active = program.page.by_label(catalogue.INSTRUMENTOR_ACTIVE, catalogue.INSTRUMENTOR)
    calls = program.page.by_label(catalogue.INSTRUMENTOR_CALLS, catalogue.INSTRUMENTOR)
    suppressed = program.page.by_label(catalogue.CALLS_SUPPRESSED, catalogue.INSTRUMENTOR)
    if not active:
        fix = (
            "Where the program uses a framework with hooks, it has not imported it yet, or instrumentors=(...) leaves it out. "
            "One that shows by GenAI spans alone needs a tracer provider, which loads this by itself."
        )
        title = "Nothing that can be instrumented is loaded there"
        return Finding(check, Status.UNKNOWN, title, "no agentgauge_instrumentor_active series", fix)
    seen = listed(
        f"{name}: {'active' if state else 'NOT active'}, {counted(calls.get(name, 0), 'call')}"
        for name, state in sorted(active.items())
    )
    broken = sorted(name for name, state in active.items() if not state)
    if broken:
        fix = f"The program's log says why, once: look for 'agentgauge does not instrument {broken[0]}'."
        return Finding(check, Status.FAIL, f"Loaded, but not instrumented: {', '.join(broken)}", seen, fix)
    silent = sorted(name for name in active if not calls.get(name) and not suppressed.get(name))
    if silent == [SPANS] == sorted(active):  # which any program with a tracer provider has, whatever its spans are
        fix = "Where the program uses a framework that makes GenAI spans, let it make a call, then look again."
        return Finding(check, Status.UNKNOWN, "Spans are listened to, and none was of a GenAI call", seen, fix)
    silent = [name for name in silent if name != SPANS]
    if silent:
        fix = "Let the program make a call of it, then look again; what was made before start() may hold older methods."
        return Finding(check, Status.WARN, f"Instrumented, but no call was seen: {', '.join(silent)}", seen, fix)
    return Finding(check, Status.OK, "What is instrumented has recorded calls", seen)


def suppressed_calls(program: Program, _limit: int) -> Finding:
    """Tell what was seen by two layers and counted by one."""
    check = "suppressed-calls"
    samples = [sample for sample in program.page.samples(catalogue.CALLS_SUPPRESSED) if sample.value]
    if not samples:
        return Finding(
            check, Status.OK, "No call was seen by two layers", "agentgauge_calls_suppressed_total has no series above 0"
        )
    seen = listed(
        f"{counted(sample.value, str(sample.labels.get('kind')) + ' call')} that {sample.labels.get('instrumentor')} saw and "
        f"{sample.labels.get('owner')} counts"
        for sample in samples
    )
    calls = program.page.by_label(catalogue.INSTRUMENTOR_CALLS, catalogue.INSTRUMENTOR)
    idle = sorted({name for sample in samples if not calls.get(name := sample.labels.get("instrumentor", ""))})
    if idle:
        fix = f"Nothing is lost; to save its cost, leave {', '.join(idle)} out of instrumentors=(...)."
        return Finding(check, Status.WARN, f"All that {', '.join(idle)} saw is counted by another layer", seen, fix)
    return Finding(check, Status.OK, "Calls that two layers saw were counted once", seen)


def one_producer(program: Program, _limit: int) -> Finding:
    """Look for gen_ai series that OpenTelemetry's exporter wrote beside ours."""
    check = "one-producer"
    foreign = sorted(
        {
            sample.name
            for family in program.page.families
            if family.name.startswith("gen_ai_")
            for sample in family.samples
            if any(label.startswith("otel_scope_") for label in sample.labels)
        }
    )
    if foreign:
        fix = "Leave the PrometheusMetricReader out, or start agentgauge with a registry of its own: sums over both count twice."
        return Finding(check, Status.FAIL, "A second exporter writes gen_ai series to the same page", listed(foreign), fix)
    return Finding(check, Status.OK, "The gen_ai series have one producer", "no gen_ai series bears an otel_scope_ label")


def sampled_traces(program: Program, _limit: int) -> Finding:
    """Tell what the sampler of the program hides from series that are made of spans."""
    check = "sampled-traces"
    share = program.page.total(catalogue.SAMPLED_TRACES)
    evidence = f"{catalogue.SAMPLED_TRACES.name} = {'absent' if share is None else number(share)}"
    if share is None:
        return Finding(check, Status.UNKNOWN, "No sampler that is known was seen there", evidence)
    if share < 1:
        fix = (
            "Sample all and let the collector drop, or decorate the calls: frameworks that are seen by their GenAI spans alone "
            "(instrumentor genai-spans) are counted only where those are sampled. Hooks and decorators count whole."
        )
        return Finding(check, Status.WARN, f"Of the traces that begin in the program, {share:.0%} are sampled", evidence, fix)
    return Finding(check, Status.OK, "The program samples every trace", evidence)


def exemplars(program: Program, _limit: int) -> Finding:
    """Tell whether the page leads from metrics to traces."""
    check = "exemplars"
    if program.openmetrics is None:
        fix = "Serve the page with agentgauge.start() or agentgauge's ASGI and WSGI apps: they speak OpenMetrics."
        return Finding(check, Status.WARN, "The page cannot bear exemplars", program.openmetrics_problem, fix)
    count = program.openmetrics.exemplars()
    spans = program.page.total(catalogue.OVERHEAD, part="spans") or 0.0
    evidence = f'{counted(count, "exemplar")} on the page, agentgauge_overhead_seconds_total{{part="spans"}} = {number(spans)}'
    if count:
        return Finding(check, Status.OK, "The page leads from metrics to traces", evidence)
    if spans:
        fix = (
            "Raise the share that the sampler keeps (OTEL_TRACES_SAMPLER): exemplars are made of sampled spans, and frameworks "
            "that are seen by their GenAI spans alone (instrumentor genai-spans) are counted only where those are sampled."
        )
        return Finding(check, Status.WARN, "The program makes spans, and none is sampled", evidence, fix)
    fix = "Set a tracer provider in the program: spans and exemplars come by themselves then."
    return Finding(check, Status.UNKNOWN, "No span was seen there", evidence, fix)


def label_growth(program: Program, limit: int) -> Finding:
    """Compare the distinct names that take series with the limit, and look for what grows without one."""
    check = "label-growth"
    page = program.page
    overflowed = {kind: count for kind, count in page.by_label(catalogue.SERIES_OVERFLOWED, "kind").items() if count}
    if overflowed:
        seen = listed(
            f'agentgauge_series_overflowed_total{{kind="{kind}"}} = {number(count)}' for kind, count in overflowed.items()
        )
        fix = "Look for ids or prompts in names of agents, tasks or tools; where the names are right, raise series_limit."
        return Finding(check, Status.FAIL, "A limit on distinct names was reached", seen, fix)
    pairs = {
        "tasks": _pairs(program, catalogue.TASK_DURATION, catalogue.AGENT, catalogue.TASK),
        "tools": _pairs(program, catalogue.EXECUTE_TOOL_DURATION, catalogue.AGENT, catalogue.TOOL),
        "workflows": _pairs(program, catalogue.INVOKE_WORKFLOW_DURATION, catalogue.WORKFLOW),
        "models": _pairs(program, catalogue.CLIENT_OPERATION_DURATION, *catalogue.CLIENT_OPERATION_DURATION.labels[:-1]),
    }
    used = ", ".join(f"{count} {name}" for name, count in pairs.items() if count) or "no names"
    sizes = page.series_by_family()
    largest = max(sizes, key=lambda name: sizes[name])
    evidence = (
        f"{used} of {limit} each (series_limit in this environment); the largest family is {largest} with {sizes[largest]} series"
    )
    if max(pairs.values()) >= _NEAR * limit:
        fix = "Look for ids or prompts among the names; where they are right, raise series_limit before new names go to 'other'."
        return Finding(check, Status.WARN, "Distinct names come near their limit", evidence, fix)
    if sizes[largest] > _MOST_SERIES:
        fix = f"A label of {largest} takes too many values: leave ids, urls and texts out of labels."
        return Finding(check, Status.WARN, f"A family has more than {_MOST_SERIES} series", evidence, fix)
    return Finding(check, Status.OK, "Distinct names are far from their limit", evidence)


def price_coverage(program: Program, _limit: int) -> Finding:
    """Compare the LM calls without a price with all of them."""
    check = "price-coverage"
    calls = program.page.total(catalogue.CLIENT_OPERATION_DURATION) or 0
    cost = program.page.total(catalogue.COST)
    samples = [sample for sample in program.page.samples(catalogue.LM_UNPRICED) if sample.value]
    unpriced = sum(sample.value for sample in samples)
    evidence = f"agent_lm_unpriced_calls_total = {number(unpriced)} of {number(calls)} LM calls"
    if unpriced:
        models = listed(
            "/".join(filter(None, map(sample.labels.get, _PER_LM))) for sample in sorted(samples, key=lambda s: -s.value)
        )
        fix = f"{_price_fix()} Without a price: {models}"
        status = Status.WARN if cost is not None else Status.FAIL
        return Finding(check, status, "Costs are missing: models have no price", evidence, fix)
    if cost is None:
        return Finding(check, Status.UNKNOWN, "No LM call told what it used", evidence)
    return Finding(check, Status.OK, "Every LM call that used tokens has a price", f"{evidence}, {cost:.6g} USD in all")


def internal_errors(program: Program, _limit: int) -> Finding:
    """Look for contained faults of agentgauge itself."""
    check = "internal-errors"
    by_hook = program.page.by_label(catalogue.INTERNAL_ERRORS, "hook")
    if not by_hook:
        return Finding(check, Status.UNKNOWN, "Contained faults are not shown", "no agentgauge_internal_errors_total series")
    bad = {hook: count for hook, count in by_hook.items() if count}
    if bad:
        seen = listed(f'agentgauge_internal_errors_total{{hook="{hook}"}} = {number(count)}' for hook, count in bad.items())
        fix = "The program's log has the traceback, once a minute. The program itself was not affected."
        of_program = sorted(filter(_is_of_program, bad))
        if of_program:
            fix += (
                f" Of {' and '.join(of_program)}: correct what the program did or gave there, unless the fault is agentgauge's."
            )
        if len(of_program) < len(bad):
            fix += " Of any other hook: please report it." if of_program else " Please report it."
        title = "agentgauge contained faults" + ("" if of_program else " of its own")
        return Finding(check, Status.FAIL, title, seen, fix)
    evidence = f"agentgauge_internal_errors_total = 0 ({counted(len(by_hook), 'hook')})"
    return Finding(check, Status.OK, "agentgauge had no fault of its own", evidence)


def _is_of_program(hook: str) -> bool:
    collector = hook.removeprefix("collector_").replace("_", "-")  # one that add_collector() was given, under a name of its own
    return hook in PROGRAM_HOOKS or (hook.startswith("collector_") and collector not in COLLECTOR_NAMES)


def dropped_events(program: Program, _limit: int) -> Finding:
    """Check that what was recorded is exported or in progress."""
    check = "dropped-events"
    page = program.page
    dropped, recorded = page.total(catalogue.EVENTS_DROPPED), page.total(catalogue.EVENTS_RECORDED)
    high = page.total(catalogue.BUFFER_HIGH_WATER)
    if dropped is None or recorded is None:
        return Finding(check, Status.UNKNOWN, "Drops are not shown", "no agentgauge_events_dropped_total series")
    evidence = (
        f"agentgauge_events_dropped_total = {number(dropped)} of {number(recorded)}, "
        f"agentgauge_buffer_high_water_records = {number(high or 0)}"
    )
    if not recorded:
        fix = (
            "Let the program work, then look again. Recorded are calls of what @agent, @task, @tool and @workflow decorate, of "
            "track(), and of instrumented frameworks: https://github.com/agentgauge/agentgauge/blob/main/docs/frameworks.md"
        )
        return Finding(check, Status.UNKNOWN, "No call was recorded yet", evidence, fix)
    if dropped:
        fix = "The drain could not keep up: let Prometheus scrape at least each minute, and look for threads that starve it."
        return Finding(check, Status.FAIL, "Calls were dropped", evidence, fix)
    return Finding(check, Status.OK, "No call was dropped", evidence)


def overhead(program: Program, _limit: int) -> Finding:
    """Compare the CPU time of agentgauge with that of the program."""
    check = "overhead"
    own, whole = program.page.total(catalogue.OVERHEAD), program.page.total(machine.PROCESS_CPU)
    if own is None or not whole:
        fix = "Let the collector 'process' run: collectors=('host', 'process', 'container')." if own is not None else ""
        return Finding(check, Status.UNKNOWN, "What agentgauge costs is not shown", "no process_cpu_seconds_total", fix)
    evidence = f"agentgauge_overhead_seconds_total {own:.4g} of process_cpu_seconds_total {whole:.4g}: {own / whole:.2%}"
    if own < OVERHEAD_LIMIT * whole:
        return Finding(check, Status.OK, f"agentgauge takes less than {OVERHEAD_LIMIT:.0%} of the CPU time", evidence)
    lived = time.time() - (program.page.total(machine.PROCESS_START_TIME) or math.inf)
    if own < _OVERHEAD_LIMIT_OF_CORE * lived:  # a program that waits does hardly more than answer scrapes
        evidence += f", and {own / lived:.2%} of one core since it started"
        return Finding(check, Status.OK, f"agentgauge takes less than {_OVERHEAD_LIMIT_OF_CORE:.0%} of one core", evidence)
    parts = program.page.by_label(catalogue.OVERHEAD, "part")
    part = max(parts, key=lambda name: parts[name])
    fix = f"Most of it is '{part}'. Scrape less often, decorate fewer of the shortest functions, or sample fewer traces."
    return Finding(check, Status.WARN, f"agentgauge takes {OVERHEAD_LIMIT:.0%} or more of the CPU time", evidence, fix)


def scrape_duration(program: Program, _limit: int) -> Finding:
    """Tell how long a page takes."""
    check = "scrape-duration"
    told = (program.openmetrics or program.page).total(catalogue.SCRAPE_DURATION)
    evidence = f"fetched in {program.seconds:.3f} s"
    evidence += "" if told is None else f", agentgauge_scrape_duration_seconds = {told:.3g}"
    if max(program.seconds, told or 0.0) >= _SCRAPE_SECONDS:
        fix = "Look at agentgauge_collector_duration_seconds and at your own collectors; a slow host shows here too."
        return Finding(check, Status.WARN, f"A scrape takes {_SCRAPE_SECONDS:.0f} s or more", evidence, fix)
    return Finding(check, Status.OK, f"A scrape takes less than {_SCRAPE_SECONDS:.0f} s", evidence)


def readings(program: Program, _limit: int) -> Finding:
    """Tell whether the collectors of host and process deliver."""
    check = "collectors"
    states = program.page.by_label(catalogue.COLLECTOR_SUCCESS, "collector")
    if not states:
        return Finding(check, Status.UNKNOWN, "No collector runs there", "no agentgauge_collector_success series")
    seen = listed(f'agentgauge_collector_success{{collector="{name}"}} = {number(value)}' for name, value in states.items())
    if not all(states.values()):
        fix = "The program's log says why; a slow one may need a longer collector_timeout_seconds."
        return Finding(check, Status.FAIL, "A collector fails or is late", seen, fix)
    return Finding(check, Status.OK, "Every collector delivers", seen)


PROGRAM_CHECKS: tuple[Callable[[Program, int], Finding], ...] = (
    is_agentgauge,
    instrumentors_fired,
    suppressed_calls,
    one_producer,
    sampled_traces,
    exemplars,
    label_growth,
    price_coverage,
    internal_errors,
    dropped_events,
    overhead,
    scrape_duration,
    readings,
    processes,
)
"""Each takes the program and the ``series_limit`` that it is taken to have."""


def _price_fix() -> str:
    try:
        known = f"genai-prices {version('genai-prices')} does not know them, or only a half of what they used was told"
    except PackageNotFoundError:
        return f"pip install 'agentgauge[prices]', or {_OWN_PRICES}"
    return f"{known}: {_OWN_PRICES}"


def _pairs(program: Program, family: catalogue.Family, *labels: str) -> int:
    return len({tuple(sample.labels.get(label, "") for label in labels) for sample in program.page.samples(family)})
