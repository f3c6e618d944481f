"""Control groups of Linux: in which this process is, and what their files say, for version 2 and version 1.

In what is read here ``None`` means unknown (refused, nonsense, out of sight) and ``math.inf`` means that no limit is set.
Source: cgroups(7), and the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.collectors.readings import read_file, unescape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Cgroups",
    "Hierarchy",
    "Source",
    "read_cpu_set",
    "read_fields",
    "read_limit",
    "read_number",
    "read_quota",
    "smallest",
    "unless_unlimited",
]

_LARGEST_DIGITS = 20  # of a 64-bit number
_UNLIMITED = 2**62  # version 1 says the largest number of whole pages, which depends on their size


class Source(StrEnum):
    """Who sets a limit."""

    CGROUP_V2 = "cgroup_v2"
    CGROUP_V1 = "cgroup_v1"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The control groups that govern this process for one controller.

    Attributes:
        source: Their version; ``HOST`` where the system has no control groups for it.
        folders: The process's own first, then each one above it that can be seen; empty for ``HOST``.
    """

    source: Source
    folders: tuple[Path, ...] = ()

    def nearest(self, file: str) -> Path | None:
        """Find the nearest group that has this file: a controller that a group does not enable counts in the one above it."""
        return next((folder for folder in self.folders if _exists(folder / file)), None)


_HOST = Hierarchy(Source.HOST)


@dataclass(frozen=True, slots=True)
class _Mount:
    root: tuple[str, ...]
    point: Path
    controllers: frozenset[str] | None  # None: version 2, which has them all


class Cgroups:
    """Where the control groups of this process are; they are looked up again when the process is moved."""

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        """Read what groups the process is in; each is looked up when it is asked for.

        Args:
            proc: The folder of the process.
        """
        self._proc = proc
        self._membership = _read_membership(proc / "cgroup")
        self._found: dict[str, Hierarchy | None] = {}
        self._mounts: list[_Mount] | None = None

    def refresh(self) -> None:
        """Notice that the process was moved, that a group is gone, or that one can be seen now."""
        membership = _read_membership(self._proc / "cgroup")
        is_stale = any(known is None or not all(map(Path.is_dir, known.folders[:1])) for known in self._found.values())
        if membership != self._membership or is_stale:
            self._membership = membership
            self._found = {}
            self._mounts = None

    def find(self, controller: str) -> Hierarchy | None:
        """Tell which groups govern this process for a controller such as ``memory``; ``None`` if that is unknown."""
        if controller not in self._found:
            self._found[controller] = self._look_up(controller)
        return self._found[controller]

    def _look_up(self, controller: str) -> Hierarchy | None:
        if self._membership is None:
            return None
        paths: dict[str, str] = {}
        for line in filter(None, self._membership.split("\n")):  # a name may hold what else str.splitlines() splits at
            number, *rest = line.split(":", 2)
            if not number.isdigit() or len(rest) != 2 or not rest[1].startswith("/"):  # noqa: PLR2004 - controllers, path
                return None
            paths.update(dict.fromkeys(rest[0].split(","), rest[1]))
        if controller in paths:  # version 1 has it, so version 2 has not
            return self._walk_up(Source.CGROUP_V1, controller, paths[controller])
        if "" in paths:
            return self._walk_up(Source.CGROUP_V2, controller, paths[""])
        return _HOST

    def _walk_up(self, source: Source, controller: str, path: str) -> Hierarchy | None:
        """List the folders from the process's own up to where it is mounted, in the mount that shows the most of them."""
        own = _parts(path)
        best: tuple[Path, ...] = ()
        if self._mounts is None:
            self._mounts = list(_read_mounts(self._proc / "mountinfo"))
        for mount in self._mounts:
            if (mount.controllers is None) != (source is Source.CGROUP_V2):
                continue
            if mount.controllers is not None and controller not in mount.controllers:
                continue
            below = own[len(mount.root) :]
            if own[: len(mount.root)] != mount.root or ".." in below:  # the process is elsewhere in the tree
                continue
            folders = tuple(mount.point.joinpath(*below[:depth]) for depth in range(len(below), -1, -1))
            # any group has cgroup.procs; where it is missing, something else is mounted on top, or the group is gone
            if len(folders) > len(best) and _exists(folders[0] / "cgroup.procs"):
                best = folders
        return Hierarchy(source, best) if best else None


