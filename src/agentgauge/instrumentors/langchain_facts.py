"""What LangChain tells of a run: what it is, whose it is, and what a model's answer used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from agentgauge.errors import is_fault_of_ours
from agentgauge.instrumentors.inside import site_of
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.series import LmName, SeriesKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

__all__ = [
    "Place",
    "answer_of",
    "chain_place",
    "finish_reason_of",
    "handoff_targets",
    "is_control_flow",
    "is_decorated",
    "lm_name",
    "whose_call",
]

_UNNAMED_GRAPH = "LangGraph"
_HIDDEN = "langsmith:hidden"
_NODE_TAG = "graph:step:"
_AGENT_NODES = frozenset(("agent", "model"))
"""The nodes in which the graphs of ``create_react_agent`` and ``create_agent`` call their model."""

_MOST_FRAMES = 16


class Place(NamedTuple):
    """What a chain run is: the kind and name of its operation, the agent of a run, and whether a decorator counts it."""

    kind: SeriesKind
    name: str
    agent: str | None = None
    is_decorated: bool = False


def whose_call() -> Any:
    """Return the object whose method reports this event: a graph, a node, a runnable or a tool; None where that is unclear.

    No callback is told which object runs, and names alone do not tell a graph from a function. So this looks up the stack, past
    LangChain's callback managers, for the ``self`` of the method that called them.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return None
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("langchain_core.callbacks", "agentgauge.")):
            return frame.f_locals.get("self")
        frame = frame.f_back
    return None


def is_decorated(runner: Any) -> bool:
    """Tell whether a node or tool runs a function that the user decorated: then the decorator counts the call."""
    try:
        steps = getattr(runner, "steps", None)
        subject = steps[0] if steps else runner
        functions = (getattr(subject, name, None) for name in ("func", "afunc", "coroutine"))
        return any(site_of(function) is not None for function in functions)
    except Exception as fault:
        if not is_fault_of_ours(fault):
            raise
        return False  # a property of the program's own raised


def chain_place(
    name: str, tags: Sequence[str], metadata: Mapping[str, Any], run_type: str | None, runner: Any, *, is_outermost: bool
) -> Place | None:
    """Tell what a chain run is; None where it is a part that nobody named.

    - A graph that ``create_agent`` made under a name is the run of that agent; so is one with a name and a node called ``agent``
      or ``model``, as older versions of it and ``create_react_agent`` make them.
    - Any other graph is a workflow where it is outermost.
    - A graph's node is a task, unless the user decorated its function.
    - An outermost chain is a workflow where it bears a name of its own: a ``run_name``, or that of a function or class of the
      user's, and is not just a prompt or a parser.
    """
    if _is_graph(runner, metadata, is_outermost=is_outermost):
        agent = _agent_of(runner, metadata, name)
        if agent:
            return Place(SeriesKind.RUN, "invoke", agent)
        own_name = getattr(runner, "name", None)
        return Place(SeriesKind.WORKFLOW, name if own_name in (None, _UNNAMED_GRAPH) else own_name) if is_outermost else None
    if _HIDDEN in tags:
        return None
    if any(tag.startswith(_NODE_TAG) for tag in tags):
        return Place(SeriesKind.TASK, metadata.get("langgraph_node", name), is_decorated=is_decorated(runner))
    if is_outermost and run_type is None and name and not name.startswith(("Runnable", "<")):
        return Place(SeriesKind.WORKFLOW, name, is_decorated=is_decorated(runner))
    return None


def _is_graph(runner: Any, metadata: Mapping[str, Any], *, is_outermost: bool) -> bool:
    pregel = sys.modules.get("langgraph.pregel")
    if pregel is not None and isinstance(runner, pregel.Pregel):
        return True
    return runner is None and is_outermost and "ls_integration" in metadata


def _agent_of(graph: Any, metadata: Mapping[str, Any], name: str) -> str | None:
    if graph is None:
        return metadata.get("lc_agent_name")
    bound = (getattr(graph, "config", None) or {}).get("metadata") or {}
    if bound.get("lc_agent_name"):
        return str(bound["lc_agent_name"])
    own_name = getattr(graph, "name", None) or name
    return own_name if own_name != _UNNAMED_GRAPH and not _AGENT_NODES.isdisjoint(getattr(graph, "nodes", ())) else None


# --- control flow -----------------------------------------------------------------------------------------------------------


def is_control_flow(error: BaseException) -> bool:
    """Tell LangGraph's ways to pause a graph and to go elsewhere from failures."""
    errors = sys.modules.get("langgraph.errors")
    return errors is not None and isinstance(error, errors.GraphBubbleUp)


def handoff_targets(told: Any) -> Iterator[str]:
    """Yield the nodes that a node's answer, or the ``ParentCommand`` that left it, goes to by ``Command(goto=...)``."""
    types = sys.modules.get("langgraph.types")
    if types is None:
        return
    if isinstance(told, BaseException):
        told = told.args[0] if told.args else None
    for command in told if isinstance(told, list | tuple) else (told,):
        if isinstance(command, types.Command):
            goto = command.goto
            for target in goto if isinstance(goto, list | tuple) else (goto,):
                node = target.node if isinstance(target, types.Send) else target
                if isinstance(node, str) and node and node != "__end__":
                    yield node


# --- models -----------------------------------------------------------------------------------------------------------------


def lm_name(operation: str, metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> LmName:
    """Name the call of a model by what LangChain tells of it."""
    provider = str(metadata.get("ls_provider") or "")
    model = metadata.get("ls_model_name") or parameters.get("model") or parameters.get("model_name") or ""
    return LmName(operation, provider, str(model))


def answer_of(result: Any, *, is_cache_hit: bool = False) -> Answer:
    """Read what a model's ``LLMResult`` tells. The tokens of several choices are told with each: they are counted once."""
    choices = [choice for choices in result.generations for choice in choices]
    first = getattr(choices[0], "message", None) if choices else None
    about = getattr(first, "response_metadata", None) or {}
    usage = getattr(first, "usage_metadata", None) or {}
    overall = result.llm_output or {}
    told = overall.get("token_usage") or overall.get("usage") or {}
    told = told if isinstance(told, dict) else {}
    inputs, outputs = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    model = about.get("model_name") or about.get("model") or overall.get("model_name")
    identity = about.get("id")
    return Answer(
        input_tokens=usage.get("input_tokens", told.get("prompt_tokens")),
        output_tokens=usage.get("output_tokens", told.get("completion_tokens")),
        cache_read_tokens=inputs.get("cache_read"),
        cache_write_tokens=inputs.get("cache_creation"),
        reasoning_tokens=outputs.get("reasoning"),
        response_model=str(model) if model else None,
        response_id=identity if isinstance(identity, str) else None,
        finish_reasons=tuple(filter(None, map(finish_reason_of, choices))),
        is_cache_hit=is_cache_hit,
    )


def finish_reason_of(choice: Any) -> str | None:
    """Return why a choice of a model ended, where its provider tells."""
    about = {**(choice.generation_info or {}), **(getattr(getattr(choice, "message", None), "response_metadata", None) or {})}
    reason = about.get("finish_reason") or about.get("stop_reason") or about.get("done_reason")
    return reason if isinstance(reason, str) else None
