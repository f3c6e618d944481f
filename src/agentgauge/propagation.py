"""One trace, and one agent, across threads, processes and queues.

What sends work puts ``inject()`` beside it, and what does the work runs it under ``extract()``::

    queue.put({"job": job, "headers": inject()})

    message = queue.get()
    with extract(message["headers"]):
        work(message["job"])

Its spans are children of the sender's span, and its calls belong to the sender's agent, whose run is counted where it began.
Pools take ``carry(function)`` in the place of a function. HTTP clients and servers that OpenTelemetry instruments, and MCP, carry
the trace by themselves, but not the agent.

A carrier is believed: take one only from services of your own. A stranger who sends one chooses the trace and the agent of calls.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast
from urllib.parse import quote, unquote

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError, contain_internal_errors, is_fault_of_ours, report_internal_error
from agentgauge.fork_gate import load, process_mark
from agentgauge.recording.call import leave_agent
from agentgauge.recording.frame import Frame
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import Scope, suspend_span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from contextvars import Context, Token
    from types import TracebackType

__all__ = ["AGENT_HEADER", "carry", "extract", "inject"]

P = ParamSpec("P")
R = TypeVar("R")

AGENT_HEADER = "agentgauge-agent"
"""Where a carrier holds the agent's name, percent-encoded as UTF-8."""

_LONGEST_HEADER = 4_096
_w3c = TraceContextTextMapPropagator()


def inject(carrier: MutableMapping[str, str] | None = None) -> MutableMapping[str, str]:
    """Put the current trace and agent into a carrier, such as the headers of a request or a message.

    The trace goes as the W3C ``traceparent`` and ``tracestate``, and as whatever ``OTEL_PROPAGATORS`` asks for besides.

    Args:
        carrier: What takes them; a new dictionary unless given.

    Returns:
        The carrier. Nothing is added to it outside of every trace and agent.
    """
    carrier = {} if carrier is None else carrier
    if is_disabled():
        return carrier
    with contain_internal_errors("inject"):
        _w3c.inject(carrier)
        agent = current_agent.get()
        if agent:
            carrier[AGENT_HEADER] = quote(agent, errors="replace")
        load("opentelemetry.propagate").inject(carrier)  # the last: what is set up there is not ours
    return carrier


class extract:  # noqa: N801 - reads as a verb in `with extract(headers):`
    """A context manager, plain and asynchronous, under which calls go on with the trace and the agent of a carrier.

    Spans are children of the sender's span. Calls belong to the sender's agent as if they were made in its run, which is not
    counted again: an agent that is run inside was handed work by the sender's, and what it uses is in the sender's subtree.
    What a carrier does not hold, or not in a form that can be read, is left as it is; so is the span of an instrumented server
    that is the sender's child already.

    Args:
        carrier: What ``inject`` filled: a mapping, or pairs of names and values, of text or bytes. Names are found in any case,
            and as WSGI gives them (``HTTP_TRACEPARENT``).
    """

    __slots__ = ("_carrier", "_entered")

    def __init__(self, carrier: Any) -> None:
        self._carrier = carrier
        self._entered: list[tuple[Scope | None, Token[str] | None]] = []

    def __enter__(self) -> None:
        """Begin the block."""
        scope: Scope | None = None
        token: Token[str] | None = None
        outer = _now()
        try:
            if not is_disabled():
                with contain_internal_errors("extract"):
                    fields = _fields_of(self._carrier)
                    context = _remote_context(fields)
                    agent = _agent_of(fields)
                    token = None if not agent else current_agent.set(_remote_frame(agent))
                    scope = None if context is None else Scope(trace_api.get_current_span(context), context, is_recording=False)
            self._entered.append((scope, token))
        except BaseException:  # of a signal handler: one that came before a token was kept, too
            _put_back(*outer)
            raise

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        """End the block; an exception passes through."""
        _leave(*self._entered.pop())

    async def __aenter__(self) -> None:
        """Begin the block."""
        self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the block; an exception passes through."""
        self.__exit__(kind, error, trace)


def _now() -> tuple[str, context_api.Context]:
    return current_agent.get(), context_api.get_current()


def _put_back(agent: str, context: context_api.Context) -> None:
    """Make an agent and a context current again, whatever was between."""
    if context_api.get_current() is not context:
        context_api.attach(context)
    if current_agent.get() is not agent:
        current_agent.set(agent)


def _leave(scope: Scope | None, token: Token[str] | None) -> None:
    if scope is not None:
        suspend_span(scope)
    if token is not None:
        leave_agent(token)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return a callable that runs ``function`` as if it were called here and now, wherever that happens later.

    In another thread (``executor.submit(carry(search), query)``) that is with a copy of this context, all its context variables
    included; of a coroutine function, with the trace and the agent. In another process it is under ``extract``: the callable is
    pickled as ``function`` is, by its name, together with what ``inject`` gives here.

    Args:
        function: A function or coroutine function, no generator function: nothing of that runs when it is called.

    Raises:
        ConfigurationError: ``function`` is something else.
    """
    if not callable(function):
        raise ConfigurationError(f"carry({function!r}): give the function, not what it returns")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"carry({function!r}): nothing of a generator runs when it is called; give what goes through it")
    if is_disabled():
        return function
    with contain_internal_errors("carry"):  # an unsampled root makes its ids when they are asked for: not anew in a forked child
        trace_api.get_current_span().get_span_context()
    return cast("Callable[P, R]", _carried(function, contextvars.copy_context(), None))


