"""What somebody else's span tells of a GenAI call, in the names of the conventions, old and new, and of others.

- OpenTelemetry GenAI: ``gen_ai.*``, with ``gen_ai.system`` and ``gen_ai.usage.prompt_tokens`` of former versions.
- MCP: ``mcp.method.name``; its client's spans say no more than that they call a tool.
- OpenInference: ``openinference.span.kind``, ``llm.*``.
- OpenLLMetry: ``traceloop.*``, ``llm.request.type``.

Tokens and costs are those of inference alone: spans of agents repeat the sums of the calls inside.

A span without any of those attributes is told by its name where that begins with ``invoke_agent``, ``execute_tool`` or
``invoke_workflow``, whichever library made it: some say what they do only when they end. A library that calls its own spans so
without meaning a GenAI call is believed, too.

Values are anybody's: one that cannot be (a count below zero, a cost without end, a number for a reason) is untold, and the call
is counted without it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import StatusCode

from agentgauge.catalogue import Outcome
from agentgauge.recording.lm_call import Answer
from agentgauge.recording.outcome import OTHER_ERROR, Failure
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import LmName, SeriesKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    Attributes = Mapping[str, Any]

__all__ = ["Shape", "answer_of", "attributes_of", "failure_of_span", "first_chunk_of", "lm_name_of", "prompt_of", "shape_of"]

RUN_TASK = "invoke_agent"
"""The task that an agent's run counts as: spans name the agent and no task of it."""

_LM_OPERATIONS = {
    "chat": "chat",
    "text_completion": "text_completion",
    "generate_content": "generate_content",
    "embeddings": "embeddings",
    "completion": "text_completion",
    "embedding": "embeddings",
}
_OPERATIONS = {
    "invoke_agent": SeriesKind.RUN,
    "execute_tool": SeriesKind.TOOL,
    "invoke_workflow": SeriesKind.WORKFLOW,
    **dict.fromkeys(_LM_OPERATIONS, SeriesKind.LM),
}
_NAMED = {"invoke_agent", "execute_tool", "invoke_workflow"}  # "chat", too, might be anybody's
_TRACELOOP_KINDS = {
    "workflow": SeriesKind.WORKFLOW,
    "agent": SeriesKind.RUN,
    "tool": SeriesKind.TOOL,
    "task": SeriesKind.TASK,
}
_OPENINFERENCE_KINDS = {
    "LLM": SeriesKind.LM,
    "EMBEDDING": SeriesKind.LM,
    "AGENT": SeriesKind.RUN,
    "TOOL": SeriesKind.TOOL,
}
_NO_TOOLS = {"(merged)", "(merged tools)"}  # Google ADK's span for the answers of tools that have spans of their own

_PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_MODEL = ("llm.model_name", "embedding.model_name")
_AGENT = ("gen_ai.agent.name", "agent.name")
_ARGUMENTS = ("gen_ai.tool.call.arguments", "tool_arguments")
_INPUT_TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT_TOKENS = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")
_CACHE_READ_TOKENS = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "llm.token_count.prompt_details.cache_read",
)
_CACHE_WRITE_TOKENS = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "llm.token_count.prompt_details.cache_write",
)
_REASONING_TOKENS = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
)
_COST = ("operation.cost", "gen_ai.usage.cost", "llm.cost.total")
_FIRST_CHUNK = ("gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk")
_FINISH_REASON = ("gen_ai.response.finish_reasons", "llm.response.finish_reason", "llm.finish_reason")

_MOST = 2**53  # tokens or dollars: no call uses as many, and past it a counter could not add one
_MOST_SECONDS = 86_400.0

_MESSAGES = ("gen_ai.input.messages", "gen_ai.prompt", "llm.input_messages.")
"""Where the messages are, or what their names begin with."""
_ASKED = (
    *_MESSAGES,
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.request.",
    "llm.request.",
    "llm.tools.",
    "llm.invocation_parameters",
)
_HIDDEN = "__REDACTED__"  # by OpenInference
_CONTENT = "content"  # what is left out of messages that are not to show it, in their names or in their JSON

