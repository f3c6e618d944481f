"""``HttpCheck``: statuses, bodies, certificates, redirects, and servers that behave badly."""

from __future__ import annotations

import base64
import json
import re
import ssl
import time

import pytest
from check_servers import drip, free_port, listening, make_certificates, serving, silent

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import HttpCheck
from agentgauge.health.status import Schedule, Status

QUICK = Schedule(timeout_seconds=0.5)
PATIENT = Schedule(timeout_seconds=20)
SECRET = "hunter2-s3cr3t"


def look(url, **settings):
    return HttpCheck(**{"name": "api", "url": url, "schedule": PATIENT, **settings}).check()


def say(status=200, body=b"ok", **headers):
    return lambda _request: (status, headers, body)


def test_a_good_answer_is_healthy_with_its_status_and_time():
    with serving(say()) as url:
        found = look(f"{url}/health")
    assert (found.status, found.condition, found.suggestions) == (Status.HEALTHY, "", ())
    assert found.message == f"{url}/health: status 200"
    assert found.details["status"] == 200
    assert found.details["seconds"] > 0


@pytest.mark.parametrize(
    ("status", "expected", "condition"),
    [
        (204, Status.HEALTHY, ""),
        (301, Status.CRITICAL, "status"),
        (401, Status.CRITICAL, "auth"),
        (403, Status.CRITICAL, "auth"),
        (404, Status.CRITICAL, "status"),
        (429, Status.WARNING, "rate_limited"),
        (500, Status.CRITICAL, "status"),
        (503, Status.CRITICAL, "status"),
    ],
)
def test_a_status_is_judged_and_each_wrong_one_has_suggestions(status, expected, condition):
    with serving(say(status, b"")) as url:
        found = look(url)
    assert (found.status, found.condition) == (expected, condition)
    assert bool(found.suggestions) is (expected is not Status.HEALTHY)
    assert found.details["status"] == status


def test_the_statuses_that_are_right_can_be_given():
    with serving(say(404)) as url:
        assert look(url, expected_statuses=(404, 410)).status is Status.HEALTHY
        assert look(url, expected_statuses=range(400, 404)).condition == "status"


def test_a_rate_limit_tells_when_to_ask_again():
    with serving(say(429, b"", **{"Retry-After": "17"})) as url:
        assert "asked again after 17 s" in look(url).message


def test_method_headers_and_body_are_sent_and_a_header_may_be_a_function():
    seen = []

    def answer(request):
        seen.append((request.command, request.headers["Authorization"], request.headers["X-Turn"], request.body))
        return 200, {}, b""

    turns = iter("12")
    with serving(answer) as url:
        check = HttpCheck(
            name="api", url=url, method="POST", body=b"{}", headers={"Authorization": "Bearer k", "X-Turn": lambda: next(turns)}
        )
        assert [check.check().status for _ in range(2)] == [Status.HEALTHY] * 2
    assert seen == [("POST", "Bearer k", "1", b"{}"), ("POST", "Bearer k", "2", b"{}")]


def test_a_user_in_the_url_is_sent_decoded_as_basic_authentication():
    seen = []
    with serving(lambda request: (seen.append(request.headers["Authorization"]), (200, {}, b""))[1]) as url:
        assert look(url.replace("//", "//user:p%40ss@")).status is Status.HEALTHY
    assert base64.b64decode(seen[0].removeprefix("Basic ")) == b"user:p@ss"


# --- bodies -----------------------------------------------------------------------------------------------------------------

DOCUMENT = json.dumps({"status": "ok", "checks": [{"name": "db", "up": True, "a.b": 1}], "none": None}).encode()


