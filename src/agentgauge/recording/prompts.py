"""Which prompts a process has sent before, by hashes: no content is kept, and no code of the host's runs."""

from __future__ import annotations

import marshal
import os
from collections import OrderedDict
from typing import Any

__all__ = ["Prompts", "prompt_fingerprint"]

_MOST = 4_096
_KEY = os.urandom(16)  # the interpreter's own is known where PYTHONHASHSEED is set
_FORM = 2  # of later ones the bytes tell how often a value is referred to, and equal values differ


def prompt_fingerprint(prompt: Any) -> int | None:
    """Return a keyed hash that equal prompts of this process share; None for what is no plain data, or nothing.

    It costs a copy in memory and one pass of SipHash: 1.5 µs for 2 kB, 0.3 ms for 100 kB.

    Args:
        prompt: Messages and parameters as nested dictionaries, lists, tuples, texts and numbers.
    """
    if prompt is None:
        return None
    try:
        return hash(_KEY + marshal.dumps(prompt, _FORM))
    except ValueError:  # an object of another kind, or one that contains itself
        return None


class Prompts:
    """The fingerprints of the last 4,096 different prompts that models answered: under 1 MB, for one thread at a time."""

    def __init__(self) -> None:
        """Know none."""
        self._known: OrderedDict[int, None] = OrderedDict()

    def note(self, fingerprint: int) -> bool:
        """Take note of a prompt that was answered, and tell whether it is known already."""
        known = self._known
        if fingerprint in known:
            known.move_to_end(fingerprint)
            return True
        known[fingerprint] = None
        if len(known) > _MOST:
            known.popitem(last=False)
        return False

    def clear(self) -> None:
        """Forget all."""
        self._known = OrderedDict()
