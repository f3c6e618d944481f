"""Settings: arguments over the environment over the defaults, and every bad value refused with its fix."""

from __future__ import annotations

import dataclasses
import os
import socket
from types import MappingProxyType

import pytest

from agentgauge import AgentgaugeError, Config, ConfigurationError
from agentgauge.config import is_disabled, is_tracing_disabled
from agentgauge.targets import Price

PRICE = Price(input_usd_per_million=1, output_usd_per_million=1)


async def redact_later(text, name):
    return text


def test_the_defaults_serve_on_loopback_with_every_collector():
    assert Config.load({}) == Config()
    assert dataclasses.asdict(Config()) == {
        "is_server_enabled": True,
        "host": "127.0.0.1",
        "port": 9464,
        "bearer_token": None,
        "tls_certificate_file": None,
        "tls_key_file": None,
        "tls_client_ca_file": None,
        "collectors": None,
        "collector_timeout_seconds": 0.5,
        "drain_interval_seconds": 1.0,
        "heartbeat_file": None,
        "heartbeat_interval_seconds": 5.0,
        "history_file": None,
        "history_interval_seconds": 15.0,
        "history_retention_days": 400.0,
        "history_max_bytes": 536_870_912,
        "is_analysis_enabled": False,
        "analysis_tasks_per_replica": 10,
        "series_limit": 1000,
        "instrumentors": None,
        "content_capture": "NO_CONTENT",
        "content_redactor": None,
        "content_limit_bytes": 16384,
        "prices": {},
        "prices_file": None,
        "service_name": None,
        "resource_attributes": {},
    }


def test_the_processs_own_environment_is_read_unless_another_is_given(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_PORT", "9999")

    assert Config.load().port == 9999
    assert Config.load({}).port == 9464


@pytest.fixture
def pem_file(tmp_path):
    path = tmp_path / "server.pem"
    path.write_text("PEM")
    return str(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("is_server_enabled", "false", False),
        ("is_server_enabled", " OFF ", False),
        ("is_server_enabled", "1", True),
        ("host", "127.0.0.2", "127.0.0.2"),
        ("host", "::1", "::1"),
        ("host", "localhost", "localhost"),
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("bearer_token", "s3cret", "s3cret"),
        ("collectors", "process", ("process",)),
        ("collectors", " host , process ,", ("host", "process")),
        ("collectors", "container,gpu,unique-memory", ("container", "gpu", "unique-memory")),
        ("collectors", " None ", ()),
        ("collector_timeout_seconds", "2", 2.0),
        ("drain_interval_seconds", "0.25", 0.25),
        ("heartbeat_file", "/run/agent/heartbeat", "/run/agent/heartbeat"),
        ("heartbeat_interval_seconds", "2", 2.0),
        ("series_limit", "5", 5),
        ("instrumentors", "dspy, langchain", ("dspy", "langchain")),
        ("content_capture", "SPAN_ONLY", "SPAN_ONLY"),
        ("content_limit_bytes", "100", 100),
        ("service_name", "swarm", "swarm"),
        ("resource_attributes", "team=red,zone=a%2Cb", {"team": "red", "zone": "a,b"}),
    ],
)
def test_each_setting_comes_from_its_variable_and_from_its_argument(name, text, value):
    assert getattr(Config.load({f"AGENTGAUGE_{name.upper()}": text}), name) == value
    assert getattr(Config.load({}, **{name: value}), name) == value


def test_the_files_of_tls_come_from_their_variables(pem_file):
    variables = ("AGENTGAUGE_TLS_CERTIFICATE_FILE", "AGENTGAUGE_TLS_KEY_FILE", "AGENTGAUGE_TLS_CLIENT_CA_FILE")
    config = Config.load(dict.fromkeys(variables, pem_file))

    assert (config.tls_certificate_file, config.tls_key_file, config.tls_client_ca_file) == (pem_file, pem_file, pem_file)


