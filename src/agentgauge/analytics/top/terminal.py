"""A terminal that is taken, key by key, and given back whatever happens."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Keys", "keys"]

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Keys:
    """Keys as they are pressed, and what else wakes who waits for them.

    Args:
        descriptor: Of the terminal.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self._reader, False)

    def wake(self, *_signal: Any) -> None:
        """End a wait; a signal handler and other threads may."""
        with suppress(OSError):  # one byte in it is enough; or nobody waits any more
            os.write(self._writer, b"x")

    def wait(self, seconds: float) -> str:
        """Return the keys that come within a time, or nothing; the end of the input is ``q``."""
        ready, _, _ = select.select([self._descriptor, self._reader], [], [], max(0.0, seconds))
        if self._reader in ready:
            with suppress(OSError):
                os.read(self._reader, 4096)
        if self._descriptor not in ready:
            return ""
        try:
            pressed = os.read(self._descriptor, 1024)
        except OSError:  # the terminal is gone
            return "q"
        return pressed.decode("utf-8", "replace") if pressed else "q"

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def keys(descriptor: int) -> Iterator[Keys]:
    """Take keys from a terminal, one by one and unseen.

    The terminal is as it was after the block, whatever ends it, signals that end programs included: they raise ``SystemExit``.

    Args:
        descriptor: Of the terminal.
    """
    before = termios.tcgetattr(descriptor)
    taken = Keys(descriptor)
    handlers = {number: signal.signal(number, _end) for number in _ENDING}
    handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, taken.wake)
    handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # it would leave the terminal as nobody can use it
    try:
        tty.setcbreak(descriptor)
        yield taken
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        taken.close()


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)
