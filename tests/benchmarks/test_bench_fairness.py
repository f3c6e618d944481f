from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import agentgauge
from calls import attributes_of
from measure import Subject, measure
from mirror import Children, Mirror
from references import spanned, spanned_async
from scrape import page_writers
from subjects import fail, work, work_async


def series(families) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The series of a page by name and labels; an empty label is none."""
    return {
        (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value))
        for family in families
        for sample in family.samples
    }


def test_both_pages_of_a_format_show_the_same_series(fresh, monkeypatch):
    monkeypatch.setattr("prometheus_client.metrics._use_created", True)
    monkeypatch.setattr(fresh.recorder, "series_limit", fresh.recorder.series_limit)
    children = Children(30)
    children.touch()
    mirror = Mirror(list(children.registry.collect()))
    pages = {name: write() for name, write in page_writers(children, mirror).items()}
    for text_format, parse in (("text", parse_text), ("OpenMetrics", parse_openmetrics)):
        ours = series(parse(b"".join(pages[f"{text_format}: ours"]).decode()))
        theirs = series(parse(pages[f"{text_format}: theirs"].decode()))
        assert ours == theirs
        assert sum(name == "agent_task_duration_seconds_count" for name, _ in ours) == 30


def test_our_span_and_the_reference_have_the_same_name_and_attributes(fresh, spans):
    tracer = trace.get_tracer("bench")
    agentgauge.task("work")(work)(1)
    spanned(work, tracer, "execute_task work", attributes_of("work"))(1)
    asyncio.run(agentgauge.task("work")(work_async)(1))
    asyncio.run(spanned_async(work_async, tracer, "execute_task work", attributes_of("work"))(1))
    assert len(spans.get_finished_spans()) == 4
    assert {(span.name, tuple(sorted(span.attributes.items()))) for span in spans.get_finished_spans()} == {
        ("execute_task work", (("agent.task", "work"), ("gen_ai.operation.name", "execute_task")))
    }


def test_the_reference_of_the_error_path_records_the_exception(spans):
    reference = spanned(fail, trace.get_tracer("bench"), "execute_task fail", attributes_of("fail"))
    with pytest.raises(ValueError, match="1"):
        reference(1)
    [span] = spans.get_finished_spans()
    assert [event.name for event in span.events] == ["exception"]


def test_a_subject_that_holds_less_than_was_called_has_no_figure():
    with pytest.raises(RuntimeError, match="forgetful: 10 calls were made, 9 are held"):
        measure([Subject("forgetful", lambda calls: None, settle=lambda: 9)], calls=10, rounds=1)
