"""A program of seconds in a history: four runs a second, and a tool that may get five times slower."""

from __future__ import annotations

import random

from agentgauge.analytics.history import History

START = 1_700_000_000
BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, float("inf"))
TASK = {"gen_ai_agent_name": "researcher", "agent_task": "search", "outcome": "success"}
MODEL = {"gen_ai_provider_name": "offline", "gen_ai_request_model": "small"}


def tool(name):
    return {"gen_ai_agent_name": "researcher", "gen_ai_tool_name": name}


def write(path, seconds, *, slow_from=None, seed=1):
    """Write what a program with four runs a second leaves behind; its tool ``find`` gets five times slower."""
    draw = random.Random(seed)
    grown: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def observe(family, labels, took):
        for metric, own, by in (
            (f"{family}_count", labels, 1),
            (f"{family}_sum", labels, took),
            *((f"{family}_bucket", {**labels, "le": "+Inf" if le == BOUNDS[-1] else str(le)}, took <= le) for le in BOUNDS),
        ):
            key = (metric, tuple(sorted(own.items())))
            grown[key] = grown.get(key, 0.0) + by

    with History(path) as history:
        for second in range(seconds):
            for _ in range(draw.choice((3, 4, 4, 5))):
                is_slow = slow_from is not None and second >= slow_from
                find = draw.lognormvariate(-2.2, 0.3) * (5 if is_slow else 1)
                keep, model = draw.lognormvariate(-3, 0.3), draw.lognormvariate(-1.5, 0.4)
                observe("gen_ai_execute_tool_duration_seconds", tool("find"), find)
                observe("gen_ai_execute_tool_duration_seconds", tool("keep"), keep)
                observe("gen_ai_client_operation_duration_seconds", MODEL, model)
                observe("agent_task_duration_seconds", TASK, find + keep + model)
            samples = [(metric, labels, value) for (metric, labels), value in grown.items()]
            samples.append(("process_start_time_seconds", (), START - 0.5))
            history.write(START + second + 0.4, samples)
