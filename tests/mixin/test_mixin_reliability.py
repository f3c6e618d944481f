"""What components, breakers, recoveries and handlers did in an hour is what the board "Reliability" shows: number by number."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentgauge.catalogue import reliability
from backfilled import BEGIN, ask, backfilled, sample
from expressions import ALL, dashboard_expressions, load_dashboards
from mixin_checks import series_names
from scenarios import reliability as scenarios
from scenarios.acts_reliability import Alone

pytestmark = pytest.mark.servers

_STEP = 60
_HOUR = 3600
_NAMES = frozenset({*(name for family in reliability.FAMILIES for name in series_names(family)), "agentgauge_build_info"})
_CALLS = {"agent_task_duration_seconds_count"}
_PROGRAMS = [
    Alone(scenarios.is_unwell, "health", "a:1"),
    Alone(scenarios.is_well, "health", "a:2"),
    Alone(scenarios.recovers, "recovery", "a:1"),
    Alone(scenarios.turns_away, "shed", "a:1"),
    Alone(scenarios.tells_in_vain, "told", "a:1", has_faults=True),
    Alone(scenarios.breaks, "breakers", "a:1"),
]


def _lines():
    by_series = {}
    for program in _PROGRAMS:
        for index, page in enumerate(program.pages(_NAMES | _CALLS, _STEP)):
            for family in text_string_to_metric_families(page):
                for shown in family.samples:
                    labels = {"job": program.job, "instance": program.instance} | shown.labels
                    line = sample(shown.name, labels, shown.value, BEGIN + index * _STEP)
                    by_series.setdefault(line.split("} ")[0], []).append(line)
    return [line for lines in sorted(by_series.items()) for line in lines[1]]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with backfilled(tmp_path_factory.mktemp("prometheus"), _lines()) as url:
        yield url


def _asked(title, job):
    board = load_dashboards()["reliability"]
    panels = [panel for panel in board["panels"] if panel["title"] == title and panel["type"] != "row"]
    assert panels, f"there is no panel {title}"
    variables = ALL | {"job": job, "__range": "1h", "__rate_interval": "4m"}
    return [each for each in dashboard_expressions({**board, "panels": panels}, variables) if each.kind == "panel"]


def _shown(url, title, job, minute=60, *labels):
    """Return what a panel shows at a minute, a list of values for each of its queries: by these labels."""
    return [
        {
            tuple(each["metric"].get(label) for label in labels): float(each["value"][1])
            for each in ask(url, "query", query=asked.expr, time=BEGIN + minute * 60)
        }
        for asked in _asked(title, job)
    ]


@pytest.mark.parametrize(
    ("title", "job", "minute", "expected"),
    [
        ("Components", "health", 30, 6),
        ("Components unwell", "health", 5, 0),
        ("Components unwell", "health", 30, 3),
        ("Circuit breakers not closed", "breakers", 1, 0),
        ("Circuit breakers not closed", "breakers", 11, 4),  # two for a bad reason, one that nobody calls, one by hand
        ("Attempts to recover", "recovery", 60, 2 + 10 + 1 + 10 + 1),
        ("Attempts that helped", "recovery", 60, 11 / 24),
        ("Escalations", "recovery", 60, 3),
        ("Requests shed", "shed", 60, 60 + 60 + 30 + 4 + 90),
        ("Notifications lost", "told", 60, 10 + 3 + 8),
    ],
)
def test_a_number_is_what_happened(prometheus, title, job, minute, expected):
    numbers = [values for values in _shown(prometheus, title, job, minute) if list(values) == [()]]
    assert numbers[0][()] == pytest.approx(expected, rel=0.02)


def test_the_table_of_components_has_a_row_for_each_with_its_status_and_what_its_checks_found(prometheus):
    keys = ("component", "instance", "agent_health_status")
    columns = [values for values in _shown(prometheus, "Components", "health", 30, *keys) if (None, None, None) not in values]
    unwell, _changes, since, duration, flapping = columns
    down, degraded, well = ("a:1", "down"), ("a:1", "warning"), ("a:1", "healthy")
    rows = {("database", *down), ("model", *down), ("cache", *degraded), ("disk", *well), ("index", *well)}
    rows.add(("database", "a:2", "healthy"))
    assert set(unwell) == set(since) == set(duration) == set(flapping) == rows
    assert unwell["database", "a:1", "down"] == pytest.approx(21 / 31, rel=0.05)
    assert unwell["index", "a:1", "healthy"] == unwell["database", "a:2", "healthy"] == 0
    assert set(since.values()) == {BEGIN}  # when the programs' own clock began at 0, and no time since


@pytest.mark.parametrize(
    ("title", "job", "minute", "labels", "expected"),
    [
        (
            "Attempts by action",
            "recovery",
            60,
            ("component", "outcome"),
            {
                ("database", "not_recovered"): 2,
                ("index", "not_recovered"): 10,
                ("queue", "timed_out"): 1,
                ("search", "recovered"): 1,
                ("cache", "recovered"): 10,
            },
        ),
        (
            "Escalations",
            "recovery",
            60,
            ("component", "reason"),
            {("database", "budget"): 1, ("queue", "no_action"): 1, ("index", "breaker"): 1},
        ),
        (
            "Shed share of requests",
            "shed",
            25,
            ("gen_ai_agent_name",),
            {"clerk": 0.2, "guide": 0.025, "oracle": 1, "guest": 0.5},
        ),
        ("Lost share of notifications", "told", 19, ("handler",), {"Told.mail": 0, "Told.chat": 1, "Told.pager": 1}),
        ("Unwell share of checks", "health", 30, ("component",), {"cache": 1, "model": 1, "disk": 0, "index": 0}),
        ("Recoveries that do not last", "recovery", 25, ("component",), {"cache": 1, "search": 0, "queue": 0}),
    ],
)
def test_a_panel_shows_what_happened(prometheus, title, job, minute, labels, expected):
    values = _shown(prometheus, title, job, minute, *labels)[-1]
    shown = {key if len(labels) > 1 else key[0]: value for key, value in values.items()}
    assert {key: shown.get(key) for key in expected} == pytest.approx(expected, rel=0.02)


def test_a_program_without_any_of_it_leaves_the_panels_empty_with_a_reason(prometheus):
    board = load_dashboards()["reliability"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) > 30
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        for asked in _asked(panel["title"], "another"):
            assert ask(prometheus, "query", query=asked.expr, time=BEGIN + _HOUR) == [], asked
