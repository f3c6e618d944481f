"""The wrapper of functions and coroutines, written out as source and compiled once for each shape of parameters.

A wrapper with the parameters of what it wraps is called, and calls on, without packing arguments into a tuple and a dictionary:
a third of what all the rest costs. It also refuses wrong arguments as the undecorated function does, before anything is recorded.
The rules that the text keeps to are those of ``wrappers``.
"""

from __future__ import annotations

import functools
import linecache
import re
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from agentgauge.errors import is_fault_of_ours, report_internal_error
from agentgauge.recording.call import abandon_call, end_call
from agentgauge.recording.outcome import UNTOLD
from agentgauge.recording.recorder import END, ENDING, SOFT_LIMIT, START
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import leave_unheard, open_span, provider_cell

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from agentgauge.recording.site import Site

__all__ = ["NAMESPACE", "wrap_call"]

NAMESPACE: dict[str, Any] = {
    "UNTOLD": UNTOLD,
    "abandon_call": abandon_call,
    "enter_agent": current_agent.set,
    "is_fault_of_ours": is_fault_of_ours,
    "end_call": end_call,
    "leave_unheard": leave_unheard,
    "open_span": open_span,
    "provider_cell": provider_cell,
    "report_internal_error": report_internal_error,
}
"""The globals of every wrapper."""

_TEMPLATE = """\
def make(function, recorder, find_target, enter, get_agent):
    append = buffer = clock = relieve = None

    def bind():
        nonlocal append, buffer, clock, relieve
        append, buffer, clock, relieve = recorder.append, recorder.buffer, recorder.clock, recorder.relieve

    {async_}def wrapper({declared}):
        record = scope = token = agent = None
        try:
            agent = get_agent()
            target = find_target(agent)
            if target is None:
                target, token = enter({first})
            if provider_cell._TRACER_PROVIDER is not None:
                scope = open_span(target)
            record = [target, clock(), None, None]
            append(record)
            if len(buffer) > {soft_limit}:
                relieve()
        except RecursionError:  # the stack is full: there is no way to tell more
            if agent is not None:
                enter_agent(agent)
            token = None
        except BaseException as fault:
            if not is_fault_of_ours(fault):  # of a signal handler: the call does not begin
                end_call(recorder, record, scope, token, fault)
                if agent is not None:
                    enter_agent(agent)
                raise
            report_internal_error("start", fault)
        try:
            {begin}
        except BaseException as error:
            try:
                end_call(recorder, record, scope, token, error)
            except RecursionError:  # the stack is full: there is no way to tell more
                if record is not None and record[{end}] is None:
                    record[{ending}] = UNTOLD, None
                    record[{end}] = record[{start}]
                if token is not None:
                    enter_agent(agent)
            except BaseException:  # of a signal handler
                abandon_call(record, scope)
                if agent is not None:
                    enter_agent(agent)
                raise
            raise
        try:
            if token is not None or record is None or not (scope is None or leave_unheard(scope)):
                end_call(recorder, record, scope, token)
            else:
                record[{end}] = clock()
        except BaseException as fault:
            if record is not None and record[{end}] is None:
                record[{end}] = record[{start}]  # it still counts
            if token is not None:
                enter_agent(agent)
            if isinstance(fault, RecursionError):  # the stack is full: there is no way to tell more
                return result
            if not is_fault_of_ours(fault):
                abandon_call(record, scope)
                raise
            report_internal_error("end", fault)
        return result

    return wrapper, bind
"""


class _Shape(NamedTuple):
    """How the parameters of a function are declared and passed on, as source text.

    Attributes:
        declared: Between the parentheses of ``def``, defaults left out.
        passed: Between the parentheses of a call that passes every one of them on.
        first: A tuple of the first positional argument, if there is one: the instance or class of a method.
    """

    declared: str
    passed: str
    first: str


_ANY = _Shape("*args, **kwargs", "*args, **kwargs", "args")


