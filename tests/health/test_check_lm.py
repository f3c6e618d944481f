"""``LmCheck``: endpoints in the form of OpenAI's and of Ollama's."""

from __future__ import annotations

import json
import ssl

import pytest
from check_servers import drip, free_port, listening, make_certificates, serving

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import LmCheck
from agentgauge.health.status import ComponentType, Schedule, Status

PATIENT = Schedule(timeout_seconds=20)
KEY = "sk-proj-hunter2s3cr3t"
MODELS = {"object": "list", "data": [{"id": "small"}, {"id": "large"}]}
COMPLETION = {"choices": [{"message": {"role": "assistant", "content": "p"}}]}
TAGS = {"models": [{"name": "llama3:latest", "model": "llama3:latest"}, {"name": "qwen:7b"}]}


def endpoint(seen=None):
    def answer(request):
        if seen is not None:
            seen.append((request.command, request.path, request.headers["Authorization"], request.body))
        if request.headers["Authorization"] not in (None, f"Bearer {KEY}"):
            return 401, {}, b'{"error": {"message": "Incorrect API key provided: ' + KEY.encode() + b'"}}'
        if request.path == "/v1/models":
            return 200, {}, json.dumps(MODELS).encode()
        if request.path == "/api/tags":
            return 200, {}, json.dumps(TAGS).encode()
        if request.path == "/v1/chat/completions" and json.loads(request.body)["model"] == "small":
            return 200, {}, json.dumps(COMPLETION).encode()
        return 404, {}, b'{"error": {"message": "no such model"}}'

    return answer


def look(url, **settings):
    return LmCheck(**{"name": "lm", "base_url": url, "schedule": PATIENT, **settings}).check()


