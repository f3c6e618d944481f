"""``DiskWritableCheck``: a file can be written where the program writes."""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.aside import ask_aside
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.settings import NamedCheck, require_slow, slow
from agentgauge.health.checks.wire import Deadline
from agentgauge.health.status import ComponentType, Finding, Status
from agentgauge.requirements import require_count

__all__ = ["DiskWritableCheck"]

_SIZE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWritableCheck(NamedCheck):
    """A small file can be made in a directory, removed, written, put on the disk (``fsync``) and read.

    The file is removed from the directory before it is written, so that a program that is killed leaves none behind. A mount that
    hangs costs the check alone: one thread waits for it, and it is not asked again until it answers.

    Attributes:
        path: The directory.
        minimum_free_bytes: Critical with less room than that for this program's user; not looked at unless given.
        slow_seconds: Above how many seconds it is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component_type: ComponentType = ComponentType.STORAGE
    path: str | os.PathLike[str]
    minimum_free_bytes: int = 0
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        if not isinstance(self.path, str | os.PathLike) or not str(self.path) or "\0" in str(self.path):
            raise ConfigurationError(f"path={self.path!r}: give a directory, such as '/var/lib/agent'")
        require_count("minimum_free_bytes", self.minimum_free_bytes, "1_000_000_000", least=0)
        require_slow(self.slow_seconds)

    def check(self) -> Finding:
        """Write once."""
        folder = Path(self.path)
        deadline = Deadline(self.patience_seconds)
        try:
            free = ask_aside(("disk", str(folder)), partial(_write, folder), deadline.left())
        except TimeoutError:
            return Finding(
                status=Status.DOWN,
                message=f"{folder}: the file system did not answer in {deadline.seconds:.3g} s",
                condition="timeout",
                error_type="TimeoutError",
                suggestions=(
                    "It is a network mount whose server does not answer: look at the server, and at the network to it.",
                    "The disk is failing or overloaded: see dmesg and the system's I/O pressure.",
                ),
            )
        except OSError as error:
            return _refused(error, folder)
        details = {"free_bytes": free, "seconds": round(deadline.spent, 6)}
        if free < self.minimum_free_bytes:
            return Finding(
                status=Status.CRITICAL,
                message=f"{folder}: {free} bytes are free, below {self.minimum_free_bytes}",
                condition="disk_full",
                suggestions=(
                    "Something grows: look for the largest files and directories (du -x), logs and caches first.",
                    "Deleted files are held open by a process (lsof +L1).",
                ),
                details=details,
            )
        found = Finding(status=Status.HEALTHY, message=f"{folder}: written and read", details=details)
        return slow(found, str(folder), deadline.spent, self.slow_seconds)


def _write(folder: Path) -> int:
    """Write and read; return how many bytes are free."""
    data = secrets.token_bytes(_SIZE_BYTES)
    file = folder / f".agentgauge-{secrets.token_hex(8)}"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        file.unlink()
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        os.fsync(descriptor)
        if os.pread(descriptor, len(data) + 1, 0) != data:
            raise OSError(errno.EIO, "what was read is not what was written")
        space = os.fstatvfs(descriptor)
    finally:
        os.close(descriptor)
    return space.f_bavail * space.f_frsize


def _refused(error: OSError, folder: Path) -> Finding:
    found = explain(error, str(folder))
    if found.condition in ("disk_full", "not_writable", "permission"):
        return found
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    suggestions = (
        ("The directory does not exist, or is none: create it, or mend the path.", "Its volume is not mounted.")
        if missing
        else ("The disk or its file system is failing: see dmesg.", "A quota or limit (ulimit -f) is reached.")
    )
    return Finding(
        status=Status.CRITICAL,
        message=found.message,
        condition="not_writable",
        error_type=found.error_type,
        suggestions=suggestions,
    )
