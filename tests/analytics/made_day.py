"""A day of a small fleet in a history, with a slowdown that everybody knows of: what the commands say of it can be checked."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.analytics.history import History

if TYPE_CHECKING:
    from pathlib import Path

STEP = 60
HOUR = 3600
MODEL = {"gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-5-mini"}
AGENTS = {"researcher": "search", "writer": "write"}
BOUNDS = ("0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")
SLOW_FROM_HOURS, SLOW_UNTIL_HOURS = 3, 2
FAST, SLOW = 0.4, 4.0
COST, TOKENS = 0.002, {"input": 900, "output": 150}
PROMISED = {"researcher": 0.95, "writer": 0.999}


@dataclass(frozen=True)
class Day:
    """What was written.

    Attributes:
        path: The history.
        end: The time of the last sample.
        slow: When the model was slow, and with it the researcher.
        tasks: How many tasks each agent ended.
        errors: How many of them badly.
    """

    path: Path
    end: int
    slow: tuple[int, int]
    tasks: dict[str, int]
    errors: dict[str, int]


class Counters:
    """Counters that grow, and what they were at each time."""

    def __init__(self):
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.history: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}

    def grow(self, metric: str, amount: float, **labels: str) -> None:
        key = (metric, tuple(sorted(labels.items())))
        self.values[key] = self.values.get(key, 0.0) + amount

    def observe(self, histogram: str, seconds: float, count: int = 1, **labels: str) -> None:
        self.grow(f"{histogram}_count", count, **labels)
        self.grow(f"{histogram}_sum", count * seconds, **labels)
        for bound in BOUNDS:
            self.grow(f"{histogram}_bucket", count * float(seconds <= float(bound)), **labels, le=bound)

    def sweep(self) -> None:
        for key, value in self.values.items():
            self.history.setdefault(key, []).append(value)


def work(counters: Counters, agent: str, seconds: float, *, is_bad: bool) -> None:
    """Count one task, and what the model did for it."""
    outcome = "error" if is_bad else "success"
    counters.observe("agent_task_duration_seconds", seconds, gen_ai_agent_name=agent, agent_task=AGENTS[agent], outcome=outcome)
    if agent == "researcher":
        model = {"gen_ai_agent_name": agent, "gen_ai_request_model": MODEL["gen_ai_request_model"]}
        counters.observe("gen_ai_client_operation_duration_seconds", seconds * 0.9, **MODEL)
        counters.grow("agent_cost_usd_total", COST, **model)
        for kind, count in TOKENS.items():
            counters.grow("agent_tokens_total", count, **model, gen_ai_token_type=kind)


def make_day(path: Path, *, hours: int = 24, seed: int = 7) -> Day:
    """Write a day that ends now: sixty seconds apart, with the traffic of day and night."""
    chance, counters = random.Random(seed), Counters()
    end = int(time.time()) // STEP * STEP
    times = [end - hours * HOUR + STEP * index for index in range(hours * HOUR // STEP + 1)]
    slow = (end - SLOW_FROM_HOURS * HOUR, end - SLOW_UNTIL_HOURS * HOUR)
    tasks, errors = dict.fromkeys(AGENTS, 0), dict.fromkeys(AGENTS, 0)
    for agent, task in AGENTS.items():
        for outcome in ("success", "error"):
            counters.observe("agent_task_duration_seconds", 0, 0, gen_ai_agent_name=agent, agent_task=task, outcome=outcome)
    for index, at in enumerate(times):
        level = 12 + 6 * math.sin(2 * math.pi * at / 86400)
        for agent in AGENTS:
            is_slow = agent == "researcher" and slow[0] < at <= slow[1]
            for _ in range(round(level + chance.gauss(0, 1)) if index else 0):
                is_bad = chance.random() < 0.01
                work(counters, agent, (SLOW if is_slow else FAST) * chance.lognormvariate(0, 0.3), is_bad=is_bad)
                tasks[agent] += 1
                errors[agent] += is_bad
        counters.sweep()
    levels = {("process_start_time_seconds", ()): times[0] - HOUR, ("agentgauge_build_info", ()): 1.0}
    for agent, task in AGENTS.items():
        labels = (("agent_task", task), ("gen_ai_agent_name", agent))
        levels |= {("agent_tasks_in_progress", labels): 2.0, ("agent_objective_success_ratio", labels): PROMISED[agent]}
    with History(path) as history:
        for (metric, labels), values in counters.history.items():
            history.write_points(metric, labels, times[-len(values) :], values)
        for (metric, labels), value in levels.items():
            history.write_points(metric, labels, times, [value] * len(times))
    return Day(path, end, slow, tasks, errors)
