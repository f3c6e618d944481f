"""The families about agentgauge itself: what it recorded and dropped, what that cost, which of its parts are at work."""

from __future__ import annotations

from agentgauge.catalogue.family import Family, Kind

INSTRUMENTOR = "instrumentor"

BUILD_INFO = Family("agentgauge_build_info", Kind.GAUGE, "1, labelled with the version of agentgauge.", "", ("version",))
TARGET_INFO = Family("target_info", Kind.INFO, "Attributes of the service, from OpenTelemetry's resource settings.")
EVENTS_RECORDED = Family(
    "agentgauge_events_recorded_total", Kind.COUNTER, "Calls that came: those exported, those dropped and those in progress."
)
EVENTS_EXPORTED = Family("agentgauge_events_exported_total", Kind.COUNTER, "Calls that ended and are counted in series.")
EVENTS_DROPPED = Family("agentgauge_events_dropped_total", Kind.COUNTER, "Calls that were not recorded: the buffer was full.")
INTERNAL_ERRORS = Family(
    "agentgauge_internal_errors_total",
    Kind.COUNTER,
    "Faults that were contained, agentgauge's own or in what the program gave it, by the hook in which they happened.",
    "",
    ("hook",),
)
SERIES_OVERFLOWED = Family(
    "agentgauge_series_overflowed_total",
    Kind.COUNTER,
    "Records that went to the label value 'other' because a limit on distinct names was reached.",
    "",
    ("kind",),
)
BUFFER_HIGH_WATER = Family(
    "agentgauge_buffer_high_water_records", Kind.GAUGE, "Most calls that a drain found waiting in the event buffer."
)
INSTRUMENTOR_ACTIVE = Family(
    "agentgauge_instrumentor_active",
    Kind.GAUGE,
    "1 where the framework is instrumented, 0 where it is loaded and cannot be, or has been given back.",
    "",
    (INSTRUMENTOR,),
)
INSTRUMENTOR_CALLS = Family(
    "agentgauge_instrumentor_calls_total", Kind.COUNTER, "Calls that an instrumentor recorded.", "", (INSTRUMENTOR,)
)
CALLS_SUPPRESSED = Family(
    "agentgauge_calls_suppressed_total",
    Kind.COUNTER,
    "Calls that an instrumentor saw and did not count, since another layer counts them: the owner.",
    "",
    (INSTRUMENTOR, "owner", "kind"),
)
SAMPLED_TRACES = Family(
    "agentgauge_sampled_traces_ratio",
    Kind.GAUGE,
    "Share of the traces beginning here that the sampler keeps: series made from spans miss the rest. Absent where unknown.",
    "ratio",
)
OVERHEAD_PARTS = ("recording", "spans", "folding", "exposition")
OVERHEAD = Family(
    "agentgauge_overhead_seconds_total",
    Kind.COUNTER,
    "CPU time that agentgauge spent, by samples: recording calls, their spans, folding calls into series, writing pages.",
    "seconds",
    ("part",),
)
SCRAPE_DURATION = Family("agentgauge_scrape_duration_seconds", Kind.GAUGE, "Duration of the scrape before this one.", "seconds")
COLLECTOR_SUCCESS = Family(
    "agentgauge_collector_success",
    Kind.GAUGE,
    "1 where the collector's readings are in this scrape, 0 where it failed or was late.",
    "",
    ("collector",),
)
COLLECTOR_DURATION = Family(
    "agentgauge_collector_duration_seconds",
    Kind.GAUGE,
    "Duration of the collector's last finished run.",
    "seconds",
    ("collector",),
)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""Every family about agentgauge itself, in the order of declaration."""
