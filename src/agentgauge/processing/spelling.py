"""Methods whose names are those of hooks but for a slip: a misspelt hook would be accepted, and never called."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["distance", "misspelt", "near_miss"]

_SHORT = len("_process")
"""Names up to this long are misspelt by one letter, longer ones by two: `_street` is no `_stream`."""


def misspelt(kind: type, base: type, hooks: Mapping[str, int]) -> tuple[type, str, str] | None:
    """Return the first method that a class has in place of a hook, which it has not.

    It resembles the hook by its name, and takes what the hook is given. Methods that come from classes outside the template
    are none of its hooks, and neither are properties and values.

    Args:
        kind: The class that is looked at.
        base: The template.
        hooks: How many arguments each hook is given.

    Returns:
        The class that has it, its name, and the hook that is meant; None where there is none.
    """
    for hook, arguments in hooks.items():
        if getattr(kind, hook) is not getattr(base, hook):
            continue  # the class has it: what resembles it is its own
        for owner, name in _methods(kind, base):
            if name not in hooks and _resembles(name, hook) and _takes(owner, name, arguments):
                return owner, name, hook
    return None


def near_miss(kind: type, base: type, hook: str) -> str | None:
    """Return the name of a method that may be meant to be ``hook``; None where there is none."""
    return next((name for _, name in _methods(kind, base) if _resembles(name, hook)), None)


def _methods(kind: type, base: type) -> Iterator[tuple[type, str]]:
    for owner in kind.__mro__:
        if issubclass(owner, base) and owner is not base:
            for name, value in vars(owner).items():
                if name.startswith("_") and not name.startswith("__") and _is_method(value):
                    yield owner, name


def _is_method(value: Any) -> bool:
    is_bound_later = isinstance(value, staticmethod | classmethod | functools.partialmethod)
    return is_bound_later or (callable(value) and not isinstance(value, type))


def _resembles(name: str, hook: str) -> bool:
    if name in (f"{hook}s", f"{hook}_"):
        return True
    if hook[1:] in name:  # a word of its own with the hook's inside, such as `_reinitialize`; slips break a word
        return False
    most = 1 if len(hook) <= _SHORT else 2
    return abs(len(name) - len(hook)) <= most and distance(name, hook) <= most


def _takes(owner: type, name: str, arguments: int) -> bool:
    has_self = not isinstance(vars(owner)[name], staticmethod | classmethod)
    try:
        inspect.signature(getattr(owner, name)).bind(*([None] * (arguments + has_self)))
    except (TypeError, ValueError):  # it takes other things, or does not show what it takes
        return False
    return True


def distance(one: str, other: str) -> int:
    """Return by how many slips two words differ: letters too many, too few or wrong, and two in the wrong order.

    It is the "optimal string alignment" distance (F. J. Damerau, "A technique for computer detection and correction of spelling
    errors", Communications of the ACM 7, 1964), in which no letter is touched twice.
    """
    earlier: list[int] = []
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        earlier, before, row = before, row, [i + 1]
        for j, against in enumerate(other):
            least = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != against))
            if i and j and letter == other[j - 1] and against == one[i - 1]:
                least = min(least, earlier[j - 1] + 1)
            row.append(least)
    return row[-1]
