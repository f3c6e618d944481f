"""The families about analytics: the local history, what a program finds in it, and the capacity that it will need."""

from __future__ import annotations

from agentgauge.catalogue.family import AGENT, REQUEST_MODEL, Family, Kind

# --- the local history ----------------------------------------------------------------------------------------------------

SWEEP_OUTCOMES = ("written", "kept", "dropped")
HISTORY_SWEEPS = Family(
    "agentgauge_history_sweeps_total",
    Kind.COUNTER,
    "Sweeps of the registry's series for the local history, by what became of them: written to the file, kept in memory since the"
    " file could not be written, dropped since there was no room for them either.",
    "",
    ("outcome",),
)
HISTORY_MEMORY_ONLY = Family(
    "agentgauge_history_memory_only",
    Kind.GAUGE,
    "1 while the local history is kept in memory alone, since its file cannot be written, else 0.",
)
HISTORY_SIZE = Family("agentgauge_history_size_bytes", Kind.GAUGE, "Size of the local history's file and its log.", "bytes")
HISTORY_SERIES = Family("agentgauge_history_series", Kind.GAUGE, "Series that the last sweep for the local history had.")
HISTORY_LAST_WRITE = Family(
    "agentgauge_history_last_write_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which a sweep was last written to the local history's file; absent before the first.",
    "seconds",
)

# --- what the program finds in it -----------------------------------------------------------------------------------------

MEASURE = "measure"
MOST_MEASURES = 64
"""So many series a name may have in the family of scores."""
ANOMALY_SCORE = Family(
    "agentgauge_anomaly_score",
    Kind.GAUGE,
    "How far a measure is now from what its own past lets expect, as a multiple of the limit that chance passes in one of a"
    " thousand looks: 1 or more is an anomaly. Absent where the past is too short to judge.",
    "",
    (MEASURE, AGENT, "agent_task", "gen_ai_provider_name", REQUEST_MODEL, "gen_ai_tool_name"),
)
SIGNAL_STATES = ("judged", "too_short")
ANALYSIS_SIGNALS = Family(
    "agentgauge_analysis_signals",
    Kind.GAUGE,
    "Signals that the last analysis of the local history looked at: judged, or with too short a past to be judged.",
    "",
    ("state",),
)
ANALYSIS_INTERVAL = Family(
    "agentgauge_analysis_interval_seconds",
    Kind.GAUGE,
    "From one analysis of the local history to the next: longer than it is set where one would cost too much CPU.",
    "seconds",
)
ANALYSIS_LAST_RUN = Family(
    "agentgauge_analysis_last_run_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which an analysis of the local history last ended well; absent before the first.",
    "seconds",
)
ANALYSIS_DURATION = Family(
    "agentgauge_analysis_duration_seconds", Kind.GAUGE, "Duration of the last analysis of the local history.", "seconds"
)

# --- capacity -------------------------------------------------------------------------------------------------------------

CAPACITY_REPLICAS = Family(
    "agent_capacity_replicas",
    Kind.GAUGE,
    "Replicas that the load of a task needs which this instance is predicted to get, not rounded: the sum over the instances,"
    " rounded up, is how many to run; what KEDA or an HPA may follow. Absent where nothing can be predicted.",
    "",
    (AGENT, "agent_task"),
)
CAPACITY_TASK_RATE = Family(
    "agent_capacity_predicted_tasks_per_second",
    Kind.GAUGE,
    "Tasks a second that are predicted for the busiest moment ahead: the upper end of what is likely.",
    "",
    (AGENT, "agent_task"),
)
CAPACITY_CONCURRENCY = Family(
    "agent_capacity_predicted_concurrency",
    Kind.GAUGE,
    "Tasks at once that are predicted for the busiest moment ahead: their rate times their mean duration (Little's law).",
    "",
    (AGENT, "agent_task"),
)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""Every family of this module, in the order of declaration."""
