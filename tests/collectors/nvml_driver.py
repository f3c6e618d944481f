"""The driver's library below nvidia-ml-py: C functions as that package calls them, so that the package itself is the real one."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import pynvml

MIB = 2**20


@dataclass
class Gpu:
    """What one GPU answers.

    Attributes:
        failures: The error that a function gives instead, by the function's name.
    """

    uuid: bytes = b"GPU-1"
    name: bytes = b"NVIDIA H200"
    utilization: int = 37
    total: int = 1000 * MIB
    used: int = 250 * MIB
    reserved: int = 50 * MIB
    temperature: int = 41
    milliwatts: int = 76_540
    limit_milliwatts: int = 700_000
    corrected: int = 5
    uncorrected: int = 2
    failures: dict[str, int] = field(default_factory=dict)


def _utilization(gpu, rates):
    rates._obj.gpu, rates._obj.memory = gpu.utilization, 99


def _memory(gpu, memory):  # version 1 counts what is reserved as used
    memory._obj.total, memory._obj.used = gpu.total, gpu.used + gpu.reserved
    memory._obj.free = max(0, gpu.total - gpu.used - gpu.reserved)


def _memory_v2(gpu, memory):
    assert memory._obj.version == pynvml.nvmlMemory_v2
    memory._obj.total, memory._obj.used, memory._obj.reserved = gpu.total, gpu.used, gpu.reserved


def _temperature(gpu, sensor, degrees):
    assert sensor.value == pynvml.NVML_TEMPERATURE_GPU
    degrees._obj.value = gpu.temperature


def _ecc(gpu, kind, counter, count):
    assert counter.value == pynvml.NVML_VOLATILE_ECC
    count._obj.value = gpu.corrected if kind.value == pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED else gpu.uncorrected


class FakeDriver:
    """A library as ``ctypes.CDLL`` loads it.

    Attributes:
        calls: The functions that were called, in order.
        failures: The error that a function gives instead, by the function's name, whatever GPU it asks.
        absent: Functions that this version of the driver does not have.
    """

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus = gpus
        self.calls: list[str] = []
        self.failures: dict[str, int] = {}
        self.absent: set[str] = set()
        self.users = 0

    def __getattr__(self, name: str):
        if name in self.absent or name not in self._functions:
            raise AttributeError(name)

        def function(*arguments):
            self.calls.append(name)
            if name in self.failures:
                return self.failures[name]
            if not self.users and name not in {"nvmlInitWithFlags", "nvmlErrorString"}:
                return pynvml.NVML_ERROR_UNINITIALIZED
            if name in self._of_gpus:
                gpu = self.gpus[ctypes.cast(arguments[0], ctypes.c_void_p).value - 1]
                return gpu.failures.get(name) or self._functions[name](gpu, *arguments[1:]) or 0
            return self._functions[name](self, *arguments) or 0

        return function

    def _start(self, flags):
        self.users += 1

    def _end(self):
        self.users -= 1

    def _count(self, count):
        count._obj.value = len(self.gpus)

    def _handle(self, index, device):
        ctypes.cast(device, ctypes.POINTER(ctypes.c_void_p))[0] = index.value + 1
        return self.gpus[index.value].failures.get("nvmlDeviceGetHandleByIndex_v2")

    _of_gpus = frozenset(
        {
            "nvmlDeviceGetUUID",
            "nvmlDeviceGetName",
            "nvmlDeviceGetUtilizationRates",
            "nvmlDeviceGetMemoryInfo",
            "nvmlDeviceGetMemoryInfo_v2",
            "nvmlDeviceGetTemperature",
            "nvmlDeviceGetPowerUsage",
            "nvmlDeviceGetEnforcedPowerLimit",
            "nvmlDeviceGetTotalEccErrors",
        }
    )
    _functions = {  # noqa: RUF012 - nobody changes it
        "nvmlInitWithFlags": _start,
        "nvmlShutdown": _end,
        "nvmlErrorString": lambda driver, code: b"an error",
        "nvmlDeviceGetCount_v2": _count,
        "nvmlDeviceGetHandleByIndex_v2": _handle,
        "nvmlDeviceGetUUID": lambda gpu, text, size: setattr(text, "value", gpu.uuid),
        "nvmlDeviceGetName": lambda gpu, text, size: setattr(text, "value", gpu.name),
        "nvmlDeviceGetUtilizationRates": _utilization,
        "nvmlDeviceGetMemoryInfo": _memory,
        "nvmlDeviceGetMemoryInfo_v2": _memory_v2,
        "nvmlDeviceGetTemperature": _temperature,
        "nvmlDeviceGetPowerUsage": lambda gpu, watts: setattr(watts._obj, "value", gpu.milliwatts),
        "nvmlDeviceGetEnforcedPowerLimit": lambda gpu, watts: setattr(watts._obj, "value", gpu.limit_milliwatts),
        "nvmlDeviceGetTotalEccErrors": _ecc,
    }
