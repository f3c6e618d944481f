"""Text for people without what must not be shown: passwords in URLs, keys in queries, passwords in connection strings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HIDDEN", "redact"]

HIDDEN = "***"

_LONGEST_READ = 4_000
_LONGEST_SHOWN = 300
_NAME = (
    r"(?<![\w.-])[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[ _-]?key|access[_-]?key|private[_-]?key|account[_-]?key"
    r"|credential|authorization|signature|sessionid)[\w.-]*"
)
_VALUE = r"""(?:'(?:\\.|''|[^'\\])*(?:'\S*|$)|"(?:\\.|""|[^"\\])*(?:"\S*|$)|\S+)"""
_IS = r"(?:=>|[:=>]|%3[ADad])"
_RULES = (
    # up to the last @: a password that nobody encoded may hold any of :/?#@
    (re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]+://)\S*@"), rf"\1{HIDDEN}@"),
    # a user and the beginning of a password that holds a blank: what follows the host of a URL is its port
    (re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]+://)[^\s/?#@:\[]*:(?!\d*(?!\w))\S+"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)(authorization['\"]?\s*[:=]\s*)['\"]?(?:basic|bearer|digest|token)\s+{_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)\b(bearer|basic)\s+{_VALUE}"), rf"\1 {HIDDEN}"),
    # cookies, and what an old Redis says to HELLO with a password: nobody knows where they end
    (re.compile(r"(?i)(\bcookie['\"]?\s*[:=]|\bwith args beginning with:)[^\r\n]*"), rf"\1 {HIDDEN}"),
    # to the next blank, other parameters of a query included: a password may hold & and ;
    (re.compile(rf"(?i)({_NAME}(?: provided)?\\*['\"]?\s*{_IS}\s*){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)((?=--){_NAME}['\",]*\s+){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)\b((?:(?:key|auth|sig)['\"]?\s*=|(?:pass|pw)\\*['\"]?\s*[:=])\s*){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk|gh[opsur]|github_pat|glpat|hf|xox[abeprs])[-_][\w-]{8,}|\bAIza[\w-]{20,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),  # a JSON web token
    (re.compile(r"(\bhooks\.slack\.com/)\S+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY.*"), HIDDEN),
    # what a driver took for a host because the password holds an @
    (re.compile(r"(?<![^\s'\"])(?![^\s'\"]*://\*\*\*@)[^\s'\"]+@"), f"{HIDDEN}@"),
)
_ABOUT_SETTINGS = re.compile(
    r"(?i)connection (?:info|option|string|parameter)|conninfo|\bdsn\b|\buri\b|\burl\b|percent-encoded|port number"
    r"|invalid \w+ value|\bport\b.*invalid|invalid.*\bport\b|could not be cast|invalid literal|\bnetloc\b"
    r"|ipv6 address|resolve host|translate host|host name"
)
_QUOTED = re.compile(r"""'(?:\\.|''|[^'\\])*(?:'|$)|"(?:\\.|""|[^"\\])*(?:"|$)""")


def redact(text: object, secrets: Iterable[str] = ()) -> str:
    """Return one line for people, at most 300 characters, that shows no credentials; rather too little than too much.

    Hidden are what stands before the ``@`` of a URL or address, the values of names such as ``password``, ``token`` or
    ``api_key`` in queries, connection strings, headers, XML and JSON, cookies, bearer tokens, keys of known forms, and everything
    quoted in an error about a connection string, since drivers quote the part that they could not read.

    Args:
        text: An error or any other text.
        secrets: What must not be shown in any case.
    """
    shown = str(text)
    for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
        shown = shown.replace(secret, HIDDEN)
    if len(shown) > _LONGEST_READ:  # what was cut in the middle would not be known for what it is
        shown = shown[:_LONGEST_READ].rpartition(" ")[0]
    if _ABOUT_SETTINGS.search(shown):
        shown = _QUOTED.sub(f'"{HIDDEN}"', shown)
    for pattern, replacement in _RULES:
        shown = pattern.sub(replacement, shown)
    shown = "".join(character if character.isprintable() else " " for character in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 3]}..."
