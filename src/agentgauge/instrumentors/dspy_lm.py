"""DSPy's language models: what each call used and cost, who answered, what a cache spared and how often it was tried."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import dspy

from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.dspy_answers import answer_of, input_messages, output_messages
from agentgauge.instrumentors.dspy_frames import is_of_dspy, measure, patch_inside, posing
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.series import LmName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Token
    from types import TracebackType

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.outcome import Failure

__all__ = ["instrument", "name_of"]

_current_call: ContextVar[_DspyCall | None] = ContextVar("agentgauge_dspy_lm_call", default=None)
"""The call that is counted; calls of other models inside it, as a router makes them, are parts of it."""

_REQUEST_ATTRIBUTES = (
    ("temperature", "gen_ai.request.temperature"),
    ("max_tokens", "gen_ai.request.max_tokens"),
    ("top_p", "gen_ai.request.top_p"),
)


class _DspyCall(LmCall):
    """One call of a model, and the results that DSPy reports while it goes on."""

    __slots__ = ("_inner", "_lm", "_model", "_results", "_way_back")

    def __init__(self, kit: Kit, model: Any) -> None:
        self._model = model
        self._results: list[Any] = []
        self._inner: list[Any] = []
        self._way_back: Token[_DspyCall | None] | None = None
        super().__init__(kit.recorder, name_of(model), instrumentor=kit.name)
        if not self.is_suppressed:
            self._way_back = _current_call.set(self)

    def is_of(self, model: Any) -> bool:
        """Tell whether it is a call of this very model."""
        return self._model is model

    def note_results(self, model: Any, results: Sequence[Any]) -> None:
        """Note what was answered, by this model or by one that it asked itself."""
        (self._results if model is self._model else self._inner).extend(results)

    def end(self, error: BaseException | None = None, failure: Failure | None = None, *, end: float | None = None) -> None:
        """End it with what was answered, by whomever: a model that asks others may leave their tokens out of its own answer."""
        if self._way_back is not None:
            with contain_internal_errors("dspy_lm"):
                _leave(self._way_back)
                if self._results or self._inner:
                    self.note_answer(answer_of(self._results, self._inner))
            self._way_back = None
        super().end(error, failure, end=end)


def _leave(token: Token[_DspyCall | None]) -> None:
    try:  # noqa: SIM105 - suppress() would cost every call
        _current_call.reset(token)
    except ValueError:  # closed from another context: there is nothing to restore here
        pass


@functools.lru_cache(maxsize=256)
def _parts_of(model: str, model_type: str) -> LmName:
    provider, slash, name = model.partition("/")
    operation = "text_completion" if model_type == "text" else "chat"
    return LmName(operation, provider, name) if slash else LmName(operation, "", model)


def name_of(model: Any) -> LmName:
    """Return what a call of a model is called: ``openai/gpt-4o`` is ``gpt-4o`` by ``openai``."""
    try:
        return _parts_of(model.model, model.model_type)
    except (AttributeError, TypeError):  # a model of somebody's own may lack its name, or have it as something else
        return LmName("chat", "", "")


def instrument(kit: Kit) -> None:
    """Measure the calls of every model, whether DSPy's own engines answer, a custom engine, or a subclass's ``forward``."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> LmCall | None:
        current = _current_call.get()
        if current is not None and current.is_of(args[0]):  # an overridden method is called by the one that overrides it
            return None
        call = _DspyCall(kit, args[0])
        if call.is_recording:
            call.set_attributes(_request_attributes(kit, args, kwargs))
        return call

    measure(kit, dspy.BaseLM, "__call__", begin)
    measure(kit, dspy.BaseLM, "acall", begin)
    execution = "dspy.clients.execution"
    patch_inside(kit, f"{execution}:finalize", functools.partial(_noting_success, kit))
    patch_inside(kit, f"{execution}:_account_failed_call", functools.partial(_noting_failure, kit))
    patch_inside(kit, f"{execution}:_retryable", functools.partial(_noting_retries, kit))
    for module in (execution, "dspy.clients.lm"):
        patch_inside(kit, f"{module}:stream_emitted", functools.partial(_noting_chunks, kit))
    for module in ("base", "two_step_adapter"):
        patch_inside(kit, f"dspy.adapters.{module}:adapter_message_call", functools.partial(_measuring_overridden, kit, begin))


