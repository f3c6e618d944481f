from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.collectors import children as module
from agentgauge.collectors.children import Children, CpuLedger

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
BURN = "import time\nwhile time.process_time() < {}: pass\n"


def read(children):
    return {reading.family.name.removeprefix("process_children"): reading.value for reading in children.read()}


def wait_until(is_true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def run():
    started = []

    def start(code, **options):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


# --- real processes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_lists", [True, False])
def test_children_of_any_depth_are_counted_with_their_threads_and_memory(run, has_lists):
    children = Children(os.getpid())
    children._has_lists = has_lists
    before = read(children)
    inner = "import sys; print('up', flush=True); sys.stdin.read()"
    middle = (
        "import subprocess, sys, threading\n"
        f"process = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE, stdin=subprocess.PIPE)\n"
        "process.stdout.readline()\n"
        "held = bytearray(50_000_000)\n"
        "for _ in range(3): threading.Thread(target=sys.stdin.read, daemon=True).start()\n"
        "print('up', flush=True)\n"
        "threading.Event().wait()\n"
    )
    assert run(middle).stdout.readline() == b"up\n"

    during = read(children)

    assert during[""] == before[""] + 2
    assert during["_threads"] == before["_threads"] + 5
    assert during["_resident_memory_bytes"] - before["_resident_memory_bytes"] > 50_000_000
    assert during["_cpu_seconds_total"] > before["_cpu_seconds_total"]


@pytest.mark.parametrize("has_lists", [True, False])
def test_children_that_a_thread_started_are_found(run, has_lists):
    children = Children(os.getpid())
    children._has_lists = has_lists
    before = read(children)[""]
    started = []
    release = threading.Event()

    def start():
        started.append(run("import sys; print('up', flush=True); sys.stdin.read()"))
        release.wait()

    thread = threading.Thread(target=start)
    thread.start()
    wait_until(lambda: started)
    found = read(children)[""]
    release.set()
    thread.join()

    assert found == before + 1


def test_the_time_of_a_child_that_lived_and_ended_between_two_looks_is_there():
    children = Children(os.getpid())
    before = read(children)
    subprocess.run([sys.executable, "-c", BURN.format(0.3)], check=True)
    after = read(children)
    assert 0.25 <= after["_cpu_seconds_total"] - before["_cpu_seconds_total"] <= 2
    assert after[""] == before[""]


def test_the_time_of_a_child_is_not_counted_again_when_it_is_waited_for(run):
    children = Children(os.getpid())
    others = read(children)
    before = others["_cpu_seconds_total"]
    process = run(BURN.format(0.4) + "print(time.process_time(), flush=True)\nimport sys\nsys.stdin.read()\n")
    spent = float(process.stdout.readline())
    during = read(children)["_cpu_seconds_total"] - before
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    zombie = read(children)
    process.wait()
    after = read(children)["_cpu_seconds_total"] - before

    assert during == pytest.approx(spent, abs=0.1)
    assert (zombie[""], zombie["_threads"]) == (others[""], others["_threads"])
    assert abs(zombie["_resident_memory_bytes"] - others["_resident_memory_bytes"]) < 3_000_000
    assert during <= zombie["_cpu_seconds_total"] - before <= after <= during + 0.2


def test_where_nobody_waits_for_children_what_was_seen_of_them_stays(run):
    # in a process of its own: SIGCHLD is ignored for the whole process, and the kernel forgets what such children used
    code = (
        "import os, signal, subprocess, sys\n"
        "from agentgauge.collectors.children import Children\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "children = Children(os.getpid())\n"
        "def total(): return {r.family.name: r.value for r in children.read()}['process_children_cpu_seconds_total']\n"
        "seen = [total()]\n"
        "for _ in range(3):\n"
        f"    child = subprocess.Popen([sys.executable, '-c', {BURN.format(0.2)!r} + 'print(1, flush=True); input()'],\n"
        "        stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "    child.stdout.readline()\n"
        "    seen.append(total())\n"
        "    child.communicate(b'\\n')\n"
        "    seen.append(total())\n"
        "print(*seen)\n"
    )
    process = run(code)
    seen = [float(value) for value in process.communicate(timeout=60)[0].split()]
    assert seen == sorted(seen)
    assert seen[-1] >= 0.55


def in_a_forked_child(body):
    """Give what ``body`` returns in a process that has no children, whatever other tests have left to this one."""
    reader, writer = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        try:
            os.write(writer, repr(body()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(process_id, 0)
    with os.fdopen(reader) as file:
        return file.read()


def test_a_program_without_children_has_none_and_looks_at_no_lists():
    def look():
        children = Children(os.getpid())
        children._list_below = None
        return [value for name, value in sorted(read(children).items()) if name != "_cpu_seconds_total"]

    assert in_a_forked_child(look) == "[0, 0, 0]"


def test_looking_takes_no_childs_end_from_the_program(run):
    process = run("import sys; sys.exit(7)")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    read(Children(os.getpid()))
    assert process.wait() == 7


def test_a_forked_child_has_children_of_its_own():
    def look():
        values = read(Children(os.getpid()))
        return values[""], values["_cpu_seconds_total"]

    assert in_a_forked_child(look) == "(0, 0.0)"


def test_a_stopped_child_is_counted_too(run):
    before = read(Children(os.getpid()))[""]
    process = run("import sys; print('up', flush=True); sys.stdin.read()")
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T")
    assert read(Children(os.getpid()))[""] == before + 1


# --- a /proc of the test's own --------------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path)


@dataclass
class FakeProc:
    root: Path

    def __call__(self, process_id, *, parent=0, below=(), name="agent", state="S", own=(0, 0), reaped=(0, 0), started=1):
        folder = self.root / str(process_id)
        (folder / "task" / str(process_id)).mkdir(parents=True, exist_ok=True)
        (folder / "task" / str(process_id) / "children").write_text(" ".join(map(str, below)))
        rest = [state, parent, *[0] * 9, *own, *reaped, 0, 0, 2, 0, started, 0, 10, *[0] * 28]
        (folder / "stat").write_text(f"{process_id} ({name}) {' '.join(map(str, rest))}\n")


@pytest.mark.parametrize("has_lists", [True, False])
@pytest.mark.parametrize("name", ["agent", "a) S 5 (b", "two words", "()"])
def test_a_process_may_have_any_name(proc, name, has_lists):
    proc(10, below=[11], own=(500, 500))  # its own time is not that of its children
    proc(11, parent=10, name=name, own=(30, 20))
    children = Children(10, str(proc.root))
    children._has_lists = has_lists
    assert read(children) == {
        "": 1,
        "_cpu_seconds_total": 50 / TICKS,
        "_resident_memory_bytes": 10 * PAGE,
        "_threads": 2,
    }


def test_a_child_that_may_not_be_looked_at_is_counted_and_missing_in_the_sums(proc, monkeypatch):
    proc(10, below=[11, 12])
    proc(11, parent=10, own=(100, 0))
    proc(12, parent=10, own=(7, 0))
    really_read = module._read

    def refuse(path):
        if path.endswith("/11/stat"):
            raise PermissionError(path)
        return really_read(path)

    monkeypatch.setattr(module, "_read", refuse)
    values = read(Children(10, str(proc.root)))
    assert values == {"": 2, "_cpu_seconds_total": 7 / TICKS, "_resident_memory_bytes": 10 * PAGE, "_threads": 2}


@pytest.mark.parametrize("error", [FileNotFoundError, ProcessLookupError])
@pytest.mark.parametrize("file", ["stat", "task/11/children"])
def test_a_child_that_vanishes_while_it_is_looked_at_costs_no_other(proc, monkeypatch, error, file):
    proc(10, below=[11, 12])
    proc(11, parent=10, own=(100, 0), below=[13])
    proc(12, parent=10, own=(7, 0))
    really_read = module._read

    def vanish(path):
        if path.endswith(f"/11/{file}"):
            raise error(path)
        return really_read(path)

    monkeypatch.setattr(module, "_read", vanish)
    values = read(Children(10, str(proc.root)))
    assert values[""] == (1 if file == "stat" else 2)
    assert values["_cpu_seconds_total"] == (7 if file == "stat" else 107) / TICKS


def test_without_a_proc_there_are_no_readings(tmp_path):
    assert read(Children(10, str(tmp_path))) == {}


# --- the books ------------------------------------------------------------------------------------------------------------


def process(process_id, parent_id, own=0, reaped=0, started=1):
    return module._Process(module._Identity(process_id, started), parent_id, "S", own, reaped, 1, 1)


def test_a_child_that_one_look_missed_is_not_counted_anew():
    ledger = CpuLedger()
    for seen in ([process(2, 1, own=100)], [], [process(2, 1, own=110)]):
        ledger.update(process(1, 0), seen)
    assert ledger.ticks == 110


def test_what_a_child_used_is_taken_out_once_of_what_its_parent_waited_for():
    ledger = CpuLedger()
    ledger.update(process(1, 0), [process(2, 1, own=100)])
    ledger.update(process(1, 0, reaped=100), [])
    ledger.update(process(1, 0, reaped=140), [])  # another, that nobody saw
    assert ledger.ticks == 140


def test_the_ends_of_a_child_and_its_parent_each_behind_the_back_of_a_look_count_once():
    ledger = CpuLedger()
    ledger.update(process(1, 0), [process(2, 1), process(3, 2, own=100)])
    ledger.update(process(1, 0), [process(2, 1)])  # 2 waited for 3 just after it was looked at
    ledger.update(process(1, 0), [])  # and 1 for 2
    ledger.update(process(1, 0, reaped=100), [])
    assert ledger.ticks == 100


def test_an_id_that_is_used_again_is_another_process():
    ledger = CpuLedger()
    ledger.update(process(1, 0), [process(2, 1, own=100)])
    ledger.update(process(1, 0, reaped=100), [process(2, 1, own=30, started=2)])
    assert ledger.ticks == 130


def test_a_count_that_goes_back_takes_nothing_away():
    ledger = CpuLedger()
    for own in (100, 99, 101):
        ledger.update(process(1, 0), [process(2, 1, own=own)])
        assert ledger.ticks >= 100


def test_what_was_seen_of_a_child_that_its_parent_left_behind_stays_and_hides_nothing_for_long():
    ledger = CpuLedger()
    ledger.update(process(1, 0), [process(2, 1, own=100)])
    for reaped in (0, 0, 50):
        ledger.update(process(1, 0, reaped=reaped), [])
    assert ledger.ticks == 150


class Kernel:
    """Processes that use ticks, end and are waited for; ids are used again."""

    def __init__(self):
        self.spent = 0
        self.processes = {}
        self.now = count(1)
        self.add(1, 0)

    def add(self, process_id, parent_id):
        identity = module._Identity(process_id, next(self.now))
        self.processes[process_id] = module._Process(identity, parent_id, "S", 0, 0, 1, 1)

    def below(self, process_id):
        return [child for child, process in self.processes.items() if process.parent_id == process_id]

    def fork(self, parent_id):
        if self.processes[parent_id].state == "S":
            self.add(min(set(range(2, 99)) - set(self.processes)), parent_id)

    def burn(self, process_id, ticks):
        if process_id != 1 and self.processes[process_id].state == "S":
            self.processes[process_id].own_ticks += ticks
            self.spent += ticks

    def end(self, process_id, *, is_orderly):
        if process_id == 1 or (is_orderly and self.below(process_id)):
            return
        self.processes[process_id].state = "Z"
        for orphan in self.below(process_id):
            self.processes[orphan].parent_id = 0

    def wait(self, process_id, *, is_ignored=False):
        process = self.processes[process_id]
        if process.state == "Z":
            del self.processes[process_id]
            if process.parent_id and not is_ignored:
                self.processes[process.parent_id].reaped_ticks += process.own_ticks + process.reaped_ticks

    def look(self, between=lambda: None):
        """Copy what is below process 1, parents first; ``between`` runs after each copy."""
        copies, waiting = [], [1]
        for process_id in waiting:
            if process_id in self.processes:
                process = self.processes[process_id]
                copies.append(module._Process(**{name: getattr(process, name) for name in module._Process.__slots__}))
                waiting += self.below(process_id)
                between()
        return copies[0], copies[1:]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["fork", "burn", "burn", "end", "wait", "wait", "ignore", "look", "look", "look"]),
        st.integers(0, 4),
        st.integers(1, 100),
    ),
    min_size=40,
    max_size=80,
)


