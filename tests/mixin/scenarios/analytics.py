"""Programs that keep a history and analyse it."""

from __future__ import annotations

import random
import threading
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING
from unittest.mock import patch

from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.sampler import Sampler
from agentgauge.analytics.watch import AnalysisWatch
from agentgauge.errors import HistoryError
from made_source import MadeSource
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

HOURS, MINUTE = 6, 60.0
LOOKED_AT = [measure for measure in MEASURES if measure.name in {"tasks_in_progress", "host_memory"}]


def _past(changes: range) -> MadeSource:
    """Six hours and then one in which the tasks in progress are ten and a few, but for a while they are ninety."""
    noise = random.Random(7)
    minutes = range(-HOURS * 60, 61)
    times = [minute * MINUTE for minute in minutes]
    tasks = [10 + noise.gauss(0, 2) + (80 if minute in changes else 0) for minute in minutes]
    memory = [0.5 + noise.gauss(0, 0.01) for _ in minutes]
    source = MadeSource().add("agent_tasks_in_progress", times, tasks, gen_ai_agent_name="r", agent_task="t")
    return source.add("system_memory_utilization_ratio", times, memory)


class _SoFar:
    """A source of which only what has been is known."""

    name = "so far"

    def __init__(self, process: Process, source: MadeSource) -> None:
        self._process, self._source = process, source

    def __getattr__(self, name):
        return getattr(self._source, name)

    def extent(self):
        return -HOURS * 60 * MINUTE, self._process.clock.now


def _minutes(process: Process) -> Iterator[int]:
    """Let an hour go by, with the scraper."""
    for minute in range(61):
        process.clock.advance(MINUTE if minute else 0)
        yield minute


@contextmanager
def _watching(process: Process, changes: range) -> Iterator[AnalysisWatch]:
    source = _SoFar(process, _past(changes))
    watch = AnalysisWatch(lambda: nullcontext(source), measures=LOOKED_AT, clock=process.clock)
    with patch("agentgauge.analytics.watch.plan_capacity", return_value=[]):
        yield watch
    watch.stop()


def changes_for_long(process: Process) -> Iterator[None]:
    """For twenty minutes nine times as many tasks of "t" are in progress as before; it analyses its history each minute."""
    with _watching(process, range(11, 31)) as watch:
        for _ in _minutes(process):
            watch.look()
            yield


def changes_for_a_moment(process: Process) -> Iterator[None]:
    """For one minute nine times as many are."""
    with _watching(process, range(11, 12)) as watch:
        for _ in _minutes(process):
            watch.look()
            yield


def stops_looking(process: Process) -> Iterator[None]:
    """Between the tenth and the fortieth minute it does not analyse its history."""
    with _watching(process, range(0)) as watch:
        for minute in _minutes(process):
            if not 10 < minute < 40:
                watch.look()
            yield


class _Store:
    """A history that cannot be written for a while."""

    def __init__(self, process: Process, until: float) -> None:
        self._process, self._until = process, until

    def write(self, at: float, samples: object) -> None:
        del at, samples
        if 10 * MINUTE <= self._process.clock.now < self._until:
            raise HistoryError("there is no space")

    def last_sweep(self) -> None:
        return None

    def close(self) -> None:
        pass


def _keeps(process: Process, until_minute: float) -> Iterator[None]:
    store = _Store(process, until_minute * MINUTE)
    clock = process.clock
    sampler = Sampler(
        "none.db", lambda: store, process.isolation.registry, MINUTE, store=store, clock=clock, monotonic=lambda: clock.now
    )
    with patch.object(threading.Thread, "start", side_effect=RuntimeError("the scraper's minutes are not real ones")):
        sampler.start()
    with closing(_Ended(sampler)):
        for _ in _minutes(process):
            sampler.sweep()
            yield


class _Ended:
    def __init__(self, sampler: Sampler) -> None:
        self.close = sampler.stop


def cannot_write(process: Process) -> Iterator[None]:
    """For twenty minutes it cannot write its history, and keeps it in memory."""
    yield from _keeps(process, 30)


def cannot_write_for_a_moment(process: Process) -> Iterator[None]:
    """For three minutes it cannot."""
    yield from _keeps(process, 13)


CASES: dict[str, list[Target]] = {
    "What is out of the ordinary for more than five minutes is reported, until it is ordinary again": [
        Program(changes_for_long),
        Program(changes_for_a_moment, "b", "b:1"),
    ],
    "A program that does not analyse its history any more is reported, until it does": [
        Program(stops_looking),
        Program(changes_for_a_moment, "b", "b:1"),
    ],
    "A history that is kept in memory alone is reported, until it is written": [
        Program(cannot_write, has_faults=True),
        Program(cannot_write_for_a_moment, "b", "b:1", has_faults=True),
    ],
}
