"""The composition root: ``start()`` builds the parts, ``stop()`` gives everything back."""

from __future__ import annotations

import functools
import threading
from contextlib import ExitStack
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry

from agentgauge.collectors.targets import TargetsCollector
from agentgauge.config import Config, is_disabled
from agentgauge.errors import ConfigurationError, contain_internal_errors
from agentgauge.fork_gate import LOADING, ForkGate, ForkOrder, load, process_mark
from agentgauge.limits import log_unobeyed, refuse_misspelt
from agentgauge.pages import Pages
from agentgauge.prices import Prices, read_table
from agentgauge.recording.default import default_recorder, show_default_recorder
from agentgauge.recording.drainer import Drainer
from agentgauge.recording.fork_guard import guard
from agentgauge.recording.points import clean_label
from agentgauge.targets import DEFAULT_THRESHOLDS, Budget, Threshold, require_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.registry import Collector

    from agentgauge.analytics.own_history import OwnHistory
    from agentgauge.exposition.health_pages import HealthSource
    from agentgauge.exposition.receivers import Receiver
    from agentgauge.exposition.server import MetricsServer
    from agentgauge.heartbeat import Heartbeat
    from agentgauge.instrumentors.roster import Instrumentation
    from agentgauge.recording.recorder import Recorder
    from agentgauge.recording.spendings import Spending

__all__ = ["Monitor", "start", "stop"]

_REGISTRY_SECONDS = 1.0
_T = TypeVar("_T")