@pytest.mark.parametrize(
    ("settings", "is_well"),
    [
        ({"body_contains": '"status": "ok"'}, True),
        ({"body_contains": "OK"}, False),
        ({"body_matches": r'"up": (true|1)\b'}, True),
        ({"body_matches": re.compile("STATUS", re.IGNORECASE)}, True),
        ({"body_matches": "^ok$"}, False),
        ({"json_path": "status", "json_value": "ok"}, True),
        ({"json_path": "$.status", "json_value": "bad"}, False),
        ({"json_path": "$.checks[0].up", "json_value": True}, True),
        ({"json_path": "$.checks[0].up", "json_value": 1}, False),
        ({"json_path": "$.checks[-1]['a.b']", "json_value": 1}, True),
        ({"json_path": "$.checks[1].up"}, False),
        ({"json_path": "$.checks.up"}, False),
        ({"json_path": "$.none"}, True),
        ({"json_path": "$.none", "json_value": None}, True),
        ({"json_path": "$", "json_value": json.loads(DOCUMENT)}, True),
    ],
)
def test_a_body_must_be_what_is_expected(settings, is_well):
    with serving(say(body=DOCUMENT)) as url:
        found = look(url, **settings)
    assert (found.status, found.condition) == ((Status.HEALTHY, "") if is_well else (Status.CRITICAL, "body"))
    assert bool(found.suggestions) is not is_well


@pytest.mark.parametrize(
    ("path", "expected", "said"),
    [
        ("$.status", "ok", '$.status is "deg\u00e4mpft", not "ok"'),
        ("status", None, 'status is "deg\u00e4mpft", not null'),
        ("$.depth", 3, "$.depth is 7, not 3"),
        ("$.long", True, f'$.long is "{"x " * 29}x..., not true'),
        ("$.echo", "ok", '$.echo is "key ***", not "ok"'),
        ("$.url", "ok", '$.url is "http://***@h/", not "ok"'),
        ("$.api_key", f"{SECRET}-2", "$.api_key is ***, not ***"),
        ("$.tokens[0]", SECRET, "$.tokens[0] is ***, not ***"),
        ("$.odd", "a0b1c2d3e4f5a6b7c8d9", "$.odd is 1.5, not ***"),
        ("$.status", {1, 2}, '$.status is "deg\u00e4mpft", not "a set"'),
    ],
)
def test_a_value_that_is_not_the_right_one_is_told_beside_it_cut_and_without_secrets(path, expected, said):
    document = {
        "status": "deg\u00e4mpft", "depth": 7, "long": "x " * 400, "echo": f"key {SECRET}", "url": f"http://u:{SECRET}@h/",
        "api_key": "short", "tokens": ["short"], "odd": 1.5,
    }  # fmt: skip
    with serving(say(body=json.dumps(document).encode())) as url:
        found = look(url, json_path=path, json_value=expected, headers={"X-Key": SECRET})
    assert found.message == f"{url}: {said}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost/health", r"url='localhost/health': write the whole URL, such as 'http://localhost/health'"),
        ("localhost:8080/health", r"url='localhost:8080/health': write the whole URL, such as 'http://localhost:8080/health'"),
        ("//localhost/health", r"url='//localhost/health': write the whole URL, such as 'http://localhost/health'"),
        ("/health", r"url='/health': write the whole URL, such as 'https://api.example.org/health'"),
        ("http:/localhost", r"url='http:///localhost': write the whole URL, such as 'https://api"),
        ("localhost:port", r"url='localhost:port': write the whole URL, such as 'https://api"),
        (
            f"user:{SECRET}@localhost/?key={SECRET}",
            r"url='***@localhost/?***': write the whole URL, such as 'http://***@localhost/?***'",
        ),
        (f"user:{SECRET} {SECRET}?@{SECRET}/@localhost/a", r"url='***@localhost/a': write the whole URL"),
        ("localhost/a0b1c2d3e4f5a6b7c8d9e0", r"url='localhost/***': write the whole URL"),
    ],
)
def test_a_url_without_its_scheme_is_told_as_it_was_written_with_what_was_meant(url, said):
    with pytest.raises(ConfigurationError) as refused:
        HttpCheck(name="api", url=url)
    assert str(refused.value).startswith(said)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"status": "o', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_is_critical(body):
    with serving(say(body=body)) as url:
        found = look(url, json_path="status")
    assert (found.status, found.condition) == (Status.CRITICAL, "body")
    assert "is no JSON" in found.message


