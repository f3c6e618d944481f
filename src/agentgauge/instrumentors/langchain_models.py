"""Chat models of LangChain: the provider is called inside the model's LM call, and what LangChain does not tell of that call."""

from __future__ import annotations

import functools
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.inside import Inside, aeach_inside, each_inside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from uuid import UUID

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.instrumentors.langchain_runs import Run, Runs
    from agentgauge.recording.operation import Operation

__all__ = ["Models"]

_MODULE = "langchain_core.language_models.chat_models"
_MANAGER = 3
"""Where ``_generate_with_cache(self, messages, stop, run_manager)`` is given the manager of its run."""


_last: ContextVar[tuple[UUID, Run] | None] = ContextVar("agentgauge_langchain_last", default=None)
"""The chat model's run that began last in this context, and its id: ``_stream`` is not told which run it is of."""

_serving: ContextVar[Run | None] = ContextVar("agentgauge_langchain_serving", default=None)
"""The chat model's run whose provider or cache is being asked."""


class Models:
    """Wraps the base class of chat models, and their classes when they are first called."""

    def __init__(self, kit: Kit, runs: Runs) -> None:
        """Wrap nothing yet.

        Args:
            kit: Where calls are recorded.
            runs: The runs that are open.
        """
        self._kit = kit
        self._runs = runs
        self._seen: set[type] = set()

    def begin(self, run_id: UUID, run: Run, model: Any) -> None:
        """Wrap the classes of ``model`` before it asks its provider in ``run``."""
        _last.set((run_id, run))
        base: Any = getattr(sys.modules.get(_MODULE), "BaseChatModel", None)
        kind: Any = type(model)
        if base is None or kind in self._seen or not issubclass(kind, base):
            return
        if not self._seen:
            # They are private, and without them only what is below is not told apart.
            self._patch(base, "_generate_with_cache", self._generating)
            self._patch(base, "_agenerate_with_cache", self._agenerating)
            self._patch(base, "_convert_cached_generations", _converting)
        self._seen.add(kind)
        if kind._stream is not base._stream:  # noqa: SLF001 - LangChain asks so whether a model can stream at all
            self._kit.patch(kind, "_stream", _streaming)
        if kind._astream is not base._astream:  # noqa: SLF001 - as above
            self._kit.patch(kind, "_astream", _astreaming)

    def _patch(self, owner: type, name: str, decorate: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        if hasattr(owner, name):
            self._kit.patch(owner, name, decorate)

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Run | None]:
        manager = kwargs.get("run_manager") or (args[_MANAGER] if len(args) > _MANAGER else None)
        run_id = getattr(manager, "run_id", None)
        return run_id, self._runs.get(run_id)

    def _generating(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(generate)
        def generating(*args: Any, **kwargs: Any) -> Any:
            _, run = self._find(args, kwargs)
            if run is None:
                return generate(*args, **kwargs)
            token = _serving.set(run)
            inside = Inside(run.operation)
            try:
                with inside:
                    return generate(*args, **kwargs)
            except BaseException:
                inside.abandon()
                raise
            finally:
                _serving.reset(token)

        return generating

    def _agenerating(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(generate)
        async def generating(*args: Any, **kwargs: Any) -> Any:
            run_id, run = self._find(args, kwargs)
            if run is None:
                return await generate(*args, **kwargs)
            _serving.set(run)  # in the context of a task of its own, which LangChain makes for each
            try:
                with Inside(run.operation):
                    return await generate(*args, **kwargs)
            except BaseException as error:
                if not isinstance(error, Exception):  # LangChain does not tell that a chat model's call was cancelled
                    with contain_internal_errors("langchain"):
                        self._runs.close(run_id, error)
                raise

        return generating

    # --- the beginning of a stream: LangChain begins the run, waits for its rate limiter, and tells of no error meanwhile ------

    def starting(self, stream: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """Close the run of a stream that does not come to its first chunk."""

        @functools.wraps(stream)
        def started(*args: Any, **kwargs: Any) -> Iterator[Any]:
            before = _last.get()
            items = iter(stream(*args, **kwargs))
            try:
                first = next(items)
            except StopIteration:
                return
            except BaseException as error:
                self._close_since(before, error)
                raise
            yield first
            yield from items

        return started

    def astarting(self, stream: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        """Do as ``starting`` does, with an asynchronous stream."""

        @functools.wraps(stream)
        async def started(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            before = _last.get()
            items: Any = aiter(stream(*args, **kwargs))
            left: BaseException | None = None
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            except BaseException as error:
                self._close_since(before, error)
                raise
            while not isinstance(left, GeneratorExit):
                left = None
                try:
                    yield item
                except BaseException as error:  # noqa: BLE001 - it is thrown in below: nothing of the host's runs in here
                    left = error
                try:
                    if left is None:
                        item = await anext(items)
                    elif not isinstance(left, GeneratorExit):
                        item = await items.athrow(left)
                except StopAsyncIteration:
                    return
            await items.aclose()
            raise left

        return started

    def _close_since(self, before: tuple[UUID, Run] | None, error: BaseException) -> None:
        last = _last.get()
        if last is not None and last is not before:
            with contain_internal_errors("langchain"):
                self._runs.close(last[0], error)


def _converting(convert: Callable[..., Any]) -> Callable[..., Any]:
    """LangChain calls this for an answer of its cache, and for none else."""

    @functools.wraps(convert)
    def converting(*args: Any, **kwargs: Any) -> Any:
        run = _serving.get()
        if run is not None:
            run.is_cache_hit = True
        return convert(*args, **kwargs)

    return converting


def _streaming(stream: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    @functools.wraps(stream)
    def streaming(*args: Any, **kwargs: Any) -> Iterator[Any]:
        return each_inside(_open_call(), functools.partial(stream, *args, **kwargs))

    return streaming


def _astreaming(stream: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(stream)
    def streaming(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return aeach_inside(_open_call(), functools.partial(stream, *args, **kwargs))

    return streaming


def _open_call() -> Operation | None:
    last = _last.get()
    return last[1].operation if last is not None and last[1].is_open else None
