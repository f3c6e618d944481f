"""Messages say where they come from, and settings that cannot be meant so are refused."""

from __future__ import annotations

import pytest

from agentgauge import ConfigurationError
from agentgauge.notification import Delivery, LogDestination, Notifier, SlackDestination, WebhookDestination


def test_messages_name_the_service_the_host_and_the_process_and_replicas_have_other_ids(hook, make, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "one")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "swarm\n" + "x" * 1000)
    WebhookDestination(hook.url)(make())
    WebhookDestination(hook.url, service="mine")(make())
    SlackDestination(hook.url, service="mine")(make())
    monkeypatch.setattr("socket.gethostname", lambda: "two")
    WebhookDestination(hook.url, service="mine")(make())
    first, named, slack, other = (request.body for request in hook.requests)
    assert first["origin"]["service"] == "swarm " + "x" * 94
    assert (named["origin"]["service"], named["origin"]["host"]) == ("mine", "one")
    assert "from: mine on one [" in slack["attachments"][0]["blocks"][0]["text"]["text"]
    assert len({body["id"] for body in (first, named, other)}) == 3
    assert len({body["notifications"][0]["alert"]["id"] for body in (first, named, other)}) == 3


def test_a_class_in_the_place_of_a_handler_is_refused_with_the_fix():
    with pytest.raises(ConfigurationError, match=r"give an instance, LogDestination\(\.\.\.\)"):
        Notifier().add(LogDestination)


def test_a_group_by_that_looks_misspelt_is_refused_and_a_label_is_not():
    with pytest.raises(ConfigurationError, match="'sauce' looks like 'source'"):
        Delivery(group_by=("sauce",))
    assert Delivery(group_by=("resource", "server", "service", "state", "error", "instance"))
