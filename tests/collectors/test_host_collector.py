from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from agentgauge.collectors.host import HostCollector
from agentgauge.collectors.readings import Utilization
from agentgauge.errors import contained_errors


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def read(collector):
    """The collector's samples as {(name, labels as a frozenset): value}, each series once."""
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(values) == len(samples), "a series appeared twice"
    return values


def series(name, **labels):
    return name, frozenset(labels.items())


def names(values):
    return {name for name, _ in values}


def cpu_seconds_from_proc():
    """Busy and total CPU seconds by the first line of /proc/stat: user nice system idle iowait irq softirq steal."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def meminfo():
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) * 1024 for fields in lines}


def test_memory_is_what_the_kernel_says_and_its_states_add_up():
    values = read(HostCollector())
    kernel = meminfo()

    assert values[series("system_memory_limit_bytes")] == kernel["MemTotal"]
    states = {
        dict(labels)["system_memory_state"]: v for (name, labels), v in values.items() if name == "system_memory_usage_bytes"
    }
    assert states.keys() == {"used", "free", "cached", "buffers"}
    assert sum(states.values()) == kernel["MemTotal"]
    assert values[series("system_memory_utilization_ratio")] == pytest.approx(
        1 - kernel["MemAvailable"] / kernel["MemTotal"], abs=0.02
    )
    assert values[series("system_paging_usage_bytes", system_paging_state="used")] == pytest.approx(
        kernel["SwapTotal"] - kernel["SwapFree"], abs=2**24
    )


def test_cpu_time_load_and_cores_are_what_the_kernel_says():
    before = cpu_seconds_from_proc()[1]
    values = read(HostCollector())
    after = cpu_seconds_from_proc()[1]

    assert before - 0.1 <= sum(v for (name, _), v in values.items() if name == "system_cpu_time_seconds_total") <= after + 0.1
    assert values[series("system_cpu_logical_cores")] == os.cpu_count()
    loads = [values[series(f"system_cpu_load_average_{window}")] for window in ("1m", "5m", "15m")]
    assert loads == pytest.approx([float(field) for field in Path("/proc/loadavg").read_text().split()[:3]], abs=0.5)


def test_cpu_utilization_is_absent_at_first_and_then_that_of_the_time_between():
    clock = Clock()
    busy_before, total_before = cpu_seconds_from_proc()
    collector = HostCollector(clock)
    assert "system_cpu_utilization_ratio" not in names(read(collector))

    while cpu_seconds_from_proc()[1] - total_before < 0.5:
        pass
    clock.now += 15
    ratio = read(collector)[series("system_cpu_utilization_ratio")]
    busy, total = cpu_seconds_from_proc()

    assert ratio == pytest.approx((busy - busy_before) / (total - total_before), abs=0.15)
    assert 0 < ratio <= 1


def test_a_cpu_that_waits_for_disks_is_not_utilized(monkeypatch):
    times = psutil.cpu_times()
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    clock = Clock()
    collector = HostCollector(clock)

    times = times._replace(user=times.user + 2, softirq=times.softirq + 1, idle=times.idle + 4, iowait=times.iowait + 5)
    clock.now += 15

    assert read(collector)[series("system_cpu_utilization_ratio")] == pytest.approx(0.25)


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


def test_cpu_time_that_the_kernel_corrects_downwards_does_not_look_like_a_restart(monkeypatch):
    times = psutil.cpu_times()._replace(iowait=100.0, idle=1000.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    collector = HostCollector()
    iowait = series("system_cpu_time_seconds_total", cpu_mode="iowait")

    times = times._replace(iowait=99.5)
    assert read(collector)[iowait] == 100.0
    times = times._replace(iowait=1.0)
    assert read(collector)[iowait] == 1.0


def test_the_root_file_system_has_the_space_that_statvfs_says():
    values = read(HostCollector())
    space = os.statvfs("/")
    root = {
        dict(labels)["system_filesystem_state"]: value
        for (name, labels), value in values.items()
        if name == "system_filesystem_usage_bytes" and ("system_filesystem_mountpoint", "/") in labels
    }
    (utilization,) = (
        value
        for (name, labels), value in values.items()
        if name == "system_filesystem_utilization_ratio" and ("system_filesystem_mountpoint", "/") in labels
    )

    assert sum(root.values()) == space.f_blocks * space.f_frsize
    assert root["free"] == pytest.approx(space.f_bavail * space.f_frsize, rel=0.05)
    assert utilization == pytest.approx(root["used"] / (root["used"] + root["free"]))


def test_in_a_container_the_root_is_read_and_each_device_once_and_mounted_files_never(monkeypatch, tmp_path):
    part = psutil.disk_partitions(all=True)[0]._replace
    (tmp_path / "hosts").touch()
    for name in ("data", "logs", "snap"):
        (tmp_path / name).mkdir()
    mounts = [("sda1", "data"), ("sda1", "data"), ("sda1", "logs"), ("sda2", "hosts"), ("sda3", "gone")]
    device = [part(device=f"/dev/{name}", mountpoint=str(tmp_path / place), fstype="ext4") for name, place in mounts]
    device.append(part(device="/dev/loop1", mountpoint=str(tmp_path / "snap"), fstype="squashfs"))
    overlay = part(device="overlay", mountpoint="/", fstype="overlay")
    monkeypatch.setattr(psutil, "disk_partitions", lambda **options: [overlay, *device] if options["all"] else device)

    measured = {
        (dict(labels)["system_device"], dict(labels)["system_filesystem_mountpoint"])
        for name, labels in read(HostCollector())
        if name.startswith("system_filesystem_")
    }
    assert measured == {("overlay", "/"), ("/dev/sda1", str(tmp_path / "data"))}


def test_a_file_system_that_errors_costs_only_itself(monkeypatch):
    real_usage = psutil.disk_usage

    def usage_unless_dying(path):
        if path == "/dying":
            raise OSError(5, "Input/output error")
        return real_usage(path)

    part = psutil.disk_partitions(all=True)[0]._replace
    partitions = [
        part(device="/dev/sdb", mountpoint="/dying", fstype="ext4"),
        part(device="/dev/sda", mountpoint="/", fstype="ext4"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **options: partitions)
    monkeypatch.setattr(psutil, "disk_usage", usage_unless_dying)
    monkeypatch.setattr(Path, "is_dir", lambda path: True)

    devices = {dict(labels)["system_device"] for name, labels in read(HostCollector()) if name.startswith("system_filesystem_")}
    assert devices == {"/dev/sda"}


def test_disks_are_counted_whole_and_as_the_kernel_counts_them():
    before = {fields[2]: fields for fields in map(str.split, Path("/proc/diskstats").read_text().splitlines())}
    values = read(HostCollector())
    after = {fields[2]: fields for fields in map(str.split, Path("/proc/diskstats").read_text().splitlines())}

    devices = {dict(labels)["system_device"] for name, labels in values if name == "system_disk_io_bytes_total"}
    assert devices <= {entry.name for entry in Path("/sys/block").iterdir()}
    for device in devices:
        read_bytes = values[series("system_disk_io_bytes_total", system_device=device, disk_io_direction="read")]
        writes = values[series("system_disk_operations_total", system_device=device, disk_io_direction="write")]
        busy = values[series("system_disk_io_time_seconds_total", system_device=device)]
        assert int(before[device][5]) * 512 <= read_bytes <= int(after[device][5]) * 512
        assert int(before[device][7]) <= writes <= int(after[device][7])
        assert int(before[device][12]) / 1000 <= busy <= int(after[device][12]) / 1000


def test_partitions_and_disks_in_memory_are_no_disks_of_their_own(monkeypatch, tmp_path):
    for name in ("sda", "loop0", "zram0", "cciss!c0d0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("agentgauge.collectors.host._SYS_BLOCK", tmp_path)
    disk = SimpleNamespace(read_bytes=1, read_count=2, write_bytes=3, write_count=4)
    counters = dict.fromkeys(("sda", "sda1", "loop0", "zram0", "cciss/c0d0", "cciss/c0d0p1"), disk)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **options: counters)

    values = read(HostCollector())

    assert {dict(labels)["system_device"] for name, labels in values if name.startswith("system_disk_")} == {"sda", "cciss/c0d0"}
    assert values[series("system_disk_operations_total", system_device="sda", disk_io_direction="write")] == 4
    assert "system_disk_io_time_seconds_total" not in names(values), "what a platform does not tell is absent"


def test_network_interfaces_are_counted_as_the_kernel_counts_them():
    def kernel():
        lines = (line.split(":") for line in Path("/proc/net/dev").read_text().splitlines()[2:])
        return {name.strip(): [int(field) for field in fields.split()] for name, fields in lines}

    before = kernel()
    values = read(HostCollector())
    after = kernel()

    assert "lo" in before
    for interface in (name for name in before if not name.startswith("veth")):
        received = values[
            series("system_network_io_bytes_total", network_interface_name=interface, network_io_direction="receive")
        ]
        sent = values[series("system_network_packets_total", network_interface_name=interface, network_io_direction="transmit")]
        assert before[interface][0] <= received <= after[interface][0]
        assert before[interface][9] <= sent <= after[interface][9]


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), psutil.AccessDenied(), FileNotFoundError(2, "vanished")])
def test_what_the_host_refuses_to_tell_is_absent_and_costs_only_itself(monkeypatch, error):
    faults = dict(contained_errors.count_by_hook)
    complete = names(read(HostCollector()))

    def refuse(**options):
        raise error

    monkeypatch.setattr(psutil, "net_io_counters", refuse)
    present = names(read(HostCollector()))

    assert {name for name in complete if not name.startswith("system_network_")} == present
    assert len(complete) - len(present) == 4
    assert contained_errors.count_by_hook == faults


def test_a_fault_of_ours_in_one_reading_is_counted_and_costs_only_itself(monkeypatch):
    faults = contained_errors.count_by_hook.get("collector_host", 0)
    collector = HostCollector()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: None)

    present = names(read(collector))

    assert "system_memory_limit_bytes" not in present
    assert {"system_cpu_time_seconds_total", "system_filesystem_usage_bytes", "system_network_io_bytes_total"} <= present
    assert contained_errors.count_by_hook["collector_host"] == faults + 1


def test_a_name_that_is_not_utf8_cannot_break_the_page(monkeypatch):
    counters = psutil.net_io_counters(pernic=True, nowrap=False)["lo"]
    monkeypatch.setattr(psutil, "net_io_counters", lambda **options: {"bad\udcff": counters})

    labels = [labels for name, labels in read(HostCollector()) if name == "system_network_io_bytes_total"]

    assert {dict(pairs)["network_interface_name"] for pairs in labels} == {"bad?"}
