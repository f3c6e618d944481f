"""Series in promtool's notation: ``0+8x60`` is 0, 8, 16 and so on, ``_`` no sample, and ``stale`` the end of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STALE = "stale"
"""What a scrape notes of a series that the one before had and this one has not."""
_SHORTEST = 3  # of fewer numbers no progression is made
_LARGEST_PLAIN = 1e15


def notation(samples: Sequence[float | str | None]) -> str:
    """Write samples, one an interval, as short as promtool reads them.

    Args:
        samples: A number each, ``STALE``, or None where there is none.
    """
    parts: list[str] = []
    at = 0
    while at < len(samples):
        part, count = _part(samples, at)
        parts.append(part)
        at += count
    return " ".join(parts)


def _part(samples: Sequence[float | str | None], at: int) -> tuple[str, int]:
    """Write as many samples as go into one part, and count them."""
    first = samples[at]
    if first == STALE:
        return STALE, 1
    equal = 1
    while at + equal < len(samples) and _text(samples[at + equal]) == _text(first):
        equal += 1
    if not isinstance(first, float):
        return ("_" if equal == 1 else f"_x{equal}"), equal
    if equal > 1:
        no_step = "" if first == first - first + first else "+0"  # NaN and infinity are words, into which an x would run
        return f"{_text(first)}{no_step}x{equal - 1}", equal
    step, count = _progression(samples, at, first)
    if count < _SHORTEST:
        return _text(first), 1
    sign = "+" if step > 0 else "-"
    return f"{_text(first)}{sign}{_text(abs(step))}x{count - 1}", count


def _progression(samples: Sequence[float | str | None], at: int, first: float) -> tuple[float, int]:
    """Return the step from sample to sample, and how many samples promtool makes of it, which adds it again and again."""
    second = samples[at + 1] if at + 1 < len(samples) else None
    if not isinstance(second, float):
        return 0.0, 1
    step, value, count = second - first, first, 0
    while at + count < len(samples) and samples[at + count] == value:
        value += step
        count += 1
    return step, count


def _text(sample: float | str | None) -> str:
    if not isinstance(sample, float):
        return str(sample)
    if sample.is_integer() and abs(sample) < _LARGEST_PLAIN:
        return str(int(sample))
    return {"nan": "NaN", "inf": "Inf", "-inf": "-Inf"}.get(repr(sample), repr(sample))
