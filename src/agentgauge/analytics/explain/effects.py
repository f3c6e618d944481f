"""Which measure moves which: what the project knows about how agents, models, tools and machines hang together."""

from __future__ import annotations

__all__ = ["FELT", "LAYERS", "LEAST_LEVEL", "effects_of", "is_felt"]

_SLOWER = "task_duration_p95+ task_duration_mean+ tool_duration_p95+ lm_duration_p95+ lm_first_chunk_p95+"
_WAITING = "tasks_in_progress+ queue_depth+ queue_wait_p95+ task_rate- task_error_ratio+"
_SLOW_CALL = f"task_duration_p95+ task_duration_mean+ {_WAITING} lm_rate- tool_rate- token_rate- cost_rate-"
_LESS = "lm_rate- tool_rate- token_rate- cost_rate- cache_hit_rate- handoff_rate- process_cpu- host_network_io-"
_MORE = "lm_rate+ tool_rate+ token_rate+ cost_rate+ process_cpu+ host_network_io+"
_MACHINE = f"event_loop_lag_p95+ {_SLOWER} {_WAITING} task_rate- lm_rate- tool_rate-"

# Each line: what moves, and which way (+ or -), then all that it can move, and which way.
_EFFECTS = {
    "host_cpu+": f"{_MACHINE} process_cpu- host_pressure+",
    "host_disk_io+": "host_disk_busy+",
    "host_disk_busy+": f"{_MACHINE} host_pressure+",
    "host_memory+": f"{_MACHINE} host_disk_busy+ host_pressure+",
    "host_pressure+": f"{_MACHINE} process_cpu-",
    "container_throttling+": _MACHINE,
    "container_memory+": f"{_MACHINE} gc_pause_rate+",
    "process_memory+": "gc_pause_rate+ host_memory+ container_memory+",
    "gc_pause_rate+": f"{_MACHINE} process_cpu+",
    "event_loop_lag_p95+": f"{_SLOWER} {_WAITING}",
    "process_cpu+": "host_cpu+ host_pressure+ event_loop_lag_p95+ container_throttling+",
    "task_rate+": f"task_rate+ {_MORE} {_SLOWER} tasks_in_progress+ queue_depth+ queue_wait_p95+ handoff_rate+ cache_hit_rate+ "
    "process_memory+ gc_pause_rate+ process_threads+ process_descriptors+ wasted_token_rate+ lm_error_ratio+ task_error_ratio+ "
    "tool_error_ratio+ lm_retry_rate+ task_retry_rate+ lm_input_tokens_mean+ lm_output_tokens_mean+ parse_failure_rate+ "
    "repeated_tool_call_rate+ event_loop_lag_p95+",
    "task_rate-": f"task_rate- {_LESS} tasks_in_progress- queue_depth- queue_wait_p95- wasted_token_rate- task_retry_rate-",
    "handoff_rate+": "task_rate+",
    "handoff_rate-": "task_rate-",
    "lm_first_chunk_p95+": f"lm_duration_p95+ {_SLOW_CALL}",
    "lm_duration_p95+": f"lm_first_chunk_p95+ {_SLOW_CALL}",
    "lm_error_ratio+": f"lm_retry_rate+ lm_rate+ task_retry_rate+ wasted_token_rate+ "
    f"lm_duration_p95+ lm_duration_p95- {_SLOW_CALL} parse_failure_rate+ task_duration_p95- "
    "task_duration_mean- lm_first_chunk_p95- run_steps_mean- lm_output_tokens_mean-",
    "lm_retry_rate+": "lm_rate+ task_duration_p95+ task_duration_mean+ lm_error_ratio+ tasks_in_progress+",
    "lm_rate+": "token_rate+ cost_rate+ process_cpu+ host_network_io+",
    "lm_rate-": "token_rate- cost_rate- process_cpu- host_network_io-",
    "lm_input_tokens_mean+": f"lm_first_chunk_p95+ lm_duration_p95+ token_rate+ cost_rate+ host_network_io+ {_SLOW_CALL}",
    "lm_output_tokens_mean+": f"lm_duration_p95+ token_rate+ cost_rate+ {_SLOW_CALL}",
    "token_rate+": "cost_rate+",
    "token_rate-": "cost_rate-",
    "tool_duration_p95+": _SLOW_CALL,
    "tool_error_ratio+": f"{_SLOW_CALL} task_retry_rate+ tool_rate+ run_steps_mean+ "
    "repeated_tool_call_rate+ wasted_token_rate+ lm_rate+ tool_duration_p95+ tool_duration_p95- task_duration_p95- "
    "task_duration_mean- run_steps_mean- lm_input_tokens_mean+",
    "parse_failure_rate+": f"task_retry_rate+ task_error_ratio+ lm_rate+ token_rate+ cost_rate+ {_SLOW_CALL}",
    "cache_hit_rate-": f"lm_rate+ token_rate+ cost_rate+ {_SLOW_CALL}",
    "run_steps_mean+": f"repeated_tool_call_rate+ {_MORE} lm_input_tokens_mean+ wasted_token_rate+ handoff_rate+ {_SLOW_CALL} "
    "tool_duration_p95+ lm_duration_p95+",
    "repeated_tool_call_rate+": f"run_steps_mean+ {_MORE} lm_input_tokens_mean+ {_SLOW_CALL}",
    "task_duration_p95+": f"task_duration_mean+ {_SLOW_CALL}",
    "task_duration_mean+": f"task_duration_p95+ {_SLOW_CALL}",
    "tasks_in_progress+": "process_memory+ process_threads+ process_descriptors+ queue_depth+",
    "queue_depth+": "queue_wait_p95+ process_memory+ task_rate+",  # what waited is worked off
    "queue_wait_p95+": "task_error_ratio+ queue_depth+",
    "task_error_ratio+": "task_retry_rate+ wasted_token_rate+ task_rate- task_error_ratio+ task_duration_p95+ "
    "task_duration_mean+ task_duration_p95- task_duration_mean- run_steps_mean- lm_rate- tool_rate- token_rate- cost_rate-",
    "task_retry_rate+": f"task_rate+ {_MORE} task_duration_p95+ task_duration_mean+ tasks_in_progress+",
}
_TABLE = {
    (cause[:-1], 1 if cause[-1] == "+" else -1): frozenset(
        (effect[:-1], 1 if effect[-1] == "+" else -1) for effect in effects.split()
    )
    for cause, effects in _EFFECTS.items()
}

