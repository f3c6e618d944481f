"""Which processes belong to a running program: only the one that serves the page is on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from agentgauge.doctor.finding import Finding, Status, listed

if TYPE_CHECKING:
    from agentgauge.doctor.page import Program

__all__ = ["processes"]

_SHORT = 60
_MULTIPROCESSING = "from multiprocessing.spawn import"


def processes(program: Program, _limit: int) -> Finding:
    """Look for forked siblings and children of the process that serves: their calls are on no page."""
    check = "processes"
    server = _server(program)
    if server is None:
        title = "Whether it is one process of several cannot be seen from here"
        return Finding(
            check, Status.UNKNOWN, title, "it runs on another machine, under another user, or serves by another server"
        )
    try:
        copies = [process for process in _relatives(server) if _is_copy(process, server)]
        shown = f"process {server.pid} serves ({_command(server)})"
    except psutil.Error:
        return Finding(check, Status.UNKNOWN, "The processes of the program cannot be looked at", f"process {server.pid} serves")
    if copies:
        return Finding(
            check,
            Status.WARN,
            "The program has forked, and one of its processes serves",
            f"{shown}; forked beside it: {listed(str(process.pid) for process in copies)}",
            "Calls in the other processes are on no page: give each a port of its own (AGENTGAUGE_PORT=0 finds a free one), or "
            "run one process a container.",
        )
    return Finding(check, Status.OK, "The program is one process", f"{shown}, and none was forked beside it")


def _server(program: Program) -> psutil.Process | None:
    """Find the process, and make sure that it is the one that holds the port: elsewhere its number means another one."""
    port = urlsplit(program.url).port
    if program.process_id is None or port is None:
        return None
    try:
        process = psutil.Process(program.process_id)
        held = {connection.laddr.port for connection in process.net_connections("tcp") if connection.status == psutil.CONN_LISTEN}
    except psutil.Error:
        return None
    return process if port in held else None


def _relatives(server: psutil.Process) -> list[psutil.Process]:
    parent = server.parent()
    siblings = [] if parent is None else [process for process in parent.children() if process.pid != server.pid]
    is_copy_of_parent = parent is not None and _is_copy(parent, server)
    return [*server.children(recursive=True), *(siblings if is_copy_of_parent else [])]


def _is_copy(process: psutil.Process, server: psutil.Process) -> bool:
    """Tell whether ``process`` runs the same program: it has its command line, or that of a worker of multiprocessing."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        command = process.cmdline()
        return command == server.cmdline() or any(_MULTIPROCESSING in word for word in command)
    except psutil.Error:  # it has ended meanwhile
        return False


def _command(process: psutil.Process) -> str:
    words = " ".join(process.cmdline()[:3])
    return words if len(words) <= _SHORT else f"{words[:_SHORT]}..."
