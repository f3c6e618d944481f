from __future__ import annotations

import logging
import math
import subprocess
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_series import MadeUp, histogram, one_of_each_kind, plain, registry_of, task_durations
from prometheus_client import Counter as ClientCounter
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, exposition
from prometheus_client import Histogram as ClientHistogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agentgauge import catalogue
from agentgauge.catalogue import Family, Kind
from agentgauge.errors import contained_errors
from agentgauge.exposition.text import render
from agentgauge.recording.points import Exemplar

NASTY = ["%", "%s", "%d%%", "\0", '"', "\\", "\n", '\\n"', "{", "}", "{}", ",", 'a="b"', " # ", "\r", "\u2028", "é", "🙂"]
LABEL_VALUES = st.one_of(st.sampled_from(NASTY), st.text(min_size=1, max_size=8))
LABEL_SETS = st.lists(
    st.one_of(st.just(()), st.tuples(st.tuples(st.just("a"), LABEL_VALUES), st.tuples(st.just("b"), LABEL_VALUES))),
    unique=True,
    max_size=4,
)
COUNTS = st.integers(0, 2**53)
SUMS = st.floats(0, allow_nan=False)
EXEMPLARS = st.builds(
    Exemplar,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.floats(0, 1e6),
    st.floats(1, 4e9),
)
HELPS = st.one_of(st.sampled_from(NASTY), st.text(min_size=1, max_size=20))


def page_of(registry, *, openmetrics=False, names=frozenset()):
    return b"".join(render(registry, openmetrics=openmetrics, names=names)).decode()


def readings(page, *, openmetrics):
    """Everything that a parser finds on a page, in a form in which NaN equals NaN."""
    return [
        (
            family.name,
            family.documentation,
            family.type,
            family.unit,
            Counter((s.name, tuple(sorted(s.labels.items())), repr(float(s.value)), spelled(s.exemplar)) for s in family.samples),
        )
        for family in (parse_openmetrics(page) if openmetrics else parse_text(page))
    ]


def spelled(exemplar):
    return exemplar and f"{sorted(exemplar.labels.items())} {exemplar.value!r} {exemplar.timestamp}"


def assert_equals_the_clients_page(registry, *, openmetrics):
    generate = openmetrics_exposition.generate_latest if openmetrics else exposition.generate_latest
    ours = readings(page_of(registry, openmetrics=openmetrics), openmetrics=openmetrics)
    assert ours == readings(generate(registry).decode(), openmetrics=openmetrics)
    return ours


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_page_says_what_the_clients_own_page_says_of_every_kind(openmetrics):
    ours = assert_equals_the_clients_page(registry_of(one_of_each_kind()), openmetrics=openmetrics)
    assert sum(len(samples) for *_, samples in ours) > 40


@pytest.mark.parametrize("openmetrics", [False, True])
@given(data=st.data(), text=HELPS, labels=LABEL_SETS)
def test_any_histogram_reads_as_the_client_writes_it(openmetrics, data, text, labels):
    buckets = tuple(sorted(data.draw(st.sets(st.floats(1e-6, 1e9), max_size=5))))
    size = len(buckets) + 1
    points = [
        histogram(
            label_set,
            data.draw(st.lists(COUNTS, min_size=size, max_size=size)),
            data.draw(SUMS if openmetrics else st.floats()),
            data.draw(st.dictionaries(st.integers(0, size - 1), EXEMPLARS)),
        )
        for label_set in labels
    ]
    registry = registry_of(MadeUp({Family("made_up_seconds", Kind.HISTOGRAM, text, "seconds", ("a", "b"), buckets): points}))
    assert_equals_the_clients_page(registry, openmetrics=openmetrics)


