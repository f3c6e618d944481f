from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest
from running_loops import Running, lag, settle, stall, wait_until

from agentgauge.collectors import event_loops as module
from agentgauge.collectors.event_loops import EventLoops

# --- what is measured -----------------------------------------------------------------------------------------------------


def test_a_program_without_loops_has_no_such_series(loops, clock):
    loops.probe(clock())
    assert (stall(loops), lag(loops)) == (None, {})


def test_a_loop_that_is_prompt_has_neither_lag_nor_stall(loops, clock):
    with Running():
        for _ in range(3):
            loops.probe(clock())
            settle(loops)
        assert lag(loops)["count"] == lag(loops)["0.001"] == 3
        assert stall(loops) == 0


def test_a_loop_that_is_blocked_shows_as_a_stall_that_grows_until_it_is_let_go(loops, clock):
    with Running() as running:
        loops.probe(clock())
        settle(loops)
        release = running.block()
        loops.probe(clock())
        assert stall(loops) == 0
        for seconds in (1, 2, 3):
            clock.advance(1)
            loops.probe(clock())
            assert stall(loops) == seconds
        assert lag(loops)["count"] == 1
        release()
        settle(loops)

        assert stall(loops) == 0
        assert (lag(loops)["count"], lag(loops)["sum"]) == (2, 3)
        assert (lag(loops)["1.0"], lag(loops)["5.0"]) == (1, 2)


def test_the_stall_is_that_of_the_most_belated_loop_and_the_lag_counts_all(loops, clock):
    with Running() as prompt, Running() as belated:
        loops.probe(clock())
        settle(loops)
        release = belated.block()
        loops.probe(clock())
        clock.advance(2)
        assert stall(loops) == 2
        release()
        settle(loops)
        assert lag(loops)["count"] == 4
        assert prompt.loop is not belated.loop


def test_a_block_that_kept_the_look_itself_from_running_counts(loops, clock):
    with Running():
        loops.probe(clock())
        settle(loops)
        due = clock()
        clock.advance(3)  # as where a C function keeps the GIL
        loops.probe(due)
        settle(loops)
        assert (lag(loops)["count"], lag(loops)["sum"]) == (2, 3)


def test_what_is_late_because_the_whole_program_is_busy_is_not_counted_twice(loops, clock):
    with Running() as running:
        loops.probe(clock())
        settle(loops)
        release = running.block()
        due = clock()
        clock.advance(0.04)
        loops.probe(due)
        clock.advance(0.04)
        release()
        settle(loops)
        assert lag(loops)["sum"] == pytest.approx(0.04)


def test_a_loop_that_has_ended_is_no_stall(loops, clock):
    with Running() as running:
        loops.probe(clock())
        settle(loops)
        release = running.block()
        loops.probe(clock())
        clock.advance(5)
        assert stall(loops) == 5
        release()
    assert stall(loops) is None
    loops.probe(clock())
    assert loops._watched == {}
    assert lag(loops)["count"] >= 1


def test_a_loop_that_is_run_again_and_again_is_measured_while_it_runs(loops, clock):
    loop = asyncio.new_event_loop()
    for turn in (1, 2):
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        wait_until(loop.is_running)
        loops.probe(clock())
        settle(loops)
        assert lag(loops)["count"] == turn
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        clock.advance(100)
        loops.probe(clock())
        assert stall(loops) is None
    assert lag(loops)["sum"] == 0
    loop.close()


# --- what is found --------------------------------------------------------------------------------------------------------


def run_forever(main):
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    task.add_done_callback(lambda _: loop.stop())
    loop.run_forever()
    loop.close()


def run_until_complete(main):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


def run_in_a_loop_whose_stack_is_hidden(main):
    # as those of loops that are written in C
    class Hidden(asyncio.SelectorEventLoop):
        run_forever = type(asyncio.SelectorEventLoop.run_forever)(
            asyncio.SelectorEventLoop.run_forever.__code__.replace(co_name="hidden"), asyncio.base_events.__dict__
        )

    with asyncio.Runner(loop_factory=Hidden) as runner:
        runner.run(main())


