"""The thresholds of running managers, as series of a registry."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol

from prometheus_client.core import Metric

from agentgauge.catalogue import THRESHOLD_BREACHED
from agentgauge.collectors.targets import TargetsCollector, threshold_metric
from agentgauge.errors import contain_internal_errors
from agentgauge.fork_gate import ForkGate
from agentgauge.recording.fork_guard import guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import CollectorRegistry

    from agentgauge.targets import Threshold

__all__ = ["BreachesCollector", "hide", "show"]


class _Manager(Protocol):
    def threshold_states(self) -> Mapping[Threshold, bool | None]: ...


class BreachesCollector:
    """Shows what all managers of one registry watch: one series for a metric, severity and operator, however many ask for it.

    A threshold that something else in the registry exports, as ``start()`` does, is left to that; so is one that a metric,
    severity and operator do not tell in full, since rules cannot obey it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.managers: tuple[_Manager, ...] = ()  # replaced, never changed: scrapes look at it meanwhile
        self._registry = weakref.ref(registry)

    def describe(self) -> list[Metric]:
        """Declare nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield both families, each where it has a series."""
        metrics: list[Metric] = []
        with contain_internal_errors("thresholds"):
            states = [item for manager in self.managers for item in manager.threshold_states().items()]
            limits: dict[tuple[str, str, str], Threshold] = {}
            breached: dict[tuple[str, str, str], bool] = {}
            for threshold, state in states:
                name = _name(threshold)
                if threshold.is_exact:
                    limits.setdefault(name, threshold)
                if state is not None:
                    breached[name] = breached.get(name, False) or state
            metrics += self._limits(limits)
            if breached:
                metric = Metric(THRESHOLD_BREACHED.base_name, THRESHOLD_BREACHED.help, THRESHOLD_BREACHED.kind.value)
                for (family, severity, operator), state in breached.items():
                    labels = {"metric": family, "severity": severity, "operator": operator}
                    metric.add_sample(THRESHOLD_BREACHED.name, labels, float(state))
                metrics.append(metric)
        yield from metrics

    def _limits(self, limits: Mapping[tuple[str, str, str], Threshold]) -> Iterator[Metric]:
        registered = list(getattr(self._registry(), "_collector_to_names", {}))
        others = (collector.thresholds for collector in registered if isinstance(collector, TargetsCollector))
        shown = {_name(threshold) for thresholds in others for threshold in thresholds}
        if ours := [threshold for name, threshold in limits.items() if name not in shown]:
            yield threshold_metric(ours)


_gate = ForkGate()
_collectors: weakref.WeakKeyDictionary[CollectorRegistry, BreachesCollector] = weakref.WeakKeyDictionary()


def show(manager: _Manager, registry: CollectorRegistry) -> None:
    """Show a manager's thresholds in ``registry`` from now on."""
    guard(registry)
    with _gate.lock:
        collector = _collectors.get(registry)
        if collector is None:
            collector = _collectors[registry] = BreachesCollector(registry)
        if not collector.managers:
            registry.register(collector)
        collector.managers = (*collector.managers, manager)


def hide(manager: _Manager, registry: CollectorRegistry) -> None:
    """Show them no more; nothing to do where they are not shown."""
    with _gate.lock:
        collector = _collectors.get(registry)
        if collector is not None and manager in collector.managers:
            collector.managers = tuple(other for other in collector.managers if other is not manager)
            if not collector.managers:
                registry.unregister(collector)


def _name(threshold: Threshold) -> tuple[str, str, str]:
    return (threshold.metric, threshold.severity, threshold.operator)
