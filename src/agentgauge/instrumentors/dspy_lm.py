"""DSPy's language models: what each call used and cost, who answered, what a cache spared and how often it was tried."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import dspy

from agentgauge.catalogue import LM_RETRIES
from agentgauge.errors import contain_internal_errors, is_fault_of_ours, report_internal_error
from agentgauge.instrumentors.dspy_answers import answer_of, asked, input_messages, output_messages
from agentgauge.instrumentors.dspy_frames import begun, is_of_dspy, patch_inside, posing
from agentgauge.instrumentors.wrapping import around, leave_all
from agentgauge.recording.answer import Answer
from agentgauge.recording.call import abandon_call, end_call
from agentgauge.recording.frame import Frame
from agentgauge.recording.lm_call import LmCall, clean_lm_name, count_answer
from agentgauge.recording.operation import one_call
from agentgauge.recording.prompts import prompt_fingerprint
from agentgauge.recording.recorder import SOFT_LIMIT, START
from agentgauge.recording.series import LM, LmName
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import is_span_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import Token
    from types import TracebackType

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.instrumentors.wrapping import Begin
    from agentgauge.recording.operation import Operation
    from agentgauge.recording.outcome import Failure
    from agentgauge.recording.recorder import Record

__all__ = ["instrument", "name_of"]

_NOTHING_TOLD = Answer()
_REQUEST_ATTRIBUTES = (
    ("temperature", "gen_ai.request.temperature"),
    ("max_tokens", "gen_ai.request.max_tokens"),
    ("top_p", "gen_ai.request.top_p"),
)


class _DspyCall(LmCall):
    """One call of a model, and the results that DSPy reports while it goes on."""

    __slots__ = ("_inner", "_model", "_results")

    def __init__(self, kit: Kit, model: Any) -> None:
        self._model = model
        self._results: list[Any] = []
        self._inner: list[Any] = []
        super().__init__(kit.recorder, name_of(model), instrumentor=kit.name)
        if not self.is_suppressed and self.frame is not None:
            self.frame.call = self

    def is_of(self, model: Any) -> bool:
        """Tell whether it is a call of this very model."""
        return self._model is model

    def note_results(self, model: Any, results: Sequence[Any]) -> None:
        """Note what was answered, by this model or by one that it asked itself."""
        (self._results if model is self._model else self._inner).extend(results)

    def end(self, error: BaseException | None = None, failure: Failure | None = None, *, end: float | None = None) -> None:
        """End it with what was answered, by whomever: a model that asks others may leave their tokens out of its own answer."""
        if not self.is_suppressed and (self._results or self._inner):
            with contain_internal_errors("dspy_lm"):
                self.note_answer(answer_of(self._results, self._inner))
        super().end(error, failure, end=end)


class _PlainCall:
    """The same where nobody wants a span and no other LM call is around: at a third of the price."""

    __slots__ = (
        "_first_chunk_seconds",
        "_frame",
        "_inner",
        "_kit",
        "_lm",
        "_model",
        "_outer",
        "_prompt",
        "_record",
        "_results",
        "_token",
    )

    is_recording = False

    def __init__(self, kit: Kit, model: Any, current: str) -> None:
        recorder = kit.recorder
        self._kit = kit
        self._model = model
        self._outer = current
        self._record: Record | None = None
        self._token: Token[str] | None = None
        self._results: Sequence[Any] = ()
        self._inner: Sequence[Any] = ()
        self._first_chunk_seconds: float | None = None
        self._prompt: int | None = None
        lm = self._lm = name_of(model)
        frame = self._frame = Frame.enter(current, LM, lm.operation, str(current), kit.name)
        frame.call = self
        recorder.observations.append(one_call(kit.name))
        target = recorder.admission.known_target(LM, "", lm, is_entry=False)
        record: Record = [target, recorder.clock(), None, None]
        self._record = record
        self._token = current_agent.set(frame)
        recorder.append(record)
        if len(recorder.buffer) > SOFT_LIMIT:
            recorder.relieve()

    def is_of(self, model: Any) -> bool:
        """Tell whether it is a call of this very model."""
        return self._model is model

    def note_prompt(self, prompt: Any) -> None:
        """Note what was asked; see ``LmCall``."""
        self._prompt = prompt_fingerprint(prompt)

    def note_results(self, model: Any, results: Sequence[Any]) -> None:
        """Note what was answered, by this model or by one that it asked itself."""
        if model is self._model:
            self._results = (*self._results, *results)
        else:
            self._inner = (*self._inner, *results)

    def note_retry(self) -> None:
        """Count an attempt after the first."""
        self._kit.recorder.observe(LM_RETRIES, self._lm.model_labels(), 1)

    def note_first_chunk(self) -> None:
        """Note that the first chunk of a stream came; later ones are passed over."""
        if self._first_chunk_seconds is None and self._record is not None:
            self._first_chunk_seconds = self._kit.recorder.clock() - self._record[START]

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Pass them over: there is no span."""

    def end(self, error: BaseException | None = None) -> None:
        """End it."""
        recorder, record = self._kit.recorder, self._record
        try:
            answer = answer_of(self._results, self._inner) if self._results or self._inner else _NOTHING_TOLD
            prompt = self._prompt if error is None else None
            count_answer(recorder, self._lm, record, self._frame, answer, self._first_chunk_seconds, prompt)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error("lm_end", fault)
        try:
            end_call(recorder, record, None, self._token, error)
        except BaseException:  # of a signal handler
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leave nothing open of it."""
        abandon_call(self._record, None)
        current_agent.set(self._outer)


def _current_call() -> _DspyCall | _PlainCall | None:
    """Return the call that is counted; calls of other models inside it, as a router makes them, are parts of it."""
    current = current_agent.get()
    return None if type(current) is not Frame or current.lm is None or current.lm.is_closed else current.lm.call


@functools.lru_cache(maxsize=256)
def _parts_of(model: str, model_type: str) -> LmName:
    provider, slash, name = model.partition("/")
    operation = "text_completion" if model_type == "text" else "chat"
    return clean_lm_name(operation, provider, name) if slash else clean_lm_name(operation, "", model)


def name_of(model: Any) -> LmName:
    """Return what a call of a model is called: ``openai/gpt-4o`` is ``gpt-4o`` by ``openai``."""
    try:
        return _parts_of(model.model, model.model_type)
    except (AttributeError, TypeError):  # a model of somebody's own may lack its name, or have it as something else
        return LmName("chat", "", "")


def instrument(kit: Kit) -> None:
    """Measure the calls of every model, whether DSPy's own engines answer, a custom engine, or a subclass's ``forward``."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> LmCall | None:
        current = _current_call()
        if current is not None and current.is_of(args[0]):  # an overridden method is called by the one that overrides it
            return None
        call = _DspyCall(kit, args[0])
        if call.is_recording:
            call.set_attributes(_request_attributes(kit, args, kwargs))
        return call

    for owner in (dspy.BaseLM, dspy.LM, dspy.utils.DummyLM):
        for name in ("__call__", "acall"):
            if name in vars(owner):  # of a subclass: what others have put there, which goes past its base class
                kit.patch(owner, name, functools.partial(_plainly_or_measured, kit, begin))
    execution = "dspy.clients.execution"
    patch_inside(kit, f"{execution}:finalize", functools.partial(_noting_success, kit))
    patch_inside(kit, f"{execution}:_account_failed_call", functools.partial(_noting_failure, kit))
    patch_inside(kit, f"{execution}:_retryable", functools.partial(_noting_retries, kit))
    for module in (execution, "dspy.clients.lm"):
        patch_inside(kit, f"{module}:stream_emitted", functools.partial(_noting_chunks, kit))
    for module in ("base", "two_step_adapter"):
        patch_inside(kit, f"dspy.adapters.{module}:adapter_message_call", functools.partial(_measuring_overridden, kit, begin))


