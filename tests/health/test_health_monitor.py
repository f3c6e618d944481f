"""``SystemHealthMonitor`` checks all components at once, each on its schedule, and none costs another."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest
from health_stubs import DOWN, PATIENCE_SECONDS, WELL, Hang, Stub, eventually, often, within

from agentgauge import ConfigurationError
from agentgauge.health import ComponentType, Finding, Schedule, Status, SystemHealthMonitor, watch
from agentgauge.testing import FakeClock, reraise_internal_errors


@pytest.fixture(autouse=True)
def nothing_left():
    before = set(threading.enumerate())
    yield
    assert eventually(
        lambda: not [each for each in set(threading.enumerate()) - before if each.name.startswith("agentgauge-health")]
    ), threading.enumerate()


@pytest.fixture
def hang():
    made = Hang()
    yield made
    made.released.set()


@pytest.fixture
def make():
    made = []

    def monitor(*checkers, **settings):
        made.append(SystemHealthMonitor(checkers, **settings))
        return made[-1]

    yield monitor
    for each in made:
        each.close()


def found(monitor, name="database"):
    return monitor.get_component_health(name).found


def status(monitor, name="database"):
    return monitor.get_component_health(name).status


# --- what it takes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checker", "said"),
    [
        (object(), r"it lacks name and component_type and schedule and check; give a check of agentgauge\.health"),
        (type("NoSchedule", (), {"name": "a", "component_type": "service", "check": lambda self: WELL})(), r"it lacks schedule;"),
        (Stub, r"Stub\): it is a class; give an object of it, such as Stub\(\.\.\.\)"),
        (Stub(name=""), r"name=''"),
        (Stub(name=7), r"name=7"),
        (Stub(component_type="db"), r"component_type='db': give a ComponentType"),
        (Stub(schedule=30), r"schedule=30: give a Schedule"),
        (type("Odd", (Stub,), {"check": 3})(), r"check=3: give a method"),
        (type("Needy", (Stub,), {"check": lambda self, url: WELL})(), r"check\(\) must take no arguments \(missing"),
    ],
)
def test_a_checker_that_cannot_work_is_refused_with_what_is_wrong_and_what_to_do(make, checker, said):
    monitor = make()
    with pytest.raises(ConfigurationError, match=said):
        monitor.add_health_checker(checker)
    assert monitor.health_report().components == ()


def test_two_components_of_one_name_are_refused(make):
    monitor = make(Stub())
    with pytest.raises(ConfigurationError, match=r"there is a component 'database' already; give it another name"):
        monitor.add_health_checker(Stub(component_type=ComponentType.CACHE))
    monitor.remove_health_checker("database")
    monitor.add_health_checker(Stub())


def test_a_name_that_is_not_there_is_refused_with_those_that_are(make):
    monitor = make(Stub(), Stub(name="cache"))
    for ask in (monitor.remove_health_checker, monitor.get_component_health, monitor.get_component_health_history):
        with pytest.raises(ConfigurationError, match=r"\('databse'\): there are only database, cache"):
            ask("databse")


@pytest.mark.parametrize(
    "settings",
    [
        {"history_points": 0},
        {"history_points": 10**30},
        {"checkers": Stub()},
        {"clock": 3},
        {"wall_clock": "now"},
        {"random": 0.5},
        {"handler_timeout_seconds": 0},
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings):
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        SystemHealthMonitor(**settings)


# --- checks that are asked for ------------------------------------------------------------------------------------------------


def test_in_a_thread_all_components_are_checked_at_once_and_waited_for(make):
    both = threading.Barrier(2)

    def meet():
        both.wait(PATIENCE_SECONDS)  # which one after the other would not
        return WELL

    monitor = make(Stub(meet), Stub(meet, "cache"))
    seen = monitor.check_all_health_blocking()

    assert {name: component.status for name, component in seen.items()} == {"database": "healthy", "cache": "healthy"}
    assert status(monitor) is Status.HEALTHY


async def test_in_a_coroutine_they_are_awaited_and_the_loop_goes_on_meanwhile(make):
    loop = asyncio.get_running_loop()

    def ask_the_loop():
        return asyncio.run_coroutine_threadsafe(asyncio.sleep(0, WELL), loop).result(PATIENCE_SECONDS)

    monitor = make(Stub(ask_the_loop))

    assert (await monitor.check_all_health())["database"].status is Status.HEALTHY


async def test_a_check_that_nobody_awaits_is_made_all_the_same(make):
    monitor = make(Stub(DOWN))
    monitor.check_all_health()
    gc.collect()

    assert await asyncio.to_thread(eventually, lambda: found(monitor) is Status.DOWN)


def test_a_check_that_goes_on_is_not_begun_again(make, hang):
    stub = Stub(hang)
    monitor = make(stub)
    first, second = monitor.check_all_health(), monitor.check_all_health()
    hang.released.set()

    assert first.result().keys() == second.result().keys()
    assert stub.checks == 1


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (ConnectionRefusedError(111, "no"), "refused"),
        (TimeoutError("late"), "timeout"),
        (socket.gaierror(-2, "no such name"), "dns"),
        (ssl.SSLError(1, "bad certificate"), "tls"),
        (RuntimeError("at postgresql://me:hunter2@db/x password=hunter2"), "error"),
        (SystemExit(3), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_check_raises_is_what_it_found(make, error, condition, is_async):
    def fail():
        raise error

    async def fail_later():
        await asyncio.sleep(0)
        raise error

    monitor = make(Stub(fail_later if is_async else fail), Stub(name="other"))
    monitor.check_all_health_blocking()
    component = monitor.get_component_health("database")

    assert (component.found, component.condition, component.error_type) == ("down", condition, type(error).__name__)
    assert component.suggestions
    assert "hunter2" not in repr(component)
    assert found(monitor, "other") is Status.HEALTHY


def test_an_error_whose_text_cannot_be_had_is_a_finding_too(make):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    def fail():
        raise MuteError

    monitor = make(Stub(fail))
    monitor.check_all_health_blocking()

    assert (found(monitor), monitor.get_component_health("database").error_type) == ("down", "MuteError")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "check() returned None; it must return a Finding"),
        (True, "check() returned an object of type bool; it must return a Finding"),
        (Finding(status="well"), "check() returned a Finding with status='well'; give a Status, such as Status.HEALTHY"),
    ],
)
def test_a_check_that_returns_nonsense_is_unknown_and_says_so(make, returned, said):
    monitor = make(Stub(returned))
    monitor.check_all_health_blocking()
    component = monitor.get_component_health("database")

    assert (component.status, component.message) == ("unknown", said)
    assert monitor.get_active_alerts() == ()


def test_a_finding_is_made_presentable(make):
    odd = Finding(status="warning", message="a\nb postgres://u:hunter2@h", condition=None, suggestions="do", details=None)
    monitor = make(Stub(odd, schedule=within()))
    monitor.check_all_health_blocking()
    component = monitor.get_component_health("database")

    assert component.status is Status.WARNING
    assert component.message.startswith("a b ")
    assert "hunter2" not in component.message
    assert (component.condition, component.suggestions, component.details) == ("", ("do",), {})


def test_a_finding_that_fails_when_it_is_read_costs_nothing_but_itself(make):
    odd = Finding(status=Status.WARNING, suggestions=(1 / number for number in (1, 0)))
    monitor = make(Stub(odd))

    assert monitor.check_all_health_blocking()["database"].error_type == "ZeroDivisionError"


# --- hanging and late -----------------------------------------------------------------------------------------------------------


def test_a_hung_check_costs_itself_and_is_begun_three_times_at_most(make, hang):
    stub = Stub(hang, schedule=often(timeout_seconds=0.01))
    monitor = make(stub, Stub(name="cache", schedule=often()))
    monitor.start_monitoring()

    assert eventually(lambda: "3 checks of it hang" in monitor.get_component_health("database").message)
    component = monitor.get_component_health("database")
    assert (component.status, component.condition, component.checks_hanging) == ("down", "timeout", 3)
    before = monitor.get_component_health("cache").checks
    assert eventually(lambda: monitor.get_component_health("cache").checks >= before + 5)
    assert stub.checks == 3

    stub.does = WELL
    hang.released.set()
    assert eventually(lambda: status(monitor) is Status.HEALTHY), "one ended, so that another can begin"


async def test_many_hung_checks_delay_none_of_the_others(make, hang):
    stuck = [Stub(hang, f"stuck {number}", schedule=within(0.2)) for number in range(30)]
    monitor = make(*stuck, Stub(schedule=often()))
    monitor.start_monitoring()

    assert await asyncio.to_thread(eventually, lambda: monitor.get_component_health("database").checks >= 5)
    hang.released.set()


def test_what_a_late_check_finds_in_the_end_counts_no_more(make, hang):
    monitor = make(Stub(hang, schedule=within(0.01)))
    monitor.check_all_health_blocking()
    assert monitor.get_component_health("database").message == "no answer within 0.01 s"
    hang.released.set()

    assert eventually(lambda: not monitor.get_component_health("database").checks_hanging)
    assert (found(monitor), monitor.get_component_health("database").checks) == ("down", 1)


@pytest.mark.parametrize("is_stubborn", [False, True])
async def test_a_late_coroutine_on_the_programs_loop_is_cancelled(make, is_stubborn):
    begun, cancelled, released = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait():
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            if not is_stubborn:
                raise
            await released.wait()
        return WELL

    clock = FakeClock()
    monitor = make(Stub(wait), clock=clock, wall_clock=clock)
    looked = monitor.check_all_health()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await begun.wait()
        clock.advance(PATIENCE_SECONDS)
        monitor._rounds._go_on()
        assert (await looked)["database"].condition == "timeout"
        await cancelled.wait()
    released.set()
    await monitor.stop_monitoring()


async def test_a_blocked_event_loop_stops_no_function_and_keeps_no_deadline_from_passing(make):
    async def later():
        await asyncio.sleep(0)
        return WELL

    monitor = make(Stub(later, schedule=often(timeout_seconds=0.1)), Stub(name="cache", schedule=often()))
    await monitor.start_monitoring()
    before = monitor.get_component_health("cache").checks

    assert eventually(lambda: found(monitor) is Status.DOWN), "this holds up the loop"
    assert eventually(lambda: monitor.get_component_health("cache").checks >= before + 5)
    assert monitor.get_component_health("database").condition == "timeout"
    assert await asyncio.to_thread(eventually, lambda: found(monitor) is Status.HEALTHY)
    await monitor.stop_monitoring()


async def test_what_is_late_before_its_loop_comes_to_it_is_not_begun_any_more(make):
    begun = []

    async def later():
        begun.append(1)
        return WELL

    monitor = make(Stub(later, schedule=within(0.02)))
    monitor.check_all_health()
    assert eventually(lambda: found(monitor) is Status.DOWN), "this holds up the loop"
    assert await asyncio.to_thread(eventually, lambda: not monitor.get_component_health("database").checks_hanging)
    assert begun == []


# --- coroutines and their loops -------------------------------------------------------------------------------------------------


async def test_coroutines_run_on_the_loop_that_monitoring_was_started_on(make):
    loops = []

    async def look():
        loops.append(asyncio.get_running_loop())
        return WELL

    monitor = make(Stub(look, schedule=often()))
    async with monitor:
        assert await asyncio.to_thread(eventually, lambda: len(loops) >= 3)

    assert set(loops) == {asyncio.get_running_loop()}


def test_without_a_loop_of_the_programs_the_coroutines_of_a_component_keep_one_of_their_own(make):
    loops = []

    async def look():
        loops.append(asyncio.get_running_loop())
        return WELL

    monitor = make(Stub(look))
    for _ in range(3):
        monitor.check_all_health_blocking()
    monitor.close()

    assert len(set(loops)) == 1
    assert loops[0].is_closed()


async def test_a_component_with_a_loop_of_its_own_can_be_removed_in_a_coroutine(make):
    loops = []

    async def look():
        loops.append(asyncio.get_running_loop())
        return WELL

    monitor = make(Stub(look))
    await asyncio.to_thread(monitor.check_all_health_blocking)
    monitor.remove_health_checker("database")

    assert await asyncio.to_thread(eventually, loops[0].is_closed)


def test_a_coroutine_that_blocks_has_a_loop_of_its_own_and_costs_itself(make, hang):
    async def block():
        return hang()

    async def look():
        await asyncio.sleep(0)
        return WELL

    monitor = make(Stub(block, schedule=within(0.01)), Stub(look, "cache"))
    seen = monitor.check_all_health_blocking()

    assert {name: component.found for name, component in seen.items()} == {"database": "down", "cache": "healthy"}
    hang.released.set()


def test_when_the_programs_loop_has_ended_coroutines_have_one_of_their_own(make):
    async def look():
        await asyncio.sleep(0)
        return WELL

    monitor = make(Stub(look, schedule=often()))

    async def main():
        monitor.start_monitoring()

    asyncio.run(main())
    checks = monitor.get_component_health("database").checks
    assert eventually(lambda: monitor.get_component_health("database").checks >= checks + 3)
    assert eventually(lambda: found(monitor) is Status.HEALTHY)


def test_a_coroutine_on_a_loop_that_was_stopped_in_the_middle_holds_up_nothing(make):
    begun = threading.Event()

    async def wait():
        begun.set()
        await asyncio.Event().wait()

    clock = FakeClock()
    monitor = make(Stub(wait), clock=clock, wall_clock=clock)

    async def main():
        monitor.start_monitoring()
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)

    async def end():
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    clock.advance(PATIENCE_SECONDS)
    monitor._rounds._go_on()
    assert eventually(lambda: found(monitor) is Status.DOWN)
    assert eventually(lambda: not monitor.get_component_health("database").checks_hanging)
    monitor.close()
    loop.run_until_complete(end())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


# --- retries --------------------------------------------------------------------------------------------------------------------


def test_a_bad_finding_is_looked_at_again_before_it_counts(make):
    answers = [DOWN, DOWN, WELL]
    stub = Stub(lambda: answers.pop(0), schedule=within(retries=2, retry_delay_seconds=0))
    monitor = make(stub)
    monitor.check_all_health_blocking()

    assert (found(monitor), stub.checks) == ("healthy", 3)
    assert len(monitor.get_component_health_history("database")) == 1


def test_what_is_known_too_little_of_is_not_looked_at_again_and_the_last_bad_finding_counts(make):
    odd, bad = Stub(None, schedule=within(retries=5)), Stub(DOWN, "cache", schedule=within(retries=2, retry_delay_seconds=0))
    make(odd, bad).check_all_health_blocking()

    assert (odd.checks, bad.checks) == (1, 3)


def test_where_there_is_no_time_for_another_look_what_was_found_counts_and_not_that_there_was_no_time(make):
    stub = Stub(DOWN, schedule=within(retries=3, retry_delay_seconds=3600))
    monitor = make(stub)
    monitor.check_all_health_blocking()

    assert (monitor.get_component_health("database").condition, stub.checks) == ("refused", 1)


# --- monitoring -----------------------------------------------------------------------------------------------------------------


def test_in_a_thread_it_has_begun_when_start_monitoring_returns_and_nothing_goes_on_after_stop_monitoring(make):
    stub = Stub(schedule=often())
    monitor = make(stub)
    for _ in range(2):
        assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
        assert status(monitor) is Status.HEALTHY
        checks = stub.checks
        assert eventually(lambda checks=checks: stub.checks >= checks + 3)
        monitor.stop_monitoring()
        monitor.stop_monitoring()
        checks = stub.checks
        time.sleep(0.05)
        assert stub.checks == checks
        assert not monitor.is_monitoring


async def test_in_a_coroutine_all_is_known_when_it_was_awaited_and_nothing_need_be_awaited(make):
    monitor = make(Stub(schedule=often()), Stub(DOWN, "cache", schedule=often()))
    await monitor.start_monitoring()
    assert {each.name: each.status for each in monitor.health_report().components} == {"database": "healthy", "cache": "down"}
    await monitor.stop_monitoring()

    monitor.start_monitoring()
    monitor.stop_monitoring()
    gc.collect()


def test_the_schedule_is_kept_by_the_clock_that_is_given(make):
    clock = FakeClock()
    stub = Stub(schedule=Schedule(interval_seconds=100, jitter_ratio=0.5, timeout_seconds=60))
    monitor = make(stub, clock=clock, wall_clock=clock, random=lambda: 0.5)
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)

    clock.advance(124.9)
    monitor._rounds._go_on()
    time.sleep(0.05)
    assert stub.checks == 1
    clock.advance(0.2)
    monitor._rounds._go_on()
    assert eventually(lambda: stub.checks == 2)


def test_a_deadline_passes_by_the_clock_that_is_given(make, hang):
    clock = FakeClock()
    monitor = make(Stub(hang), clock=clock, wall_clock=clock)
    begun = monitor.check_all_health()
    assert not begun.wait(0.05)
    clock.advance(PATIENCE_SECONDS)
    monitor._rounds._go_on()

    assert begun.result()["database"].condition == "timeout"
    assert monitor.get_component_health("database").duration_seconds == PATIENCE_SECONDS
    hang.released.set()


def test_a_component_that_is_added_while_it_runs_is_checked_and_one_that_is_removed_no_more(make):
    monitor = make(Stub(name="cache"))
    with monitor:
        assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
        assert eventually(lambda: 1 < monitor._rounds._next_look - time.monotonic() < 3 * 3600), "nothing is due for long"
        stub = Stub(schedule=often())
        monitor.add_health_checker(stub)
        assert eventually(lambda: stub.checks >= 2)
        monitor.remove_health_checker("database")
        checks = stub.checks
        time.sleep(0.05)
        assert stub.checks <= checks + 1, "one may have been going on"
        assert [component.name for component in monitor.health_report().components] == ["cache"]


def test_a_component_that_is_removed_in_the_middle_of_a_check_takes_no_finding(make, hang):
    monitor = make(Stub(hang))
    begun = monitor.start_monitoring()
    assert hang.begun.acquire(timeout=PATIENCE_SECONDS)
    monitor.remove_health_checker("database")
    assert begun.wait(PATIENCE_SECONDS), "nobody waits for it any more"
    monitor.add_health_checker(Stub(DOWN, schedule=within()))
    hang.released.set()

    assert eventually(lambda: found(monitor) is Status.DOWN)


async def test_a_start_that_is_cancelled_leaves_nothing_that_runs(make, hang):
    monitor = make(Stub(hang))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await monitor.start_monitoring()

    assert not monitor.is_monitoring
    hang.released.set()


async def test_a_start_that_is_cancelled_goes_on_where_somebody_else_has_asked_for_it_too(make, hang):
    monitor = make(Stub(hang))
    first = asyncio.ensure_future(monitor.start_monitoring()._wait())
    await asyncio.sleep(0)
    monitor.start_monitoring()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert monitor.is_monitoring
    hang.released.set()
    await monitor.stop_monitoring()


async def test_a_stop_and_a_check_that_are_cancelled_go_on_with_nobody_waiting(make, hang):
    monitor = make(Stub(hang))
    for begin in (monitor.check_all_health, monitor.start_monitoring, monitor.stop_monitoring):
        if begin == monitor.start_monitoring:
            begin()
            continue
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await begin()
    assert not monitor.is_monitoring
    hang.released.set()
    await monitor.check_all_health()
    assert found(monitor) is Status.HEALTHY


def test_checks_that_are_given_up_by_stopping_found_nothing_and_those_who_wait_go_on(make, hang):
    monitor = make(Stub(hang))
    begun = monitor.start_monitoring()
    monitor.stop_monitoring()

    assert begun.wait(PATIENCE_SECONDS)
    assert monitor.get_component_health("database").checks == 0
    hang.released.set()


def test_a_check_may_stop_and_remove_what_runs_it(make):
    monitor = make()

    def stop():
        monitor.stop_monitoring()
        monitor.remove_health_checker("database")
        return WELL

    monitor.add_health_checker(Stub(stop))
    with reraise_internal_errors():
        monitor.start_monitoring()
        assert eventually(lambda: not monitor.health_report().components)


def test_disabled_it_checks_nothing(make, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    stub = Stub(schedule=often())
    with make(stub) as monitor:
        assert monitor.start_monitoring().has_ended
        assert monitor.check_all_health_blocking()["database"].status is Status.UNKNOWN
        assert not monitor.is_monitoring
    assert stub.checks == 0


def test_a_monitor_that_runs_is_not_ended_by_being_forgotten_and_one_that_does_not_is_collected(make):
    stub = Stub(schedule=often())
    monitor = SystemHealthMonitor([stub])
    monitor.start_monitoring()
    rounds = monitor._rounds
    del monitor
    gc.collect()
    checks = stub.checks
    assert eventually(lambda: stub.checks >= checks + 3)
    for thread in rounds.stop():
        thread.join(PATIENCE_SECONDS)


def test_when_no_thread_is_to_be_had_nothing_is_known_and_nothing_fails(make, monkeypatch):
    monitor = make(Stub())

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        seen = monitor.check_all_health_blocking()

    assert seen["database"].found is Status.UNKNOWN
    assert seen["database"].message == "no thread could be started for its check"
    assert monitor.check_all_health_blocking()["database"].status is Status.HEALTHY


def test_a_fault_of_ours_in_one_step_does_not_end_the_watch(fresh, monkeypatch):
    monkeypatch.setattr(watch, "_AFTER_FAULT_SECONDS", 0.0)
    steps = []

    def step():
        steps.append(1)
        return None if len(steps) > 2 else 1 / 0

    watching = watch.Watch(step)
    watching.thread.start()
    watching.thread.join(PATIENCE_SECONDS)

    assert len(steps) == 3


# --- processes ------------------------------------------------------------------------------------------------------------------


def in_child(work):
    """Fork, and return what the child says; empty where it failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            os.write(writing, str(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("is_async", [False, True])
def test_a_forked_child_has_the_checkers_checks_nothing_knows_nothing_and_can_begin_anew(make, is_async):
    async def look():
        await asyncio.sleep(0)
        return DOWN

    stub = Stub(look if is_async else DOWN, schedule=often())
    monitor = make(stub)
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
    assert eventually(monitor.get_active_alerts)

    def work():
        before = (monitor.is_monitoring, monitor.get_active_alerts(), status(monitor).value, monitor.health_report().is_ready)
        history, checks = monitor.get_component_health_history("database"), stub.checks
        time.sleep(0.05)
        has_checked = stub.checks != checks
        monitor.start_monitoring().wait(PATIENCE_SECONDS)
        after = (status(monitor).value, eventually(lambda: stub.checks >= checks + 3))
        monitor.close()
        return before, history, has_checked, after

    assert in_child(work) == "((False, (), 'unknown', False), (), False, ('down', True))"
    checks = stub.checks
    assert eventually(lambda: stub.checks >= checks + 3), "the parent goes on"


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_the_event_loops_of_its_parent_alone(make):
    async def look():
        await asyncio.to_thread(time.sleep, 0.01)  # which wakes the loop
        return WELL

    monitor = make(Stub(look, schedule=within(PATIENCE_SECONDS / 4)))
    monitor.check_all_health_blocking()

    def collect():
        warnings.simplefilter("ignore")  # an error would keep a loop that is found from being closed
        return gc.collect()

    in_child(collect)

    assert monitor.check_all_health_blocking()["database"].found is Status.HEALTHY


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_the_lock_is_held_does_not_wait_for_it(make):
    monitor = make(Stub(DOWN))
    held, done = threading.Event(), threading.Event()

    def hold():
        with monitor._rounds.lock, monitor._rounds.series._stating:
            held.set()
            done.wait(PATIENCE_SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE_SECONDS)
    try:
        assert in_child(lambda: monitor.check_all_health_blocking()["database"].found.value) == "down"
    finally:
        done.set()
        holder.join()


@pytest.mark.parametrize("how", ["function", "coroutine", "coroutine that blocks"])
def test_a_hung_check_does_not_hold_up_the_end_of_the_program(how):
    program = f"""
    import asyncio, sys, threading, time
    from agentgauge.health import *
    begun = threading.Event()
    class Check:
        name, component_type = "stuck", ComponentType.SERVICE
        schedule = Schedule(interval_seconds=0.1, timeout_seconds=0.2)
        def check(self):
            begun.set()
            if {how!r} == "function":
                time.sleep(3600)
            return self.later()
        async def later(self):
            if {how!r} != "coroutine":
                time.sleep(3600)
            await asyncio.sleep(3600)
    monitor = SystemHealthMonitor([Check()])
    monitor.start_monitoring()
    begun.wait(60)
    time.sleep(0.3)
    print(monitor.health_report().components[0].status)
    """
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout) == (0, "down\n")
