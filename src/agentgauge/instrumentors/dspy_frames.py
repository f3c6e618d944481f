"""What the parts of the DSPy instrumentation share: where a call is, whose it is, and wrappers that DSPy takes for its own."""

from __future__ import annotations

import importlib
import logging
from types import FunctionType
from typing import TYPE_CHECKING, Any

from agentgauge.errors import is_fault_of_ours, report_internal_error
from agentgauge.instrumentors.wrapping import around, leave_all
from agentgauge.recording.frame import Frame
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import span_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.instrumentors.wrapping import Begin, Finish
    from agentgauge.recording.operation import Operation
    from agentgauge.recording.series import SeriesKind

    Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]

__all__ = ["begun", "current_frame", "is_inside", "is_of_dspy", "measure", "patch_inside", "posing"]

_logger = logging.getLogger("agentgauge")


def current_frame() -> Frame | None:
    """Return the call around what begins now, None outside of everything."""
    current = current_agent.get()
    if type(current) is Frame:
        return current
    return span_frames.current() if span_frames else None


def is_inside(kit: Kit, kind: SeriesKind, name: str) -> bool:
    """Tell whether the call around is of that kind and name and of DSPy itself: a method that calls the one that it overrides."""
    frame = current_frame()
    return frame is not None and frame.kind is kind and frame.name == name and frame.instrumentor == kit.name


def is_of_dspy(owner: type) -> bool:
    """Tell whether a class is DSPy's own."""
    return owner.__module__.partition(".")[0] == "dspy"


def begun(begin: Callable[[], Operation | None], hook: str) -> Operation | None:
    """Return what ``begin`` begins around what runs here; where a signal handler cuts it off, nothing of it is left."""
    outer = current_agent.get()
    try:
        return begin()
    except BaseException as fault:
        leave_all(outer)
        if not is_fault_of_ours(fault):  # of a signal handler: the call does not begin
            raise
        report_internal_error(hook, fault)
        return None


def measure(kit: Kit, owner: Any, name: str, begin: Begin, finish: Finish | None = None) -> None:
    """Put an operation around each call of a function of DSPy's; see ``around``."""
    kit.patch(owner, name, lambda function: posing(around(function, begin, finish, hook=kit.name), function))


def patch_inside(kit: Kit, place: str, decorate: Decorate) -> None:
    """Patch what DSPy promises nobody; where another version has no such thing, what it tells is not recorded, and that is said.

    Args:
        kit: What the instrumentation works with.
        place: The module and, behind a colon, the attribute in it: ``dspy.predict.rlm:RLM._execute_code``.
        decorate: See ``kit.patch``.
    """
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        getattr(owner, name)
    except (ImportError, AttributeError):
        _logger.warning("agentgauge: this DSPy has no %s; what is told there is not recorded", place)
        return
    kit.patch(owner, name, decorate)


def posing(wrapper: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a wrapper pass for a function of the module of what it wraps.

    DSPy blames its deprecation warnings on the first caller outside of itself, by the name of the caller's module: that must go
    on to be the program, whose warning filters go by it.
    """
    if not isinstance(wrapper, FunctionType):
        return wrapper
    known_as = {**wrapper.__globals__, "__name__": function.__module__}
    posed = FunctionType(wrapper.__code__, known_as, wrapper.__name__, wrapper.__defaults__, wrapper.__closure__)
    posed.__kwdefaults__ = wrapper.__kwdefaults__
    posed.__dict__.update(wrapper.__dict__)
    for attribute in ("__module__", "__qualname__", "__doc__", "__annotations__"):
        setattr(posed, attribute, getattr(wrapper, attribute))
    return posed
