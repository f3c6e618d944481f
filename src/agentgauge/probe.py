"""``agentgauge probe``: tells by a heartbeat file whether the process that writes it lives, and whether it is ready.

It needs nothing of that process, which may be too busy to answer on a port in time, and loads a few modules of the standard
library: ``python -I -S .../agentgauge/probe.py FILE`` does the same as ``agentgauge probe FILE`` without loading agentgauge.
"""

from __future__ import annotations

import json
import os
import sys
import time

__all__ = ["FORMAT", "PATIENCE_INTERVALS", "Beat", "UnreadableError", "examine", "identity", "main", "read"]

FORMAT = "agentgauge-heartbeat-1"
PATIENCE_INTERVALS = 6
"""How many intervals may pass without a beat unless told otherwise: beside 32 busy threads one is late by half of one."""

_USAGE = """\
usage: agentgauge probe FILE [--max-age SECONDS] [--ready]

Tell by its heartbeat file whether a program lives that runs with agentgauge.start(heartbeat_file=FILE).

  --max-age SECONDS  how old the last heartbeat may be (default: six intervals, as the file states them: 30 s)
  --ready            fail, too, while the program is not ready

Exit status: 0 where all is well, 1 where it is not (one line says why), 2 for a wrong option.
"""
_MOST_BYTES = 4096
_STATE, _START = 0, 19  # of what follows the command's name in /proc/PID/stat (proc_pid_stat(5))


class UnreadableError(Exception):
    """There is no heartbeat to read; the message says why."""


class Beat:
    """What a heartbeat file says.

    Attributes:
        monotonic_seconds: When it was written, on ``CLOCK_MONOTONIC``: that is one clock for all processes of a machine, nobody
            sets it, and it stands while the machine sleeps.
        boot_id: Of the boot that the clock counts from; empty where the system tells none.
        pid: The process that wrote it.
        pid_namespace: Where that id holds; empty where the system tells none.
        process_start: When the process started, in ticks since the boot: ids are used again. None where that is unknown.
        interval_seconds: From one beat to the next.
        is_ready: Whether the program can do its work.
        status: How the health monitor finds it.
    """

    def __init__(self, fields: dict[str, object]) -> None:
        if fields.get("format") != FORMAT:
            raise UnreadableError
        self.monotonic_seconds = float(fields["monotonic_seconds"])  # type: ignore[arg-type]  # what it raises is expected
        self.boot_id = str(fields["boot_id"])
        self.pid = int(fields["pid"])  # type: ignore[call-overload]  # as above
        self.pid_namespace = str(fields["pid_namespace"])
        self.process_start = fields["process_start"]
        self.interval_seconds = float(fields["interval_seconds"])  # type: ignore[arg-type]  # as above
        self.is_ready = fields["ready"] is True
        self.status = " ".join(str(fields["status"]).split())


def identity() -> dict[str, object]:
    """Tell this process from any other, as the file does."""
    pid = os.getpid()
    process = _process(pid)
    return {
        "boot_id": _boot_id(),
        "pid": pid,
        "pid_namespace": _pid_namespace(),
        "process_start": process[1] if process else None,
    }


def read(path: str) -> Beat:
    """Read a heartbeat file.

    Raises:
        UnreadableError: There is none, or it is not what it should be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not hold us up
        try:
            text = os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise UnreadableError(f"there is no {path}: no program has started that writes it, or it has stopped") from None
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return Beat(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, UnreadableError):
        raise UnreadableError(f"{path} is no heartbeat file of agentgauge") from None


def examine(beat: Beat, max_age_seconds: float | None = None) -> tuple[float, str]:
    """Tell how old a heartbeat is, and what is wrong with it.

    Args:
        beat: What the file says.
        max_age_seconds: How old it may be; six of its intervals unless given.

    Returns:
        The age in seconds, and a clause; an empty one where the process lives and beats.
    """
    age = time.monotonic() - beat.monotonic_seconds
    if beat.boot_id != _boot_id():
        return age, "the heartbeat is from before this machine started"
    state = ""
    if beat.pid_namespace == _pid_namespace():  # else the id says nothing here: a container may look into another's folder
        process = _process(beat.pid)
        if process is None or process[0] in ("Z", "X"):
            return age, f"process {beat.pid} has ended"
        if process[1] is not None and process[1] != beat.process_start:
            return age, f"process {beat.pid} has ended, and another has its id"
        state = process[0]
    if not age >= -1:  # NaN too
        return age, "the heartbeat is from another machine: it is dated in the future"
    limit = PATIENCE_INTERVALS * beat.interval_seconds if max_age_seconds is None else max_age_seconds
    if not age <= limit:
        why = "is stopped (SIGSTOP, or a debugger)" if state in ("T", "t") else "lives, but does not get to write"
        return age, f"the last heartbeat is {age:.1f} s old, more than {limit:g} s: process {beat.pid} {why}"
    return age, ""


def main(words: list[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        words: The command line without the command's own name; that of the process unless given.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if words is None else words
    if "-h" in words or "--help" in words:
        _write(_USAGE)
        return 0
    try:
        path, max_age_seconds, is_ready_asked = _options(words)
    except ValueError as error:
        sys.stderr.write(f"agentgauge probe: {error} (see agentgauge probe --help)\n")
        return 2
    try:
        beat = read(path)
    except UnreadableError as error:
        return _say(str(error))
    age, wrong = examine(beat, max_age_seconds)
    if wrong:
        return _say(wrong)
    if is_ready_asked and not beat.is_ready:
        return _say(f"process {beat.pid} is not ready: its health is {beat.status}")
    _write(f"ok: process {beat.pid}, last heartbeat {max(age, 0):.1f} s old, health {beat.status}\n")
    return 0


def _say(wrong: str) -> int:
    _write(f"{wrong}\n")  # the kubelet shows what a probe writes there in the pod's events
    return 1


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):  # it is full, closed or not there, or has no such letters
        sys.stdout = None  # or Python tries again at its end, and changes the status, which says it all


def _options(words: list[str]) -> tuple[str, float | None, bool]:
    """Take the command line apart by hand: argparse takes as long to load as all the rest."""
    paths: list[str] = []
    max_age_seconds = None
    is_ready_asked = False
    rest = iter(words)
    for word in rest:
        name, has_value, value = word.partition("=")
        if name == "--max-age":
            max_age_seconds = _seconds(value if has_value else next(rest, ""))
        elif word == "--ready":
            is_ready_asked = True
        elif word == "--":
            paths += rest
        elif word.startswith("-"):
            raise ValueError(f"unrecognized arguments: {word}")
        else:
            paths.append(word)
    if len(paths) != 1 or not paths[0]:
        raise ValueError("give one heartbeat file")
    return paths[0], max_age_seconds, is_ready_asked


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= sys.maxsize:
        raise ValueError(f"--max-age {text!r}: give a number of seconds above 0, such as 30")
    return seconds


def _process(pid: int) -> tuple[str, int | None] | None:
    """Give the state of a process and when it started, as far as the system tells; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib is slow to load
            fields = file.read().rpartition(b")")[2].split()
        return fields[_STATE].decode(), int(fields[_START])
    except (OSError, IndexError, ValueError):
        pass
    try:
        os.kill(pid, 0)  # no /proc, or one that hides other users' processes
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:
        pass
    return "", None


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to load
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - pathlib is slow to load
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
