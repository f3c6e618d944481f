"""Whether a class can process: asked when it is instantiated, so that no request finds it out."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from agentgauge.processing.errors import IncompleteClassError
from agentgauge.processing.spelling import misspelt, near_miss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["require_shape"]

_COROUTINES = {
    "_process": "async def _process(self, input_data, context)",
    "_initialize": "async def _initialize(self)",
    "_shutdown": "async def _shutdown(self)",
}
_FUNCTIONS = {
    "_validate_input": "def _validate_input(self, input_data, context)",
    "_validate_output": "def _validate_output(self, data, context)",
    "_estimate_seconds": "def _estimate_seconds(self, input_data, context)",
}
_STREAM = "async def _stream(self, input_data, context)"
_PUBLIC = {
    "process": "_process",
    "process_batch": "_process",
    "stream": "_stream",
    "initialize": "_initialize",
    "shutdown": "_shutdown",
}
_BLOCKING = "; what blocks goes into `await asyncio.to_thread(...)`, which takes the deadline and the agent's name along"


def require_shape(kind: type, base: type) -> None:
    """Refuse a class that lacks its processing, or has an override that cannot work.

    Args:
        kind: The class that is instantiated.
        base: The template.

    Raises:
        IncompleteClassError: The message names the class, the method and the fix.
    """
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        fixes = ", ".join(f"`{_COROUTINES.get(name, name)}`" for name in missing)
        meant = [(near_miss(kind, base, name), name) for name in missing]
        hints = "".join(f"; it has {found}: did you mean {name}?" for found, name in meant if found)
        raise IncompleteClassError(f"{kind.__name__} lacks {', '.join(missing)}: write {fixes}{hints}")
    for public, hook in _PUBLIC.items():
        if getattr(kind, public) is not getattr(base, public):
            raise IncompleteClassError(f"{kind.__name__} overrides {public}, which does the rest: override {hook} instead")
    for name, declared in _COROUTINES.items():
        if not inspect.iscoroutinefunction(_implementation(kind, name)):
            raise IncompleteClassError(f"{kind.__name__}.{name} is no coroutine function: write `{declared}`{_BLOCKING}")
    if not inspect.isasyncgenfunction(_implementation(kind, "_stream")):
        raise IncompleteClassError(f"{kind.__name__}._stream is no asynchronous generator: write `{_STREAM}` with yield in it")
    for name, declared in _FUNCTIONS.items():
        function = _implementation(kind, name)
        if not callable(function) or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise IncompleteClassError(f"{kind.__name__}.{name} must be a plain function: write `{declared}`")
    declared_hooks = {**_COROUTINES, **_FUNCTIONS, "_stream": _STREAM}
    _require_parameters(kind, declared_hooks)
    slip = misspelt(kind, base, {name: len(_arguments(text)) for name, text in declared_hooks.items()})
    if slip is not None:
        owner, name, hook = slip
        fix = f"Write `{declared_hooks[hook]}`, or give it another name"
        raise IncompleteClassError(f"{owner.__name__}.{name} is never called: did you mean {hook}? {fix}")


def _require_parameters(kind: type, declared: Mapping[str, str]) -> None:
    """Refuse overrides that cannot take what they are given: that would fail at the first request only."""
    for name, text in declared.items():
        try:
            inspect.signature(getattr(kind, name)).bind(*([None] * (len(_arguments(text)) + 1)))
        except TypeError as error:
            if isinstance(inspect.getattr_static(kind, name), staticmethod | classmethod):
                continue
            raise IncompleteClassError(
                f"{kind.__name__}.{name} does not take what it is given ({error}): write `{text}`"
            ) from None
        except ValueError:  # it shows no signature
            continue


def _arguments(declared: str) -> list[str]:
    return declared.partition("(")[2].rstrip(")").split(", ")[1:]


def _implementation(kind: type, name: str) -> Callable[..., Any]:
    function: Any = getattr(kind, name)
    while isinstance(function, functools.partial):
        function = function.func
    return function  # type: ignore[no-any-return]  # a class may hold anything under that name
