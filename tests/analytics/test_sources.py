"""What people point analysis at: a path or an address, and what they are told where it is neither."""

from __future__ import annotations

import re
import sqlite3

import pytest
from prometheus_client import start_http_server

import agentgauge
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.prometheus import Prometheus
from agentgauge.analytics.sources import open_source
from agentgauge.errors import ConfigurationError, SourceError


def test_a_path_is_a_history_that_is_only_read_also_while_it_is_written(tmp_path):
    path = tmp_path / "history.db"
    with History(path) as writer:
        writer.write(60.0, [("made_depth", (), 1.0)])
        with open_source(str(path)) as reader:
            assert reader.extent() == (60.0, 60.0)
            writer.write(120.0, [("made_depth", (), 2.0)])
            assert list(reader.frames("made_depth", Grid(60.0, 60.0, 2))[0].values) == [1, 2]
            assert reader.is_read_only
    assert open_source(path).metrics() == ["made_depth"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9090", "https://prometheus.example.com/path", "http://ada:l%40ve@[::1]:9090/"])
def test_an_address_is_a_prometheus_that_is_not_asked_yet(url):
    source = open_source(url, timeout_seconds=3)
    assert isinstance(source, Prometheus)
    assert "ada" not in source.name


def test_where_there_is_no_history_the_message_says_how_to_come_by_one(tmp_path):
    with pytest.raises(SourceError, match=r"there is no .*history.db: start the program with history_file='.*history.db'"):
        open_source(tmp_path / "history.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_an_empty_file_and_another_s_file_are_no_histories_and_stay_as_they_are(tmp_path):
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("not a database, but long enough to look like one " * 10)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, told in (
        (".", "is a folder: name the file of a history in it"),
        ("empty.db", "is empty: no program has written a history to it yet"),
        ("text.db", "is no history of agentgauge, and is left as it is"),
        ("other.db", "is no history of agentgauge, and is left as it is"),
    ):
        with pytest.raises(SourceError, match=told):
            open_source(tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("text", ["", None, 7, "ftp://somewhere", "http://"])
def test_what_names_nothing_is_refused(text):
    with pytest.raises(ConfigurationError, match="give"):
        open_source(text)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:9090", "prometheus:9090", "localhost", "localhost:9090/prometheus", "mimir.example.com:443/x", "[::1]:9090"],
)
def test_an_address_without_its_scheme_is_given_with_one(text):
    with pytest.raises(SourceError, match=f"if that is the address of a Prometheus, write it as http://{re.escape(text)}"):
        open_source(text)


@pytest.mark.parametrize("text", ["http:/127.0.0.1:9090", "HTTP:127.0.0.1", "https:/prometheus"])
def test_an_address_that_is_misspelt_is_no_path(text):
    with pytest.raises(ConfigurationError, match="url: give an address such as"):
        open_source(text)


def test_a_file_that_only_looks_like_an_address_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with History("prometheus:9090") as writer:
        writer.write(60.0, [("made_depth", (), 1.0)])
    with open_source("prometheus:9090") as reader:
        assert reader.extent() == (60.0, 60.0)


def test_what_lies_beside_a_history_names_the_history(tmp_path):
    with History(tmp_path / "h.db") as writer:
        writer.write(60.0, [("made_depth", (), 1.0)])
        for ending in ("-wal", "-shm", ".lock"):
            with pytest.raises(
                SourceError, match=f"is what lies beside a history: name the history itself, {tmp_path / 'h.db'}$"
            ):
                open_source(tmp_path / f"h.db{ending}")
    with pytest.raises(SourceError, match=r"cannot be read: .*null byte"):
        open_source("h\0.db")


def test_a_page_of_metrics_is_no_prometheus_and_the_message_says_what_to_name(fresh):
    server, thread = start_http_server(0, "127.0.0.1", fresh.registry)  # which shows its page at every path
    monitor = agentgauge.start(registry=fresh.registry, port=0, collectors=(), instrumentors=())
    try:
        for url in (f"http://127.0.0.1:{server.server_port}", monitor.url.removesuffix("/metrics")):
            for path in ("", "/", "/metrics", "/elsewhere"):
                with pytest.raises(
                    SourceError, match=r"A program's own /metrics has no past: name the Prometheus that scrapes it"
                ):
                    open_source(f"{url}{path}").metrics()
    finally:
        agentgauge.stop()
        server.shutdown()
        server.server_close()
        thread.join()
