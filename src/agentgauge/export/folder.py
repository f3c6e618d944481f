"""The folder that is exported to: what stands there is replaced only where an export wrote it and nobody has changed it.

Several kinds of export may share it, each under roots of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.errors import AgentgaugeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["RECORD", "ExportError", "Written", "write"]

RECORD = ".agentgauge-export.json"
"""The file that says what an export wrote: a checksum by path."""

_MOST_NAMED = 5
_PART = re.compile(r"[\w.-]+", re.ASCII)


class ExportError(AgentgaugeError):
    """Files cannot be written; the message names them, and says what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an export did.

    Attributes:
        written: What is new or was replaced, by path.
        unchanged: What was there already, as it should be.
        removed: What an earlier export wrote and this one does not make.
        left: The same, but it was changed since, and was left there.
    """

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def write(folder: Path, contents: Mapping[str, bytes], roots: Collection[str], *, is_forced: bool = False) -> Written:
    """Write files into a folder, all of them or, where something stands in the way, none.

    Args:
        folder: Where to; it is made where it is not there.
        contents: What to write, by path in the folder.
        roots: The folders in it that are this kind of export's: elsewhere nothing is removed.
        is_forced: Replace files that no export wrote, and those that were changed since.

    Returns:
        What was done.

    Raises:
        ExportError: Something stands in the way, or the system refuses to write.
    """
    recorded = _recorded(folder)
    _refuse_conflicts(folder, contents, recorded, is_forced=is_forced)
    done, now = Written(), dict(recorded)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for path, content in contents.items():
                is_there = _content(folder / path) == content and not (folder / path).is_symlink()
                (done.unchanged if is_there else done.written).append(path)
                if not is_there:
                    _replace(folder / path, content)
                now[path] = _checksum(content)
            for path in sorted(path for path in recorded.keys() - contents.keys() if path.split("/")[0] in roots):
                _remove(folder, path, recorded[path], done)
                del now[path]
        finally:  # what was written before the disk was full is ours, too
            _replace(folder / RECORD, _as_json(now))
    except OSError as error:
        raise ExportError(
            f"{error.filename or folder}: {error.strerror or error}; give a folder that can be written to"
        ) from None
    return done


def _refuse_conflicts(folder: Path, contents: Mapping[str, bytes], recorded: Mapping[str, str], *, is_forced: bool) -> None:
    above = {place for path in contents for place in _folders_of(folder, path)}
    links = {str(place) for place in (*above, folder / RECORD) if place.is_symlink()}
    if links:
        raise ExportError(f"{_named(links)}: a link in the way, which leads out of the folder; remove it, or give another folder")
    others = {str(place) for place in above if place.exists() and not place.is_dir()}
    others |= {
        str(folder / path) for path in (*contents, RECORD) if (folder / path).is_dir() and not (folder / path).is_symlink()
    }
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        others.add(str(folder))
    if others:
        raise ExportError(f"{_named(others)}: a file where a folder must be, or the other way round; give another folder")
    if is_forced:
        return
    strange = [path for path, content in contents.items() if not _is_ours(folder / path, content, recorded.get(path))]
    if strange:
        raise ExportError(
            f"{folder}: nothing was written, since these files are not from an export, or were changed after it: "
            f"{_named(strange)}; give another folder, or --force to replace them"
        )


def _is_ours(file: Path, content: bytes, checksum: str | None) -> bool:
    """Tell whether nothing is lost when a file is replaced."""
    if file.is_symlink():
        return False
    if not file.exists():
        return True
    present = _content(file)
    return present == content or (present is not None and _checksum(present) == checksum)


def _folders_of(folder: Path, path: str) -> list[Path]:
    """Return the folders between the one that is exported to and a file in it."""
    return [folder / above for above in Path(path).parents if above.name]


def _remove(folder: Path, path: str, checksum: str, done: Written) -> None:
    file = folder / path
    if any(place.is_symlink() for place in (file, *_folders_of(folder, path))) or not file.is_file():
        return
    content = _content(file)
    if content is not None and _checksum(content) == checksum:
        file.unlink()
        done.removed.append(path)
    else:
        done.left.append(path)


def _replace(file: Path, content: bytes) -> None:
    """Write a file as a whole: who reads it meanwhile sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")  # a name that nobody can lay a link under beforehand
    with new.open("xb") as opened:  # no mkstemp(): its files can be read by their owner alone, and servers run as somebody else
        try:
            opened.write(content)
            opened.close()
            new.replace(file)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _recorded(folder: Path) -> dict[str, str]:
    """Read what earlier exports wrote; what is no record of ours says nothing."""
    try:
        record = json.loads(_content(folder / RECORD) or b"{}")
    except (ValueError, RecursionError):
        return {}
    written = record.get("files") if isinstance(record, dict) else None
    if not isinstance(written, dict):
        return {}
    return {path: checksum for path, checksum in written.items() if isinstance(checksum, str) and _stays_inside(path)}


def _stays_inside(path: str) -> bool:
    return all(_PART.fullmatch(part) and part not in {".", ".."} for part in path.split("/"))


def _as_json(checksums: Mapping[str, str]) -> bytes:
    record = {"made by": "agentgauge export", "files": dict(sorted(checksums.items()))}
    return (json.dumps(record, indent=2) + "\n").encode()


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes() if file.is_file() else None
    except OSError:
        return None


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _named(names: Iterable[str]) -> str:
    names = sorted(names)
    further = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + further
