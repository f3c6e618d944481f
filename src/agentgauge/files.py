"""Files that are there whole or not at all, whoever reads them meanwhile and whatever ends the program."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from pathlib import Path

__all__ = ["backup_of", "read_bounded", "write_whole"]

_LEFTOVER = re.compile(r"\.agentgauge-[0-9a-f]{16}\.part")
_LEFTOVER_AFTER_SECONDS = 3600.0  # nobody writes for so long without touching the file


def write_whole(path: Path, content: str | bytes, *, keeps_previous: bool = False) -> None:
    """Write a file that is there whole or not at all, on the disk when this returns.

    A link stays, and the file that it leads to is written; a file that is there keeps its permissions. What a program that was
    killed left behind more than an hour ago is swept from the folder.

    Args:
        path: Where to.
        content: A text is written as UTF-8.
        keeps_previous: The file that is there becomes ``backup_of(path)``, in the place of an older one.

    Raises:
        OSError: It cannot be written; what was there before is unchanged.
    """
    mode, file_path = _mode_of(path), Path(os.path.realpath(path))
    beside = _beside(file_path)

    def open_private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else 0o600)  # who may not read the file may not read this one either

    try:
        with open(beside, "xb", opener=open_private) as file:
            if mode is not None:
                beside.chmod(stat.S_IMODE(mode))
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if keeps_previous and mode is not None:
            _keep(file_path)
        beside.replace(file_path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        if error.errno is None:
            raise
        # it would name a file that nobody gave
        is_homeless = isinstance(error, FileNotFoundError) and not file_path.parent.exists()
        what = f"there is no folder {str(file_path.parent)!r} to write into" if is_homeless else error.strerror
        raise OSError(error.errno, what, str(path)) from None
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # the file is whole, and some file systems cannot do this
        _sync_folder(file_path.parent)
    with contextlib.suppress(OSError):
        _sweep(file_path.parent)


def backup_of(path: Path) -> Path:
    """Return where ``write_whole`` keeps the file that it replaced: beside the file itself, where the path is a link."""
    file_path = Path(os.path.realpath(path))
    return file_path.with_name(f"{file_path.name}.bak")


def read_bounded(path: Path, most_bytes: int) -> bytes | None:
    """Read a regular file.

    Returns:
        None where it is longer than ``most_bytes``, of which not more than that is read.

    Raises:
        OSError: It cannot be read, or is a folder, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us up
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "it is no regular file", str(path))
        if found.st_size > most_bytes:
            return None
        content = file.read(most_bytes + 1)
    return content if len(content) <= most_bytes else None


def _mode_of(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _beside(path: Path) -> Path:
    return path.with_name(f".agentgauge-{secrets.token_hex(8)}.part")  # not longer than any name may be


def _keep(path: Path) -> None:
    """Give the file a second name; there is no moment at which it has none."""
    beside = _beside(path)
    try:
        os.link(path, beside)
    except OSError:  # a file system without hard links
        private = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(private, "wb") as copy, path.open("rb") as file:
            os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode))
            while part := file.read(1 << 20):
                copy.write(part)
            copy.flush()
            os.fsync(copy.fileno())
    try:
        beside.replace(backup_of(path))
    finally:
        # os.rename() does nothing where both are names of one file
        beside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    oldest = time.time() - _LEFTOVER_AFTER_SECONDS
    with os.scandir(folder) as entries:
        leftovers = [Path(entry.path) for entry in entries if _LEFTOVER.fullmatch(entry.name)]
    for leftover in leftovers:
        with contextlib.suppress(OSError):
            if leftover.lstat().st_mtime < oldest:
                leftover.unlink()
