"""The real nvidia-ml-py throughout; only the driver's library below it is a fake."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from dataclasses import replace

import pynvml
import pytest
from forked import in_child
from nvml_driver import MIB, FakeDriver, Gpu

from agentgauge import catalogue
from agentgauge.collectors import gpu as gpu_module
from agentgauge.collectors.gpu import GpuCollector
from agentgauge.errors import contained_errors

FAMILIES = {family.name for family in catalogue.FAMILIES if family.name.startswith("hw_")}
FIRST = {
    ("hw_gpu_utilization_ratio",): 0.37,
    ("hw_gpu_memory_usage_bytes",): 250 * MIB,
    ("hw_gpu_memory_limit_bytes",): 1000 * MIB,
    ("hw_gpu_memory_utilization_ratio",): 0.25,
    ("hw_temperature_celsius",): 41,
    ("hw_power_watts",): 76.54,
    ("hw_power_limit_watts",): 700,
    ("hw_errors_total", "corrected"): 5,
    ("hw_errors_total", "uncorrected"): 2,
}
READERS = {
    "nvmlDeviceGetUtilizationRates": {"hw_gpu_utilization_ratio"},
    "nvmlDeviceGetTemperature": {"hw_temperature_celsius"},
    "nvmlDeviceGetPowerUsage": {"hw_power_watts"},
    "nvmlDeviceGetEnforcedPowerLimit": {"hw_power_limit_watts"},
    "nvmlDeviceGetTotalEccErrors": {"hw_errors_total"},
}
MEMORY = {"hw_gpu_memory_usage_bytes", "hw_gpu_memory_limit_bytes", "hw_gpu_memory_utilization_ratio"}


@pytest.fixture(autouse=True)
def no_fault_of_ours(caplog):
    caplog.set_level(logging.INFO, "agentgauge")
    before = dict(contained_errors.count_by_hook)
    yield
    assert contained_errors.count_by_hook == before
    assert caplog.records == []


@pytest.fixture
def install(monkeypatch):
    """Let nvidia-ml-py load this driver for the rest of the test."""

    def put(driver):
        def load(name):
            assert name == "libnvidia-ml.so.1"
            if driver is None:
                raise OSError(name)
            return driver

        monkeypatch.setattr(pynvml, "CDLL", load)
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
        return driver

    return put


def read(collector):
    """Give the readings by the GPU's labels."""
    values = {}
    for metric in collector.collect():
        for sample in metric.samples:
            identity, name, *more = sample.labels.values()
            key = (sample.name, *more)
            readings = values.setdefault((identity, name), {})
            assert key not in readings
            readings[key] = sample.value
    return values


def test_every_gpu_family_of_the_catalogue_is_read_for_every_gpu(install):
    second = Gpu(b"GPU-2", b"NVIDIA L4", utilization=100, used=0, corrected=0, uncorrected=0)
    install(FakeDriver(Gpu(), second))
    values = read(GpuCollector())
    assert values["GPU-1", "NVIDIA H200"] == pytest.approx(FIRST)
    assert values["GPU-2", "NVIDIA L4"] == pytest.approx(
        FIRST
        | {
            ("hw_gpu_utilization_ratio",): 1.0,
            ("hw_gpu_memory_usage_bytes",): 0,
            ("hw_gpu_memory_utilization_ratio",): 0,
            ("hw_errors_total", "corrected"): 0,
            ("hw_errors_total", "uncorrected"): 0,
        }
    )
    assert {name for name, *_ in FIRST} == FAMILIES


@pytest.mark.parametrize("error", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_UNKNOWN])
@pytest.mark.parametrize("function", [*READERS, "nvmlDeviceGetMemoryInfo"])
def test_what_a_gpu_does_not_tell_is_absent_and_the_rest_is_read(install, function, error):
    failures = {function: error, f"{function}_v2": error}
    install(FakeDriver(Gpu(failures=failures), Gpu(b"GPU-2")))
    values = read(GpuCollector())
    gone = READERS.get(function, MEMORY)
    assert values["GPU-1", "NVIDIA H200"] == pytest.approx({key: value for key, value in FIRST.items() if key[0] not in gone})
    assert values["GPU-2", "NVIDIA H200"] == pytest.approx(FIRST)


