"""Objects that somebody else holds, and that threads may add while another reads them."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Members"]

T = TypeVar("T")


class Members(Generic[T]):
    """A set whose members leave it when nobody else holds them; ``weakref.WeakSet`` fails where one is added while it is read."""

    def __init__(self) -> None:
        self._references: dict[weakref.ref[T], None] = {}

    def add(self, member: T) -> None:
        """Take it in, for as long as somebody holds it."""
        self._references[weakref.ref(member, functools.partial(_forget, self._references))] = None

    def discard(self, member: T) -> None:
        """Let go of it, if it is there."""
        self._references.pop(weakref.ref(member), None)

    def __iter__(self) -> Iterator[T]:
        """Go over those that are there now, whatever comes and goes meanwhile."""
        found = [reference() for reference in self._references.copy()]
        return iter([member for member in found if member is not None])


def _forget(references: dict[weakref.ref[T], None], reference: weakref.ref[T]) -> None:
    references.pop(reference, None)
