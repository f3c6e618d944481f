"""The log of every act: what is about to be done, and what came of it, in lines that outlive a crash."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has none; there, one process writes one file
    fcntl = None

__all__ = ["AuditEntry", "AuditLog", "AuditTrail", "read_audit"]

AuditEvent = Literal["intent", "outcome", "escalation", "cancelled", "relapse"]
_VERSION = 1
_LOCK_TRIES, _LOCK_SECONDS = 100, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the log.

    Attributes:
        event: ``intent`` before an act, ``outcome`` after it; ``escalation`` and ``cancelled`` when recovery gave up or was
            called off, ``relapse`` when a component failed again soon after it was recovered.
        time: When, with its time zone.
        who: The process that acts: ``program[process id]@host``.
        source: Who reported the failure.
        case: Which failure it belongs to.
        attempt: Which act, the same in its intent and its outcome; empty where there is none.
        component: What fails.
        condition: How.
        error_type: The type of the error behind it.
        action: What is done.
        reason: Why this, or why recovery gave up.
        outcome: What came of it; empty before.
        seconds: How long it took; 0 before.
        error: The type of what the action raised.
        error_message: What that says, in one line of at most 300 characters without credentials.
        note: What an action of this package says of it.
        is_dry_run: Whether it was not really done.
        trace_id: The trace of the recovery, where there is one.
    """

    event: str
    time: datetime
    who: str
    source: str
    case: str
    attempt: str = ""
    component: str
    condition: str = ""
    error_type: str = ""
    action: str = ""
    reason: str = ""
    outcome: str = ""
    seconds: float = 0.0
    error: str = ""
    error_message: str = ""
    note: str = ""
    is_dry_run: bool = False
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """What a log says.

    Attributes:
        entries: All its lines that can be read, in order.
        unreadable: How many cannot: a crash in the middle of one leaves a part of it.
    """

    entries: tuple[AuditEntry, ...]
    unreadable: int = 0

    @property
    def unfinished(self) -> tuple[AuditEntry, ...]:
        """Intents without an outcome: acts in whose midst the process ended, or that go on."""
        ended = {entry.attempt for entry in self.entries if entry.event == "outcome"}
        return tuple(entry for entry in self.entries if entry.event == "intent" and entry.attempt not in ended)


class AuditLog:
    """Appends lines of JSON to a file that several processes may share and that logrotate may move away.

    Args:
        path: The file; it is made, for its owner alone, where it is not there. Its folder must be there.
        fsync: Whether each line is on the disk before what it tells of begins; else a crash of the machine, not one of the
            process, may lose the last lines.

    Raises:
        ConfigurationError: The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ConfigurationError(f"audit={path!r}: give the path of a file, an AuditLog, or leave it out")
        self.path = Path(path)
        self._fsync = fsync
        self._file: int | None = None
        self._place: tuple[int, int] | None = None
        self._writing = threading.Lock()
        self._who = _who()
        try:
            with self._writing:
                self._open()
        except OSError as error:
            raise ConfigurationError(
                f"audit={str(path)!r}: cannot write it ({error.strerror}); give a file in a folder that the program may write in"
            ) from None
        _logs.add(self)

    def write(self, event: AuditEvent, at: float, **facts: Any) -> None:
        """Append one line, in one write.

        Args:
            event: What the line tells of.
            at: When, in Unix time.
            **facts: The other fields of an ``AuditEntry``, but ``who``; those that are empty are left out.

        Raises:
            OSError: It cannot be written.
        """
        entry = {
            "version": _VERSION,
            "time": datetime.fromtimestamp(at, UTC).isoformat(),
            "event": event,
            "who": self._who,
            **{name: value for name, value in facts.items() if value not in ("", 0.0, False)},
        }
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._writing:
            file = self._current()
            with _locked(file):
                if _is_torn(file):
                    line = b"\n" + line  # what a crash left of a line is not to spoil this one
                while line:
                    line = line[os.write(file, line) :]  # one write, unless the disk is full
            if self._fsync:
                os.fsync(file)

    def close(self) -> None:
        """Close the file; a later line opens it anew."""
        with self._writing:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _open(self) -> int:
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        found = os.fstat(self._file)
        self._place = (found.st_dev, found.st_ino)
        return self._file

    def _current(self) -> int:
        """Return the file of that name, also after another was put in its place."""
        if self._file is not None:
            try:
                found = self.path.stat()
            except FileNotFoundError:
                found = None
            if found is not None and (found.st_dev, found.st_ino) == self._place:
                return self._file
            os.close(self._file)
            self._file = None
        return self._open()

    def _renew_in_child(self) -> None:
        self._writing = threading.Lock()
        self._who = _who()
        if self._file is not None:
            os.close(self._file)  # a lock of the parent's holds for this one, too: the child opens its own
            self._file = None


_logs: weakref.WeakSet[AuditLog] = weakref.WeakSet()


def _renew_in_child() -> None:
    for log in list(_logs):
        log._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)


def read_audit(path: str | os.PathLike[str]) -> AuditTrail:
    """Read a log back.

    Args:
        path: The file.

    Returns:
        Its lines, and how many of them cannot be read.

    Raises:
        OSError: The file cannot be read.
    """
    entries = []
    unreadable = 0
    for line in Path(path).read_bytes().splitlines():
        if not line.strip():
            continue
        try:
            entries.append(_entry(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable += 1
    return AuditTrail(tuple(entries), unreadable)


def _entry(facts: Mapping[str, Any]) -> AuditEntry:
    if facts["version"] != _VERSION:
        raise ValueError
    known = {name: value for name, value in facts.items() if name in AuditEntry.__slots__}
    return AuditEntry(**{"source": "", "case": "", **known, "time": datetime.fromisoformat(facts["time"])})


def _who() -> str:
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return f"{program}[{os.getpid()}]@{socket.gethostname()}"


@contextmanager
def _locked(file: int) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_SECONDS)
        else:
            break
    try:  # also without the lock, where one that holds it was stopped: a line is one write to the end of the file
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _is_torn(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"
