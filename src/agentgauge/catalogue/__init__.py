"""Every metric family that agentgauge exports, declared once: name, help, unit, kind, labels, buckets.

The GenAI families bear the names, help texts and buckets of the OpenTelemetry semantic conventions 0.66b2 as
opentelemetry-util-genai emits them; their status there is "Development", so this table is where a rename is made.
"""

from __future__ import annotations

from agentgauge.catalogue import analytics, machine, own, reliability
from agentgauge.catalogue.family import AGENT, REQUEST_MODEL, WORKFLOW, Family, Kind, Outcome, doubling
from agentgauge.catalogue.own import (
    BUFFER_HIGH_WATER,
    BUILD_INFO,
    CALLS_SUPPRESSED,
    COLLECTOR_DURATION,
    COLLECTOR_SUCCESS,
    EVENTS_DROPPED,
    EVENTS_EXPORTED,
    EVENTS_RECORDED,
    INSTRUMENTOR,
    INSTRUMENTOR_ACTIVE,
    INSTRUMENTOR_CALLS,
    INTERNAL_ERRORS,
    OVERHEAD,
    OVERHEAD_PARTS,
    SAMPLED_TRACES,
    SCRAPE_DURATION,
    SERIES_OVERFLOWED,
    TARGET_INFO,
)

__all__ = [
    "AGENT",
    "BUFFER_HIGH_WATER",
    "BUILD_INFO",
    "CALLS_SUPPRESSED",
    "COLLECTOR_DURATION",
    "COLLECTOR_SUCCESS",
    "EVENTS_DROPPED",
    "EVENTS_EXPORTED",
    "EVENTS_RECORDED",
    "FAMILIES",
    "INSTRUMENTOR",
    "INSTRUMENTOR_ACTIVE",
    "INSTRUMENTOR_CALLS",
    "INTERNAL_ERRORS",
    "OVERHEAD",
    "OVERHEAD_PARTS",
    "REQUEST_MODEL",
    "SAMPLED_TRACES",
    "SCRAPE_DURATION",
    "SERIES_OVERFLOWED",
    "TARGET_INFO",
    "WORKFLOW",
    "Family",
    "Kind",
    "Outcome",
]


TASK = "agent_task"
TOOL = "gen_ai_tool_name"
ERROR_TYPE = "error_type"
OPERATION = "gen_ai_operation_name"
PROVIDER = "gen_ai_provider_name"
RESPONSE_MODEL = "gen_ai_response_model"
TOKEN_TYPE = "gen_ai_token_type"  # noqa: S105 - a label

# --- GenAI semantic conventions -------------------------------------------------------------------------------------------

INVOKE_AGENT_DURATION = Family(
    "gen_ai_invoke_agent_duration_seconds",
    Kind.HISTOGRAM,
    "Measures the duration of an in-process agent invocation.",
    "seconds",
    (AGENT, ERROR_TYPE),
    doubling(0.1, 13),
)
EXECUTE_TOOL_DURATION = Family(
    "gen_ai_execute_tool_duration_seconds",
    Kind.HISTOGRAM,
    "Measures the duration of a tool execution.",
    "seconds",
    (AGENT, TOOL, ERROR_TYPE),
    doubling(0.01, 14),
)
INVOKE_WORKFLOW_DURATION = Family(
    "gen_ai_invoke_workflow_duration_seconds",
    Kind.HISTOGRAM,
    "Measures the duration of a workflow execution.",
    "seconds",
    (WORKFLOW, ERROR_TYPE),
    (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200),
)

CLIENT_OPERATION_DURATION = Family(
    "gen_ai_client_operation_duration_seconds",
    Kind.HISTOGRAM,
    "GenAI operation duration.",
    "seconds",
    (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, ERROR_TYPE),
    doubling(0.01, 14),
)
CLIENT_TOKEN_USAGE = Family(
    "gen_ai_client_token_usage",
    Kind.HISTOGRAM,
    "Number of input and output tokens used.",
    "",
    (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, TOKEN_TYPE),
    tuple(float(4**power) for power in range(14)),
)
TIME_TO_FIRST_CHUNK = Family(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    Kind.HISTOGRAM,
    "Time to receive the first chunk in a streaming operation.",
    "seconds",
    (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL),
    doubling(0.01, 14),
)
INFERENCE_CALLS = Family(
    "gen_ai_invoke_agent_inference_calls",
    Kind.HISTOGRAM,
    "Number of inference calls made during an agent invocation.",
    "",
    (AGENT,),
    doubling(1, 8),
)
TOOL_CALLS = Family(
    "gen_ai_invoke_agent_tool_calls",
    Kind.HISTOGRAM,
    "Number of tool calls made during an agent invocation.",
    "",
    (AGENT,),
    doubling(1, 8),
)

# --- tasks of agents ------------------------------------------------------------------------------------------------------

