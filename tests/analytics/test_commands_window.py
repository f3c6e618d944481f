"""Times that people type, and the window that a command answers about."""

from __future__ import annotations

import argparse
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.analytics.commands.ending import without_credentials
from agentgauge.analytics.commands.question import asked, source_named
from agentgauge.analytics.commands.times import as_duration, as_time
from agentgauge.analytics.history import History
from agentgauge.analytics.steps import closest_interval
from agentgauge.errors import ConfigurationError, SourceError
from made_source import MadeSource

NOW = 1_750_000_000.0


def options(**given):
    plain = {"source": None, "since": None, "until": "now", "step": None, "token_file": None, "ca_file": None}
    return argparse.Namespace(**(plain | given))


def source(first, last, interval=15):
    times = [first + interval * index for index in range(int((last - first) / interval) + 1)]
    return MadeSource().add("agentgauge_build_info", times, [1.0] * len(times))


def ask(made, **given):
    return asked(made, options(**given), now=NOW, step=lambda _what: None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("15min", 900), ("24h", 86400), ("7d", 604800), ("1h30m", 5400), ("0.5h", 1800), ("250ms", 0.25)],
)
def test_durations_are_read_with_their_units(text, seconds):
    assert as_duration("--since", text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "5 y", "-5m", "0s", "5000d", "5m later", "1h30", "²s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ConfigurationError, match=r"--horizon .*24h"):
        as_duration("--horizon", text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        ("2h", NOW - 7200),
        ("2025-06-15T15:06:40Z", NOW),
        ("2025-06-15T17:06:40+02:00", NOW),
        ("2025-06-15 15:06:40+00:00", NOW),
        ("1750000000", NOW),
    ],
)
def test_times_are_durations_ago_or_instants_with_a_zone(text, at):
    assert as_time("--since", text, now=NOW) == at


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2025-06-15T15:06:40", "no zone"),
        ("2025-06-15", "no zone"),
        ("0001-01-01", "no time"),
        ("9999-12-31T23:59:59-05:00", "no time"),
        ("2025-13-45T00:00:00Z", "write it as"),
        ("yesterday", "with its zone"),
        ("5", "with a unit"),
        ("", "with its zone"),
    ],
)
def test_what_is_no_time_is_refused_with_the_way_to_write_it(text, hint):
    with pytest.raises(ConfigurationError, match=hint):
        as_time("--since", text, now=NOW)


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_what_iso_8601_writes_is_read_back(instant):
    assert as_time("--until", instant.isoformat(), now=NOW) == instant.timestamp()


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_refused(text):
    with suppress(ConfigurationError):
        assert isinstance(as_time("--since", text, now=NOW), float)


def test_a_window_is_what_was_asked_for_as_far_as_there_are_samples():
    question = ask(source(NOW - 7200, NOW - 3600), since="24h")
    assert question.extent == (NOW - 7200, NOW - 3600)
    assert NOW - 7200 - 60 <= question.grid.start - question.grid.step_seconds <= NOW - 7200
    assert question.grid.end <= question.until == NOW - 3600
    facts = {fact.name: fact.value for fact in question.facts}
    assert facts["age_seconds"] == 3600


def test_a_window_is_laid_in_steps_with_some_samples_each():
    assert ask(source(NOW - 86400, NOW, 15)).grid.step_seconds == 60
    assert ask(source(NOW - 86400, NOW, 60)).grid.step_seconds == 300
    assert ask(source(NOW - 86400, NOW, 7200)).grid.step_seconds == 7200  # rarer than the places that are probed
    assert ask(source(NOW - 8, NOW, 1)).grid.step_seconds == 1
    assert ask(source(NOW - 86400, NOW), step="5m").grid.step_seconds == 300


@pytest.mark.parametrize("interval", [1, 15, 60])
@pytest.mark.parametrize("seconds", [40, 3600, 10_000])
def test_a_step_that_is_finer_than_the_samples_lie_apart_is_refused(interval, seconds):
    made = source(NOW - max(seconds, 4 * interval), NOW, interval)
    question = ask(made, since="7d", step=f"{interval}s")
    assert question.grid.step_seconds == interval
    assert closest_interval(made, question.grid) == pytest.approx(interval, rel=0.05)
    with pytest.raises(ConfigurationError, match="finer than the samples of made up, which lie about"):
        ask(made, since="7d", step=f"{interval * 1000 / 2.5:.0f}ms")


@pytest.mark.parametrize("seconds", [10, 60, 600])
def test_of_a_program_that_runs_now_and_then_a_step_may_be_as_fine_as_while_it_runs(seconds):
    times = [NOW - 86400 + 7200 * run + second for run in range(12) for second in range(seconds)]
    made = MadeSource().add("agentgauge_build_info", times, [1.0] * len(times))
    assert ask(made, since="7d", step="2s").grid.step_seconds == 2


