"""The thread that reads the collectors, and the collectors that it reads."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from agentgauge.catalogue import COLLECTOR_SUCCESS
from agentgauge.collectors.roster import build, default_names
from agentgauge.collectors.sweep import Sweep
from agentgauge.errors import ConfigurationError, contain_internal_errors
from agentgauge.system_metrics.readings import Readings, adapt

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from agentgauge.config import Config

__all__ = ["Collection", "Collectors", "begin_in_thread", "is_in_coroutine", "make_event"]

_JOIN_SECONDS = 5.0


class Collectors:
    """The collectors of one manager, each with a deadline of its own: one that hangs is waited for once, and is missing then.

    Those of the machine may watch between two readings, so they are built for the first, and given back by ``close()``.

    Args:
        config: Names those of the machine, and how long one of them may take.
    """

    def __init__(self, config: Config) -> None:
        self._timeout_seconds = config.collector_timeout_seconds
        names = default_names() if config.collectors is None else config.collectors
        self._builders = {name: partial(_build, replace(config, collectors=(name,))) for name in names}
        self._sweeps: dict[str, Sweep] = {}
        self._times_closed = 0
        self.renew()
        if "gpu" in (config.collectors or ()):  # what is named and needs a package that is missing is refused now
            self._sweeps["gpu"] = self._builders["gpu"]()

    def renew(self) -> None:
        """Make a new lock, as a forked child must: another thread of the parent may have held it."""
        self._lock = threading.RLock()  # never held while something is built, read or closed, which takes its time

    def add(self, name: str, collector: object) -> None:
        """Read ``collector`` from the next pass on.

        Raises:
            ConfigurationError: The name is taken, or there is no ``collect()``.
        """
        sweep = partial(Sweep, {name: adapt(name, collector)}, self._timeout_seconds, fresh_seconds=0.0)
        with self._lock:
            if name in self._builders:
                raise ConfigurationError(
                    f"add_collector(name={name!r}): there is one of that name; remove_collector({name!r}) first"
                )
            self._builders = {**self._builders, name: sweep}

    def remove(self, name: str) -> None:
        """Read it no more, be it in the middle of a pass.

        Raises:
            ConfigurationError: There is none of that name.
        """
        with self._lock:
            if name not in self._builders:
                raise ConfigurationError(f"remove_collector({name!r}): there are only {', '.join(self._builders) or 'none'}")
            self._builders = {other: kept for other, kept in self._builders.items() if other != name}
            sweep = self._sweeps.pop(name, None)
        if sweep is not None:
            sweep.close()

    def read(self, at: float, series_limit: int, wanted: Container[str] = ()) -> Readings | None:
        """Read every collector, all of them at once; one that fails or is late is missing, and ``Readings.collectors`` says so.

        Args:
            at: The time of the pass, in Unix time.
            series_limit: How many series it may take.
            wanted: Names of metrics that are taken before all others.

        Returns:
            What was read; None where ``close()`` came in between.
        """
        readings = Readings(at)
        with self._lock:
            builders, times_closed = self._builders, self._times_closed
        sweeps: dict[str, Sweep] = {}
        for name, build_sweep in builders.items():
            readings.collectors[name] = False
            with contain_internal_errors(f"collector_{name}"):
                if (sweep := self._sweep(name, build_sweep, times_closed)) is not None:
                    sweeps[name] = sweep
        waiting = {name: sweep.begin() for name, sweep in sweeps.items()}
        for name, finish in waiting.items():
            with contain_internal_errors(f"collector_{name}"):
                metrics = finish()
                if self._sweeps.get(name) is not sweeps[name]:
                    continue
                told = [sample for metric in metrics if metric.name == COLLECTOR_SUCCESS.name for sample in metric.samples]
                readings.offer(metrics)
                readings.collectors[name] = any(sample.value == 1 and sample.labels == {"collector": name} for sample in told)
        readings.admit(series_limit, wanted)
        with self._lock:
            for name, build_sweep in builders.items():
                if self._builders.get(name) is not build_sweep:
                    del readings.collectors[name]  # it was removed meanwhile
            return readings if self._times_closed == times_closed else None

    def _sweep(self, name: str, build_sweep: Callable[[], Sweep], times_closed: int) -> Sweep | None:
        def is_wanted() -> bool:
            return self._builders.get(name) is build_sweep and self._times_closed == times_closed

        with self._lock:
            if not is_wanted():
                return None
            if (known := self._sweeps.get(name)) is not None:
                return known
        sweep = build_sweep()
        with self._lock:
            if is_wanted():
                return self._sweeps.setdefault(name, sweep)
        sweep.close()
        return None

    def take(self) -> tuple[Sweep, ...]:
        """Give up what reads, until the next reading, for the caller to close; a pass that is being made comes to nothing."""
        with self._lock:
            self._times_closed += 1
            sweeps, self._sweeps = self._sweeps, {}
        return tuple(sweeps.values())

    def close(self) -> None:
        """End the threads of the collectors, and whatever watches between readings, until the next reading."""
        for sweep in self.take():
            sweep.close()

    def close_later(self) -> None:
        """Do so in a thread: for the garbage collector, which may stop any thread anywhere, with any lock held."""
        if self._sweeps and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):  # no thread is to be had, or the interpreter is ending
                # start() waits for locks of threading, too, so that not even that is done here
                _thread.start_new_thread(threading.Thread(target=self.close, name="agentgauge-close", daemon=True).start, ())


def _build(config: Config) -> Sweep:
    # for a registry of its own: what another registry exports already is read here, too
    sweep = build(config, CollectorRegistry())
    if sweep is None:
        raise AssertionError
    return sweep


class Collection:
    """A thread that makes a pass at once and then every so often.

    Args:
        run: Makes one pass.
        interval_seconds: From the start of one pass to the start of the next; one that takes longer lets the next wait.
        on_first: Called by the thread when the first pass is made.

    Attributes:
        is_awaited: Whether a ``start_collection()`` has returned with it, so that somebody knows that it runs.
    """

    def __init__(self, run: Callable[[], None], interval_seconds: float, on_first: Callable[[], None]) -> None:
        self._run = run
        self.interval_seconds = interval_seconds
        self.is_awaited = False
        self._on_first = on_first
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="agentgauge-system-metrics", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        self._thread.start()

    def join(self, interval_seconds: float) -> None:
        """Let it be the one that is asked for.

        Raises:
            ConfigurationError: It has another interval.
        """
        if self.interval_seconds != interval_seconds:
            raise ConfigurationError(
                f"start_collection(interval_seconds={interval_seconds!r}): it runs every {self.interval_seconds:g} seconds; "
                "await stop_collection() first"
            )
        self.is_awaited = True

    def stop(self) -> None:
        """End the thread after the pass that it makes, if any; waits for that for up to 5 seconds."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        due = time.monotonic()
        try:
            self._pass()
        finally:
            self._on_first()
        while True:
            due = max(due + self.interval_seconds, time.monotonic())
            if self._stopping.wait(due - time.monotonic()):
                return
            self._pass()

    def _pass(self) -> None:
        with contain_internal_errors("system_metrics"):
            self._run()


def begin_in_thread(work: Callable[[], None], on_end: Callable[[], None] | None = None) -> None:
    """Do what blocks in a thread that no ending program waits for, as it does for those of ``asyncio.to_thread``."""

    def run() -> None:
        try:
            with contain_internal_errors("system_metrics"):
                work()
        finally:
            if on_end is not None:
                on_end()

    try:
        threading.Thread(target=run, name="agentgauge-system-metrics-stop", daemon=True).start()
    except RuntimeError:  # no thread is to be had
        run()


def make_event() -> tuple[asyncio.Event, Callable[[], None]]:
    """Return an event of the running loop, and what sets it from any thread."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def set_event() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(event.set)

    return event, set_event


def is_in_coroutine() -> bool:
    """Tell whether an event loop waits for what this thread does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
