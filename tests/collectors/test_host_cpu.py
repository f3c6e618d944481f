from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from host_trees import by_label, series, values_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.host_cpu import Cpus
from agentgauge.collectors.readings import Utilization
from agentgauge.testing import FakeClock

TIME = "system_cpu_time_seconds_total"
UTILIZATION = series("system_cpu_utilization_ratio")


def stat(*cpus):
    """/proc/stat of a host with these CPUs, each a number and its columns."""
    return "cpu  1 2 3\n" + "".join(f"cpu{number} {columns}\n" for number, columns in cpus) + "intr 1 2 3\nbtime 1700000000\n"


def kernel_seconds():
    """Busy and total CPU seconds by the first line of /proc/stat: user nice system idle iowait irq softirq steal."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def test_each_cpu_has_its_own_time_by_mode_under_the_number_that_the_kernel_gives_it(fake_host):
    values = values_of(HostCollector().collect())

    ticks = os.sysconf("SC_CLK_TCK")
    columns = {"user": 100, "nice": 20, "system": 30, "idle": 2000, "iowait": 50, "interrupt": 2 + 4, "steal": 10}
    expected = {("0", mode): count / ticks for mode, count in columns.items()}
    expected |= {("2", mode): 2 * count / ticks for mode, count in columns.items()}  # the second CPU is offline
    assert by_label(values, TIME, "cpu_logical_number", "cpu_mode") == pytest.approx(expected)


def test_modes_that_a_kernel_does_not_tell_are_absent(fake_host):
    fake_host.write("stat", stat((0, "100 20 30 2000")))
    modes = by_label(values_of(HostCollector().collect()), TIME, "cpu_mode")
    assert set(modes) == {("user",), ("nice",), ("system",), ("idle",)}


def test_on_the_real_machine_time_and_load_and_cores_are_what_the_kernel_says():
    for _ in range(5):  # the load may move by more than that between two looks that a busy machine delays, but not each time
        before = kernel_seconds()[1]
        values = values_of(HostCollector().collect())
        after = kernel_seconds()[1]
        loads = [values[series(f"system_cpu_load_average_{window}")] for window in ("1m", "5m", "15m")]
        kernel = pytest.approx([float(field) for field in Path("/proc/loadavg").read_text().split()[:3]], abs=0.5)
        if loads == kernel:
            break

    assert before - 0.1 <= sum(by_label(values, TIME, "cpu_logical_number", "cpu_mode").values()) <= after + 0.1
    assert {cpu for cpu, _ in by_label(values, TIME, "cpu_logical_number", "cpu_mode")} == {
        path.name.removeprefix("cpu") for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*")
    }
    assert values[series("system_cpu_logical_cores")] == os.cpu_count()
    assert loads == kernel


def test_cpu_utilization_is_absent_at_first_and_then_that_of_the_time_between():
    for _ in range(5):  # a busy machine may delay one of two looks that should be at the same time, but not each time
        clock = FakeClock()
        busy_before, total_before = kernel_seconds()
        collector = HostCollector(clock)
        assert UTILIZATION not in values_of(collector.collect())

        while kernel_seconds()[1] - total_before < 0.5:
            pass
        clock.advance(15)
        ratio = values_of(collector.collect())[UTILIZATION]
        busy, total = kernel_seconds()
        kernel = pytest.approx((busy - busy_before) / (total - total_before), abs=0.15)
        assert 0 < ratio <= 1
        if ratio == kernel:
            break

    assert ratio == kernel


def test_a_cpu_that_waits_for_disks_is_not_utilized(fake_host):
    clock = FakeClock()
    fake_host.write("stat", stat((0, "100 0 100 1000 100 0 0 0"), (1, "0 0 0 1000 0 0 0 0")))
    collector = HostCollector(clock)
    fake_host.write("stat", stat((0, "300 0 100 1400 600 0 100 0"), (1, "0 0 0 1800 0 0 0 0")))
    clock.advance(15)
    # 200 user and 100 softirq, of 400 idle and 500 waiting beside them, and of 800 that the other CPU was idle
    assert values_of(collector.collect())[UTILIZATION] == pytest.approx(300 / 2000)


def test_a_cpu_that_comes_back_brings_no_work_from_before(fake_host):
    clock = FakeClock()
    fake_host.write("stat", stat((0, "100 0 0 100")))
    collector = HostCollector(clock)

    fake_host.write("stat", stat((0, "150 0 0 150"), (1, "999999 0 0 1")))
    clock.advance(15)
    assert values_of(collector.collect())[UTILIZATION] == pytest.approx(0.5)

    fake_host.write("stat", stat((0, "160 0 0 170"), (1, "1000089 0 0 81")))
    clock.advance(15)
    assert values_of(collector.collect())[UTILIZATION] == pytest.approx(100 / 200)


def test_a_cpu_that_goes_offline_costs_only_itself(fake_host):
    clock = FakeClock()
    fake_host.write("stat", stat((0, "100 0 0 100"), (1, "100 0 0 100")))
    collector = HostCollector(clock)
    fake_host.write("stat", stat((0, "125 0 0 175")))
    clock.advance(15)

    values = values_of(collector.collect())

    assert {cpu for (cpu,) in by_label(values, TIME, "cpu_logical_number")} == {"0"}
    assert values[UTILIZATION] == pytest.approx(0.25)


def test_utilization_is_unknown_after_all_counters_fell(fake_host):
    clock = FakeClock()
    fake_host.write("stat", stat((0, "90000 0 0 90000")))
    collector = HostCollector(clock)
    fake_host.write("stat", stat((0, "1 0 0 1")))
    clock.advance(15)
    assert UTILIZATION not in values_of(collector.collect())
    fake_host.write("stat", stat((0, "2 0 0 4")))
    clock.advance(15)
    assert values_of(collector.collect())[UTILIZATION] == pytest.approx(0.25)


def test_cpu_time_that_the_kernel_corrects_downwards_does_not_look_like_a_restart(fake_host):
    ticks = os.sysconf("SC_CLK_TCK")
    fake_host.write("stat", stat((0, f"0 0 0 {1000 * ticks} {100 * ticks} 0 0 0")))
    collector = HostCollector()
    iowait = series(TIME, cpu_logical_number="0", cpu_mode="iowait")

    fake_host.write("stat", stat((0, f"0 0 0 {1000 * ticks} {99 * ticks + ticks // 2} 0 0 0")))
    assert values_of(collector.collect())[iowait] == 100
    fake_host.write("stat", stat((0, f"0 0 0 {1000 * ticks} {ticks} 0 0 0")))
    assert values_of(collector.collect())[iowait] == 1


CPU = st.none() | st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2)), min_size=8, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(CPU, CPU), min_size=1, max_size=12))
def test_whatever_the_kernel_corrects_a_cpus_time_never_falls_and_the_share_in_use_stays_within_bounds(fake_host, steps):
    """A step is, for each CPU that is online, by how many seconds each mode grew and how many of them are not shown yet."""
    clock, ticks = FakeClock(), os.sysconf("SC_CLK_TCK")
    spent = [[100] * 8, [100] * 8]
    cpus = Cpus(clock)
    told = {}
    for step in [([(0, 0)] * 8, [(0, 0)] * 8), *steps]:
        shown = []
        for number, moves in enumerate(step):
            if moves is not None:
                spent[number] = [before + growth for before, (growth, _) in zip(spent[number], moves, strict=True)]
                seconds = [after - missing for after, (_, missing) in zip(spent[number], moves, strict=True)]
                shown.append((number, " ".join(str(each * ticks) for each in seconds)))
        fake_host.write("stat", stat(*shown))
        clock.advance(15)
        readings = list(cpus.read())
        now = {tuple(reading.labels.values()): reading.value for reading in readings if reading.labels}
        assert all(value >= told[key] for key, value in now.items() if key in told)
        assert all(0 <= reading.value <= 1 for reading in readings if not reading.labels)
        told = now


def test_where_there_is_no_proc_the_cpus_are_those_of_psutil(monkeypatch):
    times = psutil.cpu_times(percpu=True)
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: times)

    values = by_label(values_of(HostCollector().collect()), TIME, "cpu_logical_number", "cpu_mode")

    assert {cpu for cpu, _ in values} == {str(number) for number in range(len(times))}
    assert values["0", "user"] == times[0].user
    assert values["0", "interrupt"] == pytest.approx(times[0].irq + times[0].softirq)


def test_a_second_scraper_within_a_second_gets_the_utilization_before():
    utilization = Utilization()
    assert utilization.update(now=0, used=0, capacity=0) is None
    assert utilization.update(now=0.5, used=1, capacity=1) is None
    assert utilization.update(now=10, used=5, capacity=20) == 0.25
    assert utilization.update(now=10.5, used=6, capacity=21) == 0.25
    assert utilization.update(now=20, used=20, capacity=40) == 0.75


def test_utilization_is_unknown_after_its_counters_fell():
    utilization = Utilization()
    utilization.update(now=0, used=100, capacity=200)
    assert utilization.update(now=10, used=1, capacity=2) is None
    assert utilization.update(now=20, used=2, capacity=4) == 0.5
