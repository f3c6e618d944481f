"""Moments noted where nothing of ours may run: in the middle of a garbage collection, in the thread of somebody's event loop.

Whatever Python function is called there would be the first to handle a signal that came meanwhile, and what the program's handler
raises (KeyboardInterrupt, a deadline by ``alarm()``) would end in it, lost. What is put together here runs no bytecode: CPython
handles no signal in it, switches no thread and calls no trace function.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["stamper"]


def stamper(
    append: Callable[[Any], object], mark: str, clock: Callable[[], float] = time.perf_counter
) -> Callable[[object], object]:
    """Build a function of one argument, which it ignores, that appends ``(mark, now)``.

    Args:
        append: Where to, such as the ``append`` of a deque; nothing written in Python.
        mark: What tells these moments from others.
        clock: The seconds now, in float.
    """
    return partial(next, map(append, zip(repeat(mark), iter(clock, None), strict=False)))
