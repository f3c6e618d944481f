"""Mail reaches a real server, over TLS and logged in; one alert is one thread, and no text of an alert becomes a header."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgauge import ConfigurationError
from agentgauge.notification import DeliveryError, EmailDestination

USER, PASSWORD = "agent", "open sesame"
ADDRESSES = {"sender": "Agents <agents@example.com>", "recipients": ["on-call@example.com", "second@example.com"]}


def plain(mailbox, **more):
    return EmailDestination(host="127.0.0.1", port=mailbox.port, security="none", **{**ADDRESSES, **more})


def test_mail_has_what_there_is_to_say(start_mailbox, make):
    mailbox = start_mailbox()
    plain(mailbox, subject_prefix="[staging]")(
        make("started", "disk", "critical", suggestions=("free some",), value=0.97, limit=0.9, operator=">", unit="ratio")
    )
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[staging] [critical] started: disk is full"
    assert mail["From"] == "Agents <agents@example.com>"
    assert mail["To"] == "on-call@example.com, second@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"]
    text = mail.get_content()
    for line in (
        "subject: disk",
        "reading: 0.97 ratio (limit: > 0.9 ratio)",
        "since: 2023-11-14T22:13:20.000Z",
        "try: free some",
    ):
        assert line in text


def test_mail_about_one_alert_is_one_thread_from_its_start_to_its_end_and_another_alert_another(start_mailbox, make):
    mailbox = start_mailbox()
    destination = plain(mailbox)
    destination(make("started"))
    destination(make("lasts"))
    destination(make("ended"))
    destination(make("started", started_at=1_700_000_500.0))
    destination([make("ended"), make("ended", "cpu")])
    started, lasts, ended, again, group = mailbox.mails
    assert lasts["References"] == lasts["In-Reply-To"] == ended["References"] == started["Message-ID"]
    assert started["References"] is None
    assert again["Message-ID"] != started["Message-ID"]
    assert started["Message-ID"] in group["References"].split()
    assert len(group["References"].split()) == 2
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 5
    destination(make("started"))
    assert mailbox.mails[-1]["Message-ID"] == started["Message-ID"], "what is sent twice is the same mail"


def test_over_starttls_it_logs_in_and_the_certificate_is_verified(start_mailbox, make, tls_files, authority):
    mailbox = start_mailbox(tls_context=tls_files, require_starttls=True, auth_required=True)
    settings = {**ADDRESSES, "host": "127.0.0.1", "port": mailbox.port, "username": USER, "password": PASSWORD}
    EmailDestination(**settings, ca_file=str(authority))(make())
    assert mailbox.logins == [(True, True)]
    with pytest.raises(DeliveryError, match=r"^EmailDestination: SSLCertVerificationError: self-signed certificate"):
        EmailDestination(**settings)(make())
    with pytest.raises(DeliveryError, match=r"^EmailDestination: SMTPAuthenticationError: 535$"):
        EmailDestination(**{**settings, "password": "wr0ng"}, ca_file=str(authority))(make())
    assert len(mailbox.mails) == 1


def test_a_server_without_starttls_gets_neither_password_nor_mail(start_mailbox, make):
    mailbox = start_mailbox(auth_require_tls=False)
    with pytest.raises(DeliveryError, match="SMTPNotSupportedError"):
        EmailDestination(**ADDRESSES, host="127.0.0.1", port=mailbox.port, username=USER, password=PASSWORD)(make())
    assert mailbox.mails == []


def test_over_tls_from_the_first_byte_the_certificate_is_verified(start_mailbox, make, tls_files, authority):
    mailbox = start_mailbox(ssl_context=tls_files)
    settings = {**ADDRESSES, "host": "127.0.0.1", "port": mailbox.port, "security": "tls"}
    EmailDestination(**settings, ca_file=str(authority))(make())
    assert [mail["Subject"] for mail in mailbox.mails] == ["[warning] started: disk is full"]
    with pytest.raises(DeliveryError, match="SSLCertVerificationError"):
        EmailDestination(**settings)(make())


def test_on_loopback_one_may_log_in_without_tls(start_mailbox, make):
    mailbox = start_mailbox(auth_require_tls=False)
    plain(mailbox, username=USER, password=PASSWORD)(make())
    assert mailbox.logins == [(True, False)]


def test_a_recipient_that_is_refused_does_not_keep_the_others_from_it(start_mailbox, make, caplog):
    mailbox = start_mailbox()
    mailbox.refused = {"second@example.com"}
    plain(mailbox)(make())
    assert len(mailbox.mails) == 1
    assert [record.getMessage() for record in caplog.records] == ["1 of 2 recipients of an alert were refused by the mail server"]
    mailbox.refused |= {"on-call@example.com"}
    with pytest.raises(DeliveryError, match=r"^EmailDestination: SMTPRecipientsRefused$"):
        plain(mailbox)(make())


def test_a_server_that_does_not_take_the_message_is_told_by_its_code_alone(start_mailbox, make):
    mailbox = start_mailbox()
    mailbox.reply = "451 try later, agent / open sesame"
    with pytest.raises(DeliveryError, match=r"^EmailDestination: SMTPDataError: 451$"):
        plain(mailbox)(make())


def test_a_server_that_says_nothing_is_given_up_at_the_time_limit(make):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        destination = EmailDestination(
            host="127.0.0.1", port=silent.getsockname()[1], security="none", **ADDRESSES, timeout_seconds=0.2
        )
        with pytest.raises(DeliveryError, match=r"there was no more time$"):
            destination(make())


def test_a_server_that_drips_is_given_up_at_the_time_limit(make):
    is_over = threading.Event()

    def drip():
        connection, _ = silent.accept()
        with connection, suppress(OSError):
            while not is_over.wait(0.02):
                connection.sendall(b"2")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(DeliveryError, match=r"there was no more time$"):
            EmailDestination(host="127.0.0.1", port=silent.getsockname()[1], security="none", **ADDRESSES, timeout_seconds=0.3)(
                make()
            )
        is_over.set()
        thread.join()


def test_nobody_there_is_said(make, unused_port):
    with pytest.raises(DeliveryError, match=r"^EmailDestination: ConnectionRefusedError: Connection refused$"):
        EmailDestination(host="127.0.0.1", port=unused_port, **ADDRESSES)(make())


@given(st.text(max_size=80), st.text(max_size=80))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_of_an_alert_becomes_a_header(make, summary, label):
    destination = EmailDestination(host="localhost", security="none", **ADDRESSES)
    for text in (summary, f"x\r\nBcc: {summary}", f"x\n\n{summary}", f"\u2028{summary}\x0b\x85Bcc: a@b"):
        message = destination._message([make(summary=text, labels={label: text}), make("ended", subject=text)])
        wire = message.as_bytes()
        head = wire.split(b"\r\n\r\n", 1)[0]
        names = [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
        assert sorted(names) == sorted([
            b"From", b"To", b"Subject", b"Date", b"Message-ID", b"References", b"Auto-Submitted", b"Content-Type",
            b"Content-Transfer-Encoding", b"MIME-Version",
        ])  # fmt: skip
        assert b"\r\n" not in head.replace(b"\r\n ", b"").replace(b"\r\n\t", b"").split(b"Subject:")[1].split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": ""}, r"^host=''"),
        ({"host": "smtp.example.com\r\nX"}, r"^host="),
        ({"security": "ssl"}, r"^security='ssl': give one of starttls, tls, none"),
        ({"port": 0}, r"^port=0: give a number"),
        ({"port": "25"}, r"^port='25': give a number"),
        ({"sender": "nobody"}, r"^sender='nobody': give an address"),
        ({"sender": "a@b.c\r\nBcc: d@e.f"}, r"^sender=.*give an address"),
        ({"sender": "a@b.c, d@e.f"}, r"^sender=.*give an address"),
        ({"sender": None}, r"^sender=None: give an address"),
        ({"recipients": "a@b.c"}, r"^recipients='a@b.c': give addresses"),
        ({"recipients": []}, r"^recipients=\[\]: give addresses"),
        ({"recipients": ["a@b.c", "d"]}, r"^recipients='d': give an address"),
        ({"recipients": ["ä@b.c"]}, r"^recipients=.*ASCII"),
        ({"username": "a"}, r"^username, password: give both"),
        ({"username": "a", "password": "s3cr3t\n"}, r"^password: give a text"),
        ({"username": "a", "password": "s3cr3t", "security": "none"}, r"^security='none': smtp.example.com would get"),
        ({"ca_file": __file__}, r"^ca_file=.*give a file of certificates"),
        ({"timeout_seconds": True}, r"^timeout_seconds=True"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix_and_without_the_secret(settings, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        EmailDestination(**{"host": "smtp.example.com", **ADDRESSES, **settings})
    assert "s3cr3t" not in str(caught.value)
