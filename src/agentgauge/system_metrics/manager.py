"""``SystemMetricsManager``: the face of everything that is known of the machine inside the program."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from prometheus_client import REGISTRY, CollectorRegistry

from agentgauge.config import Config, is_disabled
from agentgauge.errors import ConfigurationError
from agentgauge.notification import Notifier
from agentgauge.requirements import require_clock, require_count, require_seconds
from agentgauge.system_metrics import breaches, checks
from agentgauge.system_metrics.collecting import Collection, Collectors, begin_in_thread, is_in_coroutine, make_event
from agentgauge.system_metrics.files import choose_file, to_csv, to_json, write_whole
from agentgauge.system_metrics.knowledge import Knowledge
from agentgauge.system_metrics.readings import Readings
from agentgauge.targets import DEFAULT_THRESHOLDS, Threshold, require_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType

    from agentgauge.notification import Alert, AlertHandler
    from agentgauge.system_metrics.health import HealthScore
    from agentgauge.system_metrics.readings import AnyCollector, MetricPoint
    from agentgauge.system_metrics.summary import PerformanceSummary

__all__ = ["SystemMetricsManager"]

_PATIENCE_INTERVALS = 3
_LEAST_PATIENCE_SECONDS = 10.0


class SystemMetricsManager:
    """Reads the machine, keeps a while of it, judges it by thresholds, and tells handlers what starts, changes and ends.

    It works with its defaults, and needs no ``agentgauge.start()``. Its methods may be called from any thread; ``async with``
    starts and stops the collection, ``with`` ends the threads of one that is only asked now and then. A forked child has the
    thresholds, collectors and handlers, no history, and collects nothing until ``start_collection()``.

    Args:
        collectors: Which collectors of the machine run, such as ``("host",)``; unless given those of ``AGENTGAUGE_COLLECTORS``,
            else those that ``start()`` runs.
        thresholds: The limits to begin with; ``agentgauge.targets.DEFAULT_THRESHOLDS`` unless given.
        registry: Where ``agentgauge_threshold_breached`` is shown while it collects, and ``agentgauge_threshold`` where nothing
            else shows that; ``prometheus_client.REGISTRY`` unless given.
        history_seconds: How long readings are kept.
        history_points: How many readings of one series are kept.
        series_limit: How many series a pass takes, and how many are kept; more are counted in the performance summary.
        collector_timeout_seconds: How long a pass waits for one collector; unless given that of
            ``AGENTGAUGE_COLLECTOR_TIMEOUT_SECONDS``, else 0.5.
        handler_timeout_seconds: How long an alert handler may take for one notification.
        clock: Seconds that never go back, by which thresholds are held.
        wall_clock: Unix time, by which readings and alerts are dated.

    Raises:
        ConfigurationError: An argument cannot work; the message names it and the fix.
    """

    def __init__(
        self,
        *,
        collectors: Iterable[str] | None = None,
        thresholds: Iterable[Threshold] | None = None,
        registry: CollectorRegistry | None = None,
        history_seconds: float = 3600.0,
        history_points: int = 1000,
        series_limit: int = 2000,
        collector_timeout_seconds: float | None = None,
        handler_timeout_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        names = checks.require_names("collectors", collectors)
        require_seconds("history_seconds", history_seconds)
        require_count("history_points", history_points)
        require_count("series_limit", series_limit)
        if registry is not None and not isinstance(registry, CollectorRegistry):
            raise ConfigurationError(f"registry={registry!r}: give a CollectorRegistry of prometheus_client, or leave it out")
        require_clock("clock", clock)
        require_clock("wall_clock", wall_clock)
        limits = (
            DEFAULT_THRESHOLDS if thresholds is None else require_list("thresholds", thresholds, Threshold, checks.AN_EXAMPLE)
        )
        self._notifier = Notifier(handler_timeout_seconds)
        settings: dict[str, Any] = {"collectors": names, "collector_timeout_seconds": collector_timeout_seconds}
        self._collectors = Collectors(Config(collectors=()) if is_disabled() else Config.load(**settings))
        self._knowledge = Knowledge(history_seconds, history_points, series_limit)
        for threshold in limits:
            self._knowledge.set_threshold(threshold)
        self._registry = REGISTRY if registry is None else registry
        self._series_limit = series_limit
        self._clock = clock
        self._wall_clock = wall_clock
        self._renew()
        _managers.add(self)
        weakref.finalize(self, self._collectors.close_later).atexit = False

    def _renew(self) -> None:
        self._passing = threading.RLock()  # held for a whole pass, which waits for collectors
        self._lock = threading.RLock()  # held to see whether a collection runs or to change that; nothing is waited for in it
        self._collection: Collection | None = None

    def _renew_in_child(self) -> None:
        self._renew()
        self._collectors.renew()
        self._knowledge.forget()

    # --- what it is made of -----------------------------------------------------------------------------------------------

    def add_collector(self, name: str, collector: AnyCollector) -> None:
        """Read ``collector``, too, from the next pass on, in a thread of its own; one that fails or hangs costs itself.

        Args:
            name: What it is called in ``agentgauge_internal_errors_total`` and in the summary.
            collector: Anything with ``collect()``, which returns metric families of prometheus_client or a dict of names and
                numbers; a ``CollectorRegistry`` is one.

        Raises:
            ConfigurationError: The name is taken, or there is no ``collect()``.
        """
        self._collectors.add(name, collector)

    def remove_collector(self, name: str) -> None:
        """Read a collector no more; what it read stays in the history, and alerts on it end for want of readings.

        Args:
            name: As it was added; those of the machine, such as ``host``, can be removed, too.

        Raises:
            ConfigurationError: There is none of that name.
        """
        self._collectors.remove(name)

    def set_threshold(
        self, threshold: Threshold | str, value: float | None = None, *arguments: Any, **settings: Any
    ) -> Threshold:
        """Watch a limit, in the place of one of the same metric, labels, severity and operator.

        What is an alert by the limit before goes on until a reading is well by the new one.

        Args:
            threshold: A ``Threshold``, or the metric of one.
            value: The limit, where a metric is given.
            arguments: The severity and the operator, as ``Threshold`` takes them.
            settings: Any other attribute of ``Threshold``, such as ``hold_seconds=300``.

        Returns:
            The threshold.

        Raises:
            ConfigurationError: It cannot work; the message names the fix.
        """
        checked = checks.as_threshold(threshold, value, arguments, settings)
        self._knowledge.set_threshold(checked)
        return checked

    def remove_threshold(self, threshold: Threshold) -> None:
        """Watch a limit no more; alerts by it end with the next pass. Nothing to do where it is not watched."""
        self._knowledge.remove_threshold(checks.require_threshold(threshold))

    def add_alert_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` once when an alert starts, changes its severity and ends; from now on.

        Args:
            handler: Takes one ``Notification``: a function or destination in a thread of its own, a coroutine function on the
                loop of ``start_collection()``. One that fails costs no other: see ``PerformanceSummary.handlers``.

        Raises:
            ConfigurationError: It cannot be called with one argument.
        """
        self._notifier.add(handler)

    def remove_alert_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` nothing more; nothing to do where it is not there."""
        self._notifier.remove(handler)

    # --- collection -------------------------------------------------------------------------------------------------------

    async def start_collection(self, interval_seconds: float = 15.0) -> None:
        """Make a pass now, and one every so often until ``stop_collection()``, in a thread: a busy event loop delays none.

        Nothing to do where it runs already, or where ``AGENTGAUGE_DISABLED`` is set.

        Args:
            interval_seconds: From one pass to the next. An alert ends when its series has no reading for three of them,
                10 seconds at least.

        Raises:
            ConfigurationError: The interval is no positive number of seconds, or another one runs already.
        """
        require_seconds("interval_seconds", interval_seconds)
        if is_disabled():
            return
        has_begun, on_first = make_event()
        with self._lock:
            if self._collection is not None:
                self._collection.join(interval_seconds)
                return
            self._notifier.use_loop(asyncio.get_running_loop())
            self._knowledge.set_patience(max(_PATIENCE_INTERVALS * interval_seconds, _LEAST_PATIENCE_SECONDS))
            collection = Collection(self._pass, interval_seconds, on_first)
            collection.start()
            self._collection = collection
        try:
            breaches.show(self, self._registry)
            await has_begun.wait()
            collection.is_awaited = True
        except BaseException:  # cancelled, mostly: nobody knows that it runs, so nobody would stop it
            if not collection.is_awaited and self._give_up(collection):
                begin_in_thread(partial(self._end, collection))
            raise

    async def stop_collection(self) -> None:
        """Make no more passes, end all threads of it, and wait until handlers were told everything, for as long as one may take.

        Alerts are not ended by it. Where it is cancelled, all that happens nevertheless, with nobody waiting.
        """
        self._give_up(collection := self._collection)
        has_ended, on_end = make_event()
        begin_in_thread(partial(self._end, collection), on_end)
        await has_ended.wait()

    def close(self) -> None:
        """Stop collecting and end all threads, as ``stop_collection()`` does, for programs without an event loop.

        The manager can be used again after it. In a coroutine it does not wait for handlers, which may need its event loop.
        """
        self._give_up(collection := self._collection)
        self._end(collection, is_patient=not is_in_coroutine())

    def _give_up(self, collection: Collection | None) -> bool:
        """Tell whether the collection is the one that runs, which it is no more."""
        with self._lock:
            if collection is None or self._collection is not collection:
                return False
            self._collection = None
        breaches.hide(self, self._registry)
        return True

    def _end(self, collection: Collection | None, *, is_patient: bool = True) -> None:
        if collection is not None:
            collection.stop()
        if is_patient:
            self._notifier.flush(self._notifier.timeout_seconds)
        with self._lock:
            if self._collection is not None:  # it was started again
                return
            if is_patient:  # else what was told a moment ago may not have come to the loop yet
                self._notifier.use_loop(None)
            self._knowledge.set_patience(None)
            sweeps = self._collectors.take()
        for sweep in sweeps:
            sweep.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.start_collection()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop_collection()

    def _pass(self) -> None:
        with self._passing:
            began = time.perf_counter()
            wanted = {threshold.metric for threshold in self._knowledge.states}
            readings = self._collectors.read(self._wall_clock(), self._series_limit, wanted)
            if readings is not None:
                told = self._knowledge.take_in(readings, self._clock(), time.perf_counter() - began)
                self._notifier.tell(told)  # still in the pass, so that what comes later is told later

    def _read(self, *, is_last_enough: bool) -> Readings:
        """Return what the last pass read; make one where there is none, or none that will do."""
        if not is_disabled():
            readings = self._knowledge.readings
            if readings is not None and (is_last_enough or self._collection is not None):
                return readings
            self._pass()
        return self._knowledge.readings or Readings(self._wall_clock())

    # --- what it knows ----------------------------------------------------------------------------------------------------

    def get_current_metrics(self) -> dict[str, tuple[MetricPoint, ...]]:
        """Return the last pass by metric; where no collection runs, make one: a coroutine's event loop waits for that, too.

        Returns:
            A point for each series of the metric: ``get_current_metrics()["system_memory_utilization_ratio"][0].value``. What
            cannot be read is absent.
        """
        return self._read(is_last_enough=False).points()

    def get_metric_history(
        self, metric: str, duration: float | timedelta | None = None, *, labels: Mapping[str, str] | None = None
    ) -> tuple[MetricPoint, ...]:
        """Return the readings of a metric, the oldest first.

        Args:
            metric: Its name in Prometheus text.
            duration: How far back, in seconds or as a ``timedelta``; everything that is kept unless given.
            labels: Only those of series that have these labels.

        Raises:
            ConfigurationError: The metric is no text, the labels are no dict, or the duration is no positive, finite time.
        """
        return self._knowledge.points(checks.require_metric(metric), self._since(duration), checks.require_labels(labels))

    def get_active_alerts(self) -> tuple[Alert, ...]:
        """Return the alerts as of the last pass, the most severe first, then the oldest."""
        return self._knowledge.alerts

    def get_system_health_score(self) -> HealthScore:
        """Rate the system from 0 to 100 as of the last pass, with what is measured and what took points.

        Where there was no pass, one is made.

        Returns:
            The score; its ``points`` are None where no threshold has a reading.
        """
        self._read(is_last_enough=True)
        return self._knowledge.health()

    def get_performance_summary(self, duration: float | timedelta | None = None) -> PerformanceSummary:
        """Sum up the readings that are kept: the last, least, mean, p95 and greatest of each series, of a counter its growth.

        Where there was no pass, one is made.

        Args:
            duration: How far back, in seconds or as a ``timedelta``; everything that is kept unless given.

        Raises:
            ConfigurationError: The duration is no positive, finite time.
        """
        since = self._since(duration)
        self._read(is_last_enough=True)
        return self._knowledge.summary(since, None if duration is None else checks.as_seconds(duration), self._notifier.reports)

    def export_metrics(
        self,
        path: str | os.PathLike[str],
        format: Literal["json", "csv"] | None = None,  # noqa: A002 - the name is given
    ) -> Path:
        """Write everything that is known into a file, which is there whole or not at all.

        JSON has the current readings, the history, the alerts, the score and the thresholds; what is no finite number is the text
        ``"NaN"``, ``"+Inf"`` or ``"-Inf"`` there. CSV has the history, a reading a line.

        Args:
            path: The file; one that is there is replaced and keeps its permissions, and a link to one stays.
            format: ``json`` or ``csv``; by the end of the path unless given.

        Returns:
            The path.

        Raises:
            ConfigurationError: The format is unknown, or the path is that of a folder, a pipe or a device.
            OSError: The file cannot be written; what was there before is unchanged.
        """
        written, chosen = choose_file(path, format)
        self._read(is_last_enough=True)
        if chosen == "csv":
            text = to_csv(self._knowledge.points(None, -math.inf))
        else:
            text = to_json({"exported_at": self._wall_clock(), **self._knowledge.document()})
        write_whole(written, text)
        return written

    def threshold_states(self) -> Mapping[Threshold, bool | None]:
        """Tell of each threshold whether there is an alert, None where nothing was read; of none while nothing is collected."""
        return {} if self._collection is None else self._knowledge.states

    def _since(self, duration: float | timedelta | None) -> float:
        return -math.inf if duration is None else self._clock() - checks.as_seconds(duration)


_managers: weakref.WeakSet[SystemMetricsManager] = weakref.WeakSet()


def _renew_in_child() -> None:
    for manager in list(_managers):
        manager._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