class Monitor:
    """A running agentgauge, as ``start()`` returns it.

    Attributes:
        config: Its settings.
        registry: Where its series are.
        thresholds: The limits on readings that it exports.
        budgets: What LM calls may cost, as it exports it.
        pages: What the server has beside the series.
        is_draining: Whether ``drain()`` was called.
        preset: The settings that ``agentgauge run`` was given, where that started it for a program that knows nothing of it; what
            the program itself asks of ``start()`` is done then, but for these. None where the program started it.
    """

    def __init__(
        self,
        config: Config,
        registry: CollectorRegistry,
        thresholds: tuple[Threshold, ...],
        budgets: tuple[Budget, ...] = (),
        pages: Pages | None = None,
    ) -> None:
        self.config = config
        self.registry = registry
        self.thresholds = thresholds
        self.budgets = budgets
        self.pages = pages or Pages()
        self.is_draining = False
        self._heartbeat: Heartbeat | None = None
        self._mark = process_mark()
        self.preset: Mapping[str, Any] | None = None
        self._url: str | None = None
        self._is_stopped = False
        self._is_changing = False  # only ever seen by the thread that changes it, in a signal handler
        self._registrations = ExitStack()
        self._services = ExitStack()  # ports and threads: what a forked child does not have

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child, and what runs is its parent's."""
        return self._mark != process_mark()

    @property
    def url(self) -> str | None:
        """Where Prometheus finds ``/metrics``; None where this process serves nothing.

        That is: the server is switched off, everything is disabled, a sibling process has the port, or this is a forked child.
        """
        return None if self.is_inherited else self._url

    def run(self) -> None:
        """Bind the port, then start everything; give it all back where a part cannot start."""
        self._is_changing = True
        try:
            self._start_parts()
        except BaseException:
            self._is_stopped = True
            raise
        finally:
            self._is_changing = False
            if self._is_stopped:  # by a signal handler, meanwhile, or because a part cannot start
                self._give_back()

    def _start_parts(self) -> None:
        instrumentation = self._instrumentation() if self.config.instrumentors != () else None
        prices = self._prices()
        heartbeat = self._make_heartbeat() if self.config.heartbeat_file is not None else None
        server = self._bind_server() if self.config.is_server_enabled else None
        history = self._open_history() if self.config.history_file is not None else None
        recorder = default_recorder()
        self._registrations.callback(_restore_price, recorder, recorder.spendings.price)
        recorder.spendings.price = prices.price
        self._registrations.callback(setattr, recorder, "series_limit", recorder.series_limit)
        recorder.series_limit = self.config.series_limit
        self._register_collectors()
        if instrumentation is not None:
            self._registrations.callback(instrumentation.stop)
            instrumentation.start()
        drainer = Drainer(recorder, self.config.drain_interval_seconds)
        self._services.callback(drainer.stop)
        drainer.start()
        self._start_health()
        if server is not None:
            url = server.url
            server.start()
            self._url = url
        if heartbeat is not None:
            self._services.callback(heartbeat.stop)
            heartbeat.start()
            self._heartbeat = heartbeat
            if self.is_draining:  # by a signal handler, meanwhile
                heartbeat.drain()
        if history is not None:
            history.start()

    def _instrumentation(self) -> Instrumentation:
        """Check which frameworks are to be instrumented, before anything starts."""
        with LOADING.lock:
            from agentgauge.instrumentors.content import Content  # noqa: PLC0415 - a program without frameworks does not pay for it
            from agentgauge.instrumentors.roster import Instrumentation  # noqa: PLC0415 - too
        config = self.config
        is_captured = config.content_capture in ("SPAN_ONLY", "SPAN_AND_EVENT")
        content = Content(is_captured, config.content_limit_bytes, config.content_redactor)
        return Instrumentation(default_recorder(), content, config.instrumentors)

    def _prices(self) -> Prices:
        """Read the user's own prices, before anything starts."""
        of_file = {} if self.config.prices_file is None else read_table(self.config.prices_file)
        return Prices(self.config.prices, of_file)

    def _make_heartbeat(self) -> Heartbeat:
        """Check the heartbeat file, before anything starts."""
        made = load("agentgauge.heartbeat").Heartbeat  # a program without one does not pay for it
        heartbeat: Heartbeat = made(self.config.heartbeat_file, self.pages.source, self.config.heartbeat_interval_seconds)
        return heartbeat

    def _open_history(self) -> OwnHistory:
        """Open the local history, before anything starts."""
        history: OwnHistory = load("agentgauge.analytics.own_history").OwnHistory(self.config, self.registry)
        self._services.callback(history.stop)
        return history

    def _start_health(self) -> None:
        """Start the health monitor, unless the program has, who stops it then, too."""
        source = self.pages.source
        if hasattr(source, "start_monitoring") and not source.is_monitoring:
            self._services.callback(source.stop_monitoring)
            source.start_monitoring()

    def _bind_server(self) -> MetricsServer | None:
        with LOADING.lock:  # a program without the server does not pay for it
            from agentgauge.exposition.response import note_scrape, respond  # noqa: PLC0415 - see above
            from agentgauge.exposition.server import MetricsServer  # noqa: PLC0415 - see above
        server = MetricsServer(
            self.config,
            functools.partial(
                respond,
                registry=self.registry,
                config=self.config,
                is_ready=lambda: self._url is not None and not self.is_draining,
                on_scrape=note_scrape,
                health=self.pages.health,
                receivers=self.pages.receivers,
            ),
            takes_body=None if self.pages.receivers is None else self.pages.receivers.takes_body,
        )
        if not server.bind():
            return None
        self._services.callback(server.close)
        return server

    def _register_collectors(self) -> None:
        guard(self.registry)
        show_default_recorder(self.registry)
        attributes = {**self.config.resource_attributes, "service.name": self.config.service_name}
        self._register(TargetsCollector(self.thresholds, attributes, self.budgets))
        if self.config.collectors != ():
            # psutil is loaded for those who want it
            sweep = load("agentgauge.collectors.roster").build(self.config, self.registry)
            if sweep is not None:
                self._registrations.callback(sweep.close)
                self._register(sweep)

    def _register(self, collector: Collector) -> None:
        self._registrations.callback(self.registry.unregister, collector)
        self.registry.register(collector)

    def drain(self) -> None:
        """Say that the program is about to end: ``/readyz`` answers 503, and its heartbeat is not ready, until ``stop()``.

        ``/livez``, ``/healthz`` and everything else stay as they are. It waits for nothing and takes no lock, so that a handler
        of SIGTERM may call it.
        """
        self.is_draining = True
        if self._heartbeat is not None and not self.is_inherited:
            self._heartbeat.drain()

    def stop(self) -> None:
        """Give everything back: the port, the threads, the registrations; what was recorded stays in the registry.

        In a forked child that is the registrations alone: the port and the threads are the parent's. In a signal handler that
        interrupts ``start()`` or ``stop()``, what it interrupts does the work when the handler has returned.
        """
        with _gate.lock:
            self._is_stopped = True
            if not self._is_changing or self.is_inherited:
                self._give_back()

    def _give_back(self) -> None:
        global _running  # noqa: PLW0603 - at most one runs in a process
        self._is_changing = True
        try:
            self._url = None
            if not self.is_inherited:
                with contain_internal_errors("stop"):
                    self._services.close()
            # In a thread, since where a signal handler calls stop() this one may hold a registry's lock, which is not re-entrant:
            # then the registrations go as soon as the handler has returned.
            lock = getattr(self.registry, "_lock", None)
            if lock is None or not lock.locked():  # a program that ends must start no thread
                self._close_registrations()
            else:
                closing = threading.Thread(target=self._close_registrations, name="agentgauge-stop", daemon=True)
                try:
                    closing.start()
                except RuntimeError:  # no more threads, or the interpreter is ending
                    self._close_registrations()
                else:
                    closing.join(_REGISTRY_SECONDS)
        finally:
            self._is_changing = False
            if _running is self:  # the last of all: a child that is forked meanwhile finds what it has to take back
                _running = None

    def _close_registrations(self) -> None:
        with contain_internal_errors("stop"):
            self._registrations.close()