def test_the_file_of_prices_comes_from_its_variable(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text("{}")

    assert Config.load({"AGENTGAUGE_PRICES_FILE": str(path)}).prices_file == str(path)
    assert Config.load({}, prices_file=path).prices_file == path


def test_the_word_none_instruments_no_framework_and_a_list_of_names_will_do():
    assert Config.load({"AGENTGAUGE_INSTRUMENTORS": " None "}).instrumentors == ()
    assert Config.load({}, instrumentors=["dspy"]).instrumentors == ("dspy",)


def test_an_argument_wins_over_the_environment_and_none_means_not_given():
    environ = {"AGENTGAUGE_PORT": "1", "AGENTGAUGE_HOST": "127.0.0.3"}

    config = Config.load(environ, port=2, host=None)

    assert (config.port, config.host) == (2, "127.0.0.3")


def test_an_empty_variable_means_not_set():
    assert Config.load({"AGENTGAUGE_PORT": "", "AGENTGAUGE_COLLECTORS": "", "OTEL_SERVICE_NAME": ""}) == Config()


def test_variables_of_others_are_not_ours():
    assert Config.load({"AGENT_PORT": "x", "PORT": "y", "OTEL_TRACES_EXPORTER": "none"}) == Config()


def test_a_list_of_collectors_will_do():
    assert Config.load({}, collectors=["host"]).collectors == ("host",)


# --- OpenTelemetry's variables --------------------------------------------------------------------------------------------


def test_opentelemetrys_variables_are_read_where_ours_are_not_set():
    environ = {
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.4",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "4444",
        "OTEL_SERVICE_NAME": "theirs",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test, team = red ,",
    }

    config = Config.load(environ)
    assert (config.host, config.port, config.service_name) == ("127.0.0.4", 4444, "theirs")
    assert config.resource_attributes == {"deployment.environment": "test", "team": "red"}

    ours = Config.load({**environ, "AGENTGAUGE_HOST": "127.0.0.5", "AGENTGAUGE_PORT": "5", "AGENTGAUGE_SERVICE_NAME": "ours"})
    assert (ours.host, ours.port, ours.service_name) == ("127.0.0.5", 5, "ours")


def test_the_service_name_may_come_from_the_resource_attributes():
    attributes = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=from-attributes"}

    assert Config.load(attributes).service_name == "from-attributes"
    assert Config.load({**attributes, "OTEL_SERVICE_NAME": "from-its-own"}).service_name == "from-its-own"


CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.mark.parametrize("mode", ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"])
def test_opentelemetrys_variable_says_whether_content_is_captured(mode, caplog):
    assert Config.load({CAPTURE: f" {mode.lower()} "}).content_capture == mode
    assert Config.load({CAPTURE: mode, "AGENTGAUGE_CONTENT_CAPTURE": "no_content"}).content_capture == "NO_CONTENT"
    assert caplog.text == ""


@pytest.mark.parametrize("text", ["true", "1", "SPAN"])
def test_a_value_of_opentelemetrys_variable_that_is_none_of_its_words_warns_and_captures_nothing(text, caplog):
    assert Config.load({CAPTURE: text}).content_capture == "NO_CONTENT"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{CAPTURE}='{text}' is none of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT: no content is kept" in caplog.text


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("is_server_enabled", 1, r"is_server_enabled=1: give True or False"),
        ("is_server_enabled", "no", r"is_server_enabled='no': give True or False"),
        ("host", 5, r"host=5: give an address such as '127\.0\.0\.1'"),
        ("host", "", r"host='' can be reached from other machines: set bearer_token"),
        ("port", -1, r"port=-1: give a whole number from 0 to 65535, such as 9464"),
        ("port", 65536, r"port=65536: give a whole number from 0 to 65535"),
        ("port", "9464", r"port='9464': give a whole number"),
        ("port", True, r"port=True: give a whole number"),
        ("port", 80.0, r"port=80\.0: give a whole number"),
        ("bearer_token", "", r"bearer_token: give a non-empty ASCII string without white space, such as the output of `openssl"),
        ("bearer_token", "s3cret\n", r"bearer_token: give a non-empty ASCII string without white space"),
        ("bearer_token", "two words", r"bearer_token: give a non-empty ASCII string without white space"),
        ("bearer_token", "  ", r"bearer_token: give a non-empty ASCII string"),
        ("bearer_token", "naïve", r"bearer_token: give a non-empty ASCII string"),
        ("bearer_token", 5, r"bearer_token: give a non-empty ASCII string"),
        ("collectors", "host", r"collectors='host': give a tuple of names, such as \('host',\)"),
        ("collectors", ("xpu",), r"collectors: 'xpu' is unknown; give any of host, process, container, gpu, unique-memory$"),
        ("collector_timeout_seconds", 0, r"collector_timeout_seconds=0: give a number of seconds above 0 and up to 3600"),
        ("collector_timeout_seconds", "1", r"collector_timeout_seconds='1': give a number of seconds above 0 and up to 3600"),
        ("drain_interval_seconds", -1, r"drain_interval_seconds=-1: give a number of seconds above 0 and up to 3600"),
        ("drain_interval_seconds", float("inf"), r"drain_interval_seconds=inf: give a number of seconds above 0 and up to 3600"),
        ("drain_interval_seconds", float("nan"), r"drain_interval_seconds=nan: give a number of seconds above 0 and up to 3600"),
        ("drain_interval_seconds", True, r"drain_interval_seconds=True: give a number of seconds above 0 and up to 3600"),
        ("service_name", 5, r"service_name=5: give a name such as"),
        ("resource_attributes", "team=red", r"resource_attributes='team=red': give a dict such as"),
        ("instrumentors", "dspy", r"instrumentors='dspy': give a tuple of names, such as \('dspy',\)"),
        ("content_capture", "true", r"content_capture='true': give one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT"),
        ("content_capture", True, r"content_capture=True: give one of NO_CONTENT"),
        ("content_redactor", "redact", r"content_redactor='redact': give a function of a text and its name"),
        ("content_redactor", redact_later, r"content_redactor is a coroutine function, which nobody awaits: give a plain one"),
        ("content_limit_bytes", 0, r"content_limit_bytes=0: give a whole number from 1 to 1048576, such as 16384"),
        ("content_limit_bytes", 2**21, r"content_limit_bytes=2097152: give a whole number from 1 to 1048576"),
        ("prices", "gpt-4o", r"prices='gpt-4o': give a dict such as .*Price\(.*or the path of a JSON file as prices_file"),
        ("prices", {"gpt-4o": 2.5}, r"prices: 'gpt-4o': 2\.5 is no model with its Price; give a dict such as"),
        ("prices", {5: PRICE}, r"prices: 5: Price\(.* is no model with its Price"),
        ("prices", {" ": PRICE}, r"prices: ' ': Price\(.* is no model with its Price"),
        ("prices_file", "missing.json", r"prices_file='missing\.json': there is no such file; give the path of a JSON file"),
        ("prices_file", 5, r"prices_file=5: there is no such file"),
        ("series_limit", 0, r"series_limit=0: give a whole number from 1 to 1000000, such as 1000"),
        ("series_limit", 10_000_000, r"series_limit=10000000: give a whole number from 1 to 1000000"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_the_setting_and_the_fix(name, value, message):
    with pytest.raises(ConfigurationError, match=rf"^{message}"):
        Config.load({}, **{name: value})


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "AGENTGAUGE_IS_SERVER_ENABLED",
            "maybe",
            r"AGENTGAUGE_IS_SERVER_ENABLED='maybe' is neither true nor false: set it to 'true' or",
        ),
        ("AGENTGAUGE_DISABLED", "maybe", r"AGENTGAUGE_DISABLED='maybe' is neither true nor false"),
        ("AGENTGAUGE_PORT", "http", r"AGENTGAUGE_PORT='http' is not a whole number: set it to one, or unset it"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "1.5", r"OTEL_EXPORTER_PROMETHEUS_PORT='1\.5' is not a whole number"),
        ("AGENTGAUGE_SERIES_LIMIT", "many", r"AGENTGAUGE_SERIES_LIMIT='many' is not a whole number"),
        (
            "AGENTGAUGE_DRAIN_INTERVAL_SECONDS",
            "1s",
            r"AGENTGAUGE_DRAIN_INTERVAL_SECONDS='1s' is not a number of seconds: set it to one",
        ),
        (
            "AGENTGAUGE_CONTENT_CAPTURE",
            "true",
            r"content_capture='TRUE': give one of NO_CONTENT, .* \(AGENTGAUGE_CONTENT_CAPTURE says so\)",
        ),
        ("AGENTGAUGE_CONTENT_LIMIT_BYTES", "much", r"AGENTGAUGE_CONTENT_LIMIT_BYTES='much' is not a whole number"),
        ("AGENTGAUGE_PRICES", "{}", r"AGENTGAUGE_PRICES is set, but no variable holds prices: .*AGENTGAUGE_PRICES_FILE"),
        ("AGENTGAUGE_CONTENT_REDACTOR", "len", r"AGENTGAUGE_CONTENT_REDACTOR is set, but no variable holds a function"),
        ("AGENTGAUGE_PRICES_FILE", "/missing", r"prices_file='/missing': there is no .*\(AGENTGAUGE_PRICES_FILE says so\)"),
        ("AGENTGAUGE_COLLECTORS", "host,xpu", r"collectors: 'xpu' is unknown; give any of host, process"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "team",
            r"OTEL_RESOURCE_ATTRIBUTES: 'team' is not key=value: write 'key1=value1,key2=value2'",
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "=red", r"OTEL_RESOURCE_ATTRIBUTES: '=red' is not key=value"),
        ("AGENTGAUGE_PROT", "1", r"AGENTGAUGE_PROT is set, but there is no such setting; did you mean 'AGENTGAUGE_PORT'\?"),
        (
            "AGENTGAUGE_XYZZY",
            "1",
            r"AGENTGAUGE_XYZZY is set, but there is no such setting; the settings are AGENTGAUGE_ANALYSIS_",
        ),
    ],
)
def test_a_variable_that_cannot_work_is_refused_by_its_name(variable, text, message):
    with pytest.raises(ConfigurationError, match=rf"^{message}"):
        Config.load({variable: text})


