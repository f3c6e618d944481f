"""What no program shows again in each run of the tests is like what is shown: series written by hand, and recorded pages."""

import re
import urllib.request

import pytest

from capture import case_files
from expressions import load_cases
from recorded_pages import FOLDER
from stack import Stack

TARGET = {"job", "instance"}
CLOSED = {"outcome", "period", "operator", "severity", "kind", "part"}
"""Labels whose values agentgauge decides: a case must use one that is real."""
OF_THE_SCRAPER = {"up", "ALERTS"}


def _shape(text):
    """Return a series' name, and the names of its own labels, of some with their values: what nobody may invent."""
    name, _, labels = text.partition("{")
    own = [(label, value) for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels) if label not in TARGET and value]
    return name, frozenset(f"{label}={value}" if label in CLOSED else label for label, value in own)


def _invented(by_hand, shown):
    real = {_shape(text) for text in shown}
    return [text for text in by_hand if _shape(text) not in real and text.partition("{")[0] not in OF_THE_SCRAPER]


def _series():
    """Return the series of all cases: those written by hand, and those captured."""
    by_hand, captured = [], []
    for file in case_files().values():
        for test in load_cases(file.path)["tests"]:
            series = captured if test["name"] in file.scenarios else by_hand
            series += [each["series"] for each in test["input_series"]]
    return by_hand, captured


def test_every_series_written_by_hand_has_the_name_and_labels_of_one_that_a_program_shows():
    by_hand, captured = _series()
    assert len(by_hand) > 10
    assert _invented(by_hand, captured) == []


@pytest.mark.parametrize(
    "text",
    [
        'agent_task_total{agent_task="t"}',
        'agent_handoffs_total{source="a",target="b",result="error"}',
        'agent_handoffs_total{source="a",target="b",outcome="failed"}',
        'agent_queue_depth{queue="q"}',
    ],
)
def test_an_invented_name_label_or_outcome_is_found(text):
    assert _invented([text], _series()[1]) == [text]


@pytest.mark.servers
def test_the_recorded_pages_of_servers_have_the_names_and_labels_that_these_show_today():
    recorded = {_shape(line) for path in FOLDER.glob("*.txt") for line in path.read_text("utf-8").splitlines() if "{" in line}
    assert len(recorded) == len(list(FOLDER.glob("*.txt")))
    with Stack([]) as stack:
        sent = "prometheus_notifications_errors_total{"
        stack.wait_until(lambda: sent in _page(stack.prometheus_url), what="an Alertmanager that Prometheus has found")
        pages = _page(stack.prometheus_url) + _page(stack.alertmanager_url)
    shown = [_shape(line) for line in pages.splitlines()]
    # a release may have further labels
    missing = [one for one in recorded if not any(one[0] == name and one[1] <= labels for name, labels in shown)]
    assert missing == []


def _page(url):
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        return response.read().decode()
