"""The thread that looks at the local history again and again, and states what is out of the ordinary and what is needed."""

from __future__ import annotations

import math
import threading
import time
from contextlib import nullcontext
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.analytics.analysis.findings import LEAST_KNOWN
from agentgauge.analytics.anomalies import judge_signals
from agentgauge.analytics.extras import load_extra
from agentgauge.analytics.forecasts import plan_capacity
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.steps import finer_step
from agentgauge.catalogue.analytics import (
    ANALYSIS_DURATION,
    ANALYSIS_INTERVAL,
    ANALYSIS_LAST_RUN,
    ANALYSIS_SIGNALS,
    ANOMALY_SCORE,
    CAPACITY_CONCURRENCY,
    CAPACITY_REPLICAS,
    CAPACITY_TASK_RATE,
    MEASURE,
)
from agentgauge.errors import contain_internal_errors
from agentgauge.fork_gate import process_mark
from agentgauge.recording.cells import ABSENT
from agentgauge.recording.default import default_recorder
from agentgauge.requirements import require_clock, require_count, require_ratio, require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from agentgauge.analytics.anomalies import JudgedSignal
    from agentgauge.analytics.frames import Source
    from agentgauge.analytics.signals import Measure
    from agentgauge.catalogue import Family
    from agentgauge.recording.points import Labels

__all__ = ["AnalysisWatch"]

_STOP_SECONDS = 1.0
_FIRST_SECONDS = 1.0
_ALPHA = 0.001  # it looks often: what chance does once in so many windows is still some days apart
_SHORT_POINTS = 360
_YOUNG_POINTS = LEAST_KNOWN + 16  # of a younger history finer steps are looked at
_LONG_STEP_SECONDS = 900
_LONG_DAYS = 10
_LEAST_DAYS = 4
_DAY_SECONDS = 86400
_HORIZON_SECONDS = 3600.0
_HORIZON_STEPS = 60
_LEAST_STEPS = 16
_LOCAL_SHAPES = frozenset({"spike", "variance"})  # what can be told without knowing the season
_AT_THE_END = 2
_STALE_STEPS = 5
_CPU_SHARE = 0.02  # of a core: the host program pays for it
_OF_THE_LAST_RUN = {ANALYSIS_INTERVAL, ANALYSIS_LAST_RUN}
_DIGITS = 3


