"""The settings of one running agentgauge, and the only place that reads the environment."""

from __future__ import annotations

import inspect
import ipaddress
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import unquote

from agentgauge.errors import ConfigurationError
from agentgauge.targets import Price

__all__ = ["Config", "is_disabled", "is_tracing_disabled"]

COLLECTOR_NAMES = ("host", "process", "container", "gpu", "unique-memory")

_PREFIX = "AGENTGAUGE_"
_ATTRIBUTES = "{'deployment.environment.name': 'test'}"
_PRICES = "{'gpt-4o': Price(input_usd_per_million=2.5, output_usd_per_million=10)}"
_ARGUMENTS_ALONE = {
    "prices": "no variable holds prices: give start(prices=...), or name a JSON file in AGENTGAUGE_PRICES_FILE",
    "content_redactor": "no variable holds a function: give start(content_redactor=...)",
}
_STANDARD_VARIABLES = {
    "host": "OTEL_EXPORTER_PROMETHEUS_HOST",
    "port": "OTEL_EXPORTER_PROMETHEUS_PORT",
    "content_capture": "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    "resource_attributes": "OTEL_RESOURCE_ATTRIBUTES",
    "service_name": "OTEL_SERVICE_NAME",
}
CONTENT_CAPTURES = ("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT")
_MOST_SECONDS = 3600.0
_MOST_DAYS = 36_500
_SERVICE_LINK = re.compile(r"AGENTGAUGE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of ``agentgauge.start()``: an argument wins over ``AGENTGAUGE_<NAME>``, that over the default.

    Attributes:
        is_server_enabled: Serve ``/metrics``, ``/livez``, ``/readyz`` and ``/healthz`` (``AGENTGAUGE_IS_SERVER_ENABLED``).
        host: The address to listen on. Anything but loopback needs ``bearer_token`` or TLS.
            ``OTEL_EXPORTER_PROMETHEUS_HOST`` is read where ``AGENTGAUGE_HOST`` is not set.
        port: The TCP port to listen on; 0 takes any free one. ``OTEL_EXPORTER_PROMETHEUS_PORT`` is read where
            ``AGENTGAUGE_PORT`` is not set.
        bearer_token: What a scrape must send as ``Authorization: Bearer ...``.
        tls_certificate_file: A PEM certificate chain; with ``tls_key_file`` the server speaks HTTPS only.
        tls_key_file: The PEM key of the certificate.
        tls_client_ca_file: The PEM certificates of authorities; a client whose certificate none of them signed is refused.
        heartbeat_file: A file that says that this process lives, for ``agentgauge probe``; its folder exists. None for none.
        heartbeat_interval_seconds: How often it is written, in seconds.
        history_file: Where the local history is written; ``{pid}`` in it stands for the process id. None for none.
        history_interval_seconds: From one sweep of all series to the next, in seconds.
        history_retention_days: How long hourly values are kept, in days; finer ones go sooner.
        history_max_bytes: What the history may take on disk, in bytes.
        is_analysis_enabled: Judge the history each minute and plan capacity, as series; needs the extra ``analysis``.
        analysis_tasks_per_replica: How many tasks a replica of this program does at once, for its capacity.
        collectors: Which collectors run: any of ``host``, ``process``, ``container``, ``gpu`` (an error where nvidia-ml-py is
            missing) and ``unique-memory``, which is dear. None for the first three and, where there is one, the GPU's; an empty
            tuple for none. In the environment, separated by commas, or ``none``.
        collector_timeout_seconds: How long a scrape waits for the collectors, in seconds.
        drain_interval_seconds: How often finished calls are folded into series when nothing scrapes, in seconds.
        series_limit: How many pairs of agent and task (and as many tools, and workflows) get series of their own;
            later ones share the label value ``other``.
        instrumentors: Which frameworks are instrumented, such as ``("dspy",)``: one that is missing or too old is an error then.
            None for every one that the program imports, which is quiet; an empty tuple, ``none`` in the environment, for none.
        content_capture: Whether spans of instrumented frameworks bear prompts, answers and arguments of tools: ``SPAN_ONLY`` or
            ``SPAN_AND_EVENT``; events are not written. ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is read where
            ``AGENTGAUGE_CONTENT_CAPTURE`` is not set; a value there that is none of these warns and captures nothing.
        content_redactor: Takes the text of such an attribute and its name, and returns what may be kept, None for nothing.
        content_limit_bytes: How much of such an attribute is kept, in bytes of UTF-8.
        prices: What models cost, whatever frameworks and genai-prices say: ``{"gpt-4o": Price(...)}``, or ``"openai/gpt-4o"`` for
            that of one provider.
        prices_file: A JSON file of the same, ``{"gpt-4o": {"input_usd_per_million": 2.5, "output_usd_per_million": 10}}``; what
            ``prices`` says of a model wins.
        service_name: The ``service_name`` of ``target_info``; ``OTEL_SERVICE_NAME`` is read where
            ``AGENTGAUGE_SERVICE_NAME`` is not set.
        resource_attributes: Further labels of ``target_info``, from ``OTEL_RESOURCE_ATTRIBUTES``.

    Raises:
        ConfigurationError: A value cannot work; the message names the setting and the fix.
    """

    is_server_enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 9464
    bearer_token: str | None = field(default=None, repr=False)
    tls_certificate_file: str | None = None
    tls_key_file: str | None = None
    tls_client_ca_file: str | None = None
    heartbeat_file: str | None = None
    heartbeat_interval_seconds: float = 5.0
    history_file: str | None = None
    history_interval_seconds: float = 15.0
    history_retention_days: float = 400.0
    history_max_bytes: int = 536_870_912
    is_analysis_enabled: bool = False
    analysis_tasks_per_replica: int = 10
    collectors: tuple[str, ...] | None = None
    collector_timeout_seconds: float = 0.5
    drain_interval_seconds: float = 1.0
    series_limit: int = 1000
    instrumentors: tuple[str, ...] | None = None
    content_capture: str = "NO_CONTENT"
    content_redactor: Callable[[str, str], str | None] | None = None
    content_limit_bytes: int = 16_384
    prices: Mapping[str, Price] = field(default_factory=dict)
    prices_file: str | None = None
    service_name: str | None = None
    resource_attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_type("is_server_enabled", self.is_server_enabled, bool, "True or False")
        _require_type("host", self.host, str, "an address such as '127.0.0.1'")
        _require_integer("port", self.port, 0, 65535, "9464, or 0 for any free port")
        _require_seconds("collector_timeout_seconds", self.collector_timeout_seconds)
        _require_seconds("drain_interval_seconds", self.drain_interval_seconds)
        _require_seconds("heartbeat_interval_seconds", self.heartbeat_interval_seconds)
        self._check_history()
        _require_integer("series_limit", self.series_limit, 1, 1_000_000, "1000")
        if self.service_name is not None:
            _require_type("service_name", self.service_name, str, "a name such as 'research-swarm'")
        _require_type("resource_attributes", self.resource_attributes, Mapping, f"a dict such as {_ATTRIBUTES}")
        for name, value in self.resource_attributes.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise ConfigurationError(
                    f"resource_attributes: {name!r}: {value!r} is not text; give a dict such as {_ATTRIBUTES}"
                )
        if self.collectors is not None:
            _require_type("collectors", self.collectors, tuple, "a tuple of names, such as ('host',)")
        for name in self.collectors or ():
            if name not in COLLECTOR_NAMES:
                raise ConfigurationError(f"collectors: {name!r} is unknown; give any of {', '.join(COLLECTOR_NAMES)}")
        self._check_instrumentation()
        self._check_prices()
        self._check_access()

    def _check_history(self) -> None:
        if self.history_file is not None and (not isinstance(self.history_file, str | os.PathLike) or not str(self.history_file)):
            raise ConfigurationError(f"history_file={self.history_file!r}: give a path such as 'history.db'")
        _require_seconds("history_interval_seconds", self.history_interval_seconds)
        days = self.history_retention_days
        if not isinstance(days, int | float) or isinstance(days, bool) or not 0 < days <= _MOST_DAYS:
            raise ConfigurationError(f"history_retention_days={days!r}: give a number of days above 0 and up to {_MOST_DAYS}")
        _require_integer("history_max_bytes", self.history_max_bytes, 1_048_576, 2**43, "536870912")
        _require_type("is_analysis_enabled", self.is_analysis_enabled, bool, "True or False")
        _require_integer("analysis_tasks_per_replica", self.analysis_tasks_per_replica, 1, 1_000_000, "10")
        if self.is_analysis_enabled and self.history_file is None:
            raise ConfigurationError(
                "is_analysis_enabled=True needs a history to analyse: give history_file, such as 'history.db'"
            )

    def _check_instrumentation(self) -> None:
        if self.instrumentors is not None:
            _require_type("instrumentors", self.instrumentors, tuple, "a tuple of names, such as ('dspy',)")
        if self.content_capture not in CONTENT_CAPTURES:
            raise ConfigurationError(f"content_capture={self.content_capture!r}: give one of {', '.join(CONTENT_CAPTURES)}")
        if self.content_redactor is not None and not callable(self.content_redactor):
            raise ConfigurationError(f"content_redactor={self.content_redactor!r}: give a function of a text and its name")
        if inspect.iscoroutinefunction(self.content_redactor):
            raise ConfigurationError("content_redactor is a coroutine function, which nobody awaits: give a plain one")
        _require_integer("content_limit_bytes", self.content_limit_bytes, 1, 1_048_576, "16384")

    def _check_prices(self) -> None:
        _require_type("prices", self.prices, Mapping, f"a dict such as {_PRICES}, or the path of a JSON file as prices_file")
        for model, price in self.prices.items():
            if not isinstance(model, str) or not model.strip() or not isinstance(price, Price):
                raise ConfigurationError(
                    f"prices: {model!r}: {price!r} is no model with its Price; give a dict such as {_PRICES}"
                )
        path = self.prices_file
        if path is not None and not (isinstance(path, str | os.PathLike) and os.path.isfile(path)):  # noqa: PTH113 - pathlib is slow to load
            raise ConfigurationError(f"prices_file={path!r}: there is no such file; give the path of a JSON file")

    def _check_access(self) -> None:
        if self.bearer_token is not None and not _is_token(self.bearer_token):
            raise ConfigurationError(
                "bearer_token: give a non-empty ASCII string without white space, such as the output of `openssl rand -hex 32`"
            )
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ConfigurationError("tls_certificate_file and tls_key_file belong together: give both or neither")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise ConfigurationError("tls_client_ca_file works with tls_certificate_file and tls_key_file: give all three")
        for name in ("tls_certificate_file", "tls_key_file", "tls_client_ca_file"):
            _require_pem_file(name, getattr(self, name))
        is_protected = self.bearer_token is not None or self.tls_certificate_file is not None
        if self.is_server_enabled and not is_protected and not _is_loopback(self.host):
            raise ConfigurationError(
                f"host={self.host!r} can be reached from other machines: set bearer_token (AGENTGAUGE_BEARER_TOKEN), or "
                "tls_certificate_file and tls_key_file, or keep host='127.0.0.1'"
            )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Config:
        """Build the settings from arguments over the environment over the defaults.

        Args:
            environ: The environment to read; the process's own unless given.
            arguments: Any attribute of ``Config`` by its name; ``None`` means not given.

        Raises:
            ConfigurationError: An argument, or an ``AGENTGAUGE_*`` variable, is unknown or has a value that cannot work.
        """
        environ = os.environ if environ is None else environ
        known = {setting.name for setting in fields(cls)}
        for name in arguments:
            if name not in known:
                raise ConfigurationError(f"start() has no setting {name!r}{_suggestion(name, known)}")
        values = {name: value for name, value in arguments.items() if value is not None}
        if isinstance(values.get("resource_attributes"), Mapping) and values["resource_attributes"].get("service.name"):
            values.setdefault("service_name", values["resource_attributes"]["service.name"])
        variables = {name: found for name, found in _find_variables(environ, known).items() if name not in values}
        values |= {name: _PARSERS.get(name, _as_text)(variable, text) for name, (variable, text) in variables.items()}
        for name in ("collectors", "instrumentors"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        if isinstance(values.get("resource_attributes"), Mapping):
            values.setdefault("service_name", values["resource_attributes"].get("service.name"))
        try:
            return cls(**values)
        except ConfigurationError as error:
            sources = [variable for name, (variable, _) in variables.items() if str(error).startswith(name)]
            if not sources:
                raise
            raise ConfigurationError(f"{error} ({sources[0]} says so)") from None


def is_disabled() -> bool:
    """Tell whether ``AGENTGAUGE_DISABLED`` turns everything into a pass-through."""
    return os.environ.get("AGENTGAUGE_DISABLED", "").strip().lower() in _TRUE


def is_tracing_disabled() -> bool:
    """Tell whether ``OTEL_SDK_DISABLED`` switches spans off (OpenTelemetry specification, SDK environment variables)."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _find_variables(environ: Mapping[str, str], known: set[str]) -> dict[str, tuple[str, str]]:
    """Find, for each setting that the environment makes, the variable that counts and its text."""
    found = {name: (variable, environ[variable]) for name, variable in _STANDARD_VARIABLES.items() if environ.get(variable)}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or _is_service_link(variable, text):
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name == "disabled":
            _as_boolean(variable, text)
        elif name not in known:
            variables = {_PREFIX + setting.upper() for setting in known} | {_PREFIX + "DISABLED"}
            raise ConfigurationError(f"{variable} is set, but there is no such setting{_suggestion(variable, variables)}")
        elif text and name in _ARGUMENTS_ALONE:
            raise ConfigurationError(f"{variable} is set, but {_ARGUMENTS_ALONE[name]}")
        elif text:
            found[name] = (variable, text)
    return found


def _as_text(_variable: str, text: str) -> str:
    return text


def _as_boolean(variable: str, text: str) -> bool:
    value = text.strip().lower()
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise ConfigurationError(f"{variable}={text!r} is neither true nor false: set it to 'true' or 'false'")


def _as_integer(variable: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text!r} is not a whole number: set it to one, or unset it") from None


def _as_seconds(variable: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text!r} is not a number of seconds: set it to one such as '0.5'") from None


def _as_days(variable: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text!r} is not a number of days: set it to one such as '30'") from None


def _as_names(_variable: str, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _as_names_or_none(variable: str, text: str) -> tuple[str, ...]:
    return () if text.strip().lower() == "none" else _as_names(variable, text)


def _as_capture(variable: str, text: str) -> str:
    mode = text.strip().upper()
    if mode in CONTENT_CAPTURES or variable.startswith(_PREFIX):
        return mode
    logging.getLogger("agentgauge").warning(
        "%s=%r is none of %s: no content is kept", variable, text, ", ".join(CONTENT_CAPTURES)
    )
    return CONTENT_CAPTURES[0]


def _as_attributes(variable: str, text: str) -> dict[str, str]:
    attributes = {}
    for pair in text.split(","):
        key, separator, value = pair.partition("=")
        if not pair.strip():
            continue
        if not separator or not key.strip():
            raise ConfigurationError(f"{variable}: {pair.strip()!r} is not key=value: write 'key1=value1,key2=value2'")
        attributes[key.strip()] = unquote(value.strip())
    return attributes


_PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    "is_server_enabled": _as_boolean,
    "port": _as_integer,
    "collectors": _as_names_or_none,
    "instrumentors": _as_names_or_none,
    "content_capture": _as_capture,
    "content_limit_bytes": _as_integer,
    "collector_timeout_seconds": _as_seconds,
    "drain_interval_seconds": _as_seconds,
    "heartbeat_interval_seconds": _as_seconds,
    "history_interval_seconds": _as_seconds,
    "history_retention_days": _as_days,
    "history_max_bytes": _as_integer,
    "is_analysis_enabled": _as_boolean,
    "analysis_tasks_per_replica": _as_integer,
    "series_limit": _as_integer,
    "resource_attributes": _as_attributes,
}


def _suggestion(name: str, known: set[str]) -> str:
    import difflib  # noqa: PLC0415 - a program without a mistake does not pay for it

    shared = len(_PREFIX) if name.startswith(_PREFIX) else 0  # what all variables share says nothing of likeness
    by_rest = {candidate[shared:]: candidate for candidate in sorted(known)}
    close = [by_rest[rest] for rest in difflib.get_close_matches(name[shared:], by_rest, n=1)]
    return f"; did you mean {close[0]!r}?" if close else f"; the settings are {', '.join(sorted(known))}"


def _require_type(name: str, value: object, kind: type, fix: str) -> None:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name}={value!r}: give {fix}")


