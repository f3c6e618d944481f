"""What an error says of a component: in which word, and what the likeliest cause is."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

from agentgauge.health.checks.redaction import redact
from agentgauge.health.status import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["explain", "is_timeout"]

_MOST_CAUSES = 10


class _Cause(NamedTuple):
    status: Status
    condition: str
    what: str
    suggestions: tuple[str, ...]


_REFUSED = _Cause(
    Status.DOWN,
    "refused",
    "nothing listens there",
    (
        "The server is not running, or is still starting: look at its process and its log.",
        "It listens on another port or address: one that is bound to 127.0.0.1 is not reached from other hosts and containers.",
        "A firewall between here and there rejects the connection.",
    ),
)
_TIMEOUT = _Cause(
    Status.DOWN,
    "timeout",
    "no answer came in time",
    (
        "The server is overloaded or hangs: look at its CPU, its connections and its log.",
        "A firewall or a security group drops the packets.",
        "It is slower than the check allows: raise schedule.timeout_seconds where that is how it is.",
    ),
)
_DNS = _Cause(
    Status.DOWN,
    "dns",
    "its host has no address",
    (
        "The host's name is misspelt, or not known in this network or namespace.",
        "The DNS server does not answer: look at /etc/resolv.conf and ask it with another name.",
    ),
)
_CERTIFICATE = _Cause(
    Status.DOWN,
    "tls",
    "its certificate is not trusted",
    (
        "The certificate is expired, of another host name, or of an authority that is not known here.",
        "Name a private authority by tls=ssl.create_default_context(cafile=...).",
    ),
)
_EXPIRED = _Cause(
    Status.DOWN,
    "tls",
    "its certificate is not trusted",
    (
        "The certificate has expired: renew it, and let the server load the new one.",
        "The clock of this machine is wrong.",
    ),
)
_TLS = _Cause(
    Status.DOWN,
    "tls",
    "it does not speak TLS as it should",
    (
        "The port is not one of TLS: try the URL without it (http instead of https).",
        "Client and server have no TLS version or cipher in common.",
    ),
)
_RESET = _Cause(
    Status.DOWN,
    "reset",
    "it closed the connection without an answer",
    (
        "The server broke down, restarts, or sheds connections: look at its log.",
        "It wants TLS where none is spoken, or the other way round.",
        "A proxy or load balancer before it has no working server behind it.",
    ),
)
_UNREACHABLE = _Cause(
    Status.DOWN,
    "unreachable",
    "there is no way to its network",
    (
        "The host is off, or its network is not connected to this one: look at routes, VPN and network policies.",
        "The name leads to an IPv6 address where only IPv4 works, or the other way round.",
    ),
)
_PROTOCOL = _Cause(
    Status.DOWN,
    "protocol",
    "it speaks another protocol",
    (
        "Another service listens on this port.",
        "The port wants TLS: try https instead of http.",
    ),
)
_AUTH = _Cause(
    Status.CRITICAL,
    "auth",
    "it refused the credentials",
    (
        "The user, password or key is wrong, expired or was rotated: look where this program gets it from.",
        "The user may not connect from this host, or to this database.",
    ),
)
_EXHAUSTED = _Cause(
    Status.CRITICAL,
    "pool_exhausted",
    "it takes no more connections",
    (
        "Its connections are used up: look for clients that do not close theirs, and for pools that are too large together.",
        "Raise its limit (max_connections, maxclients), or put a pooler before it.",
    ),
)
_STARTING = _Cause(
    Status.DOWN,
    "starting",
    "it is starting up or shutting down",
    ("Wait until it has started; it replays its log after a crash.", "Look at its log where it stays so."),
)
_MISSING = _Cause(
    Status.CRITICAL,
    "missing",
    "what is asked for does not exist",
    (
        "The name of the database, table or file is misspelt.",
        "Migrations have not run, or ran against another database.",
    ),
)
_DISK_FULL = _Cause(
    Status.CRITICAL,
    "disk_full",
    "its disk is full",
    (
        "The file system or the quota is full: delete what is not needed, or give it more room.",
        "It may have no inodes left though it has bytes: see df -i.",
    ),
)
_READ_ONLY = _Cause(
    Status.CRITICAL,
    "not_writable",
    "it cannot be written",
    (
        "It is mounted or opened read-only; a file system becomes so after errors of its disk: see dmesg.",
        "The server is a replica: write to the primary.",
    ),
)
_PERMISSION = _Cause(
    Status.CRITICAL,
    "permission",
    "permission is denied",
    (
        "The user of this program may not do it: look at owner, mode and mount options, or at the grants of the database's user.",
        "A sandbox (AppArmor, SELinux, seccomp) forbids it.",
    ),
)
_LOCKED = _Cause(
    Status.CRITICAL,
    "locked",
    "another one holds its lock",
    ("Another connection holds a long transaction: end it.", "Raise the driver's lock timeout where short waits are usual."),
)

_BY_TYPE: tuple[tuple[tuple[type[BaseException], ...], _Cause], ...] = (  # the first match counts
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError, http.client.IncompleteRead), _RESET),
    ((TimeoutError,), _TIMEOUT),  # ssl raises it, too
    ((ssl.SSLError,), _TLS),
    ((socket.gaierror,), _DNS),
    ((ConnectionRefusedError,), _REFUSED),
    ((PermissionError,), _PERMISSION),
)
_BY_ERRNO = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ETIMEDOUT: _TIMEOUT,
    errno.ECONNRESET: _RESET,
    errno.EPIPE: _RESET,
    errno.ECONNABORTED: _RESET,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETUNREACH: _UNREACHABLE,
    errno.EADDRNOTAVAIL: _UNREACHABLE,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EROFS: _READ_ONLY,
}
_BY_SQLSTATE = {  # PostgreSQL, appendix A; the first match counts
    "28": _AUTH,
    "53100": _DISK_FULL,
    "53": _EXHAUSTED,
    "57014": _TIMEOUT,
    "57P": _STARTING,
    "3D": _MISSING,
    "42P01": _MISSING,
    "3F": _MISSING,
    "42501": _PERMISSION,
    "25006": _READ_ONLY,
    "55P03": _LOCKED,
}
_WRONG_CREDENTIALS = (
    r"authentication failed|no password supplied|access denied|wrongpass|noauth|authentication required|no pg_hba"
    r"|invalid username-password|invalid password|role \S+ does not exist"
)
_BY_TEXT = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (
            r"too many (?:clients|connections)|connection slots|max number of clients|pool (?:is )?exhausted|queuepool limit",
            _EXHAUSTED,
        ),
        (
            _WRONG_CREDENTIALS,
            _AUTH,
        ),
        (r"is starting up|is shutting down|in recovery mode|loading the dataset", _STARTING),
        (r"connection refused|connect call failed", _REFUSED),
        (
            r"name or service not known|could not translate host|failed to resolve host|nodename nor servname|name resolution",
            _DNS,
        ),
        (r"timed? ?out|timeout expired", _TIMEOUT),
        (r"\binterrupted\b|canceling statement", _TIMEOUT),
        (r"no such table|does not exist|unknown database|unable to open database file", _MISSING),
        (r"disk (?:is )?full|no space left", _DISK_FULL),
        (r"read-?only", _READ_ONLY),
        (r"database (?:table )?is locked", _LOCKED),
        (r"permission denied|noperm", _PERMISSION),
        (r"server closed the connection|connection (?:was )?closed|connection reset|connection lost", _RESET),
        (r"certificate|\bssl\b|\btls\b", _TLS),
    )
)


def is_timeout(error: BaseException) -> bool:
    """Tell whether an error says that something took too long."""
    return any(isinstance(cause, TimeoutError) for cause in _chain(error))


def explain(
    error: BaseException,
    subject: str,
    *,
    secrets: Iterable[str] = (),
    details: Mapping[str, object] | None = None,
    status: Status = Status.DOWN,
) -> Finding:
    """Make a finding of an error.

    Args:
        error: What was raised.
        subject: What was asked, such as ``127.0.0.1:5432``; without secrets.
        secrets: What must not be shown in any case.
        details: Readings to give along.
        status: That of an error of no known kind.
    """
    secrets = tuple(secrets)
    cause = _cause_of(error)
    said = redact(error, secrets)
    error_type = type(error).__name__
    if cause is None:
        what = f"{error_type}: {said}" if said else error_type
        cause = _Cause(status, "error", what, ("Look at the error's text, and at the log of the component.",))
        message = f"{subject}: {cause.what}"
    else:
        message = f"{subject}: {cause.what}" + (f" ({said})" if said and said not in cause.what else "")
    return Finding(
        status=cause.status,
        message=redact(message, secrets),
        condition=cause.condition,
        error_type=error_type,
        suggestions=cause.suggestions,
        details=dict(details or {}),
    )


def _cause_of(error: BaseException) -> _Cause | None:
    for each in _chain(error):
        if (cause := _by_type(each)) is not None:
            return cause
    text = "\n".join(str(each) for each in _chain(error))
    return next((cause for pattern, cause in _BY_TEXT if pattern.search(text)), None)


def _by_type(error: BaseException) -> _Cause | None:
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        found = next((cause for prefix, cause in _BY_SQLSTATE.items() if sqlstate.startswith(prefix)), None)
        if found is not None:
            return found
    if isinstance(error, ssl.SSLCertVerificationError):
        return _EXPIRED if "expired" in str(error.verify_message or error) else _CERTIFICATE
    for types, cause in _BY_TYPE:
        if isinstance(error, types):
            return cause
    if isinstance(error, ConnectionError) and error.errno is None:
        return _RESET  # http.client's RemoteDisconnected, asyncio's and asyncpg's own
    if isinstance(error, http.client.HTTPException):
        return _PROTOCOL
    return _BY_ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, the error itself first."""
    each: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if each is None:
            return
        yield each
        if isinstance(each, BaseExceptionGroup):  # what several addresses said
            yield from each.exceptions
        each = each.__cause__ or each.__context__
