"""``LmCheck``: an endpoint of language models answers, and has the model."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.exchange import HTTP_SCHEMES, Answer, Request, fetch
from agentgauge.health.checks.http_endpoint import wrong_status
from agentgauge.health.checks.redaction import redact
from agentgauge.health.checks.settings import (
    HeaderValue,
    NamedCheck,
    require_callable,
    require_headers,
    require_slow,
    require_text,
    require_url,
    secrets_of,
    shown_url,
    slow,
)
from agentgauge.health.checks.wire import Deadline
from agentgauge.health.status import ComponentType, Finding, Schedule, Status

__all__ = ["LmCheck", "LmProbe"]

LmProbe = Literal["models", "completion", "ollama"]

_MOST_TOLD = 5
_ELSEWHERE = "base_url leads to another service, or lacks its /v1."
_PATHS = {"models": "/models", "completion": "/chat/completions", "ollama": "/api/tags"}


class _NoKeyError(Exception):
    """There is no key to send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LmCheck(NamedCheck):
    """An endpoint of language models answers, takes the key, and has the model.

    No answer is down; a wrong one, a refused key (condition ``auth``) and a missing model (``model_missing``) are critical; a
    rate limit (``rate_limited``) is a warning. Asking for the list of models costs no tokens.

    Attributes:
        base_url: Of an API in the form of OpenAI's, such as ``https://api.openai.com/v1``; with ``probe="ollama"`` that of the
            server, such as ``http://127.0.0.1:11434``.
        model: Which must be there; with none the endpoint alone is checked.
        probe: ``models`` asks for the list of models; ``completion`` for one token of an answer, which proves most and is billed;
            ``ollama`` for Ollama's own list.
        api_key: A function that returns the key, asked at each check; it is never shown.
        api_key_env: Or the environment variable that holds it, such as ``OPENAI_API_KEY``.
        headers: More headers, such as a version or an organisation; never shown.
        extra_body: What the request for a completion has beside model, messages and ``max_tokens``; a name with None as its value
            is left out, as in ``{"max_tokens": None, "max_completion_tokens": 16}`` for models that want that.
        tls: What is trusted and shown; what the system trusts unless given.
        slow_seconds: Above how many seconds an answer is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix, without the key.
    """

    component_type: ComponentType = ComponentType.LM
    schedule: Schedule = field(default_factory=lambda: Schedule(interval_seconds=60.0, timeout_seconds=15.0))
    base_url: str = field(repr=False)
    model: str = ""
    probe: LmProbe = "models"
    api_key: Callable[[], str] | None = field(default=None, repr=False)
    api_key_env: str = ""
    headers: Mapping[str, HeaderValue] = field(default_factory=dict, repr=False, hash=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_url("base_url", self.base_url, HTTP_SCHEMES, "https://api.openai.com/v1")
        require_text("model", self.model, "gpt-4o-mini")
        if self.probe not in get_args(LmProbe):
            raise ConfigurationError(f"probe={self.probe!r}: give one of {', '.join(get_args(LmProbe))}")
        if self.probe == "completion" and not self.model:
            raise ConfigurationError("probe='completion': say of which model, too, as in model='gpt-4o-mini'")
        require_text("api_key_env", self.api_key_env, "OPENAI_API_KEY")
        if self.api_key is not None:
            require_callable("api_key", self.api_key, "lambda: vault.read('openai')")
            if self.api_key_env:
                raise ConfigurationError("api_key, api_key_env: give one of them")
        require_headers(self.headers)
        if not isinstance(self.extra_body, Mapping):
            raise ConfigurationError("extra_body: give a dict, such as {'temperature': 0}")
        try:
            json.dumps(dict(self.extra_body))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"extra_body: JSON cannot write it: {error}") from None
        if self.tls is not None and not isinstance(self.tls, ssl.SSLContext):
            raise ConfigurationError("tls: give an ssl.SSLContext, such as ssl.create_default_context(cafile='ca.pem')")
        require_slow(self.slow_seconds)

    def check(self) -> Finding:
        """Ask once."""
        subject = shown_url(self.base_url)
        deadline = Deadline(self.patience_seconds)
        secrets = [*secrets_of(urlsplit(self.base_url)), *(value for value in self.headers.values() if isinstance(value, str))]
        try:
            key = self._key()
            secrets.append(key)
            answer = fetch(self._request(key), deadline)
        except _NoKeyError as error:
            suggestions = ("The variable is not set in this process's environment, or the secret is not mounted.",)
            return Finding(status=Status.CRITICAL, message=f"{subject}: {error}", condition="auth", suggestions=suggestions)
        except Exception as error:  # noqa: BLE001 - what is raised is what was found
            return explain(error, subject, secrets=secrets)
        seconds = deadline.spent
        found = self._judge(answer, subject)
        found = replace(found, details={"status": answer.status, "seconds": round(seconds, 6), **found.details})
        return slow(found, subject, seconds, self.slow_seconds)

    def _key(self) -> str:
        if self.api_key is not None:
            key = self.api_key()
            if not isinstance(key, str) or not key:
                raise _NoKeyError("the function api_key returned no key")
            return key
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise _NoKeyError(f"the environment variable {self.api_key_env} holds no key")
        return key

    @property
    def _url(self) -> str:
        parts = urlsplit(self.base_url)
        return parts._replace(path=parts.path.rstrip("/") + _PATHS[self.probe]).geturl()

    def _request(self, key: str) -> Request:
        url = self._url
        headers: dict[str, HeaderValue] = {"Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if self.probe != "completion":
            return Request(url=url, headers={**headers, **self.headers}, tls=self.tls, body_limit_bytes=16_777_216)
        body = {"model": self.model, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1, **self.extra_body}
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        headers["Content-Type"] = "application/json"
        return Request(url=url, method="POST", headers={**headers, **self.headers}, body=data, tls=self.tls)

    def _judge(self, answer: Answer, subject: str) -> Finding:
        if answer.status != 200:  # noqa: PLR2004 - OK
            asked = shown_url(self._url)
            if answer.status == 404 and (self.probe == "completion" or "model" in answer.text):  # noqa: PLR2004 - Not Found
                found = self._missing(asked, ())
                return replace(found, message=f"{found.message} (status 404)", suggestions=(*found.suggestions, _ELSEWHERE))
            found = wrong_status(answer.status, answer.headers, asked)
            if answer.status == 404:  # noqa: PLR2004 - Not Found
                found = replace(found, suggestions=(_ELSEWHERE,))
            if answer.status == 400 and self.probe == "completion":  # noqa: PLR2004 - Bad Request
                hint = "Some models want extra_body={'max_tokens': None, 'max_completion_tokens': 16}."
                found = replace(found, suggestions=(*found.suggestions, hint))
            return found
        try:
            document = answer.json()
        except ValueError:
            return _wrong(subject, "the answer is no JSON")
        if self.probe == "completion":
            choices = document.get("choices") if isinstance(document, dict) else None
            if not isinstance(choices, list) or not choices:
                return _wrong(subject, "the answer has no choices")
            return Finding(status=Status.HEALTHY, message=f"{subject}: {self.model} answers")
        names = _names(document, self.probe)
        if names is None:
            return _wrong(subject, "the answer is no list of models")
        if self.model and self.model not in names and (self.probe != "ollama" or f"{self.model}:latest" not in names):
            return self._missing(subject, names)
        what = f"it has {self.model}" if self.model else f"it has {len(names)} models"
        return Finding(status=Status.HEALTHY, message=f"{subject}: {what}", details={"models": len(names)})

    def _missing(self, subject: str, names: tuple[str, ...]) -> Finding:
        pull = f"It is not pulled yet: ollama pull {self.model}" if self.probe == "ollama" else ""
        told = ", ".join(redact(name) for name in sorted(names)[:_MOST_TOLD])
        return Finding(
            status=Status.CRITICAL,
            message=f"{subject}: it has no model {self.model}" + (f", but {told}" if told else ""),
            condition="model_missing",
            suggestions=(
                *((pull,) if pull else ()),
                "The model's name is misspelt, or it was retired: look at the provider's list.",
                "The key has no access to it, or it is deployed in another region or under another name.",
            ),
        )


def _wrong(subject: str, what: str) -> Finding:
    suggestions = (
        _ELSEWHERE,
        "A proxy or login page answers in its place.",
    )
    return Finding(status=Status.CRITICAL, message=f"{subject}: {what}", condition="body", suggestions=suggestions)


def _names(document: Any, probe: str) -> tuple[str, ...] | None:
    listed = document.get("models" if probe == "ollama" else "data") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return None
    keys = ("name", "model") if probe == "ollama" else ("id",)
    return tuple(dict.fromkeys(str(each[key]) for each in listed if isinstance(each, dict) for key in keys if key in each))