def _require_integer(name: str, value: object, lowest: int, highest: int, fix: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ConfigurationError(f"{name}={value!r}: give a whole number from {lowest} to {highest}, such as {fix}")


def _require_seconds(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _MOST_SECONDS:
        raise ConfigurationError(f"{name}={value!r}: give a number of seconds above 0 and up to {_MOST_SECONDS:.0f}, such as 0.5")


def _require_pem_file(name: str, path: object) -> None:
    if "-----BEGIN" in str(path):  # it may be a key, which no message may show
        raise ConfigurationError(f"{name} is what a PEM file holds: give the path of a PEM file")
    if path is not None and not (isinstance(path, str | os.PathLike) and os.path.isfile(path)):  # noqa: PTH113 - pathlib is slow to load
        raise ConfigurationError(f"{name}={path!r}: there is no such file; give the path of a PEM file")


def _is_service_link(variable: str, text: str) -> bool:
    """Tell whether Kubernetes set the variable, as it does in every pod beside a Service named ``agentgauge...``."""
    return _SERVICE_LINK.fullmatch(variable) is not None or (variable.endswith("_PORT") and "://" in text)


def _is_token(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value and value != ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    if not host:
        return False
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        raise ConfigurationError(f"host={host!r} cannot be resolved: give an address such as '127.0.0.1'") from None
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)
