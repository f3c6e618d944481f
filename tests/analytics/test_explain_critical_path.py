"""The critical path: the chain of spans that an answer had to wait for, however broken the trace."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.analytics.explain import Span, critical_path, read_spans
from agentgauge.errors import SourceError

AT = 1_700_000_000.0


def span(name, start, end, parent=None, trace="t", **attributes):
    return Span(trace, name, parent, name, AT + start, None if end is None else AT + end, attributes)


def own(spans, **how):
    return {share.operation: pytest.approx(share.seconds) for share in critical_path(spans, **how).shares}


def test_the_path_goes_through_the_child_that_ended_last():
    spans = [
        span("plan", 0, 10),
        span("search", 1, 4, "plan"),
        span("fetch", 1, 6, "plan"),  # at the same time as search: only the one that ended last was waited for
        span("write", 6, 9, "plan"),
        span("lm", 6.5, 8.5, "write"),
    ]
    assert own(spans) == {"plan": 2.0, "fetch": 5.0, "write": 1.0, "lm": 2.0}
    assert critical_path(spans).seconds == pytest.approx(10)


def test_shares_are_told_apart_by_agent_model_and_tool_and_agents_are_inherited():
    spans = [
        span("invoke_agent", 0, 10, **{"gen_ai.agent.name": "researcher"}),
        span("chat", 0, 7, "invoke_agent", **{"gen_ai.request.model": "big"}),
        span("execute_tool", 7, 9, "invoke_agent", **{"gen_ai.tool.name": "search"}),
    ]
    found = critical_path(spans)
    assert [(share.operation, share.agent, share.model, share.tool, round(share.share, 3)) for share in found.shares] == [
        ("chat", "researcher", "big", "", 0.7),
        ("execute_tool", "researcher", "", "search", 0.2),
        ("invoke_agent", "researcher", "", "", 0.1),
    ]
    assert "waited 10 s each" in found.sentence
    assert "70 % of it for the own work of chat (model big, agent researcher)" in found.sentence


def test_only_the_slowest_traces_are_looked_at():
    spans = [span("fast", 0, 1, trace="a"), span("slow", 0, 9, trace="b"), span("mean", 0, 5, trace="c")]
    found = critical_path(spans, slowest=2)
    assert {share.operation for share in found.shares} == {"slow", "mean"}
    assert (found.traces, found.of, found.seconds) == (2, 3, pytest.approx(14))


def test_a_child_whose_clock_is_off_takes_no_more_than_its_parent_had():
    assert own([span("plan", 0, 10), span("lm", -3, 4, "plan"), span("late", 8, 13, "plan")]) == {"plan": 4, "lm": 4, "late": 2}
    assert critical_path([span("plan", 0, 10), span("lm", -3, 4, "plan")]).repaired == 1


def test_spans_without_their_parent_open_ones_and_circles_are_walked_all_the_same():
    assert own([span("lost", 0, 4, "gone"), span("lm", 1, 3, "lost")]) == {"lost": 2, "lm": 2}
    assert own([span("open", 0, None), span("lm", 1, 6, "open")]) == {"open": 1, "lm": 5}
    circle = [span("a", 0, 5, "b"), span("b", 1, 4, "a")]
    assert own(circle) == {"a": 2, "b": 3}
    assert critical_path(circle).repaired == 1
    assert critical_path([]).sentence == "No trace to look at."


names = st.sampled_from("abcdefgh")
times = st.floats(0, 100, allow_nan=False)


@given(st.lists(st.tuples(names, st.none() | names, times, st.none() | times), max_size=12))
def test_no_trace_takes_longer_than_from_its_first_start_to_its_last_end(made):
    spans = [span(name, start, end, parent) for name, parent, start, end in made]
    found = critical_path(spans)
    if spans:
        ends = [max(one.start, one.end or 0) for one in spans]
        assert found.seconds <= max(ends) - min(one.start for one in spans) + 1e-3
    assert all(share.seconds >= -1e-6 for share in found.shares)
    assert sum(share.share for share in found.shares) == pytest.approx(1 if found.seconds else 0)


OTLP = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "swarm"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "t",
                            "spanId": "s1",
                            "parentSpanId": "",
                            "name": "chat",
                            "startTimeUnixNano": str(int(AT * 1e9)),
                            "endTimeUnixNano": str(int((AT + 2) * 1e9)),
                            "attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}}],
                            "status": {"code": 2},
                        }
                    ]
                }
            ],
        }
    ]
}
JAEGER = {
    "data": [
        {
            "processes": {"p1": {"serviceName": "swarm"}},
            "spans": [
                {
                    "traceID": "t",
                    "spanID": "s1",
                    "operationName": "chat",
                    "processID": "p1",
                    "references": [],
                    "startTime": AT * 1e6,
                    "duration": 2_000_000,
                    "tags": [{"key": "gen_ai.usage.input_tokens", "value": 7}, {"key": "error", "value": True}],
                }
            ],
        }
    ]
}
PLAIN = {
    "trace_id": "t",
    "span_id": "s1",
    "parent_id": None,
    "name": "chat",
    "start": AT,
    "end": AT + 2,
    "status": "ERROR",
    "attributes": {"service.name": "swarm", "gen_ai.usage.input_tokens": 7},
}


CONSOLE = {
    "name": "chat",
    "context": {"trace_id": "t", "span_id": "s1", "trace_state": "[]"},
    "kind": "SpanKind.INTERNAL",
    "parent_id": None,
    "start_time": "2023-11-14T22:13:20.000000Z",
    "end_time": "2023-11-14T22:13:22",
    "status": {"status_code": "ERROR"},
    "attributes": {"gen_ai.usage.input_tokens": 7},
    "resource": {"attributes": {"service.name": "swarm"}, "schema_url": ""},
}


@pytest.mark.parametrize("document", [OTLP, JAEGER, PLAIN, CONSOLE], ids=["otlp", "jaeger", "plain", "console"])
@pytest.mark.parametrize("form", ["one document", "lines, one cut off", "over many lines, one cut off"])
def test_spans_are_read_from_every_form(tmp_path, document, form):
    file = tmp_path / "spans.json"
    text = json.dumps(document)
    if form == "lines, one cut off":
        text = f"{text}\n[]\n{text[: len(text) // 2]}"
    elif form == "over many lines, one cut off":
        text = json.dumps(document, indent=4)
        text = f"{text[: len(text) // 2]}\n{text}\n{text[: len(text) // 2]}"
    file.write_text(text)
    (found,) = read_spans(file)
    assert (found.trace_id, found.span_id, found.parent_id, found.name, found.is_error) == ("t", "s1", None, "chat", True)
    assert (found.start, found.end) == (pytest.approx(AT, rel=1e-12), pytest.approx(AT + 2, rel=1e-12))
    assert {name: value for name, value in found.attributes.items() if name != "error"} == {
        "service.name": "swarm",
        "gen_ai.usage.input_tokens": 7,
    }


@pytest.mark.parametrize(
    "text", ["", "nothing", '{"span_id": "1"}', '{"data": 5, "spans": [4, {"spanID": 3}]}', '{"data": [null]}']
)
def test_a_file_without_spans_is_refused_with_what_to_give(tmp_path, text):
    file = tmp_path / "spans.json"
    file.write_text(text)
    with pytest.raises(SourceError, match="has no span"):
        read_spans(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.json"):
        read_spans(tmp_path / "gone.json")
