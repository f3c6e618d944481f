"""How far a request is, and how long it may still take."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

__all__ = ["Progress", "progress_at"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is.

    Attributes:
        done: How much is done, in any unit.
        total: How much there is to do, in the same unit; None where nobody knows.
        seconds: For how long the request has been worked on.
        remaining_seconds: For how long it may still go on, by what has been done so far, else by the interface's estimate; None
            where neither tells.
        message: What the work says of it.
    """

    done: float
    total: float | None
    seconds: float
    remaining_seconds: float | None
    message: str = ""

    @property
    def ratio(self) -> float | None:
        """The share that is done, None where the total is unknown."""
        return None if not self.total else min(1.0, self.done / self.total)


def progress_at(
    seconds: float, done: float, total: float | None, message: str, estimate_seconds: float | None = None
) -> Progress:
    """Return the progress after so many seconds.

    Raises:
        ValueError: A number is negative or not finite.
    """
    for name, number in (("done", done), ("total", total)):
        if number is not None and not (isfinite(number) and number >= 0):
            raise ValueError(f"report_progress({name}={number!r}): give a finite number that is not negative")
    remaining = None if estimate_seconds is None else max(0.0, estimate_seconds - seconds)
    if total is not None and done >= total:
        remaining = 0.0
    elif total is not None and done > 0:
        remaining = seconds * (total - done) / done
    return Progress(done, total, seconds, remaining, message)