FELT = frozenset(
    {
        ("task_error_ratio", 1),
        ("task_duration_p95", 1),
        ("task_duration_mean", 1),
        ("queue_wait_p95", 1),
        ("queue_depth", 1),
        ("cost_rate", 1),
        ("task_rate", -1),
    }
)
"""What people who use agents, or pay for them, feel."""

LEAST_LEVEL = {"host_cpu": 0.8, "host_disk_busy": 0.7, "host_memory": 0.9, "host_pressure": 0.1, "container_memory": 0.9}
"""From which level on a resource is so short that work waits for it; below, that it is used more slows nobody."""

LAYERS = (
    "task_rate",
    "host_disk_io",
    "host_disk_busy",
    "host_cpu",
    "host_pressure",
    "process_memory",
    "gc_pause_rate",
    "event_loop_lag_p95",
    "run_steps_mean",
    "repeated_tool_call_rate",
    "tool_error_ratio",
    "lm_error_ratio",
    "lm_retry_rate",
    "lm_input_tokens_mean",
    "lm_output_tokens_mean",
    "lm_duration_p95",
    "lm_first_chunk_p95",
    "tool_duration_p95",
)
"""Which is the cause where two could be each other's and began together: the first."""


def effects_of(measure: str, sign: int) -> frozenset[tuple[str, int]]:
    """Return all that a measure can move when it rises (1) or falls (-1), and which way."""
    return _TABLE.get((measure, sign), frozenset())


def is_felt(measure: str, sign: int) -> bool:
    """Tell whether people feel it when a measure rises (1) or falls (-1)."""
    return (measure, sign) in FELT
