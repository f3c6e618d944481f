"""LangChain: runs whose end it does not tell, or that a signal handler of the program's cuts short."""

from __future__ import annotations

import asyncio
import signal
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import StructuredTool, tool
from opentelemetry import trace

import agentgauge
from agentgauge.errors import contained_errors
from agentgauge.instrumentors import inside, langchain_runs
from agentgauge.instrumentors import langchain as instrumentor
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import SeriesKind
from agentgauge.recording.site import current_agent
from tests.instrumentors.langchain_programs import (
    LM,
    ListModel,
    StreamingModel,
    answer,
    lm_calls,
    model,
    tasks,
    tools,
    workflows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.documents import Document
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

CANCELLED = {"error_type": "asyncio.exceptions.CancelledError"}


class DeadlineError(Exception):
    """What the program's signal handler raises."""


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, str], None]]:
    """Give a function that lets a signal arrive where a function of ours is called."""

    def raise_deadline(_number: int, _frame: Any) -> None:
        raise DeadlineError

    before = signal.signal(signal.SIGALRM, raise_deadline)

    def at(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def struck(*args: Any, **kwargs: Any) -> Any:
            signal.raise_signal(signal.SIGALRM)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, struck)

    yield at
    signal.signal(signal.SIGALRM, before)


# --- signals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["lm_name", "placed", "answer_of"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_deadline_that_strikes_inside_our_callback_reaches_the_program_and_leaves_nothing_open(
    langchain: Isolation, strike: Callable[[Any, str], None], place: str, is_streamed: bool
) -> None:
    strike(instrumentor, place)
    streaming = StreamingModel(messages=iter([answer("one two")]), clock=langchain.clock)
    with pytest.raises(DeadlineError):
        _ = list(streaming.stream("hello")) if is_streamed else model().invoke("hello")
    assert current_agent.get() == ""


@pytest.mark.parametrize("place", ["Scope", "is_inside", "leave_agent", "suspend_span"])
def test_a_deadline_that_strikes_where_an_operation_is_entered_or_left_leaves_no_agent_and_no_span_behind(
    fresh: Isolation, spans: InMemorySpanExporter, strike: Callable[[Any, str], None], place: str
) -> None:
    operation = Operation(fresh.recorder, SeriesKind.RUN, "work", agent="worker", instrumentor="test", is_beside=True)
    strike(inside, place)
    with pytest.raises(DeadlineError), inside.Inside(operation):
        pass
    operation.end()
    assert current_agent.get() == ""
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert len(spans.get_finished_spans()) == 1


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_deadline_at_the_first_step_of_leaving_a_models_call_leaves_no_agent_behind(
    langchain: Isolation, strike: Callable[[Any, str], None], is_streamed: bool
) -> None:
    strike(inside.Inside, "__exit__")
    streaming = StreamingModel(messages=iter([answer("one two")]), clock=langchain.clock)
    with pytest.raises(DeadlineError):
        _ = list(streaming.stream("hello")) if is_streamed else model().invoke("hello")
    assert current_agent.get() == ""
    assert langchain.value("gen_ai_client_operation_duration_seconds_count", **LM, error_type=f"{__name__}.DeadlineError") == 1


class Interrupted(BaseException):
    """Leaves everything, as ``SystemExit`` does."""


def test_what_is_no_exception_ends_a_synchronous_retrieval_and_a_tool_too(langchain: Isolation) -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            raise Interrupted(query)

    @tool
    def leave() -> str:
        """Leave."""
        raise Interrupted

    with pytest.raises(Interrupted):
        Shelf().invoke("books")
    with pytest.raises(Interrupted):
        leave.invoke({})
    assert tasks(langchain, "retrieve", outcome="cancelled") == 1
    assert tools(langchain, "leave", error_type=f"{__name__}.Interrupted") == 1


# --- cancellation -----------------------------------------------------------------------------------------------------------


class Shelf(BaseRetriever):
    """Waits a little."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        raise AssertionError(query)

    async def _aget_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return []


class WaitingModel(ListModel):
    """Waits a little."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self._generate(*args, **kwargs)


class WaitingLLM(FakeListLLM):
    """Waits a little."""

    async def _acall(self, *_: Any, **__: Any) -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "done"


async def cancelled_at_every_step(make: Callable[[], Any]) -> int:
    """Cancel a call after each number of turns of the loop; return how often."""
    for turns in range(100):
        call = asyncio.ensure_future(make())
        for _ in range(turns):
            await asyncio.sleep(0)
        if call.done():
            return turns
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for _ in range(10):  # LangChain's own tasks are cancelled behind it
            await asyncio.sleep(0)
    raise AssertionError


def check_each_is_counted(counted: tuple[float | None, ...], times: int) -> None:
    """See that each call that had begun is counted: all but that of the first round, and the last, which nobody cancelled."""
    answered, cancelled = counted
    assert answered
    assert cancelled
    assert answered + cancelled == times


async def test_a_retrieval_cancelled_at_any_step_ends(langchain: Isolation) -> None:
    times = await cancelled_at_every_step(lambda: Shelf().ainvoke("books"))
    counted = tasks(langchain, "retrieve"), tasks(langchain, "retrieve", outcome="cancelled")
    check_each_is_counted(counted, times)


async def test_a_call_of_a_chat_model_cancelled_at_any_step_ends(langchain: Isolation) -> None:
    times = await cancelled_at_every_step(lambda: WaitingModel(responses=[answer()]).ainvoke("hello"))
    counted = lm_calls(langchain), lm_calls(langchain, **LM, **CANCELLED)
    check_each_is_counted(counted, times)