@pytest.mark.parametrize("openmetrics", [False, True])
@given(data=st.data(), text=HELPS, labels=LABEL_SETS)
def test_any_gauge_and_counter_reads_as_the_client_writes_it(openmetrics, data, text, labels):
    registry = registry_of(
        MadeUp(
            {
                Family("made_up_ratio", Kind.GAUGE, text, "ratio"): [plain(s, data.draw(st.floats())) for s in labels],
                Family("made_up_total", Kind.COUNTER, text): [plain(s, data.draw(SUMS)) for s in labels],
            }
        )
    )
    assert_equals_the_clients_page(registry, openmetrics=openmetrics)


@given(value=LABEL_VALUES)
def test_a_label_value_survives_the_page(value):
    registry = registry_of(MadeUp({catalogue.CONNECTIONS: [plain(((catalogue.AGENT, value),), 1)]}))
    (family,) = parse_text(page_of(registry))
    assert [sample.labels for sample in family.samples] == [{catalogue.AGENT: value}]


def test_values_are_spelled_as_prometheus_spells_them():
    values = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": 1e7, "e": -2.5, "f": 3}
    page = page_of(registry_of(MadeUp({catalogue.CONNECTIONS: [plain((("x", name),), value) for name, value in values.items()]})))
    shown = dict(line.removeprefix("agent_connections").split(" ") for line in page.splitlines() if not line.startswith("#"))
    assert shown == {
        '{x="a"}': "+Inf",
        '{x="b"}': "-Inf",
        '{x="c"}': "NaN",
        '{x="d"}': "1e+07",
        '{x="e"}': "-2.5",
        '{x="f"}': "3.0",
    }


def test_an_exemplar_stands_behind_its_bucket_in_openmetrics_only():
    family = Family("made_up_seconds", Kind.HISTOGRAM, "Made up.", "seconds", (), (1.0,))
    registry = registry_of(MadeUp({family: [histogram((), [2, 1], 4.5, {0: Exemplar(0xAB, 0xCD, 0.5, 1700000000.125)})]}))
    assert page_of(registry, openmetrics=True) == (
        "# HELP made_up_seconds Made up.\n"
        "# TYPE made_up_seconds histogram\n"
        "# UNIT made_up_seconds seconds\n"
        'made_up_seconds_bucket{le="1.0"} 2 # {trace_id="000000000000000000000000000000ab",span_id="00000000000000cd"} '
        "0.5 1700000000.125\n"
        'made_up_seconds_bucket{le="+Inf"} 3\n'
        "made_up_seconds_count 3\n"
        "made_up_seconds_sum 4.5\n"
        "# EOF\n"
    )
    assert "trace_id" not in page_of(registry)


def test_a_long_page_comes_in_small_chunks_that_hold_all_of_it():
    chunks = list(render(registry_of(task_durations(1000)), openmetrics=False))
    assert len(chunks) > 10
    assert max(map(len, chunks)) < 100_000
    (family,) = parse_text(b"".join(chunks).decode())
    assert len(family.samples) == 1000 * (len(catalogue.TASK_DURATION.buckets) + 3)


