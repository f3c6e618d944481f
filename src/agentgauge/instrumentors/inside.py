"""Operations that frameworks report from callbacks, beside the context: where they begin, and code of theirs that runs inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, get_current

from agentgauge.recording.call import leave_agent
from agentgauge.recording.frame import Frame
from agentgauge.recording.site import SITE_ATTRIBUTE, Site, current_agent, function_of
from agentgauge.recording.tracing import Scope, suspend_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextvars import Token

    from opentelemetry.context import Context

    from agentgauge.recording.operation import Operation

__all__ = ["Inside", "aeach_inside", "each_inside", "is_inside", "placed", "site_of"]


def is_inside(operation: Operation) -> bool:
    """Tell whether this context runs inside the operation already, perhaps deeper: in a decorated function that it called."""
    current = current_agent.get()
    return type(current) is Frame and any(frame is operation.frame for frame in current.around())


def placed(around: Operation | None) -> dict[str, Any]:
    """Return the options that begin an operation inside ``around``: where the context tells its place at least as well, there."""
    if around is None or around.frame is None or is_inside(around):
        return {"is_beside": True}
    return {"parent": around}


class Inside:
    """Makes an operation that is beside its context the current one in a ``with`` block.

    What runs in the block finds the agent, its span is the parent of theirs, and an LM call is not counted by a layer below too.
    The block is left in the context in which it was entered; where a coroutine is closed from another one, nothing is to be done.
    """

    __slots__ = ("_operation", "_outer", "_outer_context", "_scope", "_token")

    def __init__(self, operation: Operation | None) -> None:
        self._operation = operation
        self._outer: str | None = None
        self._outer_context: Context | None = None
        self._token: Token[str] | None = None
        self._scope: Scope | None = None

    def __enter__(self) -> None:
        """Enter it, unless there is none or this context is inside already."""
        operation = self._operation
        if operation is None or operation.frame is None or is_inside(operation):
            return
        scope = operation._scope  # noqa: SLF001 - the span of an operation is nobody else's business
        if scope is not None:
            self._outer_context = get_current()
        self._outer = current_agent.get()
        try:
            self._token = current_agent.set(operation.frame)
            if scope is not None:
                self._scope = Scope(scope.span, scope.context, scope.is_recording)
        except BaseException:  # of a signal handler
            self.abandon()
            raise

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        try:
            if self._scope is not None:
                suspend_span(self._scope)
            if self._token is not None:
                leave_agent(self._token)
        except BaseException:  # of a signal handler
            self.abandon()
            raise
        self._scope = self._token = self._outer = self._outer_context = None

    def abandon(self) -> None:
        """Leave what a signal handler kept from being left, be it at the first step of ``__exit__``; nothing to do after that."""
        if self._outer is not None:
            current_agent.set(self._outer)
        if self._outer_context is not None:
            attach(self._outer_context)


def site_of(function: Any) -> Site | None:
    """Return what a decorator of agentgauge left on a function, a method or an object that is called like one.

    An object that answers to every name, as a lazy proxy does, bears none.
    """
    function = getattr(function, "func", function)  # of a functools.partial
    for candidate in (function_of(function), getattr(type(function), "__call__", None)):  # noqa: B004 - to look at, not to ask
        site = getattr(candidate, SITE_ATTRIBUTE, None)
        if isinstance(site, Site):
            return site
    return None


def each_inside(operation: Operation | None, make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what an iterator yields, and let it be made, go on and be closed inside the operation, its reader outside."""
    items: Any = None
    left: BaseException | None = None
    while left is None:
        inside = Inside(operation)
        try:
            with inside:
                if items is None:
                    items = iter(make())
                item = next(items)
        except StopIteration:
            return
        except BaseException:
            inside.abandon()
            raise
        try:
            yield item
        except BaseException as error:  # noqa: BLE001 - it is raised again below: nothing of the host's runs in here
            left = error
    if hasattr(items, "close"):
        with Inside(operation):
            items.close()
    raise left


async def aeach_inside(operation: Operation | None, make: Callable[[], AsyncIterator[Any]]) -> AsyncIterator[Any]:
    """Do as ``each_inside`` does, with an asynchronous iterator."""
    items: Any = None
    left: BaseException | None = None
    while left is None:
        try:
            with Inside(operation):
                if items is None:
                    items = aiter(make())
                item = await anext(items)
        except StopAsyncIteration:
            return
        try:
            yield item
        except BaseException as error:  # noqa: BLE001 - it is raised again below: nothing of the host's runs in here
            left = error
    if hasattr(items, "aclose"):
        with Inside(operation):
            await items.aclose()
    raise left