def test_no_more_of_a_body_is_read_than_is_wanted_and_the_finding_says_so():
    with serving(say(body=b"x" * 5_000_000 + b"end")) as url:
        assert look(url).status is Status.HEALTHY
        found = look(url, body_contains="end", body_limit_bytes=1000)
        assert any("body_limit_bytes" in suggestion for suggestion in found.suggestions)
        assert look(url, body_contains="end", body_limit_bytes=6_000_000).status is Status.HEALTHY


def test_a_body_is_never_shown():
    with serving(say(body=b"hunter2 is the password")) as url:
        assert "hunter2" not in repr(look(url, body_contains="ok"))


# --- redirects --------------------------------------------------------------------------------------------------------------


def test_redirects_are_followed_as_many_as_allowed():
    def answer(request):
        left = int(request.path.strip("/"))
        return (302, {"Location": f"/{left - 1}"}, b"") if left else (200, {}, b"there")

    with serving(answer) as url:
        assert look(f"{url}/2", redirects=2, body_contains="there").status is Status.HEALTHY
        assert look(f"{url}/3", redirects=2).details["status"] == 302
        assert look(f"{url}/1").details["status"] == 302


def test_headers_and_credentials_do_not_go_along_to_another_origin():
    seen = []

    def elsewhere(request):
        seen.append({name.lower() for name in request.headers})
        return 200, {}, b""

    with serving(elsewhere) as other, serving(say(307, b"", Location=other)) as url:
        found = look(url.replace("//", "//user:secret@"), headers={"X-Api-Key": "k"}, redirects=1)
    assert found.status is Status.HEALTHY
    assert seen
    assert not seen[0] & {"authorization", "x-api-key"}


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "https:///x", "http://h:port/"])
def test_a_redirect_to_what_is_no_url_of_http_is_not_followed(target):
    with serving(say(302, b"", Location=target)) as url:
        found = look(url, redirects=3)
    assert (found.status, found.condition) == (Status.DOWN, "protocol")


# --- certificates -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("pem"), long=90, soon=15, now=2, expired=-1)


@pytest.mark.parametrize(
    ("name", "status", "days"), [("long", Status.HEALTHY, 90), ("soon", Status.WARNING, 15), ("now", Status.CRITICAL, 2)]
)
def test_a_certificate_that_ends_soon_is_told_with_its_day(certificates, name, status, days):
    context = ssl.create_default_context(cafile=certificates[name])
    with serving(say(), certificates[name]) as url:
        found = look(url, tls=context)
    assert found.status is status
    assert days - 1 < found.details["tls_days_left"] <= days
    if status is not Status.HEALTHY:
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + found.details["tls_days_left"] * 86400))
        assert found.condition == "tls_expiring"
        assert day in found.message
        assert day in found.suggestions[0]


def test_by_how_many_days_a_certificate_ends_too_soon_can_be_set(certificates):
    context = ssl.create_default_context(cafile=certificates["soon"])
    with serving(say(), certificates["soon"]) as url:
        assert look(url, tls=context, tls_warning_days=3, tls_critical_days=1).status is Status.HEALTHY
        assert look(url, tls=context, tls_critical_days=30).status is Status.CRITICAL


def test_a_wrong_status_counts_more_than_a_certificate_that_ends_soon(certificates):
    with serving(say(500), certificates["now"]) as url:
        assert look(url, tls=ssl.create_default_context(cafile=certificates["now"])).condition == "status"


def test_a_redirect_from_https_to_http_is_not_followed(certificates):
    context = ssl.create_default_context(cafile=certificates["long"])
    with serving(say()) as plain, serving(say(302, b"", Location=plain), certificates["long"]) as url:
        found = look(url, tls=context, redirects=1)
    assert (found.status, found.condition) == (Status.DOWN, "protocol")


