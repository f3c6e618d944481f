"""The composition root: ``start()`` builds the parts, ``stop()`` gives everything back."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry

from agentgauge import catalogue
from agentgauge.config import Config, is_disabled
from agentgauge.errors import ConfigurationError, contain_internal_errors
from agentgauge.recording.default import default_collector, default_recorder
from agentgauge.recording.drainer import Drainer
from agentgauge.recording.fork_guard import guard
from agentgauge.targets import DEFAULT_THRESHOLDS, Threshold

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from agentgauge.exposition.server import MetricsServer
    from agentgauge.recording.points import Labels

__all__ = ["Monitor", "start", "stop"]

_logger = logging.getLogger("agentgauge")


class Monitor:
    """A running agentgauge, as ``start()`` returns it.

    Attributes:
        config: Its settings.
        registry: Where its series are.
    """

    def __init__(self, config: Config, registry: CollectorRegistry, thresholds: tuple[Threshold, ...]) -> None:
        """Build the parts; raises ConfigurationError before anything is started."""
        self.config = config
        self.registry = registry
        self.thresholds = thresholds
        self.process_id = os.getpid()
        self._url: str | None = None
        self._give_back = ExitStack()
        self._registered: list[Collector] = []
        self._is_ready = False
        if not is_disabled():
            with ExitStack() as on_failure:
                on_failure.callback(self.stop)
                self._start()
                on_failure.pop_all()

    @property
    def url(self) -> str | None:
        """Where Prometheus finds ``/metrics``; None where this process serves nothing.

        That is: the server is switched off, everything is disabled, a sibling process has the port, or this is a forked child.
        """
        return self._url if self.process_id == os.getpid() else None

    def _start(self) -> None:
        server = self._bind_server() if self.config.is_server_enabled else None
        recorder = default_recorder()
        recorder.series_limit = self.config.series_limit
        self._register_collectors()
        self._export_targets()
        drainer = Drainer(recorder, self.config.drain_interval_seconds)
        drainer.start()
        self._give_back.callback(drainer.stop)
        if server is not None:
            server.start()
            self._url = server.url
        self._is_ready = True
        self._give_back.callback(setattr, self, "_is_ready", False)

    def _bind_server(self) -> MetricsServer | None:
        from agentgauge.exposition.response import respond  # noqa: PLC0415 - a program without the server does not pay for it
        from agentgauge.exposition.server import MetricsServer  # noqa: PLC0415 - a program without the server does not pay for it

        server = MetricsServer(
            self.config,
            functools.partial(
                respond,
                registry=self.registry,
                config=self.config,
                is_ready=lambda: self._is_ready,
                on_scrape=self._note_scrape,
            ),
        )
        if not server.bind():
            return None
        self._give_back.callback(server.close)
        return server

    def _register_collectors(self) -> None:
        guard(self.registry)
        if self.registry is not REGISTRY:  # where the default recorder is at home
            self._register(default_collector())
        if self.config.collectors:
            from agentgauge.collectors.roster import build  # noqa: PLC0415 - psutil is loaded for those who want it

            sweep = build(self.config, self.registry)
            if sweep is not None:
                self._give_back.callback(sweep.close)
                self._register(sweep)

    def _register(self, collector: Collector) -> None:
        self.registry.register(collector)
        self._registered.append(collector)
        self._give_back.callback(self._unregister, collector)

    def _unregister(self, collector: Collector) -> None:
        self._registered.remove(collector)
        self.registry.unregister(collector)

    def _export_targets(self) -> None:
        recorder = default_recorder()
        for threshold in self.thresholds:
            labels = (("metric", threshold.metric), ("severity", threshold.severity), ("operator", threshold.operator))
            recorder.observe(catalogue.THRESHOLD, labels, threshold.value)
        self._give_back.callback(recorder.withdraw, catalogue.THRESHOLD)
        target = _target_labels({**self.config.resource_attributes, "service.name": self.config.service_name})
        if target:
            recorder.observe(catalogue.TARGET_INFO, target, 1)
            self._give_back.callback(recorder.withdraw, catalogue.TARGET_INFO)

    def _note_scrape(self, seconds: float, cpu_seconds: float) -> None:
        recorder = default_recorder()
        recorder.observe(catalogue.SCRAPE_DURATION, (), seconds)
        recorder.overhead_seconds += cpu_seconds

    def stop(self) -> None:
        """Give everything back: the port, the threads, the registrations; what was recorded stays in the registry."""
        global _running  # noqa: PLW0603 - at most one runs in a process
        if _running is self:
            _running = None
        self._url = None
        with contain_internal_errors("stop"):
            self._give_back.close()

    def leave_to_parent(self) -> None:
        """Forget, in a forked child, what only the parent has: its threads and its port; take its registrations back."""
        for collector in list(self._registered):
            with contain_internal_errors("stop"):
                self._unregister(collector)


_lock = threading.Lock()
_running: Monitor | None = None


def start(
    *, registry: CollectorRegistry = REGISTRY, thresholds: Iterable[Threshold] = DEFAULT_THRESHOLDS, **settings: Any
) -> Monitor:
    """Serve ``/metrics``, run the collectors, and export the targets that the shipped rules obey.

    A second call returns what runs already. In a forked child it starts anew; where a sibling process has the port, the child
    says so once and goes on without a server.

    Args:
        registry: Where the series are and what is served.
        thresholds: The limits on readings that are exported.
        settings: Any attribute of ``Config``, such as ``port=9464``.

    Returns:
        The running monitor.

    Raises:
        ConfigurationError: A setting cannot work, the port is taken, or another monitor runs with other settings. Nothing was
            started.
    """
    global _running  # noqa: PLW0603 - at most one runs in a process
    if not isinstance(registry, CollectorRegistry):
        raise ConfigurationError(f"registry={registry!r}: give a CollectorRegistry of prometheus_client, or leave it out")
    config = Config.load(**settings)
    limits = _checked(thresholds)
    with _lock:
        if _running is not None and _running.process_id != os.getpid():
            _running.leave_to_parent()
            _running = None
        if _running is not None:
            _require_same(_running, config, registry, limits, settings)
            return _running
        _running = Monitor(config, registry, limits)
        return _running


def stop() -> None:
    """Stop what ``start()`` started in this process; nothing to do where nothing runs."""
    with _lock:
        if _running is not None and _running.process_id == os.getpid():
            _running.stop()


def _checked(thresholds: Iterable[Threshold]) -> tuple[Threshold, ...]:
    if not isinstance(thresholds, Iterable):
        raise ConfigurationError(
            f"thresholds={thresholds!r}: give a list, such as [Threshold('system_memory_utilization_ratio', 0.9)]"
        )
    limits = tuple(thresholds)
    for limit in limits:
        if not isinstance(limit, Threshold):
            raise ConfigurationError(
                f"thresholds: {limit!r} is no Threshold; write Threshold('system_memory_utilization_ratio', 0.9)"
            )
    return limits


def _require_same(
    running: Monitor, config: Config, registry: CollectorRegistry, thresholds: tuple[Threshold, ...], settings: dict[str, Any]
) -> None:
    """Let a second ``start()`` pass where it asks for nothing else than what runs."""
    different = [
        setting.name
        for setting in fields(Config)
        if setting.name in settings and getattr(config, setting.name) != getattr(running.config, setting.name)
    ]
    if registry is not REGISTRY and registry is not running.registry:
        different.append("registry")
    if thresholds not in (DEFAULT_THRESHOLDS, running.thresholds):
        different.append("thresholds")
    if different:
        raise ConfigurationError(f"start() was called before with another {', '.join(different)}: call stop() first")


def _target_labels(attributes: dict[str, str | None]) -> Labels:
    """Make labels of resource attributes; where two have the same name as a label, join their values with ``;``.

    Source: OpenTelemetry specification, Prometheus and OpenMetrics compatibility, "Metric Attributes".
    """
    labels: dict[str, str] = {}
    for attribute, value in sorted(attributes.items()):
        if value:
            name = _label_name(attribute)
            labels[name] = f"{labels[name]};{value}" if name in labels else value
    return tuple(labels.items())


def _label_name(attribute: str) -> str:
    name = "".join(character if character.isascii() and character.isalnum() else "_" for character in attribute)
    return f"_{name}" if name[:1].isdigit() else name


def _renew_lock_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it at the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_in_child)
