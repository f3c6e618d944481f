"""What the kernel tells of the process that asks.

On Linux all is asked of ``/proc/self``: where psutil's ``PROCFS_PATH`` is the host's ``/proc``, or the process is in another pid
namespace than ``/proc``, the process of our number is somebody else's. Source: proc(5).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import psutil

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OwnProcess", "read_unique_memory"]

_SELF = "/proc/self"
_THREADS, _START = 17, 19  # fields of ``stat``, counted from the state, since the name before it may have blanks
_KIBIBYTE = 1024
_DESCRIPTOR_TOLERANCE = 8  # other threads may open files between two looks
_BOOT_TIME = re.compile(r"^btime (\d+)$", re.MULTILINE)
_BYTES_OF_DISKS = re.compile(r"^(read|write)_bytes: (\d+)$", re.MULTILINE)
_PRIVATE = re.compile(r"^Private_\w+: *(\d+) kB$", re.MULTILINE)


class OwnProcess:
    """Reads this process; a forked child needs one of its own."""

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._has_cheap_descriptor_count: bool | None = None

    def read_memory(self) -> Iterator[Reading]:
        """Read resident and virtual memory, in bytes."""
        if psutil.LINUX:
            virtual, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in read_file(f"{_SELF}/statm").split()[:2])
        else:
            memory = psutil.Process().memory_info()
            virtual, resident = memory.vms, memory.rss
        yield Reading(machine.PROCESS_RESIDENT_MEMORY, resident, {})
        yield Reading(machine.PROCESS_VIRTUAL_MEMORY, virtual, {})

    def read_start(self) -> Iterator[Reading]:
        """Tell when it started, as of the first look: a clock that is set later moves no start."""
        if self._started_at is None:
            self._started_at = _find_start() if psutil.LINUX else psutil.Process().create_time()
        yield Reading(machine.PROCESS_START_TIME, self._started_at, {})

    def read_threads(self) -> Iterator[Reading]:
        """Count the threads, those that Python knows nothing of included."""
        count = int(_read_stat()[_THREADS]) if psutil.LINUX else psutil.Process().num_threads()
        yield Reading(machine.PROCESS_THREADS, count, {})

    def read_disk_io(self) -> Iterator[Reading]:
        """Read what disks did for it, in bytes; macOS does not tell."""
        if psutil.LINUX:
            for direction, transferred in _BYTES_OF_DISKS.findall(read_file(f"{_SELF}/io")):
                yield Reading(machine.PROCESS_DISK_IO, int(transferred), {"disk_io_direction": direction})

    def read_open_descriptors(self) -> Iterator[Reading]:
        """Count open descriptors."""
        # Linux from 6.2 on tells the number as the folder's size; listing thousands of them takes milliseconds
        if self._has_cheap_descriptor_count is None:
            size = _size_of_descriptor_folder()
            self._has_cheap_descriptor_count = size > 0 and abs(_count_descriptors() - size) <= _DESCRIPTOR_TOLERANCE
        count = _size_of_descriptor_folder() if self._has_cheap_descriptor_count else _count_descriptors()
        yield Reading(machine.PROCESS_OPEN_FDS, count, {})


def _read_stat() -> list[str]:
    text = read_file(f"{_SELF}/stat")
    return text[text.rindex(")") + 2 :].split()


def _find_start() -> float:
    boot = _BOOT_TIME.search(read_file("/proc/stat"))
    if boot is None:
        raise NotImplementedError("/proc/stat has no btime")
    return int(boot[1]) + int(_read_stat()[_START]) / os.sysconf("SC_CLK_TCK")


def _size_of_descriptor_folder() -> int:
    try:
        return os.stat(f"{_SELF}/fd").st_size  # noqa: PTH116 - as all paths here
    except OSError:
        return 0


def _count_descriptors() -> int:
    if psutil.LINUX:
        return len(os.listdir(f"{_SELF}/fd")) - 1  # noqa: PTH208 - names are all it takes; one is the listing's own
    return psutil.Process().num_fds()


def read_unique_memory() -> Iterator[Reading]:
    """Read what its end would free, in bytes, which takes the kernel milliseconds for every gigabyte."""
    if psutil.LINUX:
        try:
            text = read_file(f"{_SELF}/smaps_rollup")
        except FileNotFoundError:  # before Linux 4.14
            text = read_file(f"{_SELF}/smaps")
        unique = sum(map(int, _PRIVATE.findall(text))) * _KIBIBYTE
    else:
        unique = psutil.Process().memory_full_info().uss
    yield Reading(machine.PROCESS_UNIQUE_MEMORY, unique, {})
