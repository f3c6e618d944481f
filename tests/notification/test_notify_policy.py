"""Between alerts and destinations stands a policy: in messages, in cooldowns, again after failures, and counted."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from agentgauge import ConfigurationError
from agentgauge.notification import (
    AlertBook,
    Delivery,
    DeliveryError,
    Destination,
    LogDestination,
    Notifier,
    Routed,
    SlackDestination,
    WebhookDestination,
)
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60.0
AT_ONCE = Delivery(group_wait_seconds=0, cooldown_seconds=0)


class Spy(Destination):
    """Keeps what it is told, and does what ``act`` does."""

    __slots__ = ("__dict__",)

    def __init__(self, name="spy", act=lambda: None):
        super().__init__(name=name)
        self.__dict__.update(messages=[], act=act)

    def deliver(self, notifications, deadline):
        self.__dict__["messages"].append([(str(each.event), each.alert.subject) for each in notifications])
        self.__dict__["act"]()

    @property
    def messages(self):
        return self.__dict__["messages"]


def alert_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("agentgauge-alert")}


def test_what_starts_together_is_one_message_and_a_plain_function_still_gets_one_notification_each(make, eventually):
    clock, spy, plain, routed = FakeClock(), Spy(), [], []
    notifier = Notifier(clock=clock)
    notifier.add(spy.with_policy(Delivery(group_wait_seconds=5)))
    notifier.add(plain.append)
    notifier.add(Routed(routed.append, Delivery(group_wait_seconds=5)))
    notifier.tell([make(subject="a"), make(subject="b")])
    clock.advance(4)
    notifier.tell([make(subject="c")])
    eventually(lambda: len(plain) == 3)
    assert (spy.messages, routed) == ([], [])
    clock.advance(1)
    notifier.tell([])
    eventually(lambda: spy.messages and len(routed) == 3)
    assert spy.messages == [[("started", "a"), ("started", "b"), ("started", "c")]]
    assert [each.alert.subject for each in routed] == [each.alert.subject for each in plain] == ["a", "b", "c"]


def test_a_group_s_wait_ends_by_itself(make, eventually):
    notifier, spy = Notifier(), Spy()
    notifier.add(spy.with_policy(Delivery(group_wait_seconds=0.05)))
    notifier.tell([make(subject="a"), make(subject="b")])
    eventually(lambda: spy.messages)
    assert spy.messages == [[("started", "a"), ("started", "b")]]


def test_a_flush_tells_at_once_what_waits_for_company(make):
    notifier, spy = Notifier(), Spy()
    notifier.add(spy.with_policy(Delivery(group_wait_seconds=3600)))
    notifier.tell([make(subject="a")])
    notifier.tell([make(subject="b")])
    assert spy.messages == []
    assert notifier.flush(PATIENCE_SECONDS)
    assert spy.messages == [[("started", "a"), ("started", "b")]]


def test_a_cooldown_holds_back_a_restart_and_tells_it_when_it_is_over_by_the_notifier_s_clock(make, eventually):
    clock, spy = FakeClock(), Spy()
    notifier = Notifier(clock=clock)
    notifier.add(spy.with_policy(Delivery(group_wait_seconds=0, cooldown_seconds=300)))
    for event in ("started", "ended", "started"):
        notifier.tell([make(event)])
        assert notifier.flush(PATIENCE_SECONDS), "what a cooldown holds back is nothing that lacks"
    assert spy.messages == [[("started", "disk")], [("ended", "disk")]]
    clock.advance(299)
    notifier.tell([])
    assert notifier.flush(PATIENCE_SECONDS)
    assert len(spy.messages) == 2
    clock.advance(1)
    notifier.tell([])
    eventually(lambda: len(spy.messages) == 3)
    assert spy.messages[2] == [("started", "disk")]


def test_one_is_reminded_of_what_lasts_with_no_news_and_not_after_a_flush(make, eventually):
    notifier, spy, before = Notifier(), Spy(), alert_threads()
    notifier.add(spy.with_policy(Delivery(group_wait_seconds=0, cooldown_seconds=0, repeat_seconds=0.02)))
    notifier.tell([make()])
    eventually(lambda: len(spy.messages) >= 3)
    assert spy.messages[:3] == [[("started", "disk")], [("lasts", "disk")], [("lasts", "disk")]]
    assert notifier.flush(PATIENCE_SECONDS)
    told = len(spy.messages)
    eventually(lambda: alert_threads() <= before)
    assert len(spy.messages) == told


def test_two_sources_that_tell_the_same_alert_are_told_once(make):
    notifier, spy = Notifier(), Spy()
    notifier.add(spy)
    for book in (AlertBook(), AlertBook()):
        notifier.tell(book.update([make().alert], 1))
        assert notifier.flush(PATIENCE_SECONDS)
    assert spy.messages == [[("started", "disk")]]
    assert notifier.reports[0].suppressed == 1


def test_what_failed_is_told_later_as_things_are_then(make, fresh):
    down = threading.Event()
    down.set()

    def act():
        if down.is_set():
            raise DeliveryError("down")

    notifier, spy = Notifier(), Spy(act=act)
    notifier.add(spy.with_policy(AT_ONCE))
    notifier.tell([make(), make(subject="gone")])
    assert not notifier.flush(PATIENCE_SECONDS), "it was not told"
    notifier.tell([make("changed", severity="critical"), make("ended", "gone")])
    down.clear()
    assert notifier.flush(PATIENCE_SECONDS)
    assert spy.messages[-1] == [("started", "disk")]
    report = notifier.reports[0]
    assert (report.delivered, report.suppressed) == (1, 3)
    assert report.failed >= 2
    assert fresh.value("agentgauge_notifications_total", handler="spy", outcome="failed") == report.failed


def test_a_destination_that_hangs_delays_nobody_and_is_told_once_it_answers(make, fresh, eventually):
    release, spy, well = threading.Event(), Spy("hung"), []
    spy.__dict__["act"] = lambda: release.wait(PATIENCE_SECONDS)
    notifier = Notifier(timeout_seconds=0.05)
    notifier.add(spy.with_policy(AT_ONCE))
    notifier.timeout_seconds = PATIENCE_SECONDS
    notifier.add(well.append)
    notifier.tell([make()])
    for _ in range(5):
        assert not notifier.flush(PATIENCE_SECONDS)
    assert len(well) == 1
    assert notifier.reports[0].timed_out == 3, "and no more threads than that hang"
    release.set()
    notifier.tell([make("changed", severity="critical")])
    eventually(lambda: notifier.flush(PATIENCE_SECONDS))
    assert spy.messages[-1][0][0] in {"started", "changed"}
    assert notifier.reports[0].dropped == 0


def test_what_arrives_after_its_time_limit_is_not_told_again(make, eventually):
    release, spy = threading.Event(), Spy(act=lambda: release.wait(PATIENCE_SECONDS))
    notifier = Notifier(timeout_seconds=0.05)
    notifier.add(spy.with_policy(AT_ONCE))
    notifier.tell([make()])
    eventually(lambda: notifier.reports[0].timed_out == 1)
    release.set()
    eventually(lambda: not notifier._lanes[0]._queue.owes(time.monotonic()))
    assert notifier.flush(PATIENCE_SECONDS)
    assert spy.messages == [[("started", "disk")]]
    assert (notifier.reports[0].timed_out, notifier.reports[0].delivered) == (1, 0)


def test_a_destination_that_wants_to_be_left_alone_is_by_the_notifier_s_clock(make, eventually, hook):
    clock = FakeClock()
    hook.answers = [(429, {"Retry-After": "120"})]
    notifier = Notifier(PATIENCE_SECONDS, clock=clock)
    notifier.add(WebhookDestination(hook.url, tries=1).with_policy(AT_ONCE))
    notifier.tell([make()])
    eventually(lambda: notifier.reports[0].failed == 1)
    assert notifier._lanes[0]._queue.seconds_until_due(clock()) == 120
    clock.advance(120)
    notifier.tell([])
    eventually(lambda: notifier.reports[0].delivered == 1)


def test_a_delivery_knows_of_the_lane_s_time_limit(make):
    left = []

    class Patient(Spy):
        __slots__ = ()

        def deliver(self, notifications, deadline):
            left.append(deadline.left())

    notifier = Notifier(PATIENCE_SECONDS)
    notifier.add(Patient())
    notifier.tell([make()])
    assert notifier.flush(PATIENCE_SECONDS)
    Patient()(make())
    in_lane, alone = left
    assert in_lane <= 10 >= alone
    short = Notifier(1)
    short.add(Patient())
    short.tell([make()])
    short.flush(PATIENCE_SECONDS)
    assert left[2] <= 0.9


def test_every_outcome_is_a_series_by_handler_that_starts_at_zero(make, fresh):
    notifier = Notifier()

    def mine(_notification):
        raise RuntimeError

    notifier.add(mine)
    notifier.add(Spy("on-call"))
    notifier.add(Routed(lambda _notification: None, AT_ONCE, name="second"))
    outcomes = ["delivered", "failed", "timed_out", "dropped", "suppressed"]
    name = "agentgauge_notifications_total"
    own = f"{test_every_outcome_is_a_series_by_handler_that_starts_at_zero.__name__}.<locals>.mine"
    for handler in ("on-call", "second", own):
        assert [fresh.value(name, handler=handler, outcome=outcome) for outcome in outcomes] == [0] * 5
    notifier.tell([make(), make()])
    notifier.flush(PATIENCE_SECONDS)
    assert fresh.value(name, handler=own, outcome="failed") == 2
    assert fresh.value(name, handler="on-call", outcome="delivered") == 1
    assert fresh.value(name, handler="on-call", outcome="suppressed") == 1
    assert [report.name for report in notifier.reports] == [own, "on-call", "second"]
    fresh.recorder.reset()
    assert fresh.value(name, handler="on-call", outcome="delivered") == 0, "a recorder that starts anew has its zeros"


def test_while_nothing_waits_there_is_no_thread(make, eventually):
    notifier, before = Notifier(), alert_threads()
    for name in "abc":
        notifier.add(Spy(name).with_policy(AT_ONCE))
    assert alert_threads() == before
    notifier.tell([make(subject=str(number)) for number in range(50)])
    assert notifier.flush(PATIENCE_SECONDS)
    eventually(lambda: alert_threads() <= before)


def test_many_alerts_that_wait_need_one_thread_a_lane(make):
    notifier, before = Notifier(), alert_threads()
    notifier.add(Spy().with_policy(Delivery(group_wait_seconds=3600, group_by=("subject",))))
    notifier.tell([make(subject=str(number)) for number in range(100)])
    assert len(alert_threads() - before) == 1
    assert notifier.flush(PATIENCE_SECONDS)


def test_a_destination_that_was_removed_is_told_nothing_of_what_waits_and_its_thread_ends(make, eventually):
    notifier, before, spy = Notifier(), alert_threads(), Spy()
    routed = spy.with_policy(Delivery(group_wait_seconds=3600))
    notifier.add(routed)
    notifier.tell([make()])
    notifier.remove(routed)
    eventually(lambda: alert_threads() <= before)
    assert spy.messages == []


def test_a_notifier_that_is_forgotten_goes_and_tells_what_waits_first(make, eventually, monkeypatch):
    monkeypatch.setattr("agentgauge.notification.lane._LONGEST_WAIT_SECONDS", 0.02)
    notifier, spy, before = Notifier(), Spy(), alert_threads()
    notifier.add(spy.with_policy(Delivery(group_wait_seconds=600, cooldown_seconds=0, repeat_seconds=0.01)))
    notifier.tell([make()])
    gone = weakref.ref(notifier)
    del notifier
    gc.collect()
    assert gone() is None
    eventually(lambda: alert_threads() <= before)
    assert spy.messages == [[("started", "disk")]]


def test_the_same_destination_is_added_once_and_two_of_a_kind_have_names(fresh):
    notifier = Notifier()
    for _ in range(2):
        notifier.add(WebhookDestination("https://example.com/a", name="a"))
        notifier.add(WebhookDestination("https://example.com/a", name="b"))
    assert [report.name for report in notifier.reports] == ["a", "b"]
    notifier.remove(WebhookDestination("https://example.com/a", name="a"))
    assert [report.name for report in notifier.reports] == ["b"]


async def test_a_coroutine_with_a_policy_is_told_on_the_program_s_loop(make):
    told = []

    async def mine(notification):
        await asyncio.sleep(0)
        told.append((notification.alert.subject, threading.get_ident()))

    notifier = Notifier()
    notifier.add(Routed(mine, AT_ONCE))
    notifier.use_loop(asyncio.get_running_loop())
    notifier.tell([make()])
    assert await asyncio.to_thread(notifier.flush, PATIENCE_SECONDS)
    assert told == [("disk", threading.get_ident())]


def test_a_destination_s_fault_names_its_type_alone_and_keeps_no_other_error(make):
    def act():
        try:
            raise ValueError("s3cr3t")
        except ValueError as error:
            raise KeyError("https://example.com/s3cr3t") from error

    with pytest.raises(DeliveryError) as caught:
        Spy(act=act)(make())
    assert str(caught.value) == "spy: KeyError"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_destination_that_is_interrupted_is_no_failed_delivery(make):
    def act():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Spy(act=act)(make())


def test_readings_of_the_machine_reach_a_real_webhook_by_the_manager_of_thresholds(hook):
    with SystemMetricsManager(collectors=[], thresholds=[]) as manager:
        manager.add_collector("mine", type("Mine", (), {"collect": lambda _self: {"my_depth": 7.0}})())
        manager.set_threshold("my_depth", 5)
        manager.add_alert_handler(WebhookDestination(hook.url))
        manager.add_alert_handler(SlackDestination(hook.url, name="chat"))
        manager.get_current_metrics()
    posted = sorted((request.body for request in hook.requests), key=lambda body: "text" in body)
    assert [body.get("title", body.get("text")) for body in posted] == ["[warning] started: my_depth is 7, above 5"] * 2


def test_a_notifier_refuses_a_clock_that_tells_no_time():
    with pytest.raises(ConfigurationError, match=r"^clock=3: give a function"):
        Notifier(clock=3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from CPython 3.12 on
def test_a_forked_child_tells_its_own_alerts_and_none_of_its_parent_s_that_wait(make):
    read_end, write_end = os.pipe()
    notifier, parent = Notifier(), os.getpid()

    def tell(notification):
        os.write(write_end, f"{os.getpid() == parent}:{notification.alert.subject} ".encode())

    notifier.add(Routed(tell, Delivery(group_wait_seconds=3600)))
    notifier.tell([make(subject="parent")])
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        is_told = notifier.flush(PATIENCE_SECONDS)
        notifier.tell([make(subject="child")])
        os._exit(0 if is_told and notifier.flush(PATIENCE_SECONDS) and notifier.reports[0].delivered == 1 else 1)
    _, status = os.waitpid(child, 0)
    assert notifier.flush(PATIENCE_SECONDS)
    os.close(write_end)
    with os.fdopen(read_end) as told:
        assert (status, told.read().split()) == (0, ["False:child", "True:parent"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from CPython 3.12 on
def test_a_child_that_is_forked_while_a_line_is_written_can_write_lines(tmp_path, make):
    logger = logging.getLogger("forked")
    handler = logging.FileHandler(tmp_path / "log")
    logger.addHandler(handler)
    destination, is_over = LogDestination(logger=logger), threading.Event()

    def write():
        while not is_over.is_set():
            destination(make())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                destination(make())
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        writer.join()
        logger.removeHandler(handler)
        handler.close()


def test_a_program_ends_though_alerts_wait_and_a_destination_hangs():
    program = """
import threading, time
from agentgauge.notification import Alert, Delivery, Event, Notification, Notifier, Routed
notifier, called = Notifier(3600), threading.Event()
alert = Alert(source="a", subject="b", severity="info", summary="c", started_at=0)
notifier.add(Routed(print, Delivery(group_wait_seconds=3600)))
notifier.add(lambda _: (called.set(), time.sleep(3600)))
notifier.tell([Notification(event=Event.STARTED, alert=alert, at=0)])
called.wait()
print("over")
"""
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert (result.stdout, result.stderr) == ("over\n", "")
    assert time.monotonic() - began < 120
