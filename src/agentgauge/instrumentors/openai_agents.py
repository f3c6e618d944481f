"""The OpenAI Agents SDK, through a trace processor: traces are workflows, agent spans are runs, turns and guardrails their tasks.

Processors change no context, and are told nothing where tracing is disabled, of what a model costs that opens no span, and of a
tool's arguments before it ran. So a few places of the runner are wrapped: where it asks a model (``openai_agents_models``), where
it runs a function tool, and the spans that stand in where tracing is disabled, of which the SDK tells nobody.

Not seen: retries of a model's call, which show as calls of their own; the target of a handoff that failed; where tracing is
disabled, the name of an enclosing ``trace()`` (each run is a workflow then) and tools that are no function tools; and everything
but models where the program sets a ``TraceProvider`` of its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agents.run_internal import run_loop, tool_execution
from agents.tracing import TracingProcessor, get_current_span, provider, setup, spans

from agentgauge.catalogue import HANDOFFS, Outcome
from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.inside import Inside, placed, site_of
from agentgauge.instrumentors.messages import note_content
from agentgauge.instrumentors.openai_agents_messages import input_messages, output_messages
from agentgauge.instrumentors.openai_agents_models import Models, answer_of, is_in_own_call, note_response
from agentgauge.instrumentors.span_operations import NEVER_ENDED
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.outcome import Failure, failure_of
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import LmName, SeriesKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.operation import Operation

__all__ = ["instrument"]

_FAILED = Failure(Outcome.ERROR, "SpanError")
_MOST_OPEN = 8_192
_EXECUTOR = "_FunctionToolBatchExecutor"


def instrument(kit: Kit) -> None:
    """Register a processor with the SDK's tracing, and wrap what processors are not told, until ``kit.undo``."""
    processor = _Processor(kit)
    kit.undo.callback(processor.leave)
    kit.patch(provider.DefaultTraceProvider, "__init__", processor.joining)  # the first trace makes one: not before its time
    kit.patch(provider.SynchronousMultiTracingProcessor, "set_processors", processor.staying)
    for kind in (spans.SpanImpl, spans.NoOpSpan):
        kit.patch(kind, "set_error", processor.noting)
    kit.patch(spans.NoOpSpan, "start", processor.starting)
    kit.patch(spans.NoOpSpan, "finish", processor.finishing)
    existing = setup.GLOBAL_TRACE_PROVIDER
    if existing is not None:
        processor.join(existing)
    if hasattr(run_loop, "get_model"):
        kit.patch(run_loop, "get_model", Models(kit, processor.current).found)
    executor: Any = getattr(tool_execution, _EXECUTOR, None)
    for name, decorate in (("_run_single_tool", _running), ("_execute_single_tool_body", processor.entering)):
        if hasattr(executor, name):  # they are private, and without them only arguments and the context are missing
            kit.patch(executor, name, decorate)


class _Open:
    """A trace or span that has not ended."""

    __slots__ = ("_error_before", "around", "failure", "operation")

    def __init__(self, around: Operation | None, operation: Operation | None) -> None:
        self.operation = operation
        self.around = operation or around
        self._error_before = _identity(sys.exc_info()[1])  # the host may be handling one: that is none of this span's
        self.failure: Failure | None = None

    def error_in_flight(self) -> BaseException | None:
        """Return the exception that is being handled, unless that was so when it began."""
        error = sys.exc_info()[1]
        return None if error is None or _identity(error) == self._error_before else error


def _identity(error: BaseException | None) -> tuple[int, type[BaseException]] | None:
    """Tell exceptions apart without keeping one, which would keep the locals of all that it came through."""
    return None if error is None else (id(error), type(error))


_tool_call: ContextVar[tuple[Any, bool]] = ContextVar("agentgauge_openai_agents_tool", default=(None, False))
"""The arguments of the function tool that is about to run, and whether the user decorated its function."""


