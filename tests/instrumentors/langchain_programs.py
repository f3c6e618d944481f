"""Programs of LangChain and LangGraph with models that answer from a list, and count what they served."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from agentgauge.errors import contained_errors
from agentgauge.instrumentors import langchain
from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.kit import Kit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.tools import BaseTool

    from agentgauge.testing import Isolation

INPUT_TOKENS, OUTPUT_TOKENS = 10, 5
LM = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "fake", "gen_ai_request_model": "fake-1"}
ANSWERED = {**LM, "gen_ai_response_model": "fake-1-mini"}
HELLO: Any = {"messages": [("user", "hello")]}


_serving = threading.Lock()  # batches call models from threads


class ListModel(FakeMessagesListChatModel):
    """Answers from its list; an exception in it is raised."""

    model: str = "fake-1"
    served: int = 0

    def _serve(self) -> None:
        with _serving:
            self.served += 1

    def bind_tools(self, *_: Any, **__: Any) -> ListModel:
        return self

    def _get_ls_params(self, *_: Any, **__: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": self.model, "ls_model_type": "chat"}

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self._serve()
        return super()._generate(*args, **kwargs)


class BrokenModel(ListModel):
    """Fails at every call."""

    def _generate(self, *_: Any, **__: Any) -> Any:
        self._serve()
        raise ConnectionError("no route")


class StreamingModel(GenericFakeChatModel):
    """Streams word by word."""

    clock: Any = None

    def _get_ls_params(self, *_: Any, **__: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": "fake-1", "ls_model_type": "chat"}

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        for chunk in super()._stream(*args, **kwargs):
            self.clock.advance(2)
            yield chunk


def answer(text: str = "done", **tool_calls: Any) -> AIMessage:
    """Make an answer that asks for tools by name."""
    calls = [{"name": name, "args": arguments, "id": f"call-{name}"} for name, arguments in tool_calls.items()]
    return AIMessage(
        text,
        tool_calls=calls,
        usage_metadata={
            "input_tokens": INPUT_TOKENS,
            "output_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            "input_token_details": {"cache_read": 4, "cache_creation": 3},
            "output_token_details": {"reasoning": 2},
        },
        response_metadata={"model_name": "fake-1-mini", "finish_reason": "tool_calls" if calls else "stop", "id": "answer-1"},
    )


def model(*answers: AIMessage) -> ListModel:
    """Make a model with its own copies: LangChain writes into messages."""
    return ListModel(responses=[each.model_copy(deep=True) for each in answers or (answer(),)])


@tool
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@tool
def divide(first: int, second: int) -> float:
    """Divide two numbers."""
    return first / second


def agent(*answers: AIMessage, tools: tuple[BaseTool, ...] = (add,), name: str = "adder") -> tuple[Any, ListModel]:
    """Make an agent that answers so, and its model."""
    lm = model(*answers)
    return create_agent(lm, list(tools), name=name), lm


class State(TypedDict):
    """What a graph hands on."""

    seen: str


def graph(*nodes: tuple[str, Any], name: str = "flow") -> Any:
    """Make a graph of nodes in a row."""
    built: Any = StateGraph(State)
    for before, (node, function) in zip((START, *(node for node, _ in nodes)), nodes, strict=False):
        built.add_node(node, function)
        built.add_edge(before, node)
    built.add_edge(nodes[-1][0], END)
    return built.compile(name=name)


@contextmanager
def instrumented(fresh: Isolation, content: Content | None = None) -> Iterator[None]:
    """Instrument LangChain alone, and see that no fault of ours was contained: LangChain swallows what a handler raises."""
    with ExitStack() as undo:
        langchain.instrument(Kit("langchain", fresh.recorder, content or Content(), undo))
        yield
        assert contained_errors.count_by_hook == {}
        ended = fresh.value("agentgauge_events_exported_total")
        assert ended == fresh.value("agentgauge_events_recorded_total"), "a call is left open"


def lm_calls(fresh: Isolation, **labels: str) -> float | None:
    """Return how many LM calls ended so."""
    return fresh.value("gen_ai_client_operation_duration_seconds_count", **(labels or ANSWERED))


def tasks(fresh: Isolation, task: str, agent: str = "", outcome: str = "success") -> float | None:
    """Return how many tasks ended so."""
    labels = {"agent_task": task, "outcome": outcome} | ({"gen_ai_agent_name": agent} if agent else {})
    return fresh.value("agent_task_duration_seconds_count", **labels)


def runs(fresh: Isolation, agent: str, **labels: str) -> float | None:
    """Return how many runs of an agent ended so."""
    return fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name=agent, **labels)


def tools(fresh: Isolation, name: str, agent: str = "", **labels: str) -> float | None:
    """Return how many tool calls ended so."""
    labels |= {"gen_ai_tool_name": name} | ({"gen_ai_agent_name": agent} if agent else {})
    return fresh.value("gen_ai_execute_tool_duration_seconds_count", **labels)


def tokens(fresh: Isolation, token_type: str, agent: str = "") -> float | None:
    """Return the tokens of an agent's own calls."""
    labels = {"gen_ai_request_model": "fake-1", "gen_ai_token_type": token_type} | ({"gen_ai_agent_name": agent} if agent else {})
    return fresh.value("agent_tokens_total", **labels)


def workflows(fresh: Isolation, name: str, **labels: str) -> float | None:
    """Return how many workflows ended so."""
    return fresh.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name=name, **labels)


def handoffs(fresh: Isolation, source: str, target: str) -> float | None:
    """Return how often one agent gave work to another."""
    return fresh.value("agent_handoffs_total", source=source, target=target, outcome="success")
