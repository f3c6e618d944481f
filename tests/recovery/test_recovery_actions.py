"""Each action restarts, reconnects, clears or sheds what it says, also where that hangs."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from recovery_world import PATIENCE_SECONDS, Free, wait_until

from agentgauge.recovery import (
    Action,
    Budget,
    Call,
    ClearCache,
    Failure,
    Reconnect,
    Recoveries,
    Recovery,
    RestartAgent,
    RestartSubprocess,
    RestartTask,
    RestartThread,
    ShedLoad,
    read_audit,
)
from agentgauge.testing import FakeClock

FAILURE = Failure(component="agent", condition="stuck", started_at=0)


@pytest.mark.parametrize(
    "action",
    [
        Call("call", print),
        ClearCache({}),
        Reconnect(print),
        RestartAgent(print, print),
        RestartSubprocess(["true"]),
        RestartTask(asyncio.Event().wait),
        RestartThread(print),
        ShedLoad(),
    ],
    ids=lambda action: action.name,
)
def test_each_is_an_action_with_a_name_of_its_own_kind(action):
    assert isinstance(action, Action)
    assert action.name.isidentifier()


# --- calls --------------------------------------------------------------------------------------------------------------------


def test_a_function_is_given_the_failure_where_it_has_a_parameter_for_it():
    assert Call("one", lambda failure: failure.condition).run(FAILURE) == "stuck"
    assert Call("none", lambda: "nothing").run(FAILURE) == "nothing"
    assert Call("default", lambda quick=True: quick).run(FAILURE) is True


async def test_a_coroutine_function_is_awaited():
    async def act(failure):
        return failure.component

    assert await Call("act", act).run(FAILURE) == "agent"


# --- tasks --------------------------------------------------------------------------------------------------------------------


async def test_a_task_is_cancelled_awaited_and_started_anew():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    action = RestartTask(work)
    first = action.start()
    await asyncio.sleep(0)
    note = await action.run(FAILURE)
    assert first.cancelled()
    assert (ended, note.text) == ([True], "")
    assert action.task is not first
    assert not action.task.done()
    action.task.cancel()


async def test_a_task_that_ignores_its_cancellation_is_left_behind_and_told_of():
    leave = asyncio.Event()

    async def stubborn():
        while not leave.is_set():
            try:
                await leave.wait()
            except asyncio.CancelledError:
                continue

    action = RestartTask(stubborn, stop_seconds=0.01)
    first = action.start()
    await asyncio.sleep(0)
    note = await action.run(FAILURE)
    assert "was left behind" in note.text
    assert not first.done()
    assert action.task is not first
    leave.set()
    await asyncio.gather(first, action.task)


async def test_a_task_that_failed_is_started_anew_without_a_complaint_of_asyncio():
    async def work():
        raise ValueError

    action = RestartTask(work)
    first = action.start()
    await asyncio.wait([first])
    await action.run(FAILURE)
    assert action.task is not first
    with pytest.raises(ValueError):
        await action.task


async def test_a_task_that_is_started_anew_is_no_part_of_the_recovery_that_did_so():
    seen = []

    async def work():
        seen.append(variable.get())
        variable.set("the task's own")

    variable = contextvars.ContextVar("variable")
    variable.set("the program's")
    action = RestartTask(work)
    await action.start()
    variable.set("the recovery's")
    await action.run(FAILURE)
    await action.task
    assert seen == ["the program's"] * 2


async def test_a_task_is_restarted_on_its_own_loop_by_recoveries_that_know_no_loop():
    action = RestartTask(asyncio.Event().wait)
    first = action.start()
    recovery = Recovery(component="agent", actions=[action], check=lambda: action.task is not first)
    with Recoveries([recovery], breaker=Free) as recoveries:
        result = await asyncio.to_thread(recoveries.recover, FAILURE)
    assert result.kind == "recovered"
    assert first.cancelled()
    assert action.task.get_loop() is asyncio.get_running_loop()
    action.task.cancel()


async def test_a_task_that_was_never_started_and_one_whose_loop_is_gone_cannot_be_restarted():
    with pytest.raises(RuntimeError, match="call start"):
        await RestartTask(asyncio.Event().wait).run(FAILURE)
    action = RestartTask(functools.partial(asyncio.sleep, 0))

    async def start():
        await action.start()

    await asyncio.to_thread(asyncio.run, start())
    with pytest.raises(RuntimeError, match="does not run any more"):
        await action.run(FAILURE)


# --- threads ------------------------------------------------------------------------------------------------------------------


def test_a_thread_is_asked_to_stop_and_another_is_started():
    action = RestartThread(lambda stopping: stopping.wait(PATIENCE_SECONDS))
    first = action.start()
    assert action.run(FAILURE).text == ""
    assert not first.is_alive()
    assert action.thread is not first
    assert action.thread.is_alive()
    assert action.thread.daemon
    assert action.stop()


def test_a_thread_that_hangs_is_left_behind_and_told_of():
    leave = threading.Event()
    action = RestartThread(lambda _: leave.wait(PATIENCE_SECONDS), stop_seconds=0.01)
    first = action.start()
    assert "was left behind; 1 are" in action.run(FAILURE).text
    assert first.is_alive()
    assert action.left_behind == 1
    leave.set()
    first.join()
    action.thread.join()
    assert action.left_behind == 0


# --- subprocesses -------------------------------------------------------------------------------------------------------------

PARENT = """
import signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def _is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("argument", "said"), [("willing", ""), ("stubborn", "was killed")])
def test_a_subprocess_is_ended_with_its_children_and_started_anew(argument, said):
    action = RestartSubprocess([sys.executable, "-c", PARENT, argument], stop_seconds=0.3, stdout=subprocess.PIPE, text=True)
    with action.start() as first:
        child = int(first.stdout.readline())
        note = action.run(FAILURE)
        assert said in note.text
        assert (note.text == "") == (said == "")
        assert first.returncode is not None
        wait_until(lambda: not _is_running(child))
    assert action.process.pid != first.pid
    with action.process as second:
        grandchild = int(second.stdout.readline())
        action.stop()
    wait_until(lambda: not _is_running(grandchild))


