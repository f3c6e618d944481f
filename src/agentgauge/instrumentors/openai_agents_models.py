"""Models of the OpenAI Agents SDK: each call that the runner makes is an LM call, whether the model opens a span or none."""

from __future__ import annotations

import contextlib
import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agents.models.interface import Model, ModelTracing

from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.inside import Inside, aeach_inside, placed
from agentgauge.instrumentors.messages import note_content
from agentgauge.instrumentors.openai_agents_messages import input_messages, output_messages, system_instructions
from agentgauge.recording.frame import Frame
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.site import current_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.lm_call import LmCall
    from agentgauge.recording.operation import Operation

__all__ = ["Models", "answer_of", "is_in_own_call", "lm_name", "note_response"]

_response: ContextVar[list[Any] | None] = ContextVar("agentgauge_openai_agents_response", default=None)
"""Takes the response that the model's own span bears: what the runner gets names neither the model nor how it finished."""

_PARAMETERS = tuple(inspect.signature(Model.get_response).parameters)[1:]
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")


class Models:
    """Wraps the classes of models when the runner first asks for one of them."""

    def __init__(self, kit: Kit, find_current: Callable[[], Operation | None]) -> None:
        """Wrap no class yet.

        Args:
            kit: Where calls are recorded.
            find_current: Returns the operation of the SDK's current span.
        """
        self._kit = kit
        self._find_current = find_current
        self._seen: set[type] = set()

    def found(self, get_model: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate the function by which the runner gets a model."""

        @functools.wraps(get_model)
        def got(*args: Any, **kwargs: Any) -> Any:
            model = get_model(*args, **kwargs)
            with contain_internal_errors("openai_agents_model"):
                self._wrap(type(model))
            return model

        return got

    def _wrap(self, model: type) -> None:
        if model in self._seen:
            return
        self._seen.add(model)
        self._kit.patch(model, "get_response", self._responded)
        self._kit.patch(model, "stream_response", self._streamed)

    def _begin(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LmCall | None:
        with contain_internal_errors("openai_agents_model"):
            if not is_in_own_call():  # a subclass that asks its base class makes one call
                call = self._kit.begin_lm(lm_name(model), placed(self._find_current()))
                try:
                    with contain_internal_errors("openai_agents_prompt"):
                        call.note_prompt(_asked(args, kwargs))
                    if self._is_kept(args, kwargs):
                        instructions, asked = _argument("system_instructions", args, kwargs), _argument("input", args, kwargs)
                        note_content(self._kit, call, "gen_ai.system_instructions", lambda: system_instructions(instructions))
                        note_content(self._kit, call, "gen_ai.input.messages", lambda: input_messages(asked))
                except BaseException:  # of a redactor, or of a signal handler: the call does not begin
                    call.abandon()
                    raise
                return call
        return None

    def _is_kept(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Tell whether content may be kept: a run's ``trace_include_sensitive_data=False`` means our spans, too."""
        if not self._kit.content.is_captured:
            return False
        return _argument("tracing", args, kwargs) is not ModelTracing.ENABLED_WITHOUT_DATA

    def _note(self, call: LmCall, usage: Any, response_id: Any, response: Any, kept: Any) -> None:
        """Note an answer.

        Args:
            call: What it answers.
            usage: The tokens that it used.
            response_id: The provider's id of it.
            response: What it came in and tells more of it, where there is one.
            kept: Its items, where content may be kept.
        """
        model, status = getattr(response, "model", None), getattr(response, "status", None)
        model = model if isinstance(model, str) else None
        status = status if isinstance(status, str) else None
        call.note_answer(answer_of(usage, response_id=response_id, model=model, finish_reasons=(status,) if status else ()))
        if kept:
            because = getattr(getattr(response, "incomplete_details", None), "reason", None)
            note_content(self._kit, call, "gen_ai.output.messages", lambda: output_messages(kept, status, because))

    def _responded(self, get_response: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(get_response)
        async def responded(model: Any, *args: Any, **kwargs: Any) -> Any:
            call = self._begin(model, args, kwargs)
            if call is None:
                return await get_response(model, *args, **kwargs)
            responses: list[Any] = []
            token = _response.set(responses)
            try:
                with Inside(call):
                    result = await get_response(model, *args, **kwargs)
            except BaseException as error:
                call.end(error)
                raise
            finally:
                with contextlib.suppress(ValueError):  # a coroutine may be closed from another context
                    _response.reset(token)
            try:
                with contain_internal_errors("openai_agents_answer"):
                    kept = result.output if self._is_kept(args, kwargs) else None
                    self._note(call, result.usage, result.response_id, responses[-1] if responses else None, kept)
                call.end()
            except BaseException:  # of a redactor, or of a signal handler
                call.abandon()
                raise
            return result

        return responded

    def _streamed(self, stream_response: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(stream_response)
        async def streamed(model: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            call = self._begin(model, args, kwargs)
            events: Any = aeach_inside(call, functools.partial(stream_response, model, *args, **kwargs))
            if call is None:
                async for event in events:
                    yield event
                return
            left: BaseException | None = None
            is_answered = False
            while left is None:
                try:
                    event = await anext(events)
                except StopAsyncIteration:
                    break
                except BaseException as error:
                    call.end(error)
                    raise
                try:
                    with contain_internal_errors("openai_agents_answer"):
                        call.note_first_chunk()
                        if getattr(event, "type", None) in _LAST_EVENTS:
                            response = event.response
                            kept = response.output if self._is_kept(args, kwargs) else None
                            self._note(call, response.usage, response.id, response, kept)
                            is_answered = True
                    yield event
                except BaseException as error:  # noqa: BLE001 - it is raised again below: nothing of the host's runs in here
                    left = error
            try:
                if left is not None:
                    await events.aclose()
            finally:
                call.end(None if is_answered else left)
            if left is not None:
                raise left

        return streamed


def _argument(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    place = _PARAMETERS.index(name)
    return args[place] if len(args) > place else kwargs.get(name)


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a model is asked, as plain data as far as it is; None where the provider knows more of the conversation."""
    told = functools.partial(_argument, args=args, kwargs=kwargs)
    if told("conversation_id"):
        return None
    schema = told("output_schema")
    return (
        *map(told, ("system_instructions", "input", "previous_response_id", "prompt")),
        {name: getattr(value, "__dict__", value) for name, value in getattr(told("model_settings"), "__dict__", {}).items()},
        [getattr(tool, "name", None) for tool in told("tools") or ()],  # one name is one tool
        [getattr(handoff, "tool_name", None) for handoff in told("handoffs") or ()],
        None if schema is None else str(getattr(schema, "output_type", type(schema))),
    )


def note_response(response: Any) -> None:
    """Note the response that a model's own span bears, for the call that this runs in."""
    responses = _response.get()
    if responses is not None and response is not None:
        responses.append(response)


def is_in_own_call() -> bool:
    """Tell whether this runs in an LM call that is counted here already."""
    current = current_agent.get()
    return type(current) is Frame and current.kind is SeriesKind.LM and current.instrumentor == "openai-agents"


def lm_name(model: Any) -> LmName:
    """Name the call of a model; the SDK's own classes call OpenAI, and others write the provider before the model's name."""
    name = getattr(model, "model", None)
    name = name if isinstance(name, str) else ""
    provider, slash, _ = name.partition("/")
    if type(model).__name__.startswith("OpenAI"):
        return LmName("chat", "openai", name)
    return LmName("chat", provider if slash else "", name)


def answer_of(
    usage: Any, *, response_id: str | None = None, model: str | None = None, finish_reasons: tuple[str, ...] = ()
) -> Answer:
    """Read the tokens from the SDK's ``Usage``, from a response's usage or from a span's; all zero means that nothing is told."""
    get = usage.get if isinstance(usage, dict) else functools.partial(getattr, usage)
    inputs, outputs = get("input_tokens", None), get("output_tokens", None)
    if not inputs and not outputs:
        return Answer(response_id=response_id, response_model=model, finish_reasons=finish_reasons)
    return Answer(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=_detail(get("input_tokens_details", None), "cached_tokens"),
        cache_write_tokens=_detail(get("input_tokens_details", None), "cache_write_tokens"),
        reasoning_tokens=_detail(get("output_tokens_details", None), "reasoning_tokens"),
        response_id=response_id,
        response_model=model,
        finish_reasons=finish_reasons,
    )


def _detail(details: Any, name: str) -> int | None:
    value = details.get(name) if isinstance(details, dict) else getattr(details, name, None)
    return value if isinstance(value, int) else None
