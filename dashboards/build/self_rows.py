"""The row about agentgauge itself: what watching costs, and whether it misses something."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import series, table_of
from dashboards.build.promql import by_target
from dashboards.build.readings import our_reading, reading, total_rate

__all__ = ["itself"]


def itself() -> list[Any]:
    """What watching costs, and whether it misses something."""
    return [
        series(
            "Calls recorded and dropped",
            "Is every call recorded? Recorded is exported plus dropped, plus what is in progress.",
            "ops",
            total_rate("agentgauge_events_recorded_total", "instance", "{{instance}} recorded"),
            total_rate("agentgauge_events_exported_total", "instance", "{{instance}} exported"),
            total_rate("agentgauge_events_dropped_total", "instance", "{{instance}} dropped"),
        ),
        series(
            "Faults of agentgauge",
            "Which faults of its own did agentgauge contain?",
            "ops",
            total_rate("agentgauge_internal_errors_total", "instance, hook", "{{instance}} {{hook}}"),
            no_value="none",
        ),
        series(
            "Records without a name of their own",
            "Did a limit on distinct names send records to the label value 'other'?",
            "ops",
            total_rate("agentgauge_series_overflowed_total", "instance, kind", "{{instance}} {{kind}}"),
            no_value="none",
        ),
        series(
            "Cost",
            "Which share of one core does agentgauge use, and for what?",
            "percentunit",
            total_rate("agentgauge_overhead_seconds_total", "instance, part", "{{instance}} {{part}}"),
        ),
        series(
            "Most calls waiting",
            "Did drains fall behind? Past 65,536 callers wait, past 131,072 calls are dropped.",
            "short",
            reading("agentgauge_buffer_high_water_records", "{{instance}}"),
        ),
        series(
            "Duration of scrapes",
            "How long does a scrape take, measured inside the program and by Prometheus?",
            "s",
            reading("agentgauge_scrape_duration_seconds", "{{instance}} inside"),
            our_reading("scrape_duration_seconds", "{{instance}} by Prometheus"),
        ),
        series(
            "Duration of collectors",
            "Which collector is slow?",
            "s",
            reading("agentgauge_collector_duration_seconds", "{{instance}} {{collector}}"),
            no_value="no collector runs",
        ),
        series(
            "Collectors that answer",
            "Are the readings of each collector in the scrapes (1), or did it fail or come late (0)?",
            "short",
            reading("agentgauge_collector_success", "{{instance}} {{collector}}"),
            no_value="no collector runs",
        ),
        series(
            "Frameworks instrumented",
            "Which frameworks are instrumented (1), and which are loaded but cannot be (0)?",
            "short",
            reading("agentgauge_instrumentor_active", "{{instance}} {{instrumentor}}"),
            no_value="no framework is loaded",
        ),
        series(
            "Calls by framework",
            "How many calls does the instrumentation of each framework record? One that never fires is not used.",
            "ops",
            total_rate("agentgauge_instrumentor_calls_total", "instance, instrumentor", "{{instance}} {{instrumentor}}"),
            no_value="none has fired",
        ),
        series(
            "Traces that are sampled",
            "Which share of the traces beginning in the program does its sampler keep? Series made from spans miss the rest.",
            "percentunit",
            reading("agentgauge_sampled_traces_ratio"),
            no_value="no tracer provider is known",
        ),
        series(
            "Calls left to another layer",
            "Which calls did an instrumentor see and not count, since another layer, their owner, counts them?",
            "ops",
            total_rate(
                "agentgauge_calls_suppressed_total",
                "instrumentor, owner, kind",
                "{{instrumentor}} leaves {{kind}} to {{owner}}",
            ),
            no_value="none",
        ),
        table_of(
            "Versions",
            "Which version of agentgauge does each program run?",
            "short",
            by_target("agentgauge_build_info"),
            ("job", "instance", "version"),
            width=24,
            no_value="no program answers",
        ),
    ]
