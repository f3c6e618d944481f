"""What callers give: numbers and times, or a message that says what is none."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from agentgauge.analytics.points import EARLIEST, LATEST
from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["numbers_given", "times_of"]


def numbers_given(name: str, given: Iterable[float]) -> array[float]:
    """Return numbers that a caller gave.

    Raises:
        ConfigurationError: One is none; the message names the argument.
    """
    try:
        return array("d", iter(given))  # bytes would be taken for numbers as they lie
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"{name}: give numbers ({error})") from error


def times_of(name: str, given: Iterable[float]) -> array[float]:
    """Return times that a caller gave, Unix time in seconds.

    Raises:
        ConfigurationError: One is none; the message names the argument.
    """
    times = numbers_given(name, given)
    # one sweep of a time to come, such as one in milliseconds, would let none of now be written
    wrong = next((at for at in times if not EARLIEST <= at <= LATEST), None)
    if wrong is not None:
        raise ConfigurationError(f"{name}: {wrong} is no time: give Unix time in seconds, of the years 1 to 9999")
    return times
