"""The thread that reads the collectors, and the collectors that it reads."""

from __future__ import annotations

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
    from collections.abc import Callable

    from agentgauge.config import Config

__all__ = ["Collection", "Collectors"]

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
        if "gpu" in (config.collectors or ()):  # what is named and needs a package that is missing is refused now
            self._sweeps["gpu"] = self._builders["gpu"]()

    def add(self, name: str, collector: object) -> None:
        """Read ``collector`` from the next pass on.

        Raises:
            ConfigurationError: The name is taken, or there is no ``collect()``.
        """
        adapted = adapt(name, collector)
        if name in self._builders:
            raise ConfigurationError(f"add_collector(name={name!r}): there is one of that name; remove_collector({name!r}) first")
        sweep = partial(Sweep, {name: adapted}, self._timeout_seconds, fresh_seconds=0.0)
        self._builders = {**self._builders, name: sweep}

    def remove(self, name: str) -> None:
        """Read it no more.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name not in self._builders:
            raise ConfigurationError(f"remove_collector({name!r}): there are only {', '.join(self._builders) or 'none'}")
        self._builders = {other: kept for other, kept in self._builders.items() if other != name}
        sweep = self._sweeps.pop(name, None)
        if sweep is not None:
            sweep.close()

    def read(self, at: float, series_limit: int) -> Readings:
        """Read every collector; one that fails or is late is missing, and ``Readings.collectors`` says so.

        Args:
            at: The time of the pass, in Unix time.
            series_limit: How many series it may take.
        """
        readings = Readings(at)
        for name, build_sweep in self._builders.items():
            readings.collectors[name] = False
            with contain_internal_errors(f"collector_{name}"):
                sweep = self._sweeps.get(name) or self._sweeps.setdefault(name, build_sweep())
                metrics = sweep.collect()
                told = [sample for metric in metrics if metric.name == COLLECTOR_SUCCESS.name for sample in metric.samples]
                readings.add(metrics, series_limit)
                readings.collectors[name] = any(sample.value == 1 and sample.labels == {"collector": name} for sample in told)
        return readings

    def close(self) -> None:
        """End the threads of the collectors, and whatever watches between readings, until the next reading."""
        sweeps, self._sweeps = self._sweeps, {}
        for sweep in sweeps.values():
            sweep.close()


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
    """

    def __init__(self, run: Callable[[], None], interval_seconds: float, on_first: Callable[[], None]) -> None:
        self._run = run
        self.interval_seconds = interval_seconds
        self._on_first = on_first
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="agentgauge-system-metrics", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: There is no thread to be had.
        """
        self._thread.start()

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
