"""Which tasks of an agent are its runs, and which run inside others: of a run only the outermost is to be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.totals import totals

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Grid, Source

__all__ = ["outermost_tasks"]

_AGENT, _TASK = "gen_ai_agent_name", "agent_task"
_RUNS, _TASKS = "gen_ai_invoke_agent_duration_seconds", "agent_task_duration_seconds"
_NEAR = 0.01  # a run that ends with the window may be in one of the two


def outermost_tasks(source: Source, grid: Grid) -> dict[str, frozenset[str]]:
    """Return the tasks of each agent that are its runs; an agent of which the series do not tell is left out.

    A run is recorded twice, as a run of its agent and as the outermost task: those are outermost whose calls and seconds come to
    those of the runs. The longest are taken first, since nothing lasts longer than what it is inside of.

    Args:
        source: Where the series are.
        grid: The window.

    Raises:
        SourceError: The source cannot be asked.
    """
    runs, ran = (totals(source, grid, f"{_RUNS}_{part}", (_AGENT,)) for part in ("count", "sum"))
    counts, lasted = (totals(source, grid, f"{_TASKS}_{part}", (_AGENT, _TASK)) for part in ("count", "sum"))
    of: dict[str, list[tuple[float, float, str]]] = {}
    for (agent, task), count in counts.items():
        if count > 0:
            of.setdefault(agent, []).append((lasted.get((agent, task), 0.0), count, task))
    found = {}
    for agent, tasks in of.items():
        count, seconds = runs.get((agent,), 0.0), ran.get((agent,), 0.0)
        if len(tasks) == 1:
            found[agent] = frozenset({tasks[0][2]})
        elif chosen := _adding_up(sorted(tasks, reverse=True), count, seconds):
            found[agent] = chosen
    return found


def _adding_up(tasks: list[tuple[float, float, str]], count: float, seconds: float) -> frozenset[str]:
    """Return the tasks that come to so many calls and seconds; none where no such are found."""
    spare_count, spare_seconds = max(1.0, _NEAR * count), _NEAR * seconds
    chosen = set()
    for own_seconds, own_count, task in tasks:
        if own_count <= count + spare_count and own_seconds <= seconds + spare_seconds:
            chosen.add(task)
            count, seconds = count - own_count, seconds - own_seconds
            if count <= spare_count:
                break
    return frozenset(chosen) if abs(count) <= spare_count and abs(seconds) <= spare_seconds else frozenset()
