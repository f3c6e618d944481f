"""Interleaved measurement of CPU time: every subject once a round, in turn; the fastest window of each counts.

This runs on machines that others use too, and what they do only ever adds to a window: caches are cold, the clock is lower,
the other hyperthread is busy. Over 15 repetitions on two loaded cores the ratio of fastest windows spread up to three times
less than that of medians (0.300 to 0.313 against 0.300 to 0.349). It hides nothing that comes late: each window begins after
a full garbage collection and ends with a drain of its own, so that every window has the same share of both.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Figure", "Subject", "measure"]


@dataclass(frozen=True)
class Subject:
    """Something that is called many times.

    Attributes:
        name: How tables call it.
        run: Makes the given number of calls.
        settle: Collects all that the calls recorded, inside the timed window, and returns how many it holds since the
            last time; None where nothing is recorded.
        prepare: Brings the process into the state that the subject needs, outside the window.
    """

    name: str
    run: Callable[[int], None]
    settle: Callable[[], int] | None = None
    prepare: Callable[[], None] | None = None


@dataclass(frozen=True)
class Figure:
    """The CPU time of one call, in nanoseconds: of the fastest window, and median and quartiles over the rounds."""

    best: float
    lower: float
    median: float
    upper: float


def measure(subjects: Sequence[Subject], *, calls: int, rounds: int) -> dict[str, Figure]:
    """Time every subject ``rounds`` times, interleaved, after one round that is thrown away.

    Args:
        subjects: What to time.
        calls: How many calls one timed window makes.
        rounds: How many windows each subject gets.

    Returns:
        A figure for each subject's name.

    Raises:
        RuntimeError: A subject did not hold exactly what was called: its time would mean nothing.
    """
    samples: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for round_number in range(rounds + 1):
        for subject in subjects:
            nanoseconds = _window(subject, calls)
            if round_number:
                samples[subject.name].append(nanoseconds)
    return {name: _figure(values) for name, values in samples.items()}


def _window(subject: Subject, calls: int) -> float:
    if subject.prepare is not None:
        subject.prepare()
    if subject.settle is not None:
        subject.settle()
    gc.collect()
    began = time.process_time_ns()
    subject.run(calls)
    held = calls if subject.settle is None else subject.settle()
    spent = time.process_time_ns() - began
    if held != calls:
        raise RuntimeError(f"{subject.name}: {calls} calls were made, {held} are held")
    return spent / calls


def _figure(values: list[float]) -> Figure:
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Figure(min(values), lower, median, upper)
