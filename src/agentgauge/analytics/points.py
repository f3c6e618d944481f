"""What was recorded of one metric: an appendable tail, taken into two arrays in batches and cut by age and by count."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, compress
from operator import itemgetter, lt
from struct import pack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EARLIEST", "FULL_TAIL", "LATEST", "Points", "Retention", "Series"]

FULL_TAIL = 1024
"""A tail of so many numbers, two for each point, is taken in."""

EARLIEST = -62_135_596_800.0
LATEST = 253_402_300_799.0
"""The years 1 to 9999, which datetimes can tell; milliseconds since 1970 lie far beyond."""

_FEW_LATE = 16  # where not more than one in so many is late, they are sorted in one by one
_SLACK = 1024  # points, so that short series are not cut over and over
_time_of = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of each metric.

    Attributes:
        period_seconds: What is older goes; None keeps any age.
        max_data_points: Of more, the newest stay; None keeps any number.
    """

    period_seconds: float | None = None
    max_data_points: int | None = None

    def horizon(self, now: float) -> float:
        """Return the time before which nothing is kept, Unix time in seconds."""
        return -math.inf if self.period_seconds is None else now - self.period_seconds


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """What was recorded of one metric, the earliest first; those of one time in the order in which they were recorded.

    Attributes:
        metric: Its name.
        times: Unix times in seconds.
        values: One for each time; all are finite.
    """

    metric: str
    times: array[float]
    values: array[float]

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[tuple[datetime, float]]:
        """Go over the points, their times in UTC."""
        return ((datetime.fromtimestamp(at, UTC), value) for at, value in zip(self.times, self.values, strict=True))

    def between(self, since: float, until: float) -> Points:
        """Return those from ``since`` on and before ``until``, Unix times in seconds."""
        begin, end = bisect_left(self.times, since), bisect_left(self.times, until)
        return Points(self.metric, self.times[begin:end], self.values[begin:end])