def test_an_expired_certificate_is_down_and_said_to_be_expired(certificates):
    with serving(say(), certificates["expired"]) as url:
        found = look(url, tls=ssl.create_default_context(cafile=certificates["expired"]))
    assert (found.status, found.condition, found.error_type) == (Status.DOWN, "tls", "SSLCertVerificationError")
    assert "has expired" in found.suggestions[0]


def test_a_certificate_of_an_unknown_authority_is_down_and_the_fix_is_named(certificates):
    with serving(say(), certificates["long"]) as url:
        found = look(url)
    assert (found.status, found.condition) == (Status.DOWN, "tls")
    assert any("cafile" in suggestion for suggestion in found.suggestions)


def test_a_port_without_tls_is_told_apart():
    with serving(say()) as url:
        found = look(url.replace("http:", "https:"))
    assert (found.status, found.condition) == (Status.DOWN, "tls")


# --- servers that are not there, or behave badly ----------------------------------------------------------------------------


def test_a_port_at_which_nobody_listens_is_refused():
    found = look(f"http://127.0.0.1:{free_port()}/")
    assert (found.status, found.condition, found.error_type) == (Status.DOWN, "refused", "ConnectionRefusedError")
    assert "not running" in found.suggestions[0]


def test_a_name_that_has_no_address_is_dns():
    found = look("http://nowhere.invalid/")
    assert (found.status, found.condition) == (Status.DOWN, "dns")


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200 OK\r\nX-Slow: yyy", HEAD + b"Content-Length: 9999\r\n\r\nx", HEAD + b"\r\nx", HEAD + b"X-A: b\r\n" * 50],
    ids=["header", "body of a length", "body without end", "headers"],
)
def test_a_server_that_drips_is_left_at_the_deadline_of_the_whole_check(data):
    with listening(drip(data)) as port:
        found = look(f"http://127.0.0.1:{port}/", schedule=QUICK)
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


def test_a_server_that_drips_its_handshake_is_left_at_the_deadline():
    with listening(drip(b"\x16\x03\x03\x40\x00\x02")) as port:
        found = look(f"https://127.0.0.1:{port}/", schedule=QUICK)
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


def test_a_server_that_says_nothing_is_left_at_the_deadline():
    with listening(silent) as port:
        assert look(f"http://127.0.0.1:{port}/", schedule=QUICK).condition == "timeout"
        assert look(f"https://127.0.0.1:{port}/", schedule=QUICK).condition == "timeout"


def test_redirects_have_no_time_of_their_own():
    def answer(_request):
        time.sleep(0.2)
        return 302, {"Location": "/again"}, b""

    with serving(answer) as url:
        assert look(url, redirects=50, schedule=QUICK).condition == "timeout"


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"", "reset"),
        (b"+PONG\r\n", "protocol"),
        (b"HTTP/1.1 999999 x\r\n\r\n", "protocol"),
        (HEAD + b"X: " + b"y" * 70_000, "protocol"),
    ],
)
def test_what_is_no_answer_is_told_apart(data, condition):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(data)

    with listening(talk) as port:
        found = look(f"http://127.0.0.1:{port}/")
    assert (found.status, found.condition) == (Status.DOWN, condition)


def test_a_body_that_breaks_off_is_down():
    def talk(connection):
        connection.recv(65536)
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\nhalf")

    with listening(talk) as port:
        found = look(f"http://127.0.0.1:{port}/")
    assert (found.status, found.condition) == (Status.DOWN, "reset")
    assert "half" not in repr(found)


def test_a_slow_answer_is_a_warning_and_a_wrong_one_stays_critical():
    def slowly(status):
        return lambda _request: (time.sleep(0.05), (status, {}, b""))[1]

    with serving(slowly(200)) as url:
        found = look(url, slow_seconds=0.01)
        assert (found.status, found.condition) == (Status.WARNING, "slow")
        assert found.details["status"] == 200
        assert look(url, slow_seconds=19).status is Status.HEALTHY
    with serving(slowly(500)) as url:
        assert look(url, slow_seconds=0.01).condition == "status"