@pytest.mark.parametrize("run", [asyncio.run, run_forever, run_until_complete, run_in_a_loop_whose_stack_is_hidden])
@pytest.mark.parametrize("is_busy", [True, False])
def test_a_loop_is_found_however_it_is_run_and_whatever_it_does(loops, clock, run, is_busy):
    ready, release = threading.Event(), threading.Event()

    async def main():
        async def inner():
            ready.set()
            if is_busy:
                release.wait()
            await asyncio.to_thread(release.wait)

        await asyncio.gather(inner())

    thread = threading.Thread(target=run, args=(main,) if run is not asyncio.run else (main(),))
    thread.start()
    ready.wait()
    loops.probe(clock())
    clock.advance(1)
    found = stall(loops) if is_busy else len(loops._watched)
    release.set()
    thread.join()
    assert found == 1


async def test_the_loop_that_the_reader_itself_runs_in_is_found(loops, clock):
    loops.probe(clock())
    assert stall(loops) == 0
    await asyncio.sleep(0)
    assert lag(loops)["count"] == 1


def test_a_loop_deep_under_recursion_is_found_when_it_has_come_back(loops, clock):
    with Running() as running:
        held, release = threading.Event(), threading.Event()

        def dive(depth):
            if depth:
                return dive(depth - 1)
            held.set()
            return release.wait()

        running.loop.call_soon_threadsafe(dive, module._DEEPEST_LOOK_FRAMES)
        held.wait()
        loops.probe(clock())
        assert stall(loops) is None
        release.set()
        wait_until(lambda: loops.probe(clock()) or stall(loops) is not None)


def test_at_most_so_many_loops_are_watched(loops, clock, monkeypatch):
    monkeypatch.setattr(module, "_MOST_LOOPS", 1)
    with Running(), Running():
        loops.probe(clock())
        assert len(loops._watched) == 1


def test_without_a_gil_no_stack_is_looked_at(loops, clock, monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with Running():
        loops.probe(clock())
        assert stall(loops) is None


def test_a_program_that_has_not_loaded_asyncio_does_not_get_it_loaded():
    code = (
        "import sys, time\n"
        "from agentgauge.collectors.event_loops import EventLoops\n"
        "for name in [name for name in sys.modules if name.partition('.')[0] == 'asyncio']: del sys.modules[name]\n"
        "loops = EventLoops()\n"
        "loops.probe(time.perf_counter())\n"
        "assert list(loops.read_stall()) == [] and 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what it leaves alone -------------------------------------------------------------------------------------------------


def test_no_loop_is_kept_alive(loops, clock):
    with Running() as running:
        reference = weakref.ref(running.loop)
        loops.probe(clock())
        settle(loops)
        assert len(loops._watched) == 1
    running = None
    gc.collect()
    assert reference() is None
    loops.probe(clock())
    assert loops._watched == {}


def test_no_variable_of_the_programs_is_kept_alive(loops, clock):
    class Thing:
        pass

    held, release = threading.Event(), threading.Event()
    gone = []

    def work():
        thing = Thing()
        reference = weakref.ref(thing)
        held.set()
        release.wait()
        del thing
        gone.append(reference() is None)

    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    with Running():
        loops.probe(clock())
        release.set()
        thread.join()
    assert gone == [True]


def test_debug_mode_has_nothing_to_say(loops, clock, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Running(debug=True) as running:
            running.loop.slow_callback_duration = 30  # what a prompt callback never takes, on a busy machine either
            for _ in range(20):
                loops.probe(clock())
                settle(loops)
            assert lag(loops)["count"] == 20
    assert [record for record in caplog.records if record.name == "asyncio" and "slow" not in record.message] == []
    assert "Executing" not in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("Event loop is closed"), NotImplementedError(), TypeError("of another kind")])
def test_a_loop_that_takes_no_probe_is_forgotten_and_costs_no_other(loops, clock, monkeypatch, error):
    with Running() as running:
        loops.probe(clock())
        settle(loops)

        def refuse(*arguments):
            raise error

        monkeypatch.setattr(running.loop, "call_soon_threadsafe", refuse, raising=False)
        loops.probe(clock())
        assert loops._watched == {}
        monkeypatch.undo()


def test_the_context_of_the_program_is_not_touched(loops, clock):
    with Running() as running:
        seen = []
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), running.loop).result()
        loops.probe(clock())
        settle(loops)
        running.loop.call_soon_threadsafe(lambda: seen.append(len(asyncio.all_tasks())))
        wait_until(lambda: seen)
        assert seen == [1]  # no task of ours


