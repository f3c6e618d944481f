"""Which collectors run, and what they leave to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import GCCollector, PlatformCollector
from prometheus_client import ProcessCollector as ClientProcessCollector

from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.process import ProcessCollector
from agentgauge.collectors.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    from agentgauge.config import Config

__all__ = ["build"]


def build(config: Config, registry: CollectorRegistry) -> Sweep | None:
    """Build the collectors that the settings name, not yet registered.

    Args:
        config: Names the collectors and how long a scrape waits for them.
        registry: Where the sweep will be registered; families that it has already keep their owners.

    Returns:
        The sweep that runs them, or ``None`` where the settings name none.
    """
    builders: dict[str, Callable[[], Collector]] = {
        "host": HostCollector,
        "process": lambda: ProcessCollector(_find_owned_names(registry)),
    }
    collectors = {name: builders[name]() for name in config.collectors}
    return Sweep(collectors, config.collector_timeout_seconds) if collectors else None


def _find_owned_names(registry: CollectorRegistry) -> frozenset[str]:
    names = set(getattr(registry, "_names_to_collectors", {}))
    # a registry without auto_describe does not know the names of prometheus_client's own collectors
    for collector in list(getattr(registry, "_collector_to_names", {})):
        if isinstance(collector, ClientProcessCollector | GCCollector | PlatformCollector):
            names.update(sample.name for metric in collector.collect() for sample in metric.samples)
    return frozenset(names)