# --- secrets ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_neither_findings_nor_reprs_show_credentials(host):
    check = HttpCheck(
        name="api",
        url=f"http://user:{SECRET}@{host}/a?api_key={SECRET}",
        headers={"Authorization": f"Bearer {SECRET}"},
        body=SECRET.encode(),
    )
    assert SECRET not in repr(check)
    assert SECRET not in repr(check.check())


def test_what_a_function_of_a_header_raises_is_down_and_shows_no_credentials_that_are_known():
    def read():
        raise LookupError(f"{SECRET} opens nothing")

    found = look(f"http://user:{SECRET}@127.0.0.1:1/", headers={"X-Key": read})
    assert (found.status, found.error_type) == (Status.DOWN, "LookupError")
    assert "opens nothing" in found.message
    assert SECRET not in repr(found)


def test_a_key_in_the_path_is_not_shown():
    assert "T0123456789abcdefghijklm" not in repr(look("http://127.0.0.1:1/services/T0123456789abcdefghijklm"))
    assert "/services/" in look("http://127.0.0.1:1/services/T0123456789abcdefghijklm").message


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}é", None])
def test_a_header_that_cannot_be_sent_is_told_without_its_value(value):
    with serving(say()) as url:
        found = look(url, headers={"X-Key": lambda: value})
    assert (found.status, found.condition) == (Status.DOWN, "error")
    assert "X-Key" in found.message
    assert SECRET not in repr(found)


# --- settings ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"url": "api.example.org"}, "url"),
        ({"url": "ftp://h/"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": 7}, "url"),
        ({"url": f"http://user:{SECRET}/@h:x/"}, "url"),
        ({"url": f"http://user:{SECRET}@h:x/"}, "url"),
        ({"url": f"gopher://user:{SECRET}@h/"}, "url"),
        ({"url": f"http://user:{SECRET} é@h/"}, "url"),
        ({"name": ""}, "name"),
        ({"method": "get"}, "method"),
        ({"headers": {"A B": "c"}}, "headers"),
        ({"headers": {"A": f"{SECRET}\r\nB: c"}}, "headers"),
        ({"headers": [("A", SECRET)]}, "headers"),
        ({"body": SECRET}, "body"),
        ({"expected_statuses": 200}, "expected_statuses"),
        ({"expected_statuses": ()}, "expected_statuses"),
        ({"expected_statuses": (20,)}, "expected_statuses"),
        ({"expected_statuses": ("200",)}, "expected_statuses"),
        ({"redirects": -1}, "redirects"),
        ({"redirects": 1, "method": "POST", "body": b""}, "redirects"),
        ({"body_matches": "("}, "body_matches"),
        ({"body_matches": re.compile(b"a")}, "body_matches"),
        ({"body_contains": b"a"}, "body_contains"),
        ({"json_path": "a..b"}, "json_path"),
        ({"json_path": "a[x]"}, "json_path"),
        ({"json_value": 1}, "json_value"),
        ({"method": "HEAD", "body_contains": "a"}, "HEAD"),
        ({"body_limit_bytes": 0}, "body_limit_bytes"),
        ({"tls": True}, "tls"),
        ({"tls_warning_days": -1}, "tls_warning_days"),
        ({"tls_critical_days": "7"}, "tls_critical_days"),
        ({"slow_seconds": 0}, "slow_seconds"),
        ({"schedule": 30}, "schedule"),
        ({"component_type": "service"}, "component_type"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix_and_without_secrets(settings, match):
    with pytest.raises(ConfigurationError, match=match) as refused:
        HttpCheck(**{"name": "api", "url": "http://127.0.0.1/", **settings})
    assert SECRET not in str(refused.value)


def test_equal_settings_are_equal_checks():
    first, second = (HttpCheck(name="api", url="http://127.0.0.1/", headers={"A": "b"}) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
