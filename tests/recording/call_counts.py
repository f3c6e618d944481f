"""What the series show of calls, by name and outcome, whatever the kind of call."""

from __future__ import annotations

from collections import Counter

NAMES = {
    "agent_task_duration_seconds_count": "agent_task",
    "gen_ai_execute_tool_duration_seconds_count": "gen_ai_tool_name",
    "gen_ai_invoke_workflow_duration_seconds_count": "gen_ai_workflow_name",
}
OUTCOMES = {
    "": "success",
    "TimeoutError": "timeout",
    "GeneratorExit": "abandoned",
    "asyncio.exceptions.CancelledError": "cancelled",
    "KeyboardInterrupt": "cancelled",
}


def counts(registry) -> Counter[tuple[str, str]]:
    """Return how many calls have ended, by the name and the outcome that their series bear."""
    found: Counter[tuple[str, str]] = Counter()
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name in NAMES:
                outcome = sample.labels.get("outcome") or OUTCOMES.get(sample.labels.get("error_type", ""), "error")
                found[sample.labels[NAMES[sample.name]], outcome] += int(sample.value)
    found.pop(("filler", "success"), None)
    return found
