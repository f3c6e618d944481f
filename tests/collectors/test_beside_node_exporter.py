"""Every reading of the host beside the same reading of a real node_exporter: of a made-up host, and of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from host_trees import by_label, series, values_of
from prometheus_client.parser import text_string_to_metric_families

from agentgauge.collectors.host import HostCollector

PATIENCE_SECONDS = 60
NAMES = ("prometheus-node-exporter", "node_exporter")

# ours, its labels | theirs with its labels, of which several add up | the labels of both that name the thing: ours, theirs
CPU_MODES = {
    **{mode: (mode,) for mode in ("user", "nice", "system", "idle", "iowait", "steal")},
    "interrupt": ("irq", "softirq"),
}
DISK = {
    ("system_disk_io_bytes_total", "read"): "node_disk_read_bytes_total",
    ("system_disk_io_bytes_total", "write"): "node_disk_written_bytes_total",
    ("system_disk_operations_total", "read"): "node_disk_reads_completed_total",
    ("system_disk_operations_total", "write"): "node_disk_writes_completed_total",
    ("system_disk_operation_time_seconds_total", "read"): "node_disk_read_time_seconds_total",
    ("system_disk_operation_time_seconds_total", "write"): "node_disk_write_time_seconds_total",
}
NETWORK = {
    (f"system_network_{ours}_total", direction): f"node_network_{direction}_{theirs}_total"
    for ours, theirs in (("io_bytes", "bytes"), ("packets", "packets"), ("errors", "errs"), ("packets_dropped", "drop"))
    for direction in ("receive", "transmit")
}
PRESSURE = {
    ("cpu", "some"): "node_pressure_cpu_waiting_seconds_total",
    ("memory", "some"): "node_pressure_memory_waiting_seconds_total",
    ("memory", "full"): "node_pressure_memory_stalled_seconds_total",
    ("io", "some"): "node_pressure_io_waiting_seconds_total",
    ("io", "full"): "node_pressure_io_stalled_seconds_total",
}
TICK = 1 / os.sysconf("SC_CLK_TCK")


def find_node_exporter():
    return next(filter(None, map(shutil.which, NAMES)))


@contextmanager
def node_exporter(folder, *options):
    """Run a node_exporter on a free port of loopback, and give a function that reads its page."""
    program = find_node_exporter()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # Debian's leaves out loopback, and what is mounted below /mnt, /media and /run
    options = (
        *options,
        "--collector.netdev.device-exclude=^veth",
        "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys)($|/)",
    )
    command = [program, f"--web.listen-address={address}", *options]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:

        def scrape():
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_SECONDS) as page:
                return values_of(text_string_to_metric_families(page.read().decode()))

        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    scrape()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.02)
            yield scrape
        finally:
            process.terminate()


def as_theirs(ours):
    """Our counters under their names: what theirs must say, as {series: value}."""
    cpu = by_label(ours, "system_cpu_time_seconds_total", "cpu_logical_number", "cpu_mode")
    expected = {("cpu", *key): value for key, value in cpu.items()}
    for (name, direction), their_name in DISK.items():
        for (device, each), value in by_label(ours, name, "system_device", "disk_io_direction").items():
            if each == direction:
                expected[their_name, device] = value
    for (device,), value in by_label(ours, "system_disk_io_time_seconds_total", "system_device").items():
        expected["node_disk_io_time_seconds_total", device] = value
    for (name, direction), their_name in NETWORK.items():
        for (device, each), value in by_label(ours, name, "network_interface_name", "network_io_direction").items():
            if each == direction:
                expected[their_name, device] = value
    name = "system_pressure_stall_time_seconds_total"
    for key, value in by_label(ours, name, "pressure_resource", "pressure_kind").items():
        expected[PRESSURE[key], ""] = value
    return expected


def their_counters(theirs):
    """Their counters under the same keys, of the devices that both are meant to show."""
    modes = by_label(theirs, "node_cpu_seconds_total", "cpu", "mode")
    found = {
        ("cpu", cpu, mode): sum(modes[cpu, each] for each in parts)
        for cpu in {cpu for (cpu, _), value in modes.items() if value > 0}  # some versions show a CPU that is offline, as zeros
        for mode, parts in CPU_MODES.items()
    }
    for name in (*DISK.values(), "node_disk_io_time_seconds_total", *NETWORK.values()):
        for (device,), value in by_label(theirs, name, "device").items():
            if not device.startswith(("zram", "veth")):  # a disk in memory, and one end of a container's network: not ours
                found[name, device] = value
    for name in PRESSURE.values():
        if series(name) in theirs:
            found[name, ""] = theirs[series(name)]
    return found


@pytest.mark.servers
def test_of_one_made_up_host_both_tell_exactly_the_same(fake_host, tmp_path):
    """The same files, so that nothing moves between two looks: no tolerance but that of binary fractions."""
    ours = values_of(HostCollector(sys_root=fake_host.sys).collect())
    paths = (f"--path.procfs={fake_host.proc}", f"--path.sysfs={fake_host.sys}")
    with node_exporter(tmp_path, *paths, "--no-collector.netdev.netlink") as scrape:  # which asks the kernel of this machine
        theirs = scrape()

    expected = their_counters(theirs)
    assert {kind for kind, *_ in expected} >= {"cpu", *DISK.values(), *NETWORK.values(), *PRESSURE.values()}
    assert set(as_theirs(ours)) == set(expected), "both show the same CPUs, disks, interfaces and resources"
    assert as_theirs(ours) == pytest.approx(expected, rel=1e-12)

    def node(name):
        return theirs[series(f"node_{name}")]

    states = by_label(ours, "system_memory_usage_bytes", "system_memory_state")
    assert states["free",] == node("memory_MemFree_bytes")
    assert states["buffers",] == node("memory_Buffers_bytes")
    assert states["cached",] == node("memory_Cached_bytes") + node("memory_SReclaimable_bytes")
    assert ours[series("system_memory_limit_bytes")] == node("memory_MemTotal_bytes")
    in_use = 1 - node("memory_MemAvailable_bytes") / node("memory_MemTotal_bytes")
    assert ours[series("system_memory_utilization_ratio")] == pytest.approx(in_use)
    swap = by_label(ours, "system_paging_usage_bytes", "system_paging_state")
    assert swap["free",] == node("memory_SwapFree_bytes")
    assert swap["used",] == node("memory_SwapTotal_bytes") - node("memory_SwapFree_bytes")
    assert ours[series("system_boot_timestamp_seconds")] == node("boot_time_seconds")


@pytest.fixture(scope="module")
def agree(tmp_path_factory):
    """Check this machine as we see it, as node_exporter does, and as we do once more: what grows lies in between.

    Again where that fails: much may happen on a busy machine between two looks, and what is read wrong is wrong each time.
    """
    with node_exporter(tmp_path_factory.mktemp("node_exporter")) as scrape:

        def agree(check):
            for is_last in (False, False, False, False, True):
                readings = values_of(HostCollector().collect()), scrape(), values_of(HostCollector().collect())
                try:
                    check(*readings)
                except AssertionError:
                    if is_last:
                        raise
                else:
                    return

        yield agree


@pytest.mark.servers
def test_of_this_machine_every_counter_lies_between_two_readings_of_ours(agree):
    agree(check_counters)


def check_counters(before, theirs, after):
    before, theirs, after = as_theirs(before), their_counters(theirs), as_theirs(after)

    # they show disks that lie on others too, and interfaces that are somebody else's
    devices = {*DISK.values(), "node_disk_io_time_seconds_total", *NETWORK.values()}
    assert set(before) == set(after), "both show the same CPUs, disks, interfaces and resources"
    theirs = {key: value for key, value in theirs.items() if key in before or key[0] not in devices}
    assert set(before) == set(theirs), "both show the same CPUs, disks, interfaces and resources"
    assert len(theirs) > 20
    for key, value in theirs.items():
        # the kernel corrects idle and iowait by a few ticks, downwards too (proc(5)); irq and softirq are rounded each
        slack = 5 * TICK if key[0] == "cpu" else 1e-6
        assert before[key] - slack <= value <= after[key] + slack, key


@pytest.mark.servers
def test_of_this_machine_both_show_the_same_memory_load_and_start(agree):
    agree(check_memory_load_and_start)


def check_memory_load_and_start(before, theirs, after):
    def node(name):
        return theirs[series(f"node_{name}")]

    def assert_between(name, value, slack, **labels):
        bounds = sorted((before[series(name, **labels)], after[series(name, **labels)]))
        assert bounds[0] - slack <= value <= bounds[1] + slack, (name, labels)

    total = node("memory_MemTotal_bytes")
    assert before[series("system_memory_limit_bytes")] == total
    # other programs come and go within the few milliseconds between the looks: 2 % of memory is far above what they take
    moving = 0.02 * total
    memory = "system_memory_usage_bytes"
    assert_between(memory, node("memory_MemFree_bytes"), moving, system_memory_state="free")
    assert_between(memory, node("memory_Buffers_bytes"), moving, system_memory_state="buffers")
    cached = node("memory_Cached_bytes") + node("memory_SReclaimable_bytes")
    assert_between(memory, cached, moving, system_memory_state="cached")
    assert_between("system_memory_utilization_ratio", 1 - node("memory_MemAvailable_bytes") / total, 0.02)
    swapped = node("memory_SwapTotal_bytes") - node("memory_SwapFree_bytes")
    assert_between("system_paging_usage_bytes", swapped, moving, system_paging_state="used")
    # the averages move every five seconds, so at most once in between; /proc/loadavg rounds them to hundredths
    for ours, name in (("1m", "load1"), ("5m", "load5"), ("15m", "load15")):
        assert_between(f"system_cpu_load_average_{ours}", node(name), 0.011)
    assert before[series("system_cpu_logical_cores")] == len(
        {cpu for cpu, _ in by_label(theirs, "node_cpu_seconds_total", "cpu", "mode")}
    )
    # the start is the clock less the uptime, rounded down to seconds, so that it may move by one as the clock is adjusted
    assert before[series("system_boot_timestamp_seconds")] == pytest.approx(node("boot_time_seconds"), abs=1)
    # theirs is the clock less the start, and the kernel rounds the start down to whole seconds
    assert_between("system_uptime_seconds", node("time_seconds") - node("boot_time_seconds"), 1.1)


@pytest.mark.servers
def test_of_this_machine_both_show_the_same_file_systems_space_and_inodes(agree):
    agree(check_file_systems)


def check_file_systems(before, theirs, _after):
    mounted = ("system_device", "system_filesystem_mountpoint", "system_filesystem_type")
    ours = by_label(before, "system_filesystem_usage_bytes", *mounted, "system_filesystem_state")
    inodes = by_label(before, "system_filesystem_inodes", *mounted, "system_filesystem_state")
    places = {key[:3] for key in ours}

    def node(name, place):
        return by_label(theirs, f"node_filesystem_{name}", "device", "mountpoint", "fstype")[place]

    shown = set(by_label(theirs, "node_filesystem_size_bytes", "device", "mountpoint", "fstype"))
    # they leave overlays out, and so a container's root; they show what is in memory, and a device wherever it is mounted
    theirs_alone, ours_alone = shown - places, places - shown
    assert all(kind in {"tmpfs", "ramfs"} or device in {each[0] for each in places} for device, _, kind in theirs_alone)
    assert all(kind == "overlay" for _, _, kind in ours_alone)
    for place in places & shown:
        size = node("size_bytes", place)
        assert sum(ours[*place, state] for state in ("used", "free", "reserved")) == size
        # other programs write and delete between the two looks: a thousandth of the disk, and 1,000 files or as much of them
        assert ours[*place, "free"] == pytest.approx(node("avail_bytes", place), abs=size / 1000)
        assert ours[*place, "used"] == pytest.approx(size - node("free_bytes", place), abs=size / 1000)
        files = node("files", place)
        assert ((*place, "used") in inodes) == (files > 0)
        if files:
            assert inodes[*place, "used"] + inodes[*place, "free"] == files
            assert inodes[*place, "free"] == pytest.approx(node("files_free", place), abs=max(1000, files / 1000))
