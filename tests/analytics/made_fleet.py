"""Two jobs of two instances each: planners hand work to researchers in another job, and one instance there has a fault.

All jobs call their instances the same, so that an instance is one only with its job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agentgauge.analytics.frames import Grid
from made_program import BOUNDS
from made_source import MadeSource

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP, BEFORE, WINDOW = 60, 90, 30
ONSET = BEFORE + 8
INSTANCES = ("pod-0:9464", "pod-1:9464")
BAD = {"job": "workers", "instance": "pod-1:9464"}
FAULTS = ("host", "tool", "none")
TASK, TOOL = "agent_task_duration_seconds", "gen_ai_execute_tool_duration_seconds"
Made = tuple[str, dict[str, str], list[float]]


def _histogram(name: str, calls: list[np.ndarray], **labels: str) -> Iterator[Made]:
    yield f"{name}_count", labels, np.cumsum([len(each) for each in calls]).astype(float).tolist()
    yield f"{name}_sum", labels, np.cumsum([each.sum() for each in calls]).tolist()
    for bound in BOUNDS:
        below = np.cumsum([float(np.count_nonzero(each <= bound)) for each in calls])
        yield f"{name}_bucket", {**labels, "le": "+Inf" if bound == np.inf else str(bound)}, below.tolist()


def fleet_series(fault: str, seed: int = 1) -> Iterator[Made]:
    """Yield name, labels and a value a minute of each series."""
    random = np.random.default_rng(seed)
    count = BEFORE + WINDOW
    is_on = np.arange(count) >= ONSET
    slow = {where: np.where(is_on & (where == ("workers", BAD["instance"]) and fault != "none"), 6.0, 1.0) for where in _places()}
    research = []
    for where in _places():
        place = dict(zip(("job", "instance"), where, strict=True))
        yield "agentgauge_build_info", {**place, "version": "1"}, [1.0] * count
        cpu = 0.4 + 0.02 * random.random(count)
        if fault == "host" and place == BAD:
            cpu = np.where(is_on, 0.97, cpu)
        if place["job"] == "batch":
            cpu = np.where(is_on, 0.98, cpu)  # of the same name as the bad instance, and fuller, but no agent runs there
        yield "system_cpu_utilization_ratio", place, cpu.tolist()
        memory = 0.3 + 0.01 * random.random(count) + (0.3 * is_on if place["instance"] != BAD["instance"] else 0)
        yield "system_memory_utilization_ratio", place, memory.tolist()
        if place["job"] == "workers":
            took = [random.lognormal(-2, 0.5, random.poisson(20)) * slow[where][at] for at in range(count)]
            yield from _histogram(TOOL, took, gen_ai_agent_name="researcher", gen_ai_tool_name="search", **place)
            longer = slow[where] if fault == "host" else np.ones(count)
            own = [random.lognormal(-2.5, 0.5, len(each)) * longer[at] for at, each in enumerate(took)]
            each_task = [a + b for a, b in zip(took, own, strict=True)]
            research.append(each_task)
            yield from _histogram(
                TASK, each_task, gen_ai_agent_name="researcher", agent_task="research", outcome="success", **place
            )
    for number, instance in enumerate(INSTANCES):  # each planner waits for researchers of both instances
        place = {"job": "front", "instance": instance}
        waited = [np.concatenate([of[at][number::2] for of in research]) for at in range(count)]
        planned = [each + random.lognormal(-3, 0.4, len(each)) for each in waited]
        yield from _histogram(TASK, planned, gen_ai_agent_name="planner", agent_task="plan", outcome="success", **place)
        handed = np.cumsum([len(each) for each in waited]).astype(float).tolist()
        yield "agent_handoffs_total", {"source": "planner", "target": "researcher", "outcome": "success", **place}, handed


def _places() -> list[tuple[str, str]]:
    return [("batch", BAD["instance"]), *((job, instance) for job in ("front", "workers") for instance in INSTANCES)]


def fleet_times(begin: float) -> list[float]:
    """Return the time of each value."""
    return [begin + STEP * (number + 1) for number in range(BEFORE + WINDOW)]


def fleet_window(begin: float) -> Grid:
    """Return the window to explain; the fault begins eight minutes into it."""
    return Grid(begin + STEP * (BEFORE + 1), STEP, WINDOW)


def made_fleet(fault: str, begin: float, seed: int = 1) -> MadeSource:
    """Return a source with it all."""
    source = MadeSource()
    for name, labels, values in fleet_series(fault, seed):
        source.add(name, fleet_times(begin), values, **labels)
    return source