# Re-entrant: a signal handler may call stop() while the same thread is in start() or stop().
_gate = ForkGate(order=ForkOrder.STARTING)  # new in a child: another thread of the parent may have held it
_running: Monitor | None = None


def start(
    *,
    registry: CollectorRegistry | None = None,
    thresholds: Iterable[Threshold] | None = None,
    budgets: Iterable[Budget] | None = None,
    health: HealthSource | None = None,
    receivers: Iterable[Receiver] | None = None,
    **settings: Any,
) -> Monitor:
    """Serve ``/metrics``, run the collectors, and export the targets that the shipped rules obey.

    A second call returns what runs already. In a forked child it starts anew; where a sibling process has the port, the child
    says so once and goes on without a server.

    Args:
        registry: Where the series are and what is served; ``prometheus_client.REGISTRY`` unless given.
        thresholds: The limits on readings that are exported; ``agentgauge.targets.DEFAULT_THRESHOLDS`` unless given.
        budgets: What LM calls may cost, such as ``[Budget(20)]`` (``agentgauge.targets.Budget``); none unless given.
        health: Tells ``/readyz`` and ``/healthz`` how the components are: a ``SystemHealthMonitor``. Where it does not
            monitor yet it does so until ``stop()``.
        receivers: Further pages of the server that take what is sent to them by POST, such as the alerts of an Alertmanager: each
            has a path and an ``answer(method, headers, body)``, which sees to who may send.
        settings: Any attribute of ``Config``, such as ``port=9464``.

    Returns:
        The running monitor.

    Raises:
        ConfigurationError: A setting cannot work, the port is taken, or another monitor runs with other settings. Nothing was
            started.
    """
    global _running  # noqa: PLW0603 - at most one runs in a process
    config = Config() if is_disabled() else Config.load(**settings)  # the way past a setting that cannot work, too
    limits = DEFAULT_THRESHOLDS if thresholds is None else _checked(thresholds)
    spendable = () if budgets is None else _checked_budgets(budgets)
    pages = Pages.of(health, receivers)
    if receivers is not None and not config.is_server_enabled:
        raise ConfigurationError("receivers need the server, which is switched off: leave out receivers, or is_server_enabled")
    if registry is not None and not isinstance(registry, CollectorRegistry):
        raise ConfigurationError(f"registry={registry!r}: give a CollectorRegistry of prometheus_client, or leave it out")
    with _gate.lock:
        if _running is not None:
            if _running.preset and not is_disabled():
                settings = _with_preset(_running, settings)
                config = Config.load(**settings)
            parts = {"registry": registry, "thresholds": thresholds, "budgets": budgets, "health": health, "receivers": receivers}
            given = {name for name, value in (settings | parts).items() if value is not None}
            different = _different(_running, given, _settings(config, registry, limits, spendable, pages))
            if not _running.is_inherited and not different:
                return _running
            if not _running.is_inherited and _running.preset is None:
                raise ConfigurationError(f"start() was called before with another {', '.join(different)}: call stop() first")
            _running.stop()
        monitor = Monitor(config, REGISTRY if registry is None else registry, limits, spendable, pages)
        if not is_disabled():
            _running = monitor
            monitor.run()
            log_unobeyed(limits)
        return monitor