def test_a_subprocess_that_has_ended_or_never_ran_is_just_started():
    action = RestartSubprocess([sys.executable, "-c", ""])
    action.run(FAILURE)
    first = action.process
    first.wait()
    assert "the one before had exited with status 0" in action.run(FAILURE).text
    assert action.process is not first
    action.process.wait()


def test_a_command_that_exits_at_once_fails_the_action_and_the_audit_says_its_status(tmp_path):
    action = RestartSubprocess([sys.executable, "-c", "raise SystemExit(7)"], settle_seconds=PATIENCE_SECONDS)
    recovery = Recovery(component="agent", actions=[action], budget=Budget(attempts=1))
    with Recoveries([recovery], breaker=Free, audit=tmp_path / "audit") as recoveries:
        (attempt,) = recoveries.recover(FAILURE).attempts
    assert (attempt.outcome, attempt.error_message) == ("failed", "exited with status 7 at once")
    assert [entry.error_message for entry in read_audit(tmp_path / "audit").entries if entry.event == "outcome"] == [
        "exited with status 7 at once"
    ]
    assert not _is_running(action.process.pid), "nor is a defunct child left"


def test_the_audit_says_how_the_subprocess_before_had_ended():
    action = RestartSubprocess([sys.executable, "-c", "import time; time.sleep(600)"], settle_seconds=0)
    action.start().kill()
    action.process.wait(PATIENCE_SECONDS)
    assert action.run(FAILURE).text == "the one before had been ended by signal 9"
    action.stop()


def test_a_with_block_starts_a_subprocess_ends_it_and_lets_none_be_started_after():
    action = RestartSubprocess([sys.executable, "-c", "import time; time.sleep(600)"], settle_seconds=0)
    with action:
        process = action.process
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM
    with pytest.raises(RuntimeError, match="for good"):
        action.run(FAILURE)
    assert action.process is process


def test_the_end_of_recovery_does_not_end_a_subprocess():
    action = RestartSubprocess([sys.executable, "-c", "import time; time.sleep(600)"], settle_seconds=0)
    with Recoveries([Recovery(component="agent", actions=[action], check=lambda: True)], breaker=Free) as recoveries:
        assert recoveries.recover(FAILURE).kind == "recovered"
    assert action.process.poll() is None
    action.stop()


def test_a_process_that_has_the_number_of_one_that_ended_long_ago_is_left_alone():
    action = RestartSubprocess([sys.executable, "-c", ""])
    action.start().wait(PATIENCE_SECONDS)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as other:
        action.process.pid = other.pid
        assert action.stop()
        other.communicate(b"\n")
    assert other.returncode == 0


def test_a_forked_child_leaves_the_subprocess_of_its_parent_alone():
    action = RestartSubprocess([sys.executable, "-c", "import time; time.sleep(600)"])
    process = action.start()
    child = os.fork()
    if child == 0:
        action.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert process.poll() is None
    assert action.stop()
    assert process.returncode == -signal.SIGTERM


def test_a_command_that_is_not_there_fails_the_action():
    action = RestartSubprocess(["/nowhere/at-all"])
    recovery = Recovery(component="agent", actions=[action], budget=Budget(attempts=1))
    with Recoveries([recovery], breaker=Free) as recoveries:
        (attempt,) = recoveries.recover(FAILURE).attempts
    assert (attempt.outcome, attempt.error_type) == ("failed", "FileNotFoundError")