def wrap_call(
    function: Callable[..., Any], site: Site, *, is_coroutine: bool, namespace: dict[str, Any] = NAMESPACE
) -> Callable[..., Any]:
    """Return a function, or a coroutine function, that records the calls of ``function`` at ``site``."""
    # A proxy that claims to be a function may take other arguments than the code that it shows.
    shape = _shape(function.__code__) if type(function) is FunctionType else _ANY
    made: dict[str, Any] = {}
    exec(_maker(shape, is_coroutine=is_coroutine), namespace, made)  # noqa: S102 - the template, filled in
    wrapper, bind = made["make"](function, site.recorder, site.targets.get, site.enter, current_agent.get)
    if isinstance(function, FunctionType) and shape is not _ANY:
        _take_names(wrapper, function)
    site.bind_to_recorder(bind)
    return wrapper  # type: ignore[no-any-return]  # what exec makes has no type


def _take_names(wrapper: Any, function: FunctionType) -> None:
    """Call the parameters of ``wrapper`` as those of ``function``, and give them its defaults."""
    count = _parameter_count(function.__code__)
    code = wrapper.__code__
    # The wrapper's own get names that no parameter can have: up to Python 3.12 a debugger that looks at the locals of a frame
    # writes them back by name.
    hidden = [f".{name}" for name in code.co_varnames[count:]]
    wrapper.__code__ = code.replace(
        co_varnames=(*function.__code__.co_varnames[:count], *hidden), co_freevars=tuple(f".{name}" for name in code.co_freevars)
    )
    wrapper.__defaults__, wrapper.__kwdefaults__ = function.__defaults__, function.__kwdefaults__


def _parameter_count(code: CodeType) -> int:
    collecting = bool(code.co_flags & CO_VARARGS) + bool(code.co_flags & CO_VARKEYWORDS)
    return code.co_argcount + code.co_kwonlyargcount + collecting


def _shape(code: CodeType) -> _Shape:
    positional = [f"argument_{number}" for number in range(code.co_argcount)]
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if keyword_only and not _own_names().union(positional).isdisjoint(keyword_only):
        return _ANY
    declared = positional.copy()
    if code.co_posonlyargcount:
        declared.insert(code.co_posonlyargcount, "/")
    starred = ["*args"] if code.co_flags & CO_VARARGS else []
    double_starred = ["**kwargs"] if code.co_flags & CO_VARKEYWORDS else []
    declared += starred or (["*"] if keyword_only else [])
    passed = [*positional, *starred, *(f"{name}={name}" for name in keyword_only), *double_starred]
    first = f"({positional[0]},)" if positional else "args" if starred else "()"
    return _Shape(", ".join([*declared, *keyword_only, *double_starred]), ", ".join(passed), first)


def _begin(shape: _Shape) -> str:
    names = ", ".join(re.findall(r"[^\W\d]\w*", shape.declared))
    forget = f"del {names}; " if names else ""  # the coroutine alone decides how long they live
    return f"result = function({shape.passed}); {forget}result = await result"


@functools.lru_cache(maxsize=1024)
def _maker(shape: _Shape, *, is_coroutine: bool) -> CodeType:
    """Compile the template for functions or coroutine functions of a shape: code that defines ``make``."""
    text = _TEMPLATE.format(
        **shape._asdict(),
        async_="async " if is_coroutine else "",
        begin=_begin(shape) if is_coroutine else f"result = function({shape.passed})",
        soft_limit=SOFT_LIMIT,
        start=START,
        end=END,
        ending=ENDING,
    )
    name = f"<agentgauge wrapper of {'async ' if is_coroutine else ''}({shape.declared})>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name  # so that tracebacks show the lines
    return compile(text, name, "exec")


def _names_in(code: CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, type(code)))
    return {*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}.union(*map(_names_in, nested))


@functools.cache
def _own_names() -> set[str]:
    """Return what the wrapper itself needs: a keyword-only parameter stands in the text under its own name, and would hide it."""
    return _names_in(_maker(_ANY, is_coroutine=False))
