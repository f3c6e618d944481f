"""The options of doctor: what is wrong with one is said in a line, and what it prints can be read by people and programs."""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentgauge import task
from agentgauge.doctor import add_arguments
from agentgauge.doctor.fetching import Access, UnreachableError

TOKEN = "s3cr3t-t0ken-that-nobody-sees"


@task("greet")
def greet():
    pass


def refused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "127.0.0.1:9464/metrics"), "write the whole url, with http:// or https://"),
        (("--url", "ftp://127.0.0.1/metrics"), "write the whole url"),
        (("--url", "http:///metrics"), "write the whole url"),
        (("--url", "http://127.0.0.1:99999/metrics"), "this is no url"),
        (("--url", "http://127.0.0.1:port/metrics"), "this is no url"),
        (("--url", "http://[::1/metrics"), "this is no url"),
        (("--url", "http://127.0.0.1/me trics"), "write the whole url"),
        (("--url", f"http://user:{TOKEN}@127.0.0.1/metrics"), "a name or password in the url is not supported"),
        (
            ("--url", "foo"),
            "--url 'foo': write the whole url, with http:// or https://, such as --url http://127.0.0.1:9464/metrics",
        ),
        (
            ("--prometheus", "foo"),
            "--prometheus 'foo': write the whole url, with http:// or https://, such as --prometheus http://127.0.0.1:9090",
        ),
        (("--prometheus", "localhost:9090"), "--prometheus 'localhost:9090': write the whole url"),
        (("--prometheus", "http://[::1"), "this is no url; write one such as --prometheus http://127.0.0.1:9090"),
        (("--alertmanager", "localhost"), "such as --alertmanager http://127.0.0.1:9093"),
        (("--token-file", "/nowhere"), "--token-file '/nowhere': there is no such file"),
        (("--ca-file", "/nowhere"), "--ca-file '/nowhere': there is no such file"),
        (("--ca-file", __file__), "give PEM files that belong together"),
        (("--key-file", __file__), "--key-file works with --certificate-file"),
        (("--rules", "/nowhere"), "--rules '/nowhere': there is no such directory"),
        (("--dashboards", __file__), "there is no such directory"),
        (("--alertmanager-config", "/nowhere"), "there is no such file"),
        (("--timeout", "0"), "give a number of seconds above 0"),
        (("--timeout", "nan"), "give a number of seconds above 0"),
    ],
)
def test_an_option_that_cannot_work_is_refused_in_one_line(doctor, arguments, said):
    refused = doctor(*arguments)
    assert refused.code == 2
    assert refused.out == ""
    assert said in refused.err
    assert refused.err.count("\n") == 1
    assert TOKEN not in refused.err


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", "tokén".encode()])
def test_a_token_file_without_a_token_is_refused_and_not_shown(doctor, tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    refused = doctor("--token-file", tmp_path / "token")
    assert refused.code == 2
    assert "--token-file" in refused.err
    assert "two words" not in refused.err


def test_a_program_that_is_not_there_is_a_failure_only_where_it_was_named(doctor, monkeypatch):
    port = refused_port()
    named = doctor("--url", f"http://127.0.0.1:{port}/metrics")
    assert (named.code, named.status("answers")) == (1, "fail")
    assert named["answers"]["evidence"].endswith("nothing listens there")
    assert named["answers"]["fix"].startswith("Start the program with agentgauge.start()")
    monkeypatch.setenv("AGENTGAUGE_PORT", str(port))
    unnamed = doctor()
    assert (unnamed.code, unnamed.status("answers")) == (0, "unknown")
    assert f"http://127.0.0.1:{port}/metrics: nothing listens there" in unnamed["answers"]["evidence"]


def test_the_address_comes_from_the_settings(serve, doctor, monkeypatch):
    url = serve().url
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", url.rpartition(":")[2].removesuffix("/metrics"))
    examined = doctor()
    assert examined.document["url"] == url
    assert examined.status("answers") == "ok"


@pytest.mark.parametrize("end", ["", "/", "/metrics"])
def test_a_url_of_the_program_alone_means_its_page(serve, doctor, end):
    url = serve().url
    examined = doctor("--url", url.removesuffix("/metrics") + end)
    assert (examined.document["url"], examined.status("answers")) == (url, "ok")


def test_settings_that_cannot_be_read_leave_the_default_address_and_say_so(doctor, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_PORT", "many")
    examined = doctor()
    assert examined.document["url"] == "http://127.0.0.1:9464/metrics"
    assert examined.code == 1
    assert "AGENTGAUGE_PORT='many'" in examined["settings"]["fix"]


def test_a_program_that_wants_a_token_says_how_to_give_it_and_takes_it(serve, doctor, tmp_path):
    url = serve(bearer_token=TOKEN).url
    refused = doctor("--url", url)
    assert (refused.code, refused.status("answers")) == (1, "fail")
    assert "--token-file" in refused["answers"]["fix"]
    (tmp_path / "token").write_text(TOKEN + "\n")
    allowed = doctor("--url", url, "--token-file", tmp_path / "token", "--production")
    assert allowed.status("answers") == "ok"
    assert allowed["protected"]["evidence"] == f"{url} refuses who shows neither token nor certificate"
    assert TOKEN not in refused.out + allowed.out


def test_the_token_of_this_environment_goes_to_this_machine_and_to_no_other(serve, doctor, monkeypatch, answering):
    url = serve(bearer_token=TOKEN).url
    monkeypatch.setenv("AGENTGAUGE_BEARER_TOKEN", TOKEN)
    assert doctor("--url", url).status("answers") == "ok"
    came = []

    def answer(_path, headers):
        came.append(headers.get("Authorization"))
        return 404, {}, b""

    elsewhere = answering(answer).replace("127.0.0.1", "0.0.0.0")  # reaches this machine, and says no loopback address
    doctor("--url", f"{elsewhere}/metrics", "--prometheus", elsewhere)
    assert set(came) == {None}


def test_a_token_does_not_follow_a_redirect(doctor, answering, tmp_path):
    came = []

    def thief(_path, headers):
        came.append(headers.get("Authorization"))
        return 200, {}, b""

    target = answering(thief)
    url = answering(lambda _path, _headers: (302, {"Location": f"{target}/metrics"}, b""))
    (tmp_path / "token").write_text(TOKEN)
    examined = doctor("--url", f"{url}/metrics", "--token-file", tmp_path / "token")
    assert f"it answers with status 302: the page is at {target}/metrics" in examined["answers"]["evidence"]
    assert examined["answers"]["fix"] == f"Ask there: --url {target}/metrics"
    assert came == []


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"", "it answers with status 404"),
        (403, b"", "it refuses us (status 403)"),
        (200, b"", "its page is no text of Prometheus (it is empty)"),
        (200, b"<html>\x1b[31mhello</html>", "its page is no text of Prometheus"),
        (200, b"a{b=\xff\xfe", "its page is no text of Prometheus"),
    ],
)
def test_what_is_no_page_of_metrics_is_told_as_such(doctor, answering, status, body, said):
    url = answering(lambda _path, _headers: (status, {"Content-Type": "text/plain"}, body))
    examined = doctor("--url", f"{url}/metrics")
    assert examined.code == 1
    assert said in examined["answers"]["evidence"]
    assert examined["answers"]["fix"]


