"""Event loops of uvloop, which are written in C: they are found and measured as asyncio's own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from urllib.request import urlopen

import pytest
import uvicorn
import uvloop
from running_loops import Running, lag, settle, stall, wait_until


def run_by_uvloop(main):
    uvloop.run(main())


def run_by_a_runner(main):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def run_alone(main):
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("run", "is_found"),
    [(run_by_uvloop, True), (run_by_a_runner, True), (run_alone, False)],
    ids=["uvloop.run", "asyncio.Runner", "run_until_complete"],
)
@pytest.mark.parametrize("is_busy", [True, False])
def test_a_loop_of_uvloop_is_found_where_asyncio_runs_it(loops, clock, run, is_found, is_busy):
    ready, release, ran = threading.Event(), threading.Event(), []

    async def main():
        ran.append(isinstance(asyncio.get_running_loop(), uvloop.Loop))
        ready.set()
        if is_busy:
            release.wait()
        await asyncio.to_thread(release.wait)

    thread = threading.Thread(target=run, args=(main,))
    thread.start()
    ready.wait()
    loops.probe(clock())
    clock.advance(1)
    found = stall(loops)
    release.set()
    thread.join()
    assert ran == [True]
    assert (found is not None) == is_found
    assert found == 1 or not (is_found and is_busy)


def test_a_loop_of_uvloop_that_is_blocked_shows_as_a_stall_and_how_long_it_was_as_lag(loops, clock):
    with Running(uvloop.new_event_loop) as running:
        assert isinstance(running.loop, uvloop.Loop)
        loops.probe(clock())
        settle(loops)
        release = running.block()
        loops.probe(clock())
        for seconds in (1, 2, 3):
            clock.advance(1)
            loops.probe(clock())
            assert stall(loops) == seconds
        release()
        settle(loops)
        assert stall(loops) == 0
        assert (lag(loops)["count"], lag(loops)["sum"]) == (2, 3)
        assert (lag(loops)["0.001"], lag(loops)["1.0"], lag(loops)["5.0"]) == (1, 1, 2)


def test_no_loop_of_uvloop_is_kept_alive_and_one_that_has_ended_is_no_stall(loops, clock):
    with Running(uvloop.new_event_loop) as running:
        reference = weakref.ref(running.loop)
        loops.probe(clock())
        settle(loops)
    assert stall(loops) is None
    running = None
    gc.collect()
    assert reference() is None
    loops.probe(clock())
    assert loops._watched == {}


def test_a_request_that_blocks_a_uvicorn_server_on_uvloop_shows_as_its_lag(loops, clock):
    blocked, release, kinds = threading.Event(), threading.Event(), []

    async def app(scope, receive, send):
        if scope["path"] == "/block":
            kinds.append(type(asyncio.get_running_loop()))
            blocked.set()
            release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = uvicorn.Server(uvicorn.Config(app, port=0, loop="uvloop", lifespan="off", log_level="error"))
    serving = threading.Thread(target=server.run)
    serving.start()
    wait_until(lambda: server.started)
    [listening] = [each for listener in server.servers for each in listener.sockets]
    base = "http://{}:{}".format(*listening.getsockname()[:2])
    asking = threading.Thread(target=lambda: urlopen(f"{base}/block", timeout=30).close())
    try:
        loops.probe(clock())
        settle(loops)
        assert lag(loops)["sum"] == 0
        asking.start()
        blocked.wait()
        loops.probe(clock())
        clock.advance(2)
        assert stall(loops) == 2
    finally:
        release.set()
        asking.join()
        settle(loops)
        server.should_exit = True
        serving.join()
    assert kinds == [uvloop.Loop]
    assert (lag(loops)["count"], lag(loops)["sum"]) == (2, 2)
