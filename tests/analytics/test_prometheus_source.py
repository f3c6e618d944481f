"""A Prometheus as a source: what it is asked, what its answers become, and what people are told where it cannot be asked."""

from __future__ import annotations

import json
import math
import socket
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from agentgauge.analytics import prometheus
from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.prometheus import Prometheus
from agentgauge.errors import ConfigurationError, SourceError

GRID = Grid(60.0, 60.0, 4)


class Server(ThreadingHTTPServer):
    """Answers what a test tells it to, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.answer = lambda _path, _query: success({"resultType": "matrix", "result": []})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.server.asked.append((parts.path, query, self.headers))
        status, body, headers = self.server.answer(parts.path, query)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


def success(data):
    return 200, json.dumps({"status": "success", "data": data}).encode(), {}


def failure(status, kind, text):
    return status, json.dumps({"status": "error", "errorType": kind, "error": text}).encode(), {}


def matrix(*series):
    return success({"resultType": "matrix", "result": [{"metric": labels, "values": values} for labels, values in series]})


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def message(source, **arguments):
    with pytest.raises(SourceError) as caught:
        source.frames("up", GRID, **arguments)
    assert caught.value.__cause__ is None
    return str(caught.value)


# --- what is asked --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fold", "step", "query"),
    [
        (Fold.LAST, 60, 'up{job="a"}'),
        (Fold.LAST, 300, 'up{job="a"}'),
        (Fold.LAST, 600, 'last_over_time(up{job="a"}[599999ms])'),
        (Fold.MIN, 60, 'min_over_time(up{job="a"}[59999ms])'),
        (Fold.MAX, 60, 'max_over_time(up{job="a"}[59999ms])'),
        (Fold.MEAN, 60, 'avg_over_time(up{job="a"}[59999ms])'),
        (Fold.COUNT, 0.25, 'count_over_time(up{job="a"}[249ms])'),
    ],
)
def test_each_fold_is_a_query_over_the_times_of_the_grid(server, fold, step, query):
    Prometheus(server.url).frames("up", Grid(step * 4, step, 3), {"job": "a"}, fold)
    path, asked, _ = server.asked[-1]
    assert path == "/api/v1/query_range"
    assert (asked["query"], float(asked["start"]), float(asked["end"]), float(asked["step"])) == (query, step * 4, step * 6, step)


@pytest.mark.parametrize(("count", "milliseconds"), [("3", 59_999), ("2", 60_000)])
def test_ranges_are_half_open_whether_the_server_s_are_or_not_which_is_asked_once(server, count, milliseconds):
    def answer(path, _query):
        if path.endswith("query"):
            return success({"resultType": "vector", "result": [{"metric": {}, "value": [600, count]}]})
        return matrix()

    server.answer = answer
    source = Prometheus(server.url)
    for fold in (Fold.MIN, Fold.MAX):
        source.frames("up", GRID, fold=fold)
    assert [asked["query"] for _, asked, _ in server.asked] == [
        "count_over_time(vector(1)[2m:1m])",
        f"min_over_time(up{{}}[{milliseconds}ms])",
        f"max_over_time(up{{}}[{milliseconds}ms])",
    ]


def test_names_and_values_are_quoted_so_that_they_are_what_they_are(server):
    Prometheus(server.url).frames('odd"metric', GRID, {"a": 'x"y\\z\n{} é', "b.c": "1", "d": ""})
    assert server.asked[-1][1]["query"] == r'{__name__="odd\"metric",a="x\"y\\z\n{} é","b.c"="1"}'


@pytest.mark.parametrize("tail", ["", "/", "/graph", "/query", "/api/v1", "/api/v1/", "/api/v1/query_range"])
def test_the_address_may_have_a_path_before_the_interface_and_a_page_after_it(server, tail):
    Prometheus(f"{server.url}/select/0/prometheus{tail}").frames("up", GRID)
    assert server.asked[-1][0] == "/select/0/prometheus/api/v1/query_range"


def test_headers_token_user_and_parameters_go_along_and_are_not_shown(server):
    address = server.url.replace("http://", "http://ada:l%40ve@") + "/?extra_label=team%3Da"
    source = Prometheus(address, headers={"X-Scope-OrgID": "team-a"})
    source.frames("up", GRID)
    _, query, headers = server.asked[-1]
    assert headers["Authorization"] == f"Basic {b64encode(b'ada:l@ve').decode()}"
    assert headers["X-Scope-OrgID"] == "team-a"
    assert query["extra_label"] == "team=a"
    assert (source.name, repr(source)) == (server.url, f"Prometheus({server.url!r})")
    Prometheus(server.url, bearer_token="s3cret").frames("up", GRID)
    assert server.asked[-1][2]["Authorization"] == "Bearer s3cret"


def test_a_window_of_more_times_than_one_answer_may_have_is_asked_for_in_parts_that_fit_together(server):
    def answer(_path, query):
        start, end, step = (float(query[name]) for name in ("start", "end", "step"))
        count = round((end - start) / step) + 1
        assert count <= 11_000
        return matrix(({"__name__": "up", "job": "a"}, [[start + n * step, str(start + n * step)] for n in range(count)]))

    server.answer = answer
    grid = Grid(1_000.0, 0.1, 25_000)
    [frame] = Prometheus(server.url).frames("up", grid)
    assert len(server.asked) == 3
    assert list(frame.values) == pytest.approx(grid.times)


def test_a_window_that_is_too_much_for_the_server_is_asked_for_in_halves(server):
    def answer(_path, query):
        start, end = float(query["start"]), float(query["end"])
        if end - start > 60:
            return failure(422, "execution", "query processing would load too many samples into memory in query execution")
        return matrix(({"job": "a"}, [[at, str(at)] for at in (start, end)]))

    server.answer = answer
    [frame] = Prometheus(server.url).frames("up", GRID)
    assert list(frame.values) == GRID.times


def test_an_answer_that_is_too_long_is_asked_for_in_halves_and_refused_where_one_time_is_too_much(server, monkeypatch):
    long = {"help": "x" * 2_000}

    def answer(_path, query):
        times = 1 + (float(query["end"]) - float(query["start"])) / 60
        return matrix((long if times > 1 else {}, [[float(query["start"]), "1"]]))

    server.answer = answer
    monkeypatch.setattr(prometheus, "_MOST_BYTES", 1_000)
    [frame] = Prometheus(server.url).frames("up", GRID)
    assert list(frame.values) == [1, 1, 1, 1]
    server.answer = lambda _path, _query: matrix((long, [[60.0, "1"]]))
    assert message(Prometheus(server.url)) == f"{server.url}: it answers with more than 1000 bytes"


# --- what answers become --------------------------------------------------------------------------------------------------


def test_answers_become_frames_by_their_labels_without_what_nobody_knows(server):
    server.answer = lambda _path, _query: matrix(
        ({"__name__": "up", "job": "b", "instance": "x:1"}, [[120, "2.5"], [240, "NaN"]]),
        ({"__name__": "up", "job": "a", "empty": ""}, [[60, "1"], [120, "+Inf"], [180, "-Inf"], [240, "-1e308"]]),
        ({"__name__": "up", "job": "c"}, [[60, "NaN"], [120, "+Inf"]]),
    )
    b, a = Prometheus(server.url).frames("up", GRID)
    assert (a.metric, a.labels, a.grid) == ("up", {"job": "a"}, GRID)
    assert b.labels == {"job": "b", "instance": "x:1"}
    assert b.values[1] == 2.5
    known = [[index for index, value in enumerate(one.values) if not math.isnan(value)] for one in (a, b)]
    assert known == [[0], [1]]  # what is infinite or absurd is not known: one such value spoiled all sums it is in


def test_the_names_of_its_samples_are_given_in_order(server):
    server.answer = lambda path, _query: success(["up", "agent_state"] if path == "/api/v1/label/__name__/values" else None)
    assert Prometheus(server.url).metrics() == ["agent_state", "up"]


def test_a_prometheus_without_samples_has_no_extent_and_no_frames(server):
    source = Prometheus(server.url)
    assert source.extent() is None
    assert source.frames("up", GRID) == []
    assert len(server.asked) == 3


# --- what people are told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (failure(400, "bad_data", "invalid parameter"), "invalid parameter"),
        (failure(422, "execution", "expanding series: broken block"), "expanding series: broken block"),
        (
            failure(503, "timeout", "query timed out in query execution"),
            "query timed out in query execution: ask for a shorter window",
        ),
        (failure(401, "unauthorized", "no"), "it refuses to answer (HTTP 401): give the bearer_token, or the user and password"),
        ((403, b"<html>no</html>", {}), "it refuses to answer (HTTP 403)"),
        ((404, b"404 page not found", {}), "there is no HTTP API of a Prometheus: is a path missing, such as /prometheus,"),
        (
            (302, b"", {"Location": "https://login.example.com/start?state=s3cret"}),
            "it redirects to https://login.example.com/start,",
        ),
        ((200, b"<html>Welcome</html>", {}), "what it answers is no JSON of a Prometheus: is there a page to log in"),
        ((200, b"[" * 100_000, {}), "what it answers is no JSON of a Prometheus"),
        (success({"result": [{"metric": {}, "values": [[1, "x"]]}]}), "what it answers is not as a Prometheus answers"),
        (success(None), "what it answers is not as a Prometheus answers"),
        ((429, b"", {}), "it is asked too much (HTTP 429)"),
        ((502, b"<html>Bad gateway</html>", {}), "it answers with HTTP 502"),
    ],
)
def test_what_it_refuses_or_what_is_no_prometheus_is_an_error_that_says_what_to_do(server, answer, told):
    server.answer = lambda _path, _query: answer
    assert message(Prometheus(server.url)).startswith(f"{server.url}: {told}")


ONE = '{"a": "b"}'


@pytest.mark.parametrize(
    ("labels", "point"),
    [
        ('"x"', '[60, "1"]'),
        ("null", '[60, "1"]'),
        ("[]", '[60, "1"]'),
        ('{"a": ["x"]}', '[60, "1"]'),
        ('{"a": 5}', '[60, "1"]'),
        ('{"a": "\\ud800"}', '[60, "1"]'),
        (ONE, '[NaN, "1"]'),
        (ONE, '["inf", "1"]'),
        (ONE, '[1e308, "1"]'),
        (ONE, f'[1{"0" * 400}, "1"]'),
        (ONE, f"[60, 1{'0' * 400}]"),
        (ONE, "[60, null]"),
        (ONE, "60"),
    ],
)
def test_a_series_of_wrong_types_is_an_error_whatever_is_asked(server, labels, point):
    said = f'{{"status": "success", "data": {{"result": [{{"metric": {labels}, "values": [{point}]}}]}}}}'.encode()
    server.answer = lambda _path, _query: (200, said, {})
    source = Prometheus(server.url)
    for ask in (lambda: source.frames("up", GRID), lambda: source.frames("up", GRID, fold=Fold.MIN), source.extent):
        with pytest.raises(SourceError, match="what it answers is not as a Prometheus answers"):
            ask()


@pytest.mark.parametrize("names", ["up", {"up": 1}, ["up", 5], ["up", None], ["\ud800"]])
def test_names_of_samples_that_are_no_texts_are_an_error(server, names):
    server.answer = lambda _path, _query: success(names)
    with pytest.raises(SourceError, match="what it answers is not as a Prometheus answers"):
        Prometheus(server.url).metrics()


def test_no_message_bears_a_credential(server):
    server.answer = lambda _path, query: failure(400, "bad_data", f"who is ada with l@ve, s3cret? {query}")
    for source in (
        Prometheus(server.url.replace("http://", "http://ada:l%40ve@") + "?token=hidden1"),
        Prometheus(server.url, bearer_token="s3cret"),
        Prometheus(server.url, headers={"X-Key": "s3cret"}),
    ):
        told = message(source)
        assert not [secret for secret in ("l@ve", "l%40ve", "hidden1") if secret in told]
    assert "s3cret" not in told


SENT = "/?sid=s3cr3tparam&tenant=t%2F9%20x"


@pytest.mark.parametrize(
    ("address", "options", "hidden"),
    [
        (SENT, {}, ["s3cr3tparam", "t/9 x", "t%2F9+x", "t%2F9%20x", "t/9%20x"]),
        ("ada:l%40ve", {}, ["l@ve", "l%40ve", "YWRhOmxAdmU"]),
        ("ada:s%3Fcr%3Et", {}, ["s?cr>t", "s%3Fcr%3Et", "YWRhOnM/Y3I+dA", "YWRhOnM%2FY3I%2BdA"]),
        ("", {"headers": {"Authorization": "Token Zeta99key="}}, ["Zeta99key", "Zeta99key%3D"]),
        ("", {"bearer_token": "tok-abc/def"}, ["tok-abc/def", "tok-abc%2Fdef"]),
    ],
)
@pytest.mark.parametrize("is_redirected", [False, True])
def test_nothing_that_was_sent_is_shown_in_whatever_way_an_answer_quotes_it(server, address, options, hidden, is_redirected):
    def answer(_path, _query):
        quoted = f"{server.asked[-1][2].get('Authorization', '').split(' ')[-1]} {' or '.join(hidden)}"
        if is_redirected:
            return 302, b"", {"Location": "/login/" + quoted.replace(" ", "/")}
        return failure(400, "bad_data", f"cannot serve {quoted}")

    server.answer = answer
    url = server.url + address if address == SENT else server.url.replace("//", f"//{address}@")
    told = message(Prometheus(url if address else server.url, **options))
    assert ("/login/" if is_redirected else "cannot serve") in told
    assert not [secret for secret in hidden if secret in told]


def test_where_nothing_listens_the_message_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert message(Prometheus(url)) == f"{url}: nothing listens there: is it running, and is the port right?"


def test_what_drips_is_given_up_when_the_time_is_over():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        is_over = threading.Event()

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                while not is_over.wait(0.02):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            told = message(Prometheus(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_seconds=0.2))
        finally:
            is_over.set()
            thread.join()
    assert "it did not answer in time: ask for a shorter window, or give a longer timeout_seconds" in told


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "it closed the connection without an answer: is it https, not http?"),
        (b"SSH-2.0-x\r\n", "it does not speak HTTP as it should"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "its answer was cut off"),
    ],
)
def test_what_ends_too_early_or_is_no_http_is_told(sent, told):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def say():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(sent)

        thread = threading.Thread(target=say)
        thread.start()
        said = message(Prometheus(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join()
    assert told in said


def test_what_speaks_no_tls_is_told(server):
    assert "it does not speak TLS as it should" in message(Prometheus(server.url.replace("http:", "https:")))


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "prometheus:9090"},
        {"url": "ftp://secret:9090"},
        {"url": "http://"},
        {"url": "http://secret host"},
        {"url": "http://secret:99999"},
        {"url": "http://[secret"},
        {"url": None},
        {"url": "http://h", "bearer_token": "secret token"},
        {"url": "http://h", "timeout_seconds": 0},
        {"url": "http://h", "ca_file": "/nowhere.pem"},
        {"url": "http://h", "headers": {"X-Key": "secret\r\nX-Other: 1"}},
        {"url": "http://h", "headers": {"X Key": "1"}},
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked_and_not_quoted(arguments):
    with pytest.raises(ConfigurationError) as caught:
        Prometheus(**arguments)
    assert "secret" not in str(caught.value)


def test_a_step_that_is_too_short_for_a_range_is_refused(server):
    with pytest.raises(ConfigurationError, match=r"a step of 0.001 s is too short for a Prometheus"):
        Prometheus(server.url).frames("up", Grid(60.0, 0.001, 2), fold=Fold.MIN)
