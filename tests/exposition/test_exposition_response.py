from __future__ import annotations

import gzip
import logging

import pytest
from made_up_series import one_of_each_kind, registry_of, task_durations
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agentgauge.config import Config
from agentgauge.errors import contained_errors
from agentgauge.exposition.response import respond

TOKEN = "s3cr3t-t0ken"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_TEXT_FIRST = "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2"


def ask(target, method="GET", *, registry=None, config=None, is_ready=lambda: True, scrapes=None, **headers):
    return respond(
        method,
        target,
        {name.replace("_", "-"): value for name, value in headers.items()},
        registry=registry or registry_of(one_of_each_kind()),
        config=config or Config(),
        is_ready=is_ready,
        on_scrape=lambda seconds, cpu_seconds: scrapes.append((seconds, cpu_seconds)) if scrapes is not None else None,
    )


def content_type(response):
    return dict(response.headers)["Content-Type"]


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=soon", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=0.0.1", False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (PROMETHEUS_3_TEXT_FIRST, False),
    ],
)
def test_the_accept_header_chooses_the_format(accept, is_openmetrics):
    response = ask("/metrics", accept=accept)
    page = b"".join(response.body).decode()
    if is_openmetrics:
        assert content_type(response) == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert len(list(parse_openmetrics(page))) > 5
    else:
        assert content_type(response) == "text/plain; version=0.0.4; charset=utf-8"
        assert len(list(parse_text(page))) > 5


@pytest.mark.parametrize(
    ("accept_encoding", "is_gzip"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
    ],
)
def test_the_accept_encoding_header_chooses_gzip(accept_encoding, is_gzip):
    plain_page = b"".join(ask("/metrics").body)
    response = ask("/metrics", accept_encoding=accept_encoding)
    body = b"".join(response.body)
    assert dict(response.headers).get("Content-Encoding") == ("gzip" if is_gzip else None)
    assert (gzip.decompress(body) if is_gzip else body) == plain_page


def test_a_long_page_is_compressed_while_it_is_written():
    response = ask("/metrics", registry=registry_of(task_durations(2000)), accept_encoding="gzip")
    chunks = list(response.body)
    assert len(chunks) > 3
    assert gzip.decompress(b"".join(chunks)).count(b"_count{") == 2000


def test_name_in_the_query_chooses_families():
    page = b"".join(ask("/metrics?name[]=agent_tasks_in_progress&name%5B%5D=agent_state").body).decode()
    assert {family.name for family in parse_text(page)} == {"agent_tasks_in_progress", "agent_state"}


@pytest.mark.parametrize("target", ["/", "/livez", "/readyz", "/metrics"])
def test_a_path_takes_get_and_head_alone(target):
    assert ask(target).status == ask(target, "HEAD").status == 200
    refused = ask(target, "POST")
    assert (refused.status, dict(refused.headers)["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("target", ["/metrics/", "/metric", "//metrics", "/livez/../metrics", "*", "http://example.org/metrics"])
def test_an_unknown_path_is_not_found(target):
    assert ask(target).status == ask(target, "POST").status == 404


def test_the_front_page_names_the_paths():
    page = b"".join(ask("/").body).decode()
    assert all(path in page for path in ("/metrics", "/livez", "/readyz"))


def test_readiness_is_what_it_is_told_and_liveness_is_not():
    assert ask("/readyz", is_ready=lambda: False).status == 503
    assert ask("/livez", is_ready=lambda: False).status == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"]
)
def test_metrics_need_the_token(header):
    response = ask("/metrics", config=Config(bearer_token=TOKEN), authorization=header)
    assert (response.status, dict(response.headers)["WWW-Authenticate"]) == (401, 'Bearer realm="agentgauge"')
    assert b"agent_" not in b"".join(response.body)


def test_the_token_opens_metrics_and_probes_need_none():
    config = Config(bearer_token=TOKEN)
    assert ask("/metrics", config=config, authorization=f"Bearer {TOKEN}").status == 200
    assert ask("/metrics", config=config, authorization=f"bearer {TOKEN}").status == 200
    assert {ask(target, config=config).status for target in ("/", "/livez", "/readyz")} == {200}


def test_a_scrape_is_timed_without_the_time_of_its_reader():
    scrapes = []
    body = iter(ask("/metrics", registry=registry_of(task_durations(500)), scrapes=scrapes).body)
    next(body)
    assert scrapes == []
    for _ in body:
        pass
    ((seconds, cpu_seconds),) = scrapes
    assert 0 < cpu_seconds <= seconds * 1.5


def test_a_scrape_that_its_reader_leaves_is_counted_too():
    scrapes = []
    body = iter(ask("/metrics", registry=registry_of(task_durations(500)), scrapes=scrapes).body)
    next(body)
    body.close()
    assert len(scrapes) == 1


def test_head_renders_nothing():
    class Unread:
        def describe(self):
            return []

        def collect(self):
            raise AssertionError

    response = ask("/metrics", "HEAD", registry=registry_of(Unread()))
    assert (response.status, list(response.body)) == (200, [])


def test_a_collector_that_raises_makes_a_clear_error(caplog):
    class Broken:
        def describe(self):
            return []

        def collect(self):
            raise LookupError(TOKEN)

    contained_errors._next_log_by_hook.clear()
    with caplog.at_level(logging.ERROR, "agentgauge"):
        response = ask("/metrics", registry=registry_of(Broken()))
    body = b"".join(response.body)
    assert response.status == 500
    assert b"LookupError" in body
    assert TOKEN.encode() not in body
    assert "scrape" in caplog.text


def test_the_token_shows_nowhere(caplog):
    config = Config(bearer_token=TOKEN)
    with caplog.at_level(logging.DEBUG):
        responses = [ask("/metrics", config=config, authorization=given) for given in ("Bearer wrong", f"Bearer {TOKEN}")]
        bodies = [b"".join(response.body).decode() for response in responses]
    assert all(TOKEN not in text for text in (caplog.text, repr(config), repr(responses), *bodies))
