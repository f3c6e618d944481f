"""``agentgauge top``: what it makes of two pages, and that it gives the terminal back."""

from __future__ import annotations

import fcntl
import http.server
import io
import json
import os
import pty
import signal
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager

import pytest
from rich.console import Console

from agentgauge import cli
from agentgauge.analytics.history import History
from agentgauge.analytics.sources import open_source
from agentgauge.analytics.top.rows import rows, sorted_rows
from agentgauge.analytics.top.screen import Course, View, draw, keep_reading, sums
from agentgauge.analytics.top.snapshot import SourceAt, parsed
from agentgauge.errors import SourceError

START = 1_750_000_000.0
DEADLINE_SECONDS = 60.0


def page(agent="researcher", ok=0, bad=0, cost=0.0, in_progress=2, oldest=START - 30, state="processing"):
    task = f'gen_ai_agent_name="{agent}",agent_task="search"'
    return f"""\
# TYPE agent_task_duration_seconds histogram
agent_task_duration_seconds_bucket{{{task},outcome="success",le="1.0"}} {ok * 0.9}
agent_task_duration_seconds_bucket{{{task},outcome="success",le="2.0"}} {ok}
agent_task_duration_seconds_bucket{{{task},outcome="success",le="+Inf"}} {ok}
agent_task_duration_seconds_count{{{task},outcome="success"}} {ok}
agent_task_duration_seconds_sum{{{task},outcome="success"}} {ok}
agent_task_duration_seconds_bucket{{{task},outcome="error",le="+Inf"}} {bad}
agent_task_duration_seconds_count{{{task},outcome="error"}} {bad}
agent_task_duration_seconds_sum{{{task},outcome="error"}} {bad}
# TYPE agent_tasks_in_progress gauge
agent_tasks_in_progress{{{task}}} {in_progress}
# TYPE agent_task_oldest_start_timestamp_seconds gauge
agent_task_oldest_start_timestamp_seconds{{{task}}} {oldest}
# TYPE agent_cost_usd counter
agent_cost_usd_total{{gen_ai_agent_name="{agent}",gen_ai_request_model="m"}} {cost}
# TYPE agent_state gauge
agent_state{{gen_ai_agent_name="{agent}",agent_state="{state}"}} 1
agent_state{{gen_ai_agent_name="{agent}",agent_state="idle"}} 0
"""


def at(seconds, **given):
    return parsed(page(**given), START + seconds, "x")


def test_rates_are_what_counters_grew_between_two_pages():
    (row,) = rows(at(0, ok=100, bad=10, cost=1.0), at(10, ok=200, bad=35, cost=1.5))
    assert (row.agent, row.state, row.in_progress, row.oldest_seconds) == ("researcher", "processing", 2, 40)
    assert (row.rate, row.error_ratio, row.cost_per_second) == (12.5, 0.2, 0.05)
    assert row.p95_seconds == pytest.approx(1.5)


def test_a_counter_that_restarts_or_begins_did_so_at_zero():
    (row,) = rows(at(0, ok=100), at(10, ok=20))
    assert row.rate == 2.0
    (row,) = rows(parsed("", START, "x"), at(10, ok=20))
    assert row.rate == 2.0


def test_one_page_alone_gives_levels_and_no_rates():
    (row,) = rows(None, at(0, ok=100))
    assert (row.rate, row.error_ratio, row.p95_seconds, row.cost_per_second) == (None, None, None, None)
    assert row.in_progress == 2


def test_what_is_not_measured_of_an_agent_is_absent_and_no_nought():
    def without_lm_calls(seconds, **given):
        lines = [line for line in page(**given).splitlines() if "agent_cost" not in line]
        return parsed("\n".join([*lines, ""]), START + seconds, "x")

    (row,) = found = rows(without_lm_calls(0, ok=100), without_lm_calls(10, ok=200))
    assert (row.rate, row.cost_per_second, row.tokens_per_second) == (10.0, None, None)
    assert sums(found, 10.0) == "1 agent, 2 tasks in progress; 10/s tasks over 10 s"
    (of_lm_calls,) = rows(*(parsed('agent_tokens_total{gen_ai_agent_name="a"} 1\n', START + at, "x") for at in (0, 10)))
    assert (of_lm_calls.rate, of_lm_calls.tokens_per_second) == (None, 0.0)


