"""A notifier is there for as long as somebody has it, and a loop for as long as it is open."""

import asyncio
import gc
import threading
import time
import weakref

from agentgauge.notification import Alert, Delivery, Event, Notification, Notifier, Routed

REMINDED = Delivery(group_wait_seconds=0, cooldown_seconds=0, repeat_seconds=3600)
ALERT = Alert(source="test", subject="disk", severity="critical", summary="full", started_at=1.0)
STARTED = Notification(event=Event.STARTED, alert=ALERT, at=1.0)
PATIENCE_SECONDS = 60.0


class Program:
    def __init__(self, policy=None):
        self.notifier = Notifier()
        self.heard = []
        self.notifier.add(self.told if policy is None else Routed(self.told, policy))

    def told(self, notification):
        self.heard.append(notification)


def eventually(condition):
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def test_a_notifier_is_let_go_although_its_handler_belongs_to_whoever_holds_it():
    program = Program()
    left = weakref.ref(program)
    del program
    gc.collect()
    assert left() is None


def test_a_notifier_is_let_go_although_its_handler_would_be_reminded_for_ever():
    program = Program(REMINDED)
    program.notifier.tell([STARTED])
    heard = program.heard
    eventually(lambda: heard)
    left = weakref.ref(program)
    del program
    eventually(lambda: gc.collect() is not None and left() is None)


def test_what_waits_for_company_is_told_although_nobody_has_the_notifier_any_more():
    heard = []

    def hear(notification):
        heard.append(notification)

    notifier = Notifier()
    notifier.add(Routed(hear, Delivery(group_wait_seconds=0.3)))
    notifier.tell([STARTED])
    eventually(lambda: any(thread.name.startswith("agentgauge-alerts-") for thread in threading.enumerate()))
    left = weakref.ref(notifier)
    del notifier
    eventually(lambda: gc.collect() is not None and left() is None)
    eventually(lambda: heard)


def test_a_handler_that_waits_to_remind_is_told_news_at_once():
    program = Program(REMINDED)
    for count in range(1, 200):
        event = Event.STARTED if count % 2 else Event.ENDED
        program.notifier.tell([Notification(event=event, alert=ALERT, at=float(count))])
        eventually(lambda count=count: len(program.heard) == count)
    assert program.notifier.flush(PATIENCE_SECONDS)


def test_a_loop_that_is_closed_under_a_handler_costs_that_call_and_leaves_no_thread_behind():
    loop, entered = asyncio.new_event_loop(), threading.Event()

    async def hang(_):
        entered.set()
        await asyncio.Event().wait()

    notifier = Notifier(PATIENCE_SECONDS)
    notifier.add(hang)
    notifier.use_loop(loop)
    running = threading.Thread(target=loop.run_forever)
    running.start()
    notifier.tell([STARTED])
    assert entered.wait(PATIENCE_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    running.join(PATIENCE_SECONDS)
    for task in asyncio.all_tasks(loop):  # so that asyncio says nothing of it
        task._log_destroy_pending = False
        task.get_coro().close()
    loop.close()
    eventually(lambda: notifier.reports[0].failed == 1)
