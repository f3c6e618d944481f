"""A made-up host: what ``/proc`` and ``/sys`` of a machine with three CPUs, one of them offline, and four disks would say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Series = tuple[str, frozenset[tuple[str, str]]]

STAT = """\
cpu  300 60 90 6000 150 6 12 30 40 20
cpu0 100 20 30 2000 50 2 4 10 40 20
cpu2 200 40 60 4000 100 4 8 20 0 0
intr 1234 5 6 7
ctxt 99
btime 1700000000
processes 5
procs_running 1
procs_blocked 0
softirq 1 2 3 4 5 6 7 8 9 10 11
"""

MEMINFO = """\
MemTotal:        1000000 kB
MemFree:          200000 kB
MemAvailable:     600000 kB
Buffers:           50000 kB
Cached:           300000 kB
SReclaimable:      40000 kB
SwapTotal:         80000 kB
SwapFree:          60000 kB
HugePages_Total:       3
"""

DISKSTATS = """\
   8       0 sda 100 10 2000 5000 50 5 4000 2500 0 6000 7500 1 0 8 2 3 4
   8       1 sda1 90 10 1800 4500 50 5 4000 2500 0 5900 7000 1 0 8 2 3 4
 259       0 nvme0n1 7 0 70 700 8 0 80 800 0 900 1500 0 0 0 0 0 0
 259       1 nvme0n1p1 7 0 70 700 8 0 80 800 0 900 1500 0 0 0 0 0 0
   7       0 loop0 5 0 50 1 0 0 0 0 0 2 2 0 0 0 0 0 0
 253       0 zram0 5 0 50 1 0 0 0 0 0 2 2 0 0 0 0 0 0
 104       0 cciss/c0d0 1 0 2 3 4 0 5 6 0 7 8
"""

NETWORK = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0: 9876543   12345    6    7    0     0          0         0   876543    2345    8    9    0     0       0          0
veth12:     111       1    0    0    0     0          0         0      222       2    0    0    0     0       0          0
"""

PRESSURE = {
    "cpu": "some avg10=1.00 avg60=2.00 avg300=3.00 total=5000001\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    "memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
    "io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
}

FILESYSTEMS = "nodev\tsysfs\nnodev\ttmpfs\nnodev\toverlay\nnodev\tnfs4\nnodev\tzfs\n\text4\n\txfs\n\tsquashfs\n"


class FakeHost:
    """Folders that stand for ``/proc`` and ``/sys``."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.sys = folder / "sys"
        self.write("stat", STAT)
        self.write("meminfo", MEMINFO)
        self.write("diskstats", DISKSTATS)
        self.write("net/dev", NETWORK)
        self.write("uptime", "12345.67 23456.78\n")
        self.write("loadavg", "0.50 1.25 2.00 1/234 5678\n")
        self.write("filesystems", FILESYSTEMS)
        for resource, text in PRESSURE.items():
            self.write(f"pressure/{resource}", text)
        for device in ("sda", "nvme0n1", "loop0", "zram0", "cciss!c0d0"):
            (self.sys / "block" / device).mkdir(parents=True)
        (self.sys / "class" / "net").mkdir(parents=True)
        self.mount()

    def write(self, name: str, text: str) -> None:
        """Write a file below ``/proc``."""
        path = self.proc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def mount(self, *mounts: tuple[str, str | Path, str]) -> None:
        """Say that these are mounted, each as device, mount point and type; one device has one number."""
        devices = list(dict.fromkeys(device for device, *_ in mounts))
        lines = []
        for device, place, kind in mounts:
            mountpoint = str(place).replace(" ", r"\040")
            lines.append(f"9 1 8:{devices.index(device)} / {mountpoint} rw shared:1 - {kind} {device} rw\n")
        self.write("self/mountinfo", "".join(lines))


@pytest.fixture
def fake_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Let psutil and the collectors read a made-up ``/proc``; nothing is mounted yet."""
    host = FakeHost(tmp_path)
    monkeypatch.setattr(psutil, "PROCFS_PATH", os.fspath(host.proc))
    return host


def values_of(metrics: Iterable) -> dict[Series, float]:
    """Map each series of these metrics to its value; none may appear twice."""
    samples = [sample for metric in metrics for sample in metric.samples]
    values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(values) == len(samples), "a series appeared twice"
    return values


def series(name: str, **labels: str) -> Series:
    """Name a series."""
    return name, frozenset(labels.items())


def names(values: Mapping[Series, float]) -> set[str]:
    """Name the families that there are."""
    return {name for name, _ in values}


def by_label(values: Mapping[Series, float], name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Map what these labels of a family's series say to the values."""
    return {tuple(dict(pairs)[label] for label in labels): value for (each, pairs), value in values.items() if each == name}
