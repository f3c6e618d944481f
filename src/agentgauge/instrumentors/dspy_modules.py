"""DSPy's modules: what a program is made of.

The outermost module of the user's own is the workflow, those inside are agents, DSPy's ready-made agents are agents too where
none is at work, and everything else that DSPy brings is a task.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy

from agentgauge.instrumentors.dspy_frames import current_frame, is_of_dspy, measure, posing
from agentgauge.instrumentors.inside import site_of
from agentgauge.instrumentors.steps import Steps
from agentgauge.instrumentors.wrapping import around
from agentgauge.recording.series import RUN, TASK, WORKFLOW
from agentgauge.recording.site import AGENT_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.instrumentors.wrapping import Begin
    from agentgauge.recording.operation import Operation

__all__ = ["instrument"]

_AGENTS = frozenset(("Avatar", "CodeAct", "RLM", "ReAct", "ReActV2"))
_TASK = "forward"
_SYNC_WRAPPER = "syncify.<locals>.SyncWrapper"


@dataclass(frozen=True, slots=True)
class _Role:
    """What the calls of a class of modules are.

    Attributes:
        name: The workflow or task; the agent, where it is one.
        is_custom: Whether it is the user's own.
        is_agent: Whether it is one by DSPy's word, or by that of the user (``@agent``).
        is_decorated: Whether a decorator of agentgauge counts its calls.
        is_decorated_async: The same of its asynchronous calls.
    """

    name: str
    is_custom: bool
    is_agent: bool
    is_decorated: bool
    is_decorated_async: bool


@functools.lru_cache(maxsize=1024)
def _role_of(owner: type) -> _Role:
    if is_of_dspy(owner):
        return _Role(
            owner.__name__, is_custom=False, is_agent=owner.__name__ in _AGENTS, is_decorated=False, is_decorated_async=False
        )
    declared = next((vars(base)[AGENT_ATTRIBUTE] for base in owner.__mro__ if AGENT_ATTRIBUTE in vars(base)), None)
    return _Role(
        declared or owner.__name__,
        is_custom=True,
        is_agent=declared is not None,
        is_decorated=_is_decorated(owner, "__call__", "forward"),
        is_decorated_async=_is_decorated(owner, "acall", "aforward"),
    )


def _is_decorated(owner: type, *names: str) -> bool:
    holders = ((next((base for base in owner.__mro__ if name in vars(base)), None), name) for name in names)
    return any(site_of(vars(holder)[name]) is not None for holder, name in holders if holder is not None)


def instrument(kit: Kit) -> None:
    """Measure the calls of every module, those that override ``__call__`` and call the overridden one included."""

    def begin(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Operation | None:
        role = _role(args[0])
        return _begin(kit, role, is_left=role.is_decorated)

    def begin_async(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Operation | None:
        role = _role(args[0])
        return _begin(kit, role, is_left=role.is_decorated_async)

    steps = Steps(kit)
    for name, begin_measured in (("__call__", begin), ("acall", begin_async)):
        kit.patch(dspy.Module, name, functools.partial(_step_or_operation, kit, steps, begin_measured))
    for owner, name in ((dspy.Parallel, "forward"), (dspy.KNN, "__call__")):  # no modules, but called like some
        measure(kit, owner, name, begin)


def _step_or_operation(kit: Kit, steps: Steps, begin: Begin, function: Callable[..., Any]) -> Callable[..., Any]:
    measured = posing(around(function, begin, hook=kit.name), function)
    return posing(steps.before(measured, function, _step_name), function)


def _step_name(instance: Any) -> str | None:
    """Return what a call of DSPy's own predictors and the like is called; None for agents, and for the program's own modules."""
    role = _role(instance)
    return None if role.is_custom or role.is_agent else role.name


def _role(instance: Any) -> _Role:
    owner: type = type(instance)
    if owner.__qualname__ == _SYNC_WRAPPER and is_of_dspy(
        owner
    ):  # it calls nothing that is measured of the program that it stands for
        owner = type(instance.program)
    return _role_of(owner)


def _begin(kit: Kit, role: _Role, *, is_left: bool) -> Operation | None:
    if not role.is_custom and not role.is_agent:
        return kit.begin(TASK, role.name)
    frame = current_frame()
    has_run = frame is not None and frame.run is not None
    if not role.is_custom:
        return kit.begin(TASK, role.name) if has_run else kit.begin(RUN, _TASK, agent=role.name)
    is_outermost = not has_run and (frame is None or frame.workflow is None)
    kind = WORKFLOW if is_outermost and not role.is_agent else RUN
    if is_left:
        kit.leave_to_decorator(kind)
        return None
    if kind is WORKFLOW:
        return kit.begin(kind, role.name)
    return kit.begin(kind, _TASK, agent=role.name)