def _running(run: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a tool's arguments at hand until its span begins."""

    @functools.wraps(run)
    async def running(*args: Any, **kwargs: Any) -> Any:
        with contain_internal_errors("openai_agents_tool"):
            _tool_call.set(_told_of(kwargs.get("func_tool"), kwargs.get("tool_call")))  # each tool runs in a task of its own
        return await run(*args, **kwargs)

    return running


def _told_of(tool: Any, call: Any) -> tuple[Any, bool]:
    arguments = getattr(call, "arguments", None)
    with contextlib.suppress(ValueError):  # as text they tell calls apart, too
        arguments = json.loads(arguments) if arguments else {}
    return arguments, site_of(getattr(tool, "__wrapped__", None)) is not None


class _Processor(TracingProcessor):  # type: ignore[misc]  # mypy does not look into the SDK
    """Turns traces and spans into operations, by their ids."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._open: dict[Any, _Open] = {}
        self._joined: list[Any] = []

    # --- the SDK's registration ---------------------------------------------------------------------------------------------

    def join(self, trace_provider: Any) -> None:
        """Listen to a provider."""
        trace_provider.register_processor(self)
        self._joined.append(trace_provider)

    def leave(self) -> None:
        """Listen no more."""
        for trace_provider in self._joined:
            many = getattr(trace_provider, "_multi_processor", None)
            if many is not None:  # the SDK has no way to remove one
                with many._lock:  # noqa: SLF001 - see above
                    many._processors = tuple(each for each in many._processors if each is not self)  # noqa: SLF001 - see above
        self._joined.clear()

    def joining(self, make: Callable[..., None]) -> Callable[..., None]:
        """Listen to every provider of the SDK's own kind that is made from now on."""

        @functools.wraps(make)
        def joining(trace_provider: Any, *args: Any, **kwargs: Any) -> None:
            make(trace_provider, *args, **kwargs)
            with contain_internal_errors("openai_agents"):
                self.join(trace_provider)

        return joining

    def staying(self, set_processors: Callable[..., None]) -> Callable[..., None]:
        """Stay where a program replaces the processors: it means the SDK's exporter."""

        @functools.wraps(set_processors)
        def staying(many: Any, processors: Any) -> None:
            is_member = self in many._processors  # noqa: SLF001 - there is no other way to ask
            set_processors(many, [*processors, self] if is_member and self not in processors else processors)

        return staying

    def shutdown(self) -> None:
        """Nothing is held back that would have to go out."""

    def force_flush(self) -> None:
        """Nothing is held back that would have to go out."""

    # --- spans that the SDK tells nobody ------------------------------------------------------------------------------------

    def starting(self, start: Callable[..., None]) -> Callable[..., None]:
        """Begin with a span that stands in where tracing is disabled."""

        @functools.wraps(start)
        def starting(span: Any, *args: Any, **kwargs: Any) -> None:
            self.on_span_start(span)
            start(span, *args, **kwargs)

        return starting

    def finishing(self, finish: Callable[..., None]) -> Callable[..., None]:
        """End with it."""

        @functools.wraps(finish)
        def finishing(span: Any, *args: Any, **kwargs: Any) -> None:
            self.on_span_end(span)
            finish(span, *args, **kwargs)

        return finishing

    def noting(self, set_error: Callable[..., None]) -> Callable[..., None]:
        """Note which exception is being handled when a span is told of an error: the span keeps a message alone."""

        @functools.wraps(set_error)
        def noting(span: Any, *args: Any, **kwargs: Any) -> None:
            set_error(span, *args, **kwargs)
            with contain_internal_errors("openai_agents"):
                open_ = self._open.get(_key(span))
                if open_ is not None:
                    open_.failure = _failure_in_flight(open_) or _FAILED

        return noting

    # --- the context --------------------------------------------------------------------------------------------------------

    def current(self) -> Operation | None:
        """Return the operation of the SDK's current span."""
        span = get_current_span()
        open_ = None if span is None else self._open.get(_key(span))
        return None if open_ is None else open_.around

    def entering(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """Run a function tool inside its operation, so that what it calls finds the agent."""

        @functools.wraps(execute)
        async def entering(*args: Any, **kwargs: Any) -> Any:
            operation = None
            with contain_internal_errors("openai_agents_tool"):
                operation = self.current()
            with Inside(operation):
                return await execute(*args, **kwargs)

        return entering

    # --- what the SDK tells -------------------------------------------------------------------------------------------------

    def on_trace_start(self, trace: Any) -> None:
        """Begin a workflow."""
        with contain_internal_errors("openai_agents"):
            operation = self._kit.begin(SeriesKind.WORKFLOW, trace.name, placed(None))
            self._keep(trace.trace_id, _Open(None, operation))

    def on_trace_end(self, trace: Any) -> None:
        """End it."""
        with contain_internal_errors("openai_agents"):
            self._end(self._open.pop(trace.trace_id, None))

    def on_span_start(self, span: Any) -> None:
        """Begin what the span is."""
        with contain_internal_errors("openai_agents"):
            around = self._around(span)
            operation = self._begin(span.span_data, around)
            self._keep(_key(span), _Open(around, operation))

    def on_span_end(self, span: Any) -> None:
        """End it."""
        with contain_internal_errors("openai_agents"):
            open_ = self._open.pop(_key(span), None)
            if open_ is None:
                return
            data = span.span_data
            if data.type == "handoff":
                self._hand_over(data, open_)
            elif data.type == "response" and open_.operation is None:
                note_response(data.response)
            elif data.type == "agent":
                self._note_failed_agent(span, open_)
            elif isinstance(open_.operation, LmCall):
                response = getattr(data, "response", None)
                model, identity = getattr(response, "model", None), getattr(response, "id", None)
                usage = data.usage or getattr(response, "usage", None)
                open_.operation.note_answer(answer_of(usage or {}, response_id=identity, model=model))
                self._note_messages(open_.operation, data, response)
            elif data.type == "function":  # it bears what the program lets the SDK trace
                note_content(self._kit, open_.operation, "gen_ai.tool.call.arguments", lambda: data.input)
                note_content(self._kit, open_.operation, "gen_ai.tool.call.result", lambda: data.output)
            self._end(open_)

    def _note_messages(self, operation: Operation, data: Any, response: Any) -> None:
        """Keep what a span that the program opened itself bears of a model's call."""
        asked = data.input
        output = getattr(data, "output", None) if response is None else response.output
        if asked:
            note_content(self._kit, operation, "gen_ai.input.messages", lambda: input_messages(asked))
        if output:
            note_content(self._kit, operation, "gen_ai.output.messages", lambda: output_messages(output))

    def _keep(self, key: Any, open_: _Open) -> None:
        """Keep what has begun until it ends; one of the same id, and the oldest of too many, are given up."""
        existing = self._open.pop(key, None)
        self._open[key] = open_
        if existing is not None:
            _give_up(existing)
        while len(self._open) > _MOST_OPEN:
            with contextlib.suppress(StopIteration, RuntimeError):  # other threads open and close meanwhile
                oldest = self._open.pop(next(iter(self._open)), None)
                if oldest is not None:
                    _give_up(oldest)

    def _around(self, span: Any) -> Operation | None:
        if _is_standing_in(span):
            return self.current()
        open_ = self._open.get(span.parent_id) or self._open.get(span.trace_id)
        return None if open_ is None else open_.around

    def _begin(self, data: Any, around: Operation | None) -> Operation | None:
        place = placed(around)
        match data.type:
            case "agent":
                return self._kit.begin(SeriesKind.RUN, "run", place, agent=data.name)
            case "task" if around is None:  # without a trace the run is the workflow
                return self._kit.begin(SeriesKind.WORKFLOW, data.name, place)
            case "turn":
                return self._kit.begin(SeriesKind.TASK, "turn", place)
            case "guardrail":
                return self._kit.begin(SeriesKind.TASK, data.name, place)
            case "function":
                return self._begin_tool(data, place)
            case "generation" | "response" if not is_in_own_call():
                provider_name = "openai" if data.type == "response" else ""
                return self._kit.begin_lm(LmName("chat", provider_name, getattr(data, "model", None) or ""), place)
        return None

    def _begin_tool(self, data: Any, place: dict[str, Any]) -> Operation | None:
        arguments, is_decorated = _tool_call.get()
        _tool_call.set((None, False))  # not those of what the tool calls
        if is_decorated:
            self._kit.leave_to_decorator(SeriesKind.TOOL)
            return None
        return self._kit.begin(SeriesKind.TOOL, data.name, place, arguments=arguments)

    def _note_failed_agent(self, span: Any, open_: _Open) -> None:
        """Let the workflow fail with an agent whose error the SDK raises only where its stream is read."""
        failure = open_.failure
        outer = None if _is_standing_in(span) else self._open.get(span.trace_id)
        if failure is not None and outer is not None and _failure_in_flight(open_) is None:
            outer.failure = failure

    def _hand_over(self, data: Any, open_: _Open) -> None:
        failure = None if data.to_agent else open_.failure or _failure_in_flight(open_) or _FAILED
        outcome = Outcome.SUCCESS if failure is None else failure.outcome
        labels = (
            ("source", clean_label(data.from_agent or "")),
            ("target", clean_label(data.to_agent or "")),
            ("outcome", outcome.value),
        )
        self._kit.recorder.observe(HANDOFFS, labels, 1)

    def _end(self, open_: _Open | None) -> None:
        if open_ is not None and open_.operation is not None:
            error = open_.error_in_flight()  # the one that leaves a span ends it, in its ``with`` or ``finally``
            failure = open_.failure
            try:
                if error is not None and failure in (None, _FAILED):
                    open_.operation.end(error)
                else:
                    open_.operation.end(failure=failure)
            except BaseException:  # of a signal handler
                open_.operation.abandon()
                raise


def _failure_in_flight(open_: _Open) -> Failure | None:
    error = open_.error_in_flight()
    return None if error is None else failure_of(error)


def _give_up(open_: _Open) -> None:
    if open_.operation is not None:
        open_.operation.end(failure=NEVER_ENDED)


def _is_standing_in(span: Any) -> bool:
    return isinstance(span, spans.NoOpSpan)


def _key(span: Any) -> Any:
    """Tell spans apart; those that stand in share one id."""
    return id(span) if _is_standing_in(span) else span.span_id
