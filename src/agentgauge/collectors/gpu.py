"""Readings of NVIDIA GPUs, as their driver's management library (NVML) gives them through nvidia-ml-py.

A GPU that is divided (MIG) is read as a whole. Nothing is ever set.
Source: NVML API reference, "Device Queries".
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading, gather
from agentgauge.fork_gate import ForkGate, load, process_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from agentgauge.catalogue import Family

__all__ = ["GpuCollector"]

_logger = logging.getLogger("agentgauge")

_RETRY_SECONDS = 300.0
_CLOSE_SECONDS = 1.0
_NOT_AVAILABLE = frozenset((2**32 - 1, 2**64 - 1))  # NVML_VALUE_NOT_AVAILABLE

# A child that is forked while the driver's library is at work gets a copy whose locks nobody gives back.
_driver = ForkGate()


class GpuCollector:
    """Reads every GPU, also after a fork; ``collect()`` must not run twice at once.

    Where nvidia-ml-py or the driver is missing there is nothing to read, which is no error.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, module: str = "pynvml") -> None:
        """Load and start nothing yet: that may take seconds, and only the sweep has a deadline for it.

        Args:
            clock: Seconds that never go back.
            module: The module that speaks to NVML.
        """
        self._clock = clock
        self._module = module
        self._is_closed = False
        self._attach()

    def _attach(self) -> None:
        self._process = process_mark()
        self._nvml: Any = None
        self._next_start = self._clock()

    def collect(self) -> list[Metric]:
        """Take all readings; what a GPU does not support, and a GPU that is lost, is absent."""
        with _driver.lock:
            if self._process != process_mark():  # the child starts the library anew, and never ends what its parent started
                self._attach()
            return gather("collector_gpu", (self._read,))

    def close(self) -> None:
        """Let go of the driver; later sweeps find no readings. A sweep that hangs in the driver is left alone."""
        self._is_closed = True
        if _driver.acquire(_CLOSE_SECONDS):
            try:
                if self._process == process_mark():
                    self._stop()
            finally:
                _driver.release()

    def _start(self) -> Any:
        if self._nvml is None and not self._is_closed and self._clock() >= self._next_start:
            self._next_start = self._clock() + _RETRY_SECONDS
            try:
                nvml = load(self._module)
            except ImportError as error:
                _logger.debug("no GPU is read: %s; pip install 'agentgauge[gpu]'", error)
                return None
            try:
                nvml.nvmlInit()
            except nvml.NVMLError as error:
                _logger.debug("no GPU is read: %s", error)
                return None
            self._nvml = nvml
        return self._nvml

    def _stop(self) -> None:
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()

    def _read(self) -> Iterator[Reading]:
        nvml = self._start()
        if nvml is None:
            return
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:  # the driver was unloaded, or somebody in this program shut the library down
            _logger.debug("the GPUs cannot be counted: %s", error)
            self._stop()
            self._next_start = self._clock() + (0.0 if isinstance(error, nvml.NVMLError_Uninitialized) else _RETRY_SECONDS)
            return
        for index in range(count):
            yield from _read_device(nvml, index)


def _read_device(nvml: Any, index: int) -> Iterator[Reading]:
    try:
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        labels = {"hw_id": nvml.nvmlDeviceGetUUID(device), "hw_name": nvml.nvmlDeviceGetName(device)}
    except nvml.NVMLError as error:  # lost, or not for us to look at
        _logger.debug("GPU %d cannot be read: %s", index, error)
        return
    for source in (_utilization, _memory, _temperature, _power, _power_limit, _corrected_errors, _uncorrected_errors):
        try:
            values = list(source(nvml, device))
        except nvml.NVMLError as error:
            _logger.debug("GPU %d does not tell its %s: %s", index, source.__name__.strip("_"), error)
            continue
        for family, value, more in values:
            yield Reading(family, value, {**labels, **more})


def _utilization(nvml: Any, device: Any) -> Iterator[Reading]:
    percent = nvml.nvmlDeviceGetUtilizationRates(device).gpu
    return _available(machine.GPU_UTILIZATION, percent, 100)


def _memory(nvml: Any, device: Any) -> Iterator[Reading]:
    memory = None
    if hasattr(nvml, "nvmlMemory_v2"):  # older ones count what the driver keeps for itself as used
        with contextlib.suppress(nvml.NVMLError):
            memory = nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)
    memory = memory or nvml.nvmlDeviceGetMemoryInfo(device)
    if not memory.total or not {memory.total, memory.used}.isdisjoint(_NOT_AVAILABLE):  # it shares the host's memory
        return
    yield Reading(machine.GPU_MEMORY_USAGE, memory.used, {})
    yield Reading(machine.GPU_MEMORY_LIMIT, memory.total, {})
    yield Reading(machine.GPU_MEMORY_UTILIZATION, memory.used / memory.total, {})


def _temperature(nvml: Any, device: Any) -> Iterator[Reading]:
    return _available(machine.GPU_TEMPERATURE, nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))


def _power(nvml: Any, device: Any) -> Iterator[Reading]:
    return _available(machine.GPU_POWER, nvml.nvmlDeviceGetPowerUsage(device), 1000)


def _power_limit(nvml: Any, device: Any) -> Iterator[Reading]:
    return _available(machine.GPU_POWER_LIMIT, nvml.nvmlDeviceGetEnforcedPowerLimit(device), 1000)


def _corrected_errors(nvml: Any, device: Any) -> Iterator[Reading]:
    return _errors(nvml, device, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, "corrected")


def _uncorrected_errors(nvml: Any, device: Any) -> Iterator[Reading]:
    return _errors(nvml, device, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, "uncorrected")


def _errors(nvml: Any, device: Any, kind: int, error_type: str) -> Iterator[Reading]:
    count = nvml.nvmlDeviceGetTotalEccErrors(device, kind, nvml.NVML_VOLATILE_ECC)
    return _available(machine.GPU_ERRORS, count, error_type=error_type)


def _available(family: Family, value: int, scale: int = 1, **labels: str) -> Iterator[Reading]:
    if value not in _NOT_AVAILABLE:
        yield Reading(family, value / scale, labels)
