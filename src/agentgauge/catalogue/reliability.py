"""The families about what keeps agents up: health checks, circuit breakers, recoveries, shed requests, notifications."""

from __future__ import annotations

from agentgauge.catalogue.family import AGENT, BREAKER, COMPONENT, Family, Kind, doubling

COMPONENT_TYPE = "component_type"

# --- health checks --------------------------------------------------------------------------------------------------------

HEALTH_STATUSES = ("healthy", "warning", "critical", "down", "unknown")
HEALTH_STATUS = Family(
    "agent_health_status",
    Kind.STATE_SET,
    "The status of a component that is checked: that of its first finding, and then as its failure and success thresholds are"
    " passed; unknown before, and where no check has ended for three intervals.",
    "",
    (COMPONENT, COMPONENT_TYPE, "agent_health_status"),
    states=HEALTH_STATUSES,
)
HEALTH_CHECKS = Family(
    "agent_health_checks_total",
    Kind.COUNTER,
    "Checks of a component by what they found, retries not counted.",
    "",
    (COMPONENT, COMPONENT_TYPE, "status"),
)
HEALTH_CHECK_DURATION = Family(
    "agent_health_check_duration_seconds",
    Kind.HISTOGRAM,
    "Duration of the checks of a component, their retries included.",
    "seconds",
    (COMPONENT, COMPONENT_TYPE),
    doubling(0.005, 14),
)
HEALTH_CHECK_INTERVAL = Family(
    "agent_health_check_interval_seconds",
    Kind.GAUGE,
    "From one check of a component to the next, as it is set.",
    "seconds",
    (COMPONENT, COMPONENT_TYPE),
)
HEALTH_LAST_CHECK = Family(
    "agent_health_last_check_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which a check of the component last ended; absent before the first.",
    "seconds",
    (COMPONENT, COMPONENT_TYPE),
)
HEALTH_TRANSITIONS = Family(
    "agent_health_transitions_total",
    Kind.COUNTER,
    "Changes of a component's status, by the status that it came to.",
    "",
    (COMPONENT, COMPONENT_TYPE, "status"),
)
HEALTH_FLAPPING = Family(
    "agent_health_flapping",
    Kind.GAUGE,
    "1 while a component goes to and fro between statuses: what it found changed in more than half of the last 20 checks, and"
    " since then in more than a quarter.",
    "",
    (COMPONENT, COMPONENT_TYPE),
)

# --- circuit breakers (resilience4j's shapes) -----------------------------------------------------------------------------

BREAKER_STATES = ("closed", "open", "half_open", "forced_open")
BREAKER_STATE = Family(
    "agent_circuit_breaker_state",
    Kind.STATE_SET,
    "The state of a circuit breaker.",
    "",
    (BREAKER, "agent_circuit_breaker_state"),
    states=BREAKER_STATES,
)
BREAKER_CALL_KINDS = ("successful", "failed", "ignored", "cancelled", "late")
BREAKER_CALLS = Family(
    "agent_circuit_breaker_calls_total",
    Kind.COUNTER,
    "Calls that a circuit breaker let through, by how they ended; late ones began in an earlier state and count in no window.",
    "",
    (BREAKER, "kind"),
)
BREAKER_SLOW_CALLS = Family(
    "agent_circuit_breaker_slow_calls_total",
    Kind.COUNTER,
    "Calls through a circuit breaker that took longer than its limit, by how they ended.",
    "",
    (BREAKER, "kind"),
)
BREAKER_NOT_PERMITTED = Family(
    "agent_circuit_breaker_not_permitted_calls_total", Kind.COUNTER, "Calls that a circuit breaker refused.", "", (BREAKER,)
)
BREAKER_FAILURE_RATIO = Family(
    "agent_circuit_breaker_failure_ratio",
    Kind.GAUGE,
    "Share of the calls in a circuit breaker's window that failed; absent below its minimum of calls.",
    "ratio",
    (BREAKER,),
)
BREAKER_SLOW_RATIO = Family(
    "agent_circuit_breaker_slow_call_ratio",
    Kind.GAUGE,
    "Share of the calls in a circuit breaker's window that were slow; absent below its minimum of calls.",
    "ratio",
    (BREAKER,),
)
BREAKER_BUFFERED = Family(
    "agent_circuit_breaker_buffered_calls", Kind.GAUGE, "Calls in a circuit breaker's window.", "", (BREAKER, "kind")
)
BREAKER_TRANSITIONS = Family(
    "agent_circuit_breaker_transitions_total",
    Kind.COUNTER,
    "Changes of a circuit breaker's state, by the state that it came to.",
    "",
    (BREAKER, "state"),
)

# --- recoveries -----------------------------------------------------------------------------------------------------------

RECOVERY_OUTCOMES = ("recovered", "not_recovered", "failed", "timed_out", "cancelled", "dry_run")
RECOVERY_ATTEMPTS = Family(
    "agent_recovery_attempts_total",
    Kind.COUNTER,
    "Attempts to recover a component, by the action that was taken and what came of it.",
    "",
    (COMPONENT, "action", "outcome"),
)
RECOVERY_TIME = Family(
    "agent_recovery_time_to_recover_seconds",
    Kind.HISTOGRAM,
    "From when a component's failure began to when a recovery's check found it well again.",
    "seconds",
    (COMPONENT,),
    doubling(0.1, 17),
)
RECOVERY_ESCALATIONS = Family(
    "agent_recovery_escalations_total",
    Kind.COUNTER,
    "Failures of a component that recovery gave up on, by why: budget, breaker, no_action.",
    "",
    (COMPONENT, "reason"),
)
RECOVERY_ATTEMPTS_LEFT = Family(
    "agent_recovery_attempts_left",
    Kind.GAUGE,
    "Attempts that the budget of a component's recovery still allows; absent before the first.",
    "",
    (COMPONENT,),
)
RECOVERY_IN_PROGRESS = Family(
    "agent_recovery_in_progress", Kind.GAUGE, "1 while a component is being recovered, else 0.", "", (COMPONENT,)
)
RECOVERY_FLAPPING = Family(
    "agent_recovery_flapping",
    Kind.GAUGE,
    "1 while a component fails again and again soon after it was recovered, else 0.",
    "",
    (COMPONENT,),
)
RECOVERY_REQUESTS = Family(
    "agent_recovery_requests_total",
    Kind.COUNTER,
    "Alerts that came to the webhook of recovery, by what became of them: accepted, unmatched, duplicate, resolved, refused.",
    "",
    ("result",),
)

# --- the processing template ----------------------------------------------------------------------------------------------

SHED_REASONS = ("queue_full", "wait_timeout", "deadline", "circuit_open", "shutting_down")
TASKS_SHED = Family(
    "agent_tasks_shed_total",
    Kind.COUNTER,
    "Requests that a processing interface refused before it began on them, by why.",
    "",
    (AGENT, "agent_task", "reason"),
)

# --- notification ---------------------------------------------------------------------------------------------------------

NOTIFICATION_OUTCOMES = ("delivered", "failed", "timed_out", "dropped", "suppressed")
NOTIFICATIONS = Family(
    "agentgauge_notifications_total",
    Kind.COUNTER,
    "Notifications of this process's alerts, by handler and what became of them; suppressed ones its policy kept from it:"
    " repeats, what ended before it was told, what is not severe enough.",
    "",
    ("handler", "outcome"),
)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""Every family of this module, in the order of declaration."""
