from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from host_trees import DISKSTATS, NETWORK, by_label, names, series, values_of

from agentgauge.collectors.host import HostCollector
from agentgauge.errors import contained_errors

DIRECTED = ("system_device", "disk_io_direction")


def disks(values, name="system_disk_io_bytes_total"):
    return {device for (device,) in by_label(values, name, "system_device")}


def interfaces(values):
    return {name for (name,) in by_label(values, "system_network_io_bytes_total", "network_interface_name")}


def read(host):
    return values_of(HostCollector(sys_root=host.sys).collect())


def test_disks_are_counted_whole_in_bytes_operations_and_seconds(fake_host):
    values = read(fake_host)

    assert by_label(values, "system_disk_io_bytes_total", *DIRECTED) == {
        ("sda", "read"): 2000 * 512,
        ("sda", "write"): 4000 * 512,
        ("nvme0n1", "read"): 70 * 512,
        ("nvme0n1", "write"): 80 * 512,
        ("cciss/c0d0", "read"): 2 * 512,
        ("cciss/c0d0", "write"): 5 * 512,
    }
    operations = by_label(values, "system_disk_operations_total", *DIRECTED)
    assert (operations["sda", "read"], operations["sda", "write"]) == (100, 50)
    took = by_label(values, "system_disk_operation_time_seconds_total", *DIRECTED)
    assert (took["sda", "read"], took["sda", "write"]) == (5.0, 2.5)
    assert values[series("system_disk_io_time_seconds_total", system_device="sda")] == 6.0


def test_partitions_and_disks_in_memory_are_no_disks_of_their_own(fake_host):
    assert disks(read(fake_host)) == {"sda", "nvme0n1", "cciss/c0d0"}


@pytest.mark.parametrize("device", ["sda", "cciss!c0d0"])
def test_a_disk_that_lies_on_others_is_left_out_since_theirs_is_what_it_carries(fake_host, device):
    (fake_host.sys / "block" / device / "slaves").mkdir()
    assert disks(read(fake_host)) == {"sda", "nvme0n1", "cciss/c0d0"}
    (fake_host.sys / "block" / device / "slaves" / "nvme0n1").touch()
    assert disks(read(fake_host)) == {"sda", "nvme0n1", "cciss/c0d0"} - {device.replace("!", "/")}


def test_what_a_platform_does_not_tell_of_a_disk_is_absent(fake_host, monkeypatch):
    disk = SimpleNamespace(read_bytes=1, read_count=2, write_bytes=3, write_count=4)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **options: {"sda": disk})
    values = read(fake_host)
    assert values[series("system_disk_operations_total", system_device="sda", disk_io_direction="write")] == 4
    assert {name for name in names(values) if name.startswith("system_disk_")} == {
        "system_disk_io_bytes_total",
        "system_disk_operations_total",
    }


def test_where_nothing_tells_which_disks_are_whole_all_are_shown(fake_host, tmp_path):
    shown = disks(values_of(HostCollector(sys_root=tmp_path / "none").collect()))
    assert shown == {"sda", "sda1", "nvme0n1", "nvme0n1p1", "cciss/c0d0"}


@pytest.mark.parametrize("is_in_statistics", [True, False])
def test_a_disk_that_is_unplugged_is_missing_and_the_others_are_not(fake_host, is_in_statistics):
    collector = HostCollector(sys_root=fake_host.sys)
    assert "nvme0n1" in disks(values_of(collector.collect()))

    (fake_host.sys / "block" / "nvme0n1").rmdir()
    if not is_in_statistics:
        fake_host.write("diskstats", "".join(line for line in DISKSTATS.splitlines(keepends=True) if "nvme" not in line))

    assert disks(values_of(collector.collect())) == {"sda", "cciss/c0d0"}


