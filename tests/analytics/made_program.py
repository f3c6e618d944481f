"""A program of some minutes in which nothing is wrong: what is found in it is false."""

from __future__ import annotations

import numpy as np

from made_source import MadeSource

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, np.inf)
BEGIN = 1_700_006_400


def add_calls(source: MadeSource, histogram: str, times: list[float], calls: list[np.ndarray], **labels: str) -> None:
    """Put in what a histogram of so many seconds observed in each step."""
    counts = np.cumsum([len(each) for each in calls]).astype(float)
    source.add(f"{histogram}_count", times, counts.tolist(), **labels)
    source.add(f"{histogram}_sum", times, np.cumsum([each.sum() for each in calls]).tolist(), **labels)
    for bound in BOUNDS:
        below = np.cumsum([float(np.count_nonzero(each <= bound)) for each in calls])
        source.add(f"{histogram}_bucket", times, below.tolist(), **labels, le="+Inf" if bound == np.inf else str(bound))


def made_program(seed: int, seconds: int = 300, slow: tuple[int, int] | None = None) -> MadeSource:
    """Make a program with a sample each second; in the seconds ``slow`` a tool takes ten times as long."""
    random, source = np.random.default_rng(seed), MadeSource()
    times = [float(BEGIN + second) for second in range(seconds)]
    for agent, task, a_second in (("planner", "plan", 2), ("researcher", "search", 5), ("writer", "draft", 30)):
        for outcome, share in (("success", 0.98), ("error", 0.02)):
            calls = [random.lognormal(-2, 0.6, random.poisson(a_second * share)) for _ in times]
            add_calls(
                source,
                "agent_task_duration_seconds",
                times,
                calls,
                gen_ai_agent_name=agent,
                agent_task=task,
                outcome=outcome,
            )
    for tool, a_second in (("search", 5), ("read_page", 8)):
        calls = [random.lognormal(-3, 0.6, random.poisson(a_second)) for _ in times]
        if slow is not None and tool == "search":
            calls[slow[0] : slow[1]] = [each * 10 for each in calls[slow[0] : slow[1]]]
        add_calls(source, "gen_ai_execute_tool_duration_seconds", times, calls, gen_ai_tool_name=tool)
    written = np.cumsum(np.where(random.random(seconds) < 0.15, random.lognormal(16, 1.0, seconds), 300_000.0))
    source.add("system_disk_io_bytes_total", times, written.tolist())
    source.add("process_resident_memory_bytes", times, (8e7 + 8e6 * (1 - np.exp(-np.arange(seconds) / 40.0))).tolist())
    return source
