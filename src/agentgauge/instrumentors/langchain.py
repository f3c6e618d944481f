"""LangChain and LangGraph, through their callbacks: every run is told to a handler of ours, whatever callbacks the user gives.

What counts as what is in ``langchain_facts``. Callbacks change no context, so two more places are wrapped. Where LangChain makes
the context in which a node, a tool or a chain's part runs, it is given the agent and the span, so that what the user decorated
finds them. And a chat model's provider is called inside the model's LM call (``langchain_models``), so that a layer below does
not count it again; a text-completion model's is not.

Not seen: handoffs by edges of a graph, which say nothing of who decided, and answers of LangChain's own cache to text-completion
models, which it does not report.
"""

from __future__ import annotations

import functools
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler

from agentgauge.catalogue import HANDOFFS, Outcome
from agentgauge.errors import contain_internal_errors
from agentgauge.instrumentors.inside import Inside, placed
from agentgauge.instrumentors.langchain_facts import (
    answer_of,
    chain_place,
    handoff_targets,
    is_control_flow,
    is_decorated,
    lm_name,
    whose_call,
)
from agentgauge.instrumentors.langchain_messages import asked, input_messages, output_messages
from agentgauge.instrumentors.langchain_models import Models
from agentgauge.instrumentors.langchain_runs import Runs
from agentgauge.instrumentors.messages import note_content
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.outcome import Failure
from agentgauge.recording.points import clean_label
from agentgauge.recording.series import SeriesKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from agentgauge.instrumentors.kit import Kit
    from agentgauge.instrumentors.langchain_runs import Run

__all__ = ["instrument"]

_CHAT_MODELS = "langchain_core.language_models.chat_models"
_CONTEXT_PLACES = (
    ("langchain_core.runnables.config", "_set_config_context"),
    ("langgraph._internal._runnable", "_set_config_context"),
)
_WATCHED = (  # where LangChain does not tell that a call was cancelled, or where a signal handler may cut a call short
    ("langchain_core.tools.base", "BaseTool", "run", "arun"),
    ("langchain_core.retrievers", "BaseRetriever", "invoke", "ainvoke"),
    ("langchain_core.language_models.llms", "BaseLLM", "generate", "agenerate"),
    (_CHAT_MODELS, "BaseChatModel", "generate", "agenerate"),
)

_FAILED_TOOL = Failure(Outcome.ERROR, "ToolMessage.status")


def instrument(kit: Kit) -> None:
    """Give LangChain a handler that every run gets, until ``kit.undo``."""
    from langchain_core.tracers import context  # noqa: PLC0415 - it imports half of langchain_core, which may be just loading

    handler = _Handler(kit)
    variable: ContextVar[Any] = ContextVar("agentgauge_langchain", default=handler)
    context.register_configure_hook(variable, inheritable=True)

    def take_back() -> None:
        handler.is_active = False
        hooks = context._configure_hooks  # noqa: SLF001 - there is no other way to take a hook back
        hooks[:] = [hook for hook in hooks if hook[0] is not variable]

    kit.undo.callback(take_back)
    handler.bind()


def _contained(method: Callable[..., None]) -> Callable[..., None]:
    """Keep faults of ours from LangChain, which would raise them; what a signal handler of the host raised passes."""

    @functools.wraps(method)
    def contained(self: _Handler, *args: Any, **kwargs: Any) -> None:
        try:
            with contain_internal_errors("langchain"):
                method(self, *args, **kwargs)
        except BaseException:  # of a signal handler: LangChain may tell no end of this run
            self.runs.abandon(kwargs.get("run_id"))
            raise

    return contained