def test_a_server_that_never_answers_is_left_after_the_timeout(doctor):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        assert "it did not answer in time" in doctor("--url", url, "--timeout", "0.2")["answers"]["evidence"]


def test_a_host_without_an_address_is_told(doctor, monkeypatch):
    def refuse(*_asked, **_options):  # at once, where the machine's resolver may wait for servers that it has not
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    finding = doctor("--url", "http://nowhere.invalid/metrics")["answers"]
    assert finding["evidence"] == "http://nowhere.invalid/metrics: its host has no address"


def test_an_answer_that_is_no_http_is_told(doctor):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def chat():
            connection, _ = listening.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"220 mail.example ready\r\n")

        thread = threading.Thread(target=chat)
        thread.start()
        finding = doctor("--url", f"http://127.0.0.1:{listening.getsockname()[1]}/metrics")["answers"]
        thread.join()
    assert finding["status"] == "fail"
    assert "BadStatusLine: 220 mail.example ready" in finding["evidence"]


def test_a_server_that_drips_is_left_after_the_timeout(doctor):
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
                for _ in range(400):  # far longer than the limit, yet not for ever
                    if stop.wait(0.02):
                        return
                    try:
                        connection.sendall(b"# more\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
            assert "the answer did not end in time" in doctor("--url", url, "--timeout", "0.3")["answers"]["evidence"]
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_drips_its_headers_or_its_handshake_is_left_after_the_timeout(doctor, scheme):
    stop = threading.Event()
    # A record of TLS that says it is 16 KiB long, of which one byte at a time comes: a server's hello that does not end.
    begin, drop = {"http": (b"HTTP/1.1 200 OK\r\nX-More: ", b"y"), "https": (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\0")}[
        scheme
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(begin)
                for _ in range(400):  # far longer than the limit, yet not for ever
                    if stop.wait(0.02):
                        return
                    try:
                        connection.sendall(drop)
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            access = Access(0.3, None, ssl.create_default_context())
            began = time.monotonic()
            with pytest.raises(UnreachableError, match="in time"):
                access.get(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/metrics")
            assert 0.3 <= time.monotonic() - began < 6
        finally:
            stop.set()
            thread.join()


def test_the_limit_holds_for_all_addresses_of_a_host_together(monkeypatch):
    tried = []

    def connect(address, timeout, _source=None):
        tried.append((address, timeout))
        raise ConnectionRefusedError

    targets = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", 80)) for number in (1, 2, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_asked, **_options: targets)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(UnreachableError, match="nothing listens there"):
        Access(5.0).get("http://several.example/metrics")
    assert [address for address, _ in tried] == [("127.0.0.1", 80), ("127.0.0.2", 80), ("127.0.0.3", 80)]
    assert 5 >= tried[0][1] > tried[1][1] > tried[2][1] > 0
    now = time.monotonic()
    later = iter([now, now, now, now + 2, now + 7])
    monkeypatch.setattr(time, "monotonic", lambda: next(later, now + 7))
    with pytest.raises(UnreachableError, match="nothing listens there"):
        Access(5.0).get("http://several.example/metrics")
    assert 1 <= len(tried) - 3 < 3


@pytest.mark.parametrize("process", ["9" * 5_000, "9" * 10, "²", "-1", "1 2", ""])
def test_a_number_of_a_process_that_is_none_is_passed_over(doctor, answering, process):
    page = b"# TYPE agentgauge_build_info gauge\nagentgauge_build_info 1\n"
    headers = {"Content-Type": "text/plain", "Agentgauge-Group": f"x {process}".encode().decode("latin-1")}
    url = answering(lambda _path, _headers: (200, headers, page))
    assert doctor("--url", f"{url}/metrics").status("processes") == "unknown"


# --- TLS ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout"
    for command in (
        f"{new} key.pem -x509 -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -out certificate.pem",
        f"{new} authority_key.pem -x509 -days 2 -subj /CN=authority -out authority.pem",
        f"{new} client_key.pem -subj /CN=doctor -out client.csr",
        "x509 -req -in client.csr -CA authority.pem -CAkey authority_key.pem -set_serial 1 -days 2 -out client.pem",
        "pkey -aes256 -passout pass:word -in client_key.pem -out locked.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_program_behind_tls_is_examined_with_its_authority_and_a_certificate(serve, doctor, pem):
    url = serve(
        tls_certificate_file=str(pem / "certificate.pem"),
        tls_key_file=str(pem / "key.pem"),
        tls_client_ca_file=str(pem / "authority.pem"),
    ).url
    assert "--ca-file" in doctor("--url", url)["answers"]["fix"]
    assert "--certificate-file" in doctor("--url", url, "--ca-file", pem / "certificate.pem")["answers"]["fix"]
    shown = ("--certificate-file", pem / "client.pem", "--key-file", pem / "client_key.pem")
    examined = doctor("--url", url, "--ca-file", pem / "certificate.pem", *shown, "--production")
    assert {examined.status(check) for check in ("answers", "ready", "protected")} == {"ok"}


def test_a_locked_key_is_refused_instead_of_asked_for(doctor, pem):
    refused = doctor("--certificate-file", pem / "client.pem", "--key-file", pem / "locked.pem")
    assert refused.code == 2
    assert "give PEM files that belong together" in refused.err


def test_https_to_a_program_that_speaks_http_is_told(serve, doctor):
    url = serve().url.replace("http:", "https:")
    assert doctor("--url", url, "--timeout", "0.5")["answers"]["fix"] == "Is it http, not https?"


def test_https_to_a_server_that_answers_in_plain_http_is_told(doctor, answering):
    url = answering(lambda _path, _headers: (200, {}, b"")).replace("http:", "https:")
    assert doctor("--url", f"{url}/metrics")["answers"]["fix"] == "Is it http, not https?"


def test_http_to_a_program_that_speaks_https_is_told(serve, doctor, pem):
    url = serve(tls_certificate_file=str(pem / "certificate.pem"), tls_key_file=str(pem / "key.pem")).url
    assert doctor("--url", url.replace("https:", "http:"))["answers"]["fix"] == "Is it https, not http?"


# --- output ---------------------------------------------------------------------------------------------------------------------


def test_warnings_fail_with_strict_alone(visit, doctor, monkeypatch):
    greet()
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    examined = visit()
    assert (examined.code, examined.document["exit_code"], examined.status("workers")) == (0, 0, "warn")
    strict = visit("--strict")
    assert (strict.code, strict.document["exit_code"]) == (1, 1)


def test_what_is_unknown_is_no_failure_with_strict(visit):
    examined = visit("--strict")
    assert examined.document["counts"]["unknown"] > 0
    assert examined.document["counts"]["warn"] == 0
    assert examined.code == 0


def test_the_document_has_the_keys_that_its_page_names(visit):
    document = visit().document
    assert set(document) == {"format", "version", "url", "exit_code", "counts", "findings"}
    assert document["format"] == 1
    for finding in document["findings"]:
        assert set(finding) == {"section", "check", "status", "title", "evidence", "fix"}
        assert finding["title"]
        assert finding["evidence"]
    assert sum(document["counts"].values()) == len(document["findings"])
    scored = visit("--production").document
    assert set(scored) - set(document) == {"score"}
    assert set(scored["score"]) == {"held", "checked", "not_shown", "percent", "categories"}


def test_what_is_wrong_has_a_fix(doctor, install, monkeypatch):
    for name in ("openlit", "logfire", "opentelemetry-exporter-prometheus"):
        install(name, "1.0")
    for name, text in {"WEB_CONCURRENCY": "4", "OTEL_TRACES_SAMPLER": "always_off", "PROMETHEUS_MULTIPROC_DIR": "/x"}.items():
        monkeypatch.setenv(name, text)
    wrong = [finding for finding in doctor().document["findings"] if finding["status"] in ("warn", "fail")]
    planted = {"double-instrumentation", "provider-conflicts", "prometheus-exporter"}
    planted |= {"multiprocess-directory", "workers", "sampling"}
    assert planted <= {finding["check"] for finding in wrong}  # what else is told depends on what earlier tests have imported
    assert all(finding["fix"] for finding in wrong)


def test_text_tells_each_check_with_its_evidence_and_fix(serve, doctor, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    url = serve().url
    greet()
    lines = doctor("--url", url, is_text=True).out.splitlines()
    assert {"this environment", f"the program at {url}"} <= set(lines)
    place = lines.index("  warn    A server is told to fork several workers")
    assert lines[place + 1] == "          WEB_CONCURRENCY=4"
    assert lines[place + 2].startswith("          fix: One worker serves /metrics")
    assert lines[-1].endswith(" 1 warn, 0 fail, 4 unknown")


def test_text_holds_nothing_that_a_terminal_obeys(doctor, answering):
    page = b'# TYPE agentgauge_build_info gauge\nagentgauge_build_info{version="\x1b[31m\x07red"} 1\n'
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page))
    text = doctor("--url", f"{url}/metrics", is_text=True).out
    assert "red" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_text_is_written_to_a_terminal_that_knows_ascii_alone_and_to_a_pipe_that_closes(answering):
    page = '# TYPE agentgauge_build_info gauge\nagentgauge_build_info{version="é"} 1\n'.encode()
    url = answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page))
    command = [sys.executable, "-m", "agentgauge", "doctor", "--url", f"{url}/metrics"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    plain = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert 'version="\\xe9"' in plain.stdout
    assert plain.stderr == ""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        cut = subprocess.run(command, env=environment, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (cut.returncode, cut.stderr) == (0, "")


def test_the_document_is_the_only_thing_on_the_output(doctor, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_PORT", "many")
    assert json.loads(doctor().out)["exit_code"] == 1


def test_the_page_of_the_docs_names_each_check_with_what_it_can_end_in(visit):
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    documented = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| ([a-z, ]+) \|$", page, re.MULTILINE))
    servers = ("--prometheus", "http://127.0.0.1:1", "--alertmanager", "http://127.0.0.1:1")
    documents = [visit(*servers, *options).document for options in ((), ("--production",))]
    assert set(documented) == {finding["check"] for document in documents for finding in document["findings"]}
    assert all(set(ends.split(", ")) <= {"warn", "fail"} for ends in documented.values())


def test_the_page_of_the_docs_names_each_option(doctor):
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")} - {"--help"}
    assert {option for option in re.findall(r"`(--[a-z-]+)", page) if option != "--enable-feature"} == options


def test_the_command_prints_one_document_and_ends_with_its_exit_code(answering):
    url = answering(lambda _path, _headers: (404, {}, b""))
    command = [sys.executable, "-m", "agentgauge", "doctor", "--json", "--url", url]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, json.loads(said.stdout)["exit_code"], said.stderr) == (1, 1, "")
    refused = subprocess.run([*command, "--nonsense"], capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