def test_a_lone_surrogate_in_a_label_does_not_cost_the_page():
    registry = registry_of(MadeUp({catalogue.CONNECTIONS: [plain(((catalogue.AGENT, "a\udc80"),), 1)]}))
    assert 'agent_connections{gen_ai_agent_name="a?"} 1.0' in page_of(registry)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_families_of_other_collectors_stand_beside_ours(openmetrics):
    registry = registry_of(one_of_each_kind())
    ClientCounter("questions", "Questions.", ["kind"], registry=registry).labels("open").inc()
    ClientHistogram("sizes", "Sizes.", registry=registry).observe(3)
    registry.set_target_info({"host_name": "here"})
    page = page_of(registry, openmetrics=openmetrics)
    assert page.count("# EOF\n") == openmetrics
    found = {name: samples for name, _, _, _, samples in readings(page, openmetrics=openmetrics)}
    assert {"agent_task_duration_seconds", "sizes", "questions"} <= {name.removesuffix("_total") for name in found}
    info = found["target" if openmetrics else "target_info"]
    assert sorted(labels for _, labels, _, _ in info) == [(("host_name", "here"),), (("service_name", "swarm"),)]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_one_name_from_two_collectors_is_one_family_and_the_first_series_wins(openmetrics):
    family = Family("made_up_shared_seconds", Kind.HISTOGRAM, "Ours.", "seconds", ("a",), (1.0, 2.0))
    mine = MadeUp({family: [histogram((("a", "x"),), [1, 1, 1], 5.0), histogram((("a", "y"),), [1, 0, 0], 0.5)]})
    registry = registry_of(mine)
    foreign = ClientHistogram("made_up_shared_seconds", "Theirs.", ["a"], registry=registry, buckets=(1.0, 3.0))
    foreign.labels("y").observe(9)
    foreign.labels("z").observe(9)
    page = page_of(registry, openmetrics=openmetrics)
    assert page.count("# HELP made_up_shared_seconds ") == page.count("# TYPE made_up_shared_seconds ") == 1
    shown = next(found for found in readings(page, openmetrics=openmetrics) if found[0] == "made_up_shared_seconds")
    buckets = [dict(labels) for name, labels, _, _ in shown[-1] if name.endswith("_bucket")]
    assert {(labels["a"], labels["le"]) for labels in buckets} == {
        *(("x", le) for le in ("1.0", "2.0", "+Inf")),
        *(("y", le) for le in ("1.0", "2.0", "+Inf")),
        *(("z", le) for le in ("1.0", "3.0", "+Inf")),
    }
    assert len(buckets) == 9


def test_a_series_that_two_collectors_export_is_warned_of_once(caplog):
    registry = registry_of(*(MadeUp({Family("made_up_twice", Kind.GAUGE, "Made up."): [plain((), 1)]}) for _ in range(2)))
    with caplog.at_level(logging.WARNING, "agentgauge"):
        pages = [page_of(registry) for _ in range(3)]
    assert all(page.endswith("gauge\nmade_up_twice 1.0\n") for page in pages)
    assert [record.getMessage().count("made_up_twice") for record in caplog.records] == [1]


def test_one_name_with_two_types_keeps_the_first():
    class Foreign:
        def collect(self):
            yield GaugeMetricFamily("made_up_typed_seconds", "Theirs.", 7)

    family = Family("made_up_typed_seconds", Kind.HISTOGRAM, "Ours.", "seconds", (), (1.0,))
    page = page_of(registry_of(MadeUp({family: [histogram((), [1, 0], 0.5)]}), Foreign()))
    assert "made_up_typed_seconds 7" not in page
    assert "made_up_typed_seconds_count 1" in page


def test_a_family_that_cannot_be_written_costs_only_itself():
    class Broken:
        def collect(self):
            yield GaugeMetricFamily("made_up_broken", "Its value is no number.", "none")

    before = contained_errors.count_by_hook.get("exposition", 0)
    page = page_of(registry_of(Broken(), one_of_each_kind()))
    assert "made_up_broken" not in page
    assert "agent_task_duration_seconds_count" in page
    assert contained_errors.count_by_hook["exposition"] == before + 1


@pytest.mark.parametrize("openmetrics", [False, True])
def test_names_choose_the_families_of_the_page(openmetrics):
    registry = registry_of(one_of_each_kind())
    ClientCounter("questions", "Questions.", registry=registry).inc()
    names = frozenset({"agent_tasks_in_progress", "agent_task_duration_seconds_count", "questions_total", "agent_task"})
    page = page_of(registry, openmetrics=openmetrics, names=names)
    shown = {name.removesuffix("_total") for name, *_ in readings(page, openmetrics=openmetrics)}
    assert shown - {"questions_created"} == {"agent_tasks_in_progress", "agent_task_duration_seconds", "questions"}


@pytest.mark.servers
def test_promtool_has_nothing_to_say_about_the_page():
    registry = registry_of(one_of_each_kind())
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(MadeUp({catalogue.TASKS_IN_PROGRESS: [plain((("agent_task", "late"),), 1)]}))
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page_of(registry), capture_output=True, text=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
