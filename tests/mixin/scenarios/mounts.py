"""Programs whose file systems do not answer when asked for their space, or do so late."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from agentgauge import Threshold
from agentgauge.collectors.mount_probe import Mount, Space
from scenarios.acts_machine import BYTES, INODES, HangingMounts, host
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

ROOT = Mount("/dev/a", "/", "ext4")
DATA = Mount("server:/export", "/data", "nfs4")
WORK = Mount("mirror", "/work", "fuse.sshfs")
TAPE = Mount("/dev/slow", "/tape", "xfs")
FAR = Mount("far:/export", "/far", "nfs4")
NEAR = Mount("near:/export", "/near", "nfs4")
DISK = "system_filesystem_utilization_ratio"
FULL = Space(BYTES, used=BYTES * 9 // 10, free=BYTES // 10, inodes=INODES, inodes_free=INODES)


def hangs(process: Process) -> Iterator[None]:
    """After ten minutes /data and /work do not answer, for twenty; then /work is taken away, and /data answers again."""
    with closing(HangingMounts(process)) as mounts, host(process, ROOT, DATA, WORK, measure=mounts.measure) as machine:
        for minute in range(41):
            if minute == 11:
                mounts.hang(DATA, WORK)
            if minute == 31:
                machine.mount(ROOT, DATA)
                mounts.answer()
            yield


def is_late_at_times(process: Process) -> Iterator[None]:
    """/data is late for three minutes, and for three more."""
    with closing(HangingMounts(process)) as mounts, host(process, DATA, measure=mounts.measure):
        for minute in range(31):
            if minute in {11, 12, 13, 15, 16, 17}:
                mounts.hang(DATA)
            yield
            mounts.answer()


def are_always_late(process: Process) -> Iterator[None]:
    """After ten minutes /tape and /far answer later than a scrape may wait for both, for twenty. /near, behind them, is full."""
    with closing(HangingMounts(process)) as mounts:

        def measure(mount: Mount) -> Space:
            return FULL if mount == NEAR else mounts.measure(mount)

        with host(process, TAPE, FAR, NEAR, measure=measure):
            for minute in range(41):
                if 10 < minute <= 30:
                    mounts.hang(TAPE, FAR)
                yield
                mounts.answer()


CASES: dict[str, list[Target]] = {
    "A file system that does not answer is reported until it does": [
        Program(hangs, settings={"thresholds": ()}),
        Program(is_late_at_times, instance="a:2", settings={"thresholds": ()}),
        Program(are_always_late, instance="slow", settings={"thresholds": (Threshold(DISK, 0.85),)}),
    ],
}
