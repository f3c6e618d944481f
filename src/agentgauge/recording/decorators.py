"""The decorators: ``@agent``, ``@task``, ``@tool`` and ``@workflow``."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, overload

from agentgauge.config import is_disabled
from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.recording.default import default_recorder
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import AGENT_ATTRIBUTE, SITE_ATTRIBUTE, Site, function_of, sites_of
from agentgauge.recording.travel import make_sites_portable
from agentgauge.recording.wrappers import wrap_function
from agentgauge.targets import Objective

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["agent", "task", "tool", "workflow"]

make_sites_portable()

F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any] | classmethod[Any, ..., Any] | property")


@overload
def agent(subject: F, /) -> F: ...
@overload
def agent(subject: str | None = None, /, *, name: str | None = None, objective: Objective | None = None) -> Callable[[F], F]: ...
def agent(subject: Any = None, /, *, name: str | None = None, objective: Objective | None = None) -> Any:
    """Name an agent: on a class, for the decorated methods inside; on a function, for the function, which is its run.

    A class without decorated methods has its own public methods measured as tasks. The outermost task of an agent is its run
    (span ``invoke_agent``, family ``gen_ai_invoke_agent_duration_seconds``). The name flows to everything that runs inside it.

    Args:
        subject: The class or function, or the agent's name.
        name: The agent's name; by default that of the class or function.
        objective: What a decorated function promises; a class's objectives belong to its tasks.

    Raises:
        ConfigurationError: The subject cannot be decorated.
    """
    return _decorator(subject, name, lambda target, given: _decorate_agent(target, given, objective))


@overload
def task(subject: F, /) -> F: ...
@overload
def task(subject: str | None = None, /, *, name: str | None = None, objective: Objective | None = None) -> Callable[[F], F]: ...
def task(subject: Any = None, /, *, name: str | None = None, objective: Objective | None = None) -> Any:
    """Measure a function, a method, or every public method of a class as a task of the agent inside which it runs.

    Args:
        subject: The function or class, or the task's name.
        name: The task's name; by default that of the function.
        objective: What the task promises; exported as series that the shipped rules obey.

    Raises:
        ConfigurationError: The subject cannot be decorated.
    """
    return _decorator(subject, name, lambda target, given: _decorate(target, SeriesKind.TASK, given, objective))


@overload
def tool(subject: F, /) -> F: ...
@overload
def tool(subject: str | None = None, /, *, name: str | None = None) -> Callable[[F], F]: ...
def tool(subject: Any = None, /, *, name: str | None = None) -> Any:
    """Measure a function, a method, or every public method of a class as a tool (``gen_ai_execute_tool_duration_seconds``).

    Args:
        subject: The function or class, or the tool's name.
        name: The tool's name; by default that of the function.

    Raises:
        ConfigurationError: The subject cannot be decorated.
    """
    return _decorator(subject, name, lambda target, given: _decorate(target, SeriesKind.TOOL, given))


@overload
def workflow(subject: F, /) -> F: ...
@overload
def workflow(subject: str | None = None, /, *, name: str | None = None) -> Callable[[F], F]: ...
def workflow(subject: Any = None, /, *, name: str | None = None) -> Any:
    """Measure a function, a method, or every public method of a class as a workflow over several agents.

    Args:
        subject: The function or class, or the workflow's name.
        name: The workflow's name; by default that of the function.

    Raises:
        ConfigurationError: The subject cannot be decorated.
    """
    return _decorator(subject, name, lambda target, given: _decorate(target, SeriesKind.WORKFLOW, given))


def _decorator(subject: Any, name: str | None, decorate: Callable[[Any, str | None], Any]) -> Any:
    """Tell ``@task`` from ``@task("name")`` and ``@task(name="name")``."""
    if subject is None or isinstance(subject, str):
        given = subject if name is None else name
        if given is not None and (not isinstance(given, str) or not given.strip()):
            raise ConfigurationError(f"name={given!r}: give a non-empty string, or leave it out")
        return lambda target: target if is_disabled() else _or_as_it_is(target, given, decorate)
    return subject if is_disabled() else _or_as_it_is(subject, name, decorate)


def _or_as_it_is(subject: Any, name: str | None, decorate: Callable[[Any, str | None], Any]) -> Any:
    """Decorate ``subject``, or return it as it is where a fault of ours prevents it: the host's import must not fail for that."""
    try:
        return decorate(subject, name)
    except ConfigurationError:
        raise
    except Exception as fault:  # noqa: BLE001 - see above
        report_internal_error("decorate", fault)
        return subject