def _read_membership(file: Path) -> str | None:
    try:
        return read_file(os.fspath(file))
    except (FileNotFoundError, NotADirectoryError):
        return ""  # a system without control groups
    except OSError:
        return None


def _read_mounts(file: Path) -> Iterator[_Mount]:
    for line in (_read(file) or "").split("\n"):
        if " - cgroup" not in line:  # there may be thousands
            continue
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kinds) < 3 or kinds[0] not in {"cgroup", "cgroup2"}:  # noqa: PLR2004 - as proc(5) has it
            continue
        controllers = None if kinds[0] == "cgroup2" else frozenset(kinds[2].split(","))
        yield _Mount(_parts(unescape(fields[3])), Path(unescape(fields[4])), controllers)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for names that no file can have
        return False
    except OSError:
        return True  # but it is not for us to read
    return True


def read_number(file: Path) -> float | None:
    """Read a file that holds one count; ``None`` if it does not, or cannot be read."""
    return _as_number((_read(file) or "").strip())


def read_fields(file: Path, *names: str) -> dict[str, float]:
    """Read the lines ``name count`` of a file that have these names; what is no such line is left out."""
    pairs = (line.partition(" ") for line in (_read(file) or "").split("\n"))
    numbers = ((name, _as_number(count)) for name, _, count in pairs if name in names)
    return {name: number for name, number in numbers if number is not None}


def read_limit(file: Path) -> float | None:
    """Read a file that holds a count or ``max``, or which is not there because nothing is limited."""
    text = _read_setting(file)
    if text is None:
        return None
    if text == "max":
        return math.inf
    number = _as_number(text)
    return None if number is None else unless_unlimited(number)


def unless_unlimited(limit: float) -> float:
    """Take a limit for none where it is as large as version 1 says it for "none"."""
    return limit if limit < _UNLIMITED else math.inf


def read_quota(folder: Path, source: Source) -> float | None:
    """Read how many CPUs the quota of a group amounts to."""
    if source is Source.CGROUP_V2:
        quota, _, period = (_read_setting(folder / "cpu.max") or "").partition(" ")
    else:
        quota, period = (_read_setting(folder / f"cpu.cfs_{part}_us") or "" for part in ("quota", "period"))
    if quota in {"max", "-1"}:
        return math.inf
    numbers = _as_number(quota), _as_number(period)
    return numbers[0] / numbers[1] if numbers[0] and numbers[1] else None


def read_cpu_set(file: Path) -> float | None:
    """Read how many CPUs are in a list such as ``0-3,8``; an empty one limits nothing."""
    text = _read_setting(file)
    if not text or text == "max":
        return None if text is None else math.inf
    count = 0.0
    for span in text.split(","):
        first, dash, last = span.partition("-")
        start, end = _as_number(first), _as_number(last if dash else first)
        if start is None or end is None or end < start:
            return None
        count += end - start + 1
    return count


def smallest(limits: Iterable[float | None]) -> float | None:
    """Find the smallest limit; ``None`` if one of them is unknown, since that one may be smaller."""
    known = math.inf
    for limit in limits:
        if limit is None:
            return None
        known = min(known, limit)
    return known


def _read_setting(file: Path) -> str | None:
    """Read a limit; ``max`` where there is no such file in a group, because its controller is off or it is the outermost."""
    try:
        return read_file(os.fspath(file)).strip()
    except FileNotFoundError:
        return "max" if _exists(file.parent) else None
    except OSError:
        return None


def _read(file: Path) -> str | None:
    try:
        return read_file(os.fspath(file))
    except OSError:
        return None


def _as_number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) <= _LARGEST_DIGITS else None