def test_what_is_no_page_of_metrics_is_said():
    with pytest.raises(SourceError, match=r"^x shows no metrics that can be read: give the address of .*/metrics$"):
        parsed("<html>{nothing} here</html>", START, "x")


def test_rows_are_sorted_with_the_unknown_at_the_end_either_way():
    names = "abc"
    snapshots = [
        parsed("".join(page(agent=name, ok=ok) for name, ok in zip(names, oks, strict=True)), START + number, "x")
        for number, oks in enumerate([(0, 0, 0), (10, 0, 30)])
    ]
    found = rows(*snapshots)
    assert [row.agent for row in sorted_rows(found, "p95_seconds")][2] == "b"
    assert [row.agent for row in sorted_rows(found, "p95_seconds", is_reversed=True)][2] == "b"
    assert [row.agent for row in sorted_rows(found, "rate")] == ["c", "a", "b"]
    assert [row.agent for row in sorted_rows(found, "rate", is_reversed=True)] == ["b", "a", "c"]
    assert [row.agent for row in sorted_rows(found, "agent")] == ["a", "b", "c"]


def test_rates_are_taken_over_the_window_at_least():
    course = Course(60)
    for number in range(100):
        course.add(at(2 * number, ok=number))
    before, now = course.pair
    assert now.at - before.at == 60


def test_keys_sort_turn_round_and_quit_and_sequences_do_nothing():
    view = View()
    view.press("e")
    assert (view.key, view.is_reversed) == ("error_ratio", False)
    view.press("e")
    view.press("\x1b[A")
    assert (view.key, view.is_reversed, view.is_over) == ("error_ratio", True, False)
    view.press("-c")
    assert (view.key, view.is_reversed, view.is_over) == ("cost_per_second", False, False)
    view.press("zq")
    assert view.is_over


def test_arrows_and_pages_scroll_and_stop_at_the_ends_and_sorting_begins_at_the_top():
    view = View()
    view.press("\x1b[B\x1b[B\x1bOB\x1b[6~")
    assert view.first == 13
    assert view.within(40, 30) == 10
    view.press("\x1b[A")
    assert view.first == 9
    view.press("\x1b[F")
    assert view.within(40, 30) == 10
    view.press("\x1b[H\x1b[A\x1b")
    assert (view.first, view.is_over) == (0, False)
    view.press("\x1b[Bn")
    assert (view.first, view.key) == (0, "agent")


def drawn(width, height, *snapshots, problem="", at_time=START + 10.0):
    """Return the lines of a screen of that size."""
    course, stream = Course(60), io.StringIO()
    for snapshot in snapshots:
        course.add(snapshot)
    course.problem = problem
    console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(draw(course, View(), "a-program", console, at_time))
    return stream.getvalue().rstrip("\n").split("\n")


def fleet(ok):
    return "".join(page(agent=f"agent-{number:02}", ok=ok * (number + 1)) for number in range(40))


@pytest.mark.parametrize(("width", "height"), [(200, 50), (100, 24), (80, 24), (60, 12), (40, 8), (30, 6), (24, 4)])
def test_every_size_of_terminal_shows_names_and_tasks_and_is_not_overrun(width, height):
    lines = drawn(width, height, parsed(fleet(0), START, "x"), parsed(fleet(10), START + 10, "x"))
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    (row,) = (line for line in lines if line.startswith("agent-39"))
    assert "40/s" in row
    assert height < 8 or any("q quit" in line for line in lines)
    assert width < 80 or {"state", "oldest", "cost", "tokens"} <= {word for line in lines for word in line.split()}


def test_the_sums_of_all_agents_stand_above_them():
    lines = drawn(120, 24, parsed(fleet(0), START, "x"), parsed(fleet(10), START + 10, "x"))
    assert lines[1].strip() == "40 agents, 80 tasks in progress; 820/s tasks, $0.00/h over 10 s"


def test_a_screen_says_how_old_what_it_shows_is():
    pages = parsed(fleet(0), START, "x"), parsed(fleet(10), START + 10, "x")
    assert "ago" not in drawn(120, 24, *pages, at_time=START + 12)[0]
    assert "30 min ago" in drawn(120, 24, *pages, at_time=START + 1810)[0]
    lines = drawn(120, 24, *pages, problem="it is gone", at_time=START + 20)
    assert "10 s ago" in lines[0]
    assert lines[1].strip() == "it is gone"


# --- with a history -------------------------------------------------------------------------------------------------------


