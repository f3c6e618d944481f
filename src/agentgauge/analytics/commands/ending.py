"""How a command ends: with an answer, or with one line about what stood in the way."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from agentgauge.errors import ConfigurationError, HistoryError, SourceError
from agentgauge.redaction import HIDDEN, redact

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_ANSWER", "ended", "is_terminal", "why", "without_credentials"]

NO_ANSWER = 2
"""The exit status where there is no answer."""
_INTERRUPTED, _PIPE_CLOSED = 130, 141


def ended(name: str, answer: Callable[[], int], *addresses: str | None) -> int:
    """Answer, and say in one line on standard error why there is none.

    Args:
        name: Of the command.
        answer: Does it, and returns the exit status.
        addresses: What was typed that may hold credentials.

    Returns:
        The exit status: 2 where there is no answer, 130 after Ctrl-C, 141 where who reads has gone.
    """
    try:
        return answer()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # who reads has seen enough
        _silence()
        return _PIPE_CLOSED
    except (ConfigurationError, SourceError, HistoryError) as error:
        message = str(error)
    except OSError as error:
        _silence()  # what a full disk did not take would fail again when the interpreter ends
        message = f"{error.filename}: {why(error)}" if error.filename else f"the answer cannot be written: {why(error)}"
    message = message.replace(" as ca_file", " with --ca-file")  # as it is spelt here
    for address in addresses:
        message = without_credentials(message, address)
    if sys.stderr is not None:
        sys.stderr.write(f"agentgauge {name}: {message}\n")
    return NO_ANSWER


def why(error: Exception) -> str:
    """Return why something could not be read or written, without the number and the path that Python adds."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def is_terminal(stream: object) -> bool:
    """Tell whether a stream is there and is a terminal."""
    return stream is not None and bool(getattr(stream, "isatty", bool)())


def without_credentials(message: str, source: str | None) -> str:
    """Return a message without the user, the password and the query of a source's address."""
    if source is None or "://" not in source:
        return message
    shown = message.replace(source, redact(source))
    rest = source.partition("://")[2]
    user, _, password = rest.rpartition("@")[0].partition(":")  # up to the last @: nobody need have encoded a password
    secrets = {user, password, rest.partition("?")[2].partition("#")[0]}
    for secret in sorted({one for found in secrets if found for one in (found, unquote(found))}, key=len, reverse=True):
        shown = shown.replace(secret, HIDDEN)
    return shown


def _silence() -> None:
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