def stop() -> None:
    """Stop what ``start()`` started; nothing to do where nothing runs."""
    with _gate.lock:
        if _running is not None:
            _running.stop()


def _restore_price(recorder: Recorder, price: Callable[[Spending], float | None]) -> None:
    """Set the earlier price function back, when what ended until now has its price."""
    try:
        with contain_internal_errors("stop"):
            recorder.drain()
    finally:
        recorder.spendings.price = price


def _checked(thresholds: object) -> tuple[Threshold, ...]:
    limits = require_list("thresholds", thresholds, Threshold, "Threshold('system_memory_utilization_ratio', 0.9)")
    for limit in limits:
        if not limit.is_exact:
            raise ConfigurationError(
                f"thresholds: the one on {limit.metric} has labels or per_second, which rules cannot obey; give it to a "
                "SystemMetricsManager, which can"
            )
    refuse_misspelt(limits)
    named = [(limit.metric, limit.severity, limit.operator) for limit in limits]
    return _once("thresholds", limits, named, "value for a metric, severity and operator")


def _checked_budgets(budgets: object) -> tuple[Budget, ...]:
    checked = require_list("budgets", budgets, Budget, "Budget(20, 'day')")
    # by the label that the agent's calls have: two of one label would spoil the page
    named = [(budget.agent and clean_label(budget.agent), budget.period) for budget in checked]
    return _once("budgets", checked, named, "for an agent and period")


def _once(setting: str, values: tuple[_T, ...], names: Sequence[object], kept: str) -> tuple[_T, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{setting}: {name} is given twice; keep one {kept}")
    return values


def _with_preset(running: Monitor, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Let the options of ``agentgauge run`` hold; in a forked child, which may want a port of its own, for what is not given."""
    given = {name: value for name, value in settings.items() if value is not None}
    preset = running.preset or {}
    return {**preset, **given} if running.is_inherited else {**given, **preset}


def _different(running: Monitor, given: set[str], asked: Mapping[str, object]) -> list[str]:
    """Name what a second ``start()`` asks for that is not what runs."""
    runs = _settings(running.config, running.registry, running.thresholds, running.budgets, running.pages)
    return sorted(name for name in given if asked[name] != runs[name])


def _settings(
    config: Config,
    registry: CollectorRegistry | None,
    thresholds: tuple[Threshold, ...],
    budgets: tuple[Budget, ...],
    pages: Pages,
) -> dict[str, object]:
    return {
        **{setting.name: getattr(config, setting.name) for setting in fields(config)},
        "registry": registry,
        "thresholds": thresholds,
        "budgets": budgets,
        **pages.given,
    }
