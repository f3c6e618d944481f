"""LangChain: models, tools, retrievers and chains, counted against what the fake model served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import ToolException, tool

import agentgauge
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.series import LmName
from agentgauge.recording.site import current_agent
from tests.instrumentors.langchain_programs import (
    HELLO,
    INPUT_TOKENS,
    LM,
    OUTPUT_TOKENS,
    BrokenModel,
    ListModel,
    StreamingModel,
    add,
    agent,
    answer,
    divide,
    lm_calls,
    model,
    tasks,
    tokens,
    tools,
    workflows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation


def check_tokens(fresh: Isolation, calls: int) -> None:
    """See that every token that was served is counted once."""
    expected = {"input": INPUT_TOKENS, "output": OUTPUT_TOKENS, "cache_read": 4, "cache_write": 3, "reasoning": 2}
    assert {kind: tokens(fresh, kind) for kind in expected} == {kind: count * calls for kind, count in expected.items()}


def test_each_call_of_a_chat_model_is_one_lm_call_with_its_tokens_and_finish_reason(langchain: Isolation) -> None:
    lm = model()
    for _ in range(3):
        lm.invoke("hello")
    assert lm_calls(langchain) == lm.served == 3
    check_tokens(langchain, 3)
    finishes = {"gen_ai_provider_name": "fake", "gen_ai_request_model": "fake-1", "gen_ai_response_finish_reason": "stop"}
    assert langchain.value("agent_lm_finish_reasons_total", **finishes) == 3


async def test_asynchronous_calls_are_counted_as_synchronous_ones_are(langchain: Isolation) -> None:
    lm = model()
    await asyncio.gather(*(lm.ainvoke("hello") for _ in range(4)))
    assert lm_calls(langchain) == lm.served == 4
    check_tokens(langchain, 4)


async def test_batches_count_each_call_whether_by_threads_or_by_tasks(langchain: Isolation) -> None:
    lm = model()
    lm.batch(["one", "two", "three"])
    await lm.abatch(["four", "five"])
    lm.generate([[], []])
    assert lm_calls(langchain) == lm.served == 7
    check_tokens(langchain, 7)


async def test_a_stream_is_one_call_whose_first_chunk_is_timed(langchain: Isolation) -> None:
    lm = StreamingModel(messages=iter([answer("one two three"), answer("four five")]), clock=langchain.clock)
    assert "".join(str(chunk.content) for chunk in lm.stream("hello")) == "one two three"
    assert "".join([str(chunk.content) async for chunk in lm.astream("hello")]) == "four five"
    assert lm_calls(langchain, **LM) == 2
    first = "gen_ai_client_operation_time_to_first_chunk_seconds"
    assert (langchain.value(f"{first}_count", **LM), langchain.value(f"{first}_sum", **LM)) == (2, 4)
    assert langchain.value("gen_ai_client_operation_duration_seconds_sum", **LM) == 2 * 5 + 2 * 3  # words and blanks


def test_a_stream_that_its_reader_leaves_is_abandoned_and_not_left_open(langchain: Isolation) -> None:
    stream = StreamingModel(messages=iter([answer("one two three")]), clock=langchain.clock).stream("hello")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert lm_calls(langchain, **LM, error_type="GeneratorExit") == 1


def test_a_failing_model_is_an_error_by_its_exceptions_name_and_the_exception_passes(langchain: Isolation) -> None:
    with pytest.raises(ConnectionError, match="no route"):
        BrokenModel(responses=[]).invoke("hello")
    assert lm_calls(langchain, **LM, error_type="ConnectionError") == 1
    assert tokens(langchain, "input") is None


def call_provider(fresh: Isolation) -> None:
    """Do what a provider's own instrumentation does."""
    call = LmCall(fresh.recorder, LmName("chat", "fake", "fake-1"), instrumentor="provider")
    call.note_answer(Answer(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS))
    call.end()


class LayeredModel(StreamingModel):
    """Has an instrumented provider below it, and calls it as a chat model of LangChain's may: in each of four ways.

    The fake's ``_stream`` calls ``_generate``, which makes six calls of the provider.
    """

    fresh: Any = None

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        call_provider(self.fresh)
        return super()._generate(*args, **kwargs)

    async def _agenerate(self, *_: Any, **__: Any) -> Any:
        call_provider(self.fresh)
        await asyncio.sleep(0)
        return super()._generate([])

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        call_provider(self.fresh)
        yield from super()._stream(*args, **kwargs)

    async def _astream(self, *_: Any, **__: Any) -> Any:
        call_provider(self.fresh)
        for chunk in super()._stream([]):
            await asyncio.sleep(0)
            yield chunk


async def test_a_providers_own_instrumentation_does_not_count_a_call_again(langchain: Isolation) -> None:
    lm = LayeredModel(messages=iter([answer("one two") for _ in range(8)]), clock=langchain.clock, fresh=langchain)
    lm.invoke("hello", stream=False)
    await lm.ainvoke("hello", stream=False)
    for _ in lm.stream("hello"):
        assert current_agent.get() == ""
    async for _ in lm.astream("hello"):
        assert current_agent.get() == ""
    suppressed = {"instrumentor": "provider", "owner": "langchain", "kind": "lm"}
    assert langchain.value("agentgauge_calls_suppressed_total", **suppressed) == 6
    assert langchain.value("agentgauge_instrumentor_calls_total", instrumentor="provider") is None
    assert (lm_calls(langchain) or 0) + (lm_calls(langchain, **LM) or 0) == 4