def saying(status, document, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return serving(lambda _request: (status, headers, body))


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_endpoint_that_has_the_model_is_healthy(slash):
    seen = []
    with serving(endpoint(seen)) as url:
        found = look(f"{url}/v1{slash}", model="small", api_key=lambda: KEY)
    assert (found.status, found.condition, found.details["models"]) == (Status.HEALTHY, "", 2)
    assert seen == [("GET", "/v1/models", f"Bearer {KEY}", b"")]


def test_without_a_model_the_endpoint_alone_is_checked_and_without_a_key_none_is_sent():
    seen = []
    with serving(endpoint(seen)) as url:
        assert look(f"{url}/v1").status is Status.HEALTHY
    assert seen[0][2] is None


def test_a_model_that_is_not_there_is_critical_and_those_that_are_are_named():
    with serving(endpoint()) as url:
        found = look(f"{url}/v1", model="huge")
    assert (found.status, found.condition) == (Status.CRITICAL, "model_missing")
    assert "large, small" in found.message


@pytest.mark.parametrize(
    ("probe", "path", "condition"),
    [("models", "/models", "status"), ("ollama", "/api/tags", "status"), ("completion", "/chat/completions", "model_missing")],
)
def test_where_there_is_nothing_the_path_that_was_asked_for_is_told(probe, path, condition):
    with saying(404, {"detail": "Not Found"}) as url:
        found = look(url, model="small", probe=probe)
    assert found.condition == condition
    assert found.message.startswith(f"{url}{path}: ")
    assert "404" in found.message
    assert "base_url leads to another service, or lacks its /v1." in found.suggestions


def test_a_completion_of_one_token_is_asked_for():
    seen = []
    with serving(endpoint(seen)) as url:
        found = look(f"{url}/v1", model="small", probe="completion", api_key=lambda: KEY)
        assert (found.status, found.condition) == (Status.HEALTHY, "")
        assert look(f"{url}/v1", model="huge", probe="completion").condition == "model_missing"
        look(f"{url}/v1", model="small", probe="completion", extra_body={"max_tokens": None, "max_completion_tokens": 16})
    method, path, authorization, body = seen[0]
    assert (method, path, authorization) == ("POST", "/v1/chat/completions", f"Bearer {KEY}")
    assert json.loads(body) == {"model": "small", "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
    assert {"max_tokens", "max_completion_tokens"} & set(json.loads(seen[2][3])) == {"max_completion_tokens"}


@pytest.mark.parametrize(("model", "is_there"), [("llama3", True), ("llama3:latest", True), ("qwen:7b", True), ("qwen", False)])
def test_ollama_is_asked_for_what_it_has_pulled(model, is_there):
    with serving(endpoint()) as url:
        found = look(url, model=model, probe="ollama")
    assert found.condition == ("" if is_there else "model_missing")
    assert is_there or "ollama pull qwen" in found.suggestions[0]


@pytest.mark.parametrize("probe", ["models", "completion", "ollama"])
def test_a_key_that_is_refused_is_auth_and_not_shown(probe):
    with serving(endpoint()) as url:
        found = look(f"{url}/v1", model="small", probe=probe, api_key=lambda: "sk-wrong-12345678")
    assert (found.status, found.condition) == (Status.CRITICAL, "auth")
    assert "sk-" not in repr(found)


@pytest.mark.parametrize(
    ("status", "expected", "condition"),
    [
        (403, Status.CRITICAL, "auth"),
        (429, Status.WARNING, "rate_limited"),
        (400, Status.CRITICAL, "status"),
        (503, Status.CRITICAL, "status"),
    ],
)
def test_a_status_is_judged(status, expected, condition):
    with saying(status, {}) as url:
        for probe in ("models", "completion"):
            found = look(url, model="small", probe=probe)
            assert (found.status, found.condition, found.details["status"]) == (expected, condition, status)
            hint = any("max_completion_tokens" in suggestion for suggestion in found.suggestions)
            assert hint is (status == 400 and probe == "completion")


@pytest.mark.parametrize("document", [b"<html>", {}, [], {"data": {}}, {"choices": []}, {"choices": "a"}, None, 3])
@pytest.mark.parametrize("probe", ["models", "completion", "ollama"])
def test_an_answer_in_another_form_is_critical(probe, document):
    with saying(200, document) as url:
        found = look(url, model="small", probe=probe)
    assert (found.status, found.condition) == (Status.CRITICAL, "body")


def test_a_key_comes_from_the_environment_as_it_is_at_each_check(monkeypatch):
    seen = []
    with serving(endpoint(seen)) as url:
        check = LmCheck(name="lm", base_url=f"{url}/v1", api_key_env="MY_KEY", schedule=PATIENT)
        monkeypatch.delenv("MY_KEY", raising=False)
        found = check.check()
        assert (found.status, found.condition, seen) == (Status.CRITICAL, "auth", [])
        assert "MY_KEY" in found.message
        monkeypatch.setenv("MY_KEY", f"{KEY}\n")
        assert check.check().status is Status.HEALTHY
    assert seen[0][2] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["", None, 3])
def test_a_function_that_returns_no_key_is_auth(key):
    assert look("http://127.0.0.1:1", api_key=lambda: key).condition == "auth"


def test_a_key_that_cannot_be_sent_is_not_shown():
    with serving(endpoint()) as url:
        found = look(url, api_key=lambda: f"{KEY}\nmore")
    assert found.status is Status.DOWN
    assert "hunter2" not in repr(found)


def test_what_the_function_of_the_key_raises_is_down_and_not_shown():
    def read():
        raise LookupError(f"token={KEY} is expired")

    found = look("http://127.0.0.1:1", api_key=read)
    assert (found.status, found.error_type) == (Status.DOWN, "LookupError")
    assert KEY not in repr(found)


def test_the_key_is_not_shown_by_what_a_function_of_a_header_raises():
    def read():
        raise LookupError("opensesame opens nothing")

    found = look("http://127.0.0.1:1", api_key=lambda: "opensesame", headers={"X-Org": read})
    assert found.message.endswith("LookupError: *** opens nothing")


def test_an_endpoint_that_is_not_there_or_drips_is_down():
    assert look(f"http://127.0.0.1:{free_port()}/v1").condition == "refused"
    with listening(drip(b"HTTP/1.1 200 OK\r\nX: y")) as port:
        found = look(f"http://127.0.0.1:{port}/v1", schedule=Schedule(timeout_seconds=0.5))
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


def test_tls_is_spoken_with_an_authority_of_ones_own(tmp_path):
    certificate = make_certificates(tmp_path, long=90)["long"]
    with serving(endpoint(), certificate) as url:
        assert look(f"{url}/v1", tls=ssl.create_default_context(cafile=certificate)).status is Status.HEALTHY
        assert look(f"{url}/v1").condition == "tls"


def test_a_slow_endpoint_is_a_warning():
    with serving(endpoint()) as url:
        found = look(f"{url}/v1", slow_seconds=1e-9)
    assert (found.status, found.condition, found.details["models"]) == (Status.WARNING, "slow", 2)


def test_it_is_a_model_by_default_has_time_and_shows_no_key():
    check = LmCheck(name="lm", base_url=f"https://u:{KEY}@h/v1", api_key=lambda: KEY, headers={"X": KEY})
    assert (check.component_type, check.schedule.timeout_seconds) == (ComponentType.LM, 15)
    assert KEY not in repr(check)
    assert KEY not in repr(LmCheck(name="lm", base_url=f"http://u:{KEY}@127.0.0.1:1/v1").check())


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"base_url": "api.openai.com"}, "base_url"),
        ({"base_url": f"gopher://u:{KEY}@h"}, "base_url"),
        ({"model": None}, "model"),
        ({"probe": "chat"}, "probe"),
        ({"probe": "completion"}, "model"),
        ({"api_key": KEY}, "api_key"),
        ({"api_key_env": 3}, "api_key_env"),
        ({"api_key": str, "api_key_env": "A"}, "api_key, api_key_env"),
        ({"headers": [KEY]}, "headers"),
        ({"extra_body": [KEY]}, "extra_body"),
        ({"extra_body": {"a": object}}, "extra_body"),
        ({"tls": 1}, "tls"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix_and_without_the_key(settings, match):
    with pytest.raises(ConfigurationError, match=match) as refused:
        LmCheck(**{"name": "lm", "base_url": "http://h/v1", **settings})
    assert KEY not in str(refused.value)