def _decorate(
    subject: Any, kind: SeriesKind, name: str | None, objective: Objective | None = None, owner: str | None = None
) -> Any:
    if objective is not None and not isinstance(objective, Objective):
        raise ConfigurationError(f"objective={objective!r}: give an Objective, such as Objective(success_ratio=0.99)")
    if isinstance(subject, type):
        return _decorate_methods(subject, kind, name, objective)
    if isinstance(subject, staticmethod | classmethod):
        return type(subject)(_decorate(subject.__func__, kind, name, objective, owner))
    if isinstance(subject, property):
        return property(_decorate(subject.fget, kind, name, objective, owner), subject.fset, subject.fdel, subject.__doc__)
    if not callable(subject):
        raise ConfigurationError(f"{kind.value}: {subject!r} is neither a function nor a class; decorate one of those")
    if isinstance(getattr(subject, SITE_ATTRIBUTE, None), Site):
        raise ConfigurationError(
            f"{_name_of(subject)} is decorated twice: keep one of @task, @tool, @workflow; @agent goes above"
        )
    site = Site(kind, name or _name_of(subject), owner, objective, default_recorder())
    return wrap_function(subject, site)


def _decorate_methods(subject: type, kind: SeriesKind, name: str | None, objective: Objective | None) -> type:
    methods = {
        attribute: value
        for attribute, value in vars(subject).items()
        if (attribute == "__call__" or not attribute.startswith("_"))
        and (inspect.isfunction(value) or isinstance(value, staticmethod | classmethod))
        and not hasattr(function_of(value), SITE_ATTRIBUTE)
    }
    if not methods:
        raise ConfigurationError(
            f"{subject.__name__} has no public method of its own to measure: decorate a method, or use track()"
        )
    if name is not None and len(methods) > 1:
        raise ConfigurationError(
            f"name={name!r} would stand for {', '.join(methods)} of {subject.__name__}: decorate them one by one"
        )
    for attribute, value in methods.items():
        setattr(subject, attribute, _decorate(value, kind, name, objective))
    return subject


def _decorate_agent(subject: Any, name: str | None, objective: Objective | None) -> Any:
    given = clean_label(name or _name_of(subject))
    if isinstance(subject, type):
        if objective is not None:
            raise ConfigurationError(f"objective of @agent on the class {subject.__name__}: give it to the class's tasks")
        return _decorate_agent_class(subject, given)
    inner = getattr(function_of(subject), SITE_ATTRIBUTE, None)
    if not isinstance(inner, Site):
        return _decorate(subject, SeriesKind.TASK, None, objective, owner=given)
    if inner.agent is not None:
        raise ConfigurationError(f"{_name_of(subject)} belongs to the agent {inner.agent!r} already: keep one @agent")
    if inner.kind is SeriesKind.WORKFLOW:
        raise ConfigurationError(f"{_name_of(subject)} is a workflow over several agents: take @agent away, or make it a @task")
    if objective is not None:
        raise ConfigurationError(f"objective of @agent on {_name_of(subject)}: give it to the @task below")
    inner.name_agent(given)
    return subject


def _decorate_agent_class(subject: type, name: str) -> type:
    if getattr(subject, "_is_protocol", False):  # whose members are what it holds, up to Python 3.11: a name would be one
        raise ConfigurationError(f"{subject.__name__} is a Protocol: put @agent on the classes that implement it")
    if AGENT_ATTRIBUTE in vars(subject):
        already = vars(subject)[AGENT_ATTRIBUTE]
        raise ConfigurationError(f"{subject.__name__} is the agent {already!r} already: keep one @agent")
    if not any(True for base in subject.__mro__ for _ in sites_of(base)):
        _decorate_methods(subject, SeriesKind.TASK, None, None)
    setattr(subject, AGENT_ATTRIBUTE, name)
    for base in subject.__mro__:
        for site, is_static in sites_of(base):
            if site.agent is not None or site.kind is SeriesKind.WORKFLOW:
                continue
            if not is_static:
                site.belong_to(name)
            elif base is subject:  # nothing tells through which subclass an inherited one is called
                site.name_agent(name)
    return subject


def _name_of(subject: Any) -> str:
    while isinstance(subject, functools.partial):
        subject = subject.func
    subject = function_of(subject)
    return str(getattr(subject, "__name__", None) or type(subject).__name__)
