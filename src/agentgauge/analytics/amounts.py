"""How people see values: digits that mean something, with a unit, the same in sentences, tables and pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime

__all__ = ["LEAST_PROBABILITY", "amount", "as_iso", "counted", "duration", "moment", "percent"]

LEAST_PROBABILITY = 1e-300
"""What is told of those that are less, 0 among them: no data can tell that something is impossible."""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_THOUSAND = 1000.0
_BINARY = 1024.0
_SUFFIXES = {"per_second": "/s", "cores": " cores", "tokens": " tokens", "calls": " calls"}
_EVERY = ("_per_day", "_per_call")


def amount(value: float, unit: str = "") -> str:
    """Return a value with its unit, to three digits or all of the whole ones.

    Args:
        value: A number, finite or not.
        unit: As measures and columns name it, such as ``seconds``, ``ratio``, ``usd_per_second`` or ``calls_per_day``,
            ``probability`` for p-values, or ``points`` for how far two ratios lie apart; none for others.
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    match unit:
        case "ratio":
            return f"{_digits(100 * value)} %"
        case "points":  # of two ratios: how far they lie apart
            return f"{_digits(100 * value)} percentage points"
        case "seconds":
            return duration(value)
        case "bytes" | "bytes_per_second":
            return f"{_bytes(value)}{unit.removeprefix('bytes').replace('_per_second', '/s')}"
        case "usd":
            return _usd(value)
        case "usd_per_second":  # nobody thinks in dollars a second
            return f"{_usd(value * _HOUR)}/h"
        case "probability" if value <= LEAST_PROBABILITY:
            return f"<{LEAST_PROBABILITY:g}"
        case "count":
            return f"{round(value):,}"
        case "time":
            return moment(value)
        case _ if unit in _SUFFIXES or not unit.endswith(_EVERY):
            return f"{_digits(value)}{_SUFFIXES.get(unit, '')}"
        case _:
            counted_in, _, every = unit.rpartition("_per_")
            return f"{amount(value, counted_in)}/{every}"


def percent(share: float) -> str:
    """Return a share as per cent without its sign: two digits, or all that are before the point."""
    size = abs(share) * 100
    return f"{size:,.0f}" if size >= 10 else f"{size:.2g}"  # noqa: PLR2004


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return how many there are of something: ``1 agent``, ``2 agents``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return a length of time in the unit that suits it: ``240 ms``, ``1.5 s``, ``12 min``, ``3.2 h``, ``2 d``."""
    size = abs(seconds)
    for least, name, of in ((2 * _DAY, "d", _DAY), (2 * _HOUR, "h", _HOUR), (2 * _MINUTE, "min", _MINUTE), (1.0, "s", 1.0)):
        if size >= least:
            return f"{_digits(seconds / of)} {name}"
    if size == 0:
        return "0 s"
    return f"{_digits(1000 * seconds)} ms"


def as_iso(at: float) -> str:
    """Return a Unix time as ISO 8601 in UTC, with milliseconds where there are any."""
    try:
        instant = datetime.fromtimestamp(round(at, 3), UTC)
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"
    precision = "milliseconds" if instant.microsecond else "seconds"
    return instant.isoformat(timespec=precision).replace("+00:00", "Z")


def moment(at: float) -> str:
    """Return a Unix time as people read it, in UTC: ``2026-05-04 12:00:00 UTC``."""
    return as_iso(at).replace("T", " ").replace("Z", " UTC")


def _digits(value: float) -> str:
    """Three digits that mean something, all of the whole ones, and no exponent between a millionth and a billion."""
    size = abs(value)
    if size == 0:
        return "0"
    if not 1e-6 <= size < 1e9:  # noqa: PLR2004 - where an exponent reads better
        return f"{value:.3g}"
    if size >= 100:  # noqa: PLR2004 - whole digits alone
        return f"{value:,.0f}"
    places = max(0, 2 - math.floor(math.log10(size)))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bytes(value: float) -> str:
    size = value
    for name in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < _BINARY:
            return f"{_digits(size)} {name}"
        size /= _BINARY
    return f"{_digits(size)} TiB"


def _usd(value: float) -> str:
    sign, size = "-" if value < 0 else "", abs(value)
    if size and size < 1:
        return f"{sign}${_digits(size)}"
    return f"{sign}${size:,.2f}" if size < _THOUSAND else f"{sign}${size:,.0f}"
