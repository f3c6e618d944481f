"""A program that forks again and again while it records, scrapes and logs: ``fork_storm.py COUNT LOG``, see test_many_forks.py.

Four threads record, one scrapes over HTTP, and the drain thread logs a fault at every drain, so that a fork finds any lock
held. A child's exit code says which check failed.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import random
import signal
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

from prometheus_client import REGISTRY

import agentgauge
from agentgauge import agent, errors, fork_gate, task, tool, track
from agentgauge.exposition.text import render
from agentgauge.recording.default import default_recorder

COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"
TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"
RECORDED = "agentgauge_events_recorded_total"
BURST = 100
CALLS_IN_CHILD = 700  # more than the calls after which a caller drains
CHILD_SECONDS = 60.0
CHILDREN_AT_ONCE = 4
FIRST_EXIT_CODE = 10


@task
def work():
    return 1


@tool
def look():
    return 1


def read(page):
    return {series: float(number) for series, _, number in (line.rpartition(" ") for line in page.splitlines() if line[0] != "#")}


def scrape_here():
    """Return every series of a page that this process writes."""
    return read(b"".join(render(REGISTRY, openmetrics=False)).decode())


# --- the child --------------------------------------------------------------------------------------------------------------

OWN_CALLS_OF_A_CHILD = {
    f'{COUNT}{{agent_task="work",outcome="success"}}': CALLS_IN_CHILD,
    f'{TOOL_COUNT}{{gen_ai_agent_name="scout",gen_ai_tool_name="look"}}': 1,
    f'{RUN_COUNT}{{gen_ai_agent_name="scout"}}': 1,
    RECORDED: CALLS_IN_CHILD + 2,
    'agent_tasks_in_progress{agent_task="work"}': 0,
}


def starts_from_zero(_number):
    shown = scrape_here()
    return shown[RECORDED] == 0 and not any(series.startswith((COUNT, RUN_COUNT, TOOL_COUNT)) for series in shown)


def counts_its_own_calls(_number):
    with track("scout", "rerank"):
        look()
    for _ in range(CALLS_IN_CHILD):
        work()
    return OWN_CALLS_OF_A_CHILD.items() <= scrape_here().items()


def leaves_the_port_to_its_parent(_number):
    return monitor.url is None


def logs(number):
    logging.getLogger("agentgauge").warning("child %d", number)
    return True


def fetch(url):
    """Scrape over HTTP; urllib would make a TLS context each time, and OpenSSL has a lock that a fork can freeze."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=CHILD_SECONDS)) as connection:
        connection.request("GET", parts.path)
        return connection.getresponse().read()


def serves(number):
    if number % 10:  # a server and a request take a child as long as all the rest
        return True
    url = agentgauge.start(port=0).url
    shown = read(fetch(url).decode())
    agentgauge.stop()
    return OWN_CALLS_OF_A_CHILD.items() <= shown.items()


CHECKS = (
    starts_from_zero,
    counts_its_own_calls,
    leaves_the_port_to_its_parent,
    logs,
    serves,
)


