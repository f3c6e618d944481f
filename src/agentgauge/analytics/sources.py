"""What people point analysis at: the path of a history, or the address of a Prometheus."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.analytics.prometheus import Prometheus
from agentgauge.errors import ConfigurationError, HistoryError, SourceError
from agentgauge.fork_gate import load

if TYPE_CHECKING:
    from agentgauge.analytics.frames import Source

__all__ = ["open_source"]

_EXAMPLES = "history.db, or an address such as http://127.0.0.1:9090"
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}(?:/.*)?|localhost(?:/.*)?")
_BESIDE = re.compile(r"-wal$|-shm$|-journal$|\.lock$")  # what lies beside a history, and is none


def open_source(
    text: str | os.PathLike[str], *, bearer_token: str | None = None, ca_file: str | None = None, timeout_seconds: float = 30.0
) -> Source:
    """Open what ``text`` names, to be read.

    Args:
        text: The path of a history, as ``start(history_file=...)`` writes it, or the address of a Prometheus or of anything else
            with its HTTP API, beginning with ``http://`` or ``https://``.
        bearer_token: What a Prometheus wants, as ``Authorization: Bearer ...``.
        ca_file: The PEM certificates that one's certificate may be of; the system's unless given.
        timeout_seconds: How long one question to a Prometheus may take, in seconds.

    Returns:
        The source. A history has ``close()``, and needs it only where the program goes on.

    Raises:
        ConfigurationError: It is neither, or an option cannot work.
        SourceError: There is no such history, or it cannot be read; the message says what to do.
    """
    if not isinstance(text, str | os.PathLike) or not os.fspath(text):
        raise ConfigurationError(f"source={text!r}: give the path of a history such as {_EXAMPLES}")
    if "://" in str(text) or str(text).lower().startswith(("http:", "https:")):
        return Prometheus(str(text), bearer_token=bearer_token, ca_file=ca_file, timeout_seconds=timeout_seconds)
    return _history(Path(text))


def _history(path: Path) -> Source:
    """Open a history that exists."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(_missing(path)) from None
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}: give this user that right, and its folder's"
        ) from None
    if stat.S_ISDIR(found.st_mode):
        raise SourceError(f"{path} is a folder: name the file of a history in it, as start(history_file=...) wrote it")
    main = path.with_name(_BESIDE.sub("", path.name))
    if main != path and main.is_file():
        raise SourceError(f"{path} is what lies beside a history: name the history itself, {main}")
    if not found.st_size:
        raise SourceError(f"{path} is empty: no program has written a history to it yet")
    try:
        history: Source = load("agentgauge.analytics.history").History(path, is_read_only=True)
    except HistoryError as error:
        raise SourceError(str(error)) from None
    return history


def _missing(path: Path) -> str:
    if _ADDRESS.fullmatch(str(path)):
        return f"there is no file {path}: if that is the address of a Prometheus, write it as http://{path}"
    return (
        f"there is no {path}: start the program with history_file={str(path)!r} (AGENTGAUGE_HISTORY_FILE), or name another "
        "history, or the address of a Prometheus"
    )
