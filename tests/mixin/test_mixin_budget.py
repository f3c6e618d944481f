"""What has been spent since midnight and since the first of the month, as the rules reckon it, is what a calendar says."""

import datetime as dt
import itertools
import json
import re
import urllib.parse
import urllib.request

import pytest

from backfilled import backfilled, sample
from expressions import RULES, load_rules

pytestmark = pytest.mark.servers

UTC = dt.UTC
BEGIN, END = (dt.datetime(2024, month, 1, tzinfo=UTC) for month in (1, 4))  # a leap year's February is among them
STEP = 150  # seconds between two readings
RESTART = dt.datetime(2024, 2, 20, 9, tzinfo=UTC)
AGENTS = {"steady": 1.0, "busy": 3.0}


def _moment(month, day, hour=0, minute=0):
    return dt.datetime(2024, month, day, hour, minute, tzinfo=UTC)


def _usd(factor, moment):
    """Return what is spent in the step that ends at a moment: each day another amount, by day more than by night."""
    hour = (moment - dt.timedelta(seconds=1)).hour
    day = (moment - dt.timedelta(seconds=1)).timetuple().tm_yday
    return factor * (1 + day % 7 * 0.5) * (0.2 if hour < 6 else 1) * STEP / 86400


def _moments():
    return [BEGIN + dt.timedelta(seconds=STEP * index) for index in range(int((END - BEGIN).total_seconds()) // STEP)]


def _samples():
    moments = _moments()
    for agent, factor in AGENTS.items():
        total = 0.0
        for moment in moments:
            if moment == RESTART:
                total = 0.0  # what it had counted is gone with it
            total += _usd(factor, moment)
            labels = {"job": "a", "instance": "a:1", "gen_ai_agent_name": agent, "gen_ai_request_model": "m"}
            yield sample("agent_cost_usd_total", labels, total, moment.timestamp())


def _spent(factor, since, until):
    return sum(_usd(factor, moment) for moment in _moments() if since < moment <= until)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with backfilled(tmp_path_factory.mktemp("budget"), _samples()) as url:
        yield url


def _expanded(name):
    """Return the expression of a rule with those of the rules that it is made of in the place of their names."""
    rules = [rule for group in load_rules(RULES / "models.yml")["groups"] for rule in group["rules"] if "record" in rule]
    by_name = {rule["record"]: rule["expr"] for rule in rules}
    return re.sub(r"job_agent:agent_cost_usd:increase\w+", lambda match: f"({by_name[match[0]]})", by_name[name])


def _ask(url, name, moment):
    body = urllib.parse.urlencode({"query": _expanded(name), "time": moment.timestamp()}).encode()
    with urllib.request.urlopen(f"{url}/api/v1/query", data=body, timeout=120) as response:
        found = json.load(response)["data"]["result"]
    return {one["metric"].get("gen_ai_agent_name", ""): float(one["value"][1]) for one in found}


def _expected(since, until):
    by_agent = {agent: _spent(factor, since, until) for agent, factor in AGENTS.items()}
    return by_agent | {"": sum(by_agent.values())}


@pytest.mark.parametrize(
    "moment",
    [
        _moment(1, 31, 23, 55),
        _moment(2, 1, 0, 30),
        _moment(2, 12, 12, 0),
        _moment(2, 19, 18, 7),
        _moment(2, 29, 24 - 1, 59),
        _moment(3, 1, 6, 0),
        _moment(3, 25, 3, 2),
    ],
    ids=str,
)
def test_a_day_begins_at_midnight_in_utc(prometheus, moment):
    midnight = moment.replace(hour=0, minute=0)
    expected = _expected(midnight, moment)
    five_minutes = {agent: 300 * 4 * factor / 86400 for agent, factor in {**AGENTS, "": sum(AGENTS.values())}.items()}
    found = _ask(prometheus, "job_agent:agent_cost_usd:sum_day", moment)
    assert set(found) == set(expected)
    for agent, usd in expected.items():
        assert found[agent] == pytest.approx(usd, rel=0.02, abs=five_minutes[agent])


@pytest.mark.parametrize(
    "moment",
    [
        _moment(month, day, hour)
        for (month, day), hour in zip(
            [(2, 1), (2, 2), (2, 15), (2, 16), (2, 28), (2, 29), (3, 1), (3, 2), (3, 15), (3, 16), (3, 30), (3, 31)],
            itertools.cycle([12, 18, 6]),
        )
    ],
    ids=str,
)
def test_a_month_begins_on_its_first_day_however_long_the_one_before_was(prometheus, moment):
    first = moment.replace(day=1, hour=0)
    expected = _expected(first, moment)
    six_hours = {agent: 4 * factor / 4 for agent, factor in {**AGENTS, "": sum(AGENTS.values())}.items()}
    found = _ask(prometheus, "job_agent:agent_cost_usd:sum_month", moment)
    assert set(found) == set(expected)
    for agent, usd in expected.items():
        assert found[agent] == pytest.approx(usd, rel=0.02, abs=six_hours[agent])


def test_the_numbers_that_a_wrong_day_or_month_would_bring_are_far_from_the_right_ones():
    moment = _moment(3, 15, 6)
    day, month = moment.replace(hour=0), moment.replace(day=1, hour=0)
    for since, other in ((day, day - dt.timedelta(hours=1)), (month, month - dt.timedelta(days=1))):
        right, wrong = _expected(since, moment), _expected(other, moment)
        assert all(abs(wrong[agent] - right[agent]) > 0.02 * right[agent] for agent in right)
