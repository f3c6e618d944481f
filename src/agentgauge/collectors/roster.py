"""Which collectors run, and what they leave to others."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from prometheus_client import GCCollector, PlatformCollector
from prometheus_client import ProcessCollector as ClientProcessCollector

from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.process import ProcessCollector, UniqueMemoryCollector
from agentgauge.collectors.sweep import Sweep
from agentgauge.errors import ConfigurationError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    from agentgauge.config import Config

__all__ = ["build", "default_names"]

_DEFAULT = ("host", "process", "container")
_GPU_PACKAGE = "pynvml"  # nvidia-ml-py's


def build(config: Config, registry: CollectorRegistry) -> Sweep | None:
    """Build the collectors that the settings name, not yet registered.

    Args:
        config: Names the collectors and how long a scrape waits for them.
        registry: Where the sweep will be registered; families that it has already keep their owners.

    Returns:
        The sweep that runs them, or ``None`` where the settings name none.

    Raises:
        ConfigurationError: A collector that is named needs a package that is missing.
    """
    names = config.collectors
    if names is None:
        names = default_names()
    elif "gpu" in names and not _has_gpu_package():
        raise ConfigurationError("collectors: 'gpu' needs nvidia-ml-py: pip install 'agentgauge[gpu]', or leave it out")
    builders: dict[str, Callable[[], Collector]] = {
        "host": HostCollector,
        "process": lambda: ProcessCollector(_find_owned_names(registry)),
        "container": lambda: load("agentgauge.collectors.container").ContainerCollector(),
        "gpu": lambda: load("agentgauge.collectors.gpu").GpuCollector(),
        "unique-memory": UniqueMemoryCollector,
    }
    collectors: dict[str, Collector] = {}
    try:
        for name in names:
            collectors[name] = builders[name]()
    except BaseException:
        Sweep(collectors, config.collector_timeout_seconds).close()  # what they watch already
        raise
    return Sweep(collectors, config.collector_timeout_seconds) if collectors else None


def default_names() -> tuple[str, ...]:
    """Name the collectors that run where the settings name none."""
    return (*_DEFAULT, "gpu") if _has_gpu_package() else _DEFAULT


def _has_gpu_package() -> bool:
    try:
        return find_spec(_GPU_PACKAGE) is not None
    except ValueError:  # something without a __spec__ that a program, or its tests, put in the package's place
        return False


def _find_owned_names(registry: CollectorRegistry) -> frozenset[str]:
    names = set(getattr(registry, "_names_to_collectors", {}))
    # a registry without auto_describe does not know the names of prometheus_client's own collectors
    for collector in list(getattr(registry, "_collector_to_names", {})):
        if isinstance(collector, ClientProcessCollector | GCCollector | PlatformCollector):
            names.update(sample.name for metric in collector.collect() for sample in metric.samples)
    return frozenset(names)
