"""Instrumenting other people's functions and methods in place, and giving back exactly what was there.

What takes a method's place is a plain function, as it was itself: it binds, compares, pickles and copies like one. A proxy object
does not: ``Class.method is Class.method``, by which frameworks ask whether a subclass overrides, is false of it.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.recording.site import function_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]

__all__ = ["Patch", "patch"]

_PATCH_ATTRIBUTE = "__agentgauge_patch__"
"""Where an instrumented function keeps its patch. Whoever wraps it copies or forwards it, so it is found beneath others, too."""

_ABSENT: Any = object()

_UNBOUND = (MethodType, functools.partial) if sys.version_info < (3, 14) else (MethodType,)
"""What takes no instance for its first argument, although it has a ``__get__`` in Python 3.13."""

_lock = threading.RLock()  # re-entrant: ``decorate`` may patch what it needs


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - a forked child must not wait for a thread that it does not have
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Patch:
    """One instrumented attribute of a class or module; made by ``patch``."""

    __slots__ = ("_before", "_installed", "_name", "_owner")

    def __init__(self, owner: type | ModuleType, name: str, before: Any, installed: Any) -> None:
        self._owner = owner
        self._name = name
        self._before = before
        self._installed = installed

    def __repr__(self) -> str:
        return f"<Patch of {_place(self._owner, self._name)}>"

    def undo(self) -> bool:
        """Restore what was there before; an inherited attribute is inherited again.

        Returns:
            Whether it was restored now. It was not if that is done already, and where somebody else has patched the attribute
            since: then everything stays as it is, calls are recorded on, and ``undo`` may be called again once theirs is gone.
        """
        with _lock:
            if vars(self._owner).get(self._name, _ABSENT) is not self._installed:
                return False
            if self._before is _ABSENT:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, self._before)
            return True

    def stands_for(self, raw: Any, owner: type | ModuleType, name: str) -> bool:
        """Tell whether ``raw``, found at ``owner``, is what this installed, or what somebody else has laid on it."""
        return raw is self._installed or (owner is self._owner and name == self._name)


def patch(owner: type | ModuleType, name: str, decorate: Decorate) -> Patch:
    """Put ``decorate(function)`` in the place of a method or function of somebody else's, of whatever kind it is.

    Static methods, class methods and properties stay such: ``decorate`` gets the function inside. An attribute bears one patch:
    where it is patched already, be it in a base class or beneath somebody else's patch, that patch is returned. What
    has been imported from a module before goes on to be the original. Threads may patch and undo at the same time.

    Args:
        owner: The class or module that holds the attribute; not an instance.
        name: The attribute, which may be inherited, though not from ``object``.
        decorate: Takes the function and returns another one of its kind (``functools.update_wrapper`` done), or the same one
            to leave it alone.

    Raises:
        ConfigurationError: There is no such attribute, or it cannot be instrumented in place.
    """
    if not isinstance(owner, type | ModuleType):
        raise ConfigurationError(f"patch of {name!r}: {owner!r} is neither a class nor a module; patch {type(owner).__name__}")
    with _lock:
        holder, raw = _find(owner, name)
        existing = getattr(function_of(raw), _PATCH_ATTRIBUTE, None)
        if isinstance(existing, Patch) and existing.stands_for(raw, holder, name):
            return existing
        function, rebuild = _take_apart(raw, owner, name)
        decorated: Any = decorate(function)
        before = vars(owner).get(name, _ABSENT)
        if decorated is function:
            return Patch(owner, name, before, installed=object())
        _name_by_place(decorated, owner, name)
        installed = rebuild(decorated)
        made = Patch(owner, name, before, installed)
        setattr(decorated, _PATCH_ATTRIBUTE, made)
        try:
            setattr(owner, name, installed)
        except (AttributeError, TypeError) as error:
            place = _place(owner, name)
            raise ConfigurationError(f"{place} cannot be replaced: {error}; patch a subclass or a caller") from error
        return made


def _find(owner: type | ModuleType, name: str) -> tuple[type | ModuleType, Any]:
    """Return who holds the attribute, and the attribute as it lies there, unbound."""
    if isinstance(owner, ModuleType):
        raw = getattr(owner, name, _ABSENT)  # a module may load it when it is first asked for
        if raw is not _ABSENT:
            return owner, raw
    else:
        for base in owner.__mro__:
            if base is not object and name in vars(base):
                return base, vars(base)[name]
    raise ConfigurationError(f"{_place(owner, name)} does not exist: look for its name in the version that is installed")


def _take_apart(raw: Any, owner: type | ModuleType, name: str) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """Return the function to decorate, and what makes of the decorated one an attribute that binds as ``raw`` does.

    Types are asked for by ``issubclass``: somebody else's proxy claims to be what it wraps, and would be dropped.
    """
    kind = type(raw)
    if issubclass(kind, classmethod):
        return raw.__func__, kind
    if issubclass(kind, property) and raw.fget is not None:
        return raw.fget, raw.getter
    if isinstance(raw, type | classmethod | property) or not (callable(raw) or isinstance(raw, staticmethod)):
        raise ConfigurationError(f"{_place(owner, name)} is a {kind.__name__}: patch a function or method that it calls")
    if isinstance(owner, ModuleType):
        return raw, _as_it_is
    if not hasattr(kind, "__get__") or isinstance(raw, _UNBOUND):
        return raw, staticmethod
    # Not ``raw`` itself: a proxy that is called past its descriptor takes no instance for itself.
    return raw.__get__(None, owner), staticmethod if isinstance(raw, staticmethod) else _as_it_is


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _name_by_place(decorated: Any, owner: type | ModuleType, name: str) -> None:
    """Let pickle, which goes by name, find ``decorated``: an inherited method or an alias bears another place's name."""
    decorated.__module__ = owner.__module__ if isinstance(owner, type) else owner.__name__
    decorated.__qualname__ = f"{owner.__qualname__}.{name}" if isinstance(owner, type) else name


def _place(owner: type | ModuleType, name: str) -> str:
    return f"{owner.__module__}.{owner.__qualname__}.{name}" if isinstance(owner, type) else f"{owner.__name__}.{name}"
