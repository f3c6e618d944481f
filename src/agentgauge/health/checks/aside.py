"""Calls that may never come back: made in a thread that is left behind, and not made again until they do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["ask_aside"]

_T = TypeVar("_T")


class _Call(threading.Thread):
    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(name="agentgauge-check-aside", daemon=True)
        self._function = function
        self.answer: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.answer = self._function()
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            self.error = error


_calls: dict[Hashable, _Call] = {}  # those of the parent are not alive in a forked child


def ask_aside(key: Hashable, function: Callable[[], _T], seconds: float) -> _T:
    """Return what ``function`` returns, waiting for it so long and no longer.

    Where the last call of this key has not come back, that one is waited for: so there is one thread for what hangs.

    Raises:
        TimeoutError: It did not come back in time.
        Exception: What the function raised.
    """
    call = _calls.get(key)
    if call is None or not call.is_alive():
        call = _Call(function)
        try:
            call.start()
        except RuntimeError:  # no thread is to be had
            return function()
        _calls[key] = call
    call.join(seconds)
    if call.is_alive():
        raise TimeoutError
    if _calls.get(key) is call:
        _calls.pop(key, None)
    if call.error is not None:
        raise call.error
    answer: _T = call.answer
    return answer