def _plainly_or_measured(kit: Kit, begin: Begin, function: Callable[..., Any]) -> Callable[..., Any]:
    measured = posing(around(function, begin, hook=kit.name), function)

    def asked(model: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = _begin_plainly(kit, model)
        if call is None:
            return measured(model, *args, **kwargs)
        try:
            result = function(model, *args, **kwargs)
        except BaseException as error:
            try:
                call.end(error)
            except BaseException:  # of a signal handler
                call.abandon()
                raise
            raise
        try:
            call.end()
        except BaseException:  # of a signal handler
            call.abandon()
            raise
        return result

    async def asked_async(model: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = _begin_plainly(kit, model)
        if call is None:
            return await measured(model, *args, **kwargs)
        try:
            result = await function(model, *args, **kwargs)
        except BaseException as error:
            try:
                call.end(error)
            except BaseException:  # of a signal handler
                call.abandon()
                raise
            raise
        try:
            call.end()
        except BaseException:  # of a signal handler
            call.abandon()
            raise
        return result

    is_coroutine = inspect.iscoroutinefunction(inspect.unwrap(function))
    wrapper: Callable[..., Any] = asked_async if is_coroutine else asked
    return posing(functools.update_wrapper(wrapper, function), function)


def _begin_plainly(kit: Kit, model: Any) -> _PlainCall | None:
    if is_span_wanted():
        return None
    current: str = ""
    try:
        current = current_agent.get()
        if type(current) is Frame and current.lm is not None and not current.lm.is_closed:
            return None
        return _PlainCall(kit, model, current)
    except BaseException as fault:
        leave_all(current)
        if not is_fault_of_ours(fault):  # of a signal handler: the call does not begin
            raise
        report_internal_error("start", fault)
        return None


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
        owner: type = type(lm)
        if owner is dspy.LM:  # what nearly all are
            return context
        with contain_internal_errors(kit.name):
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
        self._call: Operation | None = None

    def __enter__(self) -> Any:
        entered = self._context.__enter__()
        try:
            self._call = begun(self._begin, "dspy_lm")
        except BaseException as error:  # of a signal handler
            self._context.__exit__(type(error), error, error.__traceback__)
            raise
        return entered

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> Any:
        if self._call is not None:
            try:
                self._call.end(error)
            except BaseException as cut:  # of a signal handler
                self._call.abandon()
                self._context.__exit__(type(cut), cut, cut.__traceback__)
                raise
        return self._context.__exit__(kind, error, trace)


# --- what DSPy tells while a call goes on: each calls what it stands for, and that one's errors are DSPy's ----------------


def _noting_success(kit: Kit, finalize: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(finalize)
    def noting(lm: Any, call: Any, result: Any) -> Any:
        try:  # before: what keeps the history may fail, and the answer was paid for
            current = _current_call()
            if current is not None:
                current.note_results(lm, (result,))
                if current.is_of(lm):
                    current.note_prompt(asked(call))
                if kit.content.is_captured and current.is_recording:
                    kept = kit.content.attribute("gen_ai.output.messages", output_messages(result))
                    current.set_attributes({"gen_ai.output.messages": kept})
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not reach the host
            report_internal_error(kit.name, fault)
        return finalize(lm, call, result)

    return posing(noting, finalize)


def _noting_failure(kit: Kit, account: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(account)
    def noting(lm: Any, results: Any, primary: BaseException) -> Any:
        with contain_internal_errors(kit.name):
            current = _current_call()
            if current is not None and results:
                current.note_results(lm, results)
        return account(lm, results, primary)

    return posing(noting, account)


def _noting_retries(kit: Kit, retryable: Callable[..., bool]) -> Callable[..., bool]:
    @functools.wraps(retryable)
    def noting(*args: Any, **kwargs: Any) -> bool:
        is_tried_again = retryable(*args, **kwargs)
        with contain_internal_errors(kit.name):
            current = _current_call()
            if current is not None and is_tried_again:
                current.note_retry()
        return is_tried_again

    return posing(noting, retryable)


def _noting_chunks(kit: Kit, emitted: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(emitted)
    def noting() -> None:
        with contain_internal_errors(kit.name):
            current = _current_call()
            if current is not None:
                current.note_first_chunk()
        emitted()

    return posing(noting, emitted)