class AnalysisWatch:
    """Judges the newest values of every signal each ``interval_seconds``, and plans the capacity each 15 minutes.

    From four days of history on, levels and silence are judged against the season of a day, in steps of 15 minutes; until then
    against the last 360 intervals. A history of fewer than 80 intervals is looked at in finer steps, of two sweeps: with one each
    15 s the first signals are judged after 33 minutes. Signals of which fewer than 64 steps of enough calls are known are not.

    A look costs some milliseconds of CPU a signal. Where that would be more than ``cpu_share`` of a core, looks become rarer, and
    the stated interval is the real one. Of a history whose last sample is older than five intervals nothing is stated, nor is
    anything once no look has succeeded for so long.

    Args:
        open_source: Opens what is read, such as ``lambda: History(path, is_read_only=True)``; closed after each look. None while
            there is nothing of this program's to read.
        interval_seconds: From one look to the next, and the longest step of what it looks at.
        concurrency_per_replica: How many tasks a replica of this program does at once, for its capacity.
        target_utilization: Which share of those places should be busy.
        horizon_seconds: How far ahead the capacity is planned: as long as a new replica needs to come, and some more.
        measures: What is looked at.
        cpu_share: The share of one core that looks may take on average.
        clock: Unix time in seconds.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        open_source: Callable[[], AbstractContextManager[Source] | None],
        *,
        interval_seconds: float = 60.0,
        concurrency_per_replica: int = 1,
        target_utilization: float = 0.7,
        horizon_seconds: float = _HORIZON_SECONDS,
        measures: Sequence[Measure] = MEASURES,
        cpu_share: float = _CPU_SHARE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        require_seconds("interval_seconds", interval_seconds, "60")
        require_seconds("horizon_seconds", horizon_seconds, "3600")
        require_count("concurrency_per_replica", concurrency_per_replica, "4")
        require_ratio("cpu_share", cpu_share, "0.02")
        require_clock("clock", clock)
        self._open_source = open_source
        self._interval_seconds = interval_seconds
        self._concurrency = concurrency_per_replica
        self._utilization = target_utilization
        self._horizon_seconds = horizon_seconds
        self._measures = measures
        self._cpu_share = cpu_share
        self._pause_seconds = interval_seconds
        self._rest_seconds = 0.0  # after a look that failed
        self._clock = clock
        self._mark = process_mark()
        self._wake: SimpleQueue[None] = SimpleQueue()  # not an Event, whose set() could wait for itself in a signal handler
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._recorder = default_recorder()
        self._lock = threading.RLock()  # a look that stop() has left behind must not state anything anew; stop() may meet itself
        self._stated: dict[tuple[Family, Labels], float] = {}
        self._long: dict[Labels, float] = {}
        self._long_at = self._planned_at = float("-inf")
        self._plan: dict[tuple[Family, Labels], float] = {}

    def start(self) -> None:
        """Look from now on, in a thread; that it cannot start is no error."""
        thread = threading.Thread(target=self._run, name="agentgauge-analysis", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            return
        self._thread = thread

    def stop(self) -> None:
        """End the thread and take its series away; a look that takes longer than a second is left behind.

        There is nothing to do in a forked child: the thread is its parent's.
        """
        if self._mark != process_mark():
            return
        self._is_stopping = True
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._wake.put(None)
            thread.join(_STOP_SECONDS)
        self._state({})

    def _run(self) -> None:
        while not self._is_stopping:
            with contain_internal_errors("analysis"):
                self.look()
            try:
                # until the first sweep is written there is nothing to see, and it does not take long
                pause = self._pause_seconds if self._stated else min(_FIRST_SECONDS, self._interval_seconds)
                self._wake.get(timeout=min(max(pause, self._rest_seconds), _DAY_SECONDS))
            except Empty:
                continue

    # --- one look ---------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look once, and state what was found; the thread does it, and tests.

        Raises:
            SourceError: The history cannot be read.
            ConfigurationError: The extra ``analysis`` is not installed.
        """
        if self._mark != process_mark():
            return
        for library in ("numpy", "scipy.stats"):  # once, and not at the cost of a look
            load_extra(library, "analysis", "is_analysis_enabled")
        cpu_begun = time.thread_time()
        try:
            self._look(cpu_begun)
        except Exception:
            self._rest_seconds = (time.thread_time() - cpu_begun) / self._cpu_share
            self._forget_what_is_old()
            raise
        self._rest_seconds = 0.0

    def _forget_what_is_old(self) -> None:
        """Take away what earlier looks found, where for long none has found anything."""
        last = self._stated.get((ANALYSIS_LAST_RUN, ()), -math.inf)
        if abs(self._clock() - last) > _STALE_STEPS * self._pause_seconds:  # or the clock went back
            self._state_the_last_run()

    def _state_the_last_run(self) -> None:
        self._state({key: value for key, value in self._stated.items() if key[0] in _OF_THE_LAST_RUN})

    def _look(self, cpu_begun: float) -> None:
        begun = time.monotonic()
        with self._open_source() or nullcontext() as source:
            extent = None if source is None else source.extent()
            if source is None or extent is None or self._clock() - extent[1] > _STALE_STEPS * self._interval_seconds:
                self._state_the_last_run()
                return
            first, now = extent[0], min(max(extent[0], self._clock()), extent[1])  # what is not written yet is no silence
            is_seasonal = now - first >= _LEAST_DAYS * _DAY_SECONDS
            if not is_seasonal:
                self._long = {}
            elif not 0 <= now - self._long_at < _LONG_STEP_SECONDS:
                since = max(now - _LONG_DAYS * _DAY_SECONDS, first)
                self._long = self._scores(self._judged(source, Grid.over(since, now, _LONG_STEP_SECONDS)), None)
                self._long_at = now
            judged = self._judged(source, self._grid(source, first, now))
            if not 0 <= now - self._planned_at < _LONG_STEP_SECONDS:
                self._plan = {}
                with contain_internal_errors("analysis"):
                    self._plan = self._capacity(source, first, now)
                if self._plan:
                    self._planned_at = now
        if self._is_stopping:
            return
        scores = self._scores(judged, _LOCAL_SHAPES if is_seasonal else None)
        for labels, score in self._long.items():
            scores[labels] = max(score, scores.get(labels, 0.0))
        stated = {(ANOMALY_SCORE, labels): round(score, _DIGITS) for labels, score in scores.items()} | self._plan
        told = sum(one.is_judged for one in judged)
        stated[ANALYSIS_SIGNALS, (("state", "judged"),)] = float(told)
        stated[ANALYSIS_SIGNALS, (("state", "too_short"),)] = float(len(judged) - told)
        self._pause_seconds = max(self._interval_seconds, (time.thread_time() - cpu_begun) / self._cpu_share)
        stated[ANALYSIS_INTERVAL, ()] = self._pause_seconds
        stated[ANALYSIS_DURATION, ()] = time.monotonic() - begun
        stated[ANALYSIS_LAST_RUN, ()] = self._clock()
        self._state(stated)

    def _grid(self, source: Source, first: float, now: float) -> Grid:
        """Return the last 360 intervals; of a history with few of them, finer steps."""
        since = max(now - _SHORT_POINTS * self._interval_seconds, first - self._interval_seconds)
        grid = Grid.over(since, now, self._interval_seconds)
        padding = grid.count * grid.step_seconds / max(now - first, self._interval_seconds)  # steps that begin before it does
        step = finer_step(source, grid, math.ceil(_YOUNG_POINTS * padding))
        return grid if step == self._interval_seconds else Grid.over(max(since, first - step), now, step)

    def _judged(self, source: Source, grid: Grid) -> list[JudgedSignal]:
        """Judge measure by measure, so that it can be stopped in between."""
        judged: list[JudgedSignal] = []
        for measure in self._measures:
            if self._is_stopping:
                break
            judged += judge_signals(source, grid, measures=(measure,), alpha=_ALPHA / len(self._measures))
        return judged

    def _scores(self, judged: Sequence[JudgedSignal], shapes: frozenset[str] | None) -> dict[Labels, float]:
        """Return the score of the end of each signal that was judged, the highest where several have the same labels."""
        scores: dict[Labels, float] = {}
        for one in judged:
            judgement = one.judgement
            if not one.is_judged:
                continue
            if shapes is None:
                score = judgement.now
            else:
                last = one.signal.grid.count - _AT_THE_END
                score = max((it.score for it in judgement.findings if it.last >= last and it.shape in shapes), default=0.0)
            labels = _labels(one.signal.measure.name, one.signal.labels)
            scores[labels] = max(score, scores.get(labels, 0.0))
        return scores

    def _capacity(self, source: Source, first: float, now: float) -> dict[tuple[Family, Labels], float]:
        plan: dict[tuple[Family, Labels], float] = {}
        since, step = max(now - _LONG_DAYS * _DAY_SECONDS, first), self._horizon_seconds / _HORIZON_STEPS
        if now - since < _LEAST_STEPS * step:
            return plan
        grid = Grid.over(since, now, max(step, Grid.over(since, now).step_seconds))
        for planned in plan_capacity(
            source,
            grid,
            horizon_seconds=self._horizon_seconds,
            concurrency_per_replica=self._concurrency,
            target_utilization=self._utilization,
        ):
            labels = tuple((name, planned.labels[name]) for name in CAPACITY_REPLICAS.labels if planned.labels.get(name))
            plan[CAPACITY_REPLICAS, labels] = planned.plan.concurrency / self._concurrency
            plan[CAPACITY_TASK_RATE, labels] = planned.rate
            plan[CAPACITY_CONCURRENCY, labels] = planned.plan.load
        return plan

    def _state(self, stated: dict[tuple[Family, Labels], float]) -> None:
        with self._lock:
            if stated and self._is_stopping:
                return
            for family, labels in self._stated.keys() - stated.keys():
                self._recorder.observe(family, labels, ABSENT)
            for (family, labels), value in stated.items():
                self._recorder.observe(family, labels, value)
            self._stated = stated


def _labels(measure: str, labels: Mapping[str, str]) -> Labels:
    """Return the labels of a score: those of the family that the signal has; other ones are not told apart."""
    return ((MEASURE, measure), *((name, labels[name]) for name in ANOMALY_SCORE.labels if labels.get(name)))
