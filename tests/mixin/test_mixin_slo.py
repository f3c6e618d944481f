"""The burn rules say, over thirty days of data, what a calculation from the calls themselves says."""

import bisect
import itertools
import json
import re
import urllib.parse
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import pytest

from backfilled import BEGIN, backfilled, sample
from expressions import RULES, load_rules

pytestmark = pytest.mark.servers

DAYS = 30
MINUTES = DAYS * 1440
START = BEGIN - DAYS * 86400
STEP = 300
LEAD = (
    10  # seconds from a scrape to the question: no sample lies on the edge of a window, which Prometheus 2 and 3 draw differently
)
WINDOWS = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320, "30d": 43200}
LAST = START + (MINUTES - STEP // 60) * 60
RULES_OF_SLO = [rule for group in load_rules(RULES / "slo.yml")["groups"] for rule in group["rules"]]
RECORDED = [rule for rule in RULES_OF_SLO if "record" in rule]
PAIRS = {"Fast": (("1h", "5m", 14.4), ("6h", "30m", 6)), "Slow": (("1d", "2h", 3), ("3d", "6h", 1))}
FEWEST_BAD = 5
LATENCY_BUDGET = 0.05
TOLERANCE_MINUTES = 10  # the long windows are sums of five minutes each, and the rules are asked every five minutes

# From minute to minute, which share of the calls is bad: an outage, a bad day, bad nights and days, a bad morning, a bad shift.
INCIDENTS = (
    (3 * 1440 + 720, 3 * 1440 + 840, 1.0),
    (8 * 1440 + 480, 8 * 1440 + 1200, 0.2),
    (14 * 1440, 18 * 1440, 0.0055),
    (22 * 1440 + 600, 22 * 1440 + 960, 0.05),
    (26 * 1440 + 480, 26 * 1440 + 960, 0.7),
)
RARE = ((5 * 1440, 5 * 1440 + 180, 1.0), (12 * 1440, 13 * 1440, 1.0))
RESTARTS = (10 * 1440 + 333, 22 * 1440 + 700)


@dataclass(frozen=True)
class Task:
    """A task, how often it is called a minute by day (0: once an hour), and what is promised of it."""

    name: str
    calls: int
    objective: float | None
    incidents: tuple = INCIDENTS
    is_slow: bool = False
    has_broken_twin: bool = False

    @property
    def budget(self):
        return LATENCY_BUDGET if self.is_slow else 1 - self.objective

    def minute(self, index):
        """Return how many calls ended in a minute, and how many of them were bad."""
        is_night = 120 <= index % 1440 < 240
        calls = (0 if is_night else self.calls) if self.calls else int(index % 60 == 7)
        share = next((share for begin, end, share in self.incidents if begin <= index < end), 0)
        return calls, int((index + 1) * calls * share) - int(index * calls * share)


TASKS = [
    Task("90", 60, 0.9),
    Task("99", 60, 0.99),
    Task("99.9", 200, 0.999),
    Task("99.99", 1000, 0.9999),
    Task("rare", 0, 0.99, RARE),
    Task("twin", 60, 0.99, has_broken_twin=True),
    Task("slow", 60, None, is_slow=True),
]
BY_NAME = {task.name: task for task in TASKS}


@cache
def _cumulated(task):
    """Return the running totals of a task's calls and bad calls, by minute."""
    totals = zip(*(itertools.accumulate(column) for column in zip(*map(task.minute, range(MINUTES)), strict=True)), strict=True)
    return [(0, 0), *totals]


def _samples():
    for task in TASKS:
        labels = {"job": "a", "instance": "a:1", "gen_ai_agent_name": "r", "agent_task": task.name}
        calls, bad = zip(*_cumulated(task), strict=True)
        good = calls if task.is_slow else [all_ - some for all_, some in zip(calls, bad, strict=True)]
        count = "agent_task_duration_seconds_count"
        yield from _counter(count, labels | {"outcome": "success"}, good)
        if task.is_slow:
            yield from _counter("agent_objective_latency_missed_total", labels, bad)
            yield from _gauge("agent_objective_latency_seconds", labels, 5)
        else:
            yield from _counter(count, labels | {"outcome": "error"}, [some // 2 for some in bad])
            yield from _counter(count, labels | {"outcome": "timeout"}, [some - some // 2 for some in bad])
            yield from _gauge("agent_objective_success_ratio", labels, task.objective)
        if task.has_broken_twin:
            broken = labels | {"instance": "broken:1"}
            for outcome in ("success", "error"):
                yield from _gauge(count, broken | {"outcome": outcome}, "NaN")
            yield from _gauge("agent_objective_success_ratio", broken, "NaN")


def _counter(name, labels, totals):
    begun = sample(name, labels, "", "").rstrip()
    lost = 0  # by a restart, after which a counter begins at 0
    for minute in range(MINUTES):
        if minute in RESTARTS:
            lost = totals[minute]
        yield f"{begun} {totals[minute] - lost} {START + minute * 60 - LEAD}"
        halfway = (totals[minute] + totals[minute + 1] + minute % 2) // 2  # a single call falls in either half
        yield f"{begun} {halfway - lost} {START + minute * 60 + 30 - LEAD}"


def _gauge(name, labels, value):
    for minute in range(0, MINUTES, 4):
        yield sample(name, labels, value, START + minute * 60 - LEAD)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus with the calls of thirty days and with all that the rules would have recorded of them."""
    folder, lines, known = tmp_path_factory.mktemp("slo"), _samples(), set()
    while waiting := [rule for rule in RECORDED if rule["record"] not in known]:
        ready = [rule for rule in waiting if known.issuperset(_sources(rule))]
        with backfilled(folder, lines) as url:
            lines = [line for rule in ready for line in _record(url, rule)]
        known.update(rule["record"] for rule in ready)
    with backfilled(folder, lines) as url:
        yield url


def _sources(rule):
    return re.findall(r"job_agent_task_objective:\w+:\w+", rule["expr"])


def _record(url, rule):
    for one in _ask(url, rule["expr"]):
        labels = {name: value for name, value in one["metric"].items() if name != "__name__"}
        begun = sample(rule["record"], labels, "", "").rstrip()
        yield from (f"{begun} {value} {when}" for when, value in one["values"])


def _ask(url, expr):
    """Evaluate an expression every five minutes of the thirty days."""
    body = urllib.parse.urlencode({"query": expr, "start": START, "end": LAST, "step": STEP}).encode()
    with urllib.request.urlopen(f"{url}/api/v1/query_range", data=body, timeout=120) as response:
        return json.load(response)["data"]["result"]


def _burn(task, minute, window):
    """Return a task's burn rate and how many calls were bad in the window that ends with a minute; None without calls."""
    totals = _cumulated(task)
    (calls, bad), (calls_before, bad_before) = totals[minute], totals[max(0, minute - WINDOWS[window])]
    if calls == calls_before:
        return None, 0
    return (bad - bad_before) / (calls - calls_before) / task.budget, bad - bad_before


def _is_firing(task, minute, speed):
    for long, short, factor in PAIRS[speed]:
        if factor * task.budget >= 1:
            continue
        burn, bad = _burn(task, minute, long)
        burn_now, _ = _burn(task, minute, short)
        if burn is not None and burn_now is not None and min(burn, burn_now) > factor and bad >= FEWEST_BAD:
            return True
    return False


def _spans(minutes):
    """Join minutes, five apart, into spans."""
    spans = []
    for minute in sorted(minutes):
        if spans and minute - spans[-1][1] <= STEP // 60:
            spans[-1][1] = minute
        else:
            spans.append([minute, minute])
    return spans


@pytest.fixture(scope="module")
def fired(prometheus):
    """The spans, in minutes since the start, in which each alert's expression is true for each task."""
    minutes = defaultdict(list)
    for rule in RULES_OF_SLO:
        for one in _ask(prometheus, rule["expr"]) if "alert" in rule else ():  # one for each pair of windows
            minutes[rule["alert"], one["metric"]["agent_task"]] += [(int(when) - START) // 60 for when, _ in one["values"]]
    return {key: _spans(found) for key, found in minutes.items()}


@pytest.mark.parametrize("speed", PAIRS)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_an_alert_is_up_exactly_when_the_calls_say_so(fired, task, speed):
    expected = _spans(minute for minute in range(0, MINUTES, STEP // 60) if _is_firing(task, minute, speed))
    found = fired.get((f"Agentgauge{'Latency' if task.is_slow else 'Error'}BudgetBurn{speed}", task.name), [])
    assert len(found) == len(expected), (found, expected)
    differences = [abs(one - other) for pair in zip(found, expected, strict=True) for one, other in zip(*pair, strict=True)]
    assert max(differences, default=0) <= TOLERANCE_MINUTES, (found, expected)


def _told(fired, kind, speed, task):
    """Return which incidents an alert told of, by the days on which they began."""
    begins = [begin for begin, _ in fired.get((f"Agentgauge{kind}BudgetBurn{speed}", task.name), [])]
    days = [incident[0] for incident in task.incidents]
    return sorted({days[bisect.bisect(days, begin) - 1] // 1440 for begin in begins})


@pytest.mark.parametrize(
    ("task", "fast", "slow"),
    [
        ("90", [26], []),  # 14.4 times 10 % is out of reach, 6 times is not; eight bad hours are a quarter of the calls of a day
        ("99", [3, 8, 26], [3, 8, 26]),
        ("99.9", [3, 8, 22, 26], [3, 8, 14, 22, 26]),
        ("99.99", [3, 8, 14, 22, 26], [3, 8, 14, 22, 26]),
        ("rare", [12], [12]),  # three failures of three calls are too few, a day of nothing else is not
        ("twin", [3, 8, 26], [3, 8, 26]),
    ],
)
def test_each_incident_calls_somebody_or_not_as_its_objective_wants_it(fired, task, fast, slow):
    task = BY_NAME[task]
    assert (_told(fired, "Error", "Fast", task), _told(fired, "Error", "Slow", task)) == (fast, slow)
    assert not _told(fired, "Latency", "Fast", task)


def test_numbers_that_are_none_change_nothing(fired):
    for speed in PAIRS:
        assert fired["AgentgaugeErrorBudgetBurn" + speed, "twin"] == fired["AgentgaugeErrorBudgetBurn" + speed, "99"]


def test_slow_calls_burn_the_latency_objective_and_no_other(fired):
    assert _told(fired, "Latency", "Fast", BY_NAME["slow"]) == [3, 26]
    assert not [name for name, task in fired if task == "slow" and "Error" in name]


def test_an_outage_is_told_within_minutes_and_its_end_within_the_short_window(fired):
    begin, end, _ = INCIDENTS[0]
    (first, *_) = fired["AgentgaugeErrorBudgetBurnFast", "99.9"]
    assert begin < first[0] <= begin + 5
    assert end <= first[1] <= end + 30


def test_what_is_left_of_a_budget_is_what_the_calls_of_thirty_days_leave(prometheus):
    found = _ask(prometheus, "job_agent_task_objective:agent_objective_budget_left:ratio30d")
    left = {one["metric"]["agent_task"]: float(one["values"][-1][1]) for one in found}
    expected = {task.name: 1 - _burn(task, (LAST - START) // 60, "30d")[0] for task in TASKS}
    assert expected["99.99"] < 0 < expected["90"] < 1
    assert left == pytest.approx(expected, rel=0.02, abs=0.02)
