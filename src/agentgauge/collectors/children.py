"""Readings of the processes below this one, from Linux' /proc.

Source: proc(5). What a process and the children it waited for used stands in its ``stat``; when it ends and is waited for, all
that moves into its parent's ``stat`` in one step.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.catalogue import machine
from agentgauge.collectors.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Children", "CpuLedger"]

_MOST_LOOKS_MISSING = 2
_ZOMBIES = frozenset("ZX")


class _Identity(NamedTuple):
    """A process id is used again, but not with the same start."""

    process_id: int
    started_ticks: int


@dataclass(slots=True)
class _Process:
    identity: _Identity
    parent_id: int
    state: str
    own_ticks: int
    reaped_ticks: int  # of its children that ended and were waited for, and of theirs
    threads: int
    resident_pages: int


@dataclass(slots=True)
class _Missing:
    """A process that was seen before; ``unexplained_ticks`` of what it had used have not turned up in an ancestor's books."""

    process: _Process
    parent: _Identity | None
    unexplained_ticks: int
    looks: int = 0


class CpuLedger:
    """The CPU time of everything below a process, which never goes down, whoever ends and whoever waits for it.

    Exact where every process that ends is waited for by its parent. Where one is not (its parent ignores SIGCHLD, or ended before
    it), what it used after the last look is missing.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self._before: dict[_Identity, _Process] = {}
        self._missing: dict[_Identity, _Missing] = {}

    def update(self, root: _Process, descendants: list[_Process]) -> None:
        """Take in one look; ``root`` counts with what it has waited for alone."""
        growth = 0
        reaped_by: dict[_Identity, int] = {}
        now = {process.identity: process for process in (root, *descendants)}
        for identity, process in now.items():
            found = self._missing.pop(identity, None)  # it was overlooked
            before = self._before.get(identity) or (None if found is None else found.process)
            if before is None:
                growth += process.reaped_ticks + (process.own_ticks if process is not root else 0)
                continue
            if process is not root:
                growth += max(0, process.own_ticks - before.own_ticks)
            reaped_by[identity] = max(0, process.reaped_ticks - before.reaped_ticks)
        gone = self._before.keys() - now.keys()
        by_id = {identity.process_id: identity for identity in self._before}
        for identity in gone:
            process = self._before[identity]
            self._missing[identity] = _Missing(
                process, by_id.get(process.parent_id), unexplained_ticks=process.own_ticks + process.reaped_ticks
            )
        self._explain_missing(reaped_by, gone)
        self._before = now
        self.ticks += growth + sum(reaped_by.values())

    def _explain_missing(self, reaped_by: dict[_Identity, int], gone: set[_Identity]) -> None:
        """Take out of what was waited for what had been counted while it ran."""
        for missing in self._missing.values():
            ancestor = missing.parent
            for _ in self._missing:  # as many as there can be above it
                if ancestor is None or ancestor in reaped_by:
                    break
                if ancestor in gone:  # what it had waited for turns up with it
                    missing.looks = 0
                above = self._missing.get(ancestor)
                ancestor = None if above is None else above.parent
            if ancestor in reaped_by:
                explained = min(reaped_by[ancestor], missing.unexplained_ticks)
                reaped_by[ancestor] -= explained
                missing.unexplained_ticks -= explained
        for identity, missing in list(self._missing.items()):
            missing.looks += 1
            # an ancestor may have been looked at just before it waited; the next look tells
            if missing.looks == _MOST_LOOKS_MISSING:
                del self._missing[identity]


class Children:
    """Reads the processes below one.

    Args:
        process_id: That one; None for this one.
        proc: Where /proc is.
    """

    def __init__(self, process_id: int | None = None, proc: str = "/proc") -> None:
        self._is_own = process_id in {None, os.getpid()}
        self._process_id = process_id = _own_id(proc) if process_id is None else process_id
        self._proc = proc
        self._ledger = CpuLedger()
        self._has_lists = os.path.exists(f"{proc}/{process_id}/task/{process_id}/children")  # noqa: PTH110 - as all paths here
        self._ticks_per_second = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> Iterator[Reading]:
        """Take all readings; a child that may not be looked at is counted, and missing in the sums."""
        root = self._look_at(self._process_id)
        if root is None:
            return
        ids = (self._list_below() if self._has_lists else self._search_below()) if self._may_have_children() else []
        seen, refused = [], 0
        for process_id in ids:
            try:
                process = self._look_at(process_id)
            except OSError:
                refused += 1
                continue
            if process is not None:
                seen.append(process)
        self._ledger.update(root, seen)
        alive = [process for process in seen if process.state not in _ZOMBIES]
        yield Reading(machine.PROCESS_CHILDREN, len(alive) + refused, {})
        yield Reading(machine.PROCESS_CHILDREN_CPU, self._ledger.ticks / self._ticks_per_second, {})
        resident = sum(process.resident_pages for process in alive) * self._page_bytes
        yield Reading(machine.PROCESS_CHILDREN_RESIDENT_MEMORY, resident, {})
        yield Reading(machine.PROCESS_CHILDREN_THREADS, sum(process.threads for process in alive), {})

    def _may_have_children(self) -> bool:
        if not self._is_own:
            return True
        try:  # one call that changes nothing, where the lists of many threads would be read for nothing
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _look_at(self, process_id: int) -> _Process | None:
        """Read one process; ``None`` where it has ended and been waited for."""
        try:
            text = _read(f"{self._proc}/{process_id}/stat")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = text[text.rindex(b")") + 2 :].split()  # its name may have blanks and parentheses
        state, parent_id, own, reaped = fields[0], fields[1], fields[11:13], fields[13:15]
        return _Process(
            identity=_Identity(process_id, int(fields[19])),
            parent_id=int(parent_id),
            state=state.decode(),
            own_ticks=sum(map(int, own)),
            reaped_ticks=sum(map(int, reaped)),
            threads=int(fields[17]),
            resident_pages=int(fields[21]),
        )

    def _list_below(self) -> Iterator[int]:
        """Go through the lists that the kernel keeps for each thread, parents before their children."""
        waiting = [self._process_id]
        known = set(waiting)  # one whose parent ends meanwhile stands in two lists
        for parent_id in waiting:
            try:
                tasks = os.listdir(f"{self._proc}/{parent_id}/task")  # noqa: PTH208 - Path takes four times as long
            except OSError:  # it ended, or hides
                continue
            for task in tasks:
                try:
                    below = [int(child) for child in _read(f"{self._proc}/{parent_id}/task/{task}/children").split()]
                except OSError:  # that thread ended, or hides
                    continue
                fresh = [child for child in below if child not in known]
                known.update(fresh)
                waiting += fresh
                yield from fresh

    def _search_below(self) -> Iterator[int]:
        """Look at all processes there are, for kernels without those lists, parents before their children."""
        children: dict[int, list[int]] = {}
        for name in os.listdir(self._proc):  # noqa: PTH208 - as above
            if name.isdigit():
                try:
                    process = self._look_at(int(name))
                except OSError:
                    continue  # whose child it is cannot be known
                if process is not None:
                    children.setdefault(process.parent_id, []).append(int(name))
        waiting = [self._process_id]
        for parent_id in waiting:
            waiting += children.get(parent_id, [])
        yield from waiting[1:]


def _own_id(proc: str) -> int:
    """Find the number of this process by ``/proc``, which may be another pid namespace's."""
    try:
        return int(os.readlink(f"{proc}/self"))  # noqa: PTH115 - as all paths here
    except OSError:
        return os.getpid()


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65536), b""))
    finally:
        os.close(descriptor)
