"""LangGraph: graphs, nodes and agents, counted against what the fake model served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

import agentgauge
from tests.instrumentors.langchain_programs import (
    HELLO,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    BrokenModel,
    State,
    add,
    agent,
    answer,
    divide,
    graph,
    handoffs,
    instrumented,
    lm_calls,
    model,
    runs,
    tasks,
    tokens,
    tools,
    workflows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from agentgauge.testing import Isolation

TWO_STEPS = (answer(add={"first": 1, "second": 2}), answer("3"))


@pytest.fixture
def langgraph(fresh: Isolation) -> Iterator[Isolation]:
    with instrumented(fresh):
        yield fresh


def check_adder(fresh: Isolation, times: int = 1) -> None:
    """See that everything that the agent ``adder`` did with ``TWO_STEPS`` is counted once."""
    assert runs(fresh, "adder") == times
    assert (tasks(fresh, "model", "adder"), tasks(fresh, "tools", "adder")) == (2 * times, times)
    assert lm_calls(fresh) == 2 * times
    assert tools(fresh, "add", "adder") == times
    assert tokens(fresh, "input", "adder") == 2 * INPUT_TOKENS * times
    assert tokens(fresh, "output", "adder") == 2 * OUTPUT_TOKENS * times
    agent_label = {"gen_ai_agent_name": "adder"}
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", **agent_label) == 2 * times
    assert fresh.value("gen_ai_invoke_agent_tool_calls_sum", **agent_label) == times
    assert fresh.value("agent_run_steps_sum", **agent_label) == 3 * times


def test_an_agent_is_a_run_whose_nodes_are_tasks(langgraph: Isolation) -> None:
    adder, lm = agent(*TWO_STEPS)
    assert adder.invoke(HELLO)["messages"][-1].content == "3"
    assert lm.served == 2
    check_adder(langgraph)


async def test_an_asynchronous_agent_is_counted_as_a_synchronous_one_is(langgraph: Isolation) -> None:
    adder, _ = agent(*TWO_STEPS)
    assert (await adder.ainvoke(HELLO))["messages"][-1].content == "3"
    check_adder(langgraph)


@pytest.mark.parametrize("mode", ["values", "updates", "messages"])
async def test_a_streamed_agent_is_counted_as_one_that_is_invoked(langgraph: Isolation, mode: Any) -> None:
    adder, _ = agent(*TWO_STEPS)
    assert list(adder.stream(HELLO, stream_mode=mode))
    assert [each async for each in adder.astream(HELLO, stream_mode=mode)]
    check_adder(langgraph, times=2)


async def test_agents_in_threads_and_at_the_same_time_are_each_counted_once(langgraph: Isolation) -> None:
    adders = [agent(*TWO_STEPS)[0] for _ in range(4)]
    RunnableLambda(lambda each: each.invoke(HELLO)).batch(adders[:2])
    await asyncio.gather(*(each.ainvoke(HELLO) for each in adders[2:]))
    check_adder(langgraph, times=4)


def test_repeated_tool_calls_are_told_from_others_by_their_arguments(langgraph: Isolation) -> None:
    again = answer(add={"first": 1, "second": 2})
    adder, _ = agent(again, answer(add={"first": 2, "second": 2}), again, answer("3"))
    adder.invoke(HELLO)
    assert tools(langgraph, "add", "adder") == 3
    assert langgraph.value("agent_repeated_tool_calls_total", gen_ai_agent_name="adder", gen_ai_tool_name="add") == 1


def test_a_graph_is_a_workflow_and_its_nodes_are_tasks(langgraph: Isolation) -> None:
    flow = graph(("first", lambda _: {"seen": "1"}), ("second", lambda state: {"seen": state["seen"] + "2"}))
    assert flow.invoke({"seen": ""}) == {"seen": "12"}
    assert workflows(langgraph, "flow") == 1
    assert (tasks(langgraph, "first"), tasks(langgraph, "second")) == (1, 1)
    assert langgraph.value("agentgauge_events_exported_total") == 3  # nothing else: no edges, channels and lambdas


def test_functions_chains_and_branches_inside_a_node_are_not_counted(langgraph: Isolation) -> None:
    built: Any = StateGraph(State)
    inner = RunnableLambda(lambda text: text) | RunnableLambda(lambda text: text + "!")
    built.add_node("only", lambda state: {"seen": inner.with_config(run_name="inner").invoke(state["seen"])})
    built.add_edge(START, "only")
    built.add_conditional_edges("only", lambda _: END, [END])
    assert built.compile(name="flow").invoke({"seen": "x"}) == {"seen": "x!"}
    assert (workflows(langgraph, "flow"), tasks(langgraph, "only")) == (1, 1)
    assert langgraph.value("agentgauge_events_exported_total") == 2


def test_a_graph_inside_a_graph_is_no_second_workflow(langgraph: Isolation) -> None:
    inner = graph(("deep", lambda _: {"seen": "deep"}), name="inner")
    assert graph(("outer", inner)).invoke({"seen": ""}) == {"seen": "deep"}
    assert (workflows(langgraph, "flow"), workflows(langgraph, "inner")) == (1, None)
    assert (tasks(langgraph, "outer"), tasks(langgraph, "deep")) == (1, 1)


def test_nodes_that_run_at_the_same_time_are_each_a_task(langgraph: Isolation) -> None:
    class Many(MessagesState):
        pass

    built: Any = StateGraph(Many)
    built.add_node("spread", lambda _: {})
    built.add_node("worker", lambda _: {})
    built.add_edge(START, "spread")
    built.add_conditional_edges("spread", lambda _: [Send("worker", {"messages": []}) for _ in range(3)], ["worker"])
    built.compile(name="fan").invoke({"messages": []})
    assert (workflows(langgraph, "fan"), tasks(langgraph, "worker")) == (1, 3)


def test_a_failing_node_fails_its_task_and_its_workflow_and_the_exception_passes(langgraph: Isolation) -> None:
    def fail(_: State) -> State:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        graph(("only", fail)).invoke({"seen": ""})
    assert tasks(langgraph, "only", outcome="error") == 1
    assert langgraph.value("agent_task_errors_total", agent_task="only", error_type="LookupError") == 1
    assert workflows(langgraph, "flow", error_type="LookupError") == 1


def test_a_failing_model_fails_the_agents_run_and_what_it_used_before_is_wasted(langgraph: Isolation) -> None:
    broken = create_agent(BrokenModel(responses=[]), [add], name="broken")
    with pytest.raises(ConnectionError):
        broken.invoke(HELLO)
    assert runs(langgraph, "broken", error_type="ConnectionError") == 1
    assert tasks(langgraph, "invoke", "broken", outcome="error") == 1
    assert tasks(langgraph, "model", "broken", outcome="error") == 1


def test_a_failing_tool_fails_the_agents_run_and_wastes_its_tokens(langgraph: Isolation) -> None:
    divider, _ = agent(answer(divide={"first": 1, "second": 0}), tools=(divide,), name="divider")
    with pytest.raises(ZeroDivisionError):
        divider.invoke(HELLO)
    assert tools(langgraph, "divide", "divider", error_type="ZeroDivisionError") == 1
    assert runs(langgraph, "divider", error_type="ZeroDivisionError") == 1
    wasted = langgraph.value("agent_wasted_tokens_total", gen_ai_agent_name="divider", outcome="error")
    assert wasted == INPUT_TOKENS + OUTPUT_TOKENS


async def test_a_cancelled_graph_is_cancelled_at_every_level(langgraph: Isolation) -> None:
    begun = asyncio.Event()

    async def wait(_: State) -> State:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    run = asyncio.create_task(graph(("only", wait)).ainvoke({"seen": ""}))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert tasks(langgraph, "only", outcome="cancelled") == 1
    assert workflows(langgraph, "flow", error_type="asyncio.exceptions.CancelledError") == 1


def test_a_graph_that_pauses_for_a_human_did_not_fail(langgraph: Isolation) -> None:
    built: Any = StateGraph(State)
    built.add_node("ask", lambda _: {"seen": interrupt("sure?")})
    built.add_edge(START, "ask")
    flow = built.compile(checkpointer=InMemorySaver(), name="approval")
    config: Any = {"configurable": {"thread_id": "1"}}
    assert "__interrupt__" in flow.invoke({"seen": ""}, config)
    assert flow.invoke(Command(resume="yes"), config) == {"seen": "yes"}
    assert workflows(langgraph, "approval") == 2
    assert (tasks(langgraph, "ask"), tasks(langgraph, "ask", outcome="error")) == (2, 0)


@tool
def transfer_to_writer() -> Command[Any]:
    """Let the writer go on."""
    return Command(goto="writer", graph=Command.PARENT)


def test_a_hand_made_graph_with_a_name_that_asks_a_model_in_a_node_of_that_name_is_an_agent(langgraph: Isolation) -> None:
    built: Any = StateGraph(MessagesState)
    lm = model()
    built.add_node("agent", lambda state: {"messages": [lm.invoke(state["messages"])]})
    built.add_edge(START, "agent")
    built.compile(name="helper").invoke(HELLO)
    built.compile().invoke(HELLO)  # without a name it is a workflow
    assert (runs(langgraph, "helper"), tasks(langgraph, "agent", "helper"), tasks(langgraph, "agent")) == (1, 1, 1)
    assert (workflows(langgraph, "LangGraph"), workflows(langgraph, "helper")) == (1, None)


def test_an_agent_that_goes_to_another_by_a_command_hands_over(langgraph: Isolation) -> None:
    built: Any = StateGraph(MessagesState)
    built.add_node("planner", agent(answer(transfer_to_writer={}), tools=(transfer_to_writer,), name="planner")[0])
    built.add_node("writer", agent(answer("text"), name="writer")[0])
    built.add_edge(START, "planner")
    built.add_edge("writer", END)
    assert built.compile(name="newsroom").invoke(HELLO)["messages"][-1].content == "text"
    assert handoffs(langgraph, "planner", "writer") == 1
    assert workflows(langgraph, "newsroom") == 1
    assert (runs(langgraph, "planner"), runs(langgraph, "writer")) == (1, 1)
    assert (lm_calls(langgraph), tools(langgraph, "transfer_to_writer", "planner")) == (2, 1)


def test_a_node_that_asked_an_agent_and_goes_on_by_a_command_hands_over(langgraph: Isolation) -> None:
    planner, _ = agent(name="planner")

    def plan(state: Any) -> Command[Any]:
        planner.invoke(state)
        return Command(goto="write")

    built: Any = StateGraph(MessagesState)
    built.add_node("plan", plan)
    built.add_node("write", lambda _: Command(goto=END))
    built.add_edge(START, "plan")
    built.compile().invoke(HELLO)
    assert handoffs(langgraph, "planner", "write") == 1
    assert tasks(langgraph, "plan") == 1  # of the graph, which is nobody's


def test_an_agent_that_is_a_tool_of_another_is_delegated_to(langgraph: Isolation) -> None:
    adder, _ = agent(*TWO_STEPS)

    @tool
    def ask_adder(question: str) -> str:
        """Ask the adder."""
        return str(adder.invoke({"messages": [("user", question)]})["messages"][-1].content)

    boss, _ = agent(answer(ask_adder={"question": "1 + 2"}), answer("it is 3"), tools=(ask_adder,), name="boss")
    boss.invoke(HELLO)
    assert (runs(langgraph, "boss"), runs(langgraph, "adder")) == (1, 1)
    assert handoffs(langgraph, "boss", "adder") == 1
    assert (tokens(langgraph, "input", "boss"), tokens(langgraph, "input", "adder")) == (2 * INPUT_TOKENS, 2 * INPUT_TOKENS)
    subtree = langgraph.value("agent_subtree_tokens_total", gen_ai_agent_name="boss", gen_ai_token_type="input")
    assert subtree == 4 * INPUT_TOKENS


def parents(spans: InMemorySpanExporter) -> dict[str, list[str]]:
    """Return the names of the spans in each kind of span, all of one trace."""
    finished = spans.get_finished_spans()
    assert len({span.context.trace_id for span in finished}) == 1
    by_id: dict[int, ReadableSpan] = {span.context.span_id: span for span in finished}
    inside: dict[str, list[str]] = {}
    for span in sorted(finished, key=lambda span: span.start_time or 0):
        inside.setdefault(by_id[span.parent.span_id].name if span.parent else "", []).append(span.name)
    return inside


async def test_a_graph_is_one_trace_with_every_span_under_its_parent(langgraph: Isolation, spans: InMemorySpanExporter) -> None:
    adder, _ = agent(*TWO_STEPS)

    @agentgauge.task
    async def prepare() -> None:
        await asyncio.sleep(0)

    async def first(_: State) -> State:
        await prepare()
        await adder.ainvoke(HELLO)
        return {"seen": "1"}

    await graph(("first", first), ("second", lambda _: {"seen": "2"})).ainvoke({"seen": ""})
    assert parents(spans) == {
        "": ["invoke_workflow flow"],
        "invoke_workflow flow": ["execute_task first", "execute_task second"],
        "execute_task first": ["execute_task prepare", "invoke_agent adder"],
        "invoke_agent adder": ["execute_task model", "execute_task tools", "execute_task model"],
        "execute_task model": ["chat fake-1", "chat fake-1"],
        "execute_task tools": ["execute_tool add"],
    }
    assert tasks(langgraph, "prepare") == 1


def test_in_threads_the_parents_stay_right_too(langgraph: Isolation, spans: InMemorySpanExporter) -> None:
    @agentgauge.task
    def prepare(_: object) -> dict[str, Any]:
        return {}

    built: Any = StateGraph(State)
    for node in ("left", "right"):
        built.add_node(node, lambda state: dict(prepare(state)))
        built.add_edge(START, node)
    with agentgauge.track("team", "everything"):
        built.compile(name="flow").invoke({"seen": ""})
    inside = parents(spans)
    assert inside["invoke_agent team"] == ["invoke_workflow flow"]
    assert sorted(inside["invoke_workflow flow"]) == ["execute_task left", "execute_task right"]
    assert (inside["execute_task left"], inside["execute_task right"]) == (["execute_task prepare"], ["execute_task prepare"])
    assert tasks(langgraph, "prepare", "team") == 2


def test_an_agent_that_the_user_names_inside_a_node_is_whose_calls_those_are(langgraph: Isolation) -> None:
    @agentgauge.task
    def look(text: str) -> str:
        return text

    def only(_: State) -> State:
        with agentgauge.track("helper", "help"):
            model().invoke("hello")
            return {"seen": RunnableLambda(lambda text: look(str(text))).invoke("seen")}

    assert graph(("only", only)).invoke({"seen": ""}) == {"seen": "seen"}
    assert tokens(langgraph, "input", "helper") == INPUT_TOKENS
    assert tasks(langgraph, "look", "helper") == 1


def test_a_node_that_the_user_decorated_is_counted_once(langgraph: Isolation) -> None:
    @agentgauge.task
    def only(_: State) -> State:
        model().invoke("hello")
        return {"seen": "1"}

    graph(("only", only)).invoke({"seen": ""})
    assert tasks(langgraph, "only") == 1
    assert lm_calls(langgraph) == 1
    assert langgraph.value("agentgauge_calls_suppressed_total", instrumentor="langchain", owner="decorator", kind="task") == 1


def test_a_decorated_workflow_around_a_graph_of_its_name_is_the_one_that_counts(langgraph: Isolation) -> None:
    flow = graph(("only", lambda _: {"seen": "1"}))

    @agentgauge.workflow(name="flow")
    def everything() -> Any:
        return flow.invoke({"seen": ""})

    assert everything() == {"seen": "1"}
    assert workflows(langgraph, "flow") == 1
    suppressed = {"instrumentor": "langchain", "owner": "decorator", "kind": "workflow"}
    assert langgraph.value("agentgauge_calls_suppressed_total", **suppressed) == 1
    assert tasks(langgraph, "only") == 1