async def test_a_call_of_a_text_completion_model_cancelled_at_any_step_ends(langchain: Isolation) -> None:
    times = await cancelled_at_every_step(lambda: WaitingLLM(responses=["done"]).abatch(["one", "two"]))
    name = {"gen_ai_operation_name": "text_completion", "gen_ai_provider_name": "waiting"}
    counted = lm_calls(langchain, **name), lm_calls(langchain, **name, **CANCELLED)
    check_each_is_counted(counted, 2 * (times - 1))  # a batch begins in tasks of its own, a turn later


class Limiter(BaseRateLimiter):
    """Lets nobody through, and has a signal arrive meanwhile."""

    begun: asyncio.Event

    def acquire(self, *, blocking: bool = True) -> bool:
        raise Interrupted

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.begun.set()
        return await asyncio.Event().wait()


async def test_a_stream_that_is_left_while_it_waits_for_its_rate_limiter_ends(langchain: Isolation) -> None:
    limiter = Limiter()
    limiter.begun = asyncio.Event()
    lm = StreamingModel(messages=iter([answer("one two")]), clock=langchain.clock, rate_limiter=limiter)
    with pytest.raises(Interrupted):
        _ = list(lm.stream("hello"))
    assert lm_calls(langchain, **LM, error_type=f"{__name__}.Interrupted") == 1

    async def read() -> None:
        async for _ in lm.astream("hello"):
            raise AssertionError

    call = asyncio.create_task(read())
    await limiter.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert lm_calls(langchain, **LM, **CANCELLED) == 1
    assert current_agent.get() == ""


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_stream_that_its_reader_cancels_or_closes_ends(langchain: Isolation, is_closed: bool) -> None:
    lm = StreamingModel(messages=iter([answer("one two three")]), clock=langchain.clock)
    stream: Any = lm.astream("hello")
    await anext(stream)
    if is_closed:
        await stream.aclose()
    else:
        with pytest.raises(Interrupted):
            await stream.athrow(Interrupted())
    error = "GeneratorExit" if is_closed else f"{__name__}.Interrupted"
    assert lm_calls(langchain, **LM, error_type=error) == 1


# --- runs that nobody ends --------------------------------------------------------------------------------------------------


async def test_of_two_runs_with_one_id_the_first_is_given_up(langchain: Isolation) -> None:
    go_on = asyncio.Event()

    async def wait(_: str) -> None:
        await go_on.wait()

    chain: Any = RunnableLambda(wait).with_config(run_name="twice")
    run_id = uuid.uuid4()
    calls = [asyncio.create_task(chain.ainvoke("x", {"run_id": run_id})) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*calls)
    assert workflows(langchain, "twice") == 1
    assert workflows(langchain, "twice", error_type="run_never_ended") == 1


async def test_of_too_many_runs_that_do_not_end_the_oldest_is_given_up(
    langchain: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langchain_runs, "_MOST_RUNS", 2)
    go_on = asyncio.Event()

    async def wait(_: str) -> None:
        await go_on.wait()

    names = ("first", "second", "third")
    calls = [asyncio.create_task(RunnableLambda(wait).with_config(run_name=name).ainvoke("x")) for name in names]
    for _ in range(20):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*calls)
    assert [workflows(langchain, name) for name in names] == [0, 1, 1]
    assert workflows(langchain, "first", error_type="run_never_ended") == 1


# --- objects that answer to every name, and those that raise ----------------------------------------------------------------


class Proxy:
    """Answers to every plain name with itself, and to those of ours."""

    def __call__(self, query: str) -> str:
        return query

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and "agentgauge" not in name:  # LangChain itself takes a signature at its word
            raise AttributeError(name)
        return self


def test_a_tool_whose_function_is_a_forwarding_proxy_is_counted(langchain: Isolation) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    proxied = StructuredTool.from_function(lambda query: query, name="proxied", description="Echo.", args_schema=schema)
    object.__setattr__(proxied, "func", Proxy())
    assert inside.site_of(Proxy()) is None
    proxied.invoke({"query": "x"})
    assert tools(langchain, "proxied") == 1


def test_a_tool_that_is_an_object_whose_call_the_user_decorated_is_counted_once(langchain: Isolation) -> None:
    class Search:
        @agentgauge.tool("search")
        def __call__(self, query: str) -> str:
            return query

    schema = {"type": "object", "properties": {"query": {"type": "string"}}}
    search = StructuredTool.from_function(lambda query: query, name="search", description="Search.", args_schema=schema)
    object.__setattr__(search, "func", Search())
    assert search.invoke({"query": "x"}) == "x"
    assert tools(langchain, "search") == 1


def test_a_runnable_whose_steps_raise_keeps_its_run_and_what_runs_inside(langchain: Isolation) -> None:
    class Odd(Runnable[str, str]):
        @property
        def steps(self) -> Any:
            raise RuntimeError("not yet")

        def invoke(self, input: str, config: Any = None, **_: Any) -> str:  # noqa: A002 - LangChain's name
            return self._call_with_config(lambda text: RunnableLambda(shout).invoke(text), input, config)

    def shout(text: str) -> str:
        return text.upper()

    assert Odd().invoke("x", {"run_name": "outer"}) == "X"
    assert (workflows(langchain, "outer"), workflows(langchain, "shout")) == (1, None)


def test_a_chain_that_cannot_be_told_what_it_is_hands_on_where_it_runs(
    langchain: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise LookupError

    def shout(text: str) -> str:
        return text.upper()

    def outer(text: str) -> str:
        monkeypatch.undo()
        return str(RunnableLambda(shout).invoke(text))

    monkeypatch.setattr(instrumentor, "chain_place", fail)
    assert RunnableLambda(outer).invoke("x") == "X"
    assert contained_errors.count_by_hook == {"langchain_place": 1}
    contained_errors.forget()
    assert workflows(langchain, "shout") is None
