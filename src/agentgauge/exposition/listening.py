"""Taking the port: a socket that listens, a sibling that already does, or an error that says what to set."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

from agentgauge.errors import ConfigurationError
from agentgauge.exposition.sibling import NotASiblingError, process_of_sibling

if TYPE_CHECKING:
    from agentgauge.config import Config

__all__ = ["listen", "tls_context"]

_logger = logging.getLogger(__name__)

_BACKLOG = 1024  # a client that is turned away here tries again only after a second
_SIBLING_SECONDS = 5.0  # what a sibling may need, on a busy machine, from taking the port to answering on it


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Load the certificate and key of ``config``, if it has them.

    Raises:
        ConfigurationError: They are not what they should be.
    """
    if config.tls_certificate_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # an empty password, since without one OpenSSL would ask on the terminal
        context.load_cert_chain(config.tls_certificate_file, config.tls_key_file, password="")
    except OSError as error:
        raise ConfigurationError(
            f"tls_certificate_file={config.tls_certificate_file!r}, tls_key_file={config.tls_key_file!r}: give a PEM certificate "
            f"chain and its PEM key without a password ({error.strerror or type(error).__name__})"
        ) from None
    if config.tls_client_ca_file is not None:
        try:
            context.load_verify_locations(config.tls_client_ca_file)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"tls_client_ca_file={config.tls_client_ca_file!r}: give PEM certificates of authorities ({reason})"
            ) from None
        # the server refuses who has none by a response, which a sibling and a person can read
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def listen(config: Config) -> socket.socket | None:
    """Listen on the host and port of ``config``.

    Returns:
        The socket, which does not block, or ``None`` where a server of this process group has the port.

    Raises:
        ConfigurationError: The host or port cannot be used.
    """
    deadline = time.monotonic() + _SIBLING_SECONDS
    while True:
        try:
            return _listen_now(config)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _unusable(config, error) from None
        try:
            process = process_of_sibling(config, deadline)
        except NotASiblingError:
            raise _taken(config) from None
        except OSError:  # it has bound and does not listen yet, or has just ended
            if time.monotonic() >= deadline:
                raise _taken(config) from None
            time.sleep(0.05)
        else:
            _logger.warning(
                "port %d is served by process %d of the same process group; process %d goes on without a server and its series "
                "are not scraped: give each process its own port (port=... or AGENTGAUGE_PORT), or port=0 for any free one",
                config.port,
                process,
                os.getpid(),
            )
            return None


def _listen_now(config: Config) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    listener.setblocking(False)
    return listener


def _taken(config: Config) -> ConfigurationError:
    return ConfigurationError(
        f"port {config.port} is taken on {config.host}: set port=... or AGENTGAUGE_PORT to a free one, or port=0 for any free one"
    )


def _unusable(config: Config, error: OSError) -> ConfigurationError:
    if isinstance(error, PermissionError):
        return ConfigurationError(f"port {config.port} is not for this user: set port=... or AGENTGAUGE_PORT to 1024 or above")
    return ConfigurationError(
        f"host={config.host!r}: cannot listen there ({error.strerror}): set host=... or AGENTGAUGE_HOST to an address of this "
        "machine, such as '127.0.0.1'"
    )
