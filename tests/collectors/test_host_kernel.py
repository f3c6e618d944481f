from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from host_trees import by_label, names, series, values_of

from agentgauge.collectors.host import HostCollector
from agentgauge.errors import contained_errors

PRESSURE = "system_pressure_stall_time_seconds_total"
LABELS = ("pressure_resource", "pressure_kind")


def test_pressure_is_the_time_that_some_or_all_tasks_waited_in_seconds(fake_host):
    values = values_of(HostCollector().collect())
    assert by_label(values, PRESSURE, *LABELS) == {
        ("cpu", "some"): 5.000001,
        ("memory", "some"): 0.000042,
        ("memory", "full"): 0.000007,
        ("io", "some"): 3.0,
        ("io", "full"): 2.5,
    }


def test_a_whole_hosts_full_cpu_pressure_is_absent_since_the_kernel_does_not_know_it(fake_host):
    assert "full avg10=0.00" in (fake_host.proc / "pressure" / "cpu").read_text()
    assert ("cpu", "full") not in by_label(values_of(HostCollector().collect()), PRESSURE, *LABELS)


def test_a_kernel_that_keeps_no_pressure_has_none_and_all_other_readings(fake_host):
    complete = names(values_of(HostCollector().collect()))
    faults = dict(contained_errors.count_by_hook)
    for resource in ("cpu", "memory", "io"):
        (fake_host.proc / "pressure" / resource).unlink()

    assert complete - names(values_of(HostCollector().collect())) == {PRESSURE}
    assert contained_errors.count_by_hook == faults


def test_pressure_of_one_resource_that_cannot_be_read_costs_no_other(fake_host):
    (fake_host.proc / "pressure" / "memory").unlink()
    (fake_host.proc / "pressure" / "memory").mkdir()  # as a kernel started with psi=0: there, and not to be read
    resources = {resource for resource, _ in by_label(values_of(HostCollector().collect()), PRESSURE, *LABELS)}
    assert resources == {"cpu", "io"}


def test_boot_and_uptime_are_those_of_the_kernel(fake_host):
    values = values_of(HostCollector().collect())
    assert values[series("system_boot_timestamp_seconds")] == 1_700_000_000
    assert values[series("system_uptime_seconds")] == 12345.67


def test_on_the_real_machine_uptime_is_the_time_since_boot_and_pressure_is_what_the_kernel_says():
    def total(resource, kind):
        lines = Path("/proc/pressure", resource).read_text().splitlines()
        return next(int(line.rsplit("total=")[1]) / 1e6 for line in lines if line.startswith(kind))

    shown = [Path("/proc/pressure", resource).is_file() for resource in ("cpu", "memory", "io")]
    keys = [("cpu", "some"), ("memory", "some"), ("memory", "full"), ("io", "some"), ("io", "full")] if all(shown) else []
    before, began = {key: total(*key) for key in keys}, time.time()
    values = values_of(HostCollector().collect())
    after, ended = {key: total(*key) for key in keys}, time.time()

    since_boot = values[series("system_uptime_seconds")] + values[series("system_boot_timestamp_seconds")]
    assert began - 2 <= since_boot <= ended + 2  # the kernel rounds the start to seconds
    pressure = by_label(values, PRESSURE, *LABELS)
    assert set(pressure) == set(keys)
    assert all(before[key] <= pressure[key] <= after[key] for key in keys)


def test_where_there_is_no_proc_uptime_is_counted_from_the_boot(monkeypatch):
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "boot_time", lambda: time.time() - 100)
    values = values_of(HostCollector().collect())
    assert values[series("system_uptime_seconds")] == pytest.approx(100, abs=60)
    assert PRESSURE not in names(values)
