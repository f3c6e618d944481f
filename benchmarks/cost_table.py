"""The table of costs as Markdown: each row against its bar, and from what duration on a call is slowed by less than 5 %."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls import FAILING_NAMES, NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rows import Row

__all__ = ["render", "shortest_call_microseconds"]

_CALLS_FOR_5_PERCENT = 20
_LONG = 1000  # from here on digits behind the point tell nothing
_HEAD = """\
| | agentgauge | the same by | ratio | bar | under 5 % of a call from |
|---|---|---|---|---|---|"""


def shortest_call_microseconds(row: Row) -> float | None:
    """Return from what duration on a call is slowed by less than 5 %; None where the row is no way to record a call."""
    return row.ours / 1e3 * _CALLS_FOR_5_PERCENT if row.name in (*NAMES, *FAILING_NAMES) else None


def render(rows: Sequence[Row]) -> str:
    """Return the table."""
    return "\n".join([_HEAD, *map(_line, rows)])


def _line(row: Row) -> str:
    reference = "" if row.reference is None else f"{_amount(row.reference, row.unit)} {_code(row.against)}"
    value, bar = (f"{value:.3g}x" if row.bar.unit == "x" else "" for value in (row.value, row.bar.bar))
    if row.bar.unit != "x":
        bar = f"{row.bar.bar:g} {row.bar.unit}"
        value = f"{row.value:.3g} {row.bar.unit}"
    shortest = shortest_call_microseconds(row)
    missed = "" if row.is_met(0) else " **missed**"
    return (
        f"| {row.name} | {_amount(row.ours, row.unit)} | {reference} | {value} | {bar}{missed} "
        f"| {'' if shortest is None else f'{shortest:.0f} µs'} |"
    )


def _amount(value: float, unit: str) -> str:
    if unit == "ns":
        return f"{value / 1e3:.2f} µs"
    return f"{value:,.0f} {unit}" if value >= _LONG else f"{value:.3g} {unit}"


def _code(name: str) -> str:
    return f"`{name}`" if "_" in name and " " not in name else name