def _request_attributes(kit: Kit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    options = {**getattr(args[0], "kwargs", {}), **kwargs}
    attributes = {name: options.get(option) for option, name in _REQUEST_ATTRIBUTES}
    if kit.content.is_captured:
        prompt = args[1] if len(args) > 1 else kwargs.get("prompt")
        messages = input_messages(kwargs.get("request") or prompt, kwargs.get("messages"))
        attributes["gen_ai.input.messages"] = kit.content.attribute("gen_ai.input.messages", messages)
    return attributes


# --- models whose class overrides ``__call__`` ------------------------------------------------------------------------------


def _measuring_overridden(kit: Kit, begin: Callable[..., LmCall | None], enter: Callable[..., Any]) -> Callable[..., Any]:
    """Measure where adapters ask a model: one that overrides ``__call__`` need not call the overridden one."""

    @functools.wraps(enter)
    def entering(lm: Any, messages: Any) -> Any:
        context = enter(lm, messages)
        with contain_internal_errors(kit.name):
            owner: type = type(lm)
            if _overrides_call(owner):
                return _Measured(context, lambda: begin((lm,), {"messages": messages}))
        return context

    return posing(entering, enter)


@functools.lru_cache(maxsize=256)
def _overrides_call(owner: type) -> bool:
    """Tell whether a model is the user's and answers past what is measured; DSPy's own that override pass calls on."""
    overridden = (base for base in owner.__mro__ if "__call__" in vars(base) or "acall" in vars(base))
    return issubclass(owner, dspy.BaseLM) and not is_of_dspy(next(overridden))


class _Measured:
    """A context of DSPy's with a call in it; what the user's own method does inside is a part of that call."""

    def __init__(self, context: Any, begin: Callable[[], LmCall | None]) -> None:
        self._context = context
        self._begin = begin
        self._call: LmCall | None = None

    def __enter__(self) -> Any:
        entered = self._context.__enter__()
        with contain_internal_errors("dspy_lm"):
            self._call = self._begin()
        return entered

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> Any:
        if self._call is not None:
            self._call.end(error)
        return self._context.__exit__(kind, error, trace)


# --- what DSPy tells while a call goes on: each calls what it stands for, and that one's errors are DSPy's ----------------


def _noting_success(kit: Kit, finalize: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(finalize)
    def noting(lm: Any, call: Any, result: Any) -> Any:
        with contain_internal_errors(kit.name):  # before: what keeps the history may fail, and the answer was paid for
            current = _current_call.get()
            if current is not None:
                current.note_results(lm, (result,))
                if kit.content.is_captured and current.is_recording:
                    kept = kit.content.attribute("gen_ai.output.messages", output_messages(result))
                    current.set_attributes({"gen_ai.output.messages": kept})
        return finalize(lm, call, result)

    return posing(noting, finalize)


def _noting_failure(kit: Kit, account: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(account)
    def noting(lm: Any, results: Any, primary: BaseException) -> Any:
        with contain_internal_errors(kit.name):
            current = _current_call.get()
            if current is not None and results:
                current.note_results(lm, results)
        return account(lm, results, primary)

    return posing(noting, account)


def _noting_retries(kit: Kit, retryable: Callable[..., bool]) -> Callable[..., bool]:
    @functools.wraps(retryable)
    def noting(*args: Any, **kwargs: Any) -> bool:
        is_tried_again = retryable(*args, **kwargs)
        with contain_internal_errors(kit.name):
            current = _current_call.get()
            if current is not None and is_tried_again:
                current.note_retry()
        return is_tried_again

    return posing(noting, retryable)


def _noting_chunks(kit: Kit, emitted: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(emitted)
    def noting() -> None:
        with contain_internal_errors(kit.name):
            current = _current_call.get()
            if current is not None:
                current.note_first_chunk()
        emitted()

    return posing(noting, emitted)
