"""Around DSPy's programs: evaluations, optimizers, the threads of both, and answers that did not parse."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import dspy
from opentelemetry import context as context_api

from agentgauge.catalogue import AGENT, PARSE_FAILURES
from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.dspy_frames import begun, is_inside, measure, patch_inside, posing
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import WORKFLOW
from agentgauge.recording.site import current_agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.operation import Operation

__all__ = ["instrument"]


def instrument(kit: Kit) -> None:
    """Measure evaluations and optimizer runs, carry the trace into DSPy's threads, and count answers that did not parse."""

    def begin_evaluation(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Operation | None:
        return _begin_workflow(kit, "Evaluate")

    measure(kit, dspy.Evaluate, "__call__", begin_evaluation)
    _active.append(kit)
    kit.undo.callback(_active.remove, kit)
    teleprompter = dspy.teleprompt.Teleprompter
    for optimizer in _subclasses_of(teleprompter):
        _measure_compile(kit, optimizer)

    def measuring_new_ones(init_subclass: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init_subclass)
        def measuring(cls: type, **options: Any) -> None:
            init_subclass(cls, **options)
            with contain_internal_errors(kit.name):
                _measure_compile(kit, cls)

        return measuring

    kit.patch(teleprompter, "__init_subclass__", measuring_new_ones)
    patch_inside(kit, "dspy.utils.parallelizer:ParallelExecutor.execute", functools.partial(_carrying, kit))
    patch_inside(kit, "dspy.adapters.base:Adapter._call_postprocess", functools.partial(_counting_parse_failures, kit))
    kit.patch(dspy.TwoStepAdapter, "acall", functools.partial(_counting_parse_failures_async, kit))


# --- optimizers -----------------------------------------------------------------------------------------------------------

_active: list[Kit] = []
"""The kit, while DSPy is instrumented."""


def _measure_compile(kit: Kit, optimizer: type) -> None:
    compile_ = vars(optimizer).get("compile")
    if inspect.isfunction(compile_) and not inspect.iscoroutinefunction(inspect.unwrap(compile_)):
        kit.patch(optimizer, "compile", _around_compile)


def _around_compile(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """Measure a method of a class that may be the program's own, and of ``__main__``.

    Whoever saves a program with cloudpickle takes such a class apart, and this wrapper too: it holds nothing that cannot travel.
    """

    @functools.wraps(compile_)
    def around_compile(*args: Any, **kwargs: Any) -> Any:
        return _compile(compile_, args, kwargs)

    return around_compile


def _compile(compile_: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    operation = begun(lambda: _begin_workflow(_active[-1], f"{type(args[0]).__name__}.compile") if _active else None, "dspy")
    if operation is None:
        return compile_(*args, **kwargs)
    try:
        compiled = compile_(*args, **kwargs)
    except BaseException as error:
        try:
            operation.end(error)
        except BaseException:  # of a signal handler
            operation.abandon()
            raise
        raise
    try:
        operation.end()
    except BaseException:  # of a signal handler
        operation.abandon()
        raise
    return compiled


def _begin_workflow(kit: Kit, name: str) -> Operation | None:
    return None if is_inside(kit, WORKFLOW, name) else kit.begin(WORKFLOW, name)


def _subclasses_of(owner: type) -> Iterator[type]:
    subclasses: list[type] = type.__subclasses__(owner)
    for subclass in subclasses:
        yield subclass
        yield from _subclasses_of(subclass)


def _carrying(kit: Kit, execute: Callable[..., Any]) -> Callable[..., Any]:
    """Let what runs in the threads of an executor know the call around it; the threads themselves have contexts of their own."""

    @functools.wraps(execute)
    def carrying(*args: Any, **kwargs: Any) -> Any:
        with contain_internal_errors(kit.name):
            if len(args) > 1:
                args = (args[0], _in_this_context(args[1]), *args[2:])
            elif "function" in kwargs:
                kwargs = {**kwargs, "function": _in_this_context(kwargs["function"])}
        return execute(*args, **kwargs)

    return posing(carrying, execute)


def _in_this_context(function: Callable[..., Any]) -> Callable[..., Any]:
    agent = current_agent.get()
    context = context_api.get_current()

    @functools.wraps(function)
    def in_context(*args: Any, **kwargs: Any) -> Any:
        token = context_api.attach(context)
        agent_token = current_agent.set(agent)
        try:
            return function(*args, **kwargs)
        finally:
            current_agent.reset(agent_token)
            context_api.detach(token)

    return in_context


def _count_parse_failure(kit: Kit, adapter: Any) -> None:
    agent = str(current_agent.get())
    adapter_name = ("adapter", clean_label(type(adapter).__name__))
    labels = ((AGENT, agent), adapter_name) if agent else (adapter_name,)  # an empty label is an absent one
    kit.recorder.observe(PARSE_FAILURES, labels, 1)


def _counting_parse_failures(kit: Kit, postprocess: Callable[..., Any]) -> Callable[..., Any]:
    """Count where answers are parsed, of every adapter and of each that another falls back to."""
    parse_error = dspy.utils.exceptions.AdapterParseError

    @functools.wraps(postprocess)
    def counting(*args: Any, **kwargs: Any) -> Any:
        try:
            return postprocess(*args, **kwargs)
        except parse_error:
            with contain_internal_errors(kit.name):
                _count_parse_failure(kit, args[0])
            raise

    return posing(counting, postprocess)


def _counting_parse_failures_async(kit: Kit, acall: Callable[..., Any]) -> Callable[..., Any]:
    parse_error = dspy.utils.exceptions.AdapterParseError

    @functools.wraps(acall)
    async def counting(*args: Any, **kwargs: Any) -> Any:
        try:
            return await acall(*args, **kwargs)
        except parse_error:
            with contain_internal_errors(kit.name):
                _count_parse_failure(kit, args[0])
            raise

    return posing(counting, acall)