TASK_DURATION = Family(
    "agent_task_duration_seconds",
    Kind.HISTOGRAM,
    "Duration of agent tasks by outcome; of a generator, from its first item to its end, the consumer's time included.",
    "seconds",
    (AGENT, TASK, "outcome"),
    doubling(0.01, 17),
)
TASK_ERRORS = Family(
    "agent_task_errors_total",
    Kind.COUNTER,
    "Agent tasks that ended in error or timeout, by type of error.",
    "",
    (AGENT, TASK, ERROR_TYPE),
)
TASKS_IN_PROGRESS = Family(
    "agent_tasks_in_progress", Kind.GAUGE, "Agent tasks that have started and not ended.", "", (AGENT, TASK)
)
TASK_OLDEST_START = Family(
    "agent_task_oldest_start_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which the oldest agent task in progress started; absent when none is.",
    "seconds",
    (AGENT, TASK),
)
TASK_LAST_SUCCESS = Family(
    "agent_task_last_success_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which an agent task last ended in success; absent before the first.",
    "seconds",
    (AGENT, TASK),
)
TASK_RETRIES = Family("agent_task_retries_total", Kind.COUNTER, "Attempts of agent tasks after the first.", "", (AGENT, TASK))
TASK_INPUT_SIZE = Family(
    "agent_task_input_size_bytes",
    Kind.HISTOGRAM,
    "Size of the input of agent tasks, where the program states it.",
    "bytes",
    (AGENT, TASK),
    tuple(float(256 * 4**power) for power in range(11)),
)
PROTOCOL_FAULTS = ("unknown", "duplicate", "already_ended", "evicted", "bad_value")
TASK_PROTOCOL_FAULTS = Family(
    "agent_task_protocol_faults_total",
    Kind.COUNTER,
    "Reports about an agent that did not fit: an unknown, duplicate, already ended or evicted task id, or a bad value.",
    "",
    (AGENT, "fault"),
)

# --- agents ---------------------------------------------------------------------------------------------------------------

AGENT_STATES = ("initializing", "idle", "processing", "error", "shutting_down", "offline")
STATE = Family("agent_state", Kind.STATE_SET, "The state that an agent is in.", "", (AGENT, "agent_state"), states=AGENT_STATES)
QUEUE_DEPTH = Family("agent_queue_depth", Kind.GAUGE, "Items that wait in an agent's queue.", "", (AGENT, "queue"))
QUEUE_WAIT = Family(
    "agent_queue_wait_seconds",
    Kind.HISTOGRAM,
    "Time that items waited in an agent's queue.",
    "seconds",
    (AGENT, "queue"),
    doubling(0.01, 17),
)
CONNECTIONS = Family("agent_connections", Kind.GAUGE, "Connections that an agent holds open.", "", (AGENT,))
MEMORY_USAGE = Family("agent_memory_usage_bytes", Kind.GAUGE, "Memory that an agent says it uses.", "bytes", (AGENT,))
CUSTOM = Family(
    "agent_custom_metric", Kind.GAUGE, "A reading that the program names itself, by name.", "", (AGENT, "agent_metric")
)

# --- LM calls, by who made them -------------------------------------------------------------------------------------------

TOKEN_TYPES = ("input", "output", "cache_read", "cache_write", "reasoning")
TOKENS = Family(
    "agent_tokens_total",
    Kind.COUNTER,
    "Tokens of an agent's own LM calls; cache_read and cache_write are among the input, reasoning among the output.",
    "",
    (AGENT, REQUEST_MODEL, TOKEN_TYPE),
)
SUBTREE_TOKENS = Family(
    "agent_subtree_tokens_total",
    Kind.COUNTER,
    "Input and output tokens of an agent's own LM calls and of those of the agents that it delegated to.",
    "",
    (AGENT, TOKEN_TYPE),
)
COST = Family("agent_cost_usd_total", Kind.COUNTER, "Cost of an agent's own LM calls in US dollars.", "", (AGENT, REQUEST_MODEL))
SUBTREE_COST = Family(
    "agent_subtree_cost_usd_total",
    Kind.COUNTER,
    "Cost in US dollars of an agent's own LM calls and of those of the agents that it delegated to.",
    "",
    (AGENT,),
)
LM_CACHE_HITS = Family(
    "agent_lm_cache_hits_total",
    Kind.COUNTER,
    "LM calls of an agent that a cache of the program answered: no tokens were used.",
    "",
    (AGENT, REQUEST_MODEL),
)
LM_REPEATED_PROMPTS = Family(
    "agent_lm_repeated_prompts_total",
    Kind.COUNTER,
    "LM calls of an agent that sent what the process had sent to the model before, parameters included; no cache answered.",
    "",
    (AGENT, REQUEST_MODEL),
)
LM_RETRIES = Family(
    "agent_lm_retries_total", Kind.COUNTER, "Attempts of LM calls after the first.", "", (PROVIDER, REQUEST_MODEL)
)
LM_FINISHES = Family(
    "agent_lm_finish_reasons_total",
    Kind.COUNTER,
    "Choices of LM answers by why they ended.",
    "",
    (PROVIDER, REQUEST_MODEL, "gen_ai_response_finish_reason"),
)
LM_UNPRICED = Family(
    "agent_lm_unpriced_calls_total",
    Kind.COUNTER,
    "LM calls that used tokens and whose model no price table knows.",
    "",
    (PROVIDER, REQUEST_MODEL),
)
PARSE_FAILURES = Family(
    "agent_output_parse_failures_total",
    Kind.COUNTER,
    "LM answers that did not have the form that the program asked for, by the adapter that read them.",
    "",
    (AGENT, "adapter"),
)

