"""DSPy's tools, errors that an agent swallows included, and the code that its agents write and run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import dspy

from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.dspy_frames import measure, patch_inside, posing
from agentgauge.instrumentors.inside import site_of
from agentgauge.instrumentors.wrapping import around
from agentgauge.recording.series import TOOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.recording.operation import Operation

__all__ = ["INTERPRETER", "instrument"]

INTERPRETER = "code_interpreter"

_PSEUDO_TOOLS = {"finish": "dspy.predict.react", "submit": "dspy.predict.react_v2"}
"""How an agent says that it is done, by the module that made the function; a user's tool of that name comes from elsewhere."""


def instrument(kit: Kit) -> None:
    """Measure the calls of tools, and every piece of code that ProgramOfThought, CodeAct and RLM have run."""

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation | None:
        return _begin(kit, args[0], kwargs)

    def finish(operation: Operation, result: Any) -> None:
        if kit.content.is_captured and operation.is_recording:
            kept = kit.content.attribute("gen_ai.tool.call.result", result)
            operation.set_attributes({"gen_ai.tool.call.result": kept})

    measure(kit, dspy.Tool, "__call__", begin, finish)
    measure(kit, dspy.Tool, "acall", begin, finish)
    for runner in ("program_of_thought:ProgramOfThought", "rlm:RLM"):
        patch_inside(kit, f"dspy.predict.{runner}._execute_code", functools.partial(_watching, kit))


def _begin(kit: Kit, tool: Any, kwargs: dict[str, Any]) -> Operation | None:
    name = str(tool.name)
    if name in _PSEUDO_TOOLS and getattr(tool.func, "__module__", None) == _PSEUDO_TOOLS[name]:
        return None
    site = site_of(tool.func)
    if site is not None and site.kind is TOOL:
        kit.leave_to_decorator(TOOL)
        return None
    operation = kit.begin(TOOL, name, arguments=kwargs)
    if operation.is_recording:
        kept = kit.content.attribute("gen_ai.tool.call.arguments", kwargs) if kit.content.is_captured else None
        operation.set_attributes(
            {
                "gen_ai.tool.type": "function",
                "gen_ai.tool.description": tool.desc if isinstance(tool.desc, str) else None,
                "gen_ai.tool.call.arguments": kept,
            }
        )
    return operation


def _watching(kit: Kit, execute_code: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``_execute_code``, which swallows what the code raises, an interpreter that is measured.

    Interpreters are of any class, and DSPy itself has them run code too, to set them up: what the agent wrote passes here alone.
    """

    @functools.wraps(execute_code)
    def watching(*args: Any, **kwargs: Any) -> Any:
        with contain_internal_errors(kit.name):
            args = tuple(_Watched(kit, each) if _is_interpreter(each) else each for each in args)
            kwargs = {name: _Watched(kit, each) if _is_interpreter(each) else each for name, each in kwargs.items()}
        return execute_code(*args, **kwargs)

    return posing(watching, execute_code)


def _is_interpreter(thing: Any) -> bool:
    return (
        not isinstance(thing, _Watched)
        and callable(getattr(thing, "execute", None))
        and callable(getattr(thing, "shutdown", None))
    )


class _Watched:
    """An interpreter for the time of one call."""

    def __init__(self, kit: Kit, interpreter: Any) -> None:
        self._interpreter = interpreter

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
            code = args[0] if args else kwargs.get("code")
            operation = kit.begin(TOOL, INTERPRETER, arguments=code if isinstance(code, str) else None)
            if operation.is_recording:
                kept = kit.content.attribute("gen_ai.tool.call.arguments", code)
                operation.set_attributes({"gen_ai.tool.type": "extension", "gen_ai.tool.call.arguments": kept})
            return operation

        self.execute = posing(around(_plain(interpreter.execute), begin, hook=kit.name), interpreter.execute)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interpreter, name)


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls a method, whatever kind of callable that is."""

    def execute(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return execute
