from __future__ import annotations

import psutil
import pytest
from host_trees import by_label, names, series, values_of

from agentgauge.catalogue import machine
from agentgauge.collectors.host import HostCollector
from agentgauge.errors import contained_errors
from agentgauge.testing import FakeClock


def test_a_host_that_tells_everything_has_every_family_of_the_host(fake_host, tmp_path):
    fake_host.mount(("/dev/sda1", tmp_path, "ext4"))
    clock = FakeClock()
    collector = HostCollector(clock, fake_host.sys)
    clock.advance(15)
    fake_host.write("stat", (fake_host.proc / "stat").read_text().replace("cpu0 100", "cpu0 200"))
    shown = names(values_of(collector.collect()))
    assert shown == {family.name for family in machine.FAMILIES if family.name.startswith("system_")}


def test_every_series_carries_the_labels_that_the_catalogue_declares(fake_host, tmp_path):
    fake_host.mount(("/dev/sda1", tmp_path, "ext4"))
    labels = {family.name: set(family.labels) for family in machine.FAMILIES}
    for name, pairs in values_of(HostCollector(sys_root=fake_host.sys).collect()):
        assert {label for label, _ in pairs} == labels[name]


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), psutil.AccessDenied(), FileNotFoundError(2, "vanished")])
def test_what_the_host_refuses_to_tell_is_absent_and_costs_only_itself(monkeypatch, error):
    faults = dict(contained_errors.count_by_hook)
    complete = names(values_of(HostCollector().collect()))

    def refuse(**options):
        raise error

    monkeypatch.setattr(psutil, "net_io_counters", refuse)
    present = names(values_of(HostCollector().collect()))

    assert {name for name in complete if not name.startswith("system_network_")} == present
    assert len(complete) - len(present) == 4
    assert contained_errors.count_by_hook == faults


def test_a_fault_of_ours_in_one_reading_is_counted_and_costs_only_itself(monkeypatch):
    faults = contained_errors.count_by_hook.get("collector_host", 0)
    collector = HostCollector()
    monkeypatch.setattr(psutil, "net_io_counters", lambda **options: None)

    present = names(values_of(collector.collect()))

    assert not any(name.startswith("system_network_") for name in present)
    assert {"system_cpu_time_seconds_total", "system_memory_limit_bytes", "system_uptime_seconds"} <= present
    assert contained_errors.count_by_hook["collector_host"] == faults + 1


def test_an_interface_whose_name_is_not_utf8_cannot_break_the_page(monkeypatch):
    counters = psutil.net_io_counters(pernic=True, nowrap=False)["lo"]
    monkeypatch.setattr(psutil, "net_io_counters", lambda **options: {"bad\udcff": counters})
    values = values_of(HostCollector().collect())
    assert set(by_label(values, "system_network_io_bytes_total", "network_interface_name")) == {("bad?",)}


def test_a_program_that_points_psutil_at_its_hosts_proc_gets_the_readings_of_that_host(fake_host):
    values = values_of(HostCollector().collect())
    assert values[series("system_memory_limit_bytes")] == 1_000_000 * 1024
    assert values[series("system_boot_timestamp_seconds")] == 1_700_000_000
