"""Servers of one process group: how a worker finds that a sibling already serves the port that it wants too."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.exposition.wire import HeadTooLargeError, MalformedHeadError, parse_headers, read_head

if TYPE_CHECKING:
    from agentgauge.config import Config

__all__ = ["NotASiblingError", "group_header", "process_of_sibling"]

_HEADER = "Agentgauge-Group"
_PROBE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class NotASiblingError(Exception):
    """Something else serves the port."""


def group_header() -> tuple[str, str]:
    """Make the header by which siblings know each other: a hash of the process group, then the process."""
    return _HEADER, f"{_group()} {os.getpid()}"


def process_of_sibling(config: Config, deadline: float) -> int:
    """Ask what serves the host and port of ``config``.

    Args:
        config: The settings that the sibling is taken to have too.
        deadline: When to give up, on ``time.monotonic()``.

    Returns:
        The process id of the sibling.

    Raises:
        NotASiblingError: What answered is no server of this process group.
        OSError: Nothing answered.
    """
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((config.host, config.port), timeout=1))
        if config.tls_certificate_file is not None:
            sock = stack.enter_context(_unverified().wrap_socket(sock))
        sock.sendall(_PROBE)
        try:
            head = read_head(sock, deadline)
            if head is None:
                raise ConnectionAbortedError
            headers = parse_headers(head.partition("\n")[2])
        except (HeadTooLargeError, MalformedHeadError):
            raise NotASiblingError from None
    group, _, process = headers.get(_HEADER.lower(), "").partition(" ")
    if group != _group() or not process.isdecimal():
        raise NotASiblingError
    return int(process)


def _group() -> str:
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    # two containers of a pod share their ports, and may both number their group 1
    return hashlib.sha256(f"{os.getpgrp()} {namespace}".encode()).hexdigest()[:16]


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no secret is sent, and what answers is only compared
    return context