_CANCELLED = ("asyncio.exceptions.CancelledError", "CancelledError", "KeyboardInterrupt", "SystemExit")


class Shape(NamedTuple):
    """What a span stands for.

    Attributes:
        kind: What kind of call.
        name: The task, tool or workflow; of an LM call, the operation.
        agent: The agent that the span names; empty where it names none.
        is_mcp: Whether it is a call of a tool over MCP, at either side.
        arguments: Of a tool call, as text, where the span bears them.
    """

    kind: SeriesKind
    name: str
    agent: str = ""
    is_mcp: bool = False
    arguments: Any = None

    @property
    def is_complete(self) -> bool:
        """Whether the call can be recorded as begun: a run of an agent whose name is to come cannot."""
        return self.kind is not SeriesKind.RUN or bool(self.agent)


def attributes_of(span: ReadableSpan) -> Attributes:
    """Return what to look attributes up in: the SDK's own table where there is one, which costs a tenth of its public face."""
    table: Attributes | None = getattr(getattr(span, "_attributes", None), "_dict", None)
    return (span.attributes or {}) if table is None else table


def shape_of(span: ReadableSpan) -> Shape | None:
    """Tell what a span stands for, by what is known of it now; None where it is nothing that is counted."""
    attributes = attributes_of(span)
    get = attributes.get
    operation = get("gen_ai.operation.name")
    kind = _OPERATIONS.get(operation) if type(operation) is str else None
    if kind is None:
        kind, operation = _foreign_kind(span, attributes)
        if kind is None:
            return None
    if kind is SeriesKind.LM:
        return Shape(kind, _LM_OPERATIONS.get(operation or "", "chat"), _text(attributes, _AGENT))
    agent = _text(attributes, _AGENT)
    if kind is SeriesKind.TOOL:
        name = _text(attributes, ("gen_ai.tool.name", "tool.name", "traceloop.entity.name")) or _subject(span.name)
        if name in _NO_TOOLS:
            return None
        return Shape(kind, name, agent, "mcp.method.name" in attributes, _text(attributes, _ARGUMENTS) or None)
    if kind is SeriesKind.RUN:
        agent = agent or _text(attributes, ("traceloop.entity.name", "graph.node.id")) or _subject(span.name, operation)
        return Shape(kind, RUN_TASK, agent)
    names = ("gen_ai.workflow.name", "traceloop.entity.name")
    return Shape(kind, _text(attributes, names) or _subject(span.name), agent)


def _foreign_kind(span: ReadableSpan, attributes: Attributes) -> tuple[SeriesKind | None, str | None]:
    """Tell the kind of a span without an operation that is counted, and what the operation is then."""
    get = attributes.get
    if get("mcp.method.name") == "tools/call":
        return SeriesKind.TOOL, None
    if (told := get("traceloop.span.kind")) is not None:
        return _TRACELOOP_KINDS.get(told), None
    if (told := get("openinference.span.kind")) is not None:
        kind = _OPENINFERENCE_KINDS.get(told)
        return kind, None if kind is not SeriesKind.LM else "embeddings" if told == "EMBEDDING" else "chat"
    if (told := get("llm.request.type")) is not None:
        return (SeriesKind.LM, told) if told in _LM_OPERATIONS else (None, None)
    told = span.name.partition(" ")[0]  # some set their attributes when they have begun, Google ADK's tools at the end
    return (_OPERATIONS[told], told) if told in _NAMED else (None, None)


def _subject(name: str, operation: str | None = None) -> str:
    """Return what a span's name says beside the operation."""
    for prefix in (operation, "execute_tool", "invoke_workflow", "MCP send tools/call", "tools/call"):
        if prefix is not None and name.startswith(prefix):
            return name[len(prefix) :].strip()
    return "" if operation is not None else name


def lm_name_of(shape: Shape, attributes: Attributes) -> LmName:
    """Return how the LM call is called."""
    model = _text(attributes, ("gen_ai.request.model", "llm.request.model")) or _asked_model(attributes)
    return LmName(shape.name, _text(attributes, _PROVIDER), model or _text(attributes, _MODEL))