def test_an_unknown_argument_is_refused_with_a_suggestion():
    with pytest.raises(ConfigurationError, match=r"^start\(\) has no setting 'prot'; did you mean 'port'\?"):
        Config.load({}, prot=1)
    with pytest.raises(
        ConfigurationError,
        match=r"^start\(\) has no setting 'xyzzy'; the settings are analysis_tasks_per_replica, bearer_token, collector",
    ):
        Config.load({}, xyzzy=1)


def test_a_bad_value_can_be_caught_as_what_it_is():
    with pytest.raises(ValueError, match="port"):
        Config(port=-1)
    assert issubclass(ConfigurationError, AgentgaugeError)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1


# --- access ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "8.8.8.8"])
def test_an_address_that_others_reach_needs_a_token_or_tls(host, pem_file):
    with pytest.raises(
        ConfigurationError, match=r"can be reached from other machines: set bearer_token \(AGENTGAUGE_BEARER_TOKEN\)"
    ):
        Config(host=host)

    assert Config(host=host, bearer_token="s3cret").host == host
    assert Config(host=host, tls_certificate_file=pem_file, tls_key_file=pem_file).host == host
    assert Config(host=host, is_server_enabled=False).host == host


def test_an_address_from_opentelemetrys_variable_is_checked_too():
    with pytest.raises(ConfigurationError, match=r"host='0\.0\.0\.0' can be reached from other machines"):
        Config.load({"OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0"})


