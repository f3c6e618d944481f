"""The webhook by which Alertmanager tells recovery of alerts."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError, report_internal_error
from agentgauge.notification.text import one_line
from agentgauge.recovery.alertmanager import PayloadError, read_payload
from agentgauge.recovery.failure import Failure
from agentgauge.recovery.recoveries import Recoveries
from agentgauge.recovery.series import RequestSeries
from agentgauge.recovery.strangers import Strangers
from agentgauge.requirements import require_clock, require_count, require_name
from agentgauge.targets import require_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.recovery.alertmanager import PostedAlert

__all__ = ["AlertReceiver", "AlertRoute"]

_logger = logging.getLogger("agentgauge.recovery")

SIGNATURE_HEADER = "agentgauge-signature"
_SIGNED_FOR_SECONDS = 300.0
_LONGEST_TIME = 12  # digits
_LONGEST_WORD = 200
_LARGEST_BODY = 1024 * 1024
_MOST_SEEN = 10_000
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRoute:
    """Which alerts mean that a component fails.

    Args:
        component: The component.
        labels: Labels that an alert must have, by name; all of them.
        condition: What the failure's condition is; by default the alert's label ``condition``, or else its name.
        error_type: What its type of error is; by default the alert's label ``error_type``.

    Raises:
        ConfigurationError: A value cannot work.
    """

    component: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    condition: str | None = None
    error_type: str | None = None

    def __post_init__(self) -> None:
        require_name("component", self.component, "researcher")
        pairs = list(self.labels.items()) if hasattr(self.labels, "items") else None
        if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
            raise ConfigurationError(
                f"labels={self.labels!r}: give labels that the alerts have, such as {{'alertname': 'AgentgaugeTaskStuck'}}"
            )
        for name in ("condition", "error_type"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"{name}={value!r}: give a text, or leave it out")


class AlertReceiver:
    """Takes the posts of an Alertmanager's webhook, and has the components recovered that its alerts name.

    ``agentgauge.start(receivers=[receiver])`` serves it. A post is answered as soon as its alerts are taken up, and refused as a
    whole (503, so that Alertmanager sends it again) where one of them cannot be.

    An alert is about the component of the first route whose labels it has; without one, about the first of these that a recovery
    is for: its label ``component``, ``{gen_ai_agent_name}/{agent_task}``, its label ``gen_ai_agent_name``. Its condition is its
    label ``condition``, or else its name.

    Args:
        recoveries: What acts.
        bearer_token: What Alertmanager sends by ``http_config: {authorization: {credentials: ...}}``.
        hmac_secret: Instead of a token, or beside it: the key by which senders sign as ``WebhookDestination`` does,
            ``Agentgauge-Signature: t=<Unix time>,v1=<hex>``, the HMAC-SHA256 (RFC 2104) of the time, a full stop and the body. A
            signature is good for five minutes from that time, and before it.
        mapping: Routes, in the order in which they are tried.
        path: Where the server listens for it.
        largest_body: How many bytes a post may have.
        wall_clock: Unix time, by which signatures are dated.

    Raises:
        ConfigurationError: A value cannot work, or neither a token nor a secret is given.
    """

    def __init__(
        self,
        recoveries: Recoveries,
        *,
        bearer_token: str | None = None,
        hmac_secret: str | None = None,
        mapping: Iterable[AlertRoute] = (),
        path: str = "/api/v1/alerts",
        largest_body: int = _LARGEST_BODY,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(recoveries, Recoveries):
            raise ConfigurationError(f"recoveries={recoveries!r}: give Recoveries([...])")
        if bearer_token is None and hmac_secret is None:
            raise ConfigurationError("bearer_token, hmac_secret: give one of them, such as the output of `openssl rand -hex 32`")
        for name, secret in (("bearer_token", bearer_token), ("hmac_secret", hmac_secret)):
            _require_secret(name, secret)
        require_name("path", path, "/api/v1/alerts")
        if not path.startswith("/") or any(character in path for character in "?# "):
            raise ConfigurationError(f"path={path!r}: give a path that begins with /, such as '/api/v1/alerts'")
        require_count("largest_body", largest_body, "1048576")
        require_clock("wall_clock", wall_clock)
        self.path = path
        self._recoveries = recoveries
        self._token = bearer_token
        self._secret = hmac_secret
        self._routes = require_list("mapping", mapping, AlertRoute, "AlertRoute(component='a', labels={'alertname': 'B'})")
        for route in self._routes:
            if not recoveries.knows(route.component):
                raise ConfigurationError(
                    f"mapping: AlertRoute(component={route.component!r}): give a component that Recoveries has a Recovery for"
                )
        self._largest_body = largest_body
        self._wall_clock = wall_clock
        self._series = RequestSeries()
        self._strangers = Strangers()
        self._seen: OrderedDict[tuple[str, float], None] = OrderedDict()
        self._changing = threading.Lock()
        _receivers.add(self)

    def answer(self, method: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        """Answer a request.

        Args:
            method: Its method; only POST is served.
            headers: Its headers, by name in whatever case.
            body: Its body.

        Returns:
            The status and a line of text: 202 taken up, 400 not what Alertmanager posts, 401 not authorized, 405 another method,
            413 too large, 503 too much waits: send it again.
        """
        if method.upper() != "POST":
            return 405, "only POST is served here\n"
        if not self._is_authorized({name.lower(): value for name, value in headers.items()}, body):
            self._series.count("refused")
            return 401, "the credentials are missing or wrong\n"
        if len(body) > self._largest_body:
            self._series.count("refused")
            return 413, f"the body has more than {self._largest_body} bytes; set max_alerts of the webhook\n"
        try:
            alerts = read_payload(body)
        except PayloadError as error:
            self._series.count("refused")
            return 400, f"{error}\n"
        try:
            return self._take(alerts)
        except Exception as error:  # noqa: BLE001 - Alertmanager sends again what was not acknowledged
            report_internal_error("recovery_webhook", error)
            return 503, "agentgauge failed to take it; its log says why\n"

    def _take(self, alerts: list[PostedAlert]) -> tuple[int, str]:
        results = [self._take_one(alert) for alert in alerts]
        for result in results:
            self._series.count(result)
        counted = {result: results.count(result) for result in dict.fromkeys(results)}
        refused = counted.get("refused", 0)
        if refused:
            return 503, f"{refused} of {len(alerts)} alerts could not be taken up now; send them again\n"
        return 202, json.dumps(counted) + "\n"

    def _take_one(self, alert: PostedAlert) -> str:
        key = ("alertmanager", alert.fingerprint)
        if not alert.is_firing:
            self._recoveries.end(key)
            return "resolved"
        found = self._failure(alert, key)
        if found is None:
            name = alert.labels.get("alertname", "")
            why = "are left alone: neither an AlertRoute nor a label of theirs leads to a Recovery"
            self._strangers.tell(name, "alerts of Alertmanager named", why)
            return "unmatched"
        mark = (alert.fingerprint, alert.started_at)
        with self._changing:
            if mark in self._seen:
                self._seen.move_to_end(mark)
                return "duplicate"
            self._seen[mark] = None  # at once, so that of two posts at a time one acts
            while len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
        reported = ""
        try:
            reported = self._recoveries.report(found)
        finally:
            if reported not in {"accepted", "merged"}:
                with self._changing:
                    self._seen.pop(mark, None)
        return {"accepted": "accepted", "merged": "accepted", "unmatched": "unmatched"}.get(reported, "refused")

    def _failure(self, alert: PostedAlert, key: tuple[str, str]) -> Failure | None:
        labels = alert.labels
        route = next((each for each in self._routes if each.labels.items() <= labels.items()), None)
        component = self._component(labels) if route is None else route.component
        if component is None or not self._recoveries.knows(component):
            return None
        condition = one_line(labels.get("condition") or labels.get("alertname", ""), _LONGEST_WORD)  # it goes into logs
        error_type = one_line(labels.get("error_type", ""), _LONGEST_WORD)
        return Failure(
            component=component,
            condition=condition if route is None or route.condition is None else route.condition,
            error_type=error_type if route is None or route.error_type is None else route.error_type,
            started_at=alert.started_at,
            source="alertmanager",
            summary=alert.summary,
            labels=dict(labels),
            key=key,
        )

    def _component(self, labels: Mapping[str, str]) -> str | None:
        agent, task = labels.get("gen_ai_agent_name", ""), labels.get("agent_task", "")
        names = (labels.get("component", ""), f"{agent}/{task}", agent)
        return next((name for name in names if name and self._recoveries.knows(name)), None)

    def _is_authorized(self, headers: Mapping[str, str], body: bytes) -> bool:
        if self._token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if _is_same(given.strip(), self._token) and scheme.lower() == "bearer":
                return True
        if self._secret is not None:
            return self._is_signed(headers.get(SIGNATURE_HEADER, ""), self._secret, body)
        return False

    def _is_signed(self, header: str, secret: str, body: bytes) -> bool:
        start, _, signature = header.strip().partition(",v1=")
        at = start.removeprefix("t=")
        if at == start or not at.isascii() or not at.isdecimal() or len(at) > _LONGEST_TIME:
            return False
        expected = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return _is_same(signature, expected) and abs(self._wall_clock() - int(at)) <= _SIGNED_FOR_SECONDS

    def _renew_in_child(self) -> None:
        self._changing = threading.Lock()


def _is_same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing, of the length neither."""
    digests = [hashlib.sha256(text.encode(errors="replace")).digest() for text in (given, expected)]
    return hmac.compare_digest(*digests)


def _require_secret(name: str, secret: object) -> None:
    if secret is None:
        return
    is_text = isinstance(secret, str) and secret.isascii() and secret.isprintable() and " " not in secret
    if not is_text or len(secret) < _SHORTEST_SECRET:  # type: ignore[arg-type]  # it is a text
        raise ConfigurationError(
            f"{name}: give an ASCII text of at least {_SHORTEST_SECRET} characters without white space, such as the output of"
            " `openssl rand -hex 32`"
        )


_receivers: weakref.WeakSet[AlertReceiver] = weakref.WeakSet()


def _renew_in_child() -> None:
    for receiver in list(_receivers):
        receiver._renew_in_child()  # noqa: SLF001 - for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