def _asked_model(attributes: Attributes) -> str:
    """Return the model that OpenInference was asked for: by the end, its ``llm.model_name`` is the one that answered."""
    parameters = attributes.get("llm.invocation_parameters")
    if not isinstance(parameters, str):
        return ""
    try:
        model = json.loads(parameters).get("model")
    except (ValueError, AttributeError, RecursionError):  # cut short, of another form, or nested past all measure
        return ""
    return model if isinstance(model, str) else ""


def answer_of(attributes: Attributes) -> Answer:
    """Return what is told of a model's answer."""
    cost = _first(attributes, _COST)
    return Answer(
        input_tokens=_count(attributes, _INPUT_TOKENS),
        output_tokens=_count(attributes, _OUTPUT_TOKENS),
        cache_read_tokens=_count(attributes, _CACHE_READ_TOKENS),
        cache_write_tokens=_count(attributes, _CACHE_WRITE_TOKENS),
        reasoning_tokens=_count(attributes, _REASONING_TOKENS),
        response_model=_text(attributes, ("gen_ai.response.model", *(_MODEL if _asked_model(attributes) else ()))) or None,
        finish_reasons=_reasons(_first(attributes, _FINISH_REASON)),
        cost_usd=float(cost) if type(cost) in (int, float) and 0 <= cost <= _MOST else None,
    )


def prompt_of(span: ReadableSpan) -> Any:
    """Return what a model was asked, where the span bears all of it: messages that are hidden or cut short are alike."""
    attributes = attributes_of(span)
    asked = {name: value for name, value in attributes.items() if name.startswith(_ASKED)}
    longest = getattr(getattr(span, "_attributes", None), "max_value_len", None)
    is_shown = False
    for name, value in asked.items():
        if value == _HIDDEN or (longest and isinstance(value, str) and len(value) >= longest):
            return None
        if name.startswith(_MESSAGES):
            is_shown = is_shown or _CONTENT in name or (isinstance(value, str) and _CONTENT in value)
    return sorted(asked.items()) if is_shown and not span.dropped_attributes else None


def first_chunk_of(attributes: Attributes) -> float | None:
    """Return after how many seconds the first chunk of a stream came."""
    seconds = _first(attributes, _FIRST_CHUNK)
    return seconds if type(seconds) in (int, float) and 0 <= seconds <= _MOST_SECONDS else None


def failure_of_span(span: ReadableSpan) -> Failure | None:
    """Return how the call of an ended span failed; None where it did not.

    An exception that a span recorded and whose status is no error was handled inside.
    """
    told = _text(attributes_of(span), ("error.type",))
    if not told:
        if span.status.status_code is not StatusCode.ERROR:
            return None
        for event in span.events:
            if event.name == "exception" and event.attributes:
                told = _text(event.attributes, ("exception.type",)) or told
    kind = told.rpartition(".")[2]
    if told in _CANCELLED:
        outcome = Outcome.CANCELLED
    elif told == "GeneratorExit":
        outcome = Outcome.ABANDONED
    else:
        outcome = Outcome.TIMEOUT if kind == "TimeoutError" else Outcome.ERROR
    return Failure(outcome, clean_label(told) if told else OTHER_ERROR)


def _first(attributes: Attributes, names: tuple[str, ...]) -> Any:
    for name in names:
        if name in attributes:
            return attributes[name]
    return None


def _text(attributes: Attributes, names: tuple[str, ...]) -> str:
    value = _first(attributes, names)
    return value if type(value) is str else ""


def _count(attributes: Attributes, names: tuple[str, ...]) -> int | None:
    value = _first(attributes, names)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MOST else None  # True is no count


def _reasons(told: Any) -> tuple[str, ...]:
    reasons = (told,) if isinstance(told, str) else told
    return tuple(each for each in reasons if isinstance(each, str)) if isinstance(reasons, tuple | list) else ()
