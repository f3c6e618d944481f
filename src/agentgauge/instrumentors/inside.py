"""Operations that frameworks report from callbacks, beside the context: where they begin, and code of theirs that runs inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentgauge.recording.call import leave_agent
from agentgauge.recording.frame import Frame
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import Scope, suspend_span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextvars import Token

    from agentgauge.recording.operation import Operation

__all__ = ["Inside", "aeach_inside", "each_inside", "is_inside", "placed"]


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

    __slots__ = ("_operation", "_scope", "_token")

    def __init__(self, operation: Operation | None) -> None:
        self._operation = operation
        self._token: Token[str] | None = None
        self._scope: Scope | None = None

    def __enter__(self) -> None:
        """Enter it, unless there is none or this context is inside already."""
        operation = self._operation
        if operation is None or operation.frame is None or is_inside(operation):
            return
        self._token = current_agent.set(operation.frame)
        scope = operation._scope  # noqa: SLF001 - the span of an operation is nobody else's business
        if scope is not None:
            self._scope = Scope(scope.span, scope.context, scope.is_recording)

    def __exit__(self, *_: object) -> None:
        """Leave it."""
        if self._scope is not None:
            suspend_span(self._scope)
        if self._token is not None:
            leave_agent(self._token)
        self._scope = self._token = None


def each_inside(operation: Operation | None, make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield what an iterator yields, and let it be made, go on and be closed inside the operation, its reader outside."""
    items: Any = None
    left: BaseException | None = None
    while left is None:
        try:
            with Inside(operation):
                if items is None:
                    items = iter(make())
                item = next(items)
        except StopIteration:
            return
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
