"""What every rule needs: amounts a day with intervals, and PromQL about a subject."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agentgauge.analytics.blocks import blocks_of, design_effect, inflation, memory
from agentgauge.analytics.intervals import Interval, student

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentgauge.analytics.frames import Grid

__all__ = ["daily", "effective", "end", "length", "named", "scaled", "selector", "steps", "window"]

_DAY = 86400.0


def daily(grown: Sequence[float], grid: Grid) -> tuple[float, Interval]:
    """Return what would grow in a day at the window's pace, and where that lies at 95 % (Student's t, over blocks)."""
    blocks = blocks_of([0.0, *grown])
    per_day = _DAY / (grid.count * grid.step_seconds)
    total = math.fsum(blocks)
    if len(blocks) < 2:  # noqa: PLR2004 - one block has no spread
        return total * per_day, Interval(0.0, math.inf)
    residuals = [value - total / len(blocks) for value in blocks]
    variance = math.fsum(value * value for value in residuals) / (len(blocks) - 1) * len(blocks)
    variance *= inflation(len(blocks), memory(residuals)) if variance > 0 else 1.0
    reach = student(0.95, len(blocks) - 1) * math.sqrt(variance)
    return total * per_day, Interval(max(0.0, total - reach) * per_day, (total + reach) * per_day)


def scaled(amount: tuple[float, Interval], by: float) -> tuple[float, Interval]:
    """Return an amount and its interval in another unit."""
    return amount[0] * by, Interval(amount[1].low * by, amount[1].high * by)


def selector(labels: Mapping[str, str], more: str = "") -> str:
    """Return the PromQL selector of labels, ``{a="b"}``."""
    quoted = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
    return "{" + ",".join([*quoted, more] if more else quoted) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def window(grid: Grid) -> str:
    """Return the range of the window as PromQL has it, with its end, so that whoever asks later is told the same."""
    return f"[{length(grid.count * grid.step_seconds)}] @ {end(grid)}"


def steps(grid: Grid) -> str:
    """Return the subquery of the window's steps; a millisecond less, since ranges held their beginning before Prometheus 3."""
    return f"[{length(grid.count * grid.step_seconds - 0.001)}:{length(grid.step_seconds)}] @ {end(grid)}"


def end(grid: Grid) -> str:
    """Return the window's end as PromQL has it behind an ``@``."""
    return f"{grid.end:.3f}".rstrip("0").rstrip(".")


def length(seconds: float) -> str:
    """Return a duration as PromQL has it."""
    return f"{seconds:.0f}s" if seconds == round(seconds) else f"{seconds * 1000:.0f}ms"


def effective(parts: Sequence[float], whole: Sequence[float]) -> tuple[float, float]:
    """Return hits and count of a share, made smaller for calls that are not independent, by how blocks of the steps differ."""
    hits, calls = blocks_of([0.0, *parts]), blocks_of([0.0, *whole])
    count = math.fsum(calls)
    if not count > 0:
        return 0.0, 0.0
    design = design_effect(hits, calls)
    return min(math.fsum(hits), count) / design, count / design


def named(by: tuple[str, ...], key: tuple[str, ...]) -> dict[str, str]:
    """Return labels by their names, without the empty ones."""
    return {name: value for name, value in zip(by, key, strict=True) if value}