def test_a_name_counts_as_loopback_when_all_its_addresses_are(monkeypatch):
    def resolve_to(*addresses):
        entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: entries)

    resolve_to("127.0.0.1", "127.0.0.2")
    assert Config(host="here.test").host == "here.test"
    resolve_to("127.0.0.1", "192.0.2.1")
    with pytest.raises(ConfigurationError, match=r"host='here\.test' can be reached from other machines"):
        Config(host="here.test")


def test_a_name_that_does_not_resolve_is_refused(monkeypatch):
    def fail(host, port):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConfigurationError, match=r"host='nowhere\.invalid' cannot be resolved: give an address such as"):
        Config(host="nowhere.invalid")


def test_the_files_of_tls_belong_together_and_must_exist(pem_file, tmp_path):
    for arguments in ({"tls_certificate_file": pem_file}, {"tls_key_file": pem_file}):
        with pytest.raises(ConfigurationError, match="tls_certificate_file and tls_key_file belong together: give both"):
            Config(**arguments)
    with pytest.raises(ConfigurationError, match="tls_client_ca_file works with tls_certificate_file and tls_key_file: give all"):
        Config(tls_client_ca_file=pem_file)
    with pytest.raises(ConfigurationError, match=r"tls_client_ca_file='a+': there is no such file"):
        Config(tls_certificate_file=pem_file, tls_key_file=pem_file, tls_client_ca_file="a" * 5000)
    with pytest.raises(ConfigurationError, match=r"tls_certificate_file=5: there is no such file"):
        Config(tls_certificate_file=5, tls_key_file=5)
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigurationError, match=r"tls_key_file='.*missing\.pem': there is no such file; give the path of a"):
        Config(tls_certificate_file=pem_file, tls_key_file=missing)