def write(path, begin, count, *, tasks_a_step=30.0):
    """Write a history with a sample each 15 s."""
    times = [begin + 15 * index for index in range(count)]
    task = (("agent_task", "search"), ("gen_ai_agent_name", "researcher"))
    with History(path) as history:
        history.write_points("agentgauge_build_info", (), times, [1.0] * count)
        history.write_points(
            "agent_task_duration_seconds_count",
            (*task, ("outcome", "success")),
            times,
            [tasks_a_step * step for step in range(count)],
        )
        history.write_points("agent_tasks_in_progress", task, times, [3.0] * count)


def test_an_old_history_is_shown_as_of_its_last_sample_and_never_as_now(tmp_path, capsys):
    write(tmp_path / "h.db", int(time.time()) - 7200, 21)
    assert cli.main(["top", "--source", str(tmp_path / "h.db"), "--once"]) == 0
    text = capsys.readouterr().out
    assert "\n115 min ago\n" in text
    assert "Now" not in text
    assert cli.main(["top", "--source", str(tmp_path / "h.db"), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert 6900 <= whole["facts"]["age_seconds"] <= 7000
    (row,) = whole["sections"]["top"]["tables"]["agents"]["rows"]
    assert (row["rate"], row["in_progress"]) == (2.0, 3)


def test_rates_of_a_short_history_are_taken_over_what_there_is_of_it(tmp_path):
    write(tmp_path / "h.db", START, 3)
    source = SourceAt(lambda: History(tmp_path / "h.db", is_read_only=True))
    now = source.read(START + 500)
    before = source.before(now, 60)
    assert (now.at, before.at) == (START + 30, START)
    (row,) = rows(before, now)
    assert row.rate == 2.0
    assert source.before(now, 20).at == START + 10


def test_a_history_that_goes_away_is_said_and_one_that_comes_in_its_place_is_read(tmp_path):
    path, problems = tmp_path / "h.db", []
    write(path, START, 5)
    source, course, is_over = SourceAt(lambda: open_source(path)), Course(60), threading.Event()
    clock = iter([START + 500, START + 502, START + 1060, START + 1062])

    def wake():
        problems.append(course.problem)
        if len(problems) == 1:
            for file in tmp_path.iterdir():
                file.unlink()
        elif len(problems) == 2:
            write(path, START + 1000, 5)
        else:
            is_over.set()

    keep_reading(source, course, is_over, 0.0, wake, lambda: next(clock))
    assert problems[0] == ""
    assert "there is no" in problems[1]
    assert problems[2] == ""
    assert course.pair[1].at == START + 1060


# --- with a program and a terminal ----------------------------------------------------------------------------------------


@contextmanager
def program(*, status=200, agents=("researcher",), port=0, pem=None):
    """Serve a page whose counters grow with each look."""
    looks = iter(range(1_000_000))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            number = next(looks)
            body = "".join(page(agent=agent, ok=10 * number, oldest=time.time() - 30) for agent in agents).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem / "ca.pem", pem / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'' if pem is None else 's'}://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, *words, rows=24, columns=100):
        self.mine, theirs = pty.openpty()
        self.resize(rows, columns, theirs)
        self.theirs = theirs
        self.before = termios.tcgetattr(theirs)
        self.seen = b""
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agentgauge", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.set_blocking(self.mine, False)

    def resize(self, rows, columns, descriptor=None):
        fcntl.ioctl(self.mine if descriptor is None else descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        try:
            self.seen += os.read(self.mine, 1 << 16)
        except (BlockingIOError, OSError):
            time.sleep(0.01)

    def until(self, condition):
        ends = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < ends, self.seen[-3000:]
            self.read()

    def until_seen(self, text):
        self.until(lambda: text in self.seen)

    def press(self, keys):
        self.seen = b""
        os.write(self.mine, keys)

    def ended(self):
        """Wait for the end; return the status, and whether the terminal is as it was."""
        self.until(lambda: self.process.poll() is not None)
        for _ in range(20):
            self.read()
        return self.process.returncode, termios.tcgetattr(self.theirs) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.mine)
        os.close(self.theirs)


@pytest.fixture
def terminal():
    made = []

    def terminal(*words, **size):
        made.append(Terminal(*words, **size))
        return made[-1]

    yield terminal
    for one in made:
        one.close()


LEFT = b"\x1b[?1049l"  # the alternate screen


def test_a_terminal_shows_agents_sorts_by_keys_and_is_given_back(terminal):
    with program(agents=("researcher", "writer")) as url:
        shown = terminal("top", "--url", url, "--interval", "200ms")
        shown.until_seen(b"researcher")
        shown.until_seen(b"/s")
        assert termios.tcgetattr(shown.theirs) != shown.before
        shown.press(b"n")
        shown.until_seen(b"agentv")
        shown.press(b"-")
        shown.until_seen(b"agent^")
        shown.press(b"q")
        assert shown.ended() == (0, True)
        assert LEFT in shown.seen


def test_a_smaller_window_is_filled_and_not_overrun(terminal):
    with program(agents=[f"agent-{number:02}" for number in range(40)]) as url:
        shown = terminal("top", "--url", url, "--interval", "200ms", rows=30, columns=120)
        shown.until_seen(b"1 to 25 of 40 agents")
        shown.resize(12, 60)
        os.kill(shown.process.pid, signal.SIGWINCH)
        shown.until_seen(b"1 to 6 of 40 agents")
        shown.press(b"q")
        assert shown.ended() == (0, True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_end_it_with_the_terminal_as_it_was(number, status, terminal):
    with program() as url:
        shown = terminal("top", "--url", url, "--interval", "200ms")
        shown.until_seen(b"researcher")
        os.kill(shown.process.pid, number)
        assert shown.ended() == (status, True)
        assert LEFT in shown.seen
        assert b"Traceback" not in shown.seen


def test_a_program_that_goes_away_is_said_and_waited_for(terminal):
    with program() as url:
        shown = terminal("top", "--url", url, "--interval", "100ms", columns=200)
        shown.until_seen(b"researcher")
    shown.until_seen(b"127.0.0.1")
    shown.until_seen(b"agentgauge.start()")
    shown.seen = b""
    with program(agents=("another",), port=int(url.split(":")[2].split("/")[0])):
        shown.until_seen(b"another")
        shown.press(b"q")
        assert shown.ended() == (0, True)


def test_a_program_behind_tls_is_read_with_the_authority_that_is_named(tmp_path, capsys):
    new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -x509 -days 2 -subj /CN=localhost"
    subprocess.run(
        ["openssl", *new.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-out", "ca.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with program(pem=tmp_path) as url:
        words = ["top", "--url", url, "--interval", "10ms", "--once"]
        assert cli.main(words) == 2
        assert "is not trusted (self-signed certificate): name its authority with --ca-file\n" in capsys.readouterr().err
        assert cli.main([*words, "--ca-file", str(tmp_path / "ca.pem")]) == 0
        assert "researcher" in capsys.readouterr().out


def test_a_page_without_agents_is_no_answer(capsys):
    with program(agents=()) as url:
        assert cli.main(["top", "--url", url, "--interval", "10ms", "--once"]) == 2
    assert "There is no agent yet" in capsys.readouterr().out


def test_without_a_terminal_it_prints_one_table(capsys):
    with program() as url:
        assert cli.main(["top", "--url", url, "--interval", "50ms"]) == 0
        shown = capsys.readouterr().out
        assert "researcher" in shown
        assert "\x1b" not in shown
        assert cli.main(["top", "--url", url, "--interval", "50ms", "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["sections"]["top"]["tables"]["agents"]["rows"]
        assert row["rate"] > 0


def test_an_address_without_a_path_is_that_of_its_metrics(capsys):
    with program() as url:
        for address in (url.removesuffix("/metrics"), url.removesuffix("metrics")):
            assert cli.main(["top", "--url", address, "--interval", "10ms", "--once"]) == 0
            shown = capsys.readouterr().out
            assert f" {url}\n" in shown
            assert "researcher" in shown
            assert "Tasks inside others are counted, too." in shown


def test_a_program_that_cannot_be_read_is_status_2_and_its_token_is_never_shown(capsys):
    with program(status=401) as url:
        assert cli.main(["top", "--url", url, "--once"]) == 2
        assert "--token-file" in capsys.readouterr().err
        assert cli.main(["top", "--url", url.replace("http://", "http://bob:hunter2@"), "--once"]) == 2
        assert "hunter2" not in capsys.readouterr().err
    assert cli.main(["top", "--url", "http://127.0.0.1:9/metrics", "--once"]) == 2
    assert "agentgauge.start()" in capsys.readouterr().err