def test_what_a_program_recorded_more_often_than_it_was_sampled_may_be_looked_at_as_finely(tmp_path):
    with History(tmp_path / "history.db", clock=lambda: NOW) as history:
        history.write_points("agentgauge_build_info", (), [NOW - 15 * at for at in range(40)], [1.0] * 40)
        history.write_points("pages", {"analytics": "reader"}, [NOW - at for at in range(600)], [1.0] * 600)
        assert ask(history, since="1h", step="1s", measure=["pages"]).grid.step_seconds == 1
        with pytest.raises(ConfigurationError, match="finer than the samples"):
            ask(history, since="1h", step="1s", measure=["pages", "task_rate"])


def test_where_there_is_only_what_a_program_recorded_some_points_of_that_fall_into_each_step(tmp_path):
    with History(tmp_path / "history.db", clock=lambda: NOW) as history:
        history.write_points("agentgauge_build_info", (), [NOW - 90_000], [1.0])  # it ran before the window
        history.write_points("pages", {"analytics": "reader"}, [NOW - 60 * at for at in range(600)], [1.0] * 600)
        assert ask(history, since="10h").grid.step_seconds == 300
        history.write_points("agentgauge_build_info", (), [NOW - 15 * at for at in range(2400)], [1.0] * 2400)
        assert ask(history, since="10h").grid.step_seconds == 60


def test_a_window_before_or_after_all_samples_is_refused_with_what_there_is():
    made = source(NOW - 7200, NOW - 3600)
    for since, until in (("30m", "now"), ("5h", "4h")):
        with pytest.raises(ConfigurationError, match=r"it has some from 2025-06-15T13:06:40Z to 2025-06-15T14:06:40Z"):
            ask(made, since=since, until=until)


def test_what_is_proposed_in_place_of_an_empty_window_has_samples():
    made = source(NOW - 7200, NOW - 3600)
    with pytest.raises(ConfigurationError) as refused:
        ask(made, since="30m")
    since, until = str(refused.value).split("--since ")[1].split(" --until ")
    assert ask(made, since=since, until=until).grid.count > 1


@pytest.mark.parametrize(
    ("since", "until", "begin", "end"),
    [
        (None, "now", 24, 0),
        (None, "3h", 27, 3),
        ("5h", "3h", 5, 3),
        ("2h", "2025-06-15T13:06:40Z", 4, 2),
        ("2025-06-15T11:06:40Z", "3h", 4, 3),
    ],
)
def test_durations_are_that_long_ago_and_the_beginning_counts_from_an_end_that_is_a_date(since, until, begin, end):
    question = ask(source(NOW - 30 * 3600, NOW), since=since, until=until, step="20s")
    times = (question.grid.start - question.grid.step_seconds, question.grid.end)
    assert times == (NOW - begin * 3600, NOW - end * 3600)


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(ConfigurationError, match="is not before --until"):
        ask(source(NOW - 7200, NOW), since="2025-06-15T15:06:40Z", until="2025-06-15T15:00:00Z")


def test_a_source_without_samples_is_told_from_a_window_without():
    with pytest.raises(SourceError, match="has no samples yet"):
        ask(MadeSource())


def test_a_window_within_the_whole_is_two_times_or_the_last_so_long():
    question = ask(source(NOW - 86400, NOW))
    assert question.window("--window", "30m").end == question.grid.end
    part = question.window("--before", "3h/2h")
    assert (part.start, part.end) == (NOW // 60 * 60 - 3 * 3600 + 60, NOW // 60 * 60 - 2 * 3600)
    for text in ("2h/3h", "40d/30d", "x/y"):
        with pytest.raises(ConfigurationError, match="--before"):
            question.window("--before", text)


def test_a_missing_source_says_how_to_get_one(monkeypatch):
    monkeypatch.delenv("AGENTGAUGE_HISTORY_FILE", raising=False)
    with pytest.raises(ConfigurationError, match=r"--source .*AGENTGAUGE_HISTORY_FILE"):
        source_named(options())


@pytest.mark.parametrize("password", ["hunter2", "p%40ss", "a:b", "s/e"])
def test_no_message_shows_the_credentials_of_an_address(password):
    address = f"http://bob:{password}@127.0.0.1:9090/x?token=abc123"
    for message in (f"cannot reach {address}", f"Basic bob:{password} was refused for token=abc123"):
        told = without_credentials(message, address)
        assert password not in told
        assert "abc123" not in told