# --- agents and connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
async def test_an_agent_is_stopped_and_started_and_a_connection_closed_and_opened(kind):
    done, threads = [], set()

    def make(what):
        def call():
            done.append(what)
            threads.add(threading.current_thread())

        async def acall():
            call()

        return call if kind == "function" else acall

    await RestartAgent(make("stop"), make("start")).run(FAILURE)
    await Reconnect(make("connect"), close=make("close")).run(FAILURE)
    await Reconnect(make("connect")).run(FAILURE)
    assert done == ["stop", "start", "close", "connect", "connect"]
    assert (threading.current_thread() in threads) == (kind != "function"), "a function never holds up the loop"


async def test_that_an_agent_does_not_stop_or_a_connection_not_close_is_no_failure_and_is_told():
    def broken():
        raise OSError("secret")

    assert (await RestartAgent(broken, lambda: None).run(FAILURE)).text == "stop raised OSError"
    assert (await Reconnect(lambda: None, close=broken).run(FAILURE)).text == "close raised OSError"
    with pytest.raises(OSError, match="secret"):
        await Reconnect(broken).run(FAILURE)
    with pytest.raises(OSError, match="secret"):
        await RestartAgent(lambda: None, broken).run(FAILURE)


async def test_what_is_no_exception_of_an_agents_function_does_not_end_the_loop():
    def leave():
        sys.exit(3)

    def iterate():
        raise StopIteration

    with pytest.raises(RuntimeError, match="SystemExit"):
        await RestartAgent(lambda: None, leave).run(FAILURE)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await RestartAgent(lambda: None, iterate).run(FAILURE)


# --- caches and load ------------------------------------------------------------------------------------------------------------


def test_caches_are_cleared_by_whatever_clears_them():
    cache = {"a": 1}
    action = ClearCache(cache)
    assert "1" not in repr(action), "what is in it is not shown"
    action.run(FAILURE)
    assert cache == {}

    @functools.lru_cache
    def slow():
        return object()

    before = slow()
    ClearCache(slow, name="clear_slow").run(FAILURE)
    assert slow() is not before


def test_load_is_shed_for_a_while_by_the_clock():
    clock = FakeClock()
    action = ShedLoad(seconds=60, clock=clock)
    assert not action.is_shedding
    action.run(FAILURE)
    clock.advance(59)
    assert action.is_shedding
    action.run(FAILURE)
    clock.advance(59)
    assert action.is_shedding
    clock.advance(1)
    assert not action.is_shedding


def test_shedding_is_released_by_itself_and_only_once():
    told, released = [], threading.Event()

    def tell(is_shedding):
        told.append(is_shedding)
        if not is_shedding:
            released.set()

    action = ShedLoad(tell, seconds=0.05)
    action.run(FAILURE)
    assert released.wait(PATIENCE_SECONDS)
    action.release()
    assert told == [True, False]
    assert not action.is_shedding


def test_shedding_that_is_released_early_is_not_released_again():
    told = []
    action = ShedLoad(told.append, seconds=60)
    action.run(FAILURE)
    action.run(FAILURE)
    action.release()
    assert told == [True, True, False]


def test_shedding_that_is_begun_anew_while_it_is_released_goes_on_and_the_program_is_told_so_last():
    told, entered, leave = [], threading.Event(), threading.Event()

    def tell(is_shedding):
        if not is_shedding and not entered.is_set():
            entered.set()
            assert leave.wait(PATIENCE_SECONDS)
        told.append(is_shedding)

    action = ShedLoad(tell, seconds=60)
    action.run(FAILURE)
    releasing = threading.Thread(target=action.release)
    releasing.start()
    assert entered.wait(PATIENCE_SECONDS)
    action.run(FAILURE)  # returns though a call of the program's hangs
    leave.set()
    releasing.join(PATIENCE_SECONDS)
    assert (told, action.is_shedding) == ([True, False, True], True)
    action.release()
    assert told[-1] is False


def test_shedding_that_cannot_be_told_fails_the_action_and_is_none():
    def refuse(is_shedding):
        told.append(is_shedding)
        if len(told) == 1:
            raise OSError

    told = []
    action = ShedLoad(refuse, seconds=60)
    with pytest.raises(OSError):
        action.run(FAILURE)
    assert not action.is_shedding
    action.run(FAILURE)
    assert (action.is_shedding, told) == (True, [True, True])
    action.release()


def test_a_forked_child_releases_what_its_parent_sheds():
    told = []
    read, write = os.pipe()
    action = ShedLoad(told.append, seconds=0.2)
    action.run(FAILURE)
    child = os.fork()
    if child == 0:
        wait_until(lambda: told == [True, False])
        os.write(write, b"released")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 100) == b"released"
    wait_until(lambda: told == [True, False])
    os.close(read)
    os.close(write)
