from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from host_trees import MEMINFO, by_label, names, series, values_of

from agentgauge.collectors.host import HostCollector
from agentgauge.errors import contained_errors

KIB = 1024


def kernel_memory():
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) * KIB for fields in lines}


def without(*fields):
    return "".join(line for line in MEMINFO.splitlines(keepends=True) if line.split(":")[0] not in fields)


def test_memory_is_told_by_states_that_add_up_to_the_limit(fake_host):
    values = values_of(HostCollector().collect())

    assert values[series("system_memory_limit_bytes")] == 1_000_000 * KIB
    assert by_label(values, "system_memory_usage_bytes", "system_memory_state") == {
        ("free",): 200_000 * KIB,
        ("buffers",): 50_000 * KIB,
        ("cached",): 340_000 * KIB,  # the kernel's own caches too
        ("used",): 410_000 * KIB,
    }
    assert values[series("system_memory_utilization_ratio")] == pytest.approx(0.4)
    assert by_label(values, "system_paging_usage_bytes", "system_paging_state") == {
        ("used",): 20_000 * KIB,
        ("free",): 60_000 * KIB,
    }


def test_on_the_real_machine_memory_is_what_the_kernel_says():
    for _ in range(5):  # other programs may take and free much in between, but not each time
        values = values_of(HostCollector().collect())
        kernel = kernel_memory()
        available = pytest.approx(1 - kernel["MemAvailable"] / kernel["MemTotal"], abs=0.02)
        if values[series("system_memory_utilization_ratio")] == available:
            break

    assert values[series("system_memory_limit_bytes")] == kernel["MemTotal"]
    states = by_label(values, "system_memory_usage_bytes", "system_memory_state")
    assert set(states) == {("used",), ("free",), ("cached",), ("buffers",)}
    assert sum(states.values()) == kernel["MemTotal"]
    assert values[series("system_memory_utilization_ratio")] == available


@pytest.mark.parametrize(
    ("missing", "absent_states", "absent_names"),
    [
        (("MemAvailable",), set(), {"system_memory_utilization_ratio"}),
        (("Cached",), {"cached"}, set()),
        (("Buffers",), {"buffers"}, set()),
        (("SwapTotal", "SwapFree"), set(), {"system_paging_usage_bytes"}),
    ],
)
def test_what_a_container_is_not_told_of_its_hosts_memory_is_absent_and_never_zero(
    fake_host, missing, absent_states, absent_names
):
    complete = values_of(HostCollector().collect())
    faults = dict(contained_errors.count_by_hook)
    fake_host.write("meminfo", without(*missing))

    values = values_of(HostCollector().collect())

    states = {state for (state,) in by_label(values, "system_memory_usage_bytes", "system_memory_state")}
    assert states == {"used", "free", "cached", "buffers"} - absent_states
    assert names(complete) - names(values) == absent_names
    assert contained_errors.count_by_hook == faults


def test_a_container_that_is_told_of_more_free_memory_than_there_is_has_no_utilization(fake_host):
    fake_host.write("meminfo", MEMINFO.replace("MemAvailable:     600000", "MemAvailable:    1600000"))
    assert "system_memory_utilization_ratio" not in names(values_of(HostCollector().collect()))


def test_without_swap_both_of_its_states_are_zero_since_that_is_known(fake_host):
    fake_host.write("meminfo", without("SwapTotal", "SwapFree") + "SwapTotal: 0 kB\nSwapFree: 0 kB\n")
    states = by_label(values_of(HostCollector().collect()), "system_paging_usage_bytes", "system_paging_state")
    assert states == {("used",): 0, ("free",): 0}


def test_where_there_is_no_proc_memory_is_what_psutil_says(monkeypatch):
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(psutil, "swap_memory", lambda: swap)

    values = values_of(HostCollector().collect())

    states = by_label(values, "system_memory_usage_bytes", "system_memory_state")
    assert states["free",] == memory.free
    assert sum(states.values()) == values[series("system_memory_limit_bytes")] == memory.total
    assert values[series("system_paging_usage_bytes", system_paging_state="free")] == swap.free