class _Carried(Generic[P, R]):
    """A function, and where it was given away; to whoever asks, it is called and documented as the function is."""

    __slots__ = ("__dict__", "__weakref__", "_carrier", "_context", "_process_mark", "function")

    def __init__(self, function: Callable[P, R], context: Context | None, carrier: MutableMapping[str, str] | None) -> None:
        self.function = function
        self._context = context
        self._carrier = carrier
        self._process_mark = process_mark()
        # Of an object with a __call__, the attributes are its own state.
        functools.update_wrapper(self, function, updated=("__dict__",) if inspect.isroutine(function) else ())

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind as the function does, where it is one that binds."""
        bind = getattr(type(self.function), "__get__", None)
        bound = None if bind is None or instance is None else bind(self.function, instance, owner)
        return types.MethodType(self, instance) if getattr(bound, "__func__", None) is self.function else self

    def __repr__(self) -> str:
        return f"carry({self.function!r})"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in a copy of its context, of which another thread may be in the middle."""
        context = self._context_here()
        if context is not None:
            return context.run(self.function, *args, **kwargs)
        with extract(self._filled_carrier()):
            return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _carried, (self.function, None, self._filled_carrier())

    def _context_here(self) -> Context | None:
        """Return the context, None in another process: a forked child has it, but with calls that are the parent's."""
        return None if self._context is None or self._process_mark != process_mark() else self._context.copy()

    def _filled_carrier(self) -> MutableMapping[str, str]:
        if self._carrier is None:
            self._carrier = {} if self._context is None else self._context.copy().run(inject)
        return self._carrier


class _CarriedCoroutine(_Carried[P, Any]):
    """A coroutine function, and where it was given away."""

    __slots__ = ()

    def __init__(self, function: Callable[P, Any], context: Context | None, carrier: MutableMapping[str, str] | None) -> None:
        super().__init__(function, context, carrier)
        if not isinstance(getattr(self, "__name__", None), str):
            self.__name__ = type(function).__name__  # of a partial, say: without a name, it would not look like a function

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Await the function in the task's own context, with the trace and the agent of the other one."""
        context = self._context_here()
        async with extract(self._filled_carrier()) if context is None else _Resumed(context):
            return await cast("Callable[..., Awaitable[Any]]", self.function)(*args, **kwargs)

    # inspect.iscoroutinefunction() looks at the code of what has the attributes of a function: inspect.markcoroutinefunction()
    # came with Python 3.12, and asyncio's mark convinces asyncio alone.
    __code__ = __call__.__code__
    __defaults__ = None
    __kwdefaults__ = None


class _Resumed(extract):
    """As ``extract``, with the very frame and span of a context of this process."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Begin the block."""
        there: Context = self._carrier
        context = there.run(context_api.get_current)
        outer = _now()
        try:
            token = current_agent.set(there.run(current_agent.get))
            self._entered.append((Scope(trace_api.get_current_span(context), context, is_recording=False), token))
        except BaseException:  # of a signal handler
            _put_back(*outer)
            raise


def _carried(
    function: Callable[..., Any], context: Context | None, carrier: MutableMapping[str, str] | None
) -> _Carried[..., Any]:
    is_coroutine = any(map(inspect.iscoroutinefunction, (function, getattr(type(function), "__call__", None))))  # noqa: B004 - not whether
    return (_CarriedCoroutine if is_coroutine else _Carried)(function, context, carrier)


# --- what a carrier holds -----------------------------------------------------------------------------------------------------


def _fields_of(carrier: Any) -> dict[str, str]:
    """Return what can be read of a carrier, by names in lower case."""
    fields: dict[str, str] = {}
    for pair in _pairs_of(carrier):
        if not isinstance(pair, tuple | list) or len(pair) != 2:  # noqa: PLR2004 - a pair
            continue
        name, value = map(_text_of, pair)
        if name and value is not None:
            name = name.lower()
            fields.setdefault(name[5:].replace("_", "-") if name.startswith("http_") else name, value)
    return fields


def _pairs_of(carrier: Any) -> Iterable[Any]:
    if isinstance(carrier, tuple | list):
        return carrier
    try:
        return list(carrier.items())
    except Exception as error:
        if not is_fault_of_ours(error):
            raise
        return ()


def _text_of(part: Any) -> str | None:
    if isinstance(part, list | tuple) and part:
        part = part[0]
    if isinstance(part, bytes):
        return part.decode("latin-1")
    return part if isinstance(part, str) else None


def _remote_context(fields: dict[str, str]) -> context_api.Context | None:
    """Return the current context with what the fields say of the trace, None where they say nothing."""
    current = context_api.get_current()
    context = current
    try:
        context = load("opentelemetry.propagate").extract(fields, current)
    except Exception as error:  # noqa: BLE001 - a propagator of somebody else's, on text from outside
        report_internal_error("extract", error)
    context = _w3c.extract(fields, context)
    if context is current:
        return None
    span = trace_api.get_current_span(current)
    parent = getattr(span, "parent", None)
    if parent is not None and parent.span_id == trace_api.get_current_span(context).get_span_context().span_id:
        return trace_api.set_span_in_context(
            span, context
        )  # a server that is instrumented has made its span of this very carrier
    return context


def _agent_of(fields: dict[str, str]) -> str:
    text = fields.get(AGENT_HEADER, "")
    return "" if len(text) > _LONGEST_HEADER else clean_label(unquote(text, errors="replace").strip())


def _remote_frame(agent: str) -> Frame:
    """Make the frame of a run that goes on elsewhere.

    It is the run of what is called inside, and is never closed: so nothing of it is counted here. It is no RUN itself, since an
    instrumentor that reports a task of this agent would be told that somebody counts it already.
    """
    frame = Frame.enter("", SeriesKind.TASK, "", agent)
    frame.run = frame
    frame.agents = (str(frame),)
    return frame
