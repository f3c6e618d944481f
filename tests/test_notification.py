"""Each alert is told once when it starts, changes and ends, and no handler costs another."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge import ConfigurationError
from agentgauge.errors import contained_errors
from agentgauge.notification import Alert, AlertBook, Event, Notification, Notifier

SEVERITIES = ["info", "warning", "critical"]
PATIENCE_SECONDS = 60.0  # far longer than anything takes, on a busy machine too


def alert(subject="disk", severity="warning", started_at=1.0, condition="", **labels):
    summary = f"{subject} is full"
    return Alert(
        source="test",
        subject=subject,
        severity=severity,
        summary=summary,
        started_at=started_at,
        condition=condition,
        labels=labels,
    )


def started(subject="disk"):
    return Notification(event=Event.STARTED, alert=alert(subject), at=1.0)


def told(notifications):
    return [(str(each.event), each.alert.subject, each.alert.severity) for each in notifications]


@pytest.fixture
def counted():
    """How many faults of handlers were counted, once there are as many as expected: each is when its call has ended."""
    before = dict(contained_errors.count_by_hook)

    def count(expected):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            counted = contained_errors.count_by_hook.get("alert_handler", 0) - before.get("alert_handler", 0)
            if counted >= expected or time.monotonic() > deadline:
                return counted
            time.sleep(0.001)

    yield count
    contained_errors.count_by_hook.clear()
    contained_errors.count_by_hook.update(before)


def test_an_alert_is_told_when_it_starts_when_its_severity_changes_and_when_it_ends_and_not_in_between():
    book = AlertBook()

    assert told(book.update([alert()], 1)) == [("started", "disk", "warning")]
    assert told(book.update([alert(started_at=2)], 2)) == []
    changed = book.update([alert(severity="critical", started_at=3)], 3)
    assert told(changed) == [("changed", "disk", "critical")]
    assert (changed[0].previous_severity, changed[0].alert.started_at) == ("warning", 1.0)
    assert told(book.update([alert(severity="critical")], 4)) == []
    ended = book.update([], 5, {alert().key: "it is gone"})
    assert told(ended) == [("ended", "disk", "critical")]
    assert str(ended[0]) == "[critical] ended: disk is full (it is gone)"
    assert told(book.update([], 6)) == []


def test_an_alert_whose_condition_changes_while_it_lasts_is_told_with_the_condition_of_before():
    book = AlertBook()
    book.update([alert(condition="refused")], 1)
    assert book.update([alert(condition="refused")], 2) == []
    changed = book.update([alert(condition="auth")], 3)
    both = book.update([alert(condition="timeout", severity="critical")], 4)
    milder = book.update([alert(condition="timeout")], 5)
    none = book.update([alert()], 5)
    ended = book.update([], 6)

    assert [
        (each.event, each.previous_severity, each.previous_condition) for each in (*changed, *both, *milder, *none, *ended)
    ] == [
        (Event.CHANGED, "warning", "refused"),
        (Event.CHANGED, "warning", "auth"),
        (Event.CHANGED, "critical", "timeout"),
        (Event.CHANGED, "warning", "timeout"),
        (Event.ENDED, None, None),
    ]
    assert [str(each) for each in (*changed, *both, *milder, *none, *ended)] == [
        "[warning, refused -> auth] changed: disk is full",
        "[warning -> critical, auth -> timeout] changed: disk is full",
        "[critical -> warning] changed: disk is full",
        "[warning] changed: disk is full",
        "[warning] ended: disk is full",
    ]


def test_an_alert_that_ended_is_told_as_it_is_now_where_that_is_known():
    book = AlertBook()
    book.update([alert(), alert("memory")], 1)
    now = replace(alert(started_at=5.0), summary="disk has room again")
    ended = book.update([], 6, endings=[now])

    assert [str(each) for each in ended] == ["[warning] ended: disk has room again", "[warning] ended: memory is full"]
    assert ended[0].alert.started_at == 1.0


def test_of_two_alerts_on_one_thing_the_more_severe_counts_and_other_labels_are_another_thing():
    book = AlertBook()

    book.update([alert(severity="critical"), alert(), alert(mount="/data")], 1)

    assert [(one.severity, one.labels) for one in book.active] == [("critical", {}), ("warning", {"mount": "/data"})]


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from(SEVERITIES), st.sampled_from(["", "auth"]))),
        max_size=12,
    )
)
def test_what_is_told_is_exactly_what_changed(passes):
    book, known = AlertBook(), {}
    for at, wrong in enumerate(passes):
        notifications = book.update([alert(subject, how[0], condition=how[1]) for subject, how in wrong.items()], at)
        assert len({each.alert.subject for each in notifications}) == len(notifications)
        for each in notifications:
            subject = each.alert.subject
            if each.event is Event.STARTED:
                assert subject not in known
            else:
                assert subject in known
            if each.event is Event.ENDED:
                del known[subject]
            else:
                now = (each.alert.severity, each.alert.condition)
                before = (each.previous_severity, each.previous_condition)
                assert known.get(subject, (None, None)) == before != now
                known[subject] = now
        assert known == wrong == {one.subject: (one.severity, one.condition) for one in book.active}


def test_functions_are_told_beside_the_event_loop_and_coroutines_on_it_each_in_order():
    seen = {"function": [], "coroutine": []}

    def function(notification):
        seen["function"].append((notification.alert.subject, threading.get_ident()))

    async def coroutine(notification):
        await asyncio.sleep(0)
        seen["coroutine"].append((notification.alert.subject, threading.get_ident()))

    async def program():
        notifier = Notifier()
        notifier.add(function)
        notifier.add(coroutine)
        notifier.add(function)
        notifier.use_loop(asyncio.get_running_loop())
        notifier.tell([started(str(number)) for number in range(20)])
        assert await asyncio.to_thread(notifier.flush, PATIENCE_SECONDS)

    asyncio.run(program())

    for told_to in seen.values():
        assert [subject for subject, _ in told_to] == [str(number) for number in range(20)]
    assert threading.get_ident() not in {thread for _, thread in seen["function"]}
    assert {thread for _, thread in seen["coroutine"]} == {threading.get_ident()}


def test_a_coroutine_is_told_without_a_loop_of_the_program_too():
    seen = []

    async def coroutine(notification):
        seen.append(notification.alert.subject)

    notifier = Notifier()
    notifier.add(coroutine)
    notifier.tell([started()])

    assert notifier.flush(PATIENCE_SECONDS)
    assert seen == ["disk"]


def test_a_handler_that_hangs_costs_itself_and_is_told_no_more_while_three_of_its_calls_hang(counted):
    release, seen = threading.Event(), []
    notifier = Notifier(timeout_seconds=0.05)

    def hung(_notification):
        release.wait(PATIENCE_SECONDS)

    notifier.add(hung)
    notifier.timeout_seconds = PATIENCE_SECONDS  # of those that are added from now on
    notifier.add(seen.append)
    notifier.tell([started(str(number)) for number in range(5)])
    assert notifier.flush(PATIENCE_SECONDS)

    assert len(seen) == 5
    hanging, well = notifier.reports
    assert (hanging.timed_out, hanging.dropped, hanging.delivered) == (3, 2, 0)
    assert well.delivered == 5
    assert counted(3) == 3
    release.set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while notifier.reports[0].delivered == 0 and time.monotonic() < deadline:
        notifier.tell([started()])
        notifier.flush(PATIENCE_SECONDS)
    assert notifier.reports[0].delivered == 1, "it is told again once its calls returned"


def test_who_tells_waits_for_no_handler():
    release = threading.Event()
    notifier = Notifier(timeout_seconds=PATIENCE_SECONDS)
    notifier.add(lambda _notification: release.wait(PATIENCE_SECONDS))
    before = time.monotonic()
    notifier.tell([started() for _ in range(5)])
    assert time.monotonic() - before < PATIENCE_SECONDS / 2
    assert not notifier.flush(0.01)
    release.set()
    assert notifier.flush(PATIENCE_SECONDS)


@pytest.mark.parametrize("kind", ["function", "coroutine", "coroutine on a loop"])
async def test_a_handler_that_waits_for_the_others_does_not_wait_for_itself(kind):
    flushed = []
    notifier = Notifier(timeout_seconds=2 * PATIENCE_SECONDS)

    def function(_notification):
        flushed.append(notifier.flush(PATIENCE_SECONDS))

    async def coroutine(_notification):
        flushed.append(await asyncio.to_thread(notifier.flush, PATIENCE_SECONDS))

    notifier.add(function if kind == "function" else coroutine)
    notifier.use_loop(asyncio.get_running_loop() if kind == "coroutine on a loop" else None)
    before = time.monotonic()
    notifier.tell([started()])

    assert await asyncio.to_thread(notifier.flush, 2 * PATIENCE_SECONDS)
    assert flushed == [True]
    assert time.monotonic() - before < PATIENCE_SECONDS / 2


def test_a_coroutine_that_hangs_is_cancelled_and_its_loop_goes_on(counted):
    async def program():
        cancelled = asyncio.Event()

        async def hung(_notification):
            try:
                await asyncio.sleep(PATIENCE_SECONDS)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        notifier = Notifier(timeout_seconds=0.05)
        notifier.add(hung)
        notifier.use_loop(asyncio.get_running_loop())
        notifier.tell([started()])
        assert await asyncio.to_thread(notifier.flush, PATIENCE_SECONDS)
        await cancelled.wait()
        return notifier.reports[0]

    report = asyncio.run(asyncio.wait_for(program(), PATIENCE_SECONDS))

    assert (report.timed_out, report.delivered, report.failed) == (1, 0, 0)
    assert counted(1) == 1


@pytest.mark.parametrize("error", [RuntimeError("no"), TimeoutError("its own"), SystemExit(3)])
@pytest.mark.parametrize("kind", ["function", "coroutine", "coroutine on a loop"])
async def test_a_handler_that_raises_is_counted_and_the_others_are_told(counted, error, kind):
    seen = []

    def function(_notification):
        raise error

    async def coroutine(_notification):
        raise error

    notifier = Notifier()
    notifier.add(function if kind == "function" else coroutine)
    notifier.add(seen.append)
    notifier.use_loop(asyncio.get_running_loop() if kind == "coroutine on a loop" else None)
    notifier.tell([started(), started("cpu")])

    assert await asyncio.to_thread(notifier.flush, PATIENCE_SECONDS)
    assert [each.alert.subject for each in seen] == ["disk", "cpu"]
    assert (notifier.reports[0].failed, notifier.reports[0].timed_out) == (2, 0)
    expected = 2 if isinstance(error, Exception) or kind != "function" else 0
    assert counted(expected) == expected


def test_a_handler_that_was_removed_is_told_nothing_more_of_what_waits_neither():
    began, release, seen = threading.Event(), threading.Event(), []

    def slow(notification):
        seen.append(notification.alert.subject)
        began.set()
        release.wait(PATIENCE_SECONDS)

    notifier, others = Notifier(PATIENCE_SECONDS), set(threading.enumerate())
    notifier.add(slow)
    notifier.tell([started("1"), started("2")])
    assert began.wait(PATIENCE_SECONDS)
    notifier.remove(slow)
    release.set()
    notifier.tell([started("3")])

    assert notifier.reports == ()
    for thread in set(threading.enumerate()) - others:
        thread.join(PATIENCE_SECONDS)
    assert seen == ["1"]


def test_what_is_too_much_for_a_slow_handler_is_dropped_and_counted():
    release = threading.Event()
    notifier = Notifier(timeout_seconds=PATIENCE_SECONDS)
    notifier.add(lambda _notification: release.wait(PATIENCE_SECONDS))
    notifier.tell([started() for _ in range(150)])
    release.set()

    assert notifier.flush(PATIENCE_SECONDS)
    report = notifier.reports[0]
    assert report.delivered + report.dropped == 150
    assert 40 <= report.dropped <= 50


@pytest.mark.parametrize("handler", [3, None, lambda: None, lambda one, two: None])
def test_what_cannot_be_told_is_refused_with_the_fix(handler):
    with pytest.raises(ConfigurationError, match=r"one( argument, the)? Notification"):
        Notifier().add(handler)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "10", True])
def test_a_time_limit_that_is_none_is_refused(seconds):
    with pytest.raises(ConfigurationError, match=r"^handler_timeout_seconds=.*give a number of seconds"):
        Notifier(seconds)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from CPython 3.12 on
def test_a_forked_child_tells_its_handlers_though_the_parent_s_hang():
    release, parent = threading.Event(), os.getpid()
    read_end, write_end = os.pipe()

    def handler(notification):
        if os.getpid() == parent:
            release.wait(PATIENCE_SECONDS)
        else:
            os.write(write_end, notification.alert.subject.encode())

    notifier = Notifier(PATIENCE_SECONDS)
    notifier.add(handler)
    notifier.tell([started("parent")])
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        notifier.tell([started("child")])
        os._exit(0 if notifier.flush(PATIENCE_SECONDS) and notifier.reports[0].delivered == 1 else 1)
    _, status = os.waitpid(child, 0)
    release.set()
    os.close(write_end)

    assert (status, os.read(read_end, 100)) == (0, b"child")
    os.close(read_end)
    assert notifier.flush(PATIENCE_SECONDS)