class SlowModel(ListModel):
    """Answers never."""

    begun: Any = None

    async def _agenerate(self, *_: Any, **__: Any) -> Any:
        self.begun.set()
        await asyncio.Event().wait()


async def test_a_cancelled_call_is_cancelled_though_langchain_does_not_tell(langchain: Isolation) -> None:
    lm = SlowModel(responses=[], begun=asyncio.Event())
    call = asyncio.create_task(lm.ainvoke("hello"))
    await lm.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert lm_calls(langchain, **LM, error_type="asyncio.exceptions.CancelledError") == 1


@pytest.fixture
def llm_cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("llm_cache")
async def test_answers_of_langchains_own_cache_are_calls_that_spent_nothing(langchain: Isolation) -> None:
    lm = model()
    lm.invoke("hello")
    lm.invoke("hello")
    await lm.ainvoke("hello")
    assert lm.served == 1
    assert lm_calls(langchain) == 3
    assert langchain.value("agent_lm_cache_hits_total", gen_ai_request_model="fake-1") == 2
    check_tokens(langchain, 1)


def test_a_text_completion_model_is_counted_too(langchain: Isolation) -> None:
    FakeListLLM(responses=["hello"]).batch(["one", "two"])
    name = {"gen_ai_operation_name": "text_completion", "gen_ai_provider_name": "fakelist"}
    assert lm_calls(langchain, **name) == 2


def test_a_tool_is_counted_with_its_arguments_and_its_failures(langchain: Isolation) -> None:
    add.invoke({"first": 1, "second": 2})
    with pytest.raises(ZeroDivisionError):
        divide.invoke({"first": 1, "second": 0})
    assert tools(langchain, "add") == 1
    assert tools(langchain, "divide", error_type="ZeroDivisionError") == 1


async def test_a_tool_that_handles_its_own_exception_failed_all_the_same(langchain: Isolation) -> None:
    @tool
    def refuse(reason: str) -> str:
        """Refuse."""
        raise ToolException(reason)

    refuse.handle_tool_error = True
    call: Any = {"name": "refuse", "args": {"reason": "no"}, "id": "1", "type": "tool_call"}
    assert (await refuse.ainvoke(call)).content == "no"
    assert tools(langchain, "refuse", error_type="ToolMessage.status") == 1


@pytest.mark.parametrize("is_in_agent", [False, True])
async def test_a_cancelled_tool_is_cancelled_though_langchain_does_not_tell(langchain: Isolation, is_in_agent: bool) -> None:
    begun = asyncio.Event()

    @tool
    async def wait() -> None:
        """Wait for ever."""
        begun.set()
        await asyncio.Event().wait()

    waiter, _ = agent(answer(wait={}), tools=(wait,), name="waiter")
    call = asyncio.create_task(waiter.ainvoke(HELLO) if is_in_agent else wait.ainvoke({}))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    error = {"error_type": "asyncio.exceptions.CancelledError"}
    assert tools(langchain, "wait", "waiter" if is_in_agent else "", **error) == 1


def test_a_retrieval_is_a_task(langchain: Isolation) -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [Document(query)]

    assert Shelf().invoke("books")[0].page_content == "books"
    assert tasks(langchain, "retrieve") == 1


async def test_a_cancelled_retrieval_ends_with_the_chain_around_it(langchain: Isolation) -> None:
    begun = asyncio.Event()

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            raise AssertionError(query)

        async def _aget_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError(query)

    chain: Any = RunnableLambda(lambda text: text) | Shelf()
    call = asyncio.create_task(chain.ainvoke("books"))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert tasks(langchain, "retrieve", outcome="cancelled") == 1


def test_an_outermost_chain_is_a_workflow_only_where_it_bears_a_name_of_its_own(langchain: Isolation) -> None:
    chain: Any = ChatPromptTemplate.from_template("say {word}") | model()
    chain.invoke({"word": "hello"})
    chain.with_config(run_name="greeting").invoke({"word": "hello"})
    RunnableParallel(one=lambda _: 1, two=lambda _: 2).invoke("x")
    RunnableLambda(lambda text: text).invoke("x")
    ChatPromptTemplate.from_template("say {word}").invoke({"word": "hello"})
    RunnableLambda(lambda text: text, name="mine").with_config(tags=["langsmith:hidden"]).invoke("x")
    assert workflows(langchain, "greeting") == 1
    shown = {sample.labels.get("gen_ai_workflow_name") for family in langchain.registry.collect() for sample in family.samples}
    assert shown == {None, "greeting"}
    assert lm_calls(langchain) == 2


def test_what_the_user_decorated_finds_the_call_around_it_inside_a_chain(
    langchain: Isolation, spans: InMemorySpanExporter
) -> None:
    @agentgauge.task
    def shout(text: str) -> str:
        return text.upper()

    @tool
    def yell(text: str) -> str:
        """Yell."""
        return shout(text)

    assert yell.invoke({"text": "a"}) == "A"
    by_name = {span.name: span for span in spans.get_finished_spans()}
    inner = by_name["execute_task shout"]
    assert inner.parent is not None
    assert inner.parent.span_id == by_name["execute_tool yell"].context.span_id
    assert tasks(langchain, "shout") == 1


def test_a_tool_whose_function_the_user_decorated_is_counted_once(langchain: Isolation) -> None:
    @agentgauge.tool
    def search(query: str) -> str:
        """Search."""
        return query

    assert tool(search).invoke({"query": "x"}) == "x"
    assert tools(langchain, "search") == 1
    assert langchain.value("agentgauge_calls_suppressed_total", instrumentor="langchain", owner="decorator", kind="tool") == 1
