"""Asks file systems how full they are, without ever waiting long for one that hangs."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Mount", "MountProbe", "Space", "measure"]

_Source = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Mount:
    """A place where a file system is mounted.

    ``number`` is the kernel's for that file system, as ``"0:52"``, where it tells: no other has it before the last call into
    this one has come back, so what is mounted anew after ``umount --lazy`` has another.
    """

    device: str
    mountpoint: str
    kind: str
    number: str = field(default="", compare=False)

    @property
    def source(self) -> _Source:
        """What answers for it: the device, or where the kernel names none, as for many a 9p, what is mounted there."""
        return (self.device, "" if self.device else self.mountpoint, self.number)


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

    So there is at most one thread for each device that hangs, and only the first scrape after that waits for it. One that comes
    back, but late, is asked again at each scrape, after those that are in time. ``ask()`` must not run twice at once.
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
        self._hung: dict[_Source, _Round] = {}
        self._late: dict[_Source, tuple[Mount, float]] = {}
        self._turn = 0
        self._last_turns: dict[_Source, int] = {}

    def ask(self, mounts: Iterable[Mount]) -> list[tuple[Mount, Space]]:
        """Ask each device once, where it is mounted first and can be asked.

        Args:
            mounts: Those whose answers matter most come first, among those that are in time.

        Returns:
            What answered in time, in the order given.
        """
        mounts = list(mounts)
        self._turn += 1
        there = {mount.source for mount in mounts}
        self._late = {source: late for source, late in self._late.items() if source in there}
        self._last_turns = {source: turn for source, turn in self._last_turns.items() if source in there}
        # a child after a fork has none of its parent's threads, and asks anew
        self._hung = {source: each for source, each in self._hung.items() if each.is_alive()}
        pending = deque(self._by_turn([mount for mount in mounts if mount.source not in self._hung]))
        answers: dict[_Source, tuple[Mount, Space]] = {}
        ends = self._clock() + self._limit_seconds
        while pending and self._clock() < ends:
            current = _Round(self._measure, pending, self._clock)
            try:
                current.start()
            except RuntimeError:  # the interpreter is about to exit, or the system has no thread left
                break
            stuck = self._await(current, ends)
            answers.update(current.answers)
            for mount in current.in_time:
                self._late.pop(mount.source, None)
                self._last_turns[mount.source] = self._turn
            if stuck is None:
                break
            if stuck not in current.in_time:  # it may have come back at the last moment
                self._leave(stuck, current)
            pending = deque(mount for mount in pending if mount.source not in {stuck.source, *answers})
        return [answers[source] for source in dict.fromkeys(mount.source for mount in mounts) if source in answers]

    def _leave(self, stuck: Mount, current: _Round) -> None:
        self._hung[stuck.source] = current
        seconds = self._clock() - current.asked_at
        if seconds >= self._patience_seconds:  # else the time of all was up, and its turn comes early the next time
            self._late[stuck.source] = (stuck, seconds)
            self._last_turns[stuck.source] = self._turn

    def _by_turn(self, mounts: Sequence[Mount]) -> list[Mount]:
        """Put first what was in time the last time, and of all what has waited longest, so that each has its turn."""
        mounts = sorted(mounts, key=lambda mount: self._last_turns.get(mount.source, 0))
        rest = [mount for mount in mounts if mount.source in self._late or mount.source not in self._last_turns]
        prompt = [mount for mount in mounts if mount not in rest]
        if rest and all(self._last_turns.get(mount.source, 0) < self._turn - 1 for mount in rest):
            return [rest[0], *prompt, *rest[1:]]  # the last time there was no time left for any of them
        return [*prompt, *rest]

    def stalls(self, mounts: Iterable[Mount]) -> list[tuple[Mount, float]]:
        """Tell which mounts did not answer in time when they were asked last, one for each device.

        Args:
            mounts: Those that there are now: of a device that hangs and is mounted nowhere any more nothing is said.

        Returns:
            Each with the seconds since it was asked, or where its call has come back, that it was waited for.
        """
        now = self._clock()
        stalled: dict[_Source, tuple[Mount, float]] = {}
        for mount in mounts:
            asked, seconds = self._late.get(mount.source, (None, 0.0))
            left = self._hung.get(mount.source)
            # where all of them together took too long, the last one may have had a moment only
            if left is not None and left.is_alive() and now - left.asked_at >= self._patience_seconds:
                asked, seconds = left.asked, now - left.asked_at
            if asked is not None and (mount == asked or mount.source not in stalled):
                stalled[mount.source] = (mount, seconds)
        return list(stalled.values())

    def _await(self, current: _Round, ends: float) -> Mount | None:
        """Wait until a round has ended, or the mount that it asks takes too long: that one is returned."""
        while True:
            current.join(max(0.0, self._wait_seconds(current, ends)))
            if not current.is_alive():
                return None
            if self._wait_seconds(current, ends) <= 0:  # and it has not gone on to the next
                return current.leave()

    def _wait_seconds(self, current: _Round, ends: float) -> float:
        now = self._clock()
        return min(ends - now, self._patience_seconds - (now - current.asked_at))


class _Round(threading.Thread):
    """Asks one mount after the other, until it is left alone with the one that hangs."""

    def __init__(self, measure: Callable[[Mount], Space | None], pending: deque[Mount], clock: Callable[[], float]) -> None:
        super().__init__(name="agentgauge-mounts", daemon=True)
        self.answers: dict[_Source, tuple[Mount, Space]] = {}
        self.in_time: list[Mount] = []
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
            if self._is_left:  # an answer that is late is of a time gone by
                return
            self.in_time.append(mount)
            if space is not None:
                self.answers[mount.source] = (mount, space)

    def leave(self) -> Mount | None:
        """Take nothing more from this round.

        Returns:
            The mount that it hangs on, if it does.
        """
        with self._lock:
            self._is_left = True
            return self.asked
