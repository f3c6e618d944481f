"""Programs whose file systems do not answer when asked for their space, or do so late."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from agentgauge.collectors.mount_probe import Mount
from scenarios.acts_machine import HangingMounts, host
from virtual_time import Process, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture import Target

ROOT = Mount("/dev/a", "/", "ext4")
DATA = Mount("server:/export", "/data", "nfs4")
WORK = Mount("mirror", "/work", "fuse.sshfs")
TAPE = Mount("/dev/slow", "/tape", "xfs")


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


def is_always_late(process: Process) -> Iterator[None]:
    """After ten minutes /tape answers, but later than a scrape may wait for it."""
    with closing(HangingMounts(process)) as mounts, host(process, TAPE, measure=mounts.measure):
        for minute in range(41):
            if 10 < minute <= 30:
                mounts.hang(TAPE)
            yield
            mounts.answer()


CASES: dict[str, list[Target]] = {
    "A file system that does not answer is reported until it does": [
        Program(hangs),
        Program(is_late_at_times, instance="a:2"),
        Program(is_always_late, instance="slow"),
    ],
}
