"""Asks file systems how full they are, without ever waiting long for one that hangs."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Mount", "MountProbe", "Space", "measure"]


@dataclass(frozen=True, slots=True)
class Mount:
    """A place where a file system is mounted."""

    device: str
    mountpoint: str
    kind: str

    @property
    def source(self) -> tuple[str, str]:
        """What answers for it: the device, or where the kernel names none, as for many a 9p, what is mounted there."""
        return (self.device, "") if self.device else ("", self.mountpoint)


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system holds and could hold, in bytes and in inodes; no inodes where it does not count them."""

    total: int
    used: int
    free: int
    inodes: int
    inodes_free: int


def measure(mount: Mount) -> Space | None:
    """Ask one file system; the call hangs as long as the server or the disk behind it does.

    Returns:
        Its space, or ``None`` for one that has none, and for a file that is mounted, as containers do.

    Raises:
        OSError: It is gone, broken, or not for us to see.
    """
    if not stat.S_ISDIR(os.stat(mount.mountpoint).st_mode):  # noqa: PTH116 - Path.is_dir() would hide why
        return None
    answer = os.statvfs(mount.mountpoint)
    unit = answer.f_frsize
    used, free = (answer.f_blocks - answer.f_bfree) * unit, answer.f_bavail * unit
    return Space(answer.f_blocks * unit, used, free, answer.f_files, answer.f_ffree) if used + free > 0 else None


class MountProbe:
    """Asks mounts in a thread that is left behind when one of them hangs; that device is not asked again until it answers.

    So there is at most one thread for each device that hangs, and only the first scrape after that waits for it. ``ask()``
    must not run twice at once.
    """

    def __init__(
        self,
        measure: Callable[[Mount], Space | None] = measure,
        patience_seconds: float = 0.1,
        limit_seconds: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet.

        Args:
            measure: Asks one mount, and may take for ever.
            patience_seconds: How long one mount may take.
            limit_seconds: How long all of them may take; well within what a scrape waits for its collectors.
            clock: Seconds that never go back.
        """
        self._measure = measure
        self._patience_seconds = patience_seconds
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._hung: dict[tuple[str, str], _Round] = {}

    def ask(self, mounts: Iterable[Mount]) -> list[tuple[Mount, Space]]:
        """Ask each device once, where it is mounted first and can be asked.

        Args:
            mounts: Those whose answers matter most come first.

        Returns:
            What answered in time.
        """
        # a child after a fork has none of its parent's threads, and asks anew
        self._hung = {source: each for source, each in self._hung.items() if each.is_alive()}
        pending = deque(mount for mount in mounts if mount.source not in self._hung)
        answers: dict[tuple[str, str], tuple[Mount, Space]] = {}
        ends = self._clock() + self._limit_seconds
        while pending and self._clock() < ends:
            current = _Round(self._measure, pending, self._clock)
            try:
                current.start()
            except RuntimeError:  # the interpreter is about to exit, or the system has no thread left
                break
            stuck = self._await(current, ends)
            answers.update(current.answers)
            if stuck is None:
                break
            self._hung[stuck.source] = current
            pending = deque(mount for mount in pending if mount.source not in {stuck.source, *answers})
        return list(answers.values())

    def stalls(self, mounts: Iterable[Mount]) -> list[tuple[Mount, float]]:
        """Tell which mounts have been asked and not answered in time, one for each device that hangs.

        Args:
            mounts: Those that there are now: of a device that hangs and is mounted nowhere any more nothing is said.

        Returns:
            Each with the seconds since it was asked.
        """
        now = self._clock()
        stalled: dict[tuple[str, str], tuple[Mount, float]] = {}
        for mount in mounts:
            left = self._hung.get(mount.source)
            if left is None or not left.is_alive() or now - left.asked_at < self._patience_seconds:
                continue  # where all of them together took too long, the last one may have had a moment only
            if mount == left.asked or mount.source not in stalled:
                stalled[mount.source] = (mount, now - left.asked_at)
        return list(stalled.values())

    def _await(self, current: _Round, ends: float) -> Mount | None:
        """Wait until a round has ended, or the mount that it asks takes too long: that one is returned."""
        while True:
            patient_until = min(ends, current.asked_at + self._patience_seconds)
            current.join(max(0.0, patient_until - self._clock()))
            if not current.is_alive():
                return None
            if self._clock() >= min(ends, current.asked_at + self._patience_seconds):  # and has not gone on to the next
                return current.leave()


class _Round(threading.Thread):
    """Asks one mount after the other, until it is left alone with the one that hangs."""

    def __init__(self, measure: Callable[[Mount], Space | None], pending: deque[Mount], clock: Callable[[], float]) -> None:
        super().__init__(name="agentgauge-mounts", daemon=True)
        self.answers: dict[tuple[str, str], tuple[Mount, Space]] = {}
        self.asked_at = clock()
        self._measure = measure
        self._pending = pending
        self._clock = clock
        self.asked: Mount | None = None
        self._lock = threading.Lock()
        self._is_left = False

    def run(self) -> None:
        with contain_internal_errors("collector_host"):
            while (mount := self._take()) is not None:
                space = None
                try:
                    space = self._measure(mount)
                except OSError:
                    continue
                finally:
                    self._note(mount, space)

    def _take(self) -> Mount | None:
        with self._lock:
            while self._pending and not self._is_left:
                mount = self._pending.popleft()
                if mount.source not in self.answers:
                    self.asked, self.asked_at = mount, self._clock()
                    return mount
            if not self._is_left:
                self.asked = None
        return None

    def _note(self, mount: Mount, space: Space | None) -> None:
        with self._lock:
            if space is not None and not self._is_left:  # an answer that is late is of a time gone by
                self.answers[mount.source] = (mount, space)

    def leave(self) -> Mount | None:
        """Take nothing more from this round.

        Returns:
            The mount that it hangs on, if it does.
        """
        with self._lock:
            self._is_left = True
            return self.asked