def act(kernel, action, choice, ticks, *, is_orderly):
    process_id = sorted(kernel.processes)[choice % len(kernel.processes)]
    if action == "fork" and len(kernel.processes) < 5:
        kernel.fork(process_id)
    elif action == "burn":
        kernel.burn(process_id, ticks)
    elif action == "end":
        kernel.end(process_id, is_orderly=is_orderly)
    elif action in {"wait", "ignore"}:
        kernel.wait(process_id, is_ignored=action == "ignore" and not is_orderly)


@given(ACTIONS)
@settings(max_examples=150, deadline=None)
def test_where_every_child_is_waited_for_the_books_are_exact(actions):
    kernel, ledger = Kernel(), CpuLedger()
    for action, choice, ticks in actions:
        act(kernel, action, choice, ticks, is_orderly=True)
        if action == "look":
            ledger.update(*kernel.look())
            assert ledger.ticks == kernel.spent


@given(ACTIONS)
@settings(max_examples=150, deadline=None)
def test_whoever_ends_whenever_the_books_never_go_down_and_count_nothing_twice(actions):
    kernel, ledger = Kernel(), CpuLedger()
    rest = iter(actions)

    def go_on():
        for action, choice, ticks in rest:
            act(kernel, action, choice, ticks, is_orderly=False)
            if action == "look":
                return

    before = 0
    for _ in range(20):
        go_on()
        ledger.update(*kernel.look(between=go_on))
        assert before <= ledger.ticks <= kernel.spent
        before = ledger.ticks
