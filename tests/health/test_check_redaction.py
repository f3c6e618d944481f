"""No credentials in what people read: properties of ``redact``, and what is made of errors."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.health.checks import redact
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.settings import shown_url
from agentgauge.health.status import Status

# a mark that no other part of a text has, among whatever else a password may hold
MARK = "ZqXj"
ANY = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12)
PRINTABLE = st.text(string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_{|}~", max_size=12)
SECRETS = st.builds(lambda before, after: f"{before}{MARK}{after}", ANY, ANY)
PLAIN_SECRETS = st.builds(lambda before, after: f"{before}{MARK}{after}", PRINTABLE, PRINTABLE)
NAMES = st.sampled_from(
    [
        "password",
        "PASSWORD",
        "pwd",
        "passwd",
        "token",
        "access_token",
        "api_key",
        "apikey",
        "api-key",
        "client_secret",
        "key",
        "sig",
    ]
)
SCHEMES = st.sampled_from(["http", "https", "postgresql", "postgresql+psycopg", "redis", "rediss", "amqp", "mongodb+srv", "unix"])
AROUND = st.sampled_from(["{}", "could not connect to {}", 'connection to "{}" failed: FATAL', "({}): timed out", "a {} b {}"])


@given(PLAIN_SECRETS, SCHEMES, AROUND)
def test_a_password_in_a_url_is_hidden_be_it_encoded_or_not(secret, scheme, around):
    for password in (secret, quote(secret, safe="")):
        assert MARK not in redact(around.format(f"{scheme}://user:{password}@host:1/path", "x"))


@given(SECRETS, NAMES)
def test_a_parameter_of_a_query_is_hidden(secret, name):
    assert MARK not in redact(f"https://host/path?a=b&{name}={quote(secret, safe='')}&c=d")


@given(PLAIN_SECRETS, NAMES, AROUND)
def test_a_value_of_a_connection_string_is_hidden(secret, name, around):
    if name not in {"key", "sig"} or "=" in name:
        assert MARK not in redact(around.format(f"host=h {name}={secret} dbname=d", "x"))
        assert MARK not in redact(around.format(f"Server=h;{name}={secret};Database=d", "x"))


@given(SECRETS.filter(lambda secret: "\\" not in secret))
def test_a_quoted_value_of_a_connection_string_is_hidden_blanks_included(secret):
    for text in (f"{secret} {secret}", f"a b {secret}"):
        escaped = text.replace("'", "\\'")
        assert MARK not in redact(f"host=h password='{escaped}' dbname=d")


@given(SECRETS, st.sampled_from(["password", "token", "api_key", "client_secret", "Authorization"]))
def test_a_value_in_json_and_in_a_dict_is_hidden(secret, name):
    assert MARK not in redact(json.dumps({name: f"x {secret}", "more": 1}))
    assert MARK not in redact(json.dumps({name: f"x {secret}"}, ensure_ascii=False))
    assert MARK not in redact(str({name: f"x {secret}"}))


@given(st.text(string.ascii_letters + string.digits + "-._~+/", min_size=1).map(lambda text: MARK + text))
def test_a_bearer_token_is_hidden(token):
    assert MARK not in redact(f"Authorization: Bearer {token}")
    assert MARK not in redact(f"refused: Bearer {token} is unknown")
    assert MARK not in redact(f"authorization=Basic {token}, retry")


@given(ANY, SECRETS, ANY)
def test_what_is_known_to_be_secret_is_hidden_wherever_it_stands(before, secret, after):
    assert secret not in redact(f"{before}{secret}{after}", [secret])


@given(st.text(max_size=2000))
def test_any_text_becomes_one_line_that_can_be_printed_and_is_not_long(text):
    shown = redact(text)
    assert len(shown) <= 300
    assert shown.isprintable()


@given(
    st.lists(
        st.sampled_from(
            ["password='", 'token="', "key=", "://", "@", "bearer ", "authorization: ", "\\", "'", '"', "''", "a", " ", "-"]
        ),
        max_size=200,
    ).map("".join)
)
def test_text_that_is_made_to_be_hard_to_read_takes_no_longer(text):
    began = time.thread_time()
    redact(text * 20)
    assert time.thread_time() - began < 2  # of the CPU; a tenth of a second at most was seen


@pytest.mark.parametrize(
    "text",
    [
        "[Errno 111] Connection refused",
        'FATAL: password authentication failed for user "postgres"',
        "the token expired an hour ago",
        'relation "work" does not exist',
        "status 503 Service Unavailable",
        "http://host.example:8080/path: refused",
        "see redis://host:6379, and https://host:443?x=1",
        "mongodb://one:27017,two:27017/db",
        "http://[::1]:80/health",
    ],
)
def test_text_without_credentials_stays_as_it_is(text):
    assert redact(text) == text


def test_a_secret_that_a_cut_would_uncover_is_not_shown():
    assert MARK not in redact("a" + " " * 3_950 + "http://user:" + MARK * 40 + "@host")


@pytest.mark.parametrize(
    "text",
    [
        "mysql+pymysql://root:{}@db:3306/app?ssl=true",
        "mongodb://user:{}@one:27017,two:27017/db?replicaSet=rs",
        "amqps://guest:{}@rabbit:5671/%2f",
        "mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3D{}",
        "postgresql://user:{} {}@host/db",
        "jdbc:sqlserver://host;user=sa;password={};encrypt=true",
        "ConnectionParameters(credentials=<PlainCredentials username=guest password={}>)",
        "Cookie: theme=dark; session={}; b={}",
        "{{'Set-Cookie': 'sid={}; Path=/'}}",
        "headers=[(b'authorization', b'Bearer {}')]",
        'the proxy said {{\\"password\\": \\"{}\\"}}',
        '{{"auth": {{"user": "a", "pass": "{}"}}}}',
        "<password>{}</password>",
        "Command '['mysql', '--password', '{}']' returned 1",
        "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `{}`",
        "Incorrect API key provided: {}. You can find yours",
    ],
)
def test_credentials_are_hidden_as_drivers_servers_and_libraries_write_them(text):
    assert MARK not in redact(text.format(MARK, MARK))


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefgh12345678",
        "ghp_abcdefgh12345678",
        "ghs_abcdefgh12345678",
        "github_pat_abcdefgh12345678",
        "glpat-abcdefgh12345678",
        "hf_abcdefgh12345678",
        "xoxb-12345678-abc",
        "AIzaSyA12345678901234567890",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "https://hooks.slack.com/services/T000/B000/abcdef",
        "-----BEGIN RSA PRIVATE KEY-----abc",
    ],
)
def test_keys_of_known_forms_are_hidden(key):
    assert key not in redact(f"nobody knows {key} here")


@given(PLAIN_SECRETS, PLAIN_SECRETS)
def test_a_url_is_shown_without_user_password_and_query(password, query):
    user = quote(password, safe="")
    shown = shown_url(f"https://{user}:{user}@host.example:8443/health?q={quote(query, safe='')}")
    assert shown == "https://host.example:8443/health?***"


# --- what errors say --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "condition"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), Status.DOWN, "refused"),
        (TimeoutError(), Status.DOWN, "timeout"),
        (OSError(errno.EHOSTUNREACH, "no"), Status.DOWN, "unreachable"),
        (OSError(errno.ENETUNREACH, "no"), Status.DOWN, "unreachable"),
        (ConnectionResetError(errno.ECONNRESET, "no"), Status.DOWN, "reset"),
        (ConnectionError("Connection lost"), Status.DOWN, "reset"),
        (socket.gaierror(socket.EAI_NONAME, "no"), Status.DOWN, "dns"),
        (ssl.SSLError(1, "wrong version"), Status.DOWN, "tls"),
        (OSError(errno.ENOSPC, "no"), Status.CRITICAL, "disk_full"),
        (PermissionError(errno.EACCES, "no"), Status.CRITICAL, "permission"),
        (RuntimeError("(1040, 'Too many connections')"), Status.CRITICAL, "pool_exhausted"),
        (RuntimeError("(1045, \"Access denied for user 'a'@'b'\")"), Status.CRITICAL, "auth"),
        (RuntimeError("QueuePool limit of size 5 overflow 10 reached, connection timed out"), Status.CRITICAL, "pool_exhausted"),
        (ExceptionGroup("all", [ConnectionRefusedError(errno.ECONNREFUSED, "no")]), Status.DOWN, "refused"),
        (RuntimeError("odd"), Status.DOWN, "error"),
    ],
)
def test_an_error_is_told_by_a_word_that_stays_and_with_what_to_do(error, status, condition):
    found = explain(error, "it")
    assert (found.status, found.condition, found.error_type) == (status, condition, type(error).__name__)
    assert found.message.startswith("it: ")
    assert found.suggestions


def test_what_an_error_came_from_counts_where_it_says_nothing_itself():
    error = RuntimeError("could not ask")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "no")
    assert explain(error, "it").condition == "refused"


def test_errors_that_came_from_each_other_end():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert explain(first, "it").condition == "error"