class Series:
    """The points of one metric. Any thread may append to ``tail``; all else is for one thread at a time.

    Attributes:
        tail: What was recorded last, as time, value, time, value; one ``+=`` of a tuple is whole, whatever other threads do.
    """

    __slots__ = ("_cut_at", "_floor", "_is_mixed", "_late_times", "_late_values", "_times", "_values", "tail")

    def __init__(self) -> None:
        self.tail: list[float] = []
        self.replace(array("d"), array("d"))

    def replace(self, times: array[float], values: array[float]) -> None:
        """Hold these points, and no others but for those in the tail."""
        self._times, self._values = array("d"), array("d")  # in order
        self._late_times, self._late_values = times, values  # what came after a later one, until the next cut
        self._is_mixed = True  # many are late: all that comes is with them, in the order in which it was recorded
        self._floor = -math.inf
        self._cut_at = 0

    def take_tail(self, retention: Retention, now: float) -> tuple[array[float], array[float], int]:
        """Take the tail in, and cut what is held where it has grown enough since the last time.

        Returns:
            The times and values that were taken, whether they are kept or not, and how many points were refused, since a number
            was not finite or a time not of the years 1 to 9999.
        """
        tail = self.tail
        taken = tail[: len(tail) & ~1]
        del tail[: len(taken)]  # others append at the other end
        times, refused = taken[0::2], 0
        ordered = sorted(times)
        # a sum is finite only if all that it is of are; that of finite numbers may still not be
        if times and not (math.isfinite(sum(taken)) and ordered[0] >= EARLIEST and ordered[-1] <= LATEST):
            taken = list(chain.from_iterable(pair for pair in zip(times, taken[1::2], strict=True) if _is_fine(*pair)))
            refused = len(times) - len(taken) // 2
            times = taken[0::2]
            ordered = sorted(times)
        both = array("d")
        both.frombytes(pack(f"{len(taken)}d", *taken))  # in half the time that array() takes
        new_times, new_values = both[0::2], both[1::2]
        if times:
            if ordered == times and not self._is_mixed and not (self._times and times[0] < self._times[-1]):
                self._times += new_times  # with no call in between, so that no signal handler can raise there
                self._values += new_values
            else:
                self._add_disordered(new_times, new_values)
            if len(self._times) + len(self._late_times) >= self._cut_at:
                self.cut(retention, now)
        return new_times, new_values, refused

    def _add_disordered(self, times: array[float], values: array[float]) -> None:
        """Add what is in time to what is in order, and the rest to what is late; where much is late, all of it."""
        late = [] if self._is_mixed else _late(times.tolist(), self._times[-1] if self._times else -math.inf)
        self._is_mixed = self._is_mixed or len(late) * _FEW_LATE > len(times)
        if self._is_mixed:
            self._add_late(times, values)
            return
        self._add_late(array("d", [times[place] for place in late]), array("d", [values[place] for place in late]))
        in_time, its_values = times[:], values[:]
        for place in reversed(late):
            del in_time[place]
            del its_values[place]
        self._times += in_time  # with no call in between, as above
        self._values += its_values

    def _add_late(self, times: array[float], values: array[float]) -> None:
        """Add what is to be sorted in, but for what is too old: there are enough newer ones of all else."""
        if min(times) < self._floor:
            pairs = [pair for pair in zip(times, values, strict=True) if pair[0] >= self._floor]
            times, values = array("d", [at for at, _ in pairs]), array("d", [value for _, value in pairs])
        self._late_times += times
        self._late_values += values

    def cut(self, retention: Retention, now: float) -> None:
        """Put the points in order, and keep what ``retention`` keeps.

        The next cut without being asked for is due when there are some times as many, so that one point costs the same however
        many are kept.
        """
        was_mixed = self._is_mixed
        if self._late_times:
            times, values = self._sorted() if was_mixed else self._merged()
            late_times, late_values = array("d"), array("d")
            self._times, self._values, self._late_times, self._late_values = times, values, late_times, late_values
        self._is_mixed = False
        first = bisect_left(self._times, retention.horizon(now))
        if retention.max_data_points is not None:
            first = max(first, len(self._times) - retention.max_data_points)
            is_full = len(self._times) - first == retention.max_data_points
            self._floor = self._times[first] if is_full else -math.inf
        if first > 0:
            del self._times[:first]
            del self._values[:first]
        self._cut_at = (4 if was_mixed else 2) * len(self._times) + _SLACK  # sorting is dear, and what comes is like what came

    def _merged(self) -> tuple[array[float], array[float]]:
        """Return all in order: each late one after those of its time, which were all recorded before it."""
        times, values, begin = array("d"), array("d"), 0
        for at, value in sorted(zip(self._late_times, self._late_values, strict=True), key=_time_of):
            end = bisect_right(self._times, at, begin)
            times += self._times[begin:end]
            values += self._values[begin:end]
            times.append(at)
            values.append(value)
            begin = end
        return times + self._times[begin:], values + self._values[begin:]

    def _sorted(self) -> tuple[array[float], array[float]]:
        """Return the same where much is late: that which is, was recorded after all else, and sorting is stable."""
        in_time = zip(self._times, self._values, strict=True)
        late = zip(self._late_times, self._late_values, strict=True)
        pairs = sorted(chain(in_time, late), key=_time_of)
        return array("d", [at for at, _ in pairs]), array("d", [value for _, value in pairs])

    def copy(self) -> tuple[array[float], array[float]]:
        """Return the times and values that are held, in the order of the last cut."""
        return self._times[:], self._values[:]


def _late(times: list[float], newest: float) -> list[int]:
    """Return the places of the times before which there is a later one."""
    late: list[int] = []
    goes_on_at = 0
    falls = compress(range(1, len(times)), map(lt, times[1:], times))  # all others are in time, and most are
    for fall in chain([0] if times[0] < newest else [], falls):
        if fall < goes_on_at:
            continue
        newest = times[fall - 1] if fall else newest
        while fall < len(times) and times[fall] < newest:
            late.append(fall)
            fall += 1  # noqa: PLW2901 - where it ends
        goes_on_at = fall
    return late


def _is_fine(at: float, value: float) -> bool:
    return EARLIEST <= at <= LATEST and math.isfinite(value)
