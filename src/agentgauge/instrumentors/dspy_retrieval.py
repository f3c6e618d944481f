"""DSPy's retrievers, which are tools, and its embedding models."""

from __future__ import annotations

import contextlib
import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import dspy

from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.dspy_answers import read
from agentgauge.instrumentors.dspy_frames import begun, current_frame, is_inside, measure, patch_inside, posing
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import forsake
from agentgauge.recording.series import TASK, TOOL, LmName

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.operation import Operation
    from agentgauge.recording.outcome import Failure

__all__ = ["RETRIEVE", "instrument"]

RETRIEVE = "retrieve"

_current_call: ContextVar[_EmbeddingCall | None] = ContextVar("agentgauge_dspy_embedding_call", default=None)


class _EmbeddingCall(LmCall):
    """One call of an embedding model, which may make several requests or, where the cache has all of it, none."""

    __slots__ = ("_is_asked", "_tokens", "_way_back")

    def __init__(self, kit: Kit, model: Any, parent: Operation | None) -> None:
        self._is_asked = False
        self._tokens: int | None = None
        self._way_back: Token[_EmbeddingCall | None] | None = None
        provider, slash, name = model.partition("/") if isinstance(model, str) else ("", "/", "")
        lm = LmName("embeddings", provider, name) if slash else LmName("embeddings", "", provider)
        super().__init__(kit.recorder, lm, instrumentor=kit.name, parent=parent)
        if not self.is_suppressed:
            self._way_back = _current_call.set(self)

    def abandon(self) -> None:
        """Leave nothing open of it."""
        super().abandon()
        if _current_call.get() is self:
            _current_call.set(None)

    def note_request(self) -> None:
        """Note that the model itself is asked."""
        self._is_asked = True

    def note_response(self, response: Any) -> None:
        """Add what a provider says was used."""
        count = read(read(response, "usage"), "prompt_tokens")
        if isinstance(count, int):
            self._tokens = (self._tokens or 0) + count

    def end(self, error: BaseException | None = None, failure: Failure | None = None, *, end: float | None = None) -> None:
        """End it; where the model was never asked and nothing failed, the cache answered."""
        if self._way_back is not None:
            with contain_internal_errors("dspy_embedding"):
                with contextlib.suppress(ValueError):  # closed from another context: there is nothing to restore here
                    _current_call.reset(self._way_back)
                self.note_answer(Answer(input_tokens=self._tokens, is_cache_hit=not self._is_asked and error is None))
            self._way_back = None
        super().end(error, failure, end=end)


class _Waiting(dict["Operation", Any]):
    """The retrievals that wait for an embedder: retrievers ask theirs in a thread that knows no context."""

    def first(self, embedder: Any) -> Operation | None:
        """Return one of those that a batch is for; which one its tokens count for is the batch's chance."""
        return next((operation for operation, awaited in list(self.items()) if awaited is embedder), None)


def instrument(kit: Kit) -> None:
    """Measure the calls of retrievers, and those of embedding models, hosted or not."""
    waiting = _Waiting()

    def begin_embedding(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> LmCall:
        parent = None if current_frame() is not None else waiting.first(args[0])
        call = _EmbeddingCall.__new__(_EmbeddingCall)
        try:
            _EmbeddingCall.__init__(call, kit, args[0].model, parent)
        except BaseException:
            forsake(call)
            raise
        return call

    def begin_retrieval(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
        return _begin_retrieval(kit, args, kwargs)

    measure(kit, dspy.Embedder, "__call__", begin_embedding)
    measure(kit, dspy.Embedder, "acall", begin_embedding)
    embedding = "dspy.clients.embedding"
    patch_inside(kit, f"{embedding}:_compute_embeddings", functools.partial(_noting_requests, kit))
    patch_inside(kit, f"{embedding}:_acompute_embeddings", functools.partial(_noting_requests, kit))
    patch_inside(kit, f"{embedding}:_get_litellm", functools.partial(_noting_usage, kit))

    measure(kit, dspy.Retrieve, "__call__", begin_retrieval)
    measure(kit, dspy.ColBERTv2, "__call__", begin_retrieval)
    kit.patch(dspy.Embeddings, "__call__", functools.partial(_waiting_for, kit, waiting))


def _begin_retrieval(kit: Kit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
    """Begin the call of a retriever: a tool, though inside another tool, which is what the agent called, a task of it."""
    if is_inside(kit, TOOL, RETRIEVE) or is_inside(kit, TASK, RETRIEVE):
        return None  # one that asks another
    frame = current_frame()
    if frame is not None and frame.kind is TOOL:
        return kit.begin(TASK, RETRIEVE)
    operation = kit.begin(TOOL, RETRIEVE, arguments=[*args[1:], *sorted(kwargs.items())])
    if operation.is_recording:
        kept = None
        if kit.content.is_captured:
            query = args[1] if len(args) > 1 else kwargs.get("query")
            kept = kit.content.attribute("gen_ai.tool.call.arguments", {"query": query})
        operation.set_attributes({"gen_ai.tool.type": "datastore", "gen_ai.tool.call.arguments": kept})
    return operation


def _waiting_for(kit: Kit, waiting: _Waiting, call: Callable[..., Any]) -> Callable[..., Any]:
    """Measure a retriever whose embedder is asked in a thread of its own."""

    @functools.wraps(call)
    def retrieving(*args: Any, **kwargs: Any) -> Any:
        operation = begun(lambda: _begin_retrieval(kit, args, kwargs), kit.name)
        if operation is None:
            return call(*args, **kwargs)
        try:
            waiting[operation] = getattr(args[0] if args else None, "embedder", None)
            result = call(*args, **kwargs)
        except BaseException as error:
            try:
                waiting.pop(operation, None)
                operation.end(error)
            except BaseException:  # of a signal handler
                operation.abandon()
                raise
            raise
        try:
            waiting.pop(operation, None)
            operation.end()
        except BaseException:  # of a signal handler
            operation.abandon()
            raise
        return result

    return posing(retrieving, call)


def _noting_requests(kit: Kit, compute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(compute)
    def noting(*args: Any, **kwargs: Any) -> Any:
        with contain_internal_errors(kit.name):
            current = _current_call.get()
            if current is not None:
                current.note_request()
        return compute(*args, **kwargs)

    return posing(noting, compute)


def _noting_usage(kit: Kit, get_litellm: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get_litellm)
    def noting(*args: Any, **kwargs: Any) -> Any:
        return _NotingClient(kit, get_litellm(*args, **kwargs))

    return posing(noting, get_litellm)


class _NotingClient:
    """The module whose functions ask for hosted embeddings; DSPy passes on the vectors alone, and not what they cost."""

    def __init__(self, kit: Kit, client: Any) -> None:
        self._kit = kit
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def embedding(self, *args: Any, **kwargs: Any) -> Any:
        """Ask, and note what was used."""
        response = self._client.embedding(*args, **kwargs)
        self._note(response)
        return response

    async def aembedding(self, *args: Any, **kwargs: Any) -> Any:
        """Ask asynchronously, and note what was used."""
        response = await self._client.aembedding(*args, **kwargs)
        self._note(response)
        return response

    def _note(self, response: Any) -> None:
        with contain_internal_errors(self._kit.name):
            current = _current_call.get()
            if current is not None:
                current.note_response(response)