def test_the_token_shows_neither_in_the_text_nor_in_an_error():
    token = "s3cret-\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert "s3cret" not in repr(Config(bearer_token="s3cret"))
    assert "s3cret" not in str(Config(bearer_token="s3cret"))
    for bad in ({"bearer_token": token}, {"bearer_token": "s3cret", "port": -1}):
        with pytest.raises(ConfigurationError) as refused:
            Config(**bad)
        assert "s3cret" not in str(refused.value)


# --- switches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_on"), [("true", True), (" TRUE ", True), ("1", True), ("", False), ("false", False), ("maybe", False)]
)
def test_the_switch_that_turns_everything_off(monkeypatch, text, is_on):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", text)
    assert is_disabled() is is_on
    if text != "maybe":
        assert Config.load(os.environ) == Config.load({})


@pytest.mark.parametrize(("text", "is_on"), [("true", True), ("True", True), ("1", False), ("yes", False), ("", False)])
def test_opentelemetrys_switch_knows_only_true(monkeypatch, text, is_on):
    monkeypatch.setenv("OTEL_SDK_DISABLED", text)
    assert is_tracing_disabled() is is_on


# --- what others set ------------------------------------------------------------------------------------------------------


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_no_setting():
    links = {
        "AGENTGAUGE_PORT": "tcp://10.0.0.7:9464",
        "AGENTGAUGE_SERVICE_HOST": "10.0.0.7",
        "AGENTGAUGE_SERVICE_PORT": "9464",
        "AGENTGAUGE_SERVICE_PORT_METRICS": "9464",
        "AGENTGAUGE_PORT_9464_TCP": "tcp://10.0.0.7:9464",
        "AGENTGAUGE_PORT_9464_TCP_ADDR": "10.0.0.7",
        "AGENTGAUGE_METRICS_SERVICE_HOST": "10.0.0.8",
        "AGENTGAUGE_METRICS_PORT": "tcp://10.0.0.8:9464",
    }

    assert Config.load(links) == Config()
    assert Config.load({**links, "AGENTGAUGE_SERVICE_NAME": "swarm"}).service_name == "swarm"


def test_a_variable_that_an_argument_overrides_is_not_even_read():
    assert Config.load({"OTEL_EXPORTER_PROMETHEUS_PORT": "abc"}, port=5).port == 5


@pytest.mark.parametrize(
    ("variable", "text", "setting"),
    [("AGENTGAUGE_PORT", "99999", "port"), ("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0", "host")],
)
def test_a_refused_value_from_the_environment_names_its_variable_too(variable, text, setting):
    with pytest.raises(ConfigurationError, match=rf"^{setting}=.* \({variable} says so\)$"):
        Config.load({variable: text})


def test_an_attribute_that_is_no_text_is_refused():
    with pytest.raises(ConfigurationError, match="resource_attributes: 'team': 5 is not text"):
        Config(resource_attributes={"team": 5})


def test_attributes_may_be_any_mapping():
    assert Config(resource_attributes=MappingProxyType({"team": "red"})).resource_attributes["team"] == "red"


def test_the_service_s_name_among_given_attributes_wins_over_a_variable():
    config = Config.load({"OTEL_SERVICE_NAME": "env"}, resource_attributes={"service.name": "code"})
    assert config.service_name == "code"