@pytest.mark.parametrize("function", sorted(READERS))
def test_a_function_that_the_driver_does_not_have_yet_costs_its_own_reading(install, function):
    install(FakeDriver(Gpu())).absent.add(function)
    (values,) = read(GpuCollector()).values()
    assert {key[0] for key in FIRST.keys() - values.keys()} == READERS[function]


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetName", "every reading"])
def test_a_lost_gpu_is_absent_while_the_others_are_whole(install, function):
    lost = pynvml.NVML_ERROR_GPU_IS_LOST
    functions = [*READERS, "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"] if function == "every reading" else [function]
    install(FakeDriver(Gpu(b"GPU-0"), Gpu(failures=dict.fromkeys(functions, lost)), Gpu(b"GPU-2")))
    values = read(GpuCollector())
    assert set(values) == {("GPU-0", "NVIDIA H200"), ("GPU-2", "NVIDIA H200")}
    assert all(readings == pytest.approx(FIRST) for readings in values.values())


@pytest.mark.parametrize(
    ("facts", "gone"),
    [
        ({"utilization": 2**32 - 1}, {"hw_gpu_utilization_ratio"}),
        ({"milliwatts": 2**32 - 1}, {"hw_power_watts"}),
        ({"corrected": 2**64 - 1, "uncorrected": 2**64 - 1}, {"hw_errors_total"}),
        ({"used": 2**64 - 1}, MEMORY),
        ({"total": 2**64 - 1}, MEMORY),
        ({"total": 0, "used": 0}, MEMORY),
    ],
)
def test_a_value_that_says_that_there_is_none_is_absent(install, facts, gone):
    install(FakeDriver(replace(Gpu(), **facts)))
    (values,) = read(GpuCollector()).values()
    assert values == pytest.approx({key: value for key, value in FIRST.items() if key[0] not in gone})


@pytest.mark.parametrize("lacks", ["driver", "package"])
def test_memory_is_read_where_the_driver_or_the_package_is_too_old_to_tell_what_is_reserved(install, monkeypatch, lacks):
    driver = install(FakeDriver(Gpu()))
    if lacks == "driver":
        driver.absent.add("nvmlDeviceGetMemoryInfo_v2")
    else:
        monkeypatch.delattr(pynvml, "nvmlMemory_v2")
    (values,) = read(GpuCollector()).values()
    assert values["hw_gpu_memory_usage_bytes",] == 300 * MIB
    assert values["hw_gpu_memory_limit_bytes",] == 1000 * MIB


def test_nothing_is_loaded_or_started_before_the_first_sweep(install):
    driver = install(FakeDriver(Gpu()))
    collector = GpuCollector()
    collector.close()
    assert driver.calls == []
    assert read(collector) == {}


def test_the_library_is_started_once_and_ended_once_and_nothing_is_ever_set(install):
    driver = install(FakeDriver(Gpu()))
    collector = GpuCollector()
    for _ in range(3):
        assert read(collector) != {}
    assert driver.calls.count("nvmlInitWithFlags") == 1
    collector.close()
    collector.close()
    assert driver.users == 0
    assert driver.calls.count("nvmlShutdown") == 1
    assert read(collector) == {}
    assert all(name.startswith("nvmlDeviceGet") for name in set(driver.calls) - {"nvmlInitWithFlags", "nvmlShutdown"})


def test_a_collector_that_ends_leaves_the_library_to_others(install):
    driver = install(FakeDriver(Gpu()))
    first, second = GpuCollector(), GpuCollector()
    assert read(first) == read(second) != {}
    first.close()
    assert driver.users == 1
    assert read(second) != {}


def test_without_the_package_nothing_is_read_and_nothing_is_said():
    assert GpuCollector(module="agentgauge_has_no_such_module").collect() == []


