"""Programs whose file systems fill up within hours, and one whose file system has room enough for now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.collectors.mount_probe import Mount
from scenarios.acts_machine import host
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

ROOT = Mount("/dev/a", "/", "ext4")
TOTAL = 8192
SCRAPES_IN_AN_HOUR = 12
TEN_HOURS = 10 * SCRAPES_IN_AN_HOUR


def fills_up(process: Process) -> Iterator[None]:
    """More than half of / is used up, and every hour 192 more of its 8192 bytes and as many inodes, for ten hours."""
    with host(process, ROOT) as machine:
        for scrape in range(22 * SCRAPES_IN_AN_HOUR + 1):
            used = 4608 + 16 * min(scrape, TEN_HOURS)
            machine.fill(ROOT, used, TOTAL)
            machine.fill_inodes(ROOT, used, TOTAL)
            yield


def has_room(process: Process) -> Iterator[None]:
    """Every hour twice as much more of / is used up, but not half of it yet."""
    with host(process, ROOT) as machine:
        for scrape in range(TEN_HOURS):
            used = 128 + 32 * scrape
            machine.fill(ROOT, used, TOTAL)
            machine.fill_inodes(ROOT, used, TOTAL)
            yield


CASES: dict[str, list[Target]] = {
    "A file system of a host with agents will be full within a day": [
        Program(fills_up),
        Program(has_room, instance="other"),
    ],
    "A file system of a host with agents will hold no more files within a day": [
        Program(fills_up),
        Program(has_room, instance="other"),
    ],
}