@pytest.mark.parametrize("is_in_the_loop", [True, False])
def test_a_forked_child_does_not_wait_for_the_loop_of_its_parent(clock, is_in_the_loop):
    reader, writer = os.pipe()

    async def fork():
        await asyncio.sleep(0)
        return fork_and_look()

    def fork_and_look():
        process_id = os.fork()
        if process_id == 0:
            try:
                loops = EventLoops(clock)
                loops.probe(clock())
                first = stall(loops)
                asyncio.run(look(loops))
                loops.probe(clock())
                os.write(writer, repr((first, lag(loops)["count"], stall(loops))).encode())
            except BaseException as error:
                os.write(writer, repr(error).encode())
            finally:
                os._exit(0)
        os.waitpid(process_id, 0)
        return process_id

    async def look(loops):
        loops.probe(clock())
        await asyncio.sleep(0)
        assert stall(loops) == 0

    if is_in_the_loop:
        asyncio.run(fork())
    else:
        fork_and_look()
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "(None, 1, None)"


def test_a_look_at_very_many_frames_goes_on_at_the_next_probes_until_every_thread_has_had_its_turn(loops, clock, monkeypatch):
    monkeypatch.setattr(module, "_MOST_LOOK_FRAMES", 100)
    release = threading.Event()

    def deep(frames):
        if frames:
            deep(frames - 1)
        else:
            release.wait()

    with contextlib.ExitStack() as ends:
        threads = [threading.Thread(target=deep, args=(30,)) for _ in range(20)]
        for thread in threads:
            thread.start()
            ends.callback(thread.join)
        ends.callback(release.set)
        looked_at = []
        look = module._find_loop
        monkeypatch.setattr(module, "_find_loop", lambda *args: looked_at.append((found := look(*args))[1]) or found)
        wait_until(lambda: all(thread.is_alive() for thread in threads))
        with Running():
            probes = 0
            while not loops._watched:
                del looked_at[:]
                loops.probe(clock())
                probes += 1
                assert sum(looked_at) < 100 + 256
                assert probes < 30
        assert not loops._without or loops._without <= {thread.ident for thread in threading.enumerate()}


def test_what_other_threads_leave_during_a_look_does_not_end_in_this_one():
    """A loop's own function that is called while frames are held lets the other thread go on and leave its frame to us."""
    ended_in = []

    class Guard:
        def __del__(self):
            ended_in.append(threading.current_thread().name)

    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def request():
        guard = Guard()
        entered.set()
        leave.wait()
        return guard is None

    def work():
        request()
        left.set()

    class Loop(asyncio.SelectorEventLoop):
        def is_running(self):
            if threading.current_thread().name == "sampler" and not left.is_set():
                leave.set()
                left.wait(60)
            return super().is_running()

    worker = threading.Thread(target=work, name="worker")
    with Running(Loop):
        worker.start()  # after the loop: stacks are looked at from the oldest thread on
        entered.wait()
        loops = EventLoops()
        sampler = threading.Thread(target=lambda: loops.probe(time.perf_counter()), name="sampler")
        sampler.start()
        sampler.join()
        worker.join()
    assert left.is_set()
    assert ended_in == ["worker"]


def test_a_look_at_many_threads_is_cheap():
    loops = EventLoops()
    release = threading.Event()
    threads = [threading.Thread(target=release.wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    with Running():
        loops.probe(time.perf_counter())
        durations = []
        for _ in range(50):
            before = time.thread_time()
            loops.probe(time.perf_counter())
            durations.append(time.thread_time() - before)
            settle(loops)
    release.set()
    for thread in threads:
        thread.join()
    assert sorted(durations)[12] < 0.001  # twice a second: less than 0.2 % of a core
