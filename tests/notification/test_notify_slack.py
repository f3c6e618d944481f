"""Slack gets what it can show, escaped as it asks."""

from __future__ import annotations

import pytest

from agentgauge import ConfigurationError
from agentgauge.notification import SlackDestination


def test_an_alert_is_a_text_and_an_attachment_in_its_colour(hook, make):
    SlackDestination(hook.url)(make("started", "disk", "critical", suggestions=("free some",), labels={"mountpoint": "/"}))
    SlackDestination(hook.url)(make("ended", "disk", "critical"))
    started, ended = (request.body for request in hook.requests)
    assert started["text"] == "[critical] started: disk is full"
    (attachment,) = started["attachments"]
    (block,) = attachment["blocks"]
    assert block["type"] == "section"
    assert block["text"]["type"] == "mrkdwn"
    assert "labels: mountpoint=/" in block["text"]["text"]
    assert "try: free some" in block["text"]["text"]
    assert attachment["color"] == "#d00000" != ended["attachments"][0]["color"]


def test_nothing_that_an_alert_says_mentions_a_channel_or_hides_a_link(hook, make):
    nasty = "<!channel> <https://evil.example|here> & >"
    SlackDestination(hook.url)(make(summary=nasty, labels={"a": nasty}, suggestions=(nasty,)))
    (request,) = hook.requests
    text = request.body["attachments"][0]["blocks"][0]["text"]["text"]
    for shown in (request.body["text"], text, request.body["attachments"][0]["fallback"]):
        assert "<" not in shown
        assert "&lt;!channel&gt; &lt;https://evil.example|here&gt; &amp; &gt;" in shown
    assert request.body["attachments"][0]["blocks"][0]["text"]["verbatim"] is True


def test_however_much_there_is_to_say_it_fits_into_what_slack_takes(hook, make):
    SlackDestination(hook.url)(
        [make(subject=f"&{number}", summary="&" * 5000, suggestions=("<" * 5000,) * 9) for number in range(40)]
    )
    (request,) = hook.requests
    assert len(request.body["attachments"]) <= 20
    assert "25 of them not shown" in request.body["text"]
    assert max(len(each["blocks"][0]["text"]["text"]) for each in request.body["attachments"]) <= 3000
    for each in request.body["attachments"]:
        text = each["blocks"][0]["text"]["text"].replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in text, "no escape is cut in two"


def test_when_slack_says_that_it_is_too_much_it_is_sent_later(hook, make):
    hook.answers = [(429, {"Retry-After": "0"})]
    SlackDestination(hook.url)(make())
    assert len(hook.requests) == 2


@pytest.mark.parametrize("url", ["http://hooks.slack.com/services/s3cr3t", "", "s3cr3t", "https://s3cr3t@hooks.slack.com/"])
def test_an_address_that_would_be_seen_on_its_way_is_refused_and_not_quoted(url):
    with pytest.raises(ConfigurationError, match=r"^url: ") as caught:
        SlackDestination(url)
    assert "s3cr3t" not in str(caught.value)
