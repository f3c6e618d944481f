"""What doctor says of the environment that it runs in."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest


def test_an_environment_as_it_should_be_has_no_failure(doctor):
    examined = doctor()
    environment = [each for each in examined.document["findings"] if each["section"] == "environment"]
    assert {each["check"]: each["status"] for each in environment} == {
        "core-versions": "ok",
        "frameworks": "ok",
        "settings": "ok",
        "double-instrumentation": "ok",
        "provider-conflicts": "ok",
        "prometheus-exporter": "ok",
        "multiprocess-directory": "ok",
        "workers": "ok",
        "sampling": "ok",
        "price-table": "ok",
    }
    assert examined.code == 0


def test_the_versions_that_are_installed_and_needed_are_quoted(doctor):
    examined = doctor()
    assert "prometheus-client " in examined["core-versions"]["evidence"]
    assert "(>=0.22)" in examined["core-versions"]["evidence"]
    assert "dspy 3." in examined["frameworks"]["evidence"]


def test_a_copy_of_the_source_that_is_not_installed_cannot_tell_which_versions_it_needs(doctor, monkeypatch):
    import agentgauge.doctor.environment as module

    def requires(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "requires", requires)
    examined = doctor()
    assert (examined.code, examined.status("core-versions")) == (0, "unknown")


def test_a_core_dependency_that_is_too_old_fails_with_the_command_that_mends_it(doctor, install):
    install("wrapt", "1.16.0")
    examined = doctor()
    assert examined.code == 1
    assert examined["core-versions"]["status"] == "fail"
    assert "wrapt 1.16.0 (>=1.17)" in examined["core-versions"]["evidence"]
    assert examined["core-versions"]["fix"] == "pip install -U 'wrapt>=1.17'"


def test_a_framework_that_is_too_old_fails_with_the_extra_that_mends_it(doctor, install):
    install("dspy", "2.6.1")
    examined = doctor()
    assert examined.code == 1
    assert examined["frameworks"]["status"] == "fail"
    assert "pip install -U 'agentgauge[dspy]'" in examined["frameworks"]["fix"]


@pytest.mark.parametrize(
    "name",
    [
        "opentelemetry-instrumentation-genai-openai",
        "opentelemetry_instrumentation_google_genai",
        "openinference-instrumentation-dspy",
        "traceloop-sdk",
        "opentelemetry-instrumentation-openai",
        "openlit",
        "logfire",
        "langfuse",
        "agentops",
    ],
)
def test_other_instrumentation_of_the_same_calls_is_warned_of(doctor, install, name):
    install(name, "4.5.6")
    examined = doctor()
    assert examined.code == 0
    assert examined["double-instrumentation"]["status"] == "warn"
    assert examined["double-instrumentation"]["evidence"] == f"{name.replace('_', '-')} 4.5.6"


@pytest.mark.parametrize("name", ["opentelemetry-instrumentation-flask", "logfire-api", "my-openlit-tools"])
def test_instrumentation_of_other_things_is_not_warned_of(doctor, install, name):
    install(name, "1.0")
    assert doctor().status("double-instrumentation") == "ok"


def test_two_packages_that_set_the_tracer_provider_are_a_conflict_and_one_is_none(doctor, install):
    install("logfire", "4.0")
    assert doctor().status("provider-conflicts") == "ok"
    install("openlit", "1.30")
    examined = doctor()
    assert examined["provider-conflicts"]["status"] == "warn"
    assert examined["provider-conflicts"]["evidence"] == "logfire 4.0, openlit 1.30"


def test_two_configurators_are_a_conflict(doctor, install):
    install("one", "1.0", "[opentelemetry_configurator]\none = one:Configurator\n")
    assert doctor().status("provider-conflicts") == "ok"
    install("two", "1.0", "[opentelemetry_configurator]\ntwo = two:Configurator\n")
    examined = doctor()
    assert examined["provider-conflicts"]["status"] == "warn"
    assert examined["provider-conflicts"]["evidence"] == "opentelemetry_configurator: one, two"


def test_the_other_exporter_is_warned_of_and_fails_where_it_is_switched_on(doctor, install, monkeypatch):
    install("opentelemetry-exporter-prometheus", "0.66b2")
    assert doctor().status("prometheus-exporter") == "warn"
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp,prometheus")
    examined = doctor()
    assert examined["prometheus-exporter"]["status"] == "fail"
    assert "OTEL_METRICS_EXPORTER=otlp,prometheus" in examined["prometheus-exporter"]["evidence"]
    assert examined.code == 1


def test_the_multi_process_mode_of_prometheus_client_is_warned_of(doctor, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/somewhere")
    examined = doctor()
    assert examined["multiprocess-directory"]["status"] == "warn"
    assert examined["multiprocess-directory"]["evidence"] == "PROMETHEUS_MULTIPROC_DIR=/somewhere"


@pytest.mark.parametrize(
    ("name", "several", "one"),
    [
        ("WEB_CONCURRENCY", "4", "1"),
        ("UVICORN_WORKERS", "2", "many"),
        ("GUNICORN_CMD_ARGS", "--bind=:80 --workers=3", "--workers 1"),
        ("GUNICORN_CMD_ARGS", "-w 3", "--preload"),
    ],
)
def test_several_workers_are_warned_of(doctor, monkeypatch, name, several, one):
    monkeypatch.setenv(name, several)
    examined = doctor()
    assert examined["workers"]["status"] == "warn"
    assert examined["workers"]["evidence"] == f"{name}={several}"
    monkeypatch.setenv(name, one)
    assert doctor().status("workers") == "ok"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("AGENTGAUGE_PORT", "many", "AGENTGAUGE_PORT='many' is not a whole number"),
        ("AGENTGAUGE_PROT", "9464", "did you mean 'AGENTGAUGE_PORT'"),
        ("AGENTGAUGE_HOST", "0.0.0.0", "can be reached from other machines"),
        ("AGENTGAUGE_INSTRUMENTORS", "dspi", "'dspi' is unknown"),
    ],
)
def test_settings_that_start_refuses_fail_with_its_words(doctor, monkeypatch, name, text, said):
    monkeypatch.setenv(name, text)
    examined = doctor()
    assert examined.code == 1
    assert examined["settings"]["status"] == "fail"
    assert said in examined["settings"]["fix"]
    assert name in examined["settings"]["evidence"]


def test_a_price_file_that_cannot_be_read_fails_the_settings(doctor, monkeypatch, tmp_path):
    (tmp_path / "prices.json").write_text("{")
    monkeypatch.setenv("AGENTGAUGE_PRICES_FILE", str(tmp_path / "prices.json"))
    assert "cannot be read" in doctor()["settings"]["fix"]
    (tmp_path / "prices.json").write_text('{"m-1": {"input_usd_per_million": 1, "output_usd_per_million": 2}}')
    assert doctor().status("settings") == "ok"


def test_a_framework_that_is_asked_for_and_too_old_fails_the_settings(doctor, monkeypatch, install):
    install("dspy", "2.6.1")
    monkeypatch.setenv("AGENTGAUGE_INSTRUMENTORS", "dspy")
    assert "dspy 2.6.1 is too old" in doctor()["settings"]["fix"]


def test_settings_are_named_without_their_values(doctor, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_BEARER_TOKEN", "s3cr3t-t0ken")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cr3t-key")
    examined = doctor()
    assert examined["settings"]["evidence"] == "AGENTGAUGE_BEARER_TOKEN, OTEL_EXPORTER_OTLP_HEADERS"
    assert examined["settings"]["status"] == "ok"
    assert "s3cr3t" not in examined.out + doctor(is_text=True).out


def test_an_agentgauge_that_is_switched_off_is_warned_of(doctor, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    examined = doctor()
    assert examined["settings"]["status"] == "warn"
    assert examined["settings"]["evidence"] == "AGENTGAUGE_DISABLED=true"


@pytest.mark.parametrize(
    ("variables", "title"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "Of the traces that begin here, none are sampled"),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"},
            "Of the traces that begin here, 10% are sampled",
        ),
        ({"OTEL_SDK_DISABLED": "true"}, "Spans are switched off: no traces, no exemplars"),
    ],
)
def test_a_program_that_does_not_sample_all_is_told_what_its_metrics_miss(doctor, monkeypatch, variables, title):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    finding = doctor()["sampling"]
    assert (finding["status"], finding["title"]) == ("warn", title)
    assert "counted only where their spans are sampled" in finding["fix"]


@pytest.mark.parametrize("ratio", ["1.0", "nonsense", ""])
def test_a_sampler_that_keeps_all_is_fine(doctor, monkeypatch, ratio):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    assert doctor().status("sampling") == "ok"


def test_what_is_missing_altogether_is_said(doctor, monkeypatch):
    """Where nothing but agentgauge's own metadata is on the path, neither prices nor frameworks nor dependencies are there."""
    from importlib import metadata

    import agentgauge.doctor.environment as module

    own = [each for each in metadata.distributions() if each.metadata["Name"] == "agentgauge"]
    monkeypatch.setattr(module, "distributions", lambda: own)
    examined = doctor()
    assert examined["core-versions"]["status"] == "fail"
    assert "psutil missing (>=6)" in examined["core-versions"]["evidence"]
    assert examined["price-table"]["status"] == "warn"
    assert examined["price-table"]["fix"] == "pip install 'agentgauge[prices]'"
    assert examined["frameworks"]["title"] == "No framework that is instrumented by itself is installed"