def live(number):
    """Be the child: exit with 0, or with the code of the check that does not hold."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(2 * int(CHILD_SECONDS))  # where it hangs, it outlives its parent's end by no more
    for code, check in enumerate(CHECKS, FIRST_EXIT_CODE):
        try:
            if not check(number):
                os._exit(code)
        except BaseException as error:
            os.write(2, f"child {number}: {check.__name__}: {error!r}\n".encode())
            os._exit(code)
    os._exit(0)


# --- the parent -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Child:
    process_id: int
    way: str
    deadline: float


children: list[Child] = []
forks = 0


def fork(way):
    global forks  # noqa: PLW0603 - a signal handler counts it, too
    process_id = os.fork()
    if process_id == 0:
        contextvars.Context().run(live, forks)  # not in the agent's name of the call that forks
    forks += 1
    children.append(Child(process_id, way, time.monotonic() + CHILD_SECONDS))


def reap(at_most_left):
    """Wait until no more than so many children are left; end the program where one of them hangs or failed."""
    while len(children) > at_most_left:
        for child in list(children):
            done, status = os.waitpid(child.process_id, os.WNOHANG)
            if done:
                children.remove(child)
                code = os.waitstatus_to_exitcode(status)
                if code:
                    name = CHECKS[code - FIRST_EXIT_CODE].__name__ if code >= FIRST_EXIT_CODE else "lives"
                    sys.exit(f"a child that was forked {child.way} does not hold what it must: {name} (exit code {code})")
            elif time.monotonic() > child.deadline:
                os.kill(child.process_id, signal.SIGKILL)
                sys.exit(f"a child that was forked {child.way} hangs")
        time.sleep(0.001)


def plainly():
    fork("plainly")


@task
def in_a_call():
    fork("in a call")


@agent("scout")
async def in_a_coroutine():
    await asyncio.sleep(0)
    fork("in a coroutine")


@task
def in_a_generator():
    yield 1
    fork("in a generator")


def in_a_tracked_block():
    with track("", "in_a_tracked_block"):
        fork("in a tracked block")


@task
def in_a_handler(_signal=None, _frame=None):
    fork("in a signal handler")


def in_a_handler_that_interrupts_recording():
    so_many = forks
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
    while forks == so_many:
        work()
        made_by_threads.append(1)


def in_another_thread():
    thread = threading.Thread(target=plainly)
    thread.start()
    thread.join()


WAYS = (
    plainly,
    in_a_call,
    lambda: asyncio.run(in_a_coroutine()),
    lambda: list(in_a_generator()),
    in_a_tracked_block,
    in_a_handler_that_interrupts_recording,
    in_another_thread,
)
OWN_CALLS = ((1, "in_a_call"), (2, "in_a_coroutine"), (3, "in_a_generator"), (4, "in_a_tracked_block"), (5, "in_a_handler"))
"""The ways that fork inside a decorated call, and the task that this is."""

made_by_threads: list[int] = []
scrapes: list[int] = []
is_done = threading.Event()


def record():
    made = 0
    while not is_done.wait(0.001):  # between bursts, so that the forks get their turn
        for _ in range(BURST):
            work()
        made += BURST
    made_by_threads.append(made)


def scrape():
    while not is_done.is_set():
        scrapes.append(len(fetch(monitor.url)))


def let_the_drain_thread_log():
    recorder = default_recorder()
    drain = recorder.drain

    def drain_and_fail():
        drain()
        if threading.current_thread().name == "agentgauge-drain":
            raise ValueError("on purpose")

    recorder.drain = drain_and_fail
    errors._LOG_INTERVAL_SECONDS = 0.0


def fork_often(count):
    """Fork so often, in all the ways by turns."""
    threads = [threading.Thread(target=target, daemon=True) for target in (record, record, record, record, scrape)]
    for thread in threads:
        thread.start()
    for number in range(count):
        WAYS[number % len(WAYS)]()
        reap(CHILDREN_AT_ONCE)
    reap(0)
    is_done.set()
    for thread in threads:
        thread.join()


def check_the_books(count):
    """Compare what the parent shows with what it did."""
    own_calls = {name: len(range(turn, count, len(WAYS))) for turn, name in OWN_CALLS}
    expected = {RECORDED: sum(own_calls.values()) + sum(made_by_threads), "agentgauge_events_dropped_total": 0}
    for name, times in {**own_calls, "work": sum(made_by_threads)}.items():
        agent_label = 'gen_ai_agent_name="scout",' if name == "in_a_coroutine" else ""
        expected[f'{COUNT}{{{agent_label}agent_task="{name}",outcome="success"}}'] = times
        expected[f'agent_tasks_in_progress{{{agent_label}agent_task="{name}"}}'] = 0
    shown = scrape_here()
    wrong = {series: (number, shown.get(series)) for series, number in expected.items() if shown.get(series) != number}
    assert not wrong, f"expected and shown: {wrong}"
    assert set(errors.contained_errors.count_by_hook) == {"drain"}


if __name__ == "__main__":
    fork_gate._FORK_WAIT_SECONDS = CHILD_SECONDS  # no machine is so busy that a thread holds for so long what a fork waits for
    sys.setswitchinterval(0.0001)  # a fork finds threads in more places, and waits less for its turn
    wanted = int(sys.argv[1])
    signal.signal(signal.SIGALRM, in_a_handler)
    # the children share this file: each line is one write
    logging.basicConfig(filename=sys.argv[2], format="%(message)s")
    let_the_drain_thread_log()
    monitor = agentgauge.start(port=0, drain_interval_seconds=0.001)
    began = time.monotonic()
    fork_often(wanted)
    check_the_books(wanted)
    faults = errors.contained_errors.count_by_hook["drain"]
    agentgauge.stop()
    print(  # noqa: T201 - what it is run for
        f"{wanted} forks in {time.monotonic() - began:.1f} s,",
        f"{sum(made_by_threads)} calls, {len(scrapes)} scrapes, {faults} faults logged",
    )