def test_an_interface_that_vanishes_is_missing_and_the_others_are_not(fake_host):
    collector = HostCollector(sys_root=fake_host.sys)
    assert interfaces(values_of(collector.collect())) == {"lo", "eth0"}
    fake_host.write("net/dev", "".join(line for line in NETWORK.splitlines(keepends=True) if "eth0" not in line))
    assert interfaces(values_of(collector.collect())) == {"lo"}


def test_interfaces_are_counted_in_both_directions_and_those_of_containers_not(fake_host):
    values = read(fake_host)

    directions = ("network_interface_name", "network_io_direction")
    expected = {
        "system_network_io_bytes_total": (9876543, 876543),
        "system_network_packets_total": (12345, 2345),
        "system_network_errors_total": (6, 8),
        "system_network_packets_dropped_total": (7, 9),
    }
    for name, (received, sent) in expected.items():
        counters = by_label(values, name, *directions)
        assert (counters["eth0", "receive"], counters["eth0", "transmit"]) == (received, sent)
        assert {interface for interface, _ in counters} == {"lo", "eth0"}


@pytest.mark.parametrize("missing", ["diskstats", "net/dev", "uptime", "stat", "meminfo"])
def test_a_sandbox_without_one_of_the_kernels_files_has_all_other_readings(fake_host, monkeypatch, missing):
    if missing == "diskstats":  # psutil would go on to the real /sys
        monkeypatch.setattr(psutil, "disk_io_counters", lambda **options: not_implemented())
    complete = names(read(fake_host))
    faults = dict(contained_errors.count_by_hook)
    lost = {
        "diskstats": "system_disk_",
        "net/dev": "system_network_",
        "uptime": "system_uptime_",
        "stat": ("system_cpu_time_", "system_boot_"),
        "meminfo": ("system_memory_", "system_paging_"),
    }[missing]
    (fake_host.proc / missing).unlink()

    assert names(read(fake_host)) == {name for name in complete if not name.startswith(lost)}
    assert contained_errors.count_by_hook == faults


def not_implemented():
    raise NotImplementedError("diskstats nor /sys/block are available on this system")


def test_on_the_real_machine_disks_are_counted_as_the_kernel_counts_them():
    before = {fields[2]: fields for fields in map(str.split, Path("/proc/diskstats").read_text().splitlines())}
    values = values_of(HostCollector().collect())
    after = {fields[2]: fields for fields in map(str.split, Path("/proc/diskstats").read_text().splitlines())}

    assert disks(values) <= {entry.name for entry in Path("/sys/block").iterdir()}
    for device in disks(values):
        for name, scale, (reads, writes) in (
            ("system_disk_io_bytes_total", 512, (5, 9)),
            ("system_disk_operations_total", 1, (3, 7)),
            ("system_disk_operation_time_seconds_total", 0.001, (6, 10)),
        ):
            for direction, column in (("read", reads), ("write", writes)):
                value = values[series(name, system_device=device, disk_io_direction=direction)]
                assert int(before[device][column]) * scale <= value + 1e-6
                assert value <= int(after[device][column]) * scale + 1e-6
        busy = values[series("system_disk_io_time_seconds_total", system_device=device)]
        assert int(before[device][12]) / 1000 <= busy <= int(after[device][12]) / 1000


def test_on_the_real_machine_interfaces_are_counted_as_the_kernel_counts_them():
    def kernel():
        lines = (line.split(":") for line in Path("/proc/net/dev").read_text().splitlines()[2:])
        return {name.strip(): [int(field) for field in fields.split()] for name, fields in lines}

    before = kernel()
    values = values_of(HostCollector().collect())
    after = kernel()

    shown = interfaces(values)
    assert "lo" in shown <= before.keys()
    for interface in shown:
        labels = {"network_interface_name": interface}
        received = values[series("system_network_io_bytes_total", **labels, network_io_direction="receive")]
        sent = values[series("system_network_packets_total", **labels, network_io_direction="transmit")]
        assert before[interface][0] <= received <= after[interface][0]
        assert before[interface][9] <= sent <= after[interface][9]
