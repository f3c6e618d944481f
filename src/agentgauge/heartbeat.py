"""A file that says that this process lives, for probes that must not wait for it: ``agentgauge probe`` reads it.

A page of the process itself is answered by a thread that needs the GIL again and again: beside 32 threads that compute, its p95
was measured at 2.5 s, where the kubelet waits for 1 s. The file waits for nobody; that it is renewed late does no harm.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError, contain_internal_errors, report_internal_error
from agentgauge.fork_gate import process_mark
from agentgauge.probe import FORMAT, UnreadableError, examine, identity, read
from agentgauge.requirements import require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.exposition.health_pages import HealthSource
    from agentgauge.probe import Beat

__all__ = ["Heartbeat"]

_logger = logging.getLogger(__name__)

_FILE_BYTES = 1024  # all are as long, so that one can be written over another where the disk is full
_STOP_SECONDS = 1.0
_FRESH_INTERVALS = 3
_EXAMPLE = "heartbeat_file='/run/my-agent/heartbeat'"


class Heartbeat:
    """Writes a heartbeat file every ``interval_seconds`` until ``stop()``, in a thread of its own.

    A second thread asks ``source``, so that one that hangs leaves the program alive, not ready and of unknown health. Where
    another live process writes the file this one does not, until that has ended; a forked child never writes its parent's.

    Args:
        path: The file; its folder exists, and belongs to this program. A volume in memory serves best.
        source: Knows how the components are: a ``SystemHealthMonitor`` that is monitoring. None for a program that has none.
        interval_seconds: From one beat to the next. A probe's patience is six of them unless it is told otherwise.

    Raises:
        ConfigurationError: The folder is none to write in, the file is something else, or an argument cannot work.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        source: HealthSource | None = None,
        interval_seconds: float = 5.0,
    ) -> None:
        require_seconds("heartbeat_interval_seconds", interval_seconds, "5")
        if source is not None and not callable(getattr(source, "health_report", None)):
            raise ConfigurationError(f"source={source!r}: give a SystemHealthMonitor, or an object with health_report()")
        self.path = _checked_path(path)
        self.interval_seconds = interval_seconds
        self._source = source
        # not an Event, whose set() could wait for itself in a signal handler
        self._wakes: tuple[SimpleQueue[bool], SimpleQueue[bool]] = (SimpleQueue(), SimpleQueue())
        self._threads: list[threading.Thread] = []
        self._mark: tuple[int, int] | None = None
        self._is_stopped = False
        self._is_yielding = False
        self._is_draining = False
        self._said: tuple[bool, str, float] | None = None

    def start(self) -> None:
        """Write the file, and go on doing so.

        Raises:
            ConfigurationError: It cannot be written.
            RuntimeError: It has been started before, or no thread can be had.
        """
        if self._mark is not None:
            raise RuntimeError("a Heartbeat starts once: make another")
        self._mark = process_mark()
        self._identity = identity()
        try:
            self._beat()
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written ({error.strerror}): give a path such as {_EXAMPLE}"
            ) from None
        beats, reports = self._wakes
        self._run(beats, self._beat, "agentgauge-heartbeat")
        if self._source is not None:
            self._run(reports, self._ask, "agentgauge-heartbeat-health", is_at_once=True)

    def drain(self) -> None:
        """Tell a probe for readiness that the program is not ready from now on; takes no lock, for signal handlers."""
        self._is_draining = True
        self._wakes[0].put(False)  # a probe is not to wait for the next beat to learn of it

    def stop(self) -> None:
        """End the threads and remove the file; nothing to do in a forked child, or where it was not started."""
        if self._mark != process_mark() or self._is_stopped:
            return
        self._is_stopped = True
        for wake in self._wakes:
            wake.put(True)
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        # that a probe finds none says the same as before the start; who waits for a disk must not hold up the exit, too
        if not any(thread.is_alive() for thread in self._threads[:1]):
            with contextlib.suppress(OSError, UnreadableError):
                if self._is_own(read(self.path)):
                    os.unlink(self.path)  # noqa: PTH108 - pathlib is slow to load

    def _run(self, wake: SimpleQueue[bool], act: Callable[[], None], name: str, *, is_at_once: bool = False) -> None:
        def run() -> None:
            is_due = is_at_once
            while True:
                if is_due:
                    with contain_internal_errors("heartbeat"):
                        act()
                try:
                    if wake.get(timeout=self.interval_seconds):
                        return
                except Empty:
                    pass
                is_due = True

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _ask(self) -> None:
        before = self._said
        try:
            report = self._source.health_report()  # type: ignore[union-attr]  # only called where there is one
            self._said = (bool(report.is_ready), str(report.status), time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, the program lives
            report_internal_error("health", error)
            self._said = None
        if (before and before[:2]) != (self._said and self._said[:2]):
            self._wakes[0].put(False)  # a probe is not to wait for the next beat to learn of it

    def _beat(self) -> None:
        other = self._other()
        if other is not None:
            if not self._is_yielding:
                _logger.warning(
                    "process %d writes the heartbeat file %s; process %d does not, until that has ended: give each process a "
                    "file of its own (heartbeat_file=... or AGENTGAUGE_HEARTBEAT_FILE)",
                    other,
                    self.path,
                    os.getpid(),
                )
            self._is_yielding = True
            return
        self._is_yielding = False
        is_ready, status = self._health()
        fields = {
            "format": FORMAT,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),  # for people: a clock that is set must end no program
            "monotonic_seconds": time.monotonic(),
            **self._identity,
            "interval_seconds": self.interval_seconds,
            "ready": is_ready and not self._is_draining,
            "status": status,
        }
        self._write(json.dumps(fields).ljust(_FILE_BYTES - 1).encode() + b"\n")

    def _health(self) -> tuple[bool, str]:
        if self._source is None:
            return True, "unknown"
        said = self._said
        if said is None or time.monotonic() - said[2] > _FRESH_INTERVALS * max(self.interval_seconds, 1.0):
            return False, "unknown"
        return said[:2]

    def _other(self) -> int | None:
        """Find who else writes the file, alive and lately."""
        try:
            found = read(self.path)
        except UnreadableError:
            return None
        _, wrong = examine(found, _FRESH_INTERVALS * found.interval_seconds)
        return None if wrong or self._is_own(found) else found.pid

    def _is_own(self, beat: Beat) -> bool:
        return all(getattr(beat, name) == value for name, value in self._identity.items())

    def _write(self, data: bytes) -> None:
        """Put a new file in the place of the old one, so that no reader finds half of it.

        There is no ``fsync``: what it says is of use while the machine runs, and a file of an earlier boot tells by its
        ``boot_id`` that it is one; but a disk that is slow to sync would hold the beat up.
        """
        folder, name = os.path.split(self.path)
        # by the process, since others may begin in the same instant: whoever comes last has the file
        new = os.path.join(folder, f".{name}.{os.getpid()}.new")  # noqa: PTH118 - pathlib is slow to load
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)  # noqa: PTH108 - as above; one that a killed process left
            self._put(new, data, os.O_CREAT | os.O_EXCL)
            if self._is_stopped:  # meanwhile, and did not wait for this disk any longer
                os.unlink(new)  # noqa: PTH108 - as above
            else:
                os.replace(new, self.path)  # noqa: PTH105 - as above
        except OSError as error:
            # a disk that is full, which must not end a program that lives: what is there already has room
            with contextlib.suppress(OSError):
                os.unlink(new)  # noqa: PTH108 - as above
            try:
                self._put(self.path, data, 0)
            except FileNotFoundError:
                raise error from None  # which says what is wrong

    @staticmethod
    def _put(path: str, data: bytes, flags: int) -> None:
        flags |= os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # neither a link nor a named pipe is to be fallen for
        descriptor = os.open(path, flags, 0o644)  # a probe may be another user's
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def _checked_path(path: object) -> str:
    if not isinstance(path, str | os.PathLike) or not os.fspath(path) or "\0" in os.fsdecode(path):
        raise ConfigurationError(f"heartbeat_file={path!r}: give a path, such as {_EXAMPLE}")
    absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 - pathlib is slow to load; the program may change its folder
    folder = os.path.dirname(absolute)  # noqa: PTH120 - as above
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):  # noqa: PTH112 - as above
        raise ConfigurationError(f"heartbeat_file={path!r}: {folder} is no folder to write in; make it, or give another path")
    if os.path.lexists(absolute) and not (os.path.isfile(absolute) and _is_ours(absolute)):  # noqa: PTH113 - as above
        raise ConfigurationError(f"heartbeat_file={path!r} is something else than a heartbeat file: give a path of its own")
    return absolute


def _is_ours(path: str) -> bool:
    if not os.path.getsize(path):  # noqa: PTH202 - as above
        return True  # an empty one, as mktemp makes it
    try:
        read(path)
    except UnreadableError:
        return False
    return True
