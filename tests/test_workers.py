"""A host with several workers that each call ``start()`` keeps running: one serves, the others say why they do not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


MULTIPROCESSING = """
import logging, multiprocessing, sys
logging.basicConfig(format="%(message)s")

def work(port, served, done):
    import agentgauge
    @agentgauge.task("job")
    def job(): return 1
    monitor = agentgauge.start(port=port)
    assert job() == 1
    served.put(monitor.url)
    done.wait(60)
    monitor.stop()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    served, done = context.Queue(), context.Event()
    workers = [context.Process(target=work, args=(int(sys.argv[2]), served, done)) for _ in range(4)]
    for worker in workers: worker.start()
    urls = [served.get(timeout=60) for _ in workers]
    done.set()
    for worker in workers: worker.join(60)
    print(sum(url is not None for url in urls), [worker.exitcode for worker in workers])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_of_four_multiprocessing_workers_one_serves_and_three_say_why_not(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(MULTIPROCESSING)
    command = [sys.executable, str(program), method, str(free_port())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, start_new_session=True, check=False)
    assert result.stdout == "1 [0, 0, 0, 0]\n", result.stderr
    assert len(re.findall("served by", result.stderr)) == 3, result.stderr


EXECUTOR = """
import concurrent.futures, multiprocessing, os, sys
import agentgauge
from prometheus_client import REGISTRY

@agentgauge.task
def double(number):
    return number * 2

def count():
    return REGISTRY.get_sample_value("agent_task_duration_seconds_count", {"agent_task": "double", "outcome": "success"}) or 0

def double_and_count(number):
    return double(number), os.getpid(), count()

if __name__ == "__main__":
    agentgauge.start(port=0)
    for number in range(50): double(number)
    context = multiprocessing.get_context(sys.argv[1])
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        answers = list(executor.map(double_and_count, range(100)))
    doubled, processes, counts = zip(*answers)
    last = {process: max(count for _, its, count in answers if its == process) for process in processes}
    print(doubled == tuple(range(0, 200, 2)), os.getpid() in processes, sum(last.values()), count())
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_processes_of_an_executor_count_their_own_calls_from_zero_and_the_parent_its_own(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(EXECUTOR)
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", str(program), method]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, start_new_session=True, check=False)
    assert (result.stdout, result.stderr) == ("True False 100 50\n", "")


PRELOADED = """
import agentgauge, os, signal, sys
monitor = agentgauge.start(port=0, collector_timeout_seconds=60)
@agentgauge.task("job")
def job(): pass
job()
url = monitor.url
child = os.fork()
if child == 0:
    job(); job()
    again = agentgauge.start(port=int(url.split(":")[2].split("/")[0]), collector_timeout_seconds=60)
    value = again.registry.get_sample_value
    count = value("agent_task_duration_seconds_count", {"agent_task": "job", "outcome": "success"})
    healthy = value("agentgauge_collector_success", {"collector": "host"})
    agentgauge.stop()
    names = {type(collector).__name__ for collector in again.registry._collector_to_names}
    left = sorted(names & {"Sweep", "TargetsCollector"})
    os._exit(0 if (monitor.url, again.url, count, healthy, left) == (None, None, 2, 1, []) else 1)
_, status = os.waitpid(child, 0)
value = monitor.registry.get_sample_value("agent_task_duration_seconds_count", {"agent_task": "job", "outcome": "success"})
print(os.waitstatus_to_exitcode(status), int(value), monitor.url == url)
"""


def test_a_child_of_a_program_that_serves_starts_from_zero_and_leaves_the_port_to_its_parent():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELOADED]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True, check=False)
    assert result.stdout == "0 1 True\n", result.stderr


GUNICORN = """
import agentgauge, os

@agentgauge.task("request")
def answer(): return str(os.getpid()).encode()

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer()]

def post_worker_init(worker):
    agentgauge.start()
    print("worker started", flush=True)
"""


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_gunicorn_with_four_workers_keeps_running_and_one_serves_the_metrics(tmp_path, preload):
    (tmp_path / "program.py").write_text(GUNICORN)
    port, metrics_port = free_port(), free_port()
    command = [sys.executable, "-m", "gunicorn", "program:application", "--config", "python:program", *preload]
    options = ["--workers", "4", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    environment = {**os.environ, "AGENTGAUGE_PORT": str(metrics_port)}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *options], cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            while log.read_text().count("worker started") < 4:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            page = ""
            while 'agent_task_duration_seconds_count{agent_task="request",outcome="success"}' not in page:
                assert time.monotonic() < deadline, page  # requests go to any of the four, the one that serves among them
                assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read().isdigit()
                page = urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=60).read().decode()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    assert log.read_text().count("served by") == 3, log.read_text()


STARTED_IN_THE_MASTER = """
import agentgauge, os

monitor = agentgauge.start()

@agentgauge.task("request")
def answer():
    return b"%d %d" % (os.getpid(), monitor.url is None)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer()]

def on_starting(server): answer()
"""


def test_workers_of_a_gunicorn_master_that_serves_answer_also_after_one_was_killed_and_forked_anew(tmp_path):
    (tmp_path / "program.py").write_text(STARTED_IN_THE_MASTER)
    port, metrics_port = free_port(), free_port()
    command = [sys.executable, "-m", "gunicorn", "program:application", "--config", "python:program", "--preload"]
    options = ["--workers", "2", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    environment = {**os.environ, "AGENTGAUGE_PORT": str(metrics_port)}
    log = tmp_path / "log"
    deadline = time.monotonic() + 120

    def workers_that_answer(seen, unwanted):
        while len(seen - unwanted) < 2:
            assert time.monotonic() < deadline, log.read_text()
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read()
            except OSError:  # not up yet, or that was the killed one
                time.sleep(0.02)
                continue
            worker, is_without_server = page.split()
            assert is_without_server == b"1"
            seen.add(int(worker))
        return seen - unwanted

    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *options], cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            killed = workers_that_answer(set(), set()).pop()
            os.kill(killed, signal.SIGKILL)
            workers_that_answer(set(), {killed})
            page = urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=60).read().decode()
            assert 'agent_task_duration_seconds_count{agent_task="request",outcome="success"} 1\n' in page
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