# --- agents together ------------------------------------------------------------------------------------------------------

HANDOFFS = Family(
    "agent_handoffs_total",
    Kind.COUNTER,
    "Work that an agent gave to another, by how it ended.",
    "",
    ("source", "target", "outcome"),
)
DELEGATION_DEPTH = Family(
    "agent_delegation_depth",
    Kind.HISTOGRAM,
    "Of the runs of an agent that another one's run delegated: how many runs enclose them.",
    "",
    (AGENT,),
    (1, 2, 3, 4, 6, 8, 12),
)
RUN_STEPS = Family(
    "agent_run_steps",
    Kind.HISTOGRAM,
    "Steps of an agent's run: the tasks that a framework ran in it, such as predictors, nodes and turns.",
    "",
    (AGENT,),
    doubling(1, 8),
)
REPEATED_TOOL_CALLS = Family(
    "agent_repeated_tool_calls_total",
    Kind.COUNTER,
    "Tool calls that were made before in the same run with the same arguments.",
    "",
    (AGENT, TOOL),
)
WASTED_TOKENS = Family(
    "agent_wasted_tokens_total",
    Kind.COUNTER,
    "Input and output tokens used in runs that did not succeed, by outcome; each token once, by the innermost such run.",
    "",
    (AGENT, "outcome"),
)
WASTED_TIME = Family(
    "agent_wasted_seconds_total",
    Kind.COUNTER,
    "Duration of runs that did not succeed, by outcome; each second once, by the innermost such run.",
    "seconds",
    (AGENT, "outcome"),
)
COORDINATION = Family(
    "agent_workflow_coordination_seconds_total",
    Kind.COUNTER,
    "Time of a workflow's runs in which none of its LM calls, tools and innermost tasks was at work.",
    "seconds",
    (WORKFLOW,),
)

# --- targets --------------------------------------------------------------------------------------------------------------

OBJECTIVE_SUCCESS = Family(
    "agent_objective_success_ratio",
    Kind.GAUGE,
    "The share of an agent task's calls that is promised to succeed.",
    "ratio",
    (AGENT, TASK),
)
OBJECTIVE_LATENCY = Family(
    "agent_objective_latency_seconds",
    Kind.GAUGE,
    "The duration that at most 5 % of an agent task's successful calls may exceed.",
    "seconds",
    (AGENT, TASK),
)
OBJECTIVE_LATENCY_MISSED = Family(
    "agent_objective_latency_missed_total",
    Kind.COUNTER,
    "Successful agent tasks that took longer than their latency objective.",
    "",
    (AGENT, TASK),
)
THRESHOLD = Family(
    "agentgauge_threshold",
    Kind.GAUGE,
    "A limit on a reading, in that reading's unit. The shipped rules obey those of host CPU, memory, file systems and inodes,"
    " container CPU and memory, GPU utilization, memory and temperature, open file descriptors, event loop stalls, queue depth,"
    " LM calls of a run, tool duration, first chunk and scrape duration; any other is for SystemMetricsManager and rules of one's"
    " own.",
    "",
    ("metric", "severity", "operator"),
)

THRESHOLD_BREACHED = Family(
    "agentgauge_threshold_breached",
    Kind.GAUGE,
    "1 while a threshold that SystemMetricsManager watches is breached, its hold time, samples and hysteresis considered.",
    "",
    ("metric", "severity", "operator"),
)
BUDGET = Family(
    "agent_budget_usd",
    Kind.GAUGE,
    "What LM calls may cost in a period, in US dollars; of one agent, or of the whole program where none is named.",
    "",
    (AGENT, "period"),
)

_AGENTS = [value for value in list(globals().values()) if isinstance(value, Family) and value not in own.FAMILIES]

FAMILIES: tuple[Family, ...] = (
    *_AGENTS,
    *reliability.FAMILIES,
    *analytics.FAMILIES,
    *own.FAMILIES,
    *machine.FAMILIES,
)
"""Every family, in the order of declaration."""
