"""No secret of a destination shows in its representation, an error, a log or a series."""

from __future__ import annotations

import logging
import traceback

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from agentgauge import ConfigurationError
from agentgauge.notification import DeliveryError, EmailDestination, Notifier, Routed, SlackDestination, WebhookDestination

# long enough that it is nowhere by chance
SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=30).map(lambda text: f"Zq9{text}")
IN_PATHS = SECRETS.map(lambda text: "".join(character if character.isalnum() else "-" for character in text))


def every_text_of(destination):
    routed = destination.with_policy(destination.default_policy)
    return [repr(destination), str(destination), f"{destination}", repr(routed), repr([destination]), repr(routed.name)]


@given(IN_PATHS, SECRETS, SECRETS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_in_a_representation_or_in_what_is_raised(make, unused_port, path, token, password):
    url = f"http://127.0.0.1:{unused_port}/{path}?key={path}"
    destinations = [
        WebhookDestination(url, bearer_token=token, signing_secret=password, tries=1),
        SlackDestination(url, tries=1),
        EmailDestination(
            host="127.0.0.1", port=unused_port, sender="a@b.c", recipients=["d@e.f"], username=token, password=password
        ),
    ]
    texts = [text for destination in destinations for text in every_text_of(destination)]
    for destination in destinations:
        with pytest.raises(DeliveryError) as caught:
            destination(make())
        texts += ["".join(traceback.format_exception(caught.value)), repr(caught.value), str(vars(caught.value))]
    for settings_of in (
        {"url": f"http://example.com/{path}", "bearer_token": token}, {"url": f"https://{path}@example.com"},
        {"url": f"https://example.com/{path} {path}"}, {"url": f"{path}://example.com/"},
        {"url": url, "bearer_token": f"{token}\n"},
        {"url": url, "signing_secret": f"{token} {token}"}, {"url": f"https://[{path}/"},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError) as refused:
            WebhookDestination(**settings_of)
        texts.append("".join(traceback.format_exception(refused.value)))
    for text in texts:
        for secret in (path, token, password):
            assert secret not in text


@pytest.mark.parametrize("answer", [404, 500, (302, {"Location": "http://127.0.0.1/Zq9-redirected"}), "garbage", "hang"])
def test_no_secret_is_in_the_log_or_on_the_page_whatever_the_server_does(hook, make, fresh, caplog, eventually, answer):
    def garbage(handler):
        handler.wfile.write(f"Zq9-garbage {hook.requests[-1].headers}\r\n\r\n".encode())

    caplog.set_level(logging.DEBUG)
    answers = {"garbage": garbage, "hang": hook.hang}
    hook.answers = [answers[answer] if isinstance(answer, str) else answer] * 4
    url = f"{hook.url}/Zq9-path"
    notifier = Notifier()
    for destination in (
        WebhookDestination(url, bearer_token="Zq9-token", signing_secret="Zq9-signing", tries=1, timeout_seconds=0.5),
        SlackDestination(url, tries=1, timeout_seconds=0.5),
    ):
        notifier.add(Routed(destination, destination.default_policy))
    notifier.tell([make()])
    assert not notifier.flush(60)
    lines = [f"are tried again: {name}: " for name in ("WebhookDestination", "SlackDestination")]
    eventually(lambda: all(line in caplog.text for line in lines))
    assert "Traceback" not in caplog.text
    page = generate_latest(fresh.registry).decode()
    shown = caplog.text + page + "".join(str(vars(record)) for record in caplog.records)
    assert 'agentgauge_notifications_total{handler="SlackDestination",outcome="failed"}' in page
    assert "Zq9" not in shown
    assert "s3cr3t" not in shown