class _Handler(BaseCallbackHandler):  # type: ignore[misc]  # mypy does not look into LangChain
    """Turns runs into operations, by their ids."""

    run_inline = True  # in the caller's own context and in order, also where the caller is a coroutine
    raise_error = True  # else LangChain swallows the deadline that a signal handler raises in here; ours are contained
    ignore_custom_event = True

    def __init__(self, kit: Kit) -> None:
        self.is_active = True
        self._kit = kit
        self.runs = Runs()
        self._models = Models(kit, self.runs)
        self._bound: set[str] = set()

    def __deepcopy__(self, _memo: object) -> _Handler:
        """Stay the same where a program copies a configuration that holds it."""
        return self

    # --- chains, graphs and nodes -------------------------------------------------------------------------------------------

    @_contained
    def on_chain_start(
        self,
        _serialized: Any,
        _inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **told: Any,
    ) -> None:
        """Begin what the run is."""
        is_outermost = parent_run_id not in self.runs
        name = str(told.get("name") or "")
        place = None
        with contain_internal_errors("langchain_place"):  # whatever it is, what runs inside must find it
            runner = whose_call()
            place = chain_place(name, tags or (), metadata or {}, told.get("run_type"), runner, is_outermost=is_outermost)
        if place is None or place.is_decorated:
            if place is not None:
                self._kit.leave_to_decorator(place.kind)
            self._open(run_id, parent_run_id)
            return
        run = self._open(run_id, parent_run_id, place.kind, place.name, agent=place.agent)
        if run is None:
            return
        run.is_node = place.kind is SeriesKind.TASK
        if place.agent:
            run.agent = place.agent
            node = run.parent
            while node is not None and not node.is_node:
                node = node.parent
            if node is not None:
                node.agent = place.agent

    @_contained
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """End it; a node in which an agent ran, and that goes elsewhere by a command, handed over."""
        run = self.runs.get(run_id)
        if run is not None and run.is_node and run.agent:
            self._hand_over(run.agent, outputs)
        self.runs.close(run_id)

    @_contained
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End it; an agent that left by a command for the graph around it handed over."""
        run = self.runs.get(run_id)
        if run is not None and run.agent and not run.is_node and is_control_flow(error):
            self._hand_over(run.agent, error)
        self.runs.close(run_id, error)

    def _hand_over(self, source: str, told: Any) -> None:
        for target in handoff_targets(told):
            labels = (("source", clean_label(source)), ("target", clean_label(target)), ("outcome", Outcome.SUCCESS.value))
            self._kit.recorder.observe(HANDOFFS, labels, 1)

    # --- models -------------------------------------------------------------------------------------------------------------

    @_contained
    def on_chat_model_start(self, _serialized: Any, messages: Any, **told: Any) -> None:
        """Begin the call of a chat model."""
        run = self._open_lm("chat", messages, **told)
        if run is not None:
            self._models.begin(told["run_id"], run, whose_call())

    @_contained
    def on_llm_start(self, _serialized: Any, prompts: Any, **told: Any) -> None:
        """Begin the call of a text-completion model."""
        self._open_lm("text_completion", prompts, **told)

    def _open_lm(
        self,
        operation: str,
        content: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **told: Any,
    ) -> Run | None:
        name = lm_name(operation, metadata or {}, told.get("invocation_params") or {})
        run = self._open(run_id, parent_run_id, SeriesKind.LM, name)
        if run is not None and isinstance(run.operation, LmCall):
            with contain_internal_errors("langchain_prompt"):  # messages are anybody's
                run.operation.note_prompt(asked(content, told.get("invocation_params")))
        self._note_content(run, "gen_ai.input.messages", lambda: input_messages(content))
        return run

    @_contained
    def on_llm_new_token(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """Note the first token of a stream."""
        self._note_first_chunk(run_id)

    @_contained
    def on_stream_event(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """Note the first event of a stream, of the newer protocol."""
        self._note_first_chunk(run_id)

    def _note_first_chunk(self, run_id: UUID) -> None:
        run = self.runs.get(run_id)
        if run is not None and isinstance(run.operation, LmCall):
            run.operation.note_first_chunk()

    @_contained
    def on_retry(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """Count another attempt of a model's call."""
        run = self.runs.get(run_id)
        if run is not None and isinstance(run.operation, LmCall):
            run.operation.note_retry()

    @_contained
    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """End the call with what the model answered."""
        self._note_answer(run_id, response)
        self.runs.close(run_id)

    @_contained
    def on_llm_error(self, error: BaseException, *, run_id: UUID, response: Any = None, **_: Any) -> None:
        """End the call; what a stream that broke off had used is counted."""
        if response is not None:
            self._note_answer(run_id, response)
        self.runs.close(run_id, error)

    def _note_answer(self, run_id: UUID, response: Any) -> None:
        run = self.runs.get(run_id)
        if run is None or not isinstance(run.operation, LmCall):
            return
        with contain_internal_errors("langchain_answer"):  # providers put anything there: the call must end all the same
            run.operation.note_answer(answer_of(response, is_cache_hit=run.is_cache_hit))
        self._note_content(run, "gen_ai.output.messages", lambda: output_messages(response) or None)

    # --- tools and retrievers -----------------------------------------------------------------------------------------------

    @_contained
    def on_tool_start(
        self,
        serialized: Mapping[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: Mapping[str, Any] | None = None,
        **told: Any,
    ) -> None:
        """Begin the call of a tool, unless the user decorated its function."""
        if is_decorated(whose_call()):
            self._kit.leave_to_decorator(SeriesKind.TOOL)
            self._open(run_id, parent_run_id)
            return
        serialized = serialized or {}
        arguments = input_str if inputs is None else inputs
        attributes = {
            "gen_ai.tool.call.id": told.get("tool_call_id"),
            "gen_ai.tool.description": serialized.get("description"),
        }
        name = str(serialized.get("name") or told.get("name") or "tool")
        run = self._open(run_id, parent_run_id, SeriesKind.TOOL, name, arguments=arguments, attributes=attributes)
        self._note_content(run, "gen_ai.tool.call.arguments", lambda: arguments)

    @_contained
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """End it; one that handled its own exception says so in its message."""
        self._note_content(self.runs.get(run_id), "gen_ai.tool.call.result", lambda: getattr(output, "content", output))
        self.runs.close(run_id, failure=_FAILED_TOOL if getattr(output, "status", None) == "error" else None)

    @_contained
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End it with its exception."""
        self.runs.close(run_id, error)

    @_contained
    def on_retriever_start(
        self, _serialized: Any, _query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **_: Any
    ) -> None:
        """Begin a retrieval."""
        self._open(run_id, parent_run_id, SeriesKind.TASK, "retrieve")

    @_contained
    def on_retriever_end(self, _documents: Any, *, run_id: UUID, **_: Any) -> None:
        """End it."""
        self.runs.close(run_id)

    @_contained
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End it with its exception."""
        self.runs.close(run_id, error)

    # --- runs ---------------------------------------------------------------------------------------------------------------

    def _open(
        self, run_id: UUID, parent_run_id: UUID | None, kind: SeriesKind | None = None, name: Any = "", **options: Any
    ) -> Run | None:
        """Keep a run until it ends; of a kind, it is an operation."""
        if not self.is_active:  # a configuration that was made before may hold the handler for as long as it lives
            return None
        self.bind()
        run = self.runs.open(run_id, parent_run_id)
        if kind is not None:
            options |= placed(run.around)
            operation = self._kit.begin_lm(name, options) if kind is SeriesKind.LM else self._kit.begin(kind, name, options)
            run.operation = run.around = operation  # no call is between, in which a signal handler could lose it
        return run

    def _note_content(self, run: Run | None, name: str, make: Callable[[], Any]) -> None:
        note_content(self._kit, None if run is None else run.operation, name, make)

    # --- what runs inside ---------------------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Wrap what is loaded by now: while ``instrument`` runs, LangChain may be half imported."""
        for name, attribute in _CONTEXT_PLACES:  # they are private, and without them only the context is missing
            self._bind(name, sys.modules.get(name), attribute, self._enter_context)
        for name, kind, function, coroutine in _WATCHED:
            owner = getattr(sys.modules.get(name), kind, None)
            self._bind(f"{name}.{function}", owner, function, self.runs.watching)
            self._bind(f"{name}.{coroutine}", owner, coroutine, self.runs.watching_coroutine)
        chat_model = getattr(sys.modules.get(_CHAT_MODELS), "BaseChatModel", None)
        self._bind("stream", chat_model, "stream", self._models.starting)
        self._bind("astream", chat_model, "astream", self._models.astarting)

    def _bind(self, place: str, owner: Any, name: str, decorate: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        if place not in self._bound and hasattr(owner, name):
            self._bound.add(place)
            with contain_internal_errors("langchain_bind"):
                self._kit.patch(owner, name, decorate)

    def _enter_context(self, set_config_context: Callable[..., Any]) -> Callable[..., Any]:
        """LangChain calls this in a context of its own, which it has just made for one run and throws away after it."""

        @functools.wraps(set_config_context)
        def entered(config: Any, *args: Any, **kwargs: Any) -> Any:
            with contain_internal_errors("langchain_context"):
                run = self.runs.get(getattr(config.get("callbacks"), "parent_run_id", None))
                if run is not None:
                    Inside(run.around).__enter__()
            return set_config_context(config, *args, **kwargs)

        return entered