@pytest.mark.parametrize("missing", ["library", "driver"])
def test_a_driver_that_comes_later_is_found_at_the_next_try(install, missing):
    now = [0.0]
    collector = GpuCollector(lambda: now[0])
    driver = install(None if missing == "library" else FakeDriver(Gpu()))
    if driver:
        driver.failures["nvmlInitWithFlags"] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert read(collector) == {}
    if driver:
        driver.failures.clear()
    else:
        driver = install(FakeDriver(Gpu()))
    driver.calls.clear()
    now[0] = 299.0
    assert read(collector) == {}
    assert driver.calls == []  # it may take long to fail
    now[0] = 301.0
    assert read(collector) != {}


def test_a_driver_that_goes_is_tried_again_later(install):
    now = [0.0]
    collector = GpuCollector(lambda: now[0])
    driver = install(FakeDriver(Gpu()))
    assert read(collector) != {}
    driver.failures["nvmlDeviceGetCount_v2"] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert read(collector) == {}
    assert driver.users == 0
    driver.failures.clear()
    now[0] = 299.0
    assert read(collector) == {}
    now[0] = 301.0
    assert read(collector) != {}


def test_a_library_that_the_program_shut_down_is_started_again_at_once(install):
    driver = install(FakeDriver(Gpu()))
    collector = GpuCollector()
    assert read(collector) != {}
    pynvml.nvmlShutdown()
    assert read(collector) == {}
    assert read(collector) != {}
    assert driver.users == 1


def test_closing_does_not_wait_for_a_driver_that_hangs(install, monkeypatch):
    monkeypatch.setattr(gpu_module, "_CLOSE_SECONDS", 0.05)
    driver = install(FakeDriver(Gpu()))
    hangs, release = threading.Event(), threading.Event()

    class Hanging(Gpu):
        @property
        def temperature(self):
            hangs.set()
            release.wait()
            return 41

        @temperature.setter
        def temperature(self, value):
            pass

    driver.gpus = (Hanging(),)
    collector = GpuCollector()
    thread = threading.Thread(target=collector.collect)
    thread.start()
    assert hangs.wait(60)
    collector.close()
    assert driver.users == 1  # not ended below the reader's feet
    release.set()
    thread.join()


def test_a_forked_child_starts_the_library_anew_and_ends_only_what_it_started(install):
    driver = install(FakeDriver(Gpu()))
    collector = GpuCollector()
    assert read(collector) != {}
    driver.calls.clear()

    def body():
        readings = len(collector.collect())
        collector.close()
        return [readings, driver.users, driver.calls.count("nvmlInitWithFlags"), driver.calls.count("nvmlShutdown")]

    assert in_child(body) == [len(FAMILIES), 1, 1, 1]  # one user: the parent's, which the child has a copy of
    assert read(collector) != {}


def test_a_forked_child_that_never_read_ends_nothing(install):
    driver = install(FakeDriver(Gpu()))
    collector = GpuCollector()
    assert read(collector) != {}

    def body():
        collector.close()
        return [driver.calls.count("nvmlShutdown"), len(collector.collect())]

    assert in_child(body) == [0, 0]


def test_a_fork_waits_for_a_sweep_so_that_the_child_can_read(install):
    driver = install(FakeDriver(Gpu()))
    sweeping, release = threading.Event(), threading.Event()
    collector = GpuCollector()
    parent = os.getpid()

    class Slow(Gpu):
        @property
        def temperature(self):
            if os.getpid() == parent:
                with pynvml.libLoadLock:  # as nvidia-ml-py holds it at times
                    sweeping.set()
                    release.wait(0.3)
            return 41

        @temperature.setter
        def temperature(self, value):
            pass

    driver.gpus = (Slow(),)
    thread = threading.Thread(target=collector.collect)
    thread.start()
    assert sweeping.wait(60)
    assert in_child(lambda: pynvml.libLoadLock.acquire(timeout=10)) is True
    thread.join()


def test_the_real_library_finds_a_gpu_or_is_quiet_about_there_being_none():
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
        has_library = True
    except OSError:
        has_library = False
    collector = GpuCollector()
    values = read(collector)
    collector.close()
    assert has_library or values == {}
    if has_library and os.path.exists("/dev/nvidiactl"):  # noqa: PTH110 - a device, not a path of ours
        assert values != {}
