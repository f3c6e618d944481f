"""The row about what agents say about themselves: states, queues, readings."""

from __future__ import annotations

from typing import Any

from dashboards.build.panels import Query, latency, series, states
from dashboards.build.promql import by_agent, quantile

__all__ = ["queues"]


def queues() -> list[Any]:
    """What agents say about themselves."""
    queue, queue_legend = "gen_ai_agent_name, queue", "{{gen_ai_agent_name}} {{queue}}"
    wait = by_agent("agent_queue_wait_seconds_bucket")
    return [
        states(
            "States",
            "Which state was each agent in, and when?",
            Query(
                f"max by (gen_ai_agent_name, agent_state) ({by_agent('agent_state')}) > 0",
                "{{gen_ai_agent_name}} {{agent_state}}",
            ),
            width=24,
            no_value="no state is reported",
        ),
        series(
            "Queue depth",
            "How many items wait for each agent?",
            "short",
            Query(f"sum by ({queue}) ({by_agent('agent_queue_depth')})", queue_legend),
            width=12,
            no_value="no queue is reported",
        ),
        latency(
            "Wait in queues",
            "How long do items wait for an agent, in the middle and among the slowest 5 %?",
            Query(quantile(0.5, wait, queue), queue_legend + " p50"),
            Query(quantile(0.95, wait, queue), queue_legend + " p95"),
            width=12,
            no_value="no wait is reported",
        ),
        series(
            "Connections",
            "How many connections does each agent hold open?",
            "short",
            Query(f"sum by (gen_ai_agent_name) ({by_agent('agent_connections')})", "{{gen_ai_agent_name}}"),
            no_value="no connection is reported",
        ),
        series(
            "Memory of agents",
            "How much memory does each agent say it uses?",
            "bytes",
            Query(f"sum by (gen_ai_agent_name) ({by_agent('agent_memory_usage_bytes')})", "{{gen_ai_agent_name}}"),
            no_value="no memory is reported",
        ),
        series(
            "Readings of the program's own",
            "What do the readings say that the program names itself?",
            "short",
            Query(by_agent("agent_custom_metric"), "{{gen_ai_agent_name}} {{agent_metric}} {{instance}}"),
            no_value="no reading is reported",
        ),
    ]
