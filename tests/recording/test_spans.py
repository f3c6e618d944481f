"""Spans of decorated calls, by a real SDK, and the exemplars that link to them."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from agentgauge import agent, task, tool, track, workflow

TASK_COUNT = "agent_task_duration_seconds_count"


def finished(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def exemplars(fresh):
    return [
        (sample.name, dict(sample.labels), sample.exemplar)
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.exemplar
    ]


# --- identity -------------------------------------------------------------------------------------------------------------


@agent("scout")
def scout():
    return explore()


@task
def explore():
    return look() + look()


@tool
def look():
    return 1


@workflow
def pipeline():
    return scout()


def test_names_attributes_kinds_and_parents_follow_the_conventions(fresh, spans):
    pipeline()

    seen = [(span.name, dict(span.attributes)) for span in spans.get_finished_spans()]
    look_span = (
        "execute_tool look",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "look",
            "gen_ai.tool.type": "function",
            "gen_ai.agent.name": "scout",
        },
    )
    assert seen == [
        look_span,
        look_span,
        (
            "execute_task explore",
            {"gen_ai.operation.name": "execute_task", "agent.task": "explore", "gen_ai.agent.name": "scout"},
        ),
        (
            "invoke_agent scout",
            {"gen_ai.operation.name": "invoke_agent", "agent.task": "scout", "gen_ai.agent.name": "scout"},
        ),
        ("invoke_workflow pipeline", {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "pipeline"}),
    ]
    by_name = finished(spans)
    assert {span.kind for span in by_name.values()} == {SpanKind.INTERNAL}
    assert by_name["invoke_workflow pipeline"].parent is None
    for child, parent in (
        ("invoke_agent scout", "invoke_workflow pipeline"),
        ("execute_task explore", "invoke_agent scout"),
        ("execute_tool look", "execute_task explore"),
    ):
        assert by_name[child].parent.span_id == by_name[parent].context.span_id
    assert by_name["invoke_agent scout"].instrumentation_scope.name == "agentgauge"
    assert all(span.end_time for span in spans.get_finished_spans())


def test_a_span_without_an_agent_names_none(fresh, spans):
    explore()

    assert "gen_ai.agent.name" not in finished(spans)["execute_task explore"].attributes


def test_a_decorated_call_is_a_child_of_the_hosts_span_and_a_parent_of_its_spans(fresh, spans):
    tracer = trace.get_tracer("host")

    @task
    def work():
        with tracer.start_as_current_span("inside"):
            pass

    with tracer.start_as_current_span("outside") as outside:
        work()
        assert trace.get_current_span() is outside

    by_name = finished(spans)
    assert by_name["execute_task work"].parent.span_id == outside.get_span_context().span_id
    assert by_name["inside"].parent.span_id == by_name["execute_task work"].context.span_id


async def test_concurrent_coroutines_have_spans_of_their_own_with_the_right_parents(fresh, spans):
    @tool
    async def step(name):
        await asyncio.sleep(0)

    def make(name):
        @agent(name)
        async def work():
            await asyncio.gather(step(name), step(name))

        return work

    await asyncio.gather(*(make(name)() for name in ("a", "b")))

    by_id = {span.context.span_id: span for span in spans.get_finished_spans()}
    steps = [span for span in by_id.values() if span.name == "execute_tool step"]
    assert len(steps) == 4
    for span in steps:
        assert by_id[span.parent.span_id].name == f"invoke_agent {span.attributes['gen_ai.agent.name']}"
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_tracked_block_has_a_span(fresh, spans):
    with track("scout", "rerank") as call:
        call.set_outcome("error", error_type="EmptyIndex")

    span = finished(spans)["invoke_agent scout"]
    assert span.attributes["error.type"] == "EmptyIndex"
    assert span.status.status_code is StatusCode.ERROR


# --- status ---------------------------------------------------------------------------------------------------------------


def test_a_success_leaves_the_status_unset(fresh, spans):
    explore()

    span = finished(spans)["execute_task explore"]
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in span.attributes


@pytest.mark.parametrize(
    ("error", "error_type", "status"),
    [
        (ValueError("bad input"), "ValueError", StatusCode.ERROR),
        (TimeoutError("too slow"), "TimeoutError", StatusCode.ERROR),
        (asyncio.CancelledError("bye"), "asyncio.exceptions.CancelledError", StatusCode.UNSET),
        (KeyboardInterrupt("bye"), "KeyboardInterrupt", StatusCode.UNSET),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("decorator", [task, tool, workflow, agent("scout")], ids=["task", "tool", "workflow", "agent"])
def test_a_failure_sets_the_error_type_and_only_a_fault_the_status(fresh, spans, decorator, error, error_type, status):
    @decorator
    def work():
        raise error

    with pytest.raises(type(error)):
        work()

    [span] = spans.get_finished_spans()
    assert span.attributes["error.type"] == error_type
    assert span.status.status_code is status
    assert span.status.description == (str(error) if status is StatusCode.ERROR else None)
    metric_types = {
        sample.labels["error_type"]
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.labels.get("error_type") and sample.value
    }
    if decorator is not task or status is StatusCode.ERROR:
        assert metric_types == {error_type}


def test_an_exception_that_cannot_be_shown_still_ends_the_span(fresh, spans):
    class UnshowableError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    @task
    def work():
        raise UnshowableError

    with pytest.raises(UnshowableError) as caught:
        work()

    assert caught.value.__context__ is None
    [span] = spans.get_finished_spans()
    assert span.attributes["error.type"].endswith("UnshowableError")
    assert fresh.value(TASK_COUNT, agent_task="work", outcome="error") == 1


# --- who listens ----------------------------------------------------------------------------------------------------------


def test_without_an_sdk_no_span_is_made(fresh, monkeypatch):
    from agentgauge.recording import call
    from agentgauge.recording.call_wrapper import NAMESPACE

    def refuse(target):
        raise AssertionError("span work without an SDK")

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(call, "open_span", refuse)
    monkeypatch.setitem(NAMESPACE, "open_span", refuse)
    pipeline()
    with track("scout", "rerank"):
        pass

    assert fresh.value("agentgauge_internal_errors_total", hook="start") == 0
    assert fresh.value(TASK_COUNT, gen_ai_agent_name="scout", agent_task="explore", outcome="success") == 1


def test_a_provider_that_is_set_after_decoration_and_first_use_is_used(fresh, set_provider):
    explore()
    exporter = set_provider()
    explore()
    assert len(finished(exporter)) == 2
    another = set_provider()
    explore()

    assert len(exporter.get_finished_spans()) == len(another.get_finished_spans()) == 3


def test_a_sampler_that_is_always_off_leaves_metrics_and_no_span_and_no_exemplar(fresh, set_provider):
    exporter = set_provider(ALWAYS_OFF)

    pipeline()

    assert exporter.get_finished_spans() == ()
    assert exemplars(fresh) == []
    assert fresh.value(TASK_COUNT, gen_ai_agent_name="scout", agent_task="explore", outcome="success") == 1
    assert fresh.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="pipeline") == 1


def test_an_unsampled_root_still_hands_its_trace_on(fresh, set_provider):
    set_provider(ParentBased(ALWAYS_OFF))

    @task
    def work():
        return trace.get_current_span().get_span_context()

    context = work()
    assert context.is_valid
    assert not context.trace_flags.sampled


def test_an_unsampled_root_whose_provider_is_exchanged_meanwhile_still_hands_its_trace_on(fresh, set_provider, monkeypatch):
    set_provider(ParentBased(TraceIdRatioBased(0.0)))

    @task
    def work():
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
        explore()  # from here on the next provider is the known one
        carrier = {}
        propagate.inject(carrier)
        return carrier["traceparent"]

    _, trace_id, span_id, flags = work().split("-")

    assert int(trace_id, 16)
    assert int(span_id, 16)
    assert not int(flags, 16) & TraceFlags.SAMPLED
    assert trace.get_current_span() is trace.INVALID_SPAN


def host_span(*, is_sampled, is_remote=False):
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(0x1234, 0x5678, is_remote, flags))


@pytest.mark.parametrize("is_remote", [False, True])
@pytest.mark.parametrize("sampler", [None, ParentBased(ALWAYS_ON), ParentBased(TraceIdRatioBased(1.0))])
def test_under_an_unsampled_parent_there_are_metrics_and_no_span(fresh, set_provider, sampler, is_remote):
    exporter = set_provider(sampler)
    with trace.use_span(host_span(is_sampled=False, is_remote=is_remote)):
        explore()

    assert exporter.get_finished_spans() == ()
    assert exemplars(fresh) == []
    assert fresh.value(TASK_COUNT, agent_task="explore", outcome="success") == 1


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ParentBased(ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON)])
def test_a_sampler_that_samples_under_unsampled_parents_is_asked(fresh, set_provider, sampler):
    exporter = set_provider(sampler)
    with trace.use_span(host_span(is_sampled=False)):
        explore()

    assert len(exporter.get_finished_spans()) == 3


def test_the_sdk_switched_off_by_its_variable_means_no_span(fresh, set_provider, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    exporter = set_provider()
    explore()

    assert exporter.get_finished_spans() == ()
    assert fresh.value(TASK_COUNT, agent_task="explore", outcome="success") == 1
    assert exemplars(fresh) == []


# --- exemplars ------------------------------------------------------------------------------------------------------------


def test_the_exemplar_of_a_bucket_is_the_sampled_span_of_its_last_call(fresh, spans):
    @agent("scout")
    def work():
        fresh.clock.advance(0.3)

    work()
    work()

    span = spans.get_finished_spans()[-1]
    expected = {"trace_id": format(span.context.trace_id, "032x"), "span_id": format(span.context.span_id, "016x")}
    seen = exemplars(fresh)
    assert {(name, labels["le"]) for name, labels, _ in seen} == {
        ("gen_ai_invoke_agent_duration_seconds_bucket", "0.4"),
        ("agent_task_duration_seconds_bucket", "0.32"),
    }
    for _, _, exemplar in seen:
        assert exemplar.labels == expected
        assert exemplar.value == pytest.approx(0.3)
        assert exemplar.timestamp == pytest.approx(1_000.6)


def test_a_failed_call_has_its_exemplar_in_the_series_of_its_outcome(fresh, spans):
    @task
    def work():
        raise ValueError

    with pytest.raises(ValueError):
        work()

    [(name, labels, _)] = exemplars(fresh)
    assert (name, labels["outcome"]) == ("agent_task_duration_seconds_bucket", "error")
