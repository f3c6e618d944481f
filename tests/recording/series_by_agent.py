"""What a registry shows, agent by agent."""

from __future__ import annotations

TASK_COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"


def tasks_by_agent(fresh):
    return {
        (sample.labels.get("gen_ai_agent_name", ""), sample.labels["agent_task"]): sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == TASK_COUNT and sample.labels["outcome"] == "success"
    }


def runs_by_agent(fresh):
    return {
        sample.labels["gen_ai_agent_name"]: sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == RUN_COUNT
    }
